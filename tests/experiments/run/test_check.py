"""`check=true` goes through everything that a run needs, says what it found, and leaves nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from experiments.errors import SpecError
from experiments.run import check, preflight, runner
from experiments.run.report import aligned
from schema.identity import covered, run_id
from tests.experiments.conftest import Runner
from tests.experiments.run.conftest import CLASSES
from tests.experiments.runs import spec_of


def checked(*overrides: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What a check reports, without the notes before."""
    assert runner.run(spec_of(*overrides, "check=true")) is None
    lines = capsys.readouterr().out.splitlines()
    return lines[next(number for number, line in enumerate(lines) if line.startswith("check: ")) :]


@pytest.fixture
def cut(image_folder: Path, tmp_path: Path) -> Path:
    """A copy of the images with one that is truncated in a second test split."""
    folder = tmp_path / "copy"
    shutil.copytree(image_folder, folder)
    shutil.copytree(folder / "test", folder / "bad")
    file = folder / "bad" / "dark" / "3.png"
    file.write_bytes(file.read_bytes()[:-300])
    return folder


def test_images_are_counted_by_split_and_class(
    images: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    title, *table = checked(*images, "method=lora", capsys=capsys)
    assert title == "check: lora on vision/folder, vit (nothing trained or recorded)"
    cells = [line.split() for line in table]
    assert cells[:4] == [
        ["split", "rows", *CLASSES],
        ["train", "76", "25", "25", "26"],
        ["selection", "14", "5", "5", "4"],
        ["test", "24", "8", "8", "8"],
    ]
    assert len({len(line) for line in table[:4]}) == 1, "the columns are aligned"
    said = {line[0]: " ".join(line[1:]) for line in cells[4:]}
    assert said["theta"].endswith("trainable values of the method")
    assert "backward of 32 examples" in said["batch"]
    assert not (tmp_path / "outputs").exists()


def test_tokens_and_what_is_cut_of_them_are_counted(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = checked(*words, "method=gpart", "backbone.max_length=12", capsys=capsys)
    printed = [line.split() for line in lines[1:3]]
    assert printed == [["split", "rows", "longest", "cut"], ["train", "160", "20", "tokens", "160", "rows"]]
    assert not (tmp_path / "outputs").exists()


def test_sentences_are_counted_before_they_are_cut(
    tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = checked(*tiny, "task=glue/sst2", "method=head", "backbone.max_length=6", capsys=capsys)
    (train,) = (line.split() for line in lines if line.startswith("  train "))
    longest, cut = int(train[-4]), int(train[-2])
    assert longest > 6
    assert 0 < cut <= int(train[1])


def test_what_does_not_train_is_checked_without_a_batch(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert checked(*words, "method=untrained", capsys=capsys)[-1].split() == [
        "batch",
        "none",
        "tried:",
        "nothing",
        "trains",
    ]


def test_many_classes_are_summed_up_and_names_do_not_collide(
    image_folder: Path, images: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, kind in enumerate(("rows", "split", "x" * 40 + "1", "x" * 40 + "2", CLASSES[0])):
        for split in ("train", "test"):
            target = tmp_path / "many" / split / kind
            shutil.copytree(image_folder / split / CLASSES[0], target)
            for file in sorted(target.iterdir())[: 0 if number else 2]:
                file.unlink()
    _, head, *_ = checked(*images, f"data.path={tmp_path / 'many'}", "method=head", capsys=capsys)
    assert head.split() == ["split", "rows", CLASSES[0], "rows", "split", "xxxxxxxxxxxxx...", "xxxxxxxxxxxxx..."]
    for kind in ("y", "z"):
        for split in ("train", "test"):
            shutil.copytree(tmp_path / "many" / split / "split", tmp_path / "many" / split / kind)
    _, head, *_, test = checked(*images, f"data.path={tmp_path / 'many'}", "method=head", capsys=capsys)[:5]
    assert head.split() == ["split", "rows", "classes", "fewest", "most"]
    assert test.split() == ["test", "54", "7", "rows:", "6", "bright:", "8"]


def test_a_bad_file_in_any_split_is_refused(images: list[str], cut: Path, tmp_path: Path) -> None:
    overrides = [*images, f"data.path={cut}", "method=head", "check=true"]
    with pytest.raises(SpecError, match=r"split test: 1 rows .* that can be read: dark/3\.png \(.*truncated") as error:
        runner.run(spec_of(*overrides, "task.splits.test=bad"))
    assert len(error.value.errors) == 1
    assert not (tmp_path / "outputs").exists()


def test_a_folder_without_splits_is_one_line(images: list[str], image_folder: Path) -> None:
    with pytest.raises(SpecError, match=r"it has the folders bright, dark, striped, with images in no split") as error:
        runner.run(spec_of(*images, f"data.path={image_folder / 'train'}", "method=head", "check=true"))
    assert len(error.value.errors) == 1


@pytest.mark.parametrize(
    ("raised", "line"),
    [
        (
            torch.OutOfMemoryError("CUDA out of memory"),
            r"recipe\.batch_size=32: one batch does not fit into memory; acc",
        ),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
            r"recipe\.batch_size=32: one batch",
        ),
    ],
)
def test_a_batch_that_does_not_fit_into_memory_is_refused(
    raised: Exception, line: str, images: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> float:
        raise raised

    monkeypatch.setattr(check, "_loss", full)
    with pytest.raises(SpecError, match=line):
        runner.run(spec_of(*images, "method=head", "check=true"))


def test_a_loss_that_is_not_finite_is_refused(images: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "_loss", lambda *_: float("nan"))
    with pytest.raises(SpecError, match=r"method=head: the first batch has the loss nan; accepted: "):
        runner.run(spec_of(*images, "method=head", "check=true"))


def test_several_processes_are_refused(images: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = preflight.prepare(spec_of(*images, "method=head", "check=true"))
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SpecError, match=r"check=true: 2 processes were started; accepted: one"):
        check.check(prepared)


def test_a_check_is_no_other_run_and_no_plan(images: list[str]) -> None:
    ids = {run_id(covered(spec_of(*images, "method=head", *more), {}, {})) for more in ([], ["check=true"])}
    assert len(ids) == 1
    with pytest.raises(SpecError, match="check=true: plan=true loads nothing; accepted: one of them"):
        spec_of(*images, "check=true", "plan=true")


def test_a_table_is_aligned_to_the_right_but_for_its_first_column() -> None:
    rows = [[("split", "train"), ("rows", "1,000")], [("split", "a long name"), ("rows", "1")]]
    assert aligned(rows) == ["split         rows", "train        1,000", "a long name      1"]


@pytest.mark.slow
def test_every_job_of_a_sweep_is_checked(images: list[str], cut: Path, tmp_path: Path, run_py: Runner) -> None:
    overrides = [*images, f"data.path={cut}", "method=head", "check=true", "task.splits.test=bad,test"]
    result = run_py("-m", *overrides)
    assert result.returncode == 2, result.stderr
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert "dark/3.png" in line
    assert result.stdout.count("check: head on vision/folder") == 1
    assert "sweep: 2 jobs, 1 ok, 1 not" in result.stdout
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "outputs").exists()

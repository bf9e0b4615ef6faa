"""Kept states: the newest whole one is found, whatever else lies there, and none of them runs code."""

from __future__ import annotations

import shutil
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

import baselines
from experiments.run.clock import Clock
from experiments.run.resumable import ModelState
from experiments.run.resume import States, load
from schema.record import Provenance

ORIGIN = {"id": "0123456789ab", "torch": "2"}


@pytest.fixture
def states(tmp_path: Path) -> States:
    return States(tmp_path, ORIGIN, Provenance())


def kept(
    states: States, step: int, epoch: float = 1.0, ended: bool = False, file: str = "parts.pt", content: object = 0
) -> Path:
    """A state of one small file."""
    folder = states.folder / f"checkpoint-{step}"
    with states.writing(step):
        folder.mkdir(parents=True)
        torch.save(content, folder / file)
        states.seal(step, epoch, ended)
    return folder


def broken_off(states: States, step: int, error: BaseException, seal: bool = False) -> None:
    """A state while which is written something goes wrong."""
    with states.writing(step):
        (states.folder / f"checkpoint-{step}").mkdir(parents=True)
        if seal:
            states.seal(step, 1.0, False)
        raise error


def test_a_new_state_takes_the_place_of_the_one_before(states: States) -> None:
    kept(states, 9)
    newest = kept(states, 10, ended=True)
    assert list(states.folder.iterdir()) == [newest]
    found = states.newest()
    assert found is not None
    assert (found.folder, found.ended) == (newest, True)


def test_of_a_state_that_is_broken_off_the_one_before_stays(states: States) -> None:
    before = kept(states, 3)
    with pytest.raises(OSError, match="full"):
        broken_off(states, 6, OSError("full"))
    assert list(states.folder.iterdir()) == [before]


def test_what_a_kill_leaves_before_the_manifest_does_not_count(
    states: States, capsys: pytest.CaptureFixture[str]
) -> None:
    before = kept(states, 3)
    (states.folder / "checkpoint-10").mkdir()
    (states.folder / "checkpoint-10" / "parts.pt").write_bytes(b"half")
    found = states.newest()
    assert found is not None
    assert found.folder == before
    assert "checkpoint-10" not in capsys.readouterr().out


def test_an_interrupt_after_the_manifest_leaves_the_state(states: States) -> None:
    with pytest.raises(KeyboardInterrupt):
        broken_off(states, 3, KeyboardInterrupt(), seal=True)
    assert states.newest() is not None


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("parts.pt", b"", "its parts.pt is not as it was written"),
        ("manifest.json", b"{", "its manifest.json cannot be read"),
        ("manifest.json", b"\xff", "its manifest.json cannot be read"),
        ("manifest.json", b'{"files": {}}', "its manifest.json cannot be read"),
    ],
)
def test_a_damaged_state_is_named_and_the_one_before_taken(
    file: str, content: bytes, said: str, states: States, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = kept(states, 3)
    shutil.copytree(before, tmp_path / "copy")
    newest = kept(states, 6)
    shutil.move(tmp_path / "copy", before)
    (newest / file).write_bytes(content)
    found = states.newest()
    assert found is not None
    assert found.folder == before
    assert capsys.readouterr().out.splitlines()[0] == f"note: resume/checkpoint-6 is left out: {said}"


@pytest.mark.parametrize("key", ["id", "torch", "processes"])
def test_a_state_of_another_origin_is_left_out(
    key: str, states: States, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept(states, 3)
    assert States(tmp_path, {**ORIGIN, key: "other"}, Provenance()).newest() is None
    theirs = ORIGIN.get(key)
    said = f"note: resume/checkpoint-3 is left out: it is of {key}={theirs}; accepted: other\n"
    assert capsys.readouterr().out == said


def test_the_record_lists_all_epochs_at_which_attempts_were_taken_up(tmp_path: Path) -> None:
    attempts = [Provenance() for _ in range(3)]
    for number, provenance in enumerate(attempts):
        states = States(tmp_path, ORIGIN, provenance)
        states.newest()
        provenance.nondeterministic.append(f"operation_{number}")
        kept(states, 10 * (number + 1), epoch=float(number + 1))
    assert [provenance.resumed for provenance in attempts] == [[], [1.0], [1.0, 2.0]]
    assert attempts[-1].nondeterministic == ["operation_0", "operation_1", "operation_2"]


class Code:
    """What runs code where it is unpickled without care."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[Callable[..., None], tuple[Path]]:
        return Path.touch, (self._mark,)


@pytest.mark.parametrize("name", ["parts.pt", "optimizer.pt", "rng_state.pth"])
def test_a_state_whose_files_would_run_code_is_left_out(
    name: str, states: States, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mark = tmp_path / "ran"
    folder = kept(states, 3, file=name, content={"values": Code(mark)})
    torch.load(folder / name, weights_only=False)
    assert mark.exists(), "it would"
    mark.unlink()
    assert states.newest() is None
    assert not mark.exists()
    assert f"its {name} holds more than values (UnpicklingError)" in capsys.readouterr().out


def small_model() -> baselines.Adapted:
    """A frozen backbone whose normalisation counts what it sees, and a head."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
        backbone.register_buffer("positions", torch.arange(3))
        model = nn.Sequential(OrderedDict(backbone=backbone, head=nn.Linear(4, 2)))
    return baselines.adapt(model, baselines.HeadOnly(), head=["head"], init_seed=0)


def test_buffers_that_training_changes_are_kept_and_no_others(tmp_path: Path) -> None:
    adapted, fresh = small_model(), small_model()
    state, again = ModelState(adapted), ModelState(fresh)
    adapted.model.train()(torch.randn(8, 4))
    torch.save(state.state_dict(), tmp_path / "model.pt")
    stored = load(tmp_path / "model.pt")
    assert set(stored["values"]) == {"head.weight", "head.bias"}
    running = ("running_mean", "running_var", "num_batches_tracked")
    assert set(stored["buffers"]) == {f"backbone.1.{name}" for name in running}
    again.load_state_dict(stored)
    assert all(map(torch.equal, adapted.model.state_dict().values(), fresh.model.state_dict().values()))


def test_a_second_is_of_one_phase_and_of_all_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter(range(100))
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(seconds)))
    clock = Clock()
    clock.load_state_dict({"train": 10.0})
    clock.on_train_begin()  # 0
    with clock.phase("selection"):  # 1 to 2
        pass
    assert clock.state_dict() == {"train": 12.0, "selection": 1.0}  # 3
    clock.on_train_end()  # 4
    with clock.phase("keeping"):
        pass
    assert clock.seconds == {"train": 13.0, "selection": 1.0, "keeping": 1.0}

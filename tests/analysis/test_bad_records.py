"""Every kind of bad record, beside two good ones: it is named in one line with its reason, and hides neither."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from analysis.__main__ import main as analysis
from experiments.__main__ import main as experiments
from schema.proof import sealed
from tests.analysis.conftest import identified, record, write
from tests.analysis.plots.conftest import history, isometry
from tests.conftest import ROOT

Content = dict[str, Any]

DELETED = object()


def content() -> Content:
    """The record that is spoilt."""
    spoilt = record("unilora", 5, history=history(), diagnostics={"isometry": isometry("unilora")})
    return cast(Content, json.loads(json.dumps(spoilt)))


def text() -> str:
    """The same as a run writes it."""
    return sealed(json.dumps(content() | {"digest": None}, indent=1, sort_keys=True) + "\n")


# What an editor, another program or another version may have left, as JSON that is whole: keys, and the reason given.
EDITED: dict[str, tuple[Content, str]] = {
    "of a later schema": ({"schema": 3}, "schema=3: of a later version"),
    "of a later identity": ({"identity.version": 3}, "identity.version=3: of a later version"),
    "of later diagnostics": ({"diagnostics.isometry.version": 2}, "diagnostics.isometry.measured.version=2: not"),
    "without a schema": ({"schema": DELETED}, "schema=null: unknown version"),
    "schema true": ({"schema": True}, "schema=true: unknown version"),
    "without a configuration": ({"config": DELETED}, "missing keys: config"),
    "an unknown key": ({"remarks": "mine"}, "remarks: unknown key"),
    "a number as id": ({"id": 123456789012}, "id=123456789012: not accepted"),
    "an id of another form": ({"id": "../../x"}, "id=../../x: not accepted"),
    "another id": ({"id": "0123456789ab"}, "id=0123456789ab: identity.hashed is that of"),
    "no method name": ({"config.method.name": ""}, 'config.method.name="": not accepted'),
    "method name null": ({"config.method.name": None}, "config.method.name=null: not accepted"),
    "method name a number": ({"config.method.name": 7}, "config.method.name=7: not accepted"),
    "method name a list": ({"config.method.name": ["lora"]}, "config.method.name=[lora]: not accepted"),
    "method a text": ({"config.method": "lora"}, "config.method=lora: not accepted"),
    "no task name": ({"key.task": ""}, 'key.task="": not accepted'),
    "a number as subset": ({"key.subset": 4000}, "key.subset=4000: not accepted"),
    "an unknown track": (dict.fromkeys(("track", "key.track", "config.track"), "mine"), "key.track=mine: not"),
    "an unknown protocol": (
        dict.fromkeys(("protocol", "key.protocol", "config.protocol.name"), "test"),
        "key.protocol=test: not accepted",
    ),
    "an unknown outcome": ({"outcome": "fine"}, "outcome=fine: not accepted"),
    "two protocols": ({"protocol": "best_on_dev"}, "key.protocol=heldout: the rest of the record says best_on_dev"),
    "ok with an error": ({"error": {"type": "OSError", "message": "full"}}, "error.type=OSError: the outcome is ok"),
    "ok without scores": ({"metrics.test": None}, "metrics.test=null: the outcome is ok"),
    "accuracy 7": ({"metrics.test.accuracy": 7}, "metrics.test.accuracy=7.0: not accepted; accepted: a number from 0"),
    "accuracy -3": ({"metrics.selection.accuracy": -3}, "metrics.selection.accuracy=-3.0: not accepted"),
    "a text as score": ({"metrics.test.accuracy": "0.5"}, 'metrics.test.accuracy="0.5": not accepted'),
    "a text as size": ({"sizes.theta": "many"}, "sizes.theta=many: not accepted"),
    "a list as size": ({"sizes.head": [770]}, "sizes.head=[770]: not accepted"),
    "a list as seed": ({"seeds.head": [5]}, "seeds.head=[5]: not accepted"),
    "other seeds than configured": ({"seeds.head": 6}, "seeds="),
    "history null": ({"history": None}, "history=null: not accepted"),
    "history a list": ({"history": []}, "history=[]: not accepted"),
    "a step without its loss": ({"history.steps": [{"step": 1}]}, "history.steps.0.epoch: missing"),
    "cost null": ({"cost": None}, "cost=null: not accepted"),
    "diagnostics null": ({"diagnostics": None}, "diagnostics=null: not accepted"),
    "diagnostics of another shape": ({"diagnostics.isometry": {"ratios": 1}}, "diagnostics.isometry="),
    "provenance a text": ({"provenance": "here"}, "provenance=here: not accepted"),
    "another d than was hashed": (
        {"config.method.config.theta_d_length": 1},
        "config.method.config.theta_d_length=1: identity",
    ),
    "another rate than was hashed": ({"config.recipe.learning_rate": 0.5}, "config.recipe.learning_rate=0.5: identity"),
    "another rate in what is hashed": ({"identity.hashed.recipe.learning_rate": 0.5}, "id="),
    "other data than was hashed": ({"provenance.data_reference": {}}, "provenance.data_reference: identity.hashed"),
}

# What no editor shows: the bytes of the file.
BYTES: dict[str, tuple[Callable[[str], bytes], str]] = {
    "empty": (lambda text: b"", "no JSON, or cut off: Expecting value"),
    "cut off": (lambda text: text[:-400].encode(), "no JSON, or cut off: "),
    "cut off within the first line": (lambda text: b"{", "no JSON, or cut off: "),
    "two in one file": (lambda text: 2 * text.encode(), "no JSON, or cut off: Extra data"),
    "not UTF-8": (lambda text: text.replace("a processor", "processeur é").encode("latin1"), "not Unicode"),
    "UTF-16": (lambda text: text.encode("utf-16"), "not Unicode"),
    "a byte order mark": (lambda text: text.encode("utf-8-sig"), "no JSON, or cut off: Expecting value"),
    "zero bytes of a crash": (lambda text: b"\0" * 4096, "no JSON, or cut off: Expecting value"),
    "a pickle": (lambda text: b"\x80\x04K\x01.", "not Unicode"),
    "a list": (lambda text: b"[]", "a JSON list; accepted: the object"),
    "a number": (lambda text: b"5", "a JSON int; accepted: the object"),
    "null": (lambda text: b"null", "a JSON NoneType; accepted: the object"),
    "another program's": (lambda text: b'{"accuracy": 0.9}', "schema=null: unknown version of the record"),
    "NaN": (lambda text: text.replace("0.8,", "NaN,").encode(), "NaN is not strict JSON"),
    "Infinity": (lambda text: text.replace("0.8,", "-Infinity,").encode(), "-Infinity is not strict JSON"),
    "1e999": (lambda text: text.replace("0.8,", "1e999,").encode(), "1e999: beyond float64"),
    "10**400": (
        lambda text: text.replace('"theta": 4608', f'"theta": {10**400}').encode(),
        "not strict JSON of 64 bits",
    ),
    "a key twice": (lambda text: text.replace(' "cost"', ' "id": 3,\n "cost"').encode(), "id: stands there twice"),
    "half of a pair of escapes": (lambda text: text.replace("a processor", r"\ud800").encode(), "not Unicode"),
    "100,000 brackets": (lambda text: b"[" * 100_000, "nested too deeply"),
    "a score by hand": (lambda text: text.replace("0.8,", "0.9,").encode(), "digest="),
    "a time by hand": (lambda text: text.replace("60.0", "59.0").encode(), "digest="),
    "a digest by hand": (lambda text: text.replace('"digest": "', '"digest": "0').encode(), "digest="),
}


def _loop(path: Path) -> None:
    path.symlink_to(path)


def _other(path: Path) -> None:
    write(path.parent / "elsewhere", record("unilora", 6)).rename(path)


# What is no file, or not this run's.
PLACES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a folder": (Path.mkdir, "a folder, a pipe or a device"),
    "a pipe": (os.mkfifo, "a folder, a pipe or a device"),
    "a device": (lambda path: path.symlink_to("/dev/zero"), "a folder, a pipe or a device"),
    "a link to itself": (_loop, "cannot be read (Too many levels of symbolic links)"),
    "a link to nothing": (lambda path: path.symlink_to("absent"), "cannot be read (No such file or directory)"),
    "another run's": (_other, "in the folder of another run"),
}


@pytest.fixture
def spoilt(runs: Path) -> Path:
    """Where a bad record is put, beside two good ones."""
    write(runs, record("lora", score=0.61))
    write(runs, record("head", score=0.52))
    path = write(runs, content())
    path.unlink()
    return path


def assert_named(path: Path, reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Status and tables name the record, once and in one line, show both others, and say so by their exit status."""
    outputs = path.parents[3]
    for main, words, shown in (
        (experiments, ["status"], ["2 ok, 1 unreadable"]),
        (analysis, ["tables"], ["61.00 (n=1)", "52.00 (n=1)"]),
    ):
        assert main([*words, str(outputs)]) == 1
        printed = capsys.readouterr()
        (line,) = printed.err.splitlines()
        assert line.startswith(f"error: {path}: {reason}")
        assert "; accepted: " in line
        assert line.isprintable()
        assert all(words in printed.out for words in shown)
        assert "unilora" not in printed.out or main is experiments


@pytest.mark.parametrize("kind", EDITED)
def test_a_record_that_was_edited(kind: str, spoilt: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changes, reason = EDITED[kind]
    changed = content()
    for key, value in changes.items():
        *parents, last = key.split(".")
        target = changed
        for name in parents:
            target = target[name]
        target[last] = value
        if value is DELETED:
            del target[last]
    spoilt.write_text(json.dumps(changed))
    assert_named(spoilt, reason, capsys)


@pytest.mark.parametrize("kind", BYTES)
def test_a_file_that_was_damaged(kind: str, spoilt: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damage, reason = BYTES[kind]
    damaged = damage(text())
    assert damaged != text().encode()
    spoilt.write_bytes(damaged)
    assert_named(spoilt, "", capsys)
    experiments(["status", str(spoilt.parents[3])])
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize("kind", PLACES)
def test_what_is_no_record_of_this_run(kind: str, spoilt: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put, reason = PLACES[kind]
    put(spoilt)
    assert_named(spoilt, "", capsys)
    experiments(["status", str(spoilt.parents[3])])
    assert reason in capsys.readouterr().err


def test_two_records_of_one_run_are_both_named(spoilt: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = write(spoilt.parents[3] / "other", content() | {"cost": {}})
    spoilt.write_text(text())
    assert analysis(["tables", str(spoilt.parents[3])]) == 1
    printed = capsys.readouterr()
    assert [line.split(": another record of run ")[0] for line in printed.err.splitlines()] == [
        f"error: {path}" for path in sorted((other, spoilt))
    ]
    assert "61.00 (n=1)" in printed.out
    assert "unilora" not in printed.out


def test_copies_of_one_record_count_once(spoilt: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoilt.write_text(text())
    shutil.copytree(spoilt.parent, spoilt.parents[3] / "copy")
    assert analysis(["tables", str(spoilt.parents[3])]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert re.search(r"unilora, d=4608 .*80\.00 \(n=1\)", printed.out)


def test_a_name_with_a_line_break_or_an_escape_is_shown_in_one_line(
    spoilt: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoilt.write_text(json.dumps(content() | {"outcome": "fi\n\x1b[31mne"}))
    assert_named(spoilt, r"outcome=fi \x1b[31mne: not accepted", capsys)


@pytest.mark.parametrize("closed", ["file", "folder"])
def test_what_may_not_be_read_is_named(closed: str, spoilt: Path) -> None:
    # Root may read everything, but for the capabilities that say so.
    spoilt.write_text(text())
    path = spoilt if closed == "file" else spoilt.parent
    path.chmod(0)
    dropped = "-all" if shutil.which("setpriv") and os.geteuid() == 0 else None
    if dropped is None and os.geteuid() == 0:
        pytest.skip("root may read everything, and there is no setpriv to drop that")
    drop = ["setpriv", f"--bounding-set={dropped}", f"--inh-caps={dropped}"] if dropped else []
    outputs = str(spoilt.parents[3])
    for words, shown in ((["experiments", "status"], "2 ok, 1 unreadable"), (["analysis", "tables"], "61.00 (n=1)")):
        command = [*drop, sys.executable, "-m", *words, outputs]
        ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
        assert ended.returncode == 1
        assert ended.stderr == f"error: {path}: cannot be read (Permission denied); accepted: a readable {closed}\n"
        assert shown in ended.stdout
    path.chmod(0o700)


def test_the_kinds_are_thirty_and_more() -> None:
    assert len(EDITED) + len(BYTES) + len(PLACES) >= 30
    assert identified(content())["id"] == content()["id"]

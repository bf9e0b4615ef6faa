"""Sweeps through existing engines: the same records, the same ends, and the code that was submitted."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from experiments.records.checkout import SUBMITTED
from experiments.sweep import snapshot
from experiments.sweep.launcher import _installed
from tests.experiments.conftest import ROOT, Runner

pytestmark = pytest.mark.slow

SLURM = ["hydra/launcher=slurm", "hydra.launcher.partition=main", "hydra.launcher.cpus_per_task=1"]
ENGINES = {
    "basic": ["hydra/launcher=basic"],
    "joblib": ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"],
    "submitit_local": ["hydra/launcher=submitit_local"],
    "slurm": [*SLURM, "hydra.launcher.array_parallelism=2"],
    "ray": ["hydra/launcher=ray", "+hydra.launcher.ray.init.num_cpus=2"],
}
METHOD = """\
# Full fine-tuning, by a name of its own.
#   python run.py --config-dir DIR method=mine
name: mine
config: {_target_: baselines.FullFineTuning}
"""
RECIPE = """\
# @package _global_
recipe:
  name: mine/encoder
  sources: {all: a test, tasks: glue/sst2}
  epochs: ${column:1}
  learning_rate: 1.0e-3
"""


def needs(engine: str) -> None:
    package = {"joblib": "joblib", "submitit_local": "submitit", "slurm": "submitit", "ray": "ray"}.get(engine)
    if package and not _installed(f"hydra_plugins.hydra_{package}_launcher"):
        pytest.skip(f"hydra-{package}-launcher is not installed")
    if engine == "slurm" and not slurm_answers():
        pytest.skip("no Slurm answers here; tests/experiments/sweep/slurm.sh starts one")


@functools.cache
def slurm_answers() -> bool:
    """Whether there is a controller with a node of the partition: the packages alone run nothing."""
    if shutil.which("sinfo") is None:
        return False
    asked = subprocess.run(["sinfo", "-h", "-p", "main", "-o", "%T"], capture_output=True, text=True, timeout=60)
    return asked.returncode == 0 and asked.stdout.strip() != ""


@pytest.fixture(scope="module")
def words(tiny_backbone: Path, tiny_glue: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Of a sweep over the tiny encoder with a method and a recipe of a folder of groups."""
    groups = tmp_path_factory.mktemp("groups")
    for name, text in {"method/mine": METHOD, "recipe/mine/encoder": RECIPE}.items():
        (groups / f"{name}.yaml").parent.mkdir(parents=True)
        (groups / f"{name}.yaml").write_text(text, encoding="utf-8")
    local = ["data=local", f"data.path={tiny_glue}", "backbone=encoder", "backbone.source=local"]
    backbone = [f"backbone.path={tiny_backbone}", "backbone.max_length=32"]
    return ["-m", f"--config-dir={groups}", *local, *backbone, "method=mine", "logger=disabled", "threads=1"]


def records(outputs: Path) -> dict[str, dict[str, Any]]:
    """The records below a folder by id, without what differs from host to host and from time to time."""
    paths = [path for path in outputs.rglob("record.json") if ".code" not in path.parts]
    return {path.parent.name: timeless(json.loads(path.read_text(encoding="utf-8"))) for path in paths}


def timeless(value: Any) -> Any:
    if isinstance(value, list):
        return [timeless(item) for item in value]
    if not isinstance(value, dict):
        return value
    other = {"cost", "digest", "started", "finished", "resumed", "resume", "outputs", "git_sha", "git_dirty"}
    return {key: timeless(item) for key, item in value.items() if key not in other and "seconds" not in key}


@pytest.fixture(scope="module")
def basic(words: list[str], run_py: Runner, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The records of the sweep through Hydra's own launcher."""
    outputs = tmp_path_factory.mktemp("basic")
    ended = run_py(*words, "recipe.learning_rate=0.001,1e30", "recipe.warmup_ratio=0", f"outputs={outputs}")
    assert ended.returncode == 1, ended.stderr
    return records(outputs)


@pytest.mark.parametrize("engine", [name for name in ENGINES if name != "basic"])
def test_one_job_fails_and_the_other_is_recorded_as_through_the_basic_launcher(
    engine: str, words: list[str], run_py: Runner, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    needs(engine)
    basic = request.getfixturevalue("basic")
    sweep = [*words, *ENGINES[engine], f"outputs={tmp_path}"]
    ended = run_py(*sweep, "recipe.learning_rate=0.001,1e30", "recipe.warmup_ratio=0")
    assert ended.returncode == 1, ended.stderr
    assert "sweep: 2 jobs, 1 ok, 1 not" in ended.stdout
    (line,) = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
    assert line.startswith("error: mine on glue/sst2: diverged")
    found = records(tmp_path)
    assert sorted(record["outcome"] for record in found.values()) == ["diverged", "ok"]
    assert found == basic

    again = run_py(*sweep, "recipe.learning_rate=0.001", "recipe.warmup_ratio=0")
    assert (again.returncode, again.stderr) == (0, "")
    assert "sweep: 1 job, 1 recorded, 0 to run" in again.stdout


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout of this code that may be changed."""
    folder = snapshot.copied(tmp_path, None).rename(tmp_path / "checkout")
    (folder / SUBMITTED).unlink()
    for path in folder.rglob("*"):
        path.chmod(0o755)
    for command in (
        ["init", "-q"],
        ["add", "."],
        ["-c", "user.name=n", "-c", "user.email=e", "commit", "-qm", "first"],
    ):
        subprocess.run(["git", "-C", str(folder), *command], check=True)
    return folder


def in_order(command: list[str], note: str, then: Callable[[], None]) -> tuple[int, str]:
    """Start a command, do something as soon as it has printed a line with `note`; its exit status and its output."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        read = []
        for line in process.stdout:
            read.append(line)
            if note in line:
                then()
    return process.returncode, "".join(read)


@pytest.mark.parametrize("engine", ["joblib", "slurm"])
def test_the_code_that_was_submitted_is_the_code_that_runs(
    engine: str, words: list[str], checkout: Path, tmp_path: Path
) -> None:
    needs(engine)

    def change() -> None:
        for module in checkout.rglob("*.py"):
            module.write_text("raise SystemExit('the checkout has changed')\n", encoding="utf-8")
        shutil.rmtree(checkout / "conf")

    sweep = [*words, *ENGINES[engine], f"outputs={tmp_path / 'runs'}", "seed=0,1"]
    status, printed = in_order(
        [sys.executable, str(checkout / "run.py"), *sweep], "note: the jobs run the code", change
    )
    assert status == 0, printed
    states = [
        json.loads(path.read_text(encoding="utf-8"))["provenance"] for path in (tmp_path / "runs").rglob("record.json")
    ]
    head = subprocess.run(["git", "-C", str(checkout), "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    assert [(state["git_sha"], state["git_dirty"]) for state in states] == [(head.stdout.strip(), False)] * 2


def test_a_job_that_slurm_ends_is_queued_again_and_goes_on(words: list[str], run_py: Runner, tmp_path: Path) -> None:
    needs("slurm")
    run = [*words, "method=full", "recipe=default", "task=glue/sst2", "recipe.epochs=60"]
    name = f"gpart-{tmp_path.name}"
    command = [sys.executable, str(ROOT / "run.py"), *run, f"outputs={tmp_path / 'cut'}", "resume=true"]
    with subprocess.Popen([*command, *SLURM, f"hydra.launcher.name={name}"]) as sweep:
        while not any((tmp_path / "cut").rglob("resume/*/manifest.json")):
            assert sweep.poll() is None, "the run has ended without keeping a state"
            time.sleep(0.1)
        # What Slurm does before a time limit: the signal goes to every process of the job.
        subprocess.run(["scancel", "--signal=USR2", f"--name={name}"], check=True)
    assert sweep.returncode == 0
    assert run_py(*run, f"outputs={tmp_path / 'whole'}").returncode == 0
    assert records(tmp_path / "cut") == records(tmp_path / "whole")
    (record,) = (tmp_path / "cut").rglob("record.json")
    assert json.loads(record.read_text(encoding="utf-8"))["provenance"]["resumed"]
    assert [path.parent.name for path in (tmp_path / "cut").rglob("previous-record.json")] == ["1"]


def test_a_refused_sweep_leaves_no_copy(words: list[str], run_py: Runner, tmp_path: Path) -> None:
    needs("joblib")
    ended = run_py(*words, *ENGINES["joblib"], f"outputs={tmp_path / 'runs'}", "recipe.epochs=1,-1")
    assert ended.returncode == 2
    assert not (tmp_path / "runs").exists()

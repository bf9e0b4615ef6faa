"""`python -m experiments reproduce RECORD`: a recorded run carried out again from its own text, and compared.

Exit status: 0 reproduced, 1 not, 2 refused: the data, the weights or the record are not those that are needed.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from pydantic import JsonValue

from experiments.commands.recorded import Folders, again, moved, pinned
from experiments.commands.run_folders import REPRODUCED
from experiments.configuration.identity import run_folder
from experiments.configuration.overrides import CONF, options
from experiments.configuration.spec import TRAINER_VERSION
from experiments.errors import RunFailed, SpecError
from experiments.records import record
from experiments.records.lock import LOCK
from experiments.records.mirror import logger_of, mirror
from experiments.run import preflight, runner
from experiments.run.preflight import Prepared
from schema.folder import Fault
from schema.record import Record
from schema.run import RunSpec

if TYPE_CHECKING:
    from experiments.commands.agreement import Finding, Kept


@dataclass(frozen=True)
class Verdict:
    """Whether a run was reproduced, and what was compared to tell, in lines."""

    reproduced: bool
    text: str


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    own = commands.add_parser("reproduce", help="run a recorded run again, from its own text, and compare")
    own.add_argument("record", type=Path, help="a record.json, or its folder")
    own.add_argument("--local", metavar="FOLDER", help="the folder of data and weights, where it has moved")
    own.add_argument("--data", metavar="FOLDER", help="the folder of the data, where it has moved")
    own.add_argument("--backbone", metavar="FOLDER", help="the folder of the backbone, where it has moved")
    own.add_argument("--out", type=Path, default=Path("outputs", "reproduced"), help="default: %(default)s")
    own.set_defaults(execute=_execute)


def _execute(chosen: argparse.Namespace) -> int:
    verdict = reproduce(chosen.record, Folders(chosen.local, chosen.data, chosen.backbone), chosen.out)
    print(verdict.text)
    return 0 if verdict.reproduced else 1


def reproduce(path: Path, folders: Folders, out: Path) -> Verdict:
    """Carry a recorded run out again, in a folder of its own, and compare what came of it with the record.

    Diagnostics change no score and are left out; where the run's code has another version now, that version runs.

    Args:
        path: a record.json, or its folder.
        folders: of data and weights, where the record's are elsewhere now.
        out: below which the run has its folder; its record is `reproduced-record.json` there.

    Raises:
        SpecError: if the record, its data or its weights are not there, or are others than those it was made with.
        RunFailed: if another process carries this run out.
    """
    folder = path if path.is_dir() else path.parent
    then = _scored(folder)
    spec, versions = _of_today(then, folder, folders, out)
    prepared = preflight.prepare(spec)
    _require_same(prepared, then)
    now = _carried_out(prepared, then)
    from experiments.commands.agreement import Kept

    return _verdict(Kept(then, folder), Kept(now, run_folder(spec, prepared.id)), versions)


def _scored(folder: Path) -> Record:
    found = record.read(folder)
    if isinstance(found, Fault):
        raise SpecError([f"RECORD={found}"])
    if found is None or found.metrics.selection is None:
        raise SpecError(
            [f"RECORD={folder}: no record of a run that was scored; accepted: a folder with such a record.json"]
        )
    return found


def _of_today(then: Record, folder: Path, folders: Folders, out: Path) -> tuple[RunSpec, list[str]]:
    """The run as it is made today, and what of its code has another version than it had."""
    spec = moved(again(then.config.model_dump(mode="json"), folder / record.RECORD), folders)
    spec = pinned(spec, then.provenance)
    old = {"method.result_version": spec.method.result_version, "task.result_version": spec.task.result_version}
    old["trainer_version"] = spec.trainer_version
    new = {
        "method.result_version": _result_version("method", spec.method.name, spec.method.result_version),
        "task.result_version": _result_version("task", spec.task.name, spec.task.result_version),
        "trainer_version": TRAINER_VERSION,
    }
    changes = {
        "method": spec.method.model_copy(update={"result_version": new["method.result_version"]}),
        "task": spec.task.model_copy(update={"result_version": new["task.result_version"]}),
        "trainer_version": TRAINER_VERSION,
        "diagnostics": spec.diagnostics.model_copy(update={"measures": []}),
        # It has a mirror of its own, once its record is apart from that of the run itself.
        "logger": spec.logger.model_copy(update={"wandb": "disabled"}),
        "outputs": out.as_posix(),
    }
    return spec.model_copy(update=changes), [
        f"{name} {old[name]}, now {new[name]}" for name in old if old[name] != new[name]
    ]


def _result_version(group: str, name: str, recorded: int) -> int:
    """The version of a method's or task's code, by its file in conf/; where there is none, the recorded one."""
    if name not in options(group):
        return recorded
    with initialize_config_dir(str(CONF), version_base="1.3"):
        composed = compose("config", [f"{group}={name}"])[group]
    assert isinstance(composed, DictConfig)
    return int(OmegaConf.select(composed, "result_version", default=1))


def _require_same(prepared: Prepared, then: Record) -> None:
    """Refuse rows or weights that are not those of the record, as far as its references say."""
    # A revision is the name by which a commit was found.
    data, backbone = (
        {key: value for key, value in reference.items() if key != "revision"}
        for reference in (then.provenance.data_reference, then.provenance.backbone_reference)
    )
    same = {
        "data": prepared.source.matches(data),
        "backbone": _holds(prepared.weights.reference(), backbone),
    }
    errors = [
        f"{name}.path={getattr(prepared.spec, name).path}: not the {name} that the run was made with; "
        f"accepted: that {name}, or --{name} FOLDER where it has moved"
        for name, matches in same.items()
        if not matches
    ]
    if errors:
        raise SpecError(errors)


def _holds(now: Mapping[str, JsonValue], then: Mapping[str, JsonValue]) -> bool:
    """Whether all that one reference says stands in the other; those of earlier records name fewer files."""
    return all(
        _holds(found, value)
        if isinstance(value, dict) and isinstance(found := now.get(key), dict)
        else now.get(key) == value
        for key, value in then.items()
    )


def _carried_out(prepared: Prepared, then: Record) -> Record:
    """The new record, under the name that no reader looks for, with its mirror."""
    folder = run_folder(prepared.spec, prepared.id)
    if (folder / record.RECORD).exists():
        raise SpecError([f"--out={prepared.spec.outputs}: holds a record of this run; accepted: another folder"])
    try:
        runner.run(prepared.spec, preflight.reachable(prepared.spec))
    except RunFailed:
        now = record.written(folder)
        if now.metrics.selection is None:
            raise
    else:
        now = record.written(folder)
    finally:
        _put_apart(folder)
    mirror(now, logger_of(then), folder, reproduced=True)
    return now


def _put_apart(folder: Path) -> None:
    """Give the record its own name, and take away what makes the folder one of a run that is to be done."""
    if (folder / record.RECORD).is_file():
        (folder / record.RECORD).replace(folder / REPRODUCED)
        for name in ("attempt.json", "spec.json", LOCK):
            (folder / name).unlink(missing_ok=True)


def _verdict(then: Kept, now: Kept, versions: list[str]) -> Verdict:
    from experiments.commands.agreement import bits, environment, rows
    from experiments.commands.intervals import intervals

    differing = versions + environment(then.record, now.record)
    if differing and then.record.config.backbone.model_dump().get("source") == "embedded":
        differing.append("the backbone's weights, which each machine pretrains itself")
    exact, rough = bits(then, now), [rows(then.record, now.record), *intervals(then, now)]
    decisive = rough if differing else exact
    reproduced = any(found.agrees for found in decisive[1:]) and not any(found.agrees is False for found in decisive)
    lines = [f"{then.record.id}, of commit {then.record.provenance.git_sha}: {_reason(differing)}"]
    lines += [str(found) for found in (decisive if reproduced else [*exact, *rough[1:]])]
    return Verdict(reproduced, "\n".join([*lines, _conclusion(reproduced, decisive, bool(differing), now)]))


def _reason(differing: list[str]) -> str:
    if differing:
        return f"compared by intervals, since these differ: {'; '.join(differing)}"
    return "compared by bits: the same processor type, threads and package versions"


def _conclusion(reproduced: bool, decisive: list[Finding], by_intervals: bool, now: Kept) -> str:
    how = "within intervals" if by_intervals else "bit for bit"
    compared = ", ".join(dict.fromkeys(found.part for found in decisive if found.agrees is not None)) or "nothing"
    word = "reproduced" if reproduced else "NOT reproduced"
    return f"{word} {how}; compared: {compared}; {now.folder / REPRODUCED}"

"""The rows of a task from its three sources: the hub, a folder, or the suite's own generator.

What comes from where is settled here; what comes out is the same for all three: columns, labels and example ids are
checked, and the same rows have the same fingerprint.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa

from experiments import files, hub
from experiments.errors import SpecError
from experiments.identity import file_digest
from experiments.rows import ID, checked
from experiments.splits import Splits, cut, draw, fingerprint

__all__ = ["Splits", "check", "fingerprint", "load", "reference", "subset_name"]

Section = Mapping[str, Any]


def reference(task: Section, data: Section) -> dict[str, Any]:
    """What the rows are, for a run's identity.

    Returns:
        hub: name and revision; local: sha256 of the files by split; embedded: the generator's version.

    Raises:
        SpecError: if a local folder lacks a split.
    """
    if data["source"] == "hub":
        return {key: task["hub"][key] for key in ("path", "name", "revision")}
    if data["source"] == "embedded":
        from experiments import embedded

        return {"generator": embedded.GENERATOR_VERSION}
    return {
        "sha256": {split: [file_digest(path) for path in _local_files(task, data, split)] for split in _needed(task)}
    }


def check(task: Section, data: Section) -> list[str]:
    """One line for each folder, split or column that a local source lacks; reads schemas, no rows."""
    if data["source"] != "local":
        return []
    try:
        folder = _local_folder(task, data)
    except SpecError as error:
        return error.errors
    errors = []
    for split in _needed(task):
        try:
            paths = _local_files(task, data, split)
            errors += _missing_columns(task, data, folder, split, files.columns(paths))
        except SpecError as error:
            errors += error.errors
        except files.FileError as error:
            errors.append(f"data.path={data['path']}: {error}; accepted: {files.ACCEPTED}")
    return errors


def subset_name(task: Section, data: Section, seeds: Section) -> str:
    """The name of the rows used: "full", `4000-of-67349`, `test:200-of-872@seed0`, or both joined by "+".

    Which training rows they are is one of the things that seeds vary, and not named; scores on other test rows are
    scores on another test, and are.
    Nothing is downloaded for it: a total that is not known without is written `?`.
    """
    parts = []
    for key, prefix, split, suffix in (
        ("train_rows", "", task["splits"]["train"], ""),
        ("test_rows", "test:", task["splits"]["test"], f"@seed{seeds['split']}"),
    ):
        rows = data[key]
        total = None if rows is None else _total(task, data, split)
        if rows is not None and rows != total:
            parts.append(f"{prefix}{rows}-of-{'?' if total is None else total}{suffix}")
    return "+".join(parts) or "full"


def load(task: Section, data: Section, seeds: Section, protocol: str) -> Splits:
    """Read, check and split the rows of a run.

    protocol=heldout: a part cut from the training rows selects, stratified by class unless the task is a regression;
    the official validation split is the test. protocol=best_on_dev: all training rows train, the official validation
    split selects, and there is no test. Subsets (`data.train_rows`, `data.test_rows`) are taken first.

    Raises:
        SpecError: if rows, labels or ids are not what the task says, or fewer than asked for.
    """
    seed = seeds["split"]
    train = _drawn(_rows(task, data, task["splits"]["train"]), "train_rows", data, seed)
    official = _drawn(_rows(task, data, task["splits"]["test"]), "test_rows", data, seed)
    further = {
        name: _drawn(_rows(task, data, split), "test_rows", data, seed) for name, split in task["extra_test"].items()
    }
    name = subset_name(task, data, seeds)
    if protocol == "best_on_dev":
        return Splits(train, official, further, name)
    labels = train[task["label"]][:] if task["classes"] else None
    try:
        trains, selects = cut(len(train), labels, seed)
    except ValueError as error:
        raise SpecError(
            [
                f"protocol=heldout: {len(train)} training rows are too few to cut a selection split from ({error}); "
                "accepted: more data.train_rows, or protocol=best_on_dev"
            ]
        ) from error
    return Splits(train.select(trains), train.select(selects), {"test": official, **further}, name)


def _needed(task: Section) -> list[str]:
    return list(dict.fromkeys([*task["splits"].values(), *task["extra_test"].values()]))


def _drawn(rows: datasets.Dataset, key: str, data: Section, seed: int) -> datasets.Dataset:
    asked = data[key]
    if asked is not None and asked > len(rows):
        raise SpecError(
            [f"data.{key}={asked}: split {rows.split} has {len(rows)} rows; accepted: at most {len(rows)}, or null"]
        )
    return rows if asked is None else rows.select(draw(len(rows), asked, seed))


# Local folders


def _local_folder(task: Section, data: Section) -> Path:
    """PATH/<task name>, PATH/<its last part> or PATH: the first that holds a split of the task.

    Raises:
        SpecError: if none does.
    """
    root = Path(data["path"]).expanduser()
    places = [root / task["name"], root / task["name"].rpartition("/")[2], root]
    splits = _needed(task)
    for place in places:
        if place.is_dir() and any(_holds(place, split) for split in splits):
            return place
    accepted = f"accepted: a folder with {' and '.join(splits)} as {files.ACCEPTED}"
    if not root.is_dir():
        raise SpecError([f"data.path={data['path']}: no such folder; {accepted}"])
    looked = ", ".join(map(str, places))
    raise SpecError([f"data.path={data['path']}: no split of {task['name']} in {looked}; {accepted}"])


def _holds(folder: Path, split: str) -> bool:
    try:
        return bool(files.split_files(folder, split))
    except files.FileError:
        return True


def _local_files(task: Section, data: Section, split: str) -> list[Path]:
    folder = _local_folder(task, data)
    try:
        paths = files.split_files(folder, split)
    except files.FileError as error:
        raise SpecError([f"data.path={data['path']}: {error}; accepted: one of them"]) from error
    if not paths:
        raise SpecError([f"data.path={data['path']}: no file of split {split} in {folder}; accepted: {files.ACCEPTED}"])
    return paths


def _missing_columns(task: Section, data: Section, folder: Path, split: str, present: list[str]) -> list[str]:
    return [
        f"data.path={data['path']}: split {split} in {folder} has no column {name}; it has {', '.join(present)}; "
        f"accepted: the hub's column names {', '.join([*task['inputs'], task['label']])}"
        for name in [*task["inputs"], task["label"]]
        if name not in present
    ]


# Rows


def _total(task: Section, data: Section, split: str) -> int | None:
    if data["source"] == "embedded":
        from experiments import embedded

        return len(embedded.sentence_task(_short(task), split))
    try:
        if data["source"] == "local":
            return files.row_count(_local_files(task, data, split))
        folder = hub.cached_folder(hub.dataset(task))
        if folder is None:
            return task["hub"].get("rows", {}).get(split)
        return files.row_count(files.split_files(folder, split))
    except (SpecError, files.FileError):
        # `check` and `load` refuse such a folder; a plan goes on without it.
        return None


def _short(task: Section) -> str:
    return str(task["name"]).rpartition("/")[2]


def _rows(task: Section, data: Section, split: str) -> datasets.Dataset:
    """A split as the task says: inputs (text), label (class id or float32) and `example_id`."""
    where = {"hub": f"task.hub.path={task['hub']['path']}", "embedded": "data=embedded"}.get(
        data["source"], f"data.path={data['path']}"
    )
    try:
        table = _table(task, data, split)
    except files.FileError as error:
        raise SpecError([f"{where}: {error}; accepted: {files.ACCEPTED}"]) from error
    return checked(task, table, f"{where}: split {split}", split)


def _table(task: Section, data: Section, split: str) -> pa.Table:
    values = [task["label"], ID]
    if data["source"] == "embedded":
        from experiments import embedded

        rows = embedded.sentence_task(_short(task), split)
        table = rows.with_format("arrow")[:].replace_schema_metadata(rows.features.arrow_schema.metadata)
        return table.select([*task["inputs"], *values])
    if data["source"] == "local":
        return files.table(_local_files(task, data, split), task["inputs"], values)
    return files.table(files.split_files(hub.download(hub.dataset(task)), split), task["inputs"], values)

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

from experiments.configuration.identity import file_digest
from experiments.data import files, image_folders
from experiments.data.rows import ID, checked
from experiments.data.splits import Splits, cut, draw, fingerprint
from experiments.errors import SpecError

__all__ = ["Splits", "check", "fingerprint", "load", "reference", "subset_name"]

Section = Mapping[str, Any]


def reference(task: Section, data: Section) -> dict[str, Any]:
    """What the rows are, for a run's identity.

    Returns:
        hub: name and revision; local: sha256 of the files by split; embedded: the generator's version.

    Raises:
        SpecError: if a local folder lacks a split.
    """
    parts = [_reference(section, data) for section in sections(task)]
    return parts[0] if len(parts) == 1 else {**parts[0], "test_sets": parts[1:]}


def _reference(task: Section, data: Section) -> dict[str, Any]:
    if data["source"] == "hub":
        return {key: task["hub"][key] for key in ("path", "name", "revision")}
    if data["source"] == "embedded":
        from experiments import embedded

        return {"generator": embedded.generator_version(rows_name(task))}
    return {
        "sha256": {split: [file_digest(path) for path in _local_files(task, data, split)] for split in _needed(task)}
    }


def rows_name(task: Section) -> str:
    """The task whose rows these are: its own, unless it trains on those of another (`rows_of`)."""
    return str(task.get("rows_of") or task["name"])


def sections(task: Section) -> list[Section]:
    """The sections that rows come from: the task's own, then those of its test sets, with their test splits alone."""
    tests = [{**part, "splits": {"test": part["splits"]["test"]}} for part in task.get("test_sets", {}).values()]
    return [task, *tests]


def check(task: Section, data: Section) -> list[str]:
    """One line for each folder, split or column that a local source lacks; reads schemas, no rows."""
    missing = [part["name"] for part in sections(task) if data["source"] == "hub" and not part["hub"]["path"]]
    if missing:
        return [f"data=hub: {name} is not on the hub; accepted: data=local data.path=FOLDER" for name in missing]
    if data["source"] == "embedded":
        from experiments import embedded

        return [error for part in sections(task) for error in embedded.check(rows_name(part))]
    return [error for part in sections(task) for error in _check_local(part, data)] if data["source"] == "local" else []


def _check_local(task: Section, data: Section) -> list[str]:
    try:
        folder = _local_folder(task, data)
    except SpecError as error:
        return error.errors
    errors = []
    for split in _needed(task):
        try:
            paths = _local_files(task, data, split)
            if image_folders.is_split(folder, split):
                errors += [
                    f"data.path={data['path']}: {e}" for e in image_folders.check(folder, split, task["classes"])
                ]
                continue
            errors += _missing_columns(task, data, folder, split, files.columns(paths, task.get("aliases")))
        except SpecError as error:
            errors += error.errors
        except files.FileError as error:
            errors.append(f"data.path={data['path']}: {error}; accepted: {files.ACCEPTED}")
    return errors


def classes(task: Section, data: Section) -> list[str] | int | None:
    """The classes of a task; where the task leaves them to a folder of images, the names of its folders.

    Raises:
        SpecError: if there is no such folder.
    """
    if task["classes"] != image_folders.FROM_FOLDER:
        return task["classes"]
    if data["source"] != "local":
        raise SpecError([f"data={data['source']}: {task['name']} is a folder of images; accepted: data=local"])
    return image_folders.classes(_local_folder(task, data), task["splits"]["train"])


def subset_name(task: Section, data: Section, seeds: Section) -> str:
    """The name of the rows used: "full", `4000-of-67349`, `test:200-of-872@seed0`, or both joined by "+".

    Which training rows they are is one of the things that seeds vary, and not named; scores on other test rows are
    scores on another test, and are.
    Nothing is downloaded for it: a total that is not known without is written `?`.
    """
    parts = []
    tested = sections(task)[-1]
    for key, prefix, section, split, suffix in (
        ("train_rows", "", task, task["splits"]["train"], ""),
        ("test_rows", "test:", tested, tested["splits"]["test"], f"@seed{seeds['split']}"),
    ):
        rows = data[key]
        total = None if rows is None else _total(section, data, split)
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
    tests = {
        name: _drawn(_rows(section, data, split), "test_rows", data, seed)
        for name, (section, split) in _tests(task).items()
    }
    name = subset_name(task, data, seeds)
    if protocol == "best_on_dev":
        return Splits(train, tests.pop("test"), tests, name)
    if "selection" in task["splits"]:
        return Splits(train, _rows(task, data, task["splits"]["selection"]), tests, name)
    trains, selects = _cut(task, train, seed)
    return Splits(train.select(trains), train.select(selects), tests, name)


def _cut(task: Section, train: datasets.Dataset, seed: int) -> tuple[list[int], list[int]]:
    labels = train[task["label"]][:] if task["classes"] else None
    try:
        return cut(len(train), labels, seed, task.get("selection_fraction"))
    except ValueError as error:
        raise SpecError(
            [
                f"protocol=heldout: {len(train)} training rows are too few to cut a selection split from ({error}); "
                "accepted: more data.train_rows, or protocol=best_on_dev"
            ]
        ) from error


def _tests(task: Section) -> dict[str, tuple[Section, str]]:
    """The test splits by name, "test" first: of which section and which of its splits."""
    if task.get("test_sets"):
        return {name: (section, section["splits"]["test"]) for name, section in task["test_sets"].items()}
    further = {name: (task, split) for name, split in task["extra_test"].items()}
    return {"test": (task, task["splits"]["test"]), **further}


def _needed(task: Section) -> list[str]:
    return list(dict.fromkeys([*task["splits"].values(), *task.get("extra_test", {}).values()]))


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
    name = rows_name(task)
    places = [root / name, root / name.rpartition("/")[2], root]
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
        return bool(files.split_files(folder, split)) or image_folders.is_split(folder, split)
    except files.FileError:
        return True


def _local_files(task: Section, data: Section, split: str) -> list[Path]:
    folder = _local_folder(task, data)
    if image_folders.is_split(folder, split):
        return image_folders.image_files(folder, split)
    try:
        paths = files.split_files(folder, split)
    except files.FileError as error:
        raise SpecError([f"data.path={data['path']}: {error}; accepted: one of them"]) from error
    if not paths:
        raise SpecError([f"data.path={data['path']}: no file of split {split} in {folder}; accepted: {files.ACCEPTED}"])
    return paths


def _missing_columns(task: Section, data: Section, folder: Path, split: str, present: list[str]) -> list[str]:
    if not present:
        return [f"data.path={data['path']}: split {split} in {folder} has no rows; accepted: one or more"]
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

        return len(embedded.rows(rows_name(task), split))
    try:
        if data["source"] == "local":
            local = _local_files(task, data, split)
            return len(local) if image_folders.is_split(_local_folder(task, data), split) else files.row_count(local)
        paths = files.cached_hub_files(task, split)
        return task["hub"].get("rows", {}).get(split) if paths is None else files.row_count(paths)
    except (SpecError, files.FileError):
        # `check` and `load` refuse such a folder; a plan goes on without it.
        return None


def _rows(task: Section, data: Section, split: str) -> datasets.Dataset:
    """A split as the task says: inputs, label and `example_id`."""
    where = {"hub": f"task.hub.path={task['hub']['path']}", "embedded": "data=embedded"}.get(
        data["source"], f"data.path={data['path']}"
    )
    try:
        table = _table(task, data, split)
    except files.FileError as error:
        raise SpecError([f"{where}: {error}; accepted: {files.ACCEPTED}"]) from error
    if not len(table):
        raise SpecError([f"{where}: split {split} has no rows; accepted: at least one"])
    return checked(task, table, f"{where}: split {split}", split)


def _table(task: Section, data: Section, split: str) -> pa.Table:
    values = [task["label"], ID]
    text = task["inputs"] if task.get("input_type") != "image" else []
    values += [] if text else task["inputs"]
    if data["source"] == "embedded":
        from experiments import embedded

        rows = embedded.rows(rows_name(task), split)
        table = rows.with_format("arrow")[:].replace_schema_metadata(rows.features.arrow_schema.metadata)
        return table.select([*text, *values])
    if data["source"] == "local":
        folder = _local_folder(task, data)
        if image_folders.is_split(folder, split):
            return image_folders.table(folder, split, task["classes"], task["inputs"][0], task["label"])
        return files.table(_local_files(task, data, split), text, values, task.get("aliases"))
    return files.table(files.hub_files(task, split), text, values, task.get("aliases"))

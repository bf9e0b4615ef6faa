"""The rows of a run: from the hub, a folder, or the suite's own generator, drawn and split.

What comes from where is settled by one of three `Source`s; what comes out is the same for all: columns, labels and
example ids are checked, and the same rows have the same fingerprint.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from experiments import families
from experiments.data import hub, repeats
from experiments.data.data_set import DataSet, data_sets
from experiments.data.embedded_source import EmbeddedSource
from experiments.data.hub_source import HubSource
from experiments.data.local_source import LocalSource
from experiments.data.references import Reference
from experiments.data.source import Source, WithTestSets, references_of_tests
from experiments.data.splits import Splits, cut, draw, fingerprint
from experiments.errors import SpecError
from schema.run import RunSpec
from schema.sections import Data, Task

if TYPE_CHECKING:
    import datasets

__all__ = ["Source", "Splits", "fingerprint", "load", "source_of", "subset_name"]


def source_of(
    task: Task, data: Data, *, timeout: float = hub.DEFAULT_TIMEOUT, reference: Reference | None = None
) -> Source:
    """Where the rows of a run are; nothing is looked for before it is asked for.

    Args:
        task: whose rows.
        data: where they come from.
        timeout: seconds to wait for the hub.
        reference: of a plan or a record, whose commit is then that of the hub's rows.
    """
    reference = reference or {}
    own, tests = data_sets(task)
    main = _source(task, own, data, timeout, reference)
    if not tests:
        return main
    parts = references_of_tests(reference, tests)
    return WithTestSets(
        main,
        {name: _source(task, data_set, data, timeout, parts.get(name, {})) for name, data_set in tests.items()},
    )


def _source(task: Task, data_set: DataSet, data: Data, timeout: float, reference: Reference) -> Source:
    if data.source == "hub":
        commit = reference.get("commit")
        return HubSource(data_set, timeout, commit if isinstance(commit, str) else None)
    if data.source == "local":
        return LocalSource(data_set, data.path or ".")
    return EmbeddedSource(data_set, families.generator_of(task.family))


def subset_name(source: Source, spec: RunSpec) -> str:
    """The name of the rows used: "full", `4000-of-67349`, `test:200-of-872@seed0`, or both joined by "+".

    Which training rows they are is one of the things that seeds vary, and not named; scores on other test rows are
    scores on another test, and are.
    Nothing is downloaded for it: a total that is not known without is written `?`.
    """
    parts = []
    for rows, prefix, split, suffix in (
        (spec.data.train_rows, "", "train", ""),
        (spec.data.test_rows, "test:", "test", f"@seed{spec.seeds.split}"),
    ):
        total = None if rows is None else source.total(split)
        if rows is not None and rows != total:
            parts.append(f"{prefix}{rows}-of-{'?' if total is None else total}{suffix}")
    return "+".join(parts) or "full"


def load(source: Source, spec: RunSpec) -> Splits:
    """Read, check and split the rows of a run.

    protocol=heldout: a part cut from the training rows selects, stratified by class unless the task is a regression;
    the official validation split is the test. protocol=best_on_dev: all training rows train, the official validation
    split selects, and there is no test. Subsets (`data.train_rows`, `data.test_rows`) are taken first.

    Ids are text in all splits where they are in one. Of a folder's rows the notes say how many repeat others.

    Raises:
        SpecError: if rows, labels or ids are not what the task says, or fewer than asked for.
    """
    splits = _with_one_type_of_ids(_split(source, spec))
    odd = repeats.notes(_read(source, spec, splits), lambda split: spec.task.tested_on.get(split, spec.task))
    return replace(splits, notes=list(dict.fromkeys([*source.notes, *(f"{source.where}: {line}" for line in odd)])))


def _read(source: Source, spec: RunSpec, splits: Splits) -> dict[str, datasets.Dataset]:
    """The rows of a folder as they were before a selection split was cut from those that train; none of another source.

    Only a folder's rows are nobody's published ones.
    """
    if spec.data.source != "local":
        return {}
    if spec.protocol.name == "best_on_dev" or "selection" in source.splits:
        return splits.parts
    from datasets import concatenate_datasets

    return {"train": concatenate_datasets([splits.train, splits.selection]), **splits.tests}


def _split(source: Source, spec: RunSpec) -> Splits:
    seed = spec.seeds.split
    train = _drawn(source.rows("train"), "train_rows", spec.data.train_rows, seed)
    tests = {name: _drawn(source.rows(name), "test_rows", spec.data.test_rows, seed) for name in source.tests}
    if spec.protocol.name == "best_on_dev":
        return Splits(train, tests.pop("test"), tests)
    if "selection" in source.splits:
        return Splits(train, source.rows("selection"), tests)
    trains, selects = _cut(source, spec.task, train, seed)
    return Splits(train.select(trains), train.select(selects), tests)


def _with_one_type_of_ids(splits: Splits) -> Splits:
    types = {rows.features["example_id"].dtype for rows in splits.parts.values()}
    if len(types) == 1:
        return splits
    train, selection, *tests = map(_with_text_ids, splits.parts.values())
    return Splits(train, selection, dict(zip(splits.tests, tests, strict=True)))


def _with_text_ids(rows: datasets.Dataset) -> datasets.Dataset:
    features = rows.features.copy()
    features["example_id"] = type(features["example_id"])("string")
    table = rows.with_format("arrow")[:].cast(features.arrow_schema)
    return type(rows)(table, split=rows.split)


def _cut(source: Source, task: Task, train: datasets.Dataset, seed: int) -> tuple[list[int], list[int]]:
    labels = train[task.label][:] if source.classes else None
    try:
        return cut(len(train), labels, seed, task.selection_fraction)
    except ValueError as error:
        raise SpecError(
            [
                f"protocol=heldout: {len(train)} training rows are too few to cut a selection split from ({error}); "
                "accepted: more data.train_rows, or protocol=best_on_dev"
            ]
        ) from error


def _drawn(rows: datasets.Dataset, key: str, asked: int | None, seed: int) -> datasets.Dataset:
    if asked is not None and asked > len(rows):
        raise SpecError(
            [f"data.{key}={asked}: split {rows.split} has {len(rows)} rows; accepted: at most {len(rows)}, or null"]
        )
    return rows if asked is None else rows.select(draw(len(rows), asked, seed))

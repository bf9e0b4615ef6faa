"""Rows that the suite generates itself."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from pydantic import JsonValue

from experiments.data.data_set import DataSet
from experiments.data.source import Source
from experiments.embedded.generator import Generator

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa


class EmbeddedSource(Source):
    """The generated rows of a data set.

    Args:
        data_set: whose rows.
        generator: of the task's family.
    """

    def __init__(self, data_set: DataSet, generator: Generator) -> None:
        super().__init__(data_set)
        self._generator = generator

    @property
    def where(self) -> str:
        """See `Source.where`."""
        return "data=embedded"

    @property
    def _totals(self) -> dict[str, int]:
        return dict(self._generator.totals.get(self.data_set.name, {}))

    def own_errors(self) -> list[str]:
        """See `Source.own_errors`."""
        name, made = self.data_set.name, ", ".join(self._generator.totals)
        if not self._totals:
            return [f"{self.where}: nothing is generated for task={name}; accepted: {made or 'no task of its family'}"]
        accepted = "accepted: none, or data=local"
        renamed = [
            f"{self.data_set.key}.columns.{ours}={theirs}: generated rows have no other names; {accepted}"
            for ours, theirs in self.data_set.columns_by_user.items()
            if ours != theirs
        ]
        wrong = [
            f"{self.data_set.split_key(split)}={own}: no such split of the generated {name}; accepted: "
            f"{', '.join(self._totals)}"
            for split, own in self.data_set.splits.items()
            if own not in self._totals
        ]
        return renamed + (wrong or self._column_errors())

    def _column_errors(self) -> list[str]:
        data_set = self.data_set
        columns = _columns(self._generator.make, data_set.name, min(self._totals, key=self._totals.__getitem__))
        return [
            f"{data_set.key}.{'label' if name == data_set.label else 'inputs'}={name}: no such column of the generated "
            f"{data_set.name}; accepted: {', '.join(columns)}"
            for name in data_set.columns
            if name not in columns
        ]

    def reference(self) -> dict[str, JsonValue]:
        """See `Source.reference`: the generator's version."""
        return {"generator": self._generator.version}

    def total(self, split: str) -> int | None:
        """See `Source.total`."""
        return self._totals.get(self.data_set.splits[split])

    def table(self, split: str) -> pa.Table:
        """See `Source.table`."""
        rows = self._generator.make(self.data_set.name, self.data_set.splits[split])
        # With the names of the classes, which stand in the schema's metadata.
        return rows.with_format("arrow")[:].replace_schema_metadata(rows.features.arrow_schema.metadata)


@cache
def _columns(make: Callable[[str, str], datasets.Dataset], task: str, split: str) -> list[str]:
    """The columns of a task; all jobs of a sweep ask for them."""
    return list(make(task, split).column_names)

"""Rows from the Hugging Face hub, at one commit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import JsonValue

from experiments.data import files, hub, layouts
from experiments.data.data_set import FROM_FOLDER, DataSet
from experiments.data.requirements import Requirement
from experiments.data.source import Source
from experiments.data.tables import TableSplit

if TYPE_CHECKING:
    import pyarrow as pa


class HubSource(Source):
    """The rows of a data set on the hub.

    Args:
        data_set: whose rows.
        timeout: seconds to wait for the hub.
        commit: that of a plan or a record, which the hub then is not asked for; None: that of the revision.
    """

    def __init__(self, data_set: DataSet, timeout: float, commit: str | None = None) -> None:
        super().__init__(replace(data_set, original_names={}, original_header=()))
        self._timeout, self._commit = timeout, commit

    @property
    def where(self) -> str:
        """See `Source.where`."""
        return f"task.hub.path={self.data_set.hub.path}"

    @property
    def requirements(self) -> list[Requirement]:
        """See `Source.requirements`."""
        return hub.dataset(self.data_set) if self.data_set.hub.path and not self._unnamed_files() else []

    @property
    def commit(self) -> str:
        """The commit whose rows these are.

        Raises:
            SpecError: see `hub.resolve`.
        """
        if self._commit is None:
            resolved = hub.resolve_all(self.requirements, self._timeout)
            self._notes += dict.fromkeys(found.note for found in resolved if found.note)
            self._commit = resolved[0].commit
        return self._commit

    def own_errors(self) -> list[str]:
        """See `Source.own_errors`."""
        if not self.data_set.hub.path:
            return [f"data=hub: {self.data_set.task} is not on the hub; accepted: data=local data.path=FOLDER"]
        if self.data_set.classes == FROM_FOLDER:
            return [f"data=hub: {self.data_set.task} is a folder of images; accepted: data=local data.path=FOLDER"]
        return self._unnamed_files()

    def reference(self) -> dict[str, JsonValue]:
        """See `Source.reference`: repository, configuration, revision and commit."""
        source = self.data_set.hub
        name: JsonValue = [*source.name] if isinstance(source.name, list) else source.name
        named: dict[str, JsonValue] = {} if source.files is None else {"files": {**source.files}}
        named |= {"columns": {**self.data_set.columns_by_user}} if self.data_set.columns_by_user else {}
        return {"path": source.path, "name": name, "revision": source.revision, "commit": self.commit, **named}

    def total(self, split: str) -> int | None:
        """See `Source.total`: of what is cached, else as the task says."""
        found = self._files(split, self._cached)
        try:
            if found is None:
                return self.data_set.hub.rows.get(self.data_set.splits[split])
            return TableSplit(self.data_set, self.data_set.splits[split], found).total()
        except files.FileError:
            return None  # reading the rows says so

    def table(self, split: str) -> pa.Table:
        """See `Source.table`; fetched first where the cache does not hold them."""
        found = self._files(split, lambda requirement: hub.folder(requirement, self.commit))
        assert found is not None
        return TableSplit(self.data_set, self.data_set.splits[split], found).table()

    def _cached(self, requirement: Requirement) -> Path | None:
        return hub.cached(requirement) if self._commit is None else hub.cached_folder(requirement, self._commit)

    def _files(self, split: str, locate: Callable[[Requirement], Path | None]) -> list[Path] | None:
        """The files of a split in the order of the configurations; None where not all of them are there."""
        found: list[Path] = []
        name = self.data_set.splits[split]
        for requirement in self.requirements:
            folder, named = locate(requirement), requirement.files
            if folder is None:
                return None
            place = requirement.splits.index(name)
            found += [folder / named[place]] if named else layouts.split_files(folder, name)
        return found or None

    def _unnamed_files(self) -> list[str]:
        named = self.data_set.hub.files
        return [
            f"{self.data_set.key}.hub.files: no file for split {split}; accepted: one for each of "
            f"{', '.join(self.data_set.needed)}"
            for split in (self.data_set.needed if named is not None else [])
            if named is not None and split not in named
        ]

"""What a family of tasks says of the rows that the suite generates for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import datasets


@dataclass(frozen=True)
class Generator:
    """The generated rows of a family's tasks; `experiments.families.NAME.embedded.GENERATOR`.

    Attributes:
        version: raised by hand whenever a generated row changes; part of a run's identity.
        totals: the number of rows by task, as in `task=NAME`, and split.
        make: from task and split to the rows, with the columns and classes that the hub's would have.
    """

    version: int
    totals: Mapping[str, Mapping[str, int]]
    make: Callable[[str, str], datasets.Dataset]

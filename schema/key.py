"""The key of a table's column: what two numbers must share to stand in one."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict

from schema.run import Track
from schema.sections import ProtocolName, SourceName
from schema.values import Text


class Key(BaseModel):
    """The column of a run: numbers share one only where all of these are equal."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    task: Annotated[Text, "`glue/sst2`; with data of the suite's own `embedded/glue/sst2`"]
    source: Annotated[SourceName, "where the rows come from: `hub`, `local` or `embedded`"]
    subset: Annotated[
        Text,
        "`full`, `4000-of-67349` (training rows, which ones is up to `seeds.split`), `test:200-of-872@seed0` (test "
        "rows, drawn by that `seeds.split`), or both joined by `+`; a total that is not known is `?`",
    ]
    backbone: Annotated[Text, "the backbone's name; at another image size than its own `NAME@SIZE`"]
    protocol: Annotated[ProtocolName, "`heldout` or `best_on_dev`"]
    track: Annotated[Track, "`published`, `equal_budget` or `unsearched` (set by hand: no ranking follows)"]
    metric: Annotated[Text, "the primary metric"]

    @property
    def split(self) -> Literal["selection", "test"]:
        """The split that scores come from: `best_on_dev` selects on the official validation split and has no test."""
        return "selection" if self.protocol == "best_on_dev" else "test"

    @property
    def values(self) -> tuple[str, ...]:
        """The values in the order of the fields, which columns are sorted by."""
        return tuple(self.model_dump().values())

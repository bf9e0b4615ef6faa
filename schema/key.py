"""The key of a table's column: what two numbers must share to stand in one."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict


class Key(BaseModel):
    """The column of a run: numbers share one only where all of these are equal."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: Annotated[str, "`glue/sst2`; with data of the suite's own `embedded/glue/sst2`"]
    source: Annotated[str, "where the rows come from: `hub`, `local` or `embedded`"]
    subset: Annotated[
        str,
        "`full`, `4000-of-67349` (training rows, which ones is up to `seeds.split`), `test:200-of-872@seed0` (test "
        "rows, drawn by that `seeds.split`), or both joined by `+`; a total that is not known is `?`",
    ]
    backbone: Annotated[str, "the backbone's name; at another image size than its own `NAME@SIZE`"]
    protocol: Annotated[str, "`heldout` or `best_on_dev`"]
    track: Annotated[str, "`published`, `equal_budget` or `unsearched` (set by hand: no ranking follows)"]
    metric: Annotated[str, "the primary metric"]

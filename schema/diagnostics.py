"""What `diagnostics=...` measures, as it stands in a record."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Diagnostics(BaseModel):
    """The measured parts by name."""

    model_config = ConfigDict(extra="allow")

"""The training loss around the trained values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from baselines import Adapted
from experiments.families.family import Examples, Family


def measure_landscape(
    adapted: Adapted, family: Family, examples: Examples, options: Mapping[str, Any]
) -> dict[str, Any]:
    """The `diagnostics.landscape` of a record (docs/RECORD.md)."""
    raise NotImplementedError

"""How a method's map from trained values to weight changes treats distances."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from baselines import Adapted
from experiments.diagnostics.snapshots import Snapshots


def measure_isometry(adapted: Adapted, snapshots: Snapshots, options: Mapping[str, Any]) -> dict[str, Any]:
    """The `diagnostics.isometry` of a record (docs/RECORD.md)."""
    raise NotImplementedError

"""Configurations of earlier records in the keys of today, so that they can be run again."""

from __future__ import annotations

from collections.abc import Mapping

from schema.marks import Kind, Section, holds_several, section_of
from schema.run import RunSpec

_TOGETHER: Mapping[str, tuple[str, ...]] = {
    "mrpc": ("accuracy", "f1"),
    "qqp": ("accuracy", "f1"),
    "stsb": ("pearson", "spearman"),
    "answers": ("strict", "lenient", "unanswered", "loss"),
}
"""The scores of `task.metric` where that stood for several; any other stood for `task.primary_metric` alone."""

_UNMEASURED: Mapping[str, object] = {
    **{"name": "none", "measures": [], "seed": 0, "snapshots": 2, "pairs": 1, "dense_limit": 1, "spectrum": 1},
    **{"rows": 1, "eigenvalues": 1, "grid": 3, "directions": 2, "extent": 1.0},
}
"""The section of a run from before there were diagnostics; it measures nothing."""


def raised(section: type[RunSpec], config: Mapping[str, object]) -> dict[str, object]:
    """A recorded configuration in the keys of today; what it does not know stays, for validation to name.

    What is missing gets the value that it had without being named: that at which its mark calls it neutral.

    Args:
        section: `RunSpec` with the sections of the task's family.
        config: of a record of any schema.
    """
    task, backbone = (_mapping(config.get(name)) for name in ("task", "backbone"))
    own = {
        "diagnostics": _UNMEASURED,
        **config,
        "task": _scored(task),
        "backbone": {"family": task.get("family"), **backbone},
    }
    return _completed(section, own)


def _scored(task: Mapping[str, object]) -> dict[str, object]:
    """The task with its scores by name, the primary one first."""
    kept = {name: value for name, value in task.items() if name not in ("metric", "primary_metric")}
    primary = task.get("primary_metric")
    if not isinstance(primary, str):
        return kept
    others = [name for name in _TOGETHER.get(str(task.get("metric")), ()) if name != primary]
    return {"metrics": [primary, *others], **kept}


def _completed(section: type[Section], values: Mapping[str, object]) -> dict[str, object]:
    """A section, and those within it, with every missing value that is neutral."""
    found = dict(values)
    for name, field in section.model_fields.items():
        inner, part = section_of(field), found.get(name)
        if inner is None:
            if name not in found and field.is_required() and section.mark(name).kind is Kind.NEUTRAL_AT:
                found[name] = section.mark(name).at
        elif isinstance(part, Mapping) and holds_several(field):
            found[name] = {key: _completed(inner, _mapping(item)) for key, item in part.items()}
        elif isinstance(part, Mapping):
            found[name] = _completed(inner, part)
    return found


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}

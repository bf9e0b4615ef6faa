"""What is odd about the rows of a folder and still no error: rows that are there twice, labels that are all one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from experiments.errors import shorten
from schema.sections import Task, TestRows

if TYPE_CHECKING:
    import datasets


def notes(parts: Mapping[str, datasets.Dataset], section: Callable[[str], Task | TestRows]) -> list[str]:
    """One line for each oddity, by split.

    Rows are the same where their inputs are, whatever their labels; they are compared by a hash of 64 bits.

    Args:
        parts: rows by split, those that train first.
        section: says of a split which columns are its inputs and its label.
    """
    hashes = {name: _hashes(rows, section(name).inputs) for name, rows in parts.items()}
    lines = []
    for name, own in hashes.items():
        if more := len(own) - len(np.unique(own)):
            lines.append(f"{more} of the {len(own)} rows of {name} repeat another of its rows")
        for earlier in list(hashes)[: list(hashes).index(name)]:
            if count := int(np.isin(own, hashes[earlier]).sum()):
                lines.append(f"{count} of the {len(own)} rows of {name} are also in {earlier}")
    return lines + [line for name, rows in parts.items() if (line := _one_label(name, rows, section(name).label))]


def _one_label(name: str, rows: datasets.Dataset, label: str) -> str | None:
    import datasets

    feature = rows.features[label]
    values = set(rows[label][:]) if len(rows) > 1 else ()
    if len(values) != 1:
        return None
    (value,) = values
    shown = feature.int2str(value) if isinstance(feature, datasets.ClassLabel) else value
    return f"all {len(rows)} rows of {name} have the label {shorten(str(shown), 40)}"


def _hashes(rows: datasets.Dataset, inputs: Sequence[str]) -> np.ndarray:
    """One hash (n,) of all inputs of a row; of an image that of the bytes of its file."""
    import pandas as pd  # a second, which a run that is recorded need not wait for
    import pyarrow as pa
    import pyarrow.compute as pc

    table = rows.select_columns(list(inputs)).with_format("arrow")[:]
    columns = [
        pc.struct_field(column, "bytes") if pa.types.is_struct(column.type) else column for column in table.columns
    ]
    frame = pd.DataFrame({str(place): column.to_pandas() for place, column in enumerate(columns)})
    return np.asarray(pd.util.hash_pandas_object(frame, index=False))

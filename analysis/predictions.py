"""What a run predicted, example by example, checked against the score that its record states."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.compute
import pyarrow.lib
import pyarrow.parquet
from numpy.typing import NDArray

from analysis.metrics import METRICS, score
from analysis.records import Run

_AGREEMENT = 1e-5
"""Largest difference between a recorded score and the same score from the predictions (correlations in float32)."""


class Predictions(NamedTuple):
    """Predictions of one split, sorted by example id: ids, labels and predictions, each (n,)."""

    example_id: NDArray
    label: NDArray
    prediction: NDArray


class ComparisonError(Exception):
    """Two runs whose predictions cannot be paired, with the reason."""


class NoPredictionsError(ComparisonError):
    """A run without predictions that could be read; nothing speaks against its score."""


def checked_predictions(run: Run) -> Predictions:
    """A run's predictions on the split of its score, which must give the score that its record states.

    Raises:
        NoPredictionsError: if there are none, or the metric is not computed here.
        ComparisonError: if they give another score, lack the split or name an example twice.
    """
    column = run.column
    if column.metric not in METRICS:
        raise NoPredictionsError(f"{column.metric} is not computed here, only {', '.join(METRICS)}")
    predictions = read_predictions(run.path.with_name("predictions.parquet"), column.split)
    found = float(score(column.metric, predictions.prediction, predictions.label)[0])
    if run.score is None or not abs(found - run.score) <= _AGREEMENT:
        raise ComparisonError(f"predictions of run {run.id} give {column.metric} {found:.6f}, its record {run.score}")
    return predictions


@lru_cache(maxsize=2**14)
def read_predictions(path: Path, split: str) -> Predictions:
    """One split of a predictions.parquet.

    Raises:
        NoPredictionsError: if the file cannot be read.
        ComparisonError: if it lacks the split or names an example twice.
    """
    names = list(Predictions._fields)
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            table = file.read(columns=[*names, "split"])
        table = table.filter(pyarrow.compute.equal(table.column("split"), split))
    except (OSError, KeyError, pyarrow.lib.ArrowException) as error:
        raise NoPredictionsError(f"{path.parent.name}/{path.name} cannot be read ({type(error).__name__})") from None
    if not table.num_rows:
        raise ComparisonError(f"{path.parent.name}/{path.name} has no rows of the split {split}")
    part = Predictions(*(table.column(name).to_numpy() for name in names))
    order = np.argsort(part.example_id, kind="stable")
    part = Predictions(*(_kept(values[order]) for values in part))
    if (part.example_id[1:] == part.example_id[:-1]).any():
        raise ComparisonError(f"{path.parent.name}/{path.name} names an example twice")
    return part


def _kept(values: NDArray) -> NDArray:
    """Values in as few bytes as hold them, and once where another run has the same, as all have of labels."""
    if values.dtype.kind in "iu" and values.min() >= 0:
        values = values.astype(np.min_scalar_type(values.max()))
    return values if values.dtype.hasobject else _same(values.tobytes(), values.dtype.str)


@lru_cache(maxsize=2**14)
def _same(content: bytes, kind: str) -> NDArray:
    return np.frombuffer(content, kind)

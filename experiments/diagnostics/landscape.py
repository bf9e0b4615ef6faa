"""The training loss around the trained values: slices, curves, the line from the start, curvature."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from functools import partial
from typing import Final

import torch
from torch import Tensor

from baselines import Adapted
from experiments.diagnostics.curvature import Hessian, measure_curvature
from experiments.diagnostics.errors import NotApplicableError
from experiments.diagnostics.snapshots import Snapshots
from experiments.diagnostics.training_loss import TrainingLoss, at_rest
from experiments.families.family import Examples, Family
from schema.diagnostics import Curve, Landscape, Numbers, Surface
from schema.sections import Diagnostics as Options

VERSION: Final = 1


def measure_landscape(
    adapted: Adapted, snapshots: Snapshots, family: Family, examples: Examples, options: Options
) -> Landscape:
    """The `diagnostics.landscape` of a record (docs/RECORD.md).

    Args:
        adapted: the trained model at the kept values; it is left bit for bit as it was found.
        snapshots: the first is the start of the path.
        family: of the task; gives the loss.
        examples: the training examples.
        options: conf/diagnostics.

    Raises:
        NotApplicableError: if nothing trains outside the head.
    """
    started = time.perf_counter()
    if not adapted.adapter_parameters():
        raise NotApplicableError("the method trains nothing beside the head")
    with at_rest(adapted):
        loss = TrainingLoss(adapted, family, examples, rows=options.rows, seed=options.seed)
        kept, directions = loss.values(), _directions(loss, options)
        start = [snapshots.taken[0].values[name] for name, _ in adapted.adapter_parameters()]
        surface, curves = _slices(loss, kept, directions, positions(options.grid, options.extent))
        path, at_kept = _line(loss, start, kept, path_positions(options.grid)), loss.at(kept)
    with at_rest(adapted):
        hessian = Hessian([partial(loss.term, *term) for term in loss.terms], loss.parameters)
        curvature = measure_curvature(hessian, hessian.size, eigenvalues=options.eigenvalues, seed=options.seed)
    return Landscape(
        status="measured",
        version=VERSION,
        rows=loss.rows,
        loss=at_kept,
        surface=surface,
        curves=curves,
        path=path,
        hessian=curvature,
        seconds=time.perf_counter() - started,
    )


def _directions(loss: TrainingLoss, options: Options) -> list[Tensor]:
    generator = torch.Generator().manual_seed(options.seed)
    return [filter_normalised(loss.parameters, generator) for _ in range(options.directions)]


def _slices(
    loss: TrainingLoss, kept: Tensor, directions: Sequence[Tensor], axis: list[float]
) -> tuple[Surface, list[Curve]]:
    """The surface along the first two directions, and a curve along each."""
    first, second, *others = directions
    surface: list[Numbers] = [[loss.at(kept + alpha * first + beta * second) for beta in axis] for alpha in axis]
    # The axes of the surface are the first two curves.
    curves = [[row[len(axis) // 2] for row in surface], surface[len(axis) // 2]]
    curves += [[loss.at(kept + alpha * direction) for alpha in axis] for direction in others]
    return Surface(alpha=axis, beta=axis, loss=surface), [Curve(alpha=axis, loss=curve) for curve in curves]


def _line(loss: TrainingLoss, start: Sequence[Tensor], kept: Tensor, line: list[float]) -> Curve:
    """From the start (0) through the kept values (1)."""
    begin = torch.cat([part.reshape(-1) for part in start]).to(kept)
    return Curve(alpha=line, loss=[loss.at((1 - t) * begin + t * kept) for t in line])


def positions(grid: int, extent: float) -> list[float]:
    """`grid` (odd) evenly spaced numbers from -extent to extent; the one in the middle is 0."""
    half = grid // 2
    return [extent * step / half for step in range(-half, half + 1)]


def path_positions(grid: int) -> list[float]:
    """About `grid` evenly spaced numbers from -0.5 to 1.5, among them exactly 0 and 1."""
    quarter = math.ceil(grid / 4)
    return [step / (2 * quarter) for step in range(-quarter, 3 * quarter + 1)]


def filter_normalised(parameters: Sequence[Tensor], generator: torch.Generator) -> Tensor:
    """A random direction in which every filter has the norm that it has in `parameters`, as one vector (n,).

    A filter is what one output of a layer is computed with: a row of a matrix (of a convolution, an entry of the first
    dimension), and a vector as a whole. Li et al., arXiv 1712.09913, section 4.
    """
    return torch.cat([_filter_normalised(parameter.detach(), generator).reshape(-1) for parameter in parameters])


def _filter_normalised(values: Tensor, generator: torch.Generator) -> Tensor:
    filters = values.reshape(len(values), -1) if values.ndim > 1 else values.reshape(1, -1)
    noise = torch.randn(filters.shape, generator=generator).to(filters)
    return noise * (filters.norm(dim=1, keepdim=True) / noise.norm(dim=1, keepdim=True))

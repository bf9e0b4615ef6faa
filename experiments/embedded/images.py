"""Generated images of glyphs with labels, to pretrain a vision model on: strokes, arcs, loops and polygons.

A class is a prototype of two to four strokes drawn from the seed; an image is its prototype with every stroke moved a
little, under a random affine map, with a random pen and noise. No drawn or photographed data goes in.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

GENERATOR_VERSION = 1
"""Part of a run's identity: raise it whenever a generated image or the split of the digits changes."""

SIZE = 8
"""Height and width of an image in pixels."""
POINTS = 13
"""Points of the line through which a stroke is drawn: 12 segments, divisible by 2, 3 and 4 for the polygons."""
STROKES = 4
"""The most strokes of a glyph."""

_OUTLINES = ((2, False), (3, False), (3, True), (4, True))
"""Corners of the straight-lined strokes, and whether the line returns to its start."""
_RENDERED_AT_ONCE = 512


def glyphs(seed: int, classes: int, count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images of glyphs and their classes, the same for the same arguments.

    Args:
        seed: decides prototypes and images.
        classes: number of prototypes.
        count: number of images; their classes are drawn uniformly.

    Returns:
        Grey values 0 (paper) to 255 (ink), (count, SIZE, SIZE); classes from 0 to classes - 1, (count,).
    """
    import numpy as np

    # numpy promises the sequence of the legacy generator for ever (NEP 19), not that of default_rng.
    random = np.random.RandomState(seed)
    prototypes = np.stack([_prototype(random) for _ in range(classes)])
    labels = (random.random_sample(count) * classes).astype(np.int64)
    images = np.empty((count, SIZE, SIZE), np.uint8)
    for start in range(0, count, _RENDERED_AT_ONCE):
        chosen = labels[start : start + _RENDERED_AT_ONCE]
        images[start : start + len(chosen)] = _render(_distorted(prototypes[chosen], random), random)
    return images, labels


def _prototype(random: np.random.RandomState) -> NDArray[np.float64]:
    """A glyph that fills the square from -1 to 1: its strokes as points x, y, (STROKES, POINTS, 2).

    A stroke often starts on the one before, as in writing. Strokes that are not used repeat the first, which draws
    nothing new.
    """
    import numpy as np

    strokes = [_stroke(random)]
    for _ in range(1 + int(random.random_sample() * (STROKES - 1))):
        stroke = _stroke(random)
        if random.random_sample() < 0.7:
            before = strokes[-1]
            stroke += before[int(random.random_sample() * POINTS)] - stroke[0]
        strokes.append(stroke)
    points = np.stack(strokes + [strokes[0]] * (STROKES - len(strokes)))
    low, high = points.min(axis=(0, 1)), points.max(axis=(0, 1))
    middle, extent = (low + high) / 2, np.maximum(high - low, 0.7 * (high - low).max())
    return np.asarray(2 * (points - middle) / extent)


def _stroke(random: np.random.RandomState) -> NDArray[np.float64]:
    """A line, an angle, a triangle, a quadrangle, an arc or a loop: points x, y, (POINTS, 2)."""
    import numpy as np

    kind = int(random.random_sample() * 6)
    if kind >= len(_OUTLINES):
        radii, start = 0.3 + 0.6 * random.random_sample(2), 2 * math.pi * random.random_sample()
        sweep = 2 * math.pi if kind > len(_OUTLINES) else math.pi * (0.5 + random.random_sample())
        return np.asarray(radii * _on_circle(start + sweep * np.linspace(0, 1, POINTS)))
    number, closed = _OUTLINES[kind]
    # Corners in the order of their angles make no polygon that crosses itself.
    turns = (np.arange(number) + 0.6 * random.random_sample(number)) / number + random.random_sample()
    corners = (0.5 + 0.5 * random.random_sample((number, 1))) * _on_circle(2 * math.pi * turns)
    if closed:
        corners = np.concatenate([corners, corners[:1]])
    place = np.linspace(0, len(corners) - 1, POINTS)
    return np.stack([np.interp(place, np.arange(len(corners)), column) for column in corners.T], axis=1)


def _on_circle(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points x, y of the unit circle, (angles, 2)."""
    import numpy as np

    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _distorted(glyphs: NDArray[np.float64], random: np.random.RandomState) -> NDArray[np.float64]:
    """Glyphs as a hand would vary them, (n, STROKES, POINTS, 2): strokes displaced, then an affine map of the whole."""
    import numpy as np

    def around(centre: float, spread: float, *shape: int) -> NDArray[np.float64]:
        return np.asarray(centre + spread * (2 * random.random_sample((len(glyphs), *shape)) - 1))

    moved = glyphs * around(1.0, 0.15, STROKES, 1, 1) + around(0.0, 0.12, STROKES, 1, 2)
    angle, shear, scale = around(0.0, 0.25), around(0.0, 0.25), around(0.8, 0.15, 2)
    cosine, sine = np.cos(angle), np.sin(angle)
    turn = np.stack([np.stack([cosine, -sine], axis=-1), np.stack([sine, cosine], axis=-1)], axis=-2)
    turn[:, :, 1] += shear[:, None] * turn[:, :, 0]
    affine = scale[:, :, None] * turn
    return np.asarray(np.einsum("nspj,nij->nspi", moved, affine) + around(0.0, 0.12, 1, 1, 2))


def _render(glyphs: NDArray[np.float64], random: np.random.RandomState) -> NDArray[np.uint8]:
    """Grey values (n, SIZE, SIZE) of strokes (n, STROKES, POINTS, 2): ink falls off over a pixel beside the line."""
    import numpy as np

    pen = 0.3 + 0.5 * random.random_sample((len(glyphs), 1))
    noise = 0.15 * (2 * random.random_sample((len(glyphs), SIZE * SIZE)) - 1)
    axis = (np.arange(SIZE) + 0.5) * 2 / SIZE - 1
    pixels = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    squared = np.full((len(glyphs), SIZE * SIZE), np.inf)
    for stroke in range(STROKES):
        for point in range(POINTS - 1):
            start = glyphs[:, stroke, point, None]
            along = glyphs[:, stroke, point + 1, None] - start
            offset = pixels - start
            length = np.maximum((along**2).sum(-1), 1e-9)
            share = np.clip((offset * along).sum(-1) / length, 0.0, 1.0)
            squared = np.minimum(squared, ((offset - share[..., None] * along) ** 2).sum(-1))
    ink = np.clip(pen + 0.5 - np.sqrt(squared) * SIZE / 2, 0.0, 1.0)
    grey = np.rint(255 * np.clip(ink + noise * (ink > 0), 0.0, 1.0))
    return grey.astype(np.uint8).reshape(-1, SIZE, SIZE)

"""Reduction of a large image to its means over equal cells, in bands of rows."""

from __future__ import annotations

import numpy as np

from ..errors import InputError
from ..pictures import LUMINANCE
from ._source import Level, Source

BAND = 512  # rows that are read at once, at least


def reduced(source: Source, size: tuple[int, int]) -> np.ndarray:
    """Compute the means of the gray values over `size` equal cells, whose borders may cut pixels: (row, column).

    The level of the lowest resolution with at least as many pixels is used. Integers are scaled to [0, 1].
    """
    enough = [level for level in source.levels if all(n >= m for n, m in zip(level.size, size, strict=True))]
    level = enough[-1]
    rows = level.size[0]
    edges = np.linspace(0, rows, size[0] + 1)
    sums = np.zeros(size)
    for start in range(0, rows, BAND):
        stop = min(start + BAND, rows)
        band = _means_along_rows(_gray(level, start, stop), size[1])
        first = np.searchsorted(edges, start, "right") - 1
        last = np.searchsorted(edges, stop, "left")
        at = np.clip(edges[first : last + 1], start, stop) - start
        sums[first:last] += np.diff(_integrals(band.T, at), axis=1).T
    return sums / (rows / size[0])


def _gray(level: Level, start: int, stop: int) -> np.ndarray:
    """Read rows of a level in grayscale, in float64."""
    pixels = level.region(slice(start, stop), slice(0, level.size[1]))
    highest = float(np.iinfo(pixels.dtype).max) if pixels.dtype.kind in "ui" else 1.0
    weights = LUMINANCE if len(pixels) in (3, 4) else (1.0,)
    gray = sum(weight / highest * channel for weight, channel in zip(weights, pixels, strict=False))
    gray = np.asarray(gray, np.float64)
    if not np.isfinite(gray).all():
        source = level.source
        raise InputError("`{argument}` has values that are not finite.", source.argument)
    return gray


def _means_along_rows(x: np.ndarray, size: int) -> np.ndarray:
    """Compute the means of x (row, column) over `size` equal cells of each row."""
    edges = np.linspace(0, x.shape[1], size + 1)
    return np.diff(_integrals(x, edges), axis=1) / (x.shape[1] / size)


def _integrals(x: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Integrate x (row, column) along its rows from 0 to each edge, where a pixel has the width 1."""
    whole = np.zeros((len(x), x.shape[1] + 1))
    np.cumsum(x, axis=1, out=whole[:, 1:])
    below = np.minimum(edges.astype(np.int64), x.shape[1])
    part = edges - below
    next_one = np.minimum(below, x.shape[1] - 1)
    return whole[:, below] + part * x[:, next_one]

"""How well each aligned section fits its neighbors, and which do not fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from ..arrays import own_tensor
from ..geometry.filters import gaussian_filter, local_normalize
from ..geometry.grids import area_resample

SIDE = 128  # pixels of the longer side, at most, at which sections are compared
WINDOW = 1 / 16  # of the longer side, the standard deviation of the window of the local correlation
FLOOR = 0.05  # of the standard deviation of a section; below it a region is flat and has no correlation
LEAST_LOSS = 0.1  # of the similarity, below the median, at which a section is poor
LOSS = 3.0  # robust standard deviations, if that is more; torn sections of tests/benchmarks/stacks.py lie 3.5 and more below
LEAST_SECTIONS = 3  # of which a median says what is usual


def similarities(aligned: Sequence[np.ndarray | None], reach: int, any_contrast: bool) -> np.ndarray:
    """The local correlation of each aligned section with its neighbors: array (section, section), NaN for others.

    Args:
        aligned: the sections on one grid with NaN outside, None for a section without a pose.
        reach: how far apart neighbors are, at most.
    """
    count = len(aligned)
    ready = [None if image is None else _prepared(image) for image in aligned]
    table = np.full((count, count), np.nan)
    for i in range(count):
        for j in range(i + 1, min(count, i + 1 + reach)):
            one, other = ready[i], ready[j]
            if one is not None and other is not None:
                table[i, j] = table[j, i] = _similarity(one, other, any_contrast)
    return table


def _prepared(image: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """A section with a local mean of 0 and a local deviation of 1, and where it is seen, at a coarse size."""
    seen = own_tensor(np.isfinite(image), torch.float64)[None, None]
    x = own_tensor(np.nan_to_num(image), torch.float64)[None, None]
    factor = min(1.0, SIDE / max(image.shape))
    size = tuple(max(1, round(n * factor)) for n in image.shape)
    weight = area_resample(seen, size)
    x = area_resample(x * seen, size) / weight.clamp_min(1e-3)
    deviation = float(x[weight > 0.5].std(correction=0)) if bool((weight > 0.5).any()) else 0.0
    window = [WINDOW * max(size)] * 2
    return local_normalize(x, weight, window, FLOOR * deviation + 1e-12)[0], weight


def _similarity(
    one: tuple[torch.Tensor, torch.Tensor], other: tuple[torch.Tensor, torch.Tensor], any_contrast: bool
) -> float:
    """The mean of the local correlation, weighted by how much there is to see."""
    (x, seen), (y, visible) = one, other
    both = seen * visible
    window = [WINDOW * max(x.shape[2:])] * 2
    products, first, second = (gaussian_filter(both * value, window) for value in (x * y, x * x, y * y))
    energy = (first * second).sqrt()
    products = products.abs() if any_contrast else products
    return float((both * products).sum() / (both * energy).sum().clamp_min(1e-12))


def fits(table: np.ndarray, members: Sequence[int]) -> dict[int, float]:
    """The similarity of each section with the neighbor that it fits best."""
    return {k: float(np.nanmax(table[k])) if np.isfinite(table[k]).any() else np.nan for k in members}


def outliers(values: Mapping[int, float]) -> set[int]:
    """The sections whose similarity lies far below the median of all."""
    known = np.array([value for value in values.values() if np.isfinite(value)])
    if len(known) < LEAST_SECTIONS:
        return set()
    median = float(np.median(known))
    spread = 1.4826 * float(np.median(np.abs(known - median)))
    return {k for k, value in values.items() if np.isfinite(value) and value < median - max(LEAST_LOSS, LOSS * spread)}

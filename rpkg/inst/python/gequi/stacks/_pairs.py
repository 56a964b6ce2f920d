"""Pairs of near sections, and what the registration of a pair says about its two sections."""

from __future__ import annotations

import warnings
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from ..arrays import own_tensor
from ..errors import AmbiguousRegistrationWarning, GequiError
from ..geometry.grids import pixel_grid
from ..geometry.sampling import grid_sample, inside
from ..geometry.tensor_maps import sample_map
from ..registration import Registration, register_images
from ..registration.finding import without_hints

NODES = 96  # along the longer side of a section, at most, at which a map is kept; the map is smooth between them
LEAST_DEVIATION = 0.05  # pixels, of a pair; what is claimed for two equal images is less than resampling allows
DISTRUST = 30.0  # times the deviation of the pairs of a poor section; a share of 1 / 900 of their weight


@dataclass(frozen=True)
class Pair:
    """The registration of section `second` onto section `first`.

    Attributes:
        first, second: the numbers of the sections.
        map: tensor (axis, *nodes): the position in `second` of each node of `first`, in pixels.
        weights: tensor (*nodes): the precision of that position, 1 / variance as claimed, and 0 outside `second`.
        deviation: the standard deviation of the map where the sections show something, in pixels.
        mirrored: whether the map contains a reflection.
        probability: that the map is correct.
    """

    first: int
    second: int
    map: torch.Tensor
    weights: torch.Tensor
    deviation: float
    mirrored: bool
    probability: float


def near_pairs(sections: int, reach: int) -> list[tuple[int, int]]:
    """The pairs of sections that are at most `reach` apart."""
    reach = min(reach, sections - 1)
    return [(i, i + gap) for i in range(sections) for gap in range(1, reach + 1) if i + gap < sections]


def bridging_pairs(parts: Sequence[Sequence[int]], tried: Set[tuple[int, int]], reach: int) -> list[tuple[int, int]]:
    """Pairs that may connect the parts of a stack with the first part: the nearest that were not tried.

    Args:
        parts: the connected sections, each part in order.
        reach: how many pairs are tried for each part.
    """
    wanted: list[tuple[int, int]] = []
    for part in parts[1:]:
        ends = [(min(i, j), max(i, j)) for i in part for j in parts[0]]
        nearest = sorted((pair for pair in ends if pair not in tried), key=lambda pair: (pair[1] - pair[0], pair))
        wanted += nearest[:reach]
    return sorted(set(wanted))


def register_pair(images: Sequence[np.ndarray], pair: tuple[int, int], options: dict[str, Any]) -> Pair | GequiError:
    """Register the second section of a pair onto the first, or return the error."""
    first, second = pair
    try:
        with warnings.catch_warnings(), without_hints():
            warnings.simplefilter("ignore", AmbiguousRegistrationWarning)  # other pairs decide
            found = register_images(images[second], images[first], **options)
    except GequiError as error:
        return error.with_traceback(None)
    return as_pair(found, first, second)


def as_pair(found: Registration, first: int, second: int) -> Pair:
    size = found.fixed.shape
    at = nodes_of(size)
    map = sample_map(own_tensor(found.map, torch.float64)[None], at[None])[0]
    deviation = grid_sample(own_tensor(found.uncertainty, torch.float64)[None, None], at[None])[0, 0]
    weights = inside(map[None], found.moving.shape)[0] / deviation.clamp_min(LEAST_DEVIATION) ** 2
    return Pair(
        first=first,
        second=second,
        map=map,
        weights=weights,
        deviation=float((weights.square().sum() / weights.pow(3).sum()).sqrt()),
        mirrored=bool(np.linalg.det(found.affine[:, :-1]) < 0),
        probability=found.probability,
    )


def distrusted(pairs: Sequence[Pair], poor: Set[int]) -> list[Pair]:
    """The pairs, where those of poor sections claim so little that they no longer move the others."""
    return [
        replace(pair, deviation=DISTRUST * pair.deviation) if {pair.first, pair.second} & poor else pair
        for pair in pairs
    ]


# ---- nodes ----------------------------------------------------------------------------------------------


def nodes_of(size: Sequence[int]) -> torch.Tensor:
    """The positions (axis, *nodes) in an image at which its map is kept: its pixels, or fewer of a large image."""
    unit = steps_of(size)
    counts = [1 + round((n - 1) / step) for n, step in zip(size, unit, strict=True)]
    return pixel_grid(counts, torch.float64) * torch.tensor(unit, dtype=torch.float64).reshape(-1, 1, 1)


def steps_of(size: Sequence[int]) -> list[float]:
    """The distances of the nodes along the axes, in pixels."""
    apart = max(1.0, max(size) / NODES)
    return [(n - 1) / max(1, round((n - 1) / apart)) for n in size]


def at_points(map: torch.Tensor, size: Sequence[int], points: torch.Tensor) -> torch.Tensor:
    """A map (axis, *nodes) of an image of this size at points (axis, ...), in pixels of the image."""
    unit = torch.tensor(steps_of(size), dtype=torch.float64).reshape(-1, *[1] * (points.ndim - 1))
    return sample_map(map[None], (points / unit)[None])[0]

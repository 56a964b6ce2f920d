"""The detail of two images under a map: whether it agrees there and not beside it.

The search fits maps where cells are coarse, and finer detail has no part in the fit. Under a right map the detail
agrees; it no longer does when one image is shifted by a few cells. Where two different images happen to agree in what
is coarse, their detail agrees under the map no better than beside it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

from ..geometry.grids import area_resample, cubic_resample
from .pyramid import Level, coarsest_level, make_level, map_at_cells
from .search import Found
from .similarity import normalize, warp


class Weights(NamedTuple):
    """What the detail adds to the logarithm of the odds: a constant and multiples of what `Detail` says."""

    constant: float
    prominence: float
    agreement: float


class Detail(NamedTuple):
    """How well the detail agrees under a map.

    Attributes:
        prominence: how far the agreement exceeds the mean agreement beside the map, in the standard deviations of this.
        agreement: see `agreements`.
    """

    prominence: float
    agreement: float

    def log_odds(self, weights: Weights) -> float:
        """What is added to the logarithm of the odds that the map is right."""
        prominence = math.log(max(self.prominence, 1.0))
        return weights.constant + weights.prominence * prominence + weights.agreement * self.agreement


def detail(found: Found, number: int) -> Detail:
    """The detail under the map of this number, one level below the coarsest."""
    pair, preset = found.level.pair, found.level.preset
    level = make_level(pair, max(coarsest_level(pair) - 1, 0))
    velocity = cubic_resample(found.velocity[[number]], level.field)
    agreement = agreements(level, found.linear[[number]], velocity)
    along = torch.arange(-preset.detail_reach, preset.detail_reach + 1, **level.kind)
    away = torch.hypot(along[:, None], along)
    beside = agreement[(away > preset.detail_beside) & (away <= preset.detail_reach)]
    best = agreement[away <= preset.detail_near].max()
    return Detail(float((best - beside.mean()) / beside.std().clamp_min(1e-9)), float(best))


def agreements(level: Level, linear: torch.Tensor, velocity: torch.Tensor) -> torch.Tensor:
    """The agreement under one map of images, and with the moving image then shifted by some cells: (shift, shift).

    It is the root of the sum, over tiles, of the squared mean of f w, where f and w are the two images with a local mean
    of 0 and a local standard deviation of 1. So it does not see the sign of the contrast. Shifts wrap around.
    """
    preset = level.preset
    warped, seen = warp(level, map_at_cells(level, linear, velocity))
    f, w, _, _ = normalize(level, warped, seen, preset.detail_window, preset.score_floor)
    f, w = seen * f, seen * w
    shifts = range(-preset.detail_reach, preset.detail_reach + 1)
    shifted = torch.cat([w.roll((row, column), (-2, -1)) for row in shifts for column in shifts])
    tiles = tuple(max(round(n / preset.detail_tile), 1) for n in level.size)
    agreement = area_resample(f * shifted, tiles).square().flatten(1).sum(1).sqrt()
    return agreement.reshape(len(shifts), len(shifts))

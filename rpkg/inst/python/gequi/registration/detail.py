"""The agreement of the details of two images under a map, compared with shifted positions.

The search fits maps on coarse cells, and finer details do not take part in the fit. Under a correct map the details
agree, and the agreement disappears when one image is shifted by a few cells. If two unrelated images agree at a coarse
scale by chance, their details agree under the map no better than beside it.
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
    """The contribution of the details to the log-odds: a constant and multiples of the values of `Detail`."""

    constant: float
    prominence: float
    agreement: float


class Detail(NamedTuple):
    """The agreement of the details under a map.

    Attributes:
        prominence: the difference between the agreement and its mean beside the map, in standard deviations of the
            latter.
        agreement: see `agreements`.
    """

    prominence: float
    agreement: float

    def log_odds(self, weights: Weights) -> float:
        """The contribution to the log-odds that the map is correct."""
        prominence = math.log(max(self.prominence, 1.0))
        return weights.constant + weights.prominence * prominence + weights.agreement * self.agreement


def detail(found: Found, number: int) -> Detail:
    """Return the detail under the map with this index, one level below the coarsest."""
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
    """Return the agreement under one map of images, with the moving image then shifted by some cells: (shift, shift).

    The agreement is the square root of the sum over tiles of the squared mean of f w, where f and w are the two images
    with local mean 0 and local standard deviation 1. It therefore does not depend on the sign of the contrast. Shifts
    wrap around.
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

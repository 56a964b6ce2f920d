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


class OutlineWeights(NamedTuple):
    """What is subtracted from the log-odds if the agreement comes from a smooth outline: see `Detail.outline_odds`."""

    constant: float
    corners: float
    likeness: float


class Detail(NamedTuple):
    """The agreement of the details under a map.

    Attributes:
        prominence: the difference between the agreement and its mean beside the map, in standard deviations of the
            latter.
        agreement: the agreement under the map: the root of the sum of `agreements` squared.
        corners: the part of the agreement that no shift of a tile preserves, as a fraction of it. It is small along
            smooth outlines and ridges, where a shift along the edge changes little.
        likeness: the mean correlation of the details within a tile, weighted by their strength, from 0 to 1.
    """

    prominence: float
    agreement: float
    corners: float
    likeness: float

    def log_odds(self, weights: Weights) -> float:
        """The contribution to the log-odds that the map is correct."""
        prominence = math.log(max(self.prominence, 1.0))
        return weights.constant + weights.prominence * prominence + weights.agreement * self.agreement

    def outline_odds(self, weights: OutlineWeights) -> float:
        """The contribution of outlines to the log-odds, at most 0.

        A deformable map brings any closed outline onto any other. An outline is therefore evidence only as far as the
        images have corners in common, or are alike throughout.
        """
        return min(weights.constant + weights.corners * self.corners + weights.likeness * self.likeness, 0.0)


def detail(found: Found, number: int) -> Detail:
    """Return the detail under the map with this index, one level below the coarsest."""
    pair, preset = found.level.pair, found.level.preset
    level = make_level(pair, max(coarsest_level(pair) - 1, 0))
    velocity = cubic_resample(found.velocity[[number]], level.field)
    tiles, strength = agreements(level, found.linear[[number]], velocity)
    agreement = tiles.square().sum((2, 3)).sqrt()
    along = torch.arange(-preset.detail_reach, preset.detail_reach + 1, **level.kind)
    away = torch.hypot(along[:, None], along)
    near = away <= preset.detail_near
    beside = agreement[(away > preset.detail_beside) & (away <= preset.detail_reach)]
    around = tiles[(away > preset.corner_ring[0]) & (away <= preset.corner_ring[1])]
    best = agreement[near].max()
    corners = tiles[near].abs().amax(0).square() - around.abs().amax(0).square()
    return Detail(
        prominence=float((best - beside.mean()) / beside.std().clamp_min(1e-9)),
        agreement=float(best),
        corners=float(corners.clamp_min(0).sum().sqrt() / best.clamp_min(1e-9)),
        likeness=float(tiles[away == 0].abs().sum() / strength.sum().clamp_min(1e-9)),
    )


def agreements(level: Level, linear: torch.Tensor, velocity: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the agreement under one map of images, with the moving image then shifted by some cells.

    The agreement of a tile is the mean of f w, where f and w are the two images with local mean 0 and local standard
    deviation 1. Its square does not depend on the sign of the contrast. Shifts wrap around.

    Returns:
        the agreement (shift, shift, tile, tile), and its largest possible value without a shift (tile, tile).
    """
    preset = level.preset
    warped, seen = warp(level, map_at_cells(level, linear, velocity))
    f, w, _, _ = normalize(level, warped, seen, preset.detail_window, preset.score_floor)
    f, w = seen * f, seen * w
    shifts = range(-preset.detail_reach, preset.detail_reach + 1)
    shifted = torch.cat([w.roll((row, column), (-2, -1)) for row in shifts for column in shifts])
    tiles = tuple(max(round(n / preset.detail_tile), 1) for n in level.size)
    strength = (area_resample(f.square(), tiles) * area_resample(w.square(), tiles)).sqrt()[0, 0]
    return area_resample(f * shifted, tiles).reshape(len(shifts), len(shifts), *tiles), strength

"""The score of a map: the correlation of the two images after local normalization."""

from __future__ import annotations

import math

import torch

from .pyramid import Level, map_at_cells
from .similarity import local_correlation, normalize, warp


def score_maps(level: Level, linear: torch.Tensor, velocity: torch.Tensor) -> torch.Tensor:
    """Return the correlation (map) of the locally normalized images in their overlap, reduced for small overlaps."""
    preset = level.preset
    warped, seen = warp(level, map_at_cells(level, linear, velocity))
    f, w, _, _ = normalize(level, warped, seen, preset.score_window, preset.score_floor)

    def total(x: torch.Tensor) -> torch.Tensor:
        return (seen * x).flatten(1).sum(1)

    if level.pair.any_contrast:
        squared = local_correlation(level, f, w, seen, preset.score_window) ** 2
        value = (total(squared) / seen.flatten(1).sum(1).clamp_min(1e-9)).sqrt()
    else:
        value = total(f * w) / (total(f * f) * total(w * w)).clamp_min(1e-9).sqrt()
    most = min(float(level.mask.mean()), _moving_share(level))
    return value * (seen.flatten(1).mean(1) / (preset.score_overlap * most)).clamp_max(1)


def _moving_share(level: Level) -> float:
    """Return the area of the moving image inside its mask as a fraction of the area of the fixed image."""
    share = math.prod(level.moving_image) / math.prod(level.image)
    return share * float(level.pair.moving_mask.mean())

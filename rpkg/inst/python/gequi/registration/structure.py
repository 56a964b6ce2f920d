"""The structure of an image in the place of its greys, where edges are registered to greys.

An edge image is the length of the gradient of the other image: no local linear relation holds between its greys and
those of the other. One holds between its greys and the structure of the other. For the contrast "any" the greys of
either image are therefore compared with the structure of the other as well (`comparisons`).
"""

from __future__ import annotations

from dataclasses import replace

import torch

from ..geometry.filters import gaussian_filter, gradient, quantile_stretch
from .preprocess import Pair
from .presets import preset_for


def structure_pairs(pair: Pair) -> list[Pair]:
    """The pair with the structure in the place of the moving image, and with it in the place of the fixed one."""
    return [
        replace(pair, moving=structure_of(pair, pair.moving, pair.moving_mask)),
        replace(pair, fixed=structure_of(pair, pair.fixed, pair.fixed_mask)),
    ]


def structure_of(pair: Pair, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The length of the gradient of an image of the pair after Gaussian smoothing, scaled to about [0, 1].

    Args:
        image, mask: (1, 1, *size).
    """
    preset = preset_for(pair.axes)
    window = preset.structure_window * preset.scale(pair.fixed_size, pair.moving_size)
    smooth = gaussian_filter(image, [window] * pair.axes, normalized=True)
    length = (gradient(smooth, [1.0] * pair.axes) ** 2).sum(1, keepdim=True).sqrt()
    return quantile_stretch(length, mask[0, 0] > 0, floor=preset.structure_floor / window)

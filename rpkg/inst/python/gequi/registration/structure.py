"""The structure of an image, used instead of its gray levels to register it to an edge image.

An edge image is the length of the gradient of the other image. There is no local linear relation between its gray
levels and those of the other, but there is one between its gray levels and the structure of the other. For contrast
"any", the gray levels of each image are therefore also compared with the structure of the other (`comparisons`).
"""

from __future__ import annotations

from dataclasses import replace

import torch

from ..geometry.filters import gaussian_filter, gradient, quantile_stretch
from .preprocess import Pair
from .presets import preset_for


def structure_pairs(pair: Pair) -> list[Pair]:
    """Return the pair with the structure instead of the moving image, and with it instead of the fixed image."""
    return [
        replace(pair, moving=structure_of(pair, pair.moving, pair.moving_mask)),
        replace(pair, fixed=structure_of(pair, pair.fixed, pair.fixed_mask)),
    ]


def structure_of(pair: Pair, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the gradient magnitude of an image of the pair after Gaussian smoothing, scaled to about [0, 1].

    Args:
        image, mask: (1, 1, *size).
    """
    preset = preset_for(pair.axes)
    window = preset.structure_window * preset.scale(pair.fixed_size, pair.moving_size)
    smooth = gaussian_filter(image, [window] * pair.axes, normalized=True)
    length = (gradient(smooth, [1.0] * pair.axes) ** 2).sum(1, keepdim=True).sqrt()
    return quantile_stretch(length, mask[0, 0] > 0, floor=preset.structure_floor / window)

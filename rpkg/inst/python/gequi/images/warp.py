"""Columns of an image moved up and down by a sine."""

from __future__ import annotations

import math
from typing import Any

import torch

from ..arrays import check_number
from ..errors import InputError
from ._border import at_border


def oscillatory_warp(a: Any, amplitude: float = -10, period: float = 8 * math.pi) -> Any:
    """Shift the columns of an image by a sine: out[r, c] = a[r + amplitude sin(2 pi (c + 1) / period), c].

    Values between rows are interpolated linearly. Beyond the first and last row, the nearest row is used.

    Args:
        a: image (row, column).
        amplitude: in pixels. The default is the poster's warp.
        period: of the sine, in pixels along a row; above 0. The default is the poster's sin(column / 4), with columns
            counted from 1.

    Returns:
        an image of the same size.

    Raises:
        InputError: an amplitude that is not a finite number, a period that is not above 0.
        ShapeError: not a matrix, or empty.

    Source:
        Mishka (Michael Bukatin), "Multiplying monochrome images as matrices", JuliaCon 2021.

    Example:
        >>> oscillatory_warp([[1, 1], [2, 2], [4, 4]], amplitude=0.5, period=4).round(12).tolist()
        [[1.5, 1.0], [3.0, 2.0], [4.0, 4.0]]
    """
    shift = check_number(amplitude, "amplitude")
    length = check_number(period, "period")
    if length <= 0:
        raise InputError("`{argument}` must be above 0; got {value!r}.", "period", value=length)

    def warp(image: torch.Tensor) -> torch.Tensor:
        # positions in float64 whatever the image: the same pixels in both types
        height, width = image.shape
        columns = torch.arange(1, width + 1, dtype=torch.float64)
        rows = torch.arange(height, dtype=torch.float64)[:, None]
        position = (rows + shift * torch.sin(columns * (2 * math.pi / length))).clamp(0, height - 1)
        above = position.floor().long().clamp(max=max(height - 2, 0))
        part = (position - above).to(image.dtype)
        below = (above + 1).clamp(max=height - 1)
        return image.gather(0, above) * (1 - part) + image.gather(0, below) * part

    return at_border(warp, {"a": a})

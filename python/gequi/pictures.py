"""Pictures as they come, with colours, turned to the grey images that everything here works on."""

from __future__ import annotations

from typing import Any

import numpy as np

from .arrays import as_array

LUMINANCE = (0.299, 0.587, 0.114)
MOST_CHANNELS = 4  # along a third axis; a longer one is depth


def grey_image(x: Any) -> np.ndarray:
    """A picture in grey: 0.299 red + 0.587 green + 0.114 blue.

    Args:
        x: (row, column), grey already; or (row, column, channel) with 1 channel, 2 (grey, alpha), 3 (red, green, blue)
            or 4 (red, green, blue, alpha). What alpha says is left aside. With more than 4 along the third axis, a
            volume (row, column, depth), which is grey already.

    Returns:
        (row, column) or (row, column, depth), in the range of `x`; float32 where `x` is, else float64.

    Raises:
        ShapeError: an array of other axes.
        InputError: values that are no numbers, or not finite.

    Source:
        the weights: Recommendation ITU-R BT.601, as in the greys of JPEG, Pillow and OpenCV.

    Example:
        >>> grey_image([[[1.0, 1.0, 1.0], [0.0, 1.0, 0.0]]]).round(3).tolist()
        [[1.0, 0.587]]
    """
    return to_grey(x, "x")


def to_grey(x: Any, argument: str) -> np.ndarray:
    """`grey_image()` of an argument of another name."""
    array = as_array(x, argument, ndim=(2, 3), axes="(row, column), with or without channels or depth")
    values = array.astype(np.float32 if array.dtype == np.float32 else np.float64)
    if values.ndim == 2 or values.shape[2] > MOST_CHANNELS:
        return values
    if values.shape[2] < len(LUMINANCE):
        return values[..., 0]
    red, green, blue = np.moveaxis(values[..., :3], 2, 0)
    return (LUMINANCE[0] * red + LUMINANCE[1] * green + LUMINANCE[2] * blue).astype(values.dtype)

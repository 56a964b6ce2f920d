"""Targets that are classes: how they are distinguished from numbers, and their form in the losses.

Classes are counted from 0. Pixels whose target is -1, NaN or the option `ignore` do not contribute to the loss.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arrays import as_array
from ..errors import InputError

IGNORED = -1


def are_classes(y: np.ndarray, loss: Any, output_shape: tuple[int, ...]) -> bool:
    """Return whether targets are classes.

    Args:
        y: array: the targets.
        loss: str or callable, optional: the loss. None decides by the targets. They are classes if their type is
            integer or logical, or if they are whole numbers, one per image or pixel of an output with several channels.
            No other loss compares such targets with such an output.
        output_shape: tuple of int: the shape of the output of the model for one example.
    """
    if loss is not None:
        return bool(loss == "cross_entropy")
    if y.dtype.kind in "iub":
        return True
    places = () if all(n == 1 for n in output_shape[1:]) else output_shape[1:]
    if isinstance(y, np.memmap) or output_shape[0] < 2 or y.shape[1:] != places:
        return False
    values = y[~np.isnan(y)]
    return bool(values.size) and bool((values == np.floor(values)).all())


def class_numbers(y: np.ndarray, ignore: int | None) -> np.ndarray:
    """Replace targets that are NaN or `ignore` by -1, and convert to integers if all targets are whole numbers."""
    left_out = np.isnan(y) if y.dtype.kind == "f" else np.zeros(y.shape, dtype=bool)
    if ignore is not None:
        left_out |= y == ignore
    if not left_out.any():
        return y
    found = np.where(left_out, IGNORED, y)
    return found.astype(np.int64) if (found == np.floor(found)).all() else found


def check_no_image_left_out(y: np.ndarray) -> None:
    """Raise an InputError if an image has no class. Only pixels may be without a class."""
    wrong = np.flatnonzero(y == IGNORED)
    if wrong.size:
        raise InputError(
            "`{argument}` has no class for image {image:index}: leave that image out. Only pixels may be without one.",
            "y", image=int(wrong[0]),
        )  # fmt: skip


def check_classes(y: np.ndarray, least: int, classes: int) -> None:
    """Raise an InputError for targets that are not classes of the network."""
    values = np.unique(y)
    wrong = values[(values < least) | (values >= classes) | (values != np.floor(values))]
    if wrong.size:
        value = float(wrong[0])
        raise InputError(
            "`{argument}` must hold classes, whole numbers from {least:index} to {most:index}, one for each output of "
            "the network; got {value:index}.",
            "y", least=max(least, 0), most=classes - 1, value=int(value) if value.is_integer() else value,
        )  # fmt: skip


def finite(y: np.ndarray) -> np.ndarray:
    """Check that numeric targets are finite. Memory maps are not checked."""
    return y if isinstance(y, np.memmap) else as_array(y, "y", flags=True)

"""Several images in one argument, such as the sections of a stack."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..arrays import as_array
from ..errors import GequiError, ShapeError
from .preprocess import SMALLEST


def check_series(images: Any, noun: str, dimensions: tuple[int, ...]) -> tuple[list[np.ndarray], list[str] | None]:
    """Return copies of at least 2 images, and their names if they have any.

    Args:
        images: list of arrays, an array whose first axis counts the images, or a mapping whose keys name the images.
        noun: str: the name of one of them in messages, such as "section".
        dimensions: tuple of int: the numbers of axes that the images may have, of which all must have the same.
    """
    names = [str(name) for name in images] if isinstance(images, Mapping) else None
    if isinstance(images, Mapping):
        images = list(images.values())
    axes = {2: "(row, column)", 3: "(depth, row, column)"}
    if not isinstance(images, list | tuple):
        stacked = " or ".join(axes[n].replace("(", f"({noun}, ") for n in dimensions)
        array = as_array(
            images, "images", ndim=tuple(n + 1 for n in dimensions), axes=f"{stacked}, or be a list of {noun}s"
        )
        images = list(array)
    if len(images) < 2:
        template = "`{argument}` must have at least 2 {several}; got {given}."
        raise ShapeError(template, "images", several=f"{noun}s", given=len(images))
    checked: list[np.ndarray] = []
    for number, image in enumerate(images):
        try:
            array = as_array(image, "images", ndim=dimensions, axes=" or ".join(axes[n] for n in dimensions))
            if checked and array.ndim != checked[0].ndim:
                raise ShapeError("`{argument}` must be all images or all volumes.", "images")
            if min(array.shape) < SMALLEST:
                raise ShapeError(
                    "`{argument}` must have at least {least} pixels along each side; got shape {shape}.",
                    "images", least=SMALLEST, shape=array.shape,
                )  # fmt: skip
        except GequiError as error:
            raise error.within(
                "{noun} {number} of {total}: ", noun=noun.capitalize(), number=number + 1, total=len(images)
            ) from None
        checked.append(array.copy())
    return checked, names

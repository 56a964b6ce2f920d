"""Normalization of images to a range, and of rows and columns to a sum of 1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ..arrays import as_array, as_numpy, check_choice, check_function, own_tensor
from ..errors import InputError, ShapeError
from ._border import at_border, has_tensor

Weights = str | Callable[[Any], Any]
WEIGHTS = ("exp", "plus_one", "identity")


def normalize_image(x: Any) -> Any:
    """Scale an image to [0, 1]: (x - min x) / (max x - min x). A constant image becomes 0.

    Args:
        x: image (row, column).

    Returns:
        an image of the same size.

    Raises:
        ShapeError: not a matrix, or empty.
        InputError: values that are not finite.

    Source:
        Mishka (Michael Bukatin), "Multiplying monochrome images as matrices", JuliaCon 2021.

    Example:
        >>> normalize_image([[1, 2], [3, 5]]).tolist()
        [[0.0, 0.25], [0.5, 1.0]]
    """
    return at_border(scale_image, {"x": x})


def scale_image(x: torch.Tensor) -> torch.Tensor:
    """`normalize_image()` for a tensor."""
    shifted = x - x.min()
    largest = shifted.max()
    return shifted / torch.where(largest > 0, largest, 1.0)


def signed_image(x: Any) -> Any:
    """Scale an image to [-1, 1]: 2 normalize_image(x) - 1. A constant image becomes -1.

    Args:
        x: image (row, column).

    Returns:
        an image of the same size.

    Raises:
        ShapeError: not a matrix, or empty.
        InputError: values that are not finite.

    Source:
        Mishka (Michael Bukatin), "Multiplying monochrome images as matrices", JuliaCon 2021.

    Example:
        >>> signed_image([[1, 2], [3, 5]]).tolist()
        [[-1.0, -0.5], [0.0, 1.0]]
    """
    return at_border(lambda image: 2 * scale_image(image) - 1, {"x": x})


def normalize_rows(x: Any, f: Weights = "exp") -> Any:
    """Convert each row to weights that sum to 1: f(x)[i, j] / sum over j of f(x)[i, j].

    Args:
        x: image (row, column).
        f: "exp" (the softmax of each row), "plus_one" (x + 1, the poster's cheap stand-in), "identity" (x itself), or
            a function of the whole image.

    Returns:
        an image of the same size; each row sums to 1.

    Raises:
        InputError: weights f(x) that are negative (with "plus_one", a pixel below -1), or a row of zeros.
        ShapeError: not a matrix, empty, or a function that changes the shape.

    Source:
        Mishka (Michael Bukatin), "Multiplying monochrome images as matrices", JuliaCon 2021.

    Example:
        >>> normalize_rows([[0, 2], [1, 1]], "plus_one").tolist()
        [[0.25, 0.75], [0.5, 0.5]]
    """
    weights = check_weights(f, "f", has_tensor(x))
    return at_border(lambda image: weigh(image, 1, weights, "f"), {"x": x})


def normalize_columns(x: Any, f: Weights = "exp") -> Any:
    """Convert each column to weights that sum to 1: f(x)[i, j] / sum over i of f(x)[i, j].

    Args:
        x: image (row, column).
        f: "exp" (the softmax of each column), "plus_one" (x + 1, the poster's cheap stand-in), "identity" (x itself),
            or a function of the whole image.

    Returns:
        an image of the same size; each column sums to 1.

    Raises:
        InputError: weights f(x) that are negative (with "plus_one", a pixel below -1), or a column of zeros.
        ShapeError: not a matrix, empty, or a function that changes the shape.

    Source:
        Mishka (Michael Bukatin), "Multiplying monochrome images as matrices", JuliaCon 2021.

    Example:
        >>> normalize_columns([[0, 1], [2, 1]], "plus_one").tolist()
        [[0.25, 0.5], [0.75, 0.5]]
    """
    weights = check_weights(f, "f", has_tensor(x))
    return at_border(lambda image: weigh(image, 0, weights, "f"), {"x": x})


def weigh(x: torch.Tensor, axis: int, f: Weights, argument: str) -> torch.Tensor:
    """Return weights f(x) that sum to 1 along an axis."""
    if f == "exp":
        return torch.softmax(x, axis)
    weights = f(x) if callable(f) else x + 1 if f == "plus_one" else x
    totals = weights.sum(axis, keepdim=True)
    least, least_total = float(weights.detach().min()), float(totals.detach().min())
    if least < 0 or least_total == 0:
        named = "the function's" if callable(f) else "{f!r}"
        found = "the least is {least:.6g}" if least < 0 else "a {line} sums to 0"
        raise InputError(
            "`{argument}` must give weights that are not negative and not all 0 in a {line}; with "
            + named + " weights{hint}, " + found + ".",
            argument, line=("column", "row")[axis], f=f, least=least,
            hint=" (x + 1: no pixel may be below -1)" if f == "plus_one" else "",
        )  # fmt: skip
    return weights / totals


def check_weights(f: Any, argument: str, tensors: bool) -> Weights:
    """Return `f` by name or as a function. A function receives an array or a tensor, as the caller passed it."""
    if not callable(f):
        return check_choice(f, argument, WEIGHTS)
    if tensors:
        return f
    check_function(f, argument)

    def on_arrays(x: torch.Tensor) -> torch.Tensor:
        weights = as_array(f(as_numpy(x)), f"{argument}(x)")
        if weights.shape != tuple(x.shape):
            template = "`{argument}` must return an array of the shape of its input, {wanted}; got {shape}."
            raise ShapeError(template, argument, wanted=tuple(x.shape), shape=weights.shape)
        return own_tensor(weights, x.dtype)

    return on_arrays

"""The weights of attention: exponentials of the scores, normalized to sum to 1."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from ..arrays import as_array, as_numpy, check_dtype, check_index, own_tensor
from ..errors import InputError, ShapeError


def softmax(x: Any, axis: int | None = None, dtype: str = "float64") -> np.ndarray:
    """Compute the softmax along an axis: exp(x_i) / sum_j exp(x_j).

    Args:
        x: numeric array with at least one axis. -Inf gives a weight of 0.
        axis: integer, the axis along which the result sums to 1. None is the last axis.
        dtype: "float32" or "float64".

    Returns:
        an array of the shape of `x`.

    Raises:
        InputError: NaN or +Inf, or nothing but -Inf along the axis.
        ShapeError: no such axis.

    Example:
        >>> softmax([[0.0, 0.0], [1.0, 1.0]]).tolist()
        [[0.5, 0.5], [0.5, 0.5]]
    """
    array = as_array(x, "x", finite=False)
    if array.ndim == 0:
        raise ShapeError("`{argument}` must have at least one axis; got a single number.", "x")
    along = array.ndim - 1 if axis is None else check_index(axis, "axis", array.ndim, from_end=True)
    check_scores(array, "x")
    if np.isneginf(array.max(axis=along)).any():
        template = "`{argument}` must have a finite value in each run along axis {axis:index}; one is all -Inf."
        raise InputError(template, "x", axis=along)
    return as_numpy(torch.softmax(own_tensor(array, check_dtype(dtype), argument="x"), along))


def check_scores(array: np.ndarray, argument: str) -> None:
    """Raise an error for NaN and +Inf. -Inf is valid: such a score has a weight of 0."""
    if np.isnan(array).any() or np.isposinf(array).any():
        raise InputError("`{argument}` must hold finite numbers or -Inf; it holds NaN or +Inf.", argument)


def attention_weights(
    query: torch.Tensor, key: torch.Tensor, scale: float, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """Return the weights (..., query, key), which `attend()` never stores completely."""
    scores = scale * (query @ key.mT)
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else scores + mask
    return torch.softmax(scores, -1)

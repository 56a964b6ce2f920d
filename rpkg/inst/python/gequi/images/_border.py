"""Conversion of images: numpy arrays are returned as numpy arrays, tensors as tensors on the graph of torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from ..arrays import as_array, as_numpy, check_dense, check_result, own_tensor
from ..errors import ShapeError


def at_border(operation: Callable[..., torch.Tensor], images: Mapping[str, Any]) -> Any:
    """Apply `operation` to images given by argument name. Tensors stay on the graph; others become numpy arrays."""
    tensors = [image for image in images.values() if isinstance(image, torch.Tensor)]
    if tensors:
        return operation(*(_check_tensor(image, name, tensors[0].dtype) for name, image in images.items()))
    arrays = [as_array(image, name, ndim=2, axes="(row, column)") for name, image in images.items()]
    dtype = torch.float32 if all(array.dtype == np.float32 for array in arrays) else torch.float64
    result = operation(*(own_tensor(array, dtype) for array in arrays))
    return check_result(as_numpy(result), next(iter(images)))


def _check_tensor(image: Any, name: str, dtype: torch.dtype) -> torch.Tensor:
    if not isinstance(image, torch.Tensor):
        return own_tensor(as_array(image, name, ndim=2, axes="(row, column)"), dtype, argument=name)
    check_dense(image, name)
    if image.ndim != 2 or image.numel() == 0:
        template = "`{argument}` must be a matrix (row, column); got shape {shape}."
        raise ShapeError(template, name, shape=tuple(image.shape))
    return image


def has_tensor(*images: Any) -> bool:
    """Return whether one of the images is a tensor, so that the result stays on the graph of torch."""
    return any(isinstance(image, torch.Tensor) for image in images)

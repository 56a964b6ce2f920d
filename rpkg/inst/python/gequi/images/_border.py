"""The way of images in and out: numpy arrays as such, tensors on torch's graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from ..arrays import as_array, as_numpy, check_dense, check_result, own_tensor
from ..errors import ShapeError


def at_border(operation: Callable[..., torch.Tensor], images: Mapping[str, Any]) -> Any:
    """`operation` on images by name of argument: tensors stay on the graph, all else comes and goes as numpy."""
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
    """Whether one of the images is a tensor, so that the result stays on torch's graph."""
    return any(isinstance(image, torch.Tensor) for image in images)

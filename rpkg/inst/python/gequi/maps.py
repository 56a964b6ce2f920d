"""Coordinate maps: warping images and points, composition, inversion and derivatives.

Convention. map[i, ...] is the i-th coordinate in the moving image, in pixels from 0, for each pixel of the fixed image:
moving(map(x)) = fixed(x). A map has the axes (axis, row, column), or (axis, depth, row, column) for volumes. Between
its pixels a map is interpolated linearly. Beyond its border it is extrapolated linearly: from the nearest pixel, with
its mean linear part. An image is extended by the value of its nearest pixel.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from ._limits import check_memory
from .arrays import (
    as_array,
    as_numpy,
    check_choice,
    check_dtype,
    check_flag,
    check_integer,
    check_magnitude,
    check_number,
    check_result,
    entries,
    own_tensor,
)
from .errors import InputError, ShapeError
from .geometry.grids import pixel_grid
from .geometry.linalg import determinant
from .geometry.sampling import INTERPOLATIONS, grid_sample, inside, nearest_pixels
from .geometry.tensor_maps import inverse_points, jacobian_matrix, sample_map

MAP_AXES = "(axis, row, column) or (axis, depth, row, column)"

# ---- functions on arrays --------------------------------------------------------------------------------


def identity_map(shape: Any, dtype: str = "float64") -> np.ndarray:
    """Create the identity map.

    Args:
        shape: tuple of int: the size of the image, (row, column) or (depth, row, column).
        dtype: str: "float32" or "float64".

    Returns:
        an array (axis, row, column) or (axis, depth, row, column), in pixels.

    Raises:
        ShapeError: `shape` has neither 2 nor 3 sizes.
        InputError: a size that is not an integer of at least 1.

    Example:
        >>> identity_map((2, 3)).tolist()
        [[[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]], [[0.0, 1.0, 2.0], [0.0, 1.0, 2.0]]]
    """
    sizes, kind = check_shape(shape, "shape"), check_dtype(dtype)
    check_memory(kind.itemsize * len(sizes) * math.prod(sizes), "shape")
    return as_numpy(pixel_grid(sizes, kind))


def warp_image(image: Any, map: Any, interpolation: str = "linear", fill: float | None = None) -> np.ndarray:
    """Resample an image through a map: warped(x) = image(map(x)).

    Args:
        image: array (row, column), (depth, row, column), or (channel, *size): the moving image.
        map: array (axis, row, column) or (axis, depth, row, column), in pixels of `image`.
        interpolation: str: "linear", "cubic" (an interpolating spline, which is smooth and sharper) or "nearest", which
            is suitable for labels because no new values occur.
        fill: float: the value where the map is more than half a pixel outside the image. None uses the nearest pixel.

    Returns:
        an array of the size of the map, with the channels of `image`. "nearest" keeps the type of `image`. Otherwise
        the type is float32 if image and map are float32, and float64 if not.

    Raises:
        ShapeError: an image that does not match the axes of the map.
        InputError: an unknown interpolation, values that are not finite, or a `fill` that the type of the result does
            not represent, such as 300 in 8 bits.

    Source:
        the cubic spline: Unser, Aldroubi and Eden 1993, with mirrored borders.

    Example:
        >>> half_down = identity_map((2, 2)) + [[[0.5]], [[0.0]]]
        >>> warp_image([[0.0, 2.0], [4.0, 6.0]], half_down).tolist()
        [[2.0, 4.0], [4.0, 6.0]]
    """
    check_choice(interpolation, "interpolation", INTERPOLATIONS)
    coordinates = check_map(map, "map")
    axes = len(coordinates)
    pixels = as_array(image, "image", ndim=(axes, axes + 1), axes=f"for a map of {axes} axes, with or without channels",
                      flags=interpolation == "nearest")  # fmt: skip
    dtype = _dtype_of(pixels, coordinates)
    channels = pixels if pixels.ndim > axes else pixels[None]
    points = own_tensor(coordinates, dtype)[None]
    if interpolation == "nearest":
        nearest = as_numpy(nearest_pixels(points, channels.shape[1:])[0])
        flat = np.ravel_multi_index(tuple(nearest), channels.shape[1:])
        warped = channels.reshape(len(channels), -1)[:, flat]
    else:
        sampled = grid_sample(own_tensor(channels, dtype)[None], points, interpolation, symmetric=True)[0]
        warped = check_result(as_numpy(sampled), "image")
    if fill is not None:
        outside = as_numpy(~inside(points, channels.shape[1:])[0])
        warped[:, outside] = storable(check_number(fill, "fill"), warped.dtype)
    return warped if pixels.ndim > axes else warped[0]


def storable(fill: float, dtype: np.dtype) -> Any:
    """Return `fill` as a value of a type that represents it; otherwise raise an InputError."""
    if dtype.kind == "f":
        fits = abs(fill) <= float(np.finfo(dtype).max)
    else:
        low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
        fits = low <= fill <= high and fill == math.floor(fill)
    if not fits:
        template = "`{argument}` must be a value of the type of the result, {dtype}; got {value!r}."
        raise InputError(template, "fill", dtype=str(dtype), value=fill)
    return dtype.type(fill)


def warp_points(points: Any, map: Any) -> np.ndarray:
    """Map points of the fixed image to the moving image.

    Args:
        points: array (point, axis), or (axis) for a single point, in pixels of the fixed image from 0.
        map: array (axis, row, column) or (axis, depth, row, column).

    Returns:
        the points in the moving image, in the shape of `points`. The map is extrapolated linearly beyond its border. To
        map points of the moving image to the fixed image, use the inverse map.

    Raises:
        ShapeError: points whose number of coordinates differs from the number of axes of the map.

    Example:
        >>> warp_points([[0.5, 1.0], [7.0, 7.0]], identity_map((4, 4)) + 1).tolist()
        [[1.5, 2.0], [8.0, 8.0]]
    """
    coordinates = check_map(map, "map")
    at = as_array(points, "points", ndim=(1, 2), axes="(point, axis)")
    if at.shape[-1] != len(coordinates):
        template = "`{argument}` must have {wanted} coordinates each, as the map has axes; got shape {shape}."
        raise ShapeError(template, "points", wanted=len(coordinates), shape=at.shape)
    dtype = _dtype_of(at, coordinates)
    queries = own_tensor(np.atleast_2d(at).T, dtype)[None]
    carried = sample_map(own_tensor(coordinates, dtype)[None], queries)[0].T
    return check_result(as_numpy(carried).reshape(at.shape), "points")


def compose_maps(outer: Any, inner: Any) -> np.ndarray:
    """Compose two maps: result(x) = outer(inner(x)).

    Args:
        outer: array (axis, row, column) or (axis, depth, row, column), on the target image of `inner`.
        inner: array: a map with the same number of axes, of any size.

    Returns:
        a map on the grid of `inner`.

    Raises:
        ShapeError: maps that differ in the number of axes.

    Example:
        >>> there = identity_map((3, 3)) + 0.25
        >>> bool((compose_maps(there, there) == identity_map((3, 3)) + 0.5).all())
        True
    """
    second, first = check_map(outer, "outer"), check_map(inner, "inner")
    if len(second) != len(first):
        template = "`{argument}` must have as many axes as `outer`, {wanted}; got {axes}, shape {shape}."
        raise ShapeError(template, "inner", wanted=len(second), axes=len(first), shape=first.shape)
    dtype = _dtype_of(second, first)
    composed = sample_map(own_tensor(second, dtype)[None], own_tensor(first, dtype)[None])[0]
    return check_result(as_numpy(composed), "outer")


def invert_map(map: Any, shape: Any = None, steps: int = 50) -> np.ndarray:
    """Compute the inverse map, result(map(x)) = x, with Newton's method at each pixel of the moving image.

    Args:
        map: array (axis, row, column) or (axis, depth, row, column), without folds.
        shape: tuple of int: the size of the moving image, which is the grid of the result. None is the size of `map`.
        steps: int: the maximum number of Newton steps.

    Returns:
        a map on `shape`. Outside the range of the map, its linear extrapolation is inverted.

    Raises:
        InputError: a map that folds, or whose inverse is not found at some pixel.
        ShapeError: a size that does not match the axes of the map.

    Example:
        >>> back = invert_map(identity_map((4, 4)) + 0.5)
        >>> bool(abs(back - (identity_map((4, 4)) - 0.5)).max() < 1e-12)
        True
    """
    coordinates = check_map(map, "map")
    count = check_integer(steps, "steps", minimum=1)
    sizes = coordinates.shape[1:] if shape is None else check_shape(shape, "shape")
    if len(sizes) != len(coordinates):
        template = "`{argument}` must have {wanted} sizes, as the map has axes; got {given}."
        raise ShapeError(template, "shape", wanted=len(coordinates), given=len(sizes))
    _check_extent(coordinates)
    check_magnitude(coordinates, "map", torch.float64)
    tensor = own_tensor(coordinates, torch.float64)
    folds = int((determinant(jacobian_matrix(tensor)) <= 0).sum())
    if folds:
        template = "`{argument}` folds at {folds} pixels, where its Jacobian is not positive: it has no inverse."
        raise InputError(template, "map", folds=folds)
    target = pixel_grid(sizes, torch.float64).reshape(len(sizes), -1)
    found, error = inverse_points(tensor, target, count)
    lost = int((error > 1e-3).sum())
    if lost:
        template = "`{argument}` has no inverse at {lost} of {pixels} pixels that {steps} steps could find."
        raise InputError(template, "map", lost=lost, pixels=error.numel(), steps=count)
    return as_numpy(found.reshape(-1, *sizes).to(_dtype_of(coordinates)))


def map_jacobian(map: Any, spacing: Any = None, moving_spacing: Any = None, matrix: bool = False) -> np.ndarray:
    """Compute the determinant of the Jacobian of a map, which is negative where the map folds.

    Derivatives are central differences, and one-sided differences at the border.

    Args:
        map: array (axis, row, column) or (axis, depth, row, column).
        spacing: float or array (axis): the pixel size of the fixed image. None is 1.
        moving_spacing: float or array (axis): the pixel size of the moving image. None uses `spacing`.
        matrix: bool: whether to return the derivatives instead of their determinant.

    Returns:
        an array (row, column) or (depth, row, column). With `matrix`, an array (axis, axis, *size), where [i, j] is the
        derivative of the i-th coordinate of the moving image with respect to the j-th coordinate of the fixed image,
        both in units of length.

    Raises:
        ShapeError: a map of fewer than 2 pixels along an axis.
        InputError: a spacing that is not positive.

    Example:
        >>> map_jacobian(2 * identity_map((3, 3)))[0].tolist()
        [4.0, 4.0, 4.0]
    """
    coordinates = check_map(map, "map")
    _check_extent(coordinates)
    fixed = check_spacing(spacing, len(coordinates), "spacing")
    moving = fixed if moving_spacing is None else check_spacing(moving_spacing, len(coordinates), "moving_spacing")
    derivatives = jacobian_matrix(own_tensor(coordinates, _dtype_of(coordinates)))
    scale = np.divide.outer(moving, fixed).reshape(len(fixed), len(fixed), *[1] * len(fixed))
    derivatives = derivatives * torch.as_tensor(scale, dtype=derivatives.dtype)
    return check_result(as_numpy(derivatives if check_flag(matrix, "matrix") else determinant(derivatives)), "map")


# ---- checks ---------------------------------------------------------------------------------------------


def check_map(map: Any, argument: str) -> np.ndarray:
    """Check that `map` has one coordinate for each of its 2 or 3 axes, and return it as an array."""
    array = as_array(map, argument, ndim=(3, 4), axes=MAP_AXES)
    if len(array) != array.ndim - 1:
        raise ShapeError(
            "`{argument}` must hold {count} coordinates for its {count} axes, {axes}; got shape {shape}.",
            argument, count=array.ndim - 1, axes=MAP_AXES, shape=array.shape,
        )  # fmt: skip
    return array


def _check_extent(coordinates: np.ndarray) -> None:
    """Raise an error for a map that has no derivative along one of its axes."""
    if min(coordinates.shape[1:]) < 2:
        template = "`{argument}` must have at least 2 pixels along each axis; its shape is {shape}."
        raise ShapeError(template, "map", shape=coordinates.shape)


def check_spacing(spacing: Any, axes: int, argument: str) -> np.ndarray:
    """Return the spacing along each axis, from one positive number or one per axis; None is 1."""
    values = np.ones(1) if spacing is None else as_array(spacing, argument, ndim=(0, 1), flags=True).reshape(-1)
    if values.dtype.kind == "b":
        raise InputError("`{argument}` must be numbers; got {value!r}.", argument, value=values.tolist())
    values = values.astype(np.float64)
    if len(values) not in (1, axes):
        template = "`{argument}` must be one number or {axes}, one for each axis; got {given}."
        raise ShapeError(template, argument, axes=axes, given=len(values))
    if (values <= 0).any():
        raise InputError("`{argument}` must be positive; got {value!r}.", argument, value=values.tolist())
    return np.broadcast_to(values, axes).copy()


def check_shape(shape: Any, argument: str) -> tuple[int, ...]:
    sizes = tuple(check_integer(size, argument, minimum=1) for size in entries(shape))
    if len(sizes) not in (2, 3):
        raise ShapeError(
            "`{argument}` must have 2 or 3 sizes, (row, column) or (depth, row, column); got {sizes}.",
            argument, sizes=sizes,
        )  # fmt: skip
    return sizes


def _dtype_of(*arrays: np.ndarray) -> torch.dtype:
    """Return float32 if all arrays are float32, otherwise float64."""
    return torch.float32 if all(array.dtype == np.float32 for array in arrays) else torch.float64

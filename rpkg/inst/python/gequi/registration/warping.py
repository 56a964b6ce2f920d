"""Resampling of images and labels through a map: their type, their range, and the values outside."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from ..arrays import check_choice, check_number, scalar
from ..errors import GequiMessage, InputError
from ..geometry.sampling import INTERPOLATIONS
from ..maps import storable, warp_image

TYPES = ("image", "labels")
KINDS = {"b": "logical", "i": "integer", "u": "integer", "f": "number"}  # of numpy's kinds of numbers


def choose_interpolation(kind: str, type: str | None, interpolation: str | None, argument: str = "image") -> str:
    """Return the interpolation of data: nearest neighbor for labels, another one for images.

    Args:
        kind: the kind of values: "number", "integer", "logical" or "factor".
        type: "image" or "labels"; None decides by `kind`: logicals, factors and integers are labels.
        interpolation: the requested interpolation; "linear" or "cubic" treats any kind as an image. None is "nearest"
            for labels and "cubic" for images.
        argument: the argument name, for messages.

    Warns:
        GequiMessage: integers or logicals, if `type` is None and both types are possible.
    """
    asked = None if interpolation is None else check_choice(interpolation, "interpolation", INTERPOLATIONS)
    if type is not None and check_choice(type, "type", TYPES) == "labels":
        if asked not in (None, "nearest"):
            raise InputError(
                "`{argument}` must be {nearest!r} for labels, which cannot be interpolated; got {asked!r}.",
                "interpolation", nearest="nearest", asked=asked,
            )  # fmt: skip
        return "nearest"
    if type is None and kind != "number" and asked != "nearest":
        if asked is not None:
            _tell(
                "`{argument}` has the type {kind} and is interpolated as an image, which makes values in between; "
                "`{type:name} = {labels!r}` keeps its values.", argument, kind=kind, labels="labels",
            )  # fmt: skip
            return asked
        if kind == "integer":
            _tell(
                "`{argument}` has whole numbers and is taken for labels: each pixel takes the nearest one. "
                "`{type:name} = {image!r}` interpolates.", argument, image="image",
            )  # fmt: skip
        return "nearest"
    return asked or "cubic"


def _tell(template: str, argument: str, **fields: Any) -> None:
    message = GequiMessage(template, argument, type="type", **fields)
    warnings.warn(message, stacklevel=4)  # where the public function was called


def carry_pixels(pixels: np.ndarray, map: np.ndarray, interpolation: str, fill: float | None) -> np.ndarray:
    """Resample an image (*size), or (channel, *size), through a map (axis, *out).

    Interpolated values are clipped to the range of each channel, which splines exceed next to edges. Pixels more than
    half a pixel outside the image have the value `fill` (None: the nearest pixel).
    """
    value = check_fill(fill)
    warped = warp_image(pixels, map, interpolation)
    if interpolation != "nearest":
        warped = clipped(warped, pixels, len(map))
    return filled(warped, map, pixels.shape[pixels.ndim - len(map) :], value)


def clipped(warped: np.ndarray, pixels: np.ndarray, axes: int) -> np.ndarray:
    """Clip values interpolated between `pixels` to their range, per channel; `axes` is the number of image axes."""
    size = tuple(range(pixels.ndim - axes, pixels.ndim))
    bounds = []
    for bound, inwards in ((pixels.min(size, keepdims=True), math.inf), (pixels.max(size, keepdims=True), -math.inf)):
        near = bound.astype(warped.dtype)
        beyond = near < bound if inwards > 0 else near > bound
        bounds.append(np.where(beyond, np.nextafter(near, near.dtype.type(inwards)), near))
    return np.clip(warped, *bounds)


def filled(warped: np.ndarray, map: np.ndarray, size: tuple[int, ...], fill: float | None) -> np.ndarray:
    """Set pixels where the map is more than half a pixel outside an image of this size to `fill`."""
    if fill is None:
        return warped
    if math.isnan(fill) and warped.dtype.kind != "f":
        fill = 0  # a type without NaN
    beyond = [(along <= -0.5) | (along >= n - 0.5) for along, n in zip(map, size, strict=True)]
    warped[..., np.any(beyond, 0)] = fill if math.isnan(fill) else storable(fill, warped.dtype)
    return warped


def check_fill(fill: Any) -> float | None:
    """Return `fill` as a number, NaN or None."""
    value = scalar(fill)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return value
    return float(value) if isinstance(value, bool) else check_number(value, "fill")

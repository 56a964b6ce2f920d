"""Images and labels seen through a map: which of the two they are, their range, and what lies outside."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from ..arrays import check_choice, check_number, scalar
from ..errors import GequiMessage, InputError
from ..geometry.sampling import INTERPOLATIONS
from ..maps import warp_image

TYPES = ("image", "labels")
KINDS = {"b": "logical", "i": "integer", "u": "integer", "f": "number"}  # of numpy's kinds of numbers


def choose_interpolation(kind: str, type: str | None, interpolation: str | None, argument: str = "image") -> str:
    """How something is carried over: labels take the nearest pixel, images are interpolated.

    Args:
        kind: what it holds: "number", "integer", "logical" or "factor".
        type: "image" or "labels"; None decides by `kind`: logicals, factors and whole numbers are labels.
        interpolation: as it was asked for; "linear" or "cubic" makes an image of any kind. None is "nearest" for labels
            and "cubic" for images.
        argument: its name, for the messages.

    Warns:
        GequiMessage: whole numbers or logicals, where `type` is None and they may be either.
    """
    asked = None if interpolation is None else check_choice(interpolation, "interpolation", INTERPOLATIONS)
    if type is not None and check_choice(type, "type", TYPES) == "labels":
        if asked not in (None, "nearest"):
            raise InputError(
                "`{argument}` must be {nearest!r} for labels, which have nothing in between; got {asked!r}.",
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
    """An image (*size), or channels of it with their axis in front, seen through a map (axis, *out).

    What is interpolated stays within the range of each channel, which splines leave beside edges. What lies outside the
    image by more than half a pixel has the value `fill` (None: the nearest pixel).
    """
    value = check_fill(fill)
    warped = warp_image(pixels, map, interpolation)
    if interpolation != "nearest":
        warped = clipped(warped, pixels, len(map))
    return filled(warped, map, pixels.shape[pixels.ndim - len(map) :], value)


def clipped(warped: np.ndarray, pixels: np.ndarray, axes: int) -> np.ndarray:
    """What was interpolated between `pixels`, within their range; both have so many axes, or channels in front."""
    size = tuple(range(pixels.ndim - axes, pixels.ndim))
    bounds = []
    for bound, inwards in ((pixels.min(size, keepdims=True), math.inf), (pixels.max(size, keepdims=True), -math.inf)):
        near = bound.astype(warped.dtype)
        beyond = near < bound if inwards > 0 else near > bound
        bounds.append(np.where(beyond, np.nextafter(near, near.dtype.type(inwards)), near))
    return np.clip(warped, *bounds)


def filled(warped: np.ndarray, map: np.ndarray, size: tuple[int, ...], fill: float | None) -> np.ndarray:
    """What was seen through a map, with `fill` where the map leaves an image of this size by more than half a pixel."""
    if fill is None:
        return warped
    if warped.dtype.kind != "f":
        fill = _whole(fill, warped.dtype)
    beyond = [(along <= -0.5) | (along >= n - 0.5) for along, n in zip(map, size, strict=True)]
    warped[..., np.any(beyond, 0)] = fill
    return warped


def check_fill(fill: Any) -> float | None:
    """`fill` as a number, NaN or None."""
    value = scalar(fill)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return value
    return float(value) if isinstance(value, bool) else check_number(value, "fill")


def _whole(fill: float, dtype: np.dtype) -> Any:
    """The value for labels of a type without NaN: 0 stands for NaN."""
    if math.isnan(fill):
        return 0
    low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    if fill != math.floor(fill) or not low <= fill <= high:
        raise InputError(
            "`{argument}` must be a value of the labels' type, {dtype}; got {value!r}.",
            "fill", dtype=str(dtype), value=fill,
        )  # fmt: skip
    return int(fill)

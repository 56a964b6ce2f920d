"""The location of pixels (row, column) or (depth, row, column) in physical points (x, y) or (x, y, z)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...arrays import as_array
from ...errors import InputError, ShapeError
from ...maps import check_spacing

Affine = np.ndarray  # (axis, axis + 1): x -> affine[:, :-1] x + affine[:, -1]


@dataclass(frozen=True, eq=False)
class Space:
    """The physical points of the pixels of an image, as in ITK: x to the left, y to the back, z upwards (LPS).

    Attributes:
        spacing: array (axis): the pixel size along the axes of the image, (depth, row, column).
        origin: array (axis): the position (x, y, z) of the center of the first pixel.
        cosines: array (axis, axis): the direction of ITK. Its columns are the directions along a row (from column to
            column), along a column, and from slice to slice, in x, y and z.
    """

    spacing: np.ndarray
    origin: np.ndarray
    cosines: np.ndarray

    @property
    def affine(self) -> Affine:
        """The affine map from pixels, in the order of the axes of the image, to points."""
        return np.concatenate([(self.cosines * self.spacing[::-1])[:, ::-1], self.origin[:, None]], 1)


def make_space(spacing: Any, origin: Any, cosines: Any, prefix: str = "") -> Space:
    """Create a checked space. `spacing` is an array; None is the origin 0 and the identity."""
    axes = len(spacing)
    at, turn = np.zeros(axes), np.eye(axes)
    if origin is not None:
        at = as_array(origin, f"{prefix}origin").astype(np.float64).reshape(-1)
        if len(at) != axes:
            raise ShapeError(
                "`{argument}` must have {axes} coordinates, {names}; got {given}.",
                f"{prefix}origin", axes=axes, names=", ".join("xyz"[:axes]), given=len(at),
            )  # fmt: skip
    if cosines is not None:
        given = as_array(cosines, f"{prefix}cosines").astype(np.float64)
        if given.size != axes * axes or given.ndim > 2:
            raise ShapeError(
                "`{argument}` must be a matrix of {axes} x {axes} numbers; got shape {shape}.",
                f"{prefix}cosines", axes=axes, shape=given.shape,
            )  # fmt: skip
        turn = given.reshape(axes, axes)
        if np.abs(turn.T @ turn - np.eye(axes)).max() > 1e-4:
            raise InputError(
                "`{argument}` must have columns of length 1 at right angles to each other; got {value!r}.",
                f"{prefix}cosines", value=turn.tolist(),
            )  # fmt: skip
    return Space(np.array(check_spacing(spacing, axes, f"{prefix}spacing")), at, turn)


def space_of_affine(affine: Affine) -> Space:
    """Return the space whose pixels, in the file order (column, row, depth), are located by an affine map."""
    spacing = np.linalg.norm(affine[:, :-1], axis=0)
    return Space(spacing[::-1].copy(), affine[:, -1].copy(), affine[:, :-1] / spacing)


# ---- affine maps ----------------------------------------------------------------------------------------


def apply(affine: Affine, points: np.ndarray) -> np.ndarray:
    """Transform points (axis, ...) by an affine map."""
    shift = affine[:, -1].reshape(-1, *[1] * (points.ndim - 1))
    return np.tensordot(affine[:, :-1], points, 1) + shift


def compose(outer: Affine, inner: Affine) -> Affine:
    linear = outer[:, :-1] @ inner
    linear[:, -1] += outer[:, -1]
    return linear


def inverse(affine: Affine) -> Affine:
    inner = np.linalg.inv(affine[:, :-1])
    return np.concatenate([inner, -inner @ affine[:, -1:]], 1)


def fitted(map: np.ndarray) -> Affine:
    """Return the least-squares affine fit to a map (axis, *size) over its pixels."""
    pixels = np.indices(map.shape[1:]).reshape(len(map), -1).astype(np.float64)
    values, middle = map.reshape(len(map), -1), pixels.mean(1, keepdims=True)
    centered = pixels - middle
    squares = (centered**2).sum(1)  # the axes of a grid are uncorrelated; along an axis of 1 pixel nothing is known
    linear = values @ centered.T / np.where(squares > 0, squares, 1) + np.diag(squares == 0)
    return np.concatenate([linear, values.mean(1, keepdims=True) - linear @ middle], 1)


# ---- rotations ------------------------------------------------------------------------------------------


def versor_of(rotation: np.ndarray) -> np.ndarray:
    """Return the vector part of the unit quaternion of a rotation, with the method of Bar-Itzhack (2000)."""
    r, trace = rotation, np.trace(rotation)
    turn = np.array([r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]])
    whole = np.block([[r + r.T - trace * np.eye(3), turn[:, None]], [turn[None], np.full((1, 1), trace)]])
    quaternion = np.linalg.eigh(whole)[1][:, -1]
    return np.asarray(quaternion[:3] * (-1 if quaternion[3] < 0 else 1))

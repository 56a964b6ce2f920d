"""The linear part of a map as rotation, scale, shift, shear and reflection."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np


def decompose(
    affine: np.ndarray,
    moving_size: Sequence[int],
    fixed_size: Sequence[int],
    moving_spacing: np.ndarray,
    spacing: np.ndarray,
) -> dict[str, Any]:
    """Compute rotation, scale, shift, shear and reflection of a linear map from the fixed to the moving image.

    In units of length, the linear part is B = diag(moving_spacing) affine[:, :-1] diag(1 / spacing). Its polar
    decomposition is B = R M S, where S is symmetric and positive definite, M is diag(1, ..., 1, -1) if the map contains
    a reflection and the identity otherwise, and R is a rotation. With B = U diag(s) V^T, S is V diag(s) V^T and R M is
    U V^T.

    The moving image therefore shows the fixed image scaled and sheared by S, then reflected left to right by M, then
    rotated by R. A rotation of the whole moving image changes only R. A common rotation of both images leaves angle and
    scale unchanged.

    Args:
        affine: array (axis, axis + 1), in pixels: moving = affine[:, :-1] fixed + affine[:, -1].
        moving_size, fixed_size: tuple of int: the sizes of the two images in pixels.
        moving_spacing, spacing: array (axis): their pixel sizes.

    Returns:
        a dict:
        `rotation`: the angle in degrees. For an image, from -180 to 180, counter-clockwise as displayed, with row 0 at
            the top; for a volume, from 0 to 180, counter-clockwise as seen along `axis`.
        `axis`: for a volume only, (3), the unit axis of the rotation, in (depth, row, column).
        `scale`: the square root (for volumes the cube root) of |det B|, the enlargement of the moving image.
        `scales`: (axis), the diagonal of S, the enlargement along each axis of the fixed image.
        `shear`: the off-diagonal entries of S divided by `scale`: (row, column), and for volumes three, (depth, row),
            (depth, column) and (row, column). They are 0 for similarities.
        `shift`: (axis), the offset of the mapped center of the fixed image from the center of the moving image, in
            pixels of the moving image, downwards and to the right.
        `mirror`: whether the map contains a reflection.

    Source:
        N. J. Higham, Computing the polar decomposition, 1986; S. W. Shepperd, Quaternion from rotation matrix, 1978.

    Example:
        >>> turned = decompose(np.array([[0.0, -1.0, 9.0], [1.0, 0.0, 0.0]]), (10, 10), (10, 10), np.ones(2), np.ones(2))
        >>> turned["rotation"], round(turned["scale"], 9), turned["shift"].tolist(), turned["mirror"]
        (90.0, 1.0, [0.0, 0.0], False)
    """
    axes = len(affine)
    left, lengths, right = np.linalg.svd(moving_spacing[:, None] * affine[:, :-1] / spacing)
    turn, stretch = left @ right, right.T @ (lengths[:, None] * right)
    mirror = bool(np.linalg.det(turn) < 0)
    if mirror:
        turn[:, -1] *= -1
    scale = np.exp(np.log(lengths).mean())
    shear = stretch[np.triu_indices(axes, 1)] / scale
    middles = [(np.array(size) - 1) / 2 for size in (fixed_size, moving_size)]
    return {
        **(_turn_of_images(turn) if axes == 2 else _turn_of_volumes(turn)),
        "scale": float(scale),
        "scales": np.diag(stretch).copy(),
        "shear": float(shear[0]) if axes == 2 else shear,
        "shift": affine[:, :-1] @ middles[0] + affine[:, -1] - middles[1],
        "mirror": mirror,
    }


def _turn_of_images(turn: np.ndarray) -> dict[str, Any]:
    return {"rotation": math.degrees(math.atan2(turn[1, 0], turn[0, 0]))}


def _turn_of_volumes(turn: np.ndarray) -> dict[str, Any]:
    """Return angle and axis from the quaternion q: the column of 4 q q^T with the largest diagonal is accurate."""
    trace = np.trace(turn)
    products = np.empty((4, 4))
    products[0, 0] = 1 + trace
    products[1:, 1:] = turn + turn.T + (1 - trace) * np.eye(3)
    products[0, 1:] = products[1:, 0] = turn[[2, 0, 1], [1, 2, 0]] - turn[[1, 2, 0], [2, 0, 1]]
    quaternion = products[:, np.diag(products).argmax()]
    quaternion = quaternion / np.linalg.norm(quaternion) * (-1 if quaternion[0] < 0 else 1)
    length = float(np.linalg.norm(quaternion[1:]))
    axis = quaternion[1:] / length if length > 0 else np.array([1.0, 0.0, 0.0])
    return {"rotation": math.degrees(2 * math.atan2(length, quaternion[0])), "axis": axis}


def say(parts: dict[str, Any], pixels: str) -> str:
    """Format a decomposition in one line; `pixels` is the unit of the shift."""
    turn = f"rotation {_digits(parts['rotation'], 1)} degrees"
    if "axis" in parts:
        turn += f" about ({_digits(parts['axis'], 2)})"
    sizes, shear = np.atleast_1d(parts["scales"]), np.atleast_1d(parts["shear"])
    scale = f"scale {_digits(parts['scale'], 3)}"
    if abs(sizes - parts["scale"]).max() >= 5e-4 * parts["scale"] or abs(shear).max() >= 5e-4:
        scale += f" ({_digits(sizes, 3)}), shear {_digits(shear, 3)}"
    mirror = "mirrored" if parts["mirror"] else "not mirrored"
    return f"{turn}, {scale}, shift ({_digits(parts['shift'], 1)}) {pixels}, {mirror}"


def _digits(values: Any, count: int) -> str:
    """Format numbers in a row with a number of digits, without -0."""
    return ", ".join(f"{round(float(x), count) + 0.0:.{count}f}" for x in np.atleast_1d(values))

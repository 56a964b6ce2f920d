"""Generators of the motions of the plane: the derivative of moved features with respect to the motion, at no motion.

    L x = d/dt T_t x at t = 0,    (T_t x)(p) = rho(t) x(M_t^-1 p)

For a rotation L x = A x - (J p) . grad x, for a scaling L x = -p . grad x, and for a translation along v, L x = -v . grad
x. A is the generator of the representation rho of the fields, and the gradient is that of the cubic spline through the
pixels, mirrored at the ends.
"""

from __future__ import annotations

import numpy as np
import torch

from .._escnn import FieldType
from ..geometry.grids import pixel_grid
from ..geometry.sampling import spline_filter

# name -> the unit of t. x is to the right, y is up, and rotations are counter-clockwise.
MOTIONS = {"rotation": "radian", "scale": "log", "x": "pixel", "y": "pixel"}


def generate(features: torch.Tensor, motion: str, fields: FieldType | None = None, stride: float = 1.0) -> torch.Tensor:
    """Apply the generator of a motion to features (batch, channel, row, column) or (batch, channel).

    `stride` is the number of pixels of the input per pixel of these features. Without `fields`, channels are scalars.
    """
    result = torch.zeros_like(features)
    if motion == "rotation" and fields is not None:
        matrix = channel_generator(fields)
        if matrix.any():
            result = torch.einsum("ij,bj...->bi...", torch.as_tensor(matrix).to(features), features)
    if features.ndim == 2:
        return result
    flow = velocity(tuple(features.shape[2:]), motion).to(features) / (stride if motion in ("x", "y") else 1.0)
    return result - flow[0] * slope(features, 2) - flow[1] * slope(features, 3)


def velocity(size: tuple[int, ...], motion: str) -> torch.Tensor:
    """Return the velocity (axis, row, column) of each pixel under a motion."""
    points = pixel_grid(size, torch.float64)
    row, column = (each - (n - 1) / 2 for each, n in zip(points, size, strict=True))
    zero, one = torch.zeros_like(row), torch.ones_like(row)
    return torch.stack(
        {"rotation": (-column, row), "scale": (row, column), "x": (zero, one), "y": (-one, zero)}[motion]
    )


def slope(image: torch.Tensor, axis: int) -> torch.Tensor:
    """Return the derivative along an axis, at each pixel, of the cubic spline through the pixels."""
    n = image.shape[axis]
    if n < 2:
        return torch.zeros_like(image)
    coefficients = spline_filter(image, axis)
    ends = [coefficients.narrow(axis, place, 1) for place in (1, n - 2)]  # mirrored about the outermost pixels
    extended = torch.cat([ends[0], coefficients, ends[1]], axis)
    return (extended.narrow(axis, 2, n) - extended.narrow(axis, 0, n)) / 2


def channel_generator(fields: FieldType) -> np.ndarray:
    """Return A, the derivative of the representation of rotations at the angle 0: (channel, channel).

    An irrep of a finite group of rotations stands for that of its frequency for all angles. The irrep of the Nyquist
    frequency has one channel, whose derivative is 0.
    """
    matrix = np.zeros((fields.size, fields.size))
    start = 0
    for representation in fields.representations:
        block, at = np.zeros((representation.size, representation.size)), 0
        for identity in representation.irreps:
            irrep = fields.fibergroup.irrep(*identity)
            if irrep.size == 2:
                frequency = int(irrep.attributes.get("frequency", 0))
                block[at : at + 2, at : at + 2] = frequency * np.array([[0.0, -1.0], [1.0, 0.0]])
            at += irrep.size
        change = np.asarray(representation.change_of_basis, dtype=np.float64)
        end = start + representation.size
        matrix[start:end, start:end] = change @ block @ np.linalg.inv(change)
        start = end
    return matrix

"""Gauss-Newton steps at one level, for the velocity of a deformable map and for a linear map.

A step is equivariant: it commutes with a common transformation U of both images ([U, U]-equivariance). The variance of
the residuals is measured locally. The prior of the velocity has the precision stiffness (|k|^4 + membrane |k|^2). The
normal equations of both are solved in the cosine basis, where the prior is diagonal.

Source: Ashburner 2007 (flows, multigrid Gauss-Newton).
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from .._progress import tick
from ..geometry.grids import Size, area_resample
from .equations import Equations, apply_spectrum, upper_entries
from .pyramid import Level, map_at_cells
from .similarity import residuals
from .transforms import apply_linear, generators, image_center, nearest_linear


class LinearEquations(NamedTuple):
    """The normal equations of a linear map.

    Attributes:
        basis: the generators of this kind of map about the center, (generator, axis * (axis + 1)).
        normal, right: (map, generator, generator) and (map, generator, 1).
        center: the center of the fixed image, in pixels: (axis).
    """

    basis: torch.Tensor
    normal: torch.Tensor
    right: torch.Tensor
    center: torch.Tensor


def refine(
    level: Level, linear: torch.Tensor, velocity: torch.Tensor, transform: str, steps: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return linear maps and their velocities after a number of steps at one level."""
    for _ in range(steps):
        tick()
        if transform == "deformable":
            velocity = gauss_newton_step(level, linear, velocity)
        else:
            linear = linear_step(level, linear, transform)
    return linear, velocity


# ---- deformable maps ------------------------------------------------------------------------------------


def gauss_newton_step(level: Level, linear: torch.Tensor, velocity: torch.Tensor) -> torch.Tensor:
    """Return the velocity after one step."""
    found = residuals(level, map_at_cells(level, linear, velocity), level.stage.noise_floor)
    slope = found.gradient
    data = area_resample(found.precision * slope * found.residual, level.field)
    equations = Equations(gradient_products(slope, slope, found.precision, level.field), level.prior)
    modes = min(level.preset.modes, *[n // 4 for n in level.field])
    return velocity + equations.solve(data - apply_spectrum(level.prior, velocity), modes, level.stage.cg_steps)


def gradient_products(one: torch.Tensor, other: torch.Tensor, precision: torch.Tensor, size: Size) -> torch.Tensor:
    """Return the 3 or 6 entries (map, entry, *size) of the mean of precision (one other^T + other one^T) / 2."""
    axes = one.shape[1]
    one, other = one.split(1, 1), other.split(1, 1)
    products = ((one[i] * other[j] + one[j] * other[i]) / 2 for i, j in upper_entries(axes))
    if axes == 3:  # one entry after the other: a volume has many voxels
        return torch.cat([area_resample(precision * product, size) for product in products], 1)
    return area_resample(precision * torch.cat(list(products), 1), size)


# ---- linear maps ----------------------------------------------------------------------------------------


def linear_step(level: Level, linear: torch.Tensor, transform: str) -> torch.Tensor:
    """Return the linear map after one step, without a velocity."""
    basis, normal, right, center = linear_equations(level, linear, transform, level.stage.noise_floor)
    change = (torch.linalg.solve(normal, right).mT @ basis).reshape(-1, level.axes, level.axes + 1)
    inner = torch.eye(level.axes, **level.kind) + change[:, :, :-1]
    shift = center + change[:, :, -1] - (inner @ center)
    outer = linear[:, :, :-1]
    result = torch.cat([outer @ inner, outer @ shift[..., None] + linear[:, :, -1:]], 2)
    return nearest_linear(result, transform, center)


def linear_equations(level: Level, linear: torch.Tensor, transform: str, noise_floor: float) -> LinearEquations:
    """Return the normal equations of linear maps of a kind."""
    positions = level.positions.expand(len(linear), *level.positions.shape[1:])
    found = residuals(level, apply_linear(linear, positions), noise_floor)
    center = image_center(level.image, level.kind)
    basis = generators(transform, level.axes, level.kind).flatten(1)
    design = basis @ (found.gradient[:, :, None] * homogeneous(level, center)).flatten(1, 2).flatten(2)
    weighted = design * found.precision.flatten(2)
    normal = weighted @ design.mT
    # a map that leaves the image has no equations and is not changed
    normal = normal + 1e-6 * torch.diag_embed(normal.diagonal(dim1=1, dim2=2) + 1)
    return LinearEquations(basis, normal, weighted @ found.residual.flatten(2).mT, center)


def homogeneous(level: Level, center: torch.Tensor) -> torch.Tensor:
    """Return the coordinates of each cell from the center, and 1: (axis + 1, *size)."""
    away = level.positions[0] - center.reshape(-1, *[1] * level.axes)
    return torch.cat([away, torch.ones_like(away[:1])])

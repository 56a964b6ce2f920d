"""The claimed uncertainty: the standard deviation of the error of a map, in pixels of the moving image."""

from __future__ import annotations

import math

import torch

from ..geometry.grids import Kind, Size, cubic_resample, dct
from .equations import project_positive_semidefinite, upper_entries
from .gauss_newton import gradient_products, homogeneous, linear_equations
from .pyramid import Level, coarser_size, map_at_cells, prior_precision
from .similarity import residuals


def claim_uncertainty(level: Level, linear: torch.Tensor, velocity: torch.Tensor, transform: str) -> torch.Tensor:
    """The standard deviation of the error of a map of some kind: (1, 1, *size)."""
    if transform == "deformable":
        return deformable_uncertainty(level, linear, velocity)
    return linear_uncertainty(level, linear, transform)


def deformable_uncertainty(level: Level, linear: torch.Tensor, velocity: torch.Tensor) -> torch.Tensor:
    """The standard deviation of the error of a deformable map under the model: (1, 1, *size).

    The diagonal of (tensor + prior)^-1 is computed exactly, on cells so large that the matrix can be inverted: where the
    image is flat, conjugate gradients would take hundreds of steps.
    """
    preset = level.preset
    found = residuals(level, map_at_cells(level, linear, velocity), preset.claim_noise_floor)
    size = coarser_size(level.image, max(level.image) / preset.claim_cells, preset)
    entries = gradient_products(found.fixed_gradient, found.warped_gradient, found.precision, size)
    entries = project_positive_semidefinite(entries.double()[0].flatten(1), level.axes)
    cells = math.prod(size)
    covariance = torch.cholesky_inverse(torch.linalg.cholesky(_precision_matrix(level, entries, size)))
    covariance = covariance.reshape(level.axes, cells, level.axes, cells)
    inner = linear[0, :, :-1].double()
    variance = torch.einsum("ij,icjc->c", inner.T @ inner, covariance) * (cells / math.prod(level.image))
    logarithm = variance.log().reshape(1, 1, *size).to(linear.dtype)
    factor = preset.calibration * level.scale**preset.growth
    return (factor**2 * cubic_resample(logarithm, level.size).exp() + preset.least_uncertainty**2).sqrt()


def _precision_matrix(level: Level, entries: torch.Tensor, size: Size) -> torch.Tensor:
    """The precision of the velocity on `size` cells, in float64: (axis * cell, axis * cell).

    `entries` (entry, cell) are the symmetric matrices of the data.
    """
    axes, cells = level.axes, math.prod(size)
    exact = Kind(dtype=torch.float64, device=level.fixed.device)
    basis = dct(torch.eye(cells, **exact).reshape(cells, 1, *size)).flatten(1)
    spectrum = prior_precision(size, level.image, level.step, level.scale, level.preset, level.kind)
    prior = basis @ (spectrum.double().reshape(-1, 1) * basis.T)
    matrix = torch.zeros(axes, cells, axes, cells, **exact)
    for axis in range(axes):
        matrix[axis, :, axis] = prior
    for (i, j), diagonal in zip(upper_entries(axes), entries, strict=True):
        for a, b in {(i, j), (j, i)}:
            matrix[a, :, b].diagonal().add_(diagonal)
    matrix = matrix.flatten(2).flatten(0, 1)
    matrix.diagonal().mul_(1 + 1e-9)
    return matrix


def linear_uncertainty(level: Level, linear: torch.Tensor, transform: str) -> torch.Tensor:
    """The same where the map is known to be linear, from the covariance of its few parameters."""
    preset, axes = level.preset, level.axes
    basis, normal, _, center = linear_equations(level, linear, transform, preset.claim_noise_floor)
    covariance = (basis.T @ torch.linalg.inv(normal[0]) @ basis).reshape([axes, axes + 1] * 2)
    metric = linear[0, :, :-1].T @ linear[0, :, :-1]
    form = torch.einsum("ik,ijkl->jl", metric, covariance)
    x = homogeneous(level, center)
    variance = torch.einsum("j...,jl,l...->...", x, form, x)[None, None].clamp_min(0)
    return (preset.calibration_linear**2 * variance + preset.least_uncertainty**2).sqrt()

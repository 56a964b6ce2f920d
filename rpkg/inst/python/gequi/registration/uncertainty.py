"""The claimed uncertainty: the standard deviation of the error of a map, in pixels of the moving image.

Two errors are added in quadrature. The effect of pixel noise on the map follows from the normal equations of the finest
level. If the images only resemble each other (such as sections of one tissue in two stains), the map that fits best
differs from the true map for any level of noise. This model error is estimated from their local correlation.
"""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from ..geometry.filters import gaussian_filter, masked_gaussian_filter
from ..geometry.grids import Kind, Size, cubic_resample, dct, dct_products, kind_of
from .equations import project_positive_semidefinite, upper_entries
from .gauss_newton import gradient_products, homogeneous, linear_equations
from .pyramid import Level, coarser_size, make_level, map_at_cells, prior_precision
from .similarity import Residuals, _windows, local_correlation, normalize, residuals, warp


def claim_uncertainty(level: Level, linear: torch.Tensor, velocity: torch.Tensor, transform: str) -> torch.Tensor:
    """Return the standard deviation of the error of a map of some kind: (1, 1, *size)."""
    if transform == "deformable":
        noise = deformable_uncertainty(level, linear, velocity)
    else:
        noise = linear_uncertainty(level, linear, transform)
    return (noise**2 + model_uncertainty(level, linear, velocity) ** 2).sqrt()


def deformable_uncertainty(level: Level, linear: torch.Tensor, velocity: torch.Tensor) -> torch.Tensor:
    """Return the contribution of pixel noise for a deformable map: (1, 1, *size)."""
    preset = level.preset
    found = residuals(level, map_at_cells(level, linear, velocity), preset.claim_noise_floor)
    variance = _flow_variance(level, linear, found, found.precision)
    factor = preset.calibration * level.scale**preset.growth
    return (factor**2 * variance + preset.least_uncertainty**2).sqrt()


# ---- the error of the model -----------------------------------------------------------------------------


def model_uncertainty(level: Level, linear: torch.Tensor, velocity: torch.Tensor) -> torch.Tensor:
    """Return the contribution of the dissimilarity of the images: (1, 1, *size).

    It is model_error (1 - rho)^model_power sqrt(scale sd), on the level whose cells have about one pixel of the usual
    size: rho is the local correlation of the fixed and the warped image after local normalization, and sd the standard
    deviation of the map there, estimated from their residuals.
    """
    preset = level.preset
    coarse = _usual_level(level)
    map = map_at_cells(coarse, linear, cubic_resample(velocity, coarse.field))
    warped, seen = warp(coarse, map)
    found = residuals(coarse, map, preset.claim_noise_floor)
    precision = found.precision * _independence(coarse, found.residual, seen) / math.prod(coarse.steps)
    deviation = _flow_variance(coarse, linear, found, precision).sqrt()
    f, w, _, _ = normalize(coarse, warped, seen, preset.model_window, preset.contrast_floor)
    if level.pair.any_contrast:
        agreement = local_correlation(coarse, f, w, seen, preset.sign_window)
        f = f * agreement / (agreement**2 + preset.sign_floor).sqrt()
    unlike = (1 - local_correlation(coarse, f, w, seen, preset.model_reach)).clamp(0, 1)
    error = preset.model_error * unlike**preset.model_power * (level.scale * deviation).sqrt()
    return cubic_resample(error, level.size).clamp_min(0)


def _usual_level(level: Level) -> Level:
    """Return the level whose cells have about one pixel of images of the usual size."""
    number = round(math.log2(level.scale))
    return level if level.step == 2**number else make_level(level.pair, number)


def _independence(level: Level, residual: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """Return the fraction of the cells that count as independent measurements: (1, 1, *size), at most 1.

    The smoothed residual of independent cells has a known fraction of their variance. If the fraction is larger, the
    errors of neighboring cells are correlated, and their precision is reduced accordingly.
    """
    preset, sigma = level.preset, level.preset.least_window
    window = _windows(level, preset.noise_window)
    expected = (4 * math.pi * sigma**2) ** (-level.axes / 2)
    smooth = gaussian_filter(seen * residual, [sigma] * level.axes)
    variance = masked_gaussian_filter(residual**2, seen, window)
    together = masked_gaussian_filter(smooth**2, seen, window) / expected
    return (variance + preset.claim_noise_floor) / (torch.maximum(variance, together) + preset.claim_noise_floor)


# ---- variances under the normal equations ---------------------------------------------------------------


def _flow_variance(level: Level, linear: torch.Tensor, found: Residuals, precision: torch.Tensor) -> torch.Tensor:
    """Return the variance of a deformable map whose residuals have this precision: (1, 1, *size).

    The covariance of the lowest cosine coefficients of the velocity, (data + prior)^-1, is computed exactly: in flat
    parts of an image, conjugate gradients would need hundreds of steps. The data are kept on small cells. If they were
    averaged over cells as large as these waves, a curved edge would seem to determine the map along itself.
    """
    longest = max(level.image) / level.preset.claim_modes
    modes, size, finer = (coarser_size(level.image, longest / parts, level.preset) for parts in (1, 2, 4))
    finer = tuple(min(cells) for cells in zip(finer, level.size, strict=True))
    entries = gradient_products(found.fixed_gradient, found.warped_gradient, precision, finer).double()
    entries = project_positive_semidefinite(entries[0].flatten(1), level.axes).reshape(entries.shape)
    covariance = torch.cholesky_inverse(torch.linalg.cholesky(_precision_matrix(level, entries, modes)))
    inner = linear[0, :, :-1].double()
    among_waves = torch.einsum("ij,icjd->cd", inner.T @ inner, covariance.reshape([level.axes, math.prod(modes)] * 2))
    waves = _cosines(modes, size, kind_of(among_waves))
    variance = ((among_waves @ waves) * waves).sum(0) * (math.prod(size) / math.prod(level.image))
    logarithm = variance.log().reshape(1, 1, *size).to(linear.dtype)
    return cubic_resample(logarithm, level.size).exp()


def _cosines(modes: Size, size: Size, kind: Kind) -> torch.Tensor:
    """Return the lowest basis functions of `dct()` on cells: (mode, cell)."""
    unit = torch.eye(math.prod(modes), **kind).reshape(-1, 1, *modes)
    higher = [count for n, m in zip(reversed(size), reversed(modes), strict=True) for count in (0, n - m)]
    return dct(functional.pad(unit, higher), inverse=True).flatten(1)


def _precision_matrix(level: Level, entries: torch.Tensor, modes: Size) -> torch.Tensor:
    """Return the precision of the lowest cosine coefficients of the velocity, in float64: (axis * mode, axis * mode).

    `entries` (1, entry, *size) are the symmetric matrices of the data.
    """
    axes, count = level.axes, math.prod(modes)
    products = dct_products(entries, modes).reshape(-1, count, count)
    matrix = products.new_zeros(axes, count, axes, count)
    for (i, j), product in zip(upper_entries(axes), products, strict=True):
        matrix[i, :, j] = matrix[j, :, i] = product
    spectrum = prior_precision(entries.shape[2:], level.image, level.step, level.scale, level.preset, level.kind)
    prior = level.preset.claim_prior * spectrum[tuple(slice(m) for m in modes)].double().flatten()
    for axis in range(axes):
        matrix[axis, :, axis].diagonal().add_(prior)
    matrix = matrix.flatten(2).flatten(0, 1)
    matrix.diagonal().mul_(1 + 1e-9)
    return matrix


def linear_uncertainty(level: Level, linear: torch.Tensor, transform: str) -> torch.Tensor:
    """Return the contribution of noise for a linear map, from the covariance of its parameters."""
    preset, axes = level.preset, level.axes
    basis, normal, _, center = linear_equations(level, linear, transform, preset.claim_noise_floor)
    covariance = (basis.T @ torch.linalg.inv(normal[0]) @ basis).reshape([axes, axes + 1] * 2)
    metric = linear[0, :, :-1].T @ linear[0, :, :-1]
    form = torch.einsum("ik,ijkl->jl", metric, covariance)
    x = homogeneous(level, center)
    variance = torch.einsum("j...,jl,l...->...", x, form, x)[None, None].clamp_min(0)
    return (preset.calibration_linear**2 * variance + preset.least_uncertainty**2).sqrt()

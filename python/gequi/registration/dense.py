"""The dense step: Gauss-Newton on locally normalised images, under a smooth prior, from coarse to fine.

The map is A o exp(v): a linear map A after the flow of a velocity v, so that it has an inverse, A^-1 after exp(-v).
The step is the same operator for whatever turns both images alike: [U, U]-equivariant.

The model. f and w are the fixed and the warped moving image, each with its local mean removed and divided by its local
standard deviation (Gaussian windows, inside the masks only). The residual f - w has a variance that is measured
locally; the velocity's prior has the precision stiffness (|k|^4 + 1e-4 |k|^2). Their normal equations are solved by
conjugate gradients, preconditioned in the cosine basis, where the prior is diagonal.

Source: Ashburner 2007 (flows, multigrid Gauss-Newton), Malis 2004 (mean of both gradients), Arsigny et al. 2006
(exponential by squaring), Cachier and Pennec 2000 (local correlation).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from .grids import (
    Size,
    average,
    centres,
    cosines,
    gradient,
    look_up,
    refine,
    smooth,
    squared_frequencies,
)
from .hypotheses import nearest_linear

SQUARINGS = 6
FINER = 3  # the moving image is refined by a cubic spline this many times, then read linearly
WINDOW = 5.0  # pixels: of the local mean and standard deviation
NOISE_WINDOW = 6.0  # pixels: of the residual's variance
NOISE_FLOOR = 0.03  # the least variance of a residual
CONTRAST_FLOOR = 0.05  # the least standard deviation, for images in about [0, 1]
STIFFNESS = 30.0
CG_STEPS = 10
CLAIM_CELLS = 16  # along the longest side: the grid of the claimed uncertainty
LINEAR_CALIBRATION = 2.0  # the same for linear maps, whose equations take neighbouring cells for independent
CLAIM_NOISE_FLOOR = 0.01  # as NOISE_FLOOR, which is set for robustness; clean pairs have less noise than that
CALIBRATION = 1.4  # of the claimed standard deviation, on generated pairs
LEAST_UNCERTAINTY = 0.02  # pixels, from interpolation
_TURN_AND_SHIFT = [[[0, -1, 0], [1, 0, 0]], [[0, 0, 1], [0, 0, 0]], [[0, 0, 0], [0, 0, 1]]]
_SCALE, _STRETCH, _SHEAR = [[1, 0, 0], [0, 1, 0]], [[1, 0, 0], [0, -1, 0]], [[0, 1, 0], [1, 0, 0]]
GENERATORS = {
    "rigid": _TURN_AND_SHIFT,
    "similarity": [*_TURN_AND_SHIFT, _SCALE],
    "affine": [*_TURN_AND_SHIFT, _SCALE, _STRETCH, _SHEAR],
}


@dataclass
class Pair:
    """Two images in about [0, 1] and their masks, each (1, 1, row, column), on pixels of one size."""

    fixed: torch.Tensor
    moving: torch.Tensor
    fixed_mask: torch.Tensor
    moving_mask: torch.Tensor
    any_contrast: bool = False

    @property
    def fixed_size(self) -> Size:
        return self.fixed.shape[-2], self.fixed.shape[-1]

    @property
    def moving_size(self) -> Size:
        return self.moving.shape[-2], self.moving.shape[-1]


def coarser(size: Size, factor: float) -> Size:
    """Cells of about `factor` pixels that cover an image of this size."""
    return max(round(size[0] / factor), 4), max(round(size[1] / factor), 4)


def masked_average(image: torch.Tensor, mask: torch.Tensor, size: Size) -> torch.Tensor:
    """Means over cells of what the mask holds."""
    return average(image * mask, size) / average(mask, size).clamp_min(1e-6)


class Level:
    """A pair at one resolution, and the steps that are taken there.

    Args:
        pair: the images.
        step: pixels to a cell.
        scale: how many times larger the image is than those for which windows and stiffness are set, 128 pixels.
        field_step: pixels to a cell of the velocity's grid.
    """

    def __init__(self, pair: Pair, step: float, scale: float = 1.0, field_step: float | None = None) -> None:
        self.pair = pair
        self.image, self.moving_image = pair.fixed_size, pair.moving_size
        self.size = coarser(self.image, step)
        self.steps = [n / m for n, m in zip(self.image, self.size, strict=True)]
        self.field = coarser(self.image, max(step, field_step or step))
        self.stretch = max(1.0, min(scale, step))
        self.stiffness = STIFFNESS * self.stretch**2
        self.mask = average(pair.fixed_mask, self.size)
        self.fixed = masked_average(pair.fixed, pair.fixed_mask, self.size)
        self.fixed_slope = gradient(self.fixed, self.steps)
        small = self.moving_cells = coarser(self.moving_image, step)
        self.margin = [step / 2 - 0.5, step / 2 - 0.5]
        moving = masked_average(pair.moving, pair.moving_mask, small)
        self.moving = refine(moving, (FINER * small[0], FINER * small[1]))
        self.moving_mask = None if bool((pair.moving_mask == 1).all()) else average(pair.moving_mask, small)
        self.places = centres(self.size, self.image, self.fixed.dtype)[None]
        self.prior = self.prior_on(self.field)

    def windows(self, sigma: float) -> list[float]:
        return [max(sigma * self.stretch / step, 1.5) for step in self.steps]

    def start(self, maps: int) -> torch.Tensor:
        """The velocity 0: (map, 2, row, column)."""
        return torch.zeros(maps, 2, *self.field, dtype=self.fixed.dtype)

    def map(self, linear: torch.Tensor, velocity: torch.Tensor) -> torch.Tensor:
        """A o exp(v) at the level's cells, in pixels of the moving image: (map, 2, row, column)."""
        return apply_linear(linear, self.places + refine(flow(velocity, self.image), self.size))

    def warp(self, map: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The moving image seen through a map, and where both images are seen."""
        warped = look_up(self.moving, map, self.moving_image)
        within = [
            (at > -0.5 - margin) & (at < n - 0.5 + margin)
            for at, n, margin in zip(map.unbind(1), self.moving_image, self.margin, strict=True)
        ]
        seen = self.mask * (within[0] & within[1])[:, None]
        if self.moving_mask is not None:
            seen = seen * look_up(self.moving_mask, map, self.moving_image)
        return warped, seen

    def normalise(
        self, warped: torch.Tensor, seen: torch.Tensor, window: float = WINDOW, floor: float = CONTRAST_FLOOR
    ) -> tuple[torch.Tensor, ...]:
        """f and w with local mean 0 and local standard deviation 1, and the two standard deviations."""
        fixed = self.fixed.expand_as(warped)
        stacked = torch.cat([seen, seen * fixed, seen * fixed**2, seen * warped, seen * warped**2], 1)
        moments = smooth(stacked, self.windows(window))
        weight, means = moments[:, :1].clamp_min(1e-3), []
        for first in (1, 3):
            mean = moments[:, first : first + 1] / weight
            variance = (moments[:, first + 1 : first + 2] / weight - mean**2).clamp_min(0)
            means.append((mean, (variance + floor**2).sqrt()))
        (mean_f, sd_f), (mean_w, sd_w) = means
        return (fixed - mean_f) / sd_f, (warped - mean_w) / sd_w, sd_f, sd_w

    def correlation(self, f: torch.Tensor, w: torch.Tensor, seen: torch.Tensor, window: float) -> torch.Tensor:
        """The local correlation of f and w, between -1 and 1."""
        windows = self.windows(window)
        moments = smooth(torch.cat([seen * f * w, seen * f * f, seen * w * w], 1), windows)
        return moments[:, :1] / (moments[:, 1:2] * moments[:, 2:]).clamp_min(1e-12).sqrt()

    def equations(
        self, map: torch.Tensor, least_noise: float = NOISE_FLOOR
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Residual, slope and precision at each cell: (map, 1, ...), (map, 2, ...), (map, 1, ...)."""
        warped, seen = self.warp(map)
        f, w, sd_f, sd_w = self.normalise(warped, seen)
        slope_f, slope_w = self.fixed_slope / sd_f, gradient(warped, self.steps) / sd_w
        weight = seen
        if self.pair.any_contrast:
            # w is compared with f times the sign of their correlation nearby, as far as there is one
            agreement = self.correlation(f, w, seen, WINDOW)
            sign = agreement / (agreement**2 + 0.01).sqrt()
            f, slope_f, weight = sign * f, sign * slope_f, seen * agreement**2
        residual = f - w
        windows = self.windows(NOISE_WINDOW)
        variance = smooth(seen * residual**2, windows) / smooth(seen, windows).clamp_min(1e-3)
        return residual, (slope_f + slope_w) / 2, weight / (variance + least_noise)

    def dense_step(self, linear: torch.Tensor, velocity: torch.Tensor) -> torch.Tensor:
        """The velocity after one Gauss-Newton step."""
        residual, slope, precision = self.equations(self.map(linear, velocity))
        data = average(precision * slope * residual, self.field)
        equations = Equations(self.tensor(slope, precision, self.field), self.prior)
        return velocity + equations.solve(data - filtered(self.prior, velocity), CG_STEPS)

    def tensor(self, slope: torch.Tensor, precision: torch.Tensor, size: Size) -> torch.Tensor:
        """The mean of precision slope slope^T over cells, as its 3 numbers."""
        row, column = slope[:, :1], slope[:, 1:]
        return average(precision * torch.cat([row * row, row * column, column * column], 1), size)

    def prior_on(self, size: Size) -> torch.Tensor:
        """The prior's precision of each cosine coefficient on a grid of cells."""
        squared = squared_frequencies(size, self.image, self.fixed.dtype)
        return self.stiffness * (squared**2 + 1e-4 * squared)

    def linear_step(self, linear: torch.Tensor, transform: str) -> torch.Tensor:
        """The linear map after one Gauss-Newton step of its own, without a velocity."""
        basis, normal, right, middle = self.linear_equations(linear, transform)
        change = (torch.linalg.solve(normal, right).mT @ basis).reshape(-1, 2, 3)
        inner = torch.eye(2, dtype=linear.dtype) + change[:, :, :2]
        shift = middle + change[:, :, 2] - (inner @ middle)
        result = torch.cat([linear[:, :, :2] @ inner, (linear[:, :, :2] @ shift[..., None]) + linear[:, :, 2:]], 2)
        return nearest_linear(result, transform, middle)

    def linear_equations(
        self, linear: torch.Tensor, transform: str, least_noise: float = NOISE_FLOOR
    ) -> tuple[torch.Tensor, ...]:
        """The generators of a kind of map about the image's middle, their normal equations, and the middle."""
        residual, slope, precision = self.equations(apply_linear(linear, self._places_for(linear)), least_noise)
        middle = torch.tensor([(n - 1) / 2 for n in self.image], dtype=linear.dtype)
        basis = torch.tensor(GENERATORS[transform], dtype=linear.dtype).flatten(1)  # (generator, 2 x 3)
        design = basis @ (slope[:, :, None] * self._homogeneous(middle)).flatten(1, 2).flatten(2)
        weighted = design * precision.flatten(2)
        normal = weighted @ design.mT
        # a hypothesis that leaves the image has no equations: then nothing changes
        normal = normal + 1e-6 * torch.diag_embed(normal.diagonal(dim1=1, dim2=2) + 1)
        return basis, normal, weighted @ residual.flatten(2).mT, middle

    def _places_for(self, linear: torch.Tensor) -> torch.Tensor:
        return self.places.expand(len(linear), -1, -1, -1)

    def _homogeneous(self, middle: torch.Tensor) -> torch.Tensor:
        """(row, column, 1) of each cell from the middle: (3, row, column)."""
        return torch.cat([self.places[0] - middle[:, None, None], torch.ones_like(self.places[0, :1])])

    def score(self, linear: torch.Tensor, velocity: torch.Tensor) -> torch.Tensor:
        """The correlation of the locally normalised images where both are seen, less where they hardly overlap."""
        warped, seen = self.warp(self.map(linear, velocity))
        f, w, _, _ = self.normalise(warped, seen, 4.0, 0.02)

        def total(x: torch.Tensor) -> torch.Tensor:
            return (seen * x).sum((1, 2, 3))

        if self.pair.any_contrast:
            value = (total(self.correlation(f, w, seen, 4.0) ** 2) / seen.sum((1, 2, 3)).clamp_min(1e-9)).sqrt()
        else:
            value = total(f * w) / (total(f * f) * total(w * w)).clamp_min(1e-9).sqrt()
        most = min(float(self.mask.mean()), self._moving_share())
        return value * (seen.mean((1, 2, 3)) / (0.5 * most)).clamp_max(1)

    def uncertainty(self, linear: torch.Tensor, velocity: torch.Tensor) -> torch.Tensor:
        """The standard deviation of a map's error under the model, in pixels of the moving image: (1, 1, row, column).

        The diagonal of (tensor + prior)^-1, exactly, on cells so large that the matrix can be inverted: where the
        image is flat, conjugate gradients would take hundreds of steps.
        """
        _, slope, precision = self.equations(self.map(linear, velocity), CLAIM_NOISE_FLOOR)
        size = coarser(self.image, max(self.image) / CLAIM_CELLS)
        row, mixed, column = self.tensor(slope, precision, size).double()[0].flatten(1)
        cells = math.prod(size)
        basis = cosines(torch.eye(cells, dtype=torch.float64).reshape(cells, *size)).flatten(1)
        prior = basis @ (self.prior_on(size).double().reshape(-1, 1) * basis.T)
        matrix = torch.cat(
            [
                torch.cat([prior + torch.diag(row), torch.diag(mixed)], 1),
                torch.cat([torch.diag(mixed), prior + torch.diag(column)], 1),
            ]
        )
        matrix = matrix + 1e-9 * matrix.diagonal().mean() * torch.eye(2 * cells, dtype=torch.float64)
        covariance = torch.cholesky_inverse(torch.linalg.cholesky(matrix)).reshape(2, cells, 2, cells)
        metric = (linear[0, :, :2].T @ linear[0, :, :2]).double()
        variance = torch.einsum("ij,icjc->c", metric, covariance) * (cells / math.prod(self.image))
        logarithm = variance.log().reshape(1, 1, *size).to(linear.dtype)
        return (CALIBRATION**2 * refine(logarithm, self.size).exp() + LEAST_UNCERTAINTY**2).sqrt()

    def linear_uncertainty(self, linear: torch.Tensor, transform: str) -> torch.Tensor:
        """The same where the map is known to be linear: from the covariance of its few parameters."""
        basis, normal, _, middle = self.linear_equations(linear, transform, CLAIM_NOISE_FLOOR)
        covariance = (basis.T @ torch.linalg.inv(normal[0]) @ basis).reshape(2, 3, 2, 3)
        metric = linear[0, :, :2].T @ linear[0, :, :2]
        form = torch.einsum("ik,ijkl->jl", metric, covariance)
        x = self._homogeneous(middle)
        variance = torch.einsum("jrc,jl,lrc->rc", x, form, x)[None, None].clamp_min(0)
        return (LINEAR_CALIBRATION**2 * variance + LEAST_UNCERTAINTY**2).sqrt()

    def _moving_share(self) -> float:
        """The moving image's area as a share of the fixed one's."""
        share = self.moving_image[0] * self.moving_image[1] / (self.image[0] * self.image[1])
        return share * float(self.pair.moving_mask.mean())


@dataclass
class Equations:
    """(tensor + prior) x = right: symmetric 2 x 2 matrices at each cell, and precisions of each cosine coefficient."""

    tensor: torch.Tensor
    prior: torch.Tensor

    def solve(self, right: torch.Tensor, steps: int) -> torch.Tensor:
        """By so many conjugate gradients from 0, preconditioned by the mean of the tensor and the prior."""
        mean = (self.tensor[:, :1] + self.tensor[:, 2:]).mean((1, 2, 3), keepdim=True) / 2
        # where nothing is seen a constant would have no precision at all
        inverse = 1 / (mean + self.prior).clamp_min(1e-12)
        return conjugate_gradients(
            lambda x: times(self.tensor, x) + filtered(self.prior, x), lambda x: filtered(inverse, x), right, steps
        )


def times(tensor: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Symmetric 2 x 2 matrices, each as its 3 numbers, times the vectors x (batch, 2, row, column)."""
    row, column = x[:, :1], x[:, 1:]
    return torch.cat([tensor[:, :1] * row + tensor[:, 1:2] * column, tensor[:, 1:2] * row + tensor[:, 2:] * column], 1)


def filtered(spectrum: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """x with each of its cosine coefficients multiplied."""
    return cosines(spectrum * cosines(x), inverse=True)


def apply_linear(linear: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Maps (map, 2, 3) at points (map, 2, ...)."""
    moved = torch.einsum("bij,bj...->bi...", linear[:, :, :2], points)
    return moved + linear[:, :, 2].reshape(len(linear), 2, *[1] * (points.ndim - 2))


def flow(velocity: torch.Tensor, image: Size) -> torch.Tensor:
    """exp(v) - id on the velocity's grid, by squaring v / 64 six times."""
    size: Size = (velocity.shape[-2], velocity.shape[-1])
    places = centres(size, image, velocity.dtype)
    shift = velocity / 2**SQUARINGS
    for _ in range(SQUARINGS):
        shift = shift + look_up(shift, places + shift, image)
    return shift


def conjugate_gradients(
    operator: Callable[[torch.Tensor], torch.Tensor],
    precondition: Callable[[torch.Tensor], torch.Tensor],
    right: torch.Tensor,
    steps: int,
) -> torch.Tensor:
    """operator^-1 right for each row of a batch, by so many preconditioned steps from 0."""

    def dot(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return (a * b).sum((1, 2, 3), keepdim=True)

    x, rest = torch.zeros_like(right), right
    direction = scaled = precondition(rest)
    size = dot(rest, scaled)
    for _ in range(steps):
        image = operator(direction)
        stride = size / (dot(direction, image) + 1e-20)
        x, rest = x + stride * direction, rest - stride * image
        scaled = precondition(rest)
        next_size = dot(rest, scaled)
        direction = scaled + next_size / (size + 1e-20) * direction
        size = next_size
    return x

"""The dense step: Gauss-Newton on locally normalised images, under a smooth prior, from coarse to fine.

The map is A o exp(v): a linear map A after the flow of a velocity v, so that it has an inverse, A^-1 after exp(-v).
The step is the same operator for whatever turns both images alike: [U, U]-equivariant.

The model. f and w are the fixed and the warped moving image, each with its local mean removed and divided by its local
standard deviation (Gaussian windows, inside the masks only). The residual f - w has a variance that is measured
locally; the velocity's prior has the precision stiffness (|k|^4 + 1e-4 |k|^2). Their normal equations are solved in
the cosine basis, where the prior is diagonal (equations.py).

All of this holds for images and for volumes alike. Shapes are written as (.., *size): (.., row, column), or
(.., row, column, depth).

Source: Ashburner 2007 (flows, multigrid Gauss-Newton), Malis 2004 (mean of both gradients), Arsigny et al. 2006
(exponential by squaring), Cachier and Pennec 2000 (local correlation).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import NamedTuple

import torch

from ..geometry.filters import gaussian_filter, gradient, local_normalize, masked_gaussian_filter
from ..geometry.grids import (
    Kind,
    Size,
    area_resample,
    cell_centers,
    cubic_resample,
    dct,
    kind_of,
    masked_area_resample,
    size_of,
    squared_frequencies,
)
from ..geometry.sampling import grid_sample
from .equations import Equations, filtered, positive, upper
from .hypotheses import nearest_linear

SQUARINGS = 6
FINER = 3  # the moving image is refined by a cubic spline this many times, then read linearly
NOISE_WINDOW = 4.0  # pixels: of the residual's variance
AGREEMENT_WINDOW = 5.0  # pixels: of the local correlation that tells the sign of contrast
CONTRAST_FLOOR = 0.05  # the least standard deviation, for images in about [0, 1]
STIFFNESS = 30.0


class Stage(NamedTuple):
    """What holds on cells of `cell` pixels and more, of images of the usual size.

    Attributes:
        window: of the local mean and standard deviation, in pixels.
        noise_floor: the least variance of a residual. Where cells are large, most residuals are shifts that are not yet
            known, not noise: a low floor would then trust whatever happens to agree.
        steps: of the dense step. Where a map is far off it is mended from its rim inwards, a little with each step:
            most are taken where they are cheap and an edge is still several cells wide.
        gradients: conjugate gradients in each step, which cost little beside the rest where cells are many.
    """

    cell: float
    window: float
    noise_floor: float
    steps: int
    gradients: int


STAGES = {
    2: (
        Stage(3.0, 7.0, 1.0, 8, 6),
        Stage(1.5, 5.0, 0.3, 8, 6),
        Stage(0.75, 3.0, 0.03, 16, 6),
        Stage(0.375, 3.0, 0.03, 4, 20),
        Stage(0.0, 3.0, 0.03, 2, 20),
    ),
    3: (Stage(0.75, 5.0, 0.03, 8, 6), Stage(0.0, 5.0, 0.03, 3, 12)),
}
MODES = {2: 12, 3: 5}  # along each axis, solved exactly; at most a quarter of the velocity's cells
CLAIM_CELLS = {2: 16, 3: 8}  # along the longest side, of an image or a volume: the grid of the claimed uncertainty
CLAIM_NOISE_FLOOR = 0.002  # as Stage's, which are set for robustness; clean pairs have less noise than that
CALIBRATION = {2: 1.15, 3: 1.7}  # of the claimed standard deviation, on generated pairs of images and volumes
GROWTH = {2: 0.5, 3: 1.25}  # and the power of the scale with which it grows: finer cells are less independent
LINEAR_CALIBRATION = 2.0  # as CALIBRATION, of linear maps, whose equations take neighbouring cells for independent
LEAST_UNCERTAINTY = 0.02  # pixels, from interpolation


@dataclass
class Pair:
    """Two images in about [0, 1] and their masks, each (1, 1, *size), on pixels of one size."""

    fixed: torch.Tensor
    moving: torch.Tensor
    fixed_mask: torch.Tensor
    moving_mask: torch.Tensor
    any_contrast: bool = False

    @property
    def fixed_size(self) -> Size:
        return size_of(self.fixed)

    @property
    def moving_size(self) -> Size:
        return size_of(self.moving)


def coarser(size: Size, factor: float) -> Size:
    """Cells of about `factor` pixels that cover an image of this size."""
    return tuple(max(round(n / factor), 4) for n in size)


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
        self.axes = len(self.image)
        self.size = coarser(self.image, step)
        self.steps = [n / m for n, m in zip(self.image, self.size, strict=True)]
        self.field = coarser(self.image, max(step, field_step or step))
        self.kind = kind_of(pair.fixed)
        self.scale = scale
        self.stretch = max(1.0, min(scale, step))
        self.stage = next(stage for stage in STAGES[len(self.image)] if step / scale >= stage.cell)
        self.stiffness = STIFFNESS * self.stretch * scale
        self.mask = area_resample(pair.fixed_mask, self.size)
        self.fixed = masked_area_resample(pair.fixed, pair.fixed_mask, self.size)
        self.fixed_slope = gradient(self.fixed, self.steps)
        small = self.moving_cells = coarser(self.moving_image, step)
        self.margin = step / 2 - 0.5
        moving = masked_area_resample(pair.moving, pair.moving_mask, small)
        self.moving = cubic_resample(moving, tuple(FINER * n for n in small))
        self.moving_mask = None if bool((pair.moving_mask == 1).all()) else area_resample(pair.moving_mask, small)
        self.places = cell_centers(self.size, self.image, **self.kind)[None]
        self.prior = self.prior_on(self.field)

    def windows(self, sigma: float) -> list[float]:
        return [max(sigma * self.stretch / step, 1.5) for step in self.steps]

    def start(self, maps: int) -> torch.Tensor:
        """The velocity 0: (map, axis, *size)."""
        return torch.zeros(maps, self.axes, *self.field, **self.kind)

    def map(self, linear: torch.Tensor, velocity: torch.Tensor) -> torch.Tensor:
        """A o exp(v) at the level's cells, in pixels of the moving image: (map, axis, *size)."""
        return apply_linear(linear, self.places + cubic_resample(flow(velocity, self.image), self.size))

    def warp(self, map: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The moving image seen through a map, and where both images are seen."""
        warped = grid_sample(self.moving, map, size=self.moving_image)
        # a cell comes into sight gradually: with a step there, rounding would decide for some
        within = [
            (torch.minimum(at + 0.5, n - 0.5 - at) + self.margin).div(self.margin * 2 + 1).clamp(0, 1)
            for at, n in zip(map.unbind(1), self.moving_image, strict=True)
        ]
        seen = self.mask * torch.stack(within, 1).prod(1, keepdim=True)
        if self.moving_mask is not None:
            seen = seen * grid_sample(self.moving_mask, map, size=self.moving_image)
        return warped, seen

    def normalise(
        self, warped: torch.Tensor, seen: torch.Tensor, window: float, floor: float = CONTRAST_FLOOR
    ) -> tuple[torch.Tensor, ...]:
        """f and w with local mean 0 and local standard deviation 1, and the two standard deviations."""
        fixed = self.fixed.expand_as(warped)
        both = torch.cat([fixed, warped], 1)
        normal, deviation = local_normalize(both, seen, self.windows(window), floor)
        return (*normal.split(1, 1), *deviation.split(1, 1))

    def correlation(self, f: torch.Tensor, w: torch.Tensor, seen: torch.Tensor, window: float) -> torch.Tensor:
        """The local correlation of f and w, between -1 and 1."""
        windows = self.windows(window)
        moments = gaussian_filter(torch.cat([seen * f * w, seen * f * f, seen * w * w], 1), windows)
        return moments[:, :1] / (moments[:, 1:2] * moments[:, 2:]).clamp_min(1e-12).sqrt()

    def equations(
        self, map: torch.Tensor, least_noise: float | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Residual, the slopes of both images and precision at each cell: (map, 1 or axis, ...)."""
        warped, seen = self.warp(map)
        f, w, sd_f, sd_w = self.normalise(warped, seen, self.stage.window)
        slope_f, slope_w = self.fixed_slope / sd_f, gradient(warped, self.steps) / sd_w
        weight = seen
        if self.pair.any_contrast:
            # w is compared with f times the sign of their correlation nearby, as far as there is one
            agreement = self.correlation(f, w, seen, AGREEMENT_WINDOW)
            sign = agreement / (agreement**2 + 0.01).sqrt()
            f, slope_f, weight = sign * f, sign * slope_f, seen * agreement**2
        residual = f - w
        windows = self.windows(NOISE_WINDOW)
        variance = masked_gaussian_filter(residual**2, seen, windows)
        floor = self.stage.noise_floor if least_noise is None else least_noise
        return residual, slope_f, slope_w, weight / (variance + floor)

    def dense_step(self, linear: torch.Tensor, velocity: torch.Tensor) -> torch.Tensor:
        """The velocity after one Gauss-Newton step."""
        residual, slope_f, slope_w, precision = self.equations(self.map(linear, velocity))
        slope = (slope_f + slope_w) / 2
        data = area_resample(precision * slope * residual, self.field)
        equations = Equations(self.tensor(slope, slope, precision, self.field), self.prior)
        modes = min(MODES[self.axes], *[n // 4 for n in self.field])
        return velocity + equations.solve(data - filtered(self.prior, velocity), modes, self.stage.gradients)

    def tensor(self, one: torch.Tensor, other: torch.Tensor, precision: torch.Tensor, size: Size) -> torch.Tensor:
        """The mean of precision (one other^T + other one^T) / 2 over cells, as its 3 or 6 numbers."""
        one, other = one.split(1, 1), other.split(1, 1)
        products = [(one[i] * other[j] + one[j] * other[i]) / 2 for i, j in upper(self.axes)]
        return area_resample(precision * torch.cat(products, 1), size)

    def prior_on(self, size: Size) -> torch.Tensor:
        """The prior's precision of each cosine coefficient on a grid of cells."""
        squared = squared_frequencies(size, self.image, **self.kind)
        # a constant counts as a very long wave: where nothing is seen it would have no precision at all
        squared = squared.clamp_min(0.01 * (math.pi / max(self.image)) ** 2)
        return self.stiffness * (squared**2 + 1e-4 * squared)

    def linear_step(self, linear: torch.Tensor, transform: str) -> torch.Tensor:
        """The linear map after one Gauss-Newton step of its own, without a velocity."""
        basis, normal, right, middle = self.linear_equations(linear, transform)
        change = (torch.linalg.solve(normal, right).mT @ basis).reshape(-1, self.axes, self.axes + 1)
        inner = torch.eye(self.axes, **self.kind) + change[:, :, :-1]
        shift = middle + change[:, :, -1] - (inner @ middle)
        outer = linear[:, :, :-1]
        result = torch.cat([outer @ inner, outer @ shift[..., None] + linear[:, :, -1:]], 2)
        return nearest_linear(result, transform, middle)

    def linear_equations(
        self, linear: torch.Tensor, transform: str, least_noise: float | None = None
    ) -> tuple[torch.Tensor, ...]:
        """The generators of a kind of map about the image's middle, their normal equations, and the middle."""
        places = apply_linear(linear, self._places_for(linear))
        residual, slope_f, slope_w, precision = self.equations(places, least_noise)
        slope = (slope_f + slope_w) / 2
        middle = torch.tensor([(n - 1) / 2 for n in self.image], **self.kind)
        basis = generators(transform, self.axes, self.kind).flatten(1)
        design = basis @ (slope[:, :, None] * self._homogeneous(middle)).flatten(1, 2).flatten(2)
        weighted = design * precision.flatten(2)
        normal = weighted @ design.mT
        # a hypothesis that leaves the image has no equations: then nothing changes
        normal = normal + 1e-6 * torch.diag_embed(normal.diagonal(dim1=1, dim2=2) + 1)
        return basis, normal, weighted @ residual.flatten(2).mT, middle

    def _places_for(self, linear: torch.Tensor) -> torch.Tensor:
        return self.places.expand(len(linear), *self.places.shape[1:])

    def _homogeneous(self, middle: torch.Tensor) -> torch.Tensor:
        """The coordinates of each cell from the middle, and 1: (axis + 1, *size)."""
        away = self.places[0] - middle.reshape(-1, *[1] * self.axes)
        return torch.cat([away, torch.ones_like(away[:1])])

    def score(self, linear: torch.Tensor, velocity: torch.Tensor) -> torch.Tensor:
        """The correlation of the locally normalised images where both are seen, less where they hardly overlap."""
        warped, seen = self.warp(self.map(linear, velocity))
        f, w, _, _ = self.normalise(warped, seen, 4.0, 0.02)

        def total(x: torch.Tensor) -> torch.Tensor:
            return (seen * x).flatten(1).sum(1)

        if self.pair.any_contrast:
            value = (total(self.correlation(f, w, seen, 4.0) ** 2) / seen.flatten(1).sum(1).clamp_min(1e-9)).sqrt()
        else:
            value = total(f * w) / (total(f * f) * total(w * w)).clamp_min(1e-9).sqrt()
        most = min(float(self.mask.mean()), self._moving_share())
        return value * (seen.flatten(1).mean(1) / (0.5 * most)).clamp_max(1)

    def uncertainty(self, linear: torch.Tensor, velocity: torch.Tensor) -> torch.Tensor:
        """The standard deviation of a map's error under the model, in pixels of the moving image: (1, 1, *size).

        The diagonal of (tensor + prior)^-1, exactly, on cells so large that the matrix can be inverted: where the
        image is flat, conjugate gradients would take hundreds of steps.
        """
        exact = Kind(dtype=torch.float64, device=self.fixed.device)
        _, slope_f, slope_w, precision = self.equations(self.map(linear, velocity), CLAIM_NOISE_FLOOR)
        size = coarser(self.image, max(self.image) / CLAIM_CELLS[self.axes])
        numbers = self.tensor(slope_f, slope_w, precision, size).double()[0].flatten(1)
        numbers = positive(numbers, self.axes)
        cells = math.prod(size)
        identity = torch.eye(cells, **exact)
        basis = dct(identity.reshape(cells, 1, *size)).flatten(1)
        prior = basis @ (self.prior_on(size).double().reshape(-1, 1) * basis.T)
        matrix = torch.zeros(self.axes, cells, self.axes, cells, **exact)
        for axis in range(self.axes):
            matrix[axis, :, axis] = prior
        for (i, j), diagonal in zip(upper(self.axes), numbers, strict=True):
            for a, b in {(i, j), (j, i)}:
                matrix[a, :, b].diagonal().add_(diagonal)
        matrix = matrix.flatten(2).flatten(0, 1)
        matrix.diagonal().mul_(1 + 1e-9)
        covariance = torch.cholesky_inverse(torch.linalg.cholesky(matrix)).reshape(self.axes, cells, self.axes, cells)
        inner = linear[0, :, :-1].double()
        variance = torch.einsum("ij,icjc->c", inner.T @ inner, covariance) * (cells / math.prod(self.image))
        logarithm = variance.log().reshape(1, 1, *size).to(linear.dtype)
        factor = CALIBRATION[self.axes] * self.scale ** GROWTH[self.axes]
        return (factor**2 * cubic_resample(logarithm, self.size).exp() + LEAST_UNCERTAINTY**2).sqrt()

    def linear_uncertainty(self, linear: torch.Tensor, transform: str) -> torch.Tensor:
        """The same where the map is known to be linear: from the covariance of its few parameters."""
        basis, normal, _, middle = self.linear_equations(linear, transform, CLAIM_NOISE_FLOOR)
        covariance = (basis.T @ torch.linalg.inv(normal[0]) @ basis).reshape([self.axes, self.axes + 1] * 2)
        metric = linear[0, :, :-1].T @ linear[0, :, :-1]
        form = torch.einsum("ik,ijkl->jl", metric, covariance)
        x = self._homogeneous(middle)
        variance = torch.einsum("j...,jl,l...->...", x, form, x)[None, None].clamp_min(0)
        return (LINEAR_CALIBRATION**2 * variance + LEAST_UNCERTAINTY**2).sqrt()

    def _moving_share(self) -> float:
        """The moving image's area as a share of the fixed one's."""
        share = math.prod(self.moving_image) / math.prod(self.image)
        return share * float(self.pair.moving_mask.mean())


def generators(transform: str, axes: int, kind: Kind) -> torch.Tensor:
    """A basis of the derivatives of a kind of map at the identity: (generator, axis, axis + 1).

    Turns and shifts; for a similarity one scale, for an affine map all stretches and shears as well.
    """
    basis = []
    for i, j in itertools.combinations(range(axes), 2):
        turn = torch.zeros(axes, axes + 1, **kind)
        turn[i, j], turn[j, i] = -1, 1
        basis.append(turn)
        if transform == "affine":
            basis.append(turn.abs())
    for i in range(axes):
        shift, stretch = torch.zeros(2, axes, axes + 1, **kind)
        shift[i, -1], stretch[i, i] = 1, 1
        basis += [shift, stretch] if transform == "affine" else [shift]
    if transform == "similarity":
        basis.append(torch.eye(axes, axes + 1, **kind))
    return torch.stack(basis)


def apply_linear(linear: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Maps (map, axis, axis + 1) at points (map, axis, ...)."""
    moved = torch.einsum("bij,bj...->bi...", linear[:, :, :-1], points)
    return moved + linear[:, :, -1].reshape(*linear.shape[:2], *[1] * (points.ndim - 2))


def flow(velocity: torch.Tensor, image: Size) -> torch.Tensor:
    """exp(v) - id on the velocity's grid, by squaring v / 64 six times."""
    places = cell_centers(size_of(velocity), image, velocity.dtype, velocity.device)
    shift = velocity / 2**SQUARINGS
    for _ in range(SQUARINGS):
        shift = shift + grid_sample(shift, places + shift, size=image)
    return shift

"""The levels of a registration: a pair of images at several resolutions, as plain data.

The map at a level is A o exp(v): a linear map A after the flow of a velocity v. Its inverse is exp(-v) after A^-1.
Shapes are written as (..., *size): (..., row, column) or (..., depth, row, column).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from ..geometry.filters import gradient
from ..geometry.grids import (
    Kind,
    Size,
    area_resample,
    cell_centers,
    cubic_resample,
    kind_of,
    masked_area_resample,
    squared_frequencies,
)
from .preprocess import Pair
from .presets import Preset, Stage, preset_for
from .transforms import apply_linear, flow

# From LARGE voxels on, a moving volume is refined LARGE_UPSAMPLING times along each axis instead of 3 times, because of the
# memory. On the brain template at 2 mm, the mean errors are 0.032 and 0.035 voxels instead of 0.028 and 0.030, and with
# photometric changes 0.092 and 0.062 instead of 0.092 and 0.063: tests/benchmarks/large_volumes.py --refined 2 3.
LARGE = 2**20
LARGE_UPSAMPLING = 2


@dataclass(frozen=True, eq=False)
class Level:
    """A pair at one resolution.

    Attributes:
        pair: the images.
        preset, stage: the settings, and those of the Gauss-Newton steps at this level.
        scale: the size of the images relative to the usual size.
        step: the approximate number of pixels per cell; `steps` along each axis of the fixed image.
        size, field, moving_size: the size in cells of the level, of the grid of the velocity, and of the moving image.
        fixed, mask, gradient: the fixed image and its mask, (1, 1, *size), and its gradient, (1, axis, *size).
        moving: the moving image, refined by a cubic spline.
        moving_mask: its mask, or None if the whole image is used.
        positions: the centers of the cells in pixels of the fixed image, (1, axis, *size).
        prior: the precision of the prior of each cosine coefficient of the velocity, (*field).
    """

    pair: Pair
    preset: Preset
    stage: Stage
    scale: float
    step: float
    steps: tuple[float, ...]
    size: Size
    field: Size
    moving_size: Size
    fixed: torch.Tensor
    mask: torch.Tensor
    gradient: torch.Tensor
    moving: torch.Tensor
    moving_mask: torch.Tensor | None
    positions: torch.Tensor
    prior: torch.Tensor

    @property
    def axes(self) -> int:
        return self.pair.axes

    @property
    def image(self) -> Size:
        """The size of the fixed image, in pixels."""
        return self.pair.fixed_size

    @property
    def moving_image(self) -> Size:
        """The size of the moving image, in pixels."""
        return self.pair.moving_size

    @property
    def kind(self) -> Kind:
        return kind_of(self.fixed)

    @property
    def unit(self) -> float:
        """The number of pixels per unit, in which candidates and alternatives are compared."""
        return self.preset.unit * self.scale


def make_level(pair: Pair, number: int) -> Level:
    """Return the level with cells of 2^number pixels; the cells of the velocity have at least the usual pixel size."""
    preset = preset_for(pair.axes)
    step, scale = float(2**number), preset.scale(pair.fixed_size, pair.moving_size)
    image = pair.fixed_size
    size = coarser_size(image, step, preset)
    field = coarser_size(image, max(step, max(image) / preset.usual), preset)
    moving_size = coarser_size(pair.moving_size, step, preset)
    steps = tuple(n / m for n, m in zip(image, size, strict=True))
    fixed = masked_area_resample(pair.fixed, pair.fixed_mask, size)
    moving = masked_area_resample(pair.moving, pair.moving_mask, moving_size)
    whole = bool((pair.moving_mask == 1).all())
    return Level(
        pair=pair,
        preset=preset,
        stage=preset.stage(step / scale),
        scale=scale,
        step=step,
        steps=steps,
        size=size,
        field=field,
        moving_size=moving_size,
        fixed=fixed,
        mask=area_resample(pair.fixed_mask, size),
        gradient=gradient(fixed, steps),
        moving=cubic_resample(moving, tuple(_refined(moving_size, preset) * n for n in moving_size)),
        moving_mask=None if whole else area_resample(pair.moving_mask, moving_size),
        positions=cell_centers(size, image, **kind_of(fixed))[None],
        prior=prior_precision(field, image, step, scale, preset, kind_of(fixed)),
    )


def _refined(moving_size: Size, preset: Preset) -> int:
    """Return how many times the moving image is refined along each axis.

    The refined image is read linearly. Refined three times, a volume takes 108 bytes a voxel in float32, refined twice
    32.
    """
    return preset.upsampling if math.prod(moving_size) <= LARGE or len(moving_size) == 2 else LARGE_UPSAMPLING


def coarsest_level(pair: Pair) -> int:
    """Return the number of the coarsest level of a pair."""
    preset = preset_for(pair.axes)
    return preset.coarsest(preset.scale(pair.fixed_size, pair.moving_size))


def coarser_size(size: Size, factor: float, preset: Preset) -> Size:
    """Return the number of cells of about `factor` pixels that cover an image of this size."""
    return tuple(max(round(n / factor), preset.least_cells) for n in size)


def stretch(step: float, scale: float) -> float:
    """Return the width of the windows relative to the usual width, in pixels."""
    return max(1.0, min(scale, step))


def prior_precision(size: Size, image: Size, step: float, scale: float, preset: Preset, kind: Kind) -> torch.Tensor:
    """Return the precision of the prior of each cosine coefficient on `size` cells that cover an image: (*size)."""
    squared = squared_frequencies(size, image, **kind)
    # a constant is treated as a very long wave; otherwise it would have no precision where nothing is visible
    squared = squared.clamp_min(preset.lowest * (math.pi / max(image)) ** 2)
    return preset.stiffness * stretch(step, scale) * scale * (squared**2 + preset.membrane * squared)


def zero_velocity(level: Level, maps: int) -> torch.Tensor:
    """Return the velocity 0 of a number of maps: (map, axis, *field)."""
    return torch.zeros(maps, level.axes, *level.field, **level.kind)


def map_at_cells(level: Level, linear: torch.Tensor, velocity: torch.Tensor) -> torch.Tensor:
    """Evaluate A o exp(v) at the cells of the level, in pixels of the moving image: (map, axis, *size)."""
    return apply_linear(linear, level.positions + cubic_resample(flow(velocity, level.image), level.size))

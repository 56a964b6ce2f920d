"""Conversion of the gray levels of one image to those of the other, if they are related by a curve.

Two modalities, or an image and its segmentation, often show the same objects in gray levels that are related by a curve
that need not be monotone. Such a curve is not a local linear relation. It can be estimated from the joint histogram of
the two images under a map that is nearly correct: for each gray level of one image, the mean gray level of the other.
The image is then compared in these gray levels. The curve improves as the map improves from level to level.

Source: Roche, Malandain, Pennec and Ayache 1998 (correlation ratio), Guimond et al. 2001 (alternating correction of
intensities and map).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch

from ..geometry.filters import quantile_stretch
from ..geometry.grids import cell_centers, cubic_resample, kind_of
from ..geometry.sampling import grid_sample
from .preprocess import Pair
from .presets import Preset, preset_for
from .pyramid import Level, map_at_cells
from .score import score_maps
from .similarity import warp, within
from .transforms import apply_linear, flow

TONED = ("moving", "fixed")


@dataclass(frozen=True, eq=False)
class TonedPair(Pair):
    """A pair in which one image has the gray levels of the other.

    Attributes:
        source: the original pair.
        toned: the converted image, "moving" or "fixed".
    """

    source: Pair = field(kw_only=True)
    toned: str = field(kw_only=True)


def toned_pairs(pair: Pair, linear: torch.Tensor, velocity: torch.Tensor) -> list[TonedPair]:
    """Return the pair with the moving image in the gray levels of the fixed image, and the reverse.

    Args:
        linear, velocity: maps, (map, axis, axis + 1) and (map, axis, *field), of which the first determines the curve.
    """
    return [_toned_pair(pair, toned, linear[:1], velocity[:1]) for toned in TONED]


def shows_something(pair: TonedPair) -> bool:
    """Return whether the converted image still has several gray levels: a curve may be constant."""
    image, mask = (pair.moving, pair.moving_mask) if pair.toned == "moving" else (pair.fixed, pair.fixed_mask)
    seen = image[mask > 0.5]
    return bool(seen.numel()) and float(seen.std()) > 1e-6


def toned_again(pair: TonedPair, linear: torch.Tensor, velocity: torch.Tensor) -> TonedPair:
    """Return the pair with the curve that the first of other maps determines."""
    return _toned_pair(pair.source, pair.toned, linear[:1], velocity[:1])


def _toned_pair(pair: Pair, toned: str, linear: torch.Tensor, velocity: torch.Tensor) -> TonedPair:
    preset, size = preset_for(pair.axes), pair.fixed_size
    centers = cell_centers(size, size, **kind_of(linear))[None]
    map = apply_linear(linear, centers + cubic_resample(flow(velocity, size), size))
    warped = grid_sample(pair.moving, map, size=pair.moving_size)
    weight = pair.fixed_mask * within(map, pair.moving_size, 1.0)
    weight = weight * grid_sample(pair.moving_mask, map, size=pair.moving_size)
    given, other = (warped, pair.fixed) if toned == "moving" else (pair.fixed, warped)
    curve = tone_curves(given, other, weight, preset)
    image, mask = (pair.moving, pair.moving_mask) if toned == "moving" else (pair.fixed, pair.fixed_mask)
    shown = _toned(curve, image, mask, preset)
    fixed, moving = (pair.fixed, shown) if toned == "moving" else (shown, pair.moving)
    masks = pair.fixed_mask, pair.moving_mask
    return TonedPair(fixed, moving, *masks, pair.any_contrast, source=pair, toned=toned)


def equalized_pair(pair: Pair) -> Pair:
    """Return the pair with equalized histograms: each gray level becomes the fraction of darker pixels.

    Faint contrasts among the most frequent gray levels become as strong as the others.
    """
    fixed, moving = (
        _equalized(image, mask, preset_for(pair.axes))
        for image, mask in ((pair.fixed, pair.fixed_mask), (pair.moving, pair.moving_mask))
    )
    return Pair(fixed, moving, pair.fixed_mask, pair.moving_mask, pair.any_contrast)


def _equalized(image: torch.Tensor, mask: torch.Tensor, preset: Preset) -> torch.Tensor:
    count, _ = _histograms(image, image, mask, preset.equalized_tones)
    smooth = count @ _smoothing(preset.equalized_tones, preset.equalized_window, count)
    darker = smooth.cumsum(1) - smooth / 2
    curve = (darker - darker[:, :1]) / (darker[:, -1:] - darker[:, :1])
    return _on_curve(curve.to(image.dtype), image)


def tone_scores(level: Level, linear: torch.Tensor, velocity: torch.Tensor) -> torch.Tensor:
    """Return the score (map) at a level with one image in the gray levels of the other, the better of the two."""
    preset = level.preset
    warped, seen = warp(level, map_at_cells(level, linear, velocity))
    fixed = level.fixed.expand_as(warped)
    curves = tone_curves(warped, fixed, seen, preset), tone_curves(fixed, warped, seen, preset)
    moving = _toned(curves[0], level.moving, None, preset)
    shown = _toned(curves[1], level.fixed, level.mask, preset)
    levels = replace(level, moving=moving), replace(level, fixed=shown)
    return torch.stack([score_maps(each, linear, velocity) for each in levels]).amax(0)


def tone_curves(given: torch.Tensor, other: torch.Tensor, weight: torch.Tensor, preset: Preset) -> torch.Tensor:
    """Return the mean of `other` at each of some gray levels of `given`, from 0 to 1, for each map: (map, grey).

    Each pixel contributes to the two gray levels next to its own, so the curve changes continuously with the images. It
    is smoothed over neighboring gray levels, more strongly where few pixels have them.

    Args:
        given, other, weight: (map, 1, *size).
    """
    count, total = _histograms(given, other, weight, preset.tones)
    kernel = _smoothing(preset.tones, preset.tone_window, count)
    away = torch.arange(preset.tones, dtype=count.dtype, device=count.device)
    kernel = kernel + 1e-3 * torch.exp(-(away[:, None] - away).abs() / preset.tone_reach)
    return ((total @ kernel) / (count @ kernel).clamp_min(1e-12)).to(given.dtype)


def _histograms(
    given: torch.Tensor, other: torch.Tensor, weight: torch.Tensor, greys: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the sums of the weights and of weight times `other` at each gray level of `given`: (map, grey) each."""
    maps = len(given)
    below, part = _between(given.double().flatten(1), greys)
    below = below + greys * torch.arange(maps, device=below.device)[:, None]
    shares = weight.double().flatten(1) * torch.stack([1 - part, part])
    places = torch.stack([below, below + 1]).flatten()
    count, total = (
        torch.bincount(places, values.flatten(), minlength=maps * greys).reshape(maps, greys)
        for values in (shares, shares * other.double().flatten(1))
    )
    return count, total


def _smoothing(greys: int, window: float, like: torch.Tensor) -> torch.Tensor:
    """Return Gaussian weights between gray levels: (grey, grey)."""
    grey = torch.arange(greys, dtype=like.dtype, device=like.device)
    return torch.exp(-((grey[:, None] - grey) ** 2) / (2 * window**2))


def _toned(curves: torch.Tensor, image: torch.Tensor, mask: torch.Tensor | None, preset: Preset) -> torch.Tensor:
    """Convert an image (1, 1, *size) by each curve, and scale it to about [0, 1]: (map, 1, *size)."""
    seen = None if mask is None else mask[0, 0] > 0
    return quantile_stretch(_on_curve(curves, image), seen, floor=preset.tone_floor)


def _on_curve(curves: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """Convert an image (1, 1, *size) by each curve (map, grey): (map, 1, *size)."""
    below, part = _between(image[0], curves.shape[1])
    return curves[:, below] * (1 - part) + curves[:, below + 1] * part


def _between(image: torch.Tensor, greys: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the number of the gray level below each value, and the fraction of the distance to the next."""
    place = image.clamp(0, 1) * (greys - 1)
    below = place.floor().clamp_max(greys - 2)
    return below.long(), place - below

"""The greys of one image in those of the other, where a curve leads from one to the other.

Two kinds of images, or an image and its segmentation, often show the same things in greys that follow a curve: what is
dark in one is light in the other, and what is lighter there is dark again. Such a curve is no local linear relation.
But it can be read from the joint histogram of the two images under a map that is nearly right: at each grey of one
image, the mean grey of the other. The image is then compared in these greys; as the map gets better from level to
level, so does the curve.

Source: Roche, Malandain, Pennec and Ayache 1998 (correlation ratio), Guimond et al. 2001 (greys corrected in turn with
the map).
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
    """A pair of which one image has the greys of the other.

    Attributes:
        source: the pair as it was.
        toned: which of its images, "moving" or "fixed".
    """

    source: Pair = field(kw_only=True)
    toned: str = field(kw_only=True)


def toned_pairs(pair: Pair, linear: torch.Tensor, velocity: torch.Tensor) -> list[TonedPair]:
    """The pair with its moving image in the greys of the fixed one, and with its fixed image in those of the moving one.

    Args:
        linear, velocity: maps, (map, axis, axis + 1) and (map, axis, *field), of which the first tells the curve.
    """
    return [_toned_pair(pair, toned, linear[:1], velocity[:1]) for toned in TONED]


def shows_something(pair: TonedPair) -> bool:
    """Whether the image that has other greys still has several of them: a curve may be the same for all."""
    image, mask = (pair.moving, pair.moving_mask) if pair.toned == "moving" else (pair.fixed, pair.fixed_mask)
    seen = image[mask > 0.5]
    return bool(seen.numel()) and float(seen.std()) > 1e-6


def toned_again(pair: TonedPair, linear: torch.Tensor, velocity: torch.Tensor) -> TonedPair:
    """The pair with the curve that the first of other maps tells."""
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
    """The pair with the greys of each image spread evenly: each grey becomes the share of the pixels that are darker.

    What a picture shows faintly in its most frequent greys is then as strong as the rest.
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
    """The score of each map at a level with either image in the greys of the other, the better of both: (map)."""
    preset = level.preset
    warped, seen = warp(level, map_at_cells(level, linear, velocity))
    fixed = level.fixed.expand_as(warped)
    curves = tone_curves(warped, fixed, seen, preset), tone_curves(fixed, warped, seen, preset)
    moving = _toned(curves[0], level.moving, None, preset)
    shown = _toned(curves[1], level.fixed, level.mask, preset)
    levels = replace(level, moving=moving), replace(level, fixed=shown)
    return torch.stack([score_maps(each, linear, velocity) for each in levels]).amax(0)


def tone_curves(given: torch.Tensor, other: torch.Tensor, weight: torch.Tensor, preset: Preset) -> torch.Tensor:
    """The mean of `other` at each of some greys of `given`, from 0 to 1, for each map: (map, grey).

    Each pixel counts for the two greys next to its own, so that the curve changes continuously with the images. It is
    smoothed over neighboring greys, the more where few pixels have them.

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
    """The sum of the weights at each grey of `given`, and that of weight times `other`: (map, grey) each."""
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
    """Gaussian weights between greys: (grey, grey)."""
    grey = torch.arange(greys, dtype=like.dtype, device=like.device)
    return torch.exp(-((grey[:, None] - grey) ** 2) / (2 * window**2))


def _toned(curves: torch.Tensor, image: torch.Tensor, mask: torch.Tensor | None, preset: Preset) -> torch.Tensor:
    """An image (1, 1, *size) with its greys changed by each curve, and stretched to about [0, 1]: (map, 1, *size)."""
    seen = None if mask is None else mask[0, 0] > 0
    return quantile_stretch(_on_curve(curves, image), seen, floor=preset.tone_floor)


def _on_curve(curves: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """An image (1, 1, *size) with its greys changed by each curve (map, grey): (map, 1, *size)."""
    below, part = _between(image[0], curves.shape[1])
    return curves[:, below] * (1 - part) + curves[:, below + 1] * part


def _between(image: torch.Tensor, greys: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The number of the grey below each value, and what part of the way to the next the value is."""
    place = image.clamp(0, 1) * (greys - 1)
    below = place.floor().clamp_max(greys - 2)
    return below.long(), place - below

"""Registration of two images in one call: attention, hypotheses, verification, dense step, and what is not known."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn.functional import max_pool2d

from ..arrays import as_array, as_numpy, check_choice, check_dtype, check_number, own_tensor
from ..errors import AmbiguousRegistrationWarning, GequiError, InputError, ShapeError, UnrelatedImagesError
from ..maps import check_spacing, determinant, identity, inside, jacobian_matrix, sample, sample_map
from .dense import Level, Pair, apply_linear, coarser, flow, masked_average
from .features import RINGS, WIDE_RINGS, describe
from .grids import Size, average, look_up, refine, resample, smooth
from .hypotheses import fit_affine, fit_similarity, hypotheses
from .matching import match

TRANSFORMS = ("dense", "affine", "similarity", "rigid")
CONTRASTS = ("same", "any")
SMALLEST = 16  # pixels along a side
USUAL = 128  # pixels along a side, for which the lengths in pixels are set
LEVEL_STEPS = 8
LAST_STEPS = 3  # at full size, where the image is larger than usual
COARSE_RIVALRY = (2.0, 0.05)  # what a rival may lack of a perfect score: so many times what the best lacks, and more
FINE_RIVALRY = 0.85  # the share of the best map's score that a rival reaches at the finest level
REPEATS = 0.4  # least correlation of an image with itself, shifted, that counts as a repeat
SECOND_CHANCE = 0.72  # confidence below which the wider settings are tried too
LEAST_CONFIDENCE = {"same": 0.62, "any": 0.58}  # dense; unrelated images reach 0.60 and 0.55
LEAST_LINEAR_CONFIDENCE = 0.4


def register_images(
    moving: Any,
    fixed: Any,
    spacing: Any = None,
    moving_spacing: Any = None,
    moving_mask: Any = None,
    fixed_mask: Any = None,
    transform: str = "dense",
    contrast: str = "same",
    min_confidence: float | None = None,
    dtype: str = "float32",
    progress: Callable[[int, int], Any] | None = None,
) -> Any:
    """The map that carries one image onto another, at any angle, with what is not known about it.

    moving(map(x)) = fixed(x). Nothing is trained: a descriptor of each token in 16 poses, attention over position and
    pose, the linear maps on which strong matches agree, each verified on the images, and a dense map without folds.
    Nothing is drawn at random either: the same images give the same map.

    Args:
        moving, fixed: grey images (row, column) of at least 16 x 16 pixels, of any two sizes. Or two lists of them,
            for many pairs; the options below then hold for each pair.
        spacing: the size of the pixels of `fixed`, one number or one for each axis; None is 1.
        moving_spacing: that of `moving`; None is `spacing`.
        moving_mask, fixed_mask: True (or 1) where an image is to be looked at; None is everywhere.
        transform: "dense", or a linear map only: "affine", "similarity" (one scale for all directions) or "rigid"
            (turn and shift, with lengths in the units of `spacing`).
        contrast: "same", up to brightness and contrast that vary slowly; "any", also where dark and bright are
            exchanged in parts or everywhere, as in another kind of image.
        min_confidence: the least confidence at which a map is returned at all; None is what unrelated images hardly
            reach: 0.62, 0.58 with contrast "any", and 0.4 for a linear map.
        dtype: "float32" or "float64", in which the work is done.
        progress: for lists, called with (pairs done, pairs) after each.

    Returns:
        a dict, or a list of them:
        `map` (axis, row, column) on `fixed`, and `inverse_map` on `moving`, in pixels from 0 (float64);
        `affine` (2, 3), its linear part: moving = affine[:, :2] fixed + affine[:, 2];
        `warped`, `moving` seen through the map, by a cubic spline;
        `jacobian` (row, column), the map's determinant in units of length;
        `uncertainty` (row, column), the standard deviation of the map, in pixels of `moving`: the root of the mean
        squared length of its error;
        `confidence`, the correlation of the two images after local normalisation, at the coarsest level;
        `alternatives`, other linear maps that fit almost as well: dicts with `affine` and `confidence`;
        `figures`: `similarity_before`, `similarity_after`, `folds` (pixels), `overlap` (the share of `fixed` that is
        seen in both), `inverse_consistency` (mean length of inverse_map(map(x)) - x in pixels) and `seconds`.

    Raises:
        ShapeError: images that are not matrices, or smaller than 16 x 16; a mask or spacing that does not fit.
        InputError: values that are not finite, a constant image, an empty mask, an unknown option.
        UnrelatedImagesError: no map under which the images look alike.
    Warns:
        AmbiguousRegistrationWarning: a second map, far from the first, fits almost as well.

    Source:
        coordinate attention: Greer et al. 2024 (arXiv 2405.16738); descriptors: Tola, Lepetit and Fua 2010; flows:
        Ashburner 2007. The law: turning the two images, each by its own quarter turn, turns the map accordingly.

    Example:
        >>> from gequi import sample_image
        >>> image = sample_image("cat")[50:178, 150:278]
        >>> found = register_images(moving=image.T[::-1], fixed=image)  # turned by a quarter
        >>> found["map"][:, 0, 0].round(1).tolist(), found["figures"]["folds"]
        ([127.0, 0.0], 0)
    """
    options = {
        "spacing": spacing,
        "moving_spacing": moving_spacing,
        "moving_mask": moving_mask,
        "fixed_mask": fixed_mask,
        "transform": check_choice(transform, "transform", TRANSFORMS),
        "contrast": check_choice(contrast, "contrast", CONTRASTS),
        "min_confidence": _least_confidence(min_confidence, transform, contrast),
        "dtype": check_dtype(dtype),
    }
    several = [_is_list(images) for images in (moving, fixed)]
    if not any(several):
        return _register_pair(moving, fixed, **options)
    if not all(several) or len(moving) != len(fixed):
        raise ShapeError("`moving` and `fixed` must be two images, or two lists of as many images each.", "fixed")
    results = []
    for number, (one, other) in enumerate(zip(moving, fixed, strict=True)):
        try:
            results.append(_register_pair(one, other, **options))
        except GequiError as error:
            error.args = (f"Pair {number + 1} of {len(fixed)}: {error}",)
            raise
        if progress is not None:
            progress(number + 1, len(fixed))
    return results


def _least_confidence(given: Any, transform: str, contrast: str) -> float:
    if given is not None:
        return check_number(given, "min_confidence", 0, 1)
    return LEAST_CONFIDENCE[contrast] if transform == "dense" else LEAST_LINEAR_CONFIDENCE


def _is_list(images: Any) -> bool:
    return isinstance(images, list | tuple) and len(images) > 0 and np.ndim(images[0]) >= 2


def _register_pair(
    moving: Any,
    fixed: Any,
    *,
    spacing: Any,
    moving_spacing: Any,
    moving_mask: Any,
    fixed_mask: Any,
    transform: str,
    contrast: str,
    min_confidence: float,
    dtype: torch.dtype,
) -> dict[str, Any]:
    start = time.perf_counter()
    moving_pixels = check_image(moving, "moving")
    fixed_pixels = check_image(fixed, "fixed")
    length = check_spacing(spacing, 2, "spacing")
    moving_length = length if moving_spacing is None else check_spacing(moving_spacing, 2, "moving_spacing")
    masks = [
        check_mask(mask, pixels, f"{name}_mask")
        for mask, pixels, name in ((moving_mask, moving_pixels, "moving"), (fixed_mask, fixed_pixels, "fixed"))
    ]
    unit = max(length.min(), moving_length.min())
    frames = [Frame.of(moving_pixels.shape, moving_length / unit), Frame.of(fixed_pixels.shape, length / unit)]
    images = [
        prepare(pixels, mask, frame, name, dtype)
        for pixels, mask, frame, name in zip(
            (moving_pixels, fixed_pixels), masks, frames, ("moving", "fixed"), strict=True
        )
    ]
    pair = Pair(images[1][0], images[0][0], images[1][1], images[0][1], contrast == "any")
    found, others, confidence = register(pair, transform)
    if confidence[0] < min_confidence:
        raise UnrelatedImagesError(
            f"`moving` and `fixed` show nothing alike: the best map has a confidence of {confidence[0]:.2f}; "
            f"`min_confidence` is {min_confidence:.2f}."
        )
    result = _result(pair, frames[0], frames[1], moving_pixels, found, others, confidence, transform)
    result["jacobian"] = result["jacobian"] * float(np.prod(moving_length) / np.prod(length))
    if result["alternatives"]:
        warnings.warn(
            f"{len(result['alternatives'])} other maps, far from this one, fit almost as well: the images repeat "
            "themselves or show too little. See `alternatives`; larger parts of the images may decide.",
            AmbiguousRegistrationWarning,
            stacklevel=3,
        )
    result["figures"]["seconds"] = time.perf_counter() - start
    return result


def _result(
    pair: Pair,
    moving_frame: Frame,
    fixed_frame: Frame,
    pixels: np.ndarray,
    found: Found,
    others: torch.Tensor,
    confidence: list[float],
    transform: str,
) -> dict[str, Any]:
    """What `register_images()` returns, from the working pixels back on the images' own."""
    linear, velocity, level = found.linear, found.velocity, found.level
    dtype = linear.dtype
    on_work = level.map(linear, velocity)[0]
    fixed_places = fixed_frame.to_work(identity(fixed_frame.pixels, dtype))
    moving_places = moving_frame.to_work(identity(moving_frame.pixels, dtype))
    same_pixels = fixed_frame.is_same
    map = moving_frame.to_pixels(on_work if same_pixels else sample_map(on_work[None], fixed_places[None])[0])
    back = fixed_frame.to_pixels(invert(on_work, linear, velocity, level, moving_places))
    if transform == "dense":
        uncertainty = level.uncertainty(linear, velocity)
    else:
        uncertainty = level.linear_uncertainty(linear, transform)
    if not same_pixels:
        uncertainty = sample(uncertainty, fixed_places[None])
    uncertainty = uncertainty[0, 0] * math.prod(moving_frame.steps) ** 0.5
    jacobian = determinant(jacobian_matrix(map))
    seen = inside(map[None], moving_frame.pixels)[0]
    round_trip = (sample_map(back[None], map[None])[0] - identity(fixed_frame.pixels, dtype)).norm(dim=0)
    middle = [(torch.tensor(size, dtype=dtype) - 1) / 2 for size in (pair.moving_size, pair.fixed_size)]
    unmoved = torch.cat([torch.eye(2, dtype=dtype), (middle[0] - middle[1])[:, None]], 1)[None]
    nothing = torch.zeros_like(velocity)
    return {
        "map": as_numpy(map.double()),
        "inverse_map": as_numpy(back.double()),
        "affine": _in_pixels(linear[0], moving_frame, fixed_frame),
        "warped": as_numpy(sample(own_tensor(pixels, dtype)[None, None], map[None], "cubic")[0, 0]),
        "jacobian": as_numpy(jacobian.double()),
        "uncertainty": as_numpy(uncertainty.double()),
        "confidence": confidence[0],
        "alternatives": [
            {"affine": _in_pixels(other, moving_frame, fixed_frame), "confidence": value}
            for other, value in zip(others, confidence[1:], strict=True)
        ],
        "figures": {
            "similarity_before": float(level.score(unmoved, nothing)[0]),
            "similarity_after": float(level.score(linear, velocity)[0]),
            "folds": int((jacobian <= 0).sum()),
            "overlap": float(seen.double().mean()),
            "inverse_consistency": float(round_trip[seen].mean()) if bool(seen.any()) else math.nan,
        },
    }


def _in_pixels(linear: torch.Tensor, moving_frame: Frame, fixed_frame: Frame) -> np.ndarray:
    """A linear map of working pixels as one of the images' own: known by where 3 points go."""
    corners = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], dtype=linear.dtype)
    ends = moving_frame.to_pixels(apply_linear(linear[None], fixed_frame.to_work(corners)[None])[0]).double()
    return as_numpy(torch.stack([ends[:, 1] - ends[:, 0], ends[:, 2] - ends[:, 0], ends[:, 0]], 1))


def invert(
    map: torch.Tensor, linear: torch.Tensor, velocity: torch.Tensor, level: Level, places: torch.Tensor
) -> torch.Tensor:
    """exp(-v) o A^-1 at places in the moving image, then brought nearer to the inverse of the map as it is sampled."""
    inner = torch.linalg.inv(linear[:, :, :2])
    backwards = torch.cat([inner, -inner @ linear[:, :, 2:]], 2)
    x = apply_linear(backwards, places[None])
    x = x + look_up(refine(flow(-velocity, level.image), level.image), x, level.image)
    for _ in range(2):
        miss = places[None] - sample_map(map[None], x)
        x = x + torch.einsum("bij,bj...->bi...", inner, miss)
    return x[0]


# ---- what comes in --------------------------------------------------------------------------------------


def check_image(image: Any, argument: str) -> np.ndarray:
    """`image`, where it is a grey image with something on it."""
    array = as_array(image, argument, ndim=2, axes="(row, column), in grey")
    if min(array.shape) < SMALLEST:
        raise ShapeError(
            f"`{argument}` must be at least {SMALLEST} pixels along each side; its shape is {array.shape}.", argument
        )
    if array.min() == array.max():
        raise InputError(
            f"`{argument}` is constant, {array.flat[0]!s} everywhere: there is nothing to match.", argument
        )
    return array


def check_mask(mask: Any, image: np.ndarray, argument: str) -> np.ndarray:
    """A mask of an image, True where it is to be looked at."""
    if mask is None:
        return np.ones(image.shape, dtype=bool)
    array = as_array(mask, argument, ndim=2, axes="(row, column)")
    if array.shape != image.shape:
        raise ShapeError(f"`{argument}` must have its image's shape, {image.shape}; got {array.shape}.", argument)
    if not np.isin(array, (0, 1)).all():
        raise InputError(f"`{argument}` must hold nothing but True and False (or 1 and 0).", argument)
    array = array.astype(bool)
    least = SMALLEST**2
    if array.sum() < least:
        raise InputError(
            f"`{argument}` leaves {int(array.sum())} pixels of the image; at least {least} are needed.", argument
        )
    if image[array].min() == image[array].max():
        raise InputError(f"`{argument}` leaves a constant part of the image: there is nothing to match.", argument)
    return array


def prepare(
    pixels: np.ndarray, mask: np.ndarray, frame: Frame, argument: str, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    """An image on working pixels, scaled to about [0, 1], and its mask. What is masked is filled from around it."""
    low, high = np.quantile(pixels[mask], (0.005, 0.995))
    if high <= low:
        low, high = pixels[mask].min(), pixels[mask].max()
    image = own_tensor((pixels.astype(np.float64) - low) / (high - low), dtype)[None, None]
    seen = own_tensor(mask, dtype)[None, None]
    if not mask.all():
        near = smooth(seen, (8.0, 8.0))
        around = smooth(seen * image, (8.0, 8.0)) / near.clamp_min(1e-6)
        mean = (seen * image).sum() / seen.sum()
        image = torch.where(seen > 0, image, torch.where(near > 1e-4, around, mean))
    if not frame.is_same:
        image, seen = (resample(x, frame.work, frame.steps) for x in (image, seen))
        if min(frame.work) < SMALLEST:
            raise ShapeError(
                f"`{argument}` has {frame.work} pixels of the larger spacing; at least {SMALLEST} along each side are "
                "needed.",
                argument,
            )
    return image, seen.clamp(0, 1)


# ---- the steps on working pixels ------------------------------------------------------------------------


@dataclass
class Attempt:
    """How one descriptor finds its matches, and how many hypotheses of them are verified in how many steps."""

    rings: tuple[tuple[float, float], ...] = RINGS
    sigma: float = 1.0
    sharpness: float = 40.0
    hypotheses: int = 8
    steps: int = 8


FIRST = Attempt()
SECOND = (
    Attempt(WIDE_RINGS, sharpness=20.0, hypotheses=12, steps=12),
    Attempt(sigma=1.6, sharpness=20.0, hypotheses=12, steps=12),
)


@dataclass
class Frame:
    """An image's pixels and the square pixels of one length, on which the work is done, about the same middle."""

    pixels: Size
    work: Size
    steps: tuple[float, float]  # pixels to a working pixel

    @classmethod
    def of(cls, shape: Sequence[int], spacing: np.ndarray) -> Frame:
        """An image of this shape whose pixels have this spacing, in working pixels."""
        pixels: Size = (shape[0], shape[1])
        steps = (float(1 / spacing[0]), float(1 / spacing[1]))
        rows, columns = (max(math.ceil(n / step - 1e-6), 1) for n, step in zip(pixels, steps, strict=True))
        return cls(pixels, (rows, columns), steps)

    @property
    def is_same(self) -> bool:
        return self.steps == (1.0, 1.0)

    def to_work(self, points: torch.Tensor) -> torch.Tensor:
        """Points (axis, ...) in pixels, in working pixels."""
        return (
            points if self.is_same else self._convert(points, self.pixels, self.work, [1 / step for step in self.steps])
        )

    def to_pixels(self, points: torch.Tensor) -> torch.Tensor:
        return points if self.is_same else self._convert(points, self.work, self.pixels, self.steps)

    @staticmethod
    def _convert(points: torch.Tensor, start: Size, end: Size, scale: Sequence[float]) -> torch.Tensor:
        return torch.stack(
            [(p - (n - 1) / 2) * s + (m - 1) / 2 for p, n, m, s in zip(points, start, end, scale, strict=True)]
        )


@dataclass
class Found:
    """Hypotheses: their linear maps (map, 2, 3), velocities (map, 2, row, column), scores, and the level of these."""

    linear: torch.Tensor
    velocity: torch.Tensor
    scores: torch.Tensor
    level: Level

    @property
    def confidence(self) -> float:
        return float(self.scores.max())

    def take(self, numbers: Sequence[int]) -> Found:
        chosen = list(numbers)
        return Found(self.linear[chosen], self.velocity[chosen], self.scores[chosen], self.level)


def register(pair: Pair, transform: str) -> tuple[Found, torch.Tensor, list[float]]:
    """The best map at the finest level, the linear maps that rival it, and the confidence of all of these.

    Rivals at the coarsest level, maps far from the best that score almost as well, are followed to pixels of the
    usual size, where what repeats in a texture can be told apart: there the best is chosen.
    """
    longest = [max(pair.fixed_size), max(pair.moving_size)]
    scale = max(1.0, min(longest) / USUAL, max(longest) / (2 * USUAL))
    found = verify(pair, scale, transform, FIRST)
    if found.confidence < SECOND_CHANCE:
        for attempt in SECOND:
            other = verify(pair, scale, transform, attempt)
            found = other if other.confidence > found.confidence else found
    found = with_repeats(pair, found, transform)
    found = found.take(rivals(found, scale, 1 - COARSE_RIVALRY[0] * (1 - found.confidence) - COARSE_RIVALRY[1]))
    confidence, others = found.scores, found.linear[:0]
    field_step = max(1.0, max(pair.fixed_size) / USUAL)
    for number in reversed(range(_top(scale))):
        level = Level(pair, float(2**number), scale, field_step)
        steps = LAST_STEPS if number == 0 and scale > 1 else LEVEL_STEPS
        velocity = refine(found.velocity, level.field)
        found = Found(*refine_hypotheses(level, found.linear, velocity, transform, steps), found.scores, level)
        if number == _top(scale) - 2 and len(found.linear) > 1:
            found.scores = level.score(found.linear, found.velocity)
            kept = rivals(found, scale, FINE_RIVALRY * found.confidence)
            confidence, others = confidence[kept], found.linear[kept[1:]]
            found = found.take(kept[:1])
    return found, others, confidence.tolist()


def with_repeats(pair: Pair, found: Found, transform: str) -> Found:
    """The hypotheses and, where an image repeats itself, the best one moved by each repeat, refined and scored too."""
    best = found.linear[found.scores.argmax()]
    level = found.level
    shifts = repeats(level.fixed, level.mask, level.steps, 10 * level.stretch)
    inner = [torch.cat([best[:, :2], best[:, 2:] + best[:, :2] @ shift[:, None]], 1) for shift in shifts]
    moving, mask = (average(x, level.moving_cells) for x in (pair.moving, pair.moving_mask))
    steps = [n / m for n, m in zip(level.moving_image, level.moving_cells, strict=True)]
    outer = [
        torch.cat([best[:, :2], best[:, 2:] + shift[:, None]], 1)
        for shift in repeats(moving, mask, steps, 10 * level.stretch)
    ]
    if not inner + outer:
        return found
    linear = torch.stack(inner + outer)
    linear, velocity = refine_hypotheses(level, linear, level.start(len(linear)), transform, FIRST.steps)
    scores = level.score(linear, velocity)
    return Found(
        torch.cat([found.linear, linear]),
        torch.cat([found.velocity, velocity]),
        torch.cat([found.scores, scores]),
        level,
    )


def repeats(image: torch.Tensor, mask: torch.Tensor, steps: Sequence[float], least: float) -> list[torch.Tensor]:
    """Shifts (row, column) in pixels, longer than `least`, at which an image is most like itself: 4 or fewer."""
    windows = [max(4 / step, 1.5) for step in steps]
    weight = smooth(mask, windows).clamp_min(1e-3)
    mean = smooth(mask * image, windows) / weight
    deviation = (smooth(mask * image**2, windows) / weight - mean**2).clamp_min(0)
    normal = (mask * (image - mean) / (deviation + 0.02**2).sqrt())[0, 0]
    size = [2 * n - 1 for n in normal.shape]
    spectra = [torch.fft.rfft2(x, size) for x in (normal, normal**2, mask[0, 0])]

    def correlate(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return torch.fft.fftshift(torch.fft.irfft2(a.conj() * b, size))

    energy = correlate(spectra[1], spectra[2]) * correlate(spectra[2], spectra[1])
    alike = correlate(spectra[0], spectra[0]) / energy.clamp_min(1e-6).sqrt()
    alike = alike * (correlate(spectra[2], spectra[2]) >= 0.25 * float(mask.sum()))
    peaks = (alike == max_pool2d(alike[None], 3, 1, 1)[0]) & (alike > REPEATS)
    places = [(torch.arange(n) - n // 2).to(image.dtype) * step for n, step in zip(size, steps, strict=True)]
    shifts = torch.cartesian_prod(*places)
    kept = (peaks.flatten() & (shifts.norm(dim=1) > least)).nonzero()[:, 0]
    return [shifts[i] for i in kept[alike.flatten()[kept].argsort(descending=True)][:4].tolist()]


def rivals(found: Found, unit: float, least: float) -> list[int]:
    """The best map's number, then those of up to 3 that score `least`, far from it and from each other."""
    image = found.level.image
    centre = torch.tensor([(n - 1) / 2 for n in image], dtype=found.linear.dtype)[:, None]
    reach = torch.tensor([[-1.0, 1.0, 0.0, 0.0], [0.0, 0.0, -1.0, 1.0]], dtype=found.linear.dtype) * 0.7 * centre
    landing = apply_linear(found.linear, (centre + reach).expand(len(found.linear), -1, -1))
    kept: list[int] = []
    for number in found.scores.argsort(descending=True).tolist():
        near = [(landing[number] - landing[other]).norm(dim=0).mean() <= 10 * unit for other in kept]
        if not kept or (not any(near) and float(found.scores[number]) >= least):
            kept.append(number)
    return kept[:4]


def _top(scale: float) -> int:
    """The number of the coarsest level, of about 4 usual pixels to a cell."""
    return max(2, round(math.log2(4 * scale)))


def verify(pair: Pair, scale: float, transform: str, attempt: Attempt) -> Found:
    """Hypotheses from the attention of the two images, each refined at the coarsest level and scored there."""
    tokens = []
    for image, mask in ((pair.fixed, pair.fixed_mask), (pair.moving, pair.moving_mask)):
        size = coarser((image.shape[-2], image.shape[-1]), scale)
        tokens.append(
            describe(
                masked_average(image, mask, size),
                average(mask, size),
                attempt.rings,
                attempt.sigma,
                pair.any_contrast,
            )
        )
        ratio = torch.tensor([n / m for n, m in zip(image.shape[-2:], size, strict=True)], dtype=image.dtype)
        tokens[-1].places = (tokens[-1].places + 0.5) * ratio - 0.5
    matches = match(tokens[0], tokens[1], attempt.sharpness)
    rigid = transform == "rigid"
    linear = hypotheses(matches, attempt.hypotheses, scale, pair.fixed_size, rigid)
    if transform in ("dense", "affine"):
        linear = fit_affine(linear, matches, scale, pair.fixed_size)
    else:
        linear = fit_similarity(linear, matches, scale, pair.fixed_size, rigid)
    level = Level(pair, float(2 ** _top(scale)), scale, max(pair.fixed_size) / USUAL)
    linear, velocity = refine_hypotheses(level, linear, level.start(len(linear)), transform, attempt.steps)
    return Found(linear, velocity, level.score(linear, velocity), level)


def refine_hypotheses(
    level: Level, linear: torch.Tensor, velocity: torch.Tensor, transform: str, steps: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Linear maps and their velocities after so many steps at one level."""
    for _ in range(steps):
        if transform == "dense":
            velocity = level.dense_step(linear, velocity)
        else:
            linear = level.linear_step(linear, transform)
    return linear, velocity

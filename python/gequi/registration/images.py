"""Registration of two images in one call: attention, hypotheses, verification, dense step, and what is not known."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ..arrays import as_numpy, check_choice, check_device, check_dtype, check_number, own_tensor
from ..errors import AmbiguousRegistrationWarning, GequiError, InputError, ShapeError, UnrelatedImagesError
from ..geometry.grids import Kind, cubic_resample, kind_of, pixel_grid
from ..geometry.linalg import determinant, vector_norm
from ..geometry.sampling import grid_sample, inside
from ..maps import jacobian_matrix, sample_map
from ..networks import EquivariantNetwork
from .dense import Level, apply_linear, flow
from .descriptors import CONTRASTS, check_encoder, ready
from .frames import Frame, prepare_pair
from .search import Found, register

TRANSFORMS = ("dense", "affine", "similarity", "rigid")
LEAST_CONFIDENCE = {"same": 0.62, "any": 0.58}  # dense; one unrelated pair in a hundred has more
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
    encoder: EquivariantNetwork | None = None,
    min_confidence: float | None = None,
    dtype: str = "float32",
    device: str = "cpu",
    progress: Callable[[int, int], Any] | None = None,
) -> Any:
    """The map that carries one image onto another, at any angle, with what is not known about it.

    moving(map(x)) = fixed(x). Nothing is trained: a descriptor of each token in every pose (16 in an image, 216 in a
    volume), attention over position and pose, the linear maps on which strong matches agree, each verified on the
    images, and a dense map without folds. Nothing is drawn at random either: the same images give the same map. Mirror
    images are not searched.

    Args:
        moving, fixed: two grey images (row, column) or two volumes (row, column, depth), of at least 16 pixels along
            each side and of any two sizes. Or two lists of them, for many pairs; the options below then hold for each
            pair. Spacings and masks may then be lists too, with a spacing (axis) or a mask, or None, for each pair.
            What is said of pixels below holds for the voxels of volumes.
        spacing: the size of the pixels of `fixed`, one number or one for each axis; None is 1.
        moving_spacing: that of `moving`; None is `spacing`.
        moving_mask, fixed_mask: True (or 1) where an image is to be looked at; None is everywhere. Outside of the
            smallest box that holds a mask nothing is looked at, and the map goes on straight.
        transform: "dense", or a linear map only: "affine", "similarity" (one scale for all directions) or "rigid"
            (turn and shift, with lengths in the units of `spacing`).
        contrast: "same", up to brightness and contrast that vary slowly; "any", also where dark and bright are
            exchanged in parts or everywhere, as in another kind of image.
        encoder: a network that describes images, from `registration_encoder()`, or any other from one trivial field to
            regular fields of rotations of the plane (of volumes, to irreps of the rotations of space), with a token
            every few pixels; None is the designed one of `registration_encoder()`, for this `contrast`.
        min_confidence: the least confidence at which a map is returned at all; None is what unrelated images hardly
            reach: 0.62, 0.58 with contrast "any", and 0.4 for a linear map.
        dtype: "float32" or "float64", in which the work is done.
        device: "cpu" or "cuda", where the work is done.
        progress: for lists, called with (pairs done, pairs) after each.

    Returns:
        a dict, or a list of them:
        `map` (axis, *size) on `fixed`, and `inverse_map` on `moving`, in pixels from 0 (float64);
        `affine` (axis, axis + 1), its linear part: moving = affine[:, :-1] fixed + affine[:, -1];
        `warped`, `moving` seen through the map, by a cubic spline;
        `jacobian` (*size), the map's determinant in units of length;
        `uncertainty` (*size), the standard deviation of the map, in pixels of `moving`: the root of the mean
        squared length of its error;
        `confidence`, the correlation of the two images after local normalisation, at the coarsest level;
        `alternatives`, other linear maps that fit almost as well: dicts with `affine` and `confidence`;
        `figures`: `similarity_before`, `similarity_after`, `folds` (pixels), `overlap` (the share of `fixed` that is
        seen in both), `inverse_consistency` (mean length of inverse_map(map(x)) - x in pixels) and `seconds`.

    Raises:
        ShapeError: an image with a volume, sides of fewer than 16 pixels; a mask or spacing that does not fit.
        InputError: values that are not finite, a constant image, an empty mask, an unknown option; an `encoder` that is
            no network, or has too few tokens, or (FieldError) other fields; one of images for volumes, or of volumes
            for images.
        UnrelatedImagesError: no map under which the images look alike.
    Warns:
        AmbiguousRegistrationWarning: a second map, far from the first, fits almost as well.

    Source:
        coordinate attention: Greer et al. 2024 (arXiv 2405.16738); descriptors: Tola, Lepetit and Fua 2010,
        in volumes Kazhdan, Funkhouser and Rusinkiewicz 2003; flows: Ashburner 2007. The law: turning the two images,
        each by its own quarter turn (of a volume, about any axis), turns the map accordingly; so does moving a masked
        picture in its image by whole pixels.

    Example:
        >>> from gequi import sample_image
        >>> image = sample_image("cat")[50:178, 150:278]
        >>> found = register_images(moving=image.T[::-1], fixed=image)  # turned by a quarter
        >>> found["map"][:, 0, 0].round(1).tolist(), found["figures"]["folds"]
        ([127.0, 0.0], 0)

        A volume, seen from another side.

        >>> x, y, z = np.indices((24, 26, 28))
        >>> volume = np.sin(x * y / 40) + np.cos(z / 3) * np.sin(x / 4)
        >>> found = register_images(moving=volume.transpose(1, 2, 0), fixed=volume, transform="rigid")
        >>> abs(found["affine"]).round(2).tolist()
        [[0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [1.0, 0.0, 0.0, 0.0]]
    """
    options = {
        "spacing": spacing,
        "moving_spacing": moving_spacing,
        "moving_mask": moving_mask,
        "fixed_mask": fixed_mask,
        "transform": check_choice(transform, "transform", TRANSFORMS),
        "contrast": check_choice(contrast, "contrast", CONTRASTS),
        "min_confidence": _least_confidence(min_confidence, transform, contrast),
        "kind": Kind(dtype=check_dtype(dtype), device=check_device(device)),
    }
    options["encoder"] = None if encoder is None else ready(check_encoder(encoder), options["kind"])
    several = [_is_list(images) for images in (moving, fixed)]
    if not any(several):
        return _register_pair(moving, fixed, **options)
    if not all(several) or len(moving) != len(fixed):
        raise ShapeError("`moving` and `fixed` must be two images, or two lists of as many images each.", "fixed")
    own = {
        name: _of_each(options[name], len(fixed), name, axes)
        for name, axes in (("spacing", 1), ("moving_spacing", 1), ("moving_mask", 2), ("fixed_mask", 2))
    }
    results = []
    for number, (one, other) in enumerate(zip(moving, fixed, strict=True)):
        try:
            here = {name: values[number] for name, values in own.items()}
            results.append(_register_pair(one, other, **{**options, **here}))
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


def _of_each(option: Any, pairs: int, argument: str, axes: int) -> list[Any]:
    """An option for each pair: a list of values of at least so many axes, or one value for all."""
    if not isinstance(option, list | tuple) or not any(each is None or np.ndim(each) >= axes for each in option):
        return [option] * pairs
    if len(option) != pairs:
        raise ShapeError(f"`{argument}` must be one for all {pairs} pairs, or as many; got {len(option)}.", argument)
    return list(option)


def _register_pair(
    moving: Any,
    fixed: Any,
    *,
    transform: str,
    min_confidence: float,
    encoder: EquivariantNetwork | None,
    **given: Any,
) -> dict[str, Any]:
    start = time.perf_counter()
    pair, frames, moving_pixels, area = prepare_pair(moving, fixed, **given)
    if encoder is not None and len(pair.fixed_size) != encoder.space.dimensionality:
        names = {2: "images", 3: "volumes"}
        raise InputError(
            "`{argument}` describes {described}; `{moving:name}` and `{fixed:name}` are {given}.",
            "encoder",
            described=names[encoder.space.dimensionality],
            moving="moving",
            fixed="fixed",
            given=names[len(pair.fixed_size)],
        )
    found, others, confidence = register(pair, transform, encoder)
    if confidence[0] < min_confidence:
        raise UnrelatedImagesError(
            f"`moving` and `fixed` show nothing alike: the best map has a confidence of {confidence[0]:.2f}; "
            f"`min_confidence` is {min_confidence:.2f}."
        )
    result = _result(frames[0], frames[1], moving_pixels, found, others, confidence, transform)
    result["jacobian"] = result["jacobian"] * area
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
    kind = kind_of(linear)
    on_work = level.map(linear, velocity)[0]
    fixed_places = fixed_frame.to_work(pixel_grid(fixed_frame.pixels, **kind))
    moving_places = moving_frame.to_work(pixel_grid(moving_frame.pixels, **kind))
    same_pixels = fixed_frame.is_same
    map = moving_frame.to_pixels(on_work if same_pixels else sample_map(on_work[None], fixed_places[None])[0])
    back = fixed_frame.to_pixels(invert(on_work, linear, velocity, level, moving_places))
    if transform == "dense":
        uncertainty = level.uncertainty(linear, velocity)
    else:
        uncertainty = level.linear_uncertainty(linear, transform)
    if not same_pixels:
        uncertainty = grid_sample(uncertainty, fixed_places[None])
    uncertainty = uncertainty[0, 0] * math.prod(moving_frame.steps) ** (1 / len(map))
    jacobian = determinant(jacobian_matrix(map))
    seen = inside(map[None], moving_frame.pixels)[0]
    round_trip = vector_norm(sample_map(back[None], map[None])[0] - pixel_grid(fixed_frame.pixels, **kind), 0)
    unmoved = torch.cat(
        [torch.eye(len(map), **kind), (moving_frame.middle(kind) - fixed_frame.middle(kind))[:, None]], 1
    )[None]
    nothing = torch.zeros_like(velocity)
    return {
        "map": as_numpy(map.double()),
        "inverse_map": as_numpy(back.double()),
        "affine": _in_pixels(linear[0], moving_frame, fixed_frame),
        "warped": as_numpy(grid_sample(own_tensor(pixels, **kind)[None, None], map[None], "cubic")[0, 0]),
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
    """A linear map of working pixels as one of the images' own: known by where the origin and one of each axis go."""
    axes = torch.eye(len(linear), len(linear) + 1, **kind_of(linear))
    ends = moving_frame.to_pixels(apply_linear(linear[None], fixed_frame.to_work(axes)[None])[0]).double()
    return as_numpy(torch.cat([ends[:, :-1] - ends[:, -1:], ends[:, -1:]], 1))


def invert(
    map: torch.Tensor, linear: torch.Tensor, velocity: torch.Tensor, level: Level, places: torch.Tensor
) -> torch.Tensor:
    """exp(-v) o A^-1 at places in the moving image, then brought nearer to the inverse of the map as it is sampled."""
    inner = torch.linalg.inv(linear[:, :, :-1])
    backwards = torch.cat([inner, -inner @ linear[:, :, -1:]], 2)
    x = apply_linear(backwards, places[None])
    x = x + grid_sample(cubic_resample(flow(-velocity, level.image), level.image), x)
    for _ in range(2):
        miss = places[None] - sample_map(map[None], x)
        x = x + torch.einsum("bij,bj...->bi...", inner, miss)
    return x[0]

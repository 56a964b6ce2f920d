"""Registration of two images in one call: attention, candidates, verification, and the deformable map."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..arrays import as_array, as_numpy, check_choice, check_device, check_dtype, check_number, own_tensor
from ..errors import AmbiguousRegistrationWarning, GequiError, InputError, ShapeError, UnrelatedImagesError
from ..geometry.grids import Kind, cubic_resample, kind_of, pixel_grid
from ..geometry.linalg import determinant
from ..geometry.sampling import grid_sample
from ..maps import check_spacing, jacobian_matrix, sample_map
from ..networks import EquivariantNetwork
from .descriptors import CONTRASTS, check_encoder, ready
from .preprocess import Frame, prepare_pair
from .presets import preset_for
from .pyramid import Level, map_at_cells
from .result import Registration, consistency
from .score import score_maps
from .search import Found, register
from .transforms import apply_linear, flow
from .uncertainty import claim_uncertainty

TRANSFORMS = ("deformable", "affine", "similarity", "rigid")


def register_images(
    moving: Any,
    fixed: Any,
    spacing: Any = None,
    moving_spacing: Any = None,
    moving_mask: Any = None,
    fixed_mask: Any = None,
    transform: str = "deformable",
    contrast: str = "same",
    encoder: EquivariantNetwork | None = None,
    min_confidence: float | None = None,
    dtype: str = "float32",
    device: str = "auto",
    progress: Callable[[dict[str, Any]], Any] | None = None,
) -> Any:
    """Estimates the transformation that aligns two images, and its uncertainty.

    moving(map(x)) = fixed(x). The images may be turned against each other by any angle. Nothing is trained and nothing
    is drawn at random: the same images give the same map. Each token of an image is described in every pose (16 in an
    image, 216 in a volume); attention over position and pose matches the tokens; linear maps are fitted to the matches
    and verified on the images; a deformable map without folds follows. Mirror images are not searched.

    Args:
        moving, fixed: two grayscale images (row, column) or two volumes (depth, row, column), of at least 16 pixels
            along each side and of any two sizes. Or two lists of them, for many pairs; the options below then hold for
            each pair. Spacings and masks may then be lists too, with a spacing (axis) or a mask, or None, for each
            pair. What is said of pixels below holds for the voxels of volumes.
        spacing: the size of the pixels of `fixed`, one number or one for each axis; None is 1.
        moving_spacing: that of `moving`; None is `spacing`.
        moving_mask, fixed_mask: True (or 1) where an image is used; None is everywhere. Outside of the smallest box
            that holds a mask nothing is used, and the map goes on straight.
        transform: "deformable", or a linear map only: "affine", "similarity" (one scale for all directions) or "rigid"
            (rotation and shift, with lengths in the units of `spacing`).
        contrast: "same", up to brightness and contrast that vary slowly; "any", also where dark and bright are
            exchanged in parts or everywhere, as in another kind of image, or where one image shows the edges of the other.
        encoder: a network that describes images, from `registration_encoder()`, or any other from one trivial field to
            regular fields of rotations of the plane (of volumes, to irreps of the rotations of space), with a token
            every few pixels; None is the designed one of `registration_encoder()`, for this `contrast`.
        min_confidence: the least confidence at which a map is returned at all; None is what unrelated images hardly
            reach: 0.62, 0.58 with contrast "any", and 0.4 for a linear map.
        dtype: "float32" or "float64", in which the work is done.
        device: "cpu" or "cuda", where the work is done; "auto" is "cuda" where there is one, else "cpu".
        progress: for lists, called after each pair with a dict: `done` and `total` (pairs), `seconds_left`.

    Returns:
        a `Registration`, or a list of them. Its attributes are `map` and `inverse_map`, `affine`, `warped`, `jacobian`,
        `uncertainty`, `confidence`, `alternatives`, `metrics` and what it was made of; its methods `warp()`,
        `transform_points()`, `summary()` and `plot()`, and `inverse` is the registration in the other direction.

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
        >>> found.map[:, 0, 0].round(1).tolist(), found.metrics["folds"]
        ([127.0, 0.0], 0)

        A volume, seen from another side.

        >>> depth, row, column = np.indices((24, 26, 28))
        >>> volume = np.sin(depth * row / 40) + np.cos(column / 3) * np.sin(depth / 4)
        >>> found = register_images(moving=volume.transpose(1, 2, 0), fixed=volume, transform="rigid")
        >>> abs(found.affine).round(2).tolist()
        [[0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [1.0, 0.0, 0.0, 0.0]]
    """
    kind_of_map = check_choice(transform, "transform", TRANSFORMS)
    kind_of_pair = check_choice(contrast, "contrast", CONTRASTS)
    least = None if min_confidence is None else check_number(min_confidence, "min_confidence", 0, 1)
    kind = Kind(dtype=check_dtype(dtype), device=check_device(device))
    describer = None if encoder is None else ready(check_encoder(encoder), kind)
    options = _Options(kind_of_map, kind_of_pair, describer, least, kind)
    areas = {
        "spacing": spacing,
        "moving_spacing": moving_spacing,
        "moving_mask": moving_mask,
        "fixed_mask": fixed_mask,
    }
    several = [_is_list(images) for images in (moving, fixed)]
    if not any(several):
        return _register_pair(moving, fixed, options, **areas)
    if not all(several) or len(moving) != len(fixed):
        raise ShapeError("`moving` and `fixed` must be two images, or two lists of as many images each.", "fixed")
    return _register_pairs(moving, fixed, options, areas, progress)


@dataclass(frozen=True)
class _Options:
    """What holds for every pair."""

    transform: str
    contrast: str
    encoder: EquivariantNetwork | None
    min_confidence: float | None
    kind: Kind


def _is_list(images: Any) -> bool:
    return isinstance(images, list | tuple) and len(images) > 0 and np.ndim(images[0]) >= 2


def _of_each(option: Any, pairs: int, argument: str, axes: int) -> list[Any]:
    """An option for each pair: a list of values of at least so many axes, or one value for all."""
    if not isinstance(option, list | tuple) or not any(each is None or np.ndim(each) >= axes for each in option):
        return [option] * pairs
    if len(option) != pairs:
        raise ShapeError(
            "`{argument}` must be one for all {pairs} pairs, or as many; got {given}.",
            argument, pairs=pairs, given=len(option),
        )  # fmt: skip
    return list(option)


def _register_pairs(
    moving: Any, fixed: Any, options: _Options, areas: dict[str, Any], progress: Callable[[dict[str, Any]], Any] | None
) -> list[Registration]:
    total, start, results = len(fixed), time.perf_counter(), []
    of_each = {
        name: _of_each(value, total, name, 1 if name.endswith("spacing") else 2) for name, value in areas.items()
    }
    for number, (one, other) in enumerate(zip(moving, fixed, strict=True)):
        try:
            own = {name: values[number] for name, values in of_each.items()}
            results.append(_register_pair(one, other, options, stacklevel=4, **own))
        except GequiError as error:
            raise error.within("Pair {pair} of {total}: ", pair=number + 1, total=total) from error
        if progress is not None:
            left = (time.perf_counter() - start) / (number + 1) * (total - number - 1)
            progress({"done": number + 1, "total": total, "seconds_left": left})
    return results


def _register_pair(moving: Any, fixed: Any, options: _Options, stacklevel: int = 3, **areas: Any) -> Registration:
    """The registration of two images; `stacklevel` leads from here to the caller of `register_images()`."""
    start = time.perf_counter()
    pair, (moving_frame, fixed_frame), moving_pixels, area = prepare_pair(
        moving, fixed, **areas, contrast=options.contrast, kind=options.kind
    )
    _check_dimension(options.encoder, pair.axes)
    found, others, confidence = register(pair, options.transform, options.encoder)
    least = options.min_confidence
    if least is None:
        least = preset_for(pair.axes).least_confidence(options.transform, pair.any_contrast)
    if confidence[0] < least:
        raise UnrelatedImagesError(
            "`moving` and `fixed` do not look alike under any map: the best one has a confidence of {confidence:.2f}; "
            "`min_confidence` is {least:.2f}.",
            confidence=confidence[0], least=least,
        )  # fmt: skip
    plain = _maps_of(moving_frame, fixed_frame, found, moving_pixels, options.transform)
    plain["jacobian"] *= area
    alternatives = [
        {"affine": _in_pixels(other, moving_frame, fixed_frame), "confidence": value}
        for other, value in zip(others, confidence[1:], strict=True)
    ]
    if alternatives:
        warnings.warn(
            AmbiguousRegistrationWarning(
                "{count} other maps, far from this one, fit almost as well: the images repeat themselves or show too "
                "little. See `alternatives`; larger parts of the images may decide.",
                count=len(alternatives),
            ),
            stacklevel=stacklevel,
        )
    plain["metrics"]["seconds"] = time.perf_counter() - start
    moving_spacing, length = _spacings(areas["moving_spacing"], areas["spacing"], moving_pixels.ndim)
    return Registration(
        **plain,
        confidence=confidence[0],
        alternatives=tuple(alternatives),
        moving=moving_pixels.copy(),
        fixed=as_array(fixed, "fixed").copy(),
        moving_spacing=moving_spacing,
        spacing=length,
        transform=options.transform,
        contrast=options.contrast,
    )


def _check_dimension(encoder: EquivariantNetwork | None, axes: int) -> None:
    """Refuses an encoder of images for volumes, and one of volumes for images."""
    names = {2: "images", 3: "volumes"}
    if encoder is not None and encoder.space.dimensionality != axes:
        raise InputError(
            "`{argument}` describes {described}; `moving` and `fixed` are {given}.",
            "encoder", described=names[encoder.space.dimensionality], given=names[axes],
        )  # fmt: skip


def _spacings(moving_spacing: Any, spacing: Any, axes: int) -> tuple[np.ndarray, np.ndarray]:
    length = check_spacing(spacing, axes, "spacing")
    other = length if moving_spacing is None else check_spacing(moving_spacing, axes, "moving_spacing")
    return other, length


def _maps_of(
    moving_frame: Frame, fixed_frame: Frame, found: Found, pixels: np.ndarray, transform: str
) -> dict[str, Any]:
    """The maps, what is known of them, and the metrics, from the working pixels back on the images' own."""
    linear, velocity, level = found.linear, found.velocity, found.level
    kind = kind_of(linear)
    on_work = map_at_cells(level, linear, velocity)[0]
    at_fixed = fixed_frame.to_work(pixel_grid(fixed_frame.pixels, **kind))
    at_moving = moving_frame.to_work(pixel_grid(moving_frame.pixels, **kind))
    same_pixels = fixed_frame.is_same
    map = moving_frame.to_pixels(on_work if same_pixels else sample_map(on_work[None], at_fixed[None])[0])
    back = fixed_frame.to_pixels(invert(on_work, linear, velocity, level, at_moving))
    uncertainty = claim_uncertainty(level, linear, velocity, transform)
    if not same_pixels:
        uncertainty = grid_sample(uncertainty, at_fixed[None])
    uncertainty = uncertainty[0, 0] * math.prod(moving_frame.steps) ** (1 / len(map))
    jacobian = determinant(jacobian_matrix(map))
    shift = moving_frame.center(kind) - fixed_frame.center(kind)
    unmoved = torch.cat([torch.eye(len(map), **kind), shift[:, None]], 1)[None]
    return {
        "map": as_numpy(map.double()),
        "inverse_map": as_numpy(back.double()),
        "affine": _in_pixels(linear[0], moving_frame, fixed_frame),
        "warped": as_numpy(grid_sample(own_tensor(pixels, **kind)[None, None], map[None], "cubic")[0, 0]),
        "jacobian": as_numpy(jacobian.double()),
        "uncertainty": as_numpy(uncertainty.double()),
        "metrics": {
            "similarity_before": float(score_maps(level, unmoved, torch.zeros_like(velocity))[0]),
            "similarity_after": float(score_maps(level, linear, velocity)[0]),
            "folds": int((jacobian <= 0).sum()),
            **consistency(map, back),
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

"""Registration of two images: matching by attention, verification of candidates, and deformable refinement."""

from __future__ import annotations

import math
import time
import traceback
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from .._progress import begin, check_progress, counted, telling_stages
from ..arrays import as_array, as_numpy, axes_of, check_choice, check_device, check_dtype, check_number, own_tensor
from ..errors import AmbiguousRegistrationWarning, GequiError, InputError, ShapeError
from ..geometry.grids import Kind, cubic_resample, kind_of, pixel_grid
from ..geometry.linalg import determinant
from ..geometry.sampling import INTERPOLATIONS, grid_sample
from ..geometry.tensor_maps import jacobian_matrix, sample_map
from ..maps import check_spacing
from ..networks import EquivariantNetwork
from .comparisons import compared
from .descriptors import CONTRASTS, check_encoder, ready
from .finding import Options, seek
from .initial import initial_of_each
from .many import Registrations
from .preprocess import Frame
from .pyramid import Level, map_at_cells
from .result import Registration, consistency
from .score import score_maps
from .search import Found, descend
from .transforms import apply_linear, flow
from .uncertainty import claim_uncertainty
from .views import MIRRORS
from .warping import check_fill, clipped, filled

ON_ERROR = ("stop", "keep")
TRANSFORMS = ("deformable", "affine", "similarity", "rigid", "translation")
MASKS = ("auto", "none")


def register_images(
    moving: Any,
    fixed: Any,
    spacing: Any = None,
    moving_spacing: Any = None,
    moving_mask: Any = None,
    fixed_mask: Any = None,
    transform: str = "deformable",
    contrast: str = "same",
    mirror: bool | str = False,
    mask: str = "auto",
    encoder: EquivariantNetwork | None = None,
    initial: Any = None,
    min_probability: float = 0.5,
    interpolation: str = "cubic",
    fill: float | None = math.nan,
    dtype: str = "float32",
    device: str = "auto",
    on_error: str = "stop",
    progress: Callable[[dict[str, Any]], Any] | None = None,
) -> Any:
    """Estimate the transformation that aligns two images.

    Registers two images or volumes: estimates a map with moving(map(x)) = fixed(x), its uncertainty, and the
    probability that it is correct. The images may be rotated relative to each other by any angle. The method requires
    no training and uses no random numbers: the same images give the same map.

    Each token of an image is described in every pose (16 poses in an image, 216 in a volume). Attention over positions
    and poses matches the tokens of the two images. Linear maps are fitted to the matches and verified on the images. A
    deformable map without folds refines the result. If no map is clearly correct, the moving image is also tried at 0.5
    to 2 times its size.

    The estimate is equivariant: rotating each of the two images by a quarter turn (of a volume, about any axis)
    transforms the map accordingly, and so does moving a masked object in its image by whole pixels.

    Args:
        moving, fixed: array (row, column) or (depth, row, column): the two grayscale images or volumes. Each side must
            have at least 16 pixels. The sizes may differ. For several pairs, two lists, or mappings whose keys name
            the pairs; the options below then apply to each pair. For volumes, "pixel" means voxel.
        spacing: float or array (axis): the pixel size of `fixed`, one number or one per axis. None is 1. For several
            pairs, one for all or a list with None entries.
        moving_spacing: float or array (axis): the pixel size of `moving`. None uses `spacing`. For several pairs, as
            `spacing`.
        moving_mask, fixed_mask: array of the size of the image: True (or 1) where the image is used. None uses the
            whole image. Pixels outside the bounding box of a mask are not used, and the map is extrapolated linearly
            there. For several pairs, one for all or a list with None entries.
        transform: str: the type of transformation: "deformable", "affine", "similarity" (rotation, translation and one
            scale), "rigid" (rotation and translation) or "translation". Lengths are in the units of `spacing`.
        contrast: str: "same" for images that differ by slowly varying brightness and contrast; "any" for images with
            inverted intensities (partly or everywhere), an image and its edges, or intensities that are related by any
            curve, such as an image and its segmentation.
        mirror: bool or str: whether one image shows the mirror image of the other. "search" tries both and returns the
            map with the higher probability.
        mask: str: "auto" masks a constant black or white border, such as the frame of a round field of view, in an
            image without mask; "none" does not. `metrics` contains the masked fractions. Borders at different positions
            may be a background that moves with the object; then both options are tried and the better result is
            returned. Volumes are not masked automatically.
        encoder: EquivariantNetwork: a network that describes images, from `registration_encoder()`, or another network
            from one trivial field to regular fields of the rotations of the plane (for volumes: irreps of the rotations
            of space), with a token every few pixels. None is the designed encoder for this `contrast`.
        initial: the initial estimate, near which the map is searched: an array (axis, axis + 1) in the form of
            `affine`, in pixels; landmarks of both images, a mapping of `moving` and `fixed`, each an array (point,
            axis) in pixels; or an earlier `Registration`, also of the same images in other sizes. None searches
            everywhere. For several pairs, one for all or a list with None entries. No `alternatives` are searched if
            `initial` is given.
        min_probability: float: the minimum probability of being correct. Below it, an error is raised.
        interpolation: str: the interpolation of `warped`: "cubic" (spline, clipped to the range of `moving`), "linear"
            or "nearest".
        fill: float: the value of `warped` more than half a pixel outside `moving`. None uses the nearest pixel.
        dtype: str: "float32" or "float64", the precision of the computation.
        device: str: "cpu", "cuda" or "auto", which uses a GPU if one is available.
        on_error: str: for several pairs: "stop" raises the error of a pair that fails, "keep" stores the error in its
            place and continues.
        progress: callable: called with a dict of `stage` ("preparation", "search", "refinement" or "uncertainty"),
            `step`, `steps` (None for searches, whose number of steps is not known in advance) and `seconds`. For
            several pairs it is called after each pair, with `done`, `total` and `seconds_left`.

    Returns:
        a `Registration`, or for several pairs a `Registrations`, a list of them with the names of the mappings. The
        attributes of a `Registration` are `map` and `inverse_map`, `affine`, `warped`, `jacobian`, `uncertainty`,
        `probability`, `alternatives`, `metrics` and the inputs. Its methods are `warp()`, `transform_points()`,
        `summary()` and `plot()`. `inverse` is the registration in the opposite direction.

    Raises:
        ShapeError: an image and a volume, a side of fewer than 16 pixels, or a mask or spacing that does not match.
        InputError: values that are not finite, a constant image, an empty mask, an unknown option, or an `encoder` that
            is not a network, has too few tokens, has other fields (FieldError), or is for images if volumes are given
            (or the reverse).
        UnrelatedImagesError: no map reaches `min_probability`. The message states whether another `contrast` or
            `mirror` would be accepted.
    Warns:
        AmbiguousRegistrationWarning: a second, clearly different map fits almost as well.

    Source:
        Greer et al. 2024, CARL (arXiv 2405.16738; attention for registration). Tola, Lepetit and Fua 2010, DAISY
        (descriptors of images). Kazhdan, Funkhouser and Rusinkiewicz 2003 (descriptors of volumes). Ashburner 2007
        (diffeomorphic flows). Roche et al. 1998, Guimond et al. 2001 (intensity curves).

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
    mirrored = check_mirror(mirror)
    masks = check_choice(mask, "mask", MASKS)
    least = check_number(min_probability, "min_probability", 0, 1)
    kind = Kind(dtype=check_dtype(dtype), device=check_device(device))
    describer = None if encoder is None else ready(check_encoder(encoder), kind)
    seen_by = check_choice(interpolation, "interpolation", INTERPOLATIONS)
    options = Options(kind_of_map, kind_of_pair, mirrored, masks, describer, least, seen_by, check_fill(fill), kind)
    areas = {
        "spacing": spacing,
        "moving_spacing": moving_spacing,
        "moving_mask": moving_mask,
        "fixed_mask": fixed_mask,
    }
    keep = check_choice(on_error, "on_error", ON_ERROR) == "keep"
    names = next((list(images) for images in (fixed, moving) if isinstance(images, Mapping)), None)
    moving, fixed = (list(images.values()) if isinstance(images, Mapping) else images for images in (moving, fixed))
    several = [_is_list(images) for images in (moving, fixed)]
    if not any(several):
        with telling_stages(check_progress(progress)):
            return _register_pair(moving, fixed, options, initial, **areas)
    if not all(several) or len(moving) != len(fixed):
        raise ShapeError("`moving` and `fixed` must be two images, or two lists of as many images each.", "fixed")
    return Registrations(_register_pairs(moving, fixed, options, initial, areas, keep, check_progress(progress)), names)


def check_mirror(mirror: object) -> bool | str:
    if isinstance(mirror, bool | np.bool_):
        return bool(mirror)
    if isinstance(mirror, str) and mirror in MIRRORS:
        return mirror
    raise InputError(
        "`{argument}` must be {true!r}, {false!r} or {search!r}; got {value!r}.",
        "mirror", true=True, false=False, search="search", value=mirror,
    )  # fmt: skip


def _is_list(images: Any) -> bool:
    return isinstance(images, list | tuple) and any(axes_of(image) >= 2 for image in images)


def _of_each(option: Any, pairs: int, argument: str, axes: int) -> list[Any]:
    """An option for each pair: a list of values of at least so many axes, or one value for all."""
    if not isinstance(option, list | tuple) or not any(each is None or axes_of(each) >= axes for each in option):
        return [option] * pairs
    if len(option) != pairs:
        raise ShapeError(
            "`{argument}` must be one for all {pairs} pairs, or as many; got {given}.",
            argument, pairs=pairs, given=len(option),
        )  # fmt: skip
    return list(option)


def _register_pairs(
    moving: Any,
    fixed: Any,
    options: Options,
    initial: Any,
    areas: dict[str, Any],
    keep: bool,
    progress: Callable[[dict[str, Any]], Any] | None,
) -> list[Registration | GequiError]:
    results: list[Registration | GequiError] = []
    total = len(fixed)
    tell = counted(progress, total)
    of_each = {
        name: _of_each(value, total, name, 1 if name.endswith("spacing") else 2) for name, value in areas.items()
    }
    starts = initial_of_each(initial, total)
    for number, (one, other) in enumerate(zip(moving, fixed, strict=True)):
        try:
            own = {name: values[number] for name, values in of_each.items()}
            results.append(_register_pair(one, other, options, starts[number], stacklevel=4, **own))
        except GequiError as error:
            of_pair = error.within("Pair {pair} of {total}: ", pair=number + 1, total=total)
            if not keep:
                raise of_pair from error
            of_pair.__cause__ = error
            traceback.clear_frames(error.__traceback__)  # frames hold references to the images
            results.append(of_pair)
        tell(number + 1)
    return results


def _register_pair(
    moving: Any, fixed: Any, options: Options, initial: Any, stacklevel: int = 3, **areas: Any
) -> Registration:
    """Register two images; `stacklevel` is the distance of the stack from here to the caller of `register_images()`."""
    start = time.perf_counter()
    sought = seek(moving, fixed, areas, options, initial)
    view, fixed_frame, moving_pixels = sought.view, sought.fixed_frame, sought.moving
    found, others, scores = descend(compared(view.rivals(options.transform), options.transform), options.transform)
    begin("uncertainty", 1)
    # what uses the images comes first: at the finest level of a volume they take more memory than all results
    uncertainty = claim_uncertainty(found.level, found.linear, found.velocity, options.transform)
    similarities = _similarities(found, _unmoved(sought.base, view.frame, fixed_frame, kind_of(found.linear)))
    found = found.without_images()
    plain = _maps_of(view.frame, fixed_frame, found, uncertainty)
    plain["warped"] = _warped(moving_pixels, plain["map"], options)
    plain["jacobian"] *= sought.area
    plain["metrics"] = {
        **similarities,
        **plain["metrics"],
        "score": scores[0],
        "round_trip": float(view.evidence.round_trip[view.evidence.best]),
        "masked_moving": sought.masked[0],
        "masked_fixed": sought.masked[1],
    }
    alternatives = [
        {"affine": _in_pixels(other, view.frame, fixed_frame), "score": value}
        for other, value in zip(others, scores[1:], strict=True)
    ]
    if alternatives:
        warnings.warn(
            AmbiguousRegistrationWarning(
                "Other maps, far from this one, fit almost as well (number: {count}): the images repeat themselves or show too "
                "little. See `alternatives`; larger parts of the images may decide.",
                count=len(alternatives),
            ),
            stacklevel=stacklevel,
        )
    plain["metrics"]["seconds"] = time.perf_counter() - start
    moving_spacing, length = _spacings(areas["moving_spacing"], areas["spacing"], moving_pixels.ndim)
    return Registration(
        **plain,
        probability=sought.probability,
        alternatives=tuple(alternatives),
        moving=moving_pixels.copy(),
        fixed=as_array(fixed, "fixed").copy(),
        moving_spacing=moving_spacing,
        spacing=length,
        transform=options.transform,
        contrast=options.contrast,
        interpolation=options.interpolation,
        fill=options.fill,
    )


def _similarities(found: Found, unmoved: torch.Tensor) -> dict[str, float]:
    """Compute the metrics of the two images under the map `unmoved` and under the map that was found."""
    before = score_maps(found.level, unmoved, torch.zeros_like(found.velocity))
    after = score_maps(found.level, found.linear, found.velocity)
    return {"similarity_before": float(before[0]), "similarity_after": float(after[0])}


def _warped(moving: np.ndarray, map: np.ndarray, options: Options) -> np.ndarray:
    """Resample the moving image through the map, in the precision of the computation."""
    pixels, points = (own_tensor(x, **options.kind)[None] for x in (moving, map))
    seen = as_numpy(grid_sample(pixels[None], points, options.interpolation)[0, 0])
    return filled(clipped(seen, moving, moving.ndim), map, moving.shape, options.fill)


def _spacings(moving_spacing: Any, spacing: Any, axes: int) -> tuple[np.ndarray, np.ndarray]:
    length = check_spacing(spacing, axes, "spacing")
    other = length if moving_spacing is None else check_spacing(moving_spacing, axes, "moving_spacing")
    return other, length


def _maps_of(moving_frame: Frame, fixed_frame: Frame, found: Found, uncertainty: torch.Tensor) -> dict[str, Any]:
    """Convert the maps and their uncertainty from working pixels to the pixels of the images; compute their metrics."""
    linear, velocity, level = found.linear, found.velocity, found.level
    kind = kind_of(linear)
    on_work = map_at_cells(level, linear, velocity)[0]
    same_pixels = fixed_frame.is_same
    map = moving_frame.to_pixels(on_work)
    if not same_pixels:
        at_fixed = fixed_frame.to_work(pixel_grid(fixed_frame.pixels, **kind))[None]
        map = moving_frame.to_pixels(sample_map(on_work[None], at_fixed)[0])
        uncertainty = grid_sample(uncertainty, at_fixed)
        del at_fixed
    at_moving = moving_frame.to_work(pixel_grid(moving_frame.pixels, **kind))
    back = fixed_frame.to_pixels(invert(on_work, linear, velocity, level, at_moving))
    del at_moving, on_work
    uncertainty = uncertainty[0, 0] * math.prod(moving_frame.steps) ** (1 / len(map))
    jacobian = determinant(jacobian_matrix(map)) * (-1 if moving_frame.mirrored else 1)
    agreement = consistency(map, back)
    return {
        "map": as_numpy(map.double()),
        "inverse_map": as_numpy(back.double()),
        "affine": _in_pixels(linear[0], moving_frame, fixed_frame),
        "jacobian": as_numpy(jacobian.double()),
        "uncertainty": as_numpy(uncertainty.double()),
        "metrics": {
            "folds": int((jacobian <= 0).sum()),
            **agreement,
        },
    }


def _unmoved(base: Frame, moving_frame: Frame, fixed_frame: Frame, kind: Kind) -> torch.Tensor:
    """Return the map (1, axis, axis + 1) that aligns the centers of the images, on the working pixels of a view.

    `base` is the frame of the moving image as given.
    """
    shift = base.center(kind) - fixed_frame.center(kind)
    axes = torch.eye(len(shift), len(shift) + 1, **kind)
    ends = moving_frame.to_work(base.to_pixels(axes + shift[:, None]))
    return torch.cat([ends[:, :-1] - ends[:, -1:], ends[:, -1:]], 1)[None]


def _in_pixels(linear: torch.Tensor, moving_frame: Frame, fixed_frame: Frame) -> np.ndarray:
    """Convert a linear map of working pixels to the pixels of the images, by the images of 0 and e_i."""
    axes = torch.eye(len(linear), len(linear) + 1, **kind_of(linear))
    ends = moving_frame.to_pixels(apply_linear(linear[None], fixed_frame.to_work(axes)[None])[0]).double()
    return as_numpy(torch.cat([ends[:, :-1] - ends[:, -1:], ends[:, -1:]], 1))


def invert(
    map: torch.Tensor, linear: torch.Tensor, velocity: torch.Tensor, level: Level, places: torch.Tensor
) -> torch.Tensor:
    """Evaluate exp(-v) o A^-1 at places in the moving image, and refine it towards the inverse of the sampled map."""
    inner = torch.linalg.inv(linear[:, :, :-1])
    backwards = torch.cat([inner, -inner @ linear[:, :, -1:]], 2)
    x = apply_linear(backwards, places[None])
    x = x + grid_sample(cubic_resample(flow(-velocity, level.image), level.image), x)
    for _ in range(2):
        miss = places[None] - sample_map(map[None], x)
        x = x + torch.einsum("bij,bj...->bi...", inner, miss)
    return x[0]

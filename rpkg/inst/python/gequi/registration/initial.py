"""Initial estimates given by the user: a linear map, landmarks of both images, or an earlier registration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from .._progress import begin
from ..arrays import as_array, axes_of, check_magnitude, own_tensor
from ..errors import GequiError, InputError, ShapeError
from ..geometry.grids import Kind, kind_of
from ..geometry.rotations import nearest_rotation
from .evidence import weigh
from .gauss_newton import refine
from .preprocess import SMALLEST, Frame, Pair
from .presets import preset_for
from .pyramid import coarsest_level, make_level, zero_velocity
from .result import Registration
from .search import Found, verify
from .transforms import apply_linear, image_center, nearest_linear
from .views import View, seen_as

SIDES = ("moving", "fixed")
LEAST_SPREAD = 1e-3  # of landmarks across a direction, as a share of the widest; not tuned
LADDER = (0.25, 4.0)  # the smallest and the largest scale at which the moving image is resampled; not tuned
LITTLE = 0.8  # scales between this and its inverse are left as they are; not tuned
LEAST_AREA = 1e-6  # of a linear map: the least determinant


def initial_of_each(initial: Any, pairs: int) -> list[Any]:
    """Return the initial estimate of each pair, from one for all or a list; None and errors mean no estimate."""
    if not isinstance(initial, list | tuple) or not any(_is_start(each) for each in initial):
        return [initial] * pairs
    if len(initial) != pairs:
        raise ShapeError(
            "`{argument}` must be one for all {pairs} pairs, or as many; got {given}.",
            "initial", pairs=pairs, given=len(initial),
        )  # fmt: skip
    return [None if isinstance(each, GequiError) else each for each in initial]


def _is_start(value: Any) -> bool:
    return isinstance(value, Registration | Mapping | GequiError) or (value is not None and axes_of(value) >= 2)


def initial_map(initial: Any, frames: tuple[Frame, Frame], transform: str, kind: Kind) -> torch.Tensor:
    """Return the linear map from which the search starts, on working pixels: (1, axis, axis + 1).

    Args:
        initial: the argument of `register_images()`.
        frames: the frames of the moving and of the fixed image.
        transform: the requested kind of map: the start is the nearest map of that kind.
    """
    axes = len(frames[1].pixels)
    exact = Kind(dtype=torch.float64, device=kind["device"])
    if isinstance(initial, Mapping):
        linear = _of_landmarks(*_landmarks(initial, frames, axes, exact), transform)
    else:
        affine = _of_registration(initial, frames) if isinstance(initial, Registration) else _matrix(initial, axes)
        linear = _on_working_pixels(own_tensor(affine, **exact), *frames)
    linear = linear[None]
    turns = float(torch.linalg.det(linear[0, :, :-1]))
    if abs(turns) < LEAST_AREA:
        raise InputError("`{argument}` has no inverse: it maps the fixed image to a line or a point.", "initial")
    if transform not in ("deformable", "affine"):
        if turns < 0:
            raise InputError(
                "`{argument}` contains a reflection, which the transform {transform!r} does not allow.",
                "initial", transform=transform,
            )  # fmt: skip
        linear = nearest_linear(linear, transform, image_center(frames[1].work, exact))
    return linear.to(**kind)


def view_of_start(pair: Pair, frames: tuple[Frame, Frame], initial: Any, transform: str, kind: Kind) -> View:
    """Return the view in which a start neither mirrors nor scales, and the maps near it, in both directions.

    Args:
        frames: the frames of the moving and of the fixed image.
    """
    begin("search")
    exact = Kind(dtype=torch.float64, device=kind["device"])
    kind_of_start = "translation" if transform == "translation" else "affine"
    inner = initial_map(initial, frames, kind_of_start, exact)[0, :, :-1]
    turns = float(torch.linalg.det(inner))
    scale = 1.0 if transform in ("rigid", "translation") else abs(turns) ** (-1 / pair.axes)
    least = min(1.0, max(2 * SMALLEST / n for n in pair.moving_size))
    scale = min(max(scale, least, min(LADDER)), max(LADDER))
    scale = 1.0 if LITTLE < scale < 1 / LITTLE else scale
    seen, frame = seen_as(pair, frames[0], scale, turns < 0)
    start = initial_map(initial, (frame, frames[1]), transform, kind)
    inner = torch.linalg.inv(start[:, :, :-1])
    back = torch.cat([inner, -inner @ start[:, :, -1:]], 2)
    found = _verified(seen, transform, start), _verified(seen.exchanged, transform, back)
    return View(seen, frame, found[0], found[1:], weigh(found[0], found[1:], transform), given=True)


def _verified(pair: Pair, transform: str, linear: torch.Tensor) -> Found:
    """Return the best map at the coarsest level near a linear map: from the map itself or its linear refinement."""
    preset = preset_for(pair.axes)
    steps = preset.first.steps
    if transform == "deformable":
        level = make_level(pair, coarsest_level(pair))
        nearer, _ = refine(level, linear, zero_velocity(level, 1), "affine", steps)
        linear = torch.cat([linear, nearer])
    found = verify(pair, transform, linear, steps)
    return found.take([int(found.scores.argmax())])


# ---- linear maps ----------------------------------------------------------------------------------------


def _matrix(initial: Any, axes: int) -> np.ndarray:
    affine = as_array(initial, "initial", ndim=2, axes="(axis, axis + 1)").astype(np.float64)
    if affine.shape != (axes, axes + 1):
        raise ShapeError(
            "`{argument}` must be a linear map of shape {wanted}, or landmarks, or a registration; got shape {given}.",
            "initial", wanted=(axes, axes + 1), given=affine.shape,
        )  # fmt: skip
    check_magnitude(affine, "initial", torch.float32)
    return affine


def _of_registration(found: Registration, frames: tuple[Frame, Frame]) -> np.ndarray:
    """Return the linear part of an earlier registration, with scaled pixels if its images had other sizes."""
    if found.fixed.ndim != len(frames[1].pixels):
        raise ShapeError(
            "`{argument}` is a registration of {axes} axes; `moving` and `fixed` have {given}.",
            "initial", axes=found.fixed.ndim, given=len(frames[1].pixels),
        )  # fmt: skip
    before = [np.array(image.shape) for image in (found.moving, found.fixed)]
    moving, fixed = (np.array(frame.pixels) / size for frame, size in zip(frames, before, strict=True))
    inner = moving[:, None] * found.affine[:, :-1] / fixed
    # fixed pixel p of the new size is (p + 0.5) / fixed - 0.5 of the old one
    shift = moving * (found.affine[:, :-1] @ (0.5 / fixed - 0.5) + found.affine[:, -1] + 0.5) - 0.5
    return np.concatenate([inner, shift[:, None]], 1)


def _on_working_pixels(affine: torch.Tensor, moving_frame: Frame, fixed_frame: Frame) -> torch.Tensor:
    """Convert a linear map of the pixels of the images to working pixels."""
    axes = torch.eye(len(affine), len(affine) + 1, **kind_of(affine))
    ends = moving_frame.to_work(apply_linear(affine[None], fixed_frame.to_pixels(axes)[None])[0])
    return torch.cat([ends[:, :-1] - ends[:, -1:], ends[:, -1:]], 1)


# ---- landmarks ------------------------------------------------------------------------------------------


def _landmarks(
    initial: Mapping[str, Any], frames: tuple[Frame, Frame], axes: int, kind: Kind
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the landmarks of the moving and of the fixed image on working pixels: (point, axis) each."""
    if set(initial) != set(SIDES):
        raise InputError(
            "`{argument}` must have landmarks of both images, {sides:list}; got {given:list}.",
            "initial", sides=SIDES, given=list(initial),
        )  # fmt: skip
    points = [as_array(initial[side], "initial", ndim=2, axes="(point, axis)") for side in SIDES]
    if points[0].shape != points[1].shape or points[0].shape[1] != axes:
        raise ShapeError(
            "`{argument}` must have as many landmarks of `moving` as of `fixed`, with {axes} coordinates each; got "
            "shapes {moving} and {fixed}.",
            "initial", axes=axes, moving=points[0].shape, fixed=points[1].shape,
        )  # fmt: skip
    for side in points:
        check_magnitude(side, "initial", torch.float32)
    moving, fixed = (frame.to_work(own_tensor(at.T, **kind)).T for frame, at in zip(frames, points, strict=True))
    return moving, fixed


def _of_landmarks(moving: torch.Tensor, fixed: torch.Tensor, transform: str) -> torch.Tensor:
    """Fit the linear map from the landmarks of the fixed image to those of the moving image by least squares.

    It is affine if requested and determined by the landmarks, otherwise a similarity or a shift.

    Source: Umeyama 1991.
    """
    axes = fixed.shape[1]
    x, y = fixed - fixed.mean(0), moving - moving.mean(0)
    spread = torch.linalg.svdvals(x)
    directions = int((spread > LEAST_SPREAD * spread[0].clamp_min(1e-9)).sum()) if len(x) > 1 else 0
    inner = torch.eye(axes, **kind_of(x))
    if transform != "translation":
        if directions < axes - 1:
            raise InputError(
                "`{argument}` has too few landmarks, or they lie too close to a line: {least} that span the image are "
                "needed.", "initial", least=axes,
            )  # fmt: skip
        if transform in ("deformable", "affine") and directions == axes:
            inner = torch.linalg.lstsq(x, y).solution.mT
        else:
            rotation = nearest_rotation(y.mT @ x)
            inner = rotation * ((x @ rotation.mT) * y).sum() / x.square().sum()
    return torch.cat([inner, (moving.mean(0) - inner @ fixed.mean(0))[:, None]], 1)

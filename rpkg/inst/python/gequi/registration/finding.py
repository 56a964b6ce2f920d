"""The search for the map of one pair, with and without its constant borders, and the hints if no map is accepted."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .._progress import begin
from ..errors import InputError, UnrelatedImagesError
from ..geometry.grids import Kind
from ..networks import EquivariantNetwork
from .backgrounds import border_masks
from .evidence import probability
from .initial import view_of_start
from .preprocess import Frame, check_image, prepare_pair
from .views import View, best_view

_hints = ContextVar("hints", default=True)  # whether a refusal states what would be accepted


@contextlib.contextmanager
def without_hints() -> Iterator[None]:
    """Refuse pairs inside the context without trying other options, for callers that register many pairs."""
    token = _hints.set(False)
    try:
        yield
    finally:
        _hints.reset(token)


@dataclass(frozen=True)
class Options:
    """The checked options of `register_images()` that apply to every pair."""

    transform: str
    contrast: str
    mirror: bool | str
    mask: str
    encoder: EquivariantNetwork | None
    min_probability: float
    interpolation: str
    fill: float | None
    kind: Kind


@dataclass(frozen=True, eq=False)
class Sought:
    """The best view of a pair, and the conversion from its working pixels to those of the images.

    Attributes:
        base: the frame of the moving image before it was mirrored or resampled; that of the view is `view.frame`.
        moving: the pixels of the moving image.
        area: the area of a pixel of the moving image, as a multiple of that of a pixel of the fixed image.
        masked: the fractions of the moving and of the fixed image detected as a constant border.
    """

    view: View
    base: Frame
    fixed_frame: Frame
    moving: np.ndarray
    area: float
    masked: tuple[float, float]

    @property
    def probability(self) -> float:
        """The probability that the best map is correct."""
        return probability(self.view.log_odds)


def seek(moving: Any, fixed: Any, areas: dict[str, Any], options: Options, initial: Any = None) -> Sought:
    """Find the best view of a pair. `areas` are the spacings and the masks, arguments of `register_images()`."""
    sought = _best(moving, fixed, areas, options, initial)
    if sought.probability < options.min_probability:
        raise _refusal(sought, moving, fixed, areas, options, initial)
    return sought


def _best(
    moving: Any, fixed: Any, areas: dict[str, Any], options: Options, initial: Any, thorough: bool = True
) -> Sought:
    best: Sought | None = None
    for more, masked in _masks(moving, fixed, areas, options):
        begin("preparation")
        pair, (base, fixed_frame), pixels, area = prepare_pair(
            moving, fixed, **{**areas, **more}, contrast=options.contrast, kind=options.kind
        )
        _check_dimension(options.encoder, pair.axes)
        if initial is None:
            view = best_view(pair, base, options.transform, options.mirror, options.encoder, thorough)
        else:
            view = view_of_start(pair, (base, fixed_frame), initial, options.transform, options.kind)
        if best is None or view.log_odds > best.view.log_odds:
            best = Sought(view, base, fixed_frame, pixels, area, masked)
    assert best is not None
    return best


def _masks(
    moving: Any, fixed: Any, areas: dict[str, Any], options: Options
) -> Iterator[tuple[dict[str, Any], tuple[float, float]]]:
    """Return the masks to try if none are given, and the fraction of each image that they exclude."""
    images = check_image(moving, "moving"), check_image(fixed, "fixed")
    if options.mask == "none" or any(image.ndim == 3 for image in images):
        yield {}, (0.0, 0.0)
        return
    names = ("moving_mask", "fixed_mask")
    for masks in border_masks(*images, [areas[name] is None for name in names]):
        found = {name: mask for name, mask in zip(names, masks, strict=True) if mask is not None}
        shares = [1 - float(found[name].mean()) if name in found else 0.0 for name in names]
        yield found, (shares[0], shares[1])


def _check_dimension(encoder: EquivariantNetwork | None, axes: int) -> None:
    """Refuses an encoder of images for volumes, and one of volumes for images."""
    names = {2: "images", 3: "volumes"}
    if encoder is not None and encoder.space.dimensionality != axes:
        raise InputError(
            "`{argument}` describes {described}; `moving` and `fixed` are {given}.",
            "encoder", described=names[encoder.space.dimensionality], given=names[axes],
        )  # fmt: skip


def _refusal(
    sought: Sought, moving: Any, fixed: Any, areas: dict[str, Any], options: Options, initial: Any
) -> UnrelatedImagesError:
    """The error that refuses the best map, with what was tried and would be accepted."""
    others = list(_other_options(options)) if initial is None and _hints.get() else []
    chances = [_best(moving, fixed, areas, other, None, thorough=False).probability for _, other in others]
    if others and max(chances) >= options.min_probability:
        argument, other = others[chances.index(max(chances))]
        return UnrelatedImagesError(
            "`moving` and `fixed` do not look alike as they are: the best map is right with a probability of "
            "{probability:.2f}; `min_probability` is {least:.2f}. With `{name}` = {value!r} it is {other:.2f}.",
            probability=sought.probability, least=options.min_probability,
            name=argument, value=getattr(other, argument), other=max(chances),
        )  # fmt: skip
    return UnrelatedImagesError(
        "`moving` and `fixed` do not look alike under any map{near}: the best one is right with a probability of "
        "{probability:.2f}; `min_probability` is {least:.2f}.",
        near="" if initial is None else " near `initial`",
        probability=sought.probability, least=options.min_probability,
    )  # fmt: skip


def _other_options(options: Options) -> Iterator[tuple[str, Options]]:
    """Return the options that may help if no map is accepted."""
    if options.contrast == "same":
        yield "contrast", replace(options, contrast="any")
    if options.mirror is False:
        yield "mirror", replace(options, mirror=True)

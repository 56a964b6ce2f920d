"""A group of images while its template is improved: the registrations of a round, and what follows from them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import AmbiguousRegistrationWarning, GequiError, UnrelatedImagesError
from ..maps import identity_map
from ..registration.decomposition import decompose
from ..registration.finding import without_hints
from ..registration.register import register_images
from ..registration.warping import carry_pixels
from ._frames import Linear
from ._shapes import Shapes, centered
from .result import GroupMean

SEEN = 0.5  # the share of the images in which a pixel of the template must lie for it to be registered
MOST = 0.9  # of the pixels change by less than the reported change; others show little, as those near a border
RETRIES = 1  # rounds in which an image that could not be registered is tried again, with a better template
STARTS = 3  # images with which the template is tried to begin


@dataclass(frozen=True)
class _Found:
    """What a registration of an image with the template has found: a map, or an error."""

    map: np.ndarray | None
    probability: float | None
    error: str | None


class Group:
    """The images of a group, their maps and their template.

    Attributes:
        found: the last registration of each image.
        shapes: the maps of the images that could be registered, whose mean is the identity; `used` are their numbers.
        warped: those images, resampled through these maps, with NaN outside.
    """

    found: list[_Found]
    shapes: Shapes
    used: list[int]
    warped: np.ndarray
    start: int

    def __init__(
        self, images: list[np.ndarray], spacing: np.ndarray, options: dict[str, Any], interpolation: str
    ) -> None:
        self.images, self.spacing, self.options, self.interpolation = images, spacing, options, interpolation
        self.length = float(np.exp(np.log(spacing).mean()))  # the unit of lengths within this class
        self.unit = spacing / self.length
        sizes = zip(*(image.shape for image in images), strict=True)
        self.size = tuple(math.floor(sum(along) / len(images) + 0.5) for along in sizes)

    def begin(self, start: int | None, tell: Callable[[int], None]) -> None:
        """Register the images with one of them: `start`, or one of medium contrast that suits half of the others."""
        starts = [start] if start is not None else self._by_contrast()[:STARTS]
        best: list[_Found] = []
        for first in starts:
            found = []
            for k, image in enumerate(self.images):
                itself = _Found(identity_map(image.shape), 1.0, None)
                found.append(itself if k == first else self._register(k, self.images[first], None, None))
                tell(k + 1)
            if not best or _count(found) > _count(best):
                best, self.start = found, first
            if 2 * (_count(best) - 1) >= len(self.images) - 1:
                break
        self._center(best)

    def _by_contrast(self) -> list[int]:
        """Return the numbers of the images, the one with the median standard deviation first and the extremes last."""
        order = np.argsort([float(image.std()) for image in self.images], kind="stable")
        middle = (len(order) - 1) // 2
        return [int(order[rank]) for rank in sorted(range(len(order)), key=lambda rank: (abs(rank - middle), rank))]

    def improve(self, tell: Callable[[int], None], rounds: int) -> float:
        """Register the images with the template; return by how much the maps change in pixels."""
        before = dict(zip(self.used, self.shapes.maps, strict=True))
        affines = {k: self._in_pixels(k, linear) for k, linear in zip(self.used, self.shapes.linears, strict=True)}
        template, mask = self._as_fixed()
        found = []
        for k in range(len(self.images)):
            each = self.found[k]
            if k in affines or rounds <= RETRIES:
                each = self._register(k, template, mask, affines.get(k))
            if each.map is None and k in affines:
                each = self._register(k, template, mask, None)
            found.append(each)
            tell(rounds * len(self.images) + k + 1)
        self._center(found)
        distances = [
            np.sqrt(np.square(map - before[k]).sum(0))[np.isfinite(image)]
            for k, map, image in zip(self.used, self.shapes.maps, self.warped, strict=True)
            if k in before
        ]
        moved = np.concatenate([np.zeros(0), *distances])
        return float(np.quantile(moved, MOST)) if len(moved) else math.inf

    def _register(self, k: int, fixed: np.ndarray, mask: np.ndarray | None, initial: np.ndarray | None) -> _Found:
        try:
            with warnings.catch_warnings(), without_hints():
                warnings.simplefilter("ignore", AmbiguousRegistrationWarning)  # the mean of the images decides
                found = register_images(
                    self.images[k], fixed, self.spacing, fixed_mask=mask, initial=initial, **self.options
                )
        except GequiError as error:
            return _Found(None, None, str(error))
        return _Found(found.map, found.probability, None)

    def _center(self, found: list[_Found]) -> None:
        """Make the mean of the maps the identity, and resample the images."""
        used = [k for k, each in enumerate(found) if each.map is not None]
        if len(used) < 2:
            raise UnrelatedImagesError(
                "`{argument}` has no 2 of its {total} images that could be registered. The first error: {reason}",
                "images", total=len(found), reason=next(each.error for each in found if each.error),
            )  # fmt: skip
        maps = [each.map for each in found if each.map is not None]
        place = used.index(self.start) if self.start in used else 0
        sizes = [self.images[k].shape for k in used]
        self.found, self.used = found, used
        self.shapes = centered(maps, sizes, self.size, self.unit, place)
        self.warped = np.stack([
            carry_pixels(self.images[k], map, self.interpolation, math.nan).astype(np.float64)
            for k, map in zip(used, self.shapes.maps, strict=True)
        ])  # fmt: skip

    @property
    def template(self) -> np.ndarray:
        """The mean of the images that are seen at each pixel; NaN where none is."""
        seen = np.isfinite(self.warped)
        with np.errstate(invalid="ignore"):
            return np.asarray(np.where(seen, self.warped, 0.0).sum(0) / seen.sum(0))

    def _as_fixed(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the template without NaN, and the mask of what enough images show (None for everything)."""
        template = self.template
        enough = np.isfinite(self.warped).mean(0) >= SEEN
        filled = np.where(np.isfinite(template), template, np.nanmean(template))
        return filled, None if enough.all() else enough

    def _in_pixels(self, k: int, linear: Linear) -> np.ndarray:
        """Return the linear part of a map in pixels from 0, (axis, axis + 1)."""
        inner = linear.matrix / self.unit[:, None] * self.unit
        middle, own = ((np.array(size) - 1) / 2 for size in (self.size, self.images[k].shape))
        return np.concatenate([inner, (linear.shift / self.unit + own - inner @ middle)[:, None]], 1)

    # ---- the result -------------------------------------------------------------------------------------

    def result(self, names: list[str] | None, changes: list[float], converged: bool, transform: str) -> GroupMean:
        template = self.template
        maps = np.full((len(self.images), len(self.size), *self.size), np.nan)
        maps[self.used] = np.stack(self.shapes.maps)
        table = [self._row(k, template) for k in range(len(self.images))]
        if names is not None:
            table = [{**row, "image": name} for row, name in zip(table, names, strict=True)]
        return GroupMean(
            template=template,
            variability=self.length * np.sqrt(np.square(self.shapes.bends).sum(1).mean(0)),
            maps=maps,
            table=table,
            changes=changes,
            converged=converged,
            start=self.start,
            turned_as=None if self.shapes.mean_turn else self.start,
            spacing=self.spacing,
            images=self.images,
            names=names,
            transform=transform,
            interpolation=self.interpolation,
        )

    def _row(self, k: int, template: np.ndarray) -> dict[str, Any]:
        found = self.found[k]
        plain: dict[str, Any] = {"image": k, "status": "failed", "error": found.error}
        if k not in self.used:
            return {**plain, **dict.fromkeys(("probability", "rotation", "scale", "shift", "bend", "similarity"))}
        place = self.used.index(k)
        affine = self._in_pixels(k, self.shapes.linears[place])
        linear = decompose(affine, self.images[k].shape, self.size, self.unit, self.unit)
        return {
            **plain,
            "status": "aligned",
            "probability": found.probability,
            "rotation": linear["rotation"],
            "scale": linear["scale"],
            "shift": self.length * float(np.linalg.norm(linear["shift"] * self.unit)),
            "bend": self.length * math.sqrt(np.square(self.shapes.bends[place]).sum(0).mean()),
            "similarity": _correlation(self.warped[place], template),
        }


def _count(found: list[_Found]) -> int:
    return sum(each.map is not None for each in found)


def _correlation(image: np.ndarray, template: np.ndarray) -> float | None:
    """Return the correlation of an image with a template where both are seen; None if one is constant there."""
    seen = np.isfinite(image) & np.isfinite(template)
    one, other = image[seen], template[seen]
    if one.size < 2 or one.std() == 0 or other.std() == 0:
        return None
    return float(np.corrcoef(one, other)[0, 1])

"""The result of a registration: a map between two images, what is known about it, and what can be done with it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from .. import plots
from ..arrays import as_array, check_choice, check_flag, freeze_arrays, own_tensor
from ..errors import GequiError, ShapeError
from ..geometry.grids import pixel_grid
from ..geometry.linalg import vector_norm
from ..geometry.sampling import inside
from ..maps import sample_map, warp_image, warp_points
from .decomposition import decompose, say
from .extrapolation import bend_of, distance_beyond, extrapolated
from .warping import KINDS, carry_pixels, choose_interpolation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DIRECTIONS = ("moving_to_fixed", "fixed_to_moving")
AXES = {2: ("row", "column"), 3: ("depth", "row", "column")}
MAPS = ("map", "inverse_map", "affine", "warped", "jacobian", "uncertainty")
IMAGES = ("moving", "fixed", "moving_spacing", "spacing")
QUANTILES = {"least": 0, "25 %": 0.25, "median": 0.5, "75 %": 0.75, "95 %": 0.95, "largest": 1}


@dataclass(frozen=True, eq=False, repr=False)
class Registration:
    """The map that aligns a moving image with a fixed one: moving(map(x)) = fixed(x).

    `register_images()` returns it. Its arrays are read-only. Positions are in pixels (voxels) from 0; axes are (row,
    column) in images and (depth, row, column) in volumes. `size` stands for the sizes of an image along its axes.

    Attributes:
        map: (axis, *size of fixed), the position in the moving image of each pixel of the fixed one (float64).
        inverse_map: (axis, *size of moving), the position in the fixed image of each pixel of the moving one.
        affine: (axis, axis + 1), the linear part of the map: moving = affine[:, :-1] fixed + affine[:, -1].
        warped: (*size of fixed), the moving image seen through the map by `interpolation`, within its range; `fill`
            (NaN) outside of it.
        jacobian: (*size of fixed), the determinant of the map in units of length; of a mirror image its negative.
        uncertainty: (*size of fixed), the standard deviation of the map in pixels of the moving image: the root of the
            mean squared length of its error.
        probability: the probability that the map is right, by the evidence of the search: that the search in the other
            direction finds its inverse, that the images are alike under it, and that their detail agrees under it and
            not beside it.
        alternatives: other linear maps that fit almost as well, dicts with `affine` and `score`.
        metrics: a dict with `similarity_before`, `similarity_after`, `folds` (pixels), `overlap` (the share of the
            fixed image that is seen in both), `inverse_consistency` (mean length of inverse_map(map(x)) - x in pixels),
            `score` (the correlation of the two images after local normalization, at the coarsest level), `round_trip`
            (how far from each other the searches in the two directions are, a share of the longer side),
            `masked_moving` and `masked_fixed` (the shares of the images that were found to be a constant border) and
            `seconds`.
        moving, fixed: the two images, as they were given.
        moving_spacing, spacing: (axis), the size of a pixel of the moving and of the fixed image.
        transform, contrast, interpolation, fill: as they were given.

    Example:
        >>> from gequi import register_images, sample_image
        >>> image = sample_image("cat")[50:178, 150:278]
        >>> found = register_images(moving=image.T[::-1], fixed=image)  # turned by a quarter
        >>> abs(found.transform_points([[127, 0]])).round(1).tolist()
        [[0.0, 0.0]]
        >>> bool(abs(found.warp(image.T[::-1]) - image).max() < 0.01)
        True
    """

    map: np.ndarray
    inverse_map: np.ndarray
    affine: np.ndarray
    warped: np.ndarray
    jacobian: np.ndarray
    uncertainty: np.ndarray
    probability: float
    alternatives: tuple[dict[str, Any], ...]
    metrics: dict[str, Any]
    moving: np.ndarray
    fixed: np.ndarray
    moving_spacing: np.ndarray
    spacing: np.ndarray
    transform: str
    contrast: str
    interpolation: str
    fill: float | None

    def __post_init__(self) -> None:
        freeze_arrays(self)

    def __repr__(self) -> str:
        metrics, (low, high) = self.metrics, np.quantile(self.uncertainty, (0.5, 1))
        pixels = "voxels" if self.fixed.ndim == 3 else "pixels"
        return (
            f"<Registration: {as_size(self.moving.shape)} onto {as_size(self.fixed.shape)}, {self.transform}, contrast "
            f"{self.contrast!r}>\n"
            f"similarity {metrics['similarity_before']:.2f} before, {metrics['similarity_after']:.2f} after; probability "
            f"{self.probability:.2f}; {len(self.alternatives)} alternatives\n"
            f"uncertainty {low:.2f} {pixels} (median), {high:.2f} at most; {metrics['folds']} folds; "
            f"{100 * metrics['overlap']:.0f} % of the fixed image is seen in both\n"
            f"linear part: {say(self.decomposition, pixels)}"
        )

    @cached_property
    def decomposition(self) -> dict[str, Any]:
        """The linear part in the terms that one speaks of, by its polar decomposition in units of length.

        The moving image shows the fixed one enlarged by `scale` (along the axes of the fixed image by `scales`, with
        `shear`), then mirrored left to right where `mirror` is true, then turned by `rotation` degrees: of images
        counter-clockwise on the screen, of volumes counter-clockwise as seen along `axis`, in (depth, row, column).
        `shift` is how far the middle of the fixed image lands from the middle of the moving one, in pixels of that.
        """
        sizes = self.moving.shape, self.fixed.shape
        return decompose(self.affine, *sizes, self.moving_spacing, self.spacing)

    def warp(
        self,
        image: Any,
        interpolation: str | None = None,
        fill: float | None = math.nan,
        direction: str = "moving_to_fixed",
        type: str | None = None,
    ) -> np.ndarray:
        """An image, or labels, carried over to the pixels of the other image.

        Args:
            image: of the size of the moving image ("fixed_to_moving": of the fixed one), or several channels of it with
                their axis in front.
            interpolation: "linear"; "cubic", an interpolating spline, whose result is clipped to the range of each
                channel; "nearest". None is "cubic" for images and "nearest" for labels.
            fill: the value of pixels that lie outside `image` by more than half a pixel; None takes the nearest pixel.
                In labels of whole numbers, which have no NaN, NaN stands for 0.
            direction: "moving_to_fixed" or "fixed_to_moving".
            type: "image", or "labels", which take the nearest pixel and keep their type. None decides: logicals and
                whole numbers are labels, unless `interpolation` is "linear" or "cubic"; all else is an image.

        Returns:
            an image of the size of the other image, with the channels of `image`.

        Raises:
            ShapeError: an image of another size.
            InputError: an unknown interpolation, direction or type, values that are not finite; labels that are to be
                interpolated; a `fill` that their type does not hold.
        Warns:
            GequiMessage: whole numbers, where `type` is None: what they were taken for.
        """
        onto_fixed = check_choice(direction, "direction", DIRECTIONS) == "moving_to_fixed"
        side, size = ("moving", self.moving.shape) if onto_fixed else ("fixed", self.fixed.shape)
        pixels = as_array(image, "image", flags=True)
        given = pixels.shape[1:] if pixels.ndim == len(size) + 1 else pixels.shape
        if given != size:
            raise ShapeError(
                "`{argument}` must have the size of the {side} image, {size}; got {given}.",
                "image", side=side, size=as_size(size), given=as_size(given),
            )  # fmt: skip
        how = choose_interpolation(KINDS[pixels.dtype.kind], type, interpolation)
        if how != "nearest" and pixels.dtype.kind == "b":
            pixels = pixels.astype(np.float64)
        return carry_pixels(pixels, self.map if onto_fixed else self.inverse_map, how, fill)

    def transform_points(
        self,
        points: Any,
        direction: str = "moving_to_fixed",
        return_std: bool = False,
        extrapolate: bool = False,
    ) -> Any:
        """Points of one image carried over to the other.

        A map is known where the fixed image is. A point that lies outside its own image by more than half a pixel, or
        that `direction` "moving_to_fixed" carries so far outside the fixed image, becomes NaN.

        Args:
            points: (point, axis), in pixels from 0; a single point (axis) will do.
            direction: "moving_to_fixed" takes points of the moving image; "fixed_to_moving" those of the fixed one.
            return_std: return the standard deviation of each point too.
            extrapolate: carry points outside by the map's straight continuation too. With the distance d in pixels, their
                standard deviation is sqrt((s (1 + d / r))^2 + (k d)^2), where s is that of the nearest point of the
                image; r is a quarter of the mean side of the fixed image, and k grows with the bending of the map and is 0
                for a linear one.

        Returns:
            the points in the other image, in the shape of `points`. With `return_std` a tuple of them and of the
            standard deviations (point), in pixels of the image that the points were carried to: the registration's
            `uncertainty` at the point of the fixed image, for "moving_to_fixed" divided by the map's scale there, the
            root (of volumes the cube root) of its determinant in pixels; infinite where the map folds.

        Raises:
            ShapeError: points with another number of coordinates than the images have axes.
            InputError: an unknown direction, values that are not finite.
        """
        onto_fixed = check_choice(direction, "direction", DIRECTIONS) == "moving_to_fixed"
        at = check_points(points, self.fixed.ndim)
        carried = warp_points(at, self.inverse_map if onto_fixed else self.map)
        given, in_fixed = np.atleast_2d(at).T, np.atleast_2d(carried if onto_fixed else at).T
        scale = abs(np.linalg.det(self.affine[:, :-1])) ** (1 / self.fixed.ndim)  # pixels of moving to one of fixed
        distance = distance_beyond(in_fixed, self.fixed.shape)
        if onto_fixed:
            distance = np.maximum(distance, distance_beyond(given, self.moving.shape) / scale)
        lost = (distance > 0) & (not check_flag(extrapolate, "extrapolate"))
        carried = np.where(lost.reshape(*at.shape[:-1], 1), np.nan, carried)
        if not check_flag(return_std, "return_std"):
            return carried
        std = self._inverse_uncertainty(in_fixed) if onto_fixed else self._at(self.uncertainty, in_fixed)
        if distance.any():
            std = extrapolated(std, distance, self.fixed.shape, self._bend, 1.0 if onto_fixed else scale)
        return carried, np.where(lost, np.nan, std).reshape(at.shape[:-1])

    def unmoved_map(self) -> np.ndarray:
        """The map that lays the images on each other by their middles, each pixel of its length: (axis, *size)."""
        size = self.fixed.shape
        along = (-1, *[1] * len(size))
        middle, other = (((np.array(image.shape) - 1) / 2).reshape(along) for image in (self.fixed, self.moving))
        scale = (self.spacing / self.moving_spacing).reshape(along)
        return (np.indices(size) - middle) * scale + other

    @cached_property
    def inverse(self) -> Registration:
        """The registration in the other direction, which aligns the fixed image with the moving one.

        `map` and `inverse_map`, `moving` and `fixed` and their spacings are exchanged, and every `affine` is inverted.
        `warped` is the fixed image seen through the new map. `jacobian` is 1 / jacobian and `uncertainty` the standard
        deviation that `transform_points()` tells, both at the position in the fixed image of each pixel of the moving
        one. `folds`, `overlap` and `inverse_consistency` are those of the new map; `probability`, the similarities and
        `seconds` stay as they are.
        """
        at = self.inverse_map
        with np.errstate(divide="ignore"):
            jacobian = 1 / self._at(self.jacobian, at)
        tensors = [own_tensor(each, torch.float64) for each in (self.inverse_map, self.map)]
        metrics = {**self.metrics, "folds": int((jacobian <= 0).sum()), **consistency(*tensors)}
        return Registration(
            map=self.inverse_map,
            inverse_map=self.map,
            affine=_inverted(self.affine),
            warped=carry_pixels(self.fixed, self.inverse_map, self.interpolation, self.fill),
            jacobian=jacobian,
            uncertainty=self._inverse_uncertainty(at),
            probability=self.probability,
            alternatives=tuple({**other, "affine": _inverted(other["affine"])} for other in self.alternatives),
            metrics=metrics,
            moving=self.fixed,
            fixed=self.moving,
            moving_spacing=self.spacing,
            spacing=self.moving_spacing,
            transform=self.transform,
            contrast=self.contrast,
            interpolation=self.interpolation,
            fill=self.fill,
        )

    def summary(self) -> dict[str, Any]:
        """What the registration has to say of itself, as plain data.

        Returns:
            a dict: `moving` and `fixed`, the sizes of the images; `transform` and `contrast`; `affine` and its
            `decomposition`; `probability`; `metrics`; `alternatives`; and `spread`, a list of two dicts, `over_pixels`
            "uncertainty" and "jacobian", with quantiles over the pixels of the fixed image: `least`, `25 %`, `median`,
            `75 %`, `95 %` and `largest`.
        """
        spread = [
            {"over_pixels": name, **{key: float(np.quantile(values, at)) for key, at in QUANTILES.items()}}
            for name, values in (("uncertainty", self.uncertainty), ("jacobian", self.jacobian))
        ]
        return {
            "moving": list(self.moving.shape),
            "fixed": list(self.fixed.shape),
            "transform": self.transform,
            "contrast": self.contrast,
            "affine": self.affine,
            "decomposition": self.decomposition,
            "probability": self.probability,
            "metrics": dict(self.metrics),
            "alternatives": [dict(other) for other in self.alternatives],
            "spread": spread,
        }

    def plot(
        self, type: str = "overlay", slice: int | None = None, axis: int = 0, squares: int | None = None
    ) -> Figure:
        """A picture of the registration, by matplotlib.

        Args:
            type: "overlay": the fixed image in magenta and the moving one, in greys of the same ranks, in green: grey
                where they agree, dark where the moving image does not reach; before, laid on each other by their
                middles, and after. "checkerboard": squares of the one and of the other in turn,
                before and after. "grid": a straight grid on the fixed image, and where the map takes it on the moving
                image. "jacobian": the determinant of the map, blue where the map shrinks and red where it enlarges;
                folds are black. "uncertainty": the standard deviation of the map.
            slice: of a volume, the number of the slice of the fixed image, from 0; None is the middle one.
            axis: of a volume, the axis that is cut across: 0 (depth), 1 (row) or 2 (column).
            squares: along the longer side of a checkerboard (None: 8), or of the grid (None: 16).

        Returns:
            a matplotlib Figure.

        Raises:
            InputError: an unknown type, a slice that is not there.
            SetupError: matplotlib is not installed.
        """
        return plots.plot_registration(self, type, slice, axis, squares)

    def to_dict(self) -> dict[str, Any]:
        """The registration as plain data: a dict of its attributes, from which `from_dict()` makes it again."""
        plain = {each.name: getattr(self, each.name) for each in fields(self)}
        return {**plain, "alternatives": list(self.alternatives)}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Registration:
        """The registration of a dict that `to_dict()` made. Its arrays are copied."""
        given = {each.name: plain[each.name] for each in fields(cls)}
        arrays = {name: np.array(given[name], order="C") for name in MAPS + IMAGES}
        others = tuple({**other, "affine": np.array(other["affine"], order="C")} for other in given["alternatives"])
        return cls(**{**given, **arrays, "alternatives": others, "metrics": dict(given["metrics"])})

    def _at(self, image: np.ndarray, points: np.ndarray) -> np.ndarray:
        """An image on the pixels of the fixed one, at points (axis, ...) of it, by linear interpolation."""
        flat = points.reshape(len(points), -1, *[1] * (len(points) - 1))
        return warp_image(image.astype(np.float64), flat).reshape(points.shape[1:])

    @cached_property
    def _bend(self) -> float:
        return bend_of(self.map)

    def _inverse_uncertainty(self, points: np.ndarray) -> np.ndarray:
        """The standard deviation of the inverse map, in pixels of the fixed image, at points (axis, ...) of it."""
        pixels = math.prod(self.spacing) / math.prod(self.moving_spacing)
        enlarged = np.maximum(self._at(self.jacobian, points) * pixels, 0)
        with np.errstate(divide="ignore"):
            return self._at(self.uncertainty, points) / enlarged ** (1 / len(points))


def consistency(map: torch.Tensor, inverse_map: torch.Tensor) -> dict[str, float]:
    """The metrics of a map (axis, *size) and of the map back: `overlap` and `inverse_consistency`."""
    seen = inside(map[None], inverse_map.shape[1:])[0]
    pixels = pixel_grid(map.shape[1:], map.dtype, map.device)
    round_trip = vector_norm(sample_map(inverse_map[None], map[None])[0] - pixels, 0)
    return {
        "overlap": float(seen.double().mean()),
        "inverse_consistency": float(round_trip[seen].mean()) if bool(seen.any()) else math.nan,
    }


def check_points(points: Any, axes: int) -> np.ndarray:
    """Points (point, axis), or a single one (axis), of an image with so many axes, in float64."""
    names = AXES[axes]
    at = as_array(points, "points")
    if at.ndim not in (1, 2) or at.shape[-1] != axes:
        raise ShapeError(
            "`{argument}` must have {count} coordinates for each point: {axes}.",
            "points", count=axes, axes=", ".join(names),
        )  # fmt: skip
    return at.astype(np.float64)


def as_size(shape: tuple[int, ...]) -> str:
    """A shape as one says it: 80 x 60."""
    return " x ".join(map(str, shape))


def _inverted(affine: np.ndarray) -> np.ndarray:
    inner = np.linalg.inv(affine[:, :-1])
    return np.concatenate([inner, -inner @ affine[:, -1:]], 1)


# ---- for R ----------------------------------------------------------------------------------------------


def carry(registration: Registration, method: str, newdata: Any, **options: Any) -> Any:
    """`registration.warp()` or `registration.transform_points()` of what the caller calls `newdata`."""
    try:
        return getattr(registration, method)(newdata, **options)
    except GequiError as error:
        if error.argument in ("image", "points"):
            raise error.about("newdata") from error
        raise


def describe_registration(registration: Registration) -> dict[str, Any]:
    """What R keeps of a registration: `plain`, its data, and of its summary `spread`, quantiles, and `decomposition`."""
    summary = registration.summary()
    return {"plain": registration.to_dict(), **{name: summary[name] for name in ("spread", "decomposition")}}


def make_registration(plain: Mapping[str, Any]) -> Registration:
    """The registration that R keeps as plain data."""
    return Registration.from_dict(plain)

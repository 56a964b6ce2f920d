"""The result of a registration: the map between two images, its uncertainty, and methods that apply it."""

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
from ..geometry.tensor_maps import sample_map
from ..maps import warp_image, warp_points
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
    """The map that aligns a moving image with a fixed image: moving(map(x)) = fixed(x).

    Returned by `register_images()`. All arrays are read-only. Positions are in pixels (voxels) from 0. Axes are (row,
    column) in images and (depth, row, column) in volumes. `size` stands for the sizes of an image along its axes.

    Attributes:
        map: float64 array (axis, *size of fixed): the position in the moving image for each pixel of the fixed image.
        inverse_map: array (axis, *size of moving): the position in the fixed image for each pixel of the moving image.
        affine: array (axis, axis + 1): the linear part of the map: moving = affine[:, :-1] fixed + affine[:, -1].
        warped: array (*size of fixed): the moving image, resampled through the map with `interpolation`, within the
            range of the moving image, and with `fill` (NaN) outside.
        jacobian: array (*size of fixed): the determinant of the Jacobian of the map, in units of length. If the map
            contains a reflection, its negative.
        uncertainty: array (*size of fixed): the standard deviation of the map in pixels of the moving image, the root
            mean square length of its error.
        probability: float: the probability that the map is correct, given the evidence: the search in the opposite
            direction finds the inverse map, the images are similar under the map, and their fine details agree under
            the map but not beside it.
        alternatives: tuple: other linear maps that fit almost as well, each a dict of `affine` and `score`.
        metrics: dict of `similarity_before`, `similarity_after`, `folds` (pixels), `overlap` (the fraction of the fixed
            image that is seen in both), `inverse_consistency` (the mean length of inverse_map(map(x)) - x in pixels),
            `score` (the correlation of the two images after local normalization, at the coarsest level), `round_trip`
            (the distance between the results of the searches in the two directions, as a fraction of the longer side),
            `masked_moving` and `masked_fixed` (the fractions of the images detected as a constant border) and
            `seconds`.
        moving, fixed: array: the two images, as given.
        moving_spacing, spacing: array (axis): the pixel size of the moving and of the fixed image.
        transform, contrast, interpolation, fill: the options, as given.

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
        """The decomposition of the linear part into rotation, scale, shear, shift and reflection, in units of length.

        The moving image shows the fixed image enlarged by `scale` (along its axes by `scales`, with `shear`), then
        reflected left to right if `mirror` is true, then rotated by `rotation` degrees (polar decomposition). Rotations
        are counter-clockwise as displayed, or for volumes as seen along `axis`, (depth, row, column). `shift` is the
        offset of the mapped center of the fixed image from the center of the moving image, in pixels of the latter.
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
        """Transform an image or a label image to the pixels of the other image.

        Args:
            image: array of the size of the moving image (for "fixed_to_moving": of the fixed image), or (channel,
                *size).
            interpolation: str: "cubic" (spline, clipped to the range of each channel), "linear" or "nearest". None is
                "cubic" for images and "nearest" for labels.
            fill: float: the value of pixels more than half a pixel outside `image`. None uses the nearest pixel. For
                labels of integer type, which cannot store NaN, NaN means 0.
            direction: str: "moving_to_fixed" or "fixed_to_moving".
            type: str: "image" or "labels". Labels use nearest-neighbor interpolation and keep their type. None detects
                the
                type: logical values and integers are labels, unless `interpolation` is "linear" or "cubic"; everything
                else is an image.

        Returns:
            an array of the size of the other image, with the channels of `image`.

        Raises:
            ShapeError: an image of another size.
            InputError: an unknown interpolation, direction or type; values that are not finite; another interpolation
                than "nearest" for labels; a `fill` that the type of the labels cannot store.
        Warns:
            GequiMessage: `type` is None and `image` contains integers; the message states the choice.
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
        """Transform points from one image to the other.

        The map is known on the fixed image. Points more than half a pixel outside their own image, or that
        "moving_to_fixed" maps that far outside the fixed image, become NaN.

        Args:
            points: array (point, axis), or (axis) for a single point, in pixels from 0.
            direction: str: "moving_to_fixed" transforms points of the moving image, "fixed_to_moving" points of the
                fixed image.
            return_std: bool: whether to also return standard deviations.
            extrapolate: bool: whether to transform points outside the images by linear extrapolation of the map. At the
                distance d (in pixels) from the image, the standard deviation is sqrt((s (1 + d / r))^2 + (k d)^2),
                where s is the value at the nearest point of the image, r is a quarter of the mean side length of the
                fixed image, and k increases with the curvature of the map (0 for a linear map).

        Returns:
            the points in the other image, in the shape of `points`. With `return_std`, a tuple of these and their
            standard deviations (point), in pixels of the target image. The standard deviation is the `uncertainty` at
            the point of the fixed image. For "moving_to_fixed" it is divided by the local scale of the map, the square
            root (for volumes the cube root) of its determinant in pixels, and is infinite where the map folds.

        Raises:
            ShapeError: points whose number of coordinates differs from the number of axes of the images.
            InputError: an unknown direction, or values that are not finite.
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
        """Return the map (axis, *size) that aligns the centers of the images and preserves lengths."""
        size = self.fixed.shape
        along = (-1, *[1] * len(size))
        middle, other = (((np.array(image.shape) - 1) / 2).reshape(along) for image in (self.fixed, self.moving))
        scale = (self.spacing / self.moving_spacing).reshape(along)
        return (np.indices(size) - middle) * scale + other

    @cached_property
    def inverse(self) -> Registration:
        """The registration in the opposite direction, which aligns the fixed image with the moving image.

        `map` and `inverse_map`, `moving` and `fixed`, and the spacings are exchanged, and each `affine` is inverted.
        `warped` is the fixed image, resampled through the new map. `jacobian` is 1 / jacobian, and `uncertainty` is the
        standard deviation from `transform_points()`, both at the position in the fixed image for each pixel of the
        moving image. `folds`, `overlap` and `inverse_consistency` are computed for the new map. `probability`, the
        similarities and `seconds` are unchanged.
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
        """Summarize the registration as plain data.

        Returns:
            a dict: `moving` and `fixed`, the sizes of the images; `transform` and `contrast`; `affine` and its
            `decomposition`; `probability`; `metrics`; `alternatives`; and `spread`, a list of two dicts, with
            `over_pixels` "uncertainty" and "jacobian", of quantiles over the pixels of the fixed image: `least`, `25
            %`, `median`, `75 %`, `95 %` and `largest`.
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
        """Plot the registration with matplotlib.

        Args:
            type: str: "overlay": the fixed image in magenta and the moving image in green (with matched gray levels),
                before and after registration. The overlay is gray where the images agree and dark where the moving
                image does not cover the fixed image. Before registration, the images are aligned by their centers.
                "checkerboard": alternating squares of the two images, before and after registration.
                "grid": a regular grid on the fixed image, and its position on the moving image under the map.
                "jacobian": the determinant of the Jacobian of the map. Contraction is blue, expansion is red, and folds
                are black.
                "uncertainty": the standard deviation of the map.
            slice: int: for a volume, the slice of the fixed image to show, from 0. None is the middle slice.
            axis: int: for a volume, the axis perpendicular to the slice: 0 (depth), 1 (row) or 2 (column).
            squares: int: the number of squares along the longer side, of a checkerboard (None: 8) or of the grid (None:
                16).

        Returns:
            a matplotlib Figure.

        Raises:
            InputError: an unknown type, or a slice that does not exist.
            SetupError: matplotlib is not installed.
        """
        return plots.plot_registration(self, type, slice, axis, squares)

    def to_dict(self) -> dict[str, Any]:
        """Return the registration as plain data: a dict of its attributes that `from_dict()` accepts."""
        plain = {each.name: getattr(self, each.name) for each in fields(self)}
        return {**plain, "alternatives": list(self.alternatives)}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Registration:
        """Create a registration from the dict of `to_dict()`. The arrays are copied."""
        given = {each.name: plain[each.name] for each in fields(cls)}
        arrays = {name: np.array(given[name], order="C") for name in MAPS + IMAGES}
        others = tuple({**other, "affine": np.array(other["affine"], order="C")} for other in given["alternatives"])
        return cls(**{**given, **arrays, "alternatives": others, "metrics": dict(given["metrics"])})

    def _at(self, image: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Interpolate an image on the pixels of the fixed image linearly at points (axis, ...)."""
        flat = points.reshape(len(points), -1, *[1] * (len(points) - 1))
        return warp_image(image.astype(np.float64), flat).reshape(points.shape[1:])

    @cached_property
    def _bend(self) -> float:
        return bend_of(self.map)

    def _inverse_uncertainty(self, points: np.ndarray) -> np.ndarray:
        """Return the standard deviation of the inverse map at points (axis, ...) of the fixed image, in its pixels."""
        pixels = math.prod(self.spacing) / math.prod(self.moving_spacing)
        enlarged = np.maximum(self._at(self.jacobian, points) * pixels, 0)
        with np.errstate(divide="ignore"):
            return self._at(self.uncertainty, points) / enlarged ** (1 / len(points))


def consistency(map: torch.Tensor, inverse_map: torch.Tensor) -> dict[str, float]:
    """Compute the metrics `overlap` and `inverse_consistency` of a map (axis, *size) and its inverse map."""
    seen = inside(map[None], inverse_map.shape[1:])[0]
    pixels = pixel_grid(map.shape[1:], map.dtype, map.device)
    round_trip = vector_norm(sample_map(inverse_map[None], map[None])[0] - pixels, 0)
    return {
        "overlap": float(seen.double().mean()),
        "inverse_consistency": float(round_trip[seen].mean()) if bool(seen.any()) else math.nan,
    }


def check_points(points: Any, axes: int) -> np.ndarray:
    """Check points (point, axis), or a single point (axis), of an image, and return them in float64."""
    names = AXES[axes]
    at = as_array(points, "points")
    if at.ndim not in (1, 2) or at.shape[-1] != axes:
        raise ShapeError(
            "`{argument}` must have {count} coordinates for each point: {axes}.",
            "points", count=axes, axes=", ".join(names),
        )  # fmt: skip
    return at.astype(np.float64)


def as_size(shape: tuple[int, ...]) -> str:
    """Format a shape for a message, such as 80 x 60."""
    return " x ".join(map(str, shape))


def _inverted(affine: np.ndarray) -> np.ndarray:
    inner = np.linalg.inv(affine[:, :-1])
    return np.concatenate([inner, -inner @ affine[:, -1:]], 1)


# ---- for R ----------------------------------------------------------------------------------------------


def carry(registration: Registration, method: str, newdata: Any, **options: Any) -> Any:
    """Call `registration.warp()` or `registration.transform_points()` with `newdata`, the name in R."""
    try:
        return getattr(registration, method)(newdata, **options)
    except GequiError as error:
        if error.argument in ("image", "points"):
            raise error.about("newdata") from error
        raise


def describe_registration(registration: Registration) -> dict[str, Any]:
    """Return the data that R stores: `plain`, the registration, and `spread` and `decomposition` of its summary."""
    summary = registration.summary()
    return {"plain": registration.to_dict(), **{name: summary[name] for name in ("spread", "decomposition")}}


def make_registration(plain: Mapping[str, Any]) -> Registration:
    """Create a registration from the plain data that R stores."""
    return Registration.from_dict(plain)

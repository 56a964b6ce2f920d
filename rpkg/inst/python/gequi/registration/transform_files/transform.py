"""A transform from a file, applied to the pixels of two images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch

from ...arrays import as_array, as_numpy, check_choice, freeze_arrays, own_tensor
from ...errors import InputError, ShapeError
from ...geometry.grids import pixel_grid
from ...geometry.tensor_maps import inverse_points
from ...maps import check_shape, warp_points
from ..result import DIRECTIONS, as_size, check_points
from ..warping import KINDS, carry_pixels, choose_interpolation
from .space import Space, apply, inverse

FOUND = 1e-3  # pixels: how near Newton's method must come to a point


@dataclass(frozen=True, eq=False, repr=False)
class Transform:
    """A transform between the pixels of two images: moving(map(x)) = fixed(x).

    Returned by `read_transform()`. All arrays are read-only. Positions are in pixels (voxels) from 0. Axes are (row,
    column) in images and (depth, row, column) in volumes. `affine` can be used as the `initial` estimate of
    `register_images()`.

    Attributes:
        map: array (axis, *size of fixed): the position in the moving image for each pixel of the fixed image. None if
            the file contains a linear map, which has no grid.
        affine: array (axis, axis + 1): the linear map: moving = affine[:, :-1] fixed + affine[:, -1]. For a field, the
            least-squares fit over its pixels.
        spacing, moving_spacing: array (axis): the pixel sizes of the two images.
        origin, moving_origin: array (axis): the positions (x, y, z) of their first pixels.
        cosines, moving_cosines: array (axis, axis): their direction cosines, as in ITK.
        file: str: the name of the file.

    Example:
        >>> import tempfile, gequi
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with open(folder + "/shift.csv", "w") as file:
        ...         _ = file.write("axis,x,y,shift\\nx,1,0,2\\ny,0,1,0\\n")
        ...     shift = gequi.read_transform(folder + "/shift.csv")
        >>> shift.transform_points([[5.0, 7.0]], "fixed_to_moving").tolist()  # x runs along the columns
        [[5.0, 9.0]]
        >>> shift.warp([[1.0, 2.0, 3.0]], "linear", fill=0).tolist()
        [[3.0, 0.0, 0.0]]
    """

    map: np.ndarray | None
    affine: np.ndarray
    spacing: np.ndarray
    moving_spacing: np.ndarray
    origin: np.ndarray
    moving_origin: np.ndarray
    cosines: np.ndarray
    moving_cosines: np.ndarray
    file: str

    def __post_init__(self) -> None:
        freeze_arrays(self)

    def __repr__(self) -> str:
        if self.map is None:
            return f"<Transform: linear, of {'images' if len(self.affine) == 2 else 'volumes'}, from {self.file!r}>"
        return f"<Transform: displacement field on {as_size(self.map.shape[1:])}, from {self.file!r}>"

    @property
    def spaces(self) -> tuple[Space, Space]:
        """The space of the fixed image and that of the moving image."""
        return (
            Space(self.spacing, self.origin, self.cosines),
            Space(self.moving_spacing, self.moving_origin, self.moving_cosines),
        )

    def transform_points(self, points: Any, direction: str = "moving_to_fixed") -> np.ndarray:
        """Transform points from one image to the other.

        Args:
            points: array (point, axis), or (axis) for a single point, in pixels from 0.
            direction: str: "moving_to_fixed" transforms points of the moving image, "fixed_to_moving" points of the
                fixed image.

        Returns:
            the points in the other image, in the shape of `points`. A field is extrapolated linearly beyond its border.

        Raises:
            ShapeError: points whose number of coordinates differs from the number of axes of the images.
            InputError: an unknown direction, values that are not finite, or a point to which a field maps no pixel.
        """
        onto_fixed = check_choice(direction, "direction", DIRECTIONS) == "moving_to_fixed"
        at = check_points(points, len(self.affine))
        if self.map is None:
            return apply(inverse(self.affine) if onto_fixed else self.affine, at.T).T
        if not onto_fixed:
            return warp_points(at, self.map)
        return self._backwards(own_tensor(np.atleast_2d(at).T, torch.float64), "points").T.reshape(at.shape)

    def warp(
        self,
        image: Any,
        interpolation: str | None = None,
        fill: float | None = math.nan,
        direction: str = "moving_to_fixed",
        type: str | None = None,
        shape: Any = None,
    ) -> np.ndarray:
        """Transform an image or a label image to the pixels of the other image.

        Args:
            image: array: the moving image (for "fixed_to_moving": the fixed image), with the axes of the transform, or
                (channel, *size).
            interpolation, fill, direction, type: as in `Registration.warp()`.
            shape: tuple of int: the sizes of the other image. None is the size of the field, or, for a linear map and
                for "fixed_to_moving", that of `image`.

        Returns:
            an array of the size of the other image, with the channels of `image`.

        Raises:
            ShapeError: an image or a shape that does not match the transform.
            InputError: the errors of `Registration.warp()`, or a field without an inverse.
        Warns:
            GequiMessage: `type` is None and `image` contains integers; the message states the choice.
        """
        onto_fixed = check_choice(direction, "direction", DIRECTIONS) == "moving_to_fixed"
        axes = len(self.affine)
        pixels = as_array(image, "image", ndim=(axes, axes + 1), axes=f"for a transform of {axes} axes, or with channels",
                          flags=True)  # fmt: skip
        own = None if self.map is None else self.map.shape[1:]
        given = pixels.shape[-axes:]
        if own is not None and not onto_fixed and given != own:
            raise ShapeError(
                "`{argument}` must have the size of the field, {size}; got {given}.",
                "image", size=as_size(own), given=as_size(given),
            )  # fmt: skip
        sizes = own if own is not None and onto_fixed else given
        if shape is not None:
            sizes = check_shape(shape, "shape")
            if len(sizes) != axes or (own is not None and onto_fixed and sizes != own):
                wanted = f"{axes} sizes" if own is None or not onto_fixed else as_size(own)
                template = "`{argument}` must be {wanted}, as the transform has; got {given}."
                raise ShapeError(template, "shape", wanted=wanted, given=as_size(sizes))
        how = choose_interpolation(KINDS[pixels.dtype.kind], type, interpolation)
        if how != "nearest" and pixels.dtype.kind == "b":
            pixels = pixels.astype(np.float64)
        return carry_pixels(pixels, self._map(sizes, onto_fixed), how, fill)

    def _map(self, shape: tuple[int, ...], onto_fixed: bool) -> np.ndarray:
        """Return the position in one image for each pixel of the other."""
        if self.map is None:
            return apply(self.affine if onto_fixed else inverse(self.affine), np.indices(shape).astype(np.float64))
        if onto_fixed:
            return self.map
        return self._backwards(pixel_grid(shape, torch.float64).reshape(len(shape), -1), "image").reshape(-1, *shape)

    def _backwards(self, points: torch.Tensor, argument: str) -> np.ndarray:
        """Map points (axis, point) of the moving image to the fixed image through a field."""
        assert self.map is not None
        found, distance = inverse_points(own_tensor(self.map, torch.float64), points)
        lost = int((~(distance < FOUND)).sum())
        if lost:
            raise InputError(
                "`{argument}`: the field has no inverse at {lost} of {points} points.",
                argument, lost=lost, points=points.shape[1],
            )  # fmt: skip
        return as_numpy(found)

    def to_dict(self) -> dict[str, Any]:
        """Return the transform as plain data: a dict of its attributes that `from_dict()` accepts."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Transform:
        """Create a transform from the dict of `to_dict()`. The arrays are copied."""
        given = {each.name: plain[each.name] for each in fields(cls)}
        arrays = {name: np.array(value, float, order="C") for name, value in given.items() if np.ndim(value)}
        return cls(**{**given, **arrays})


# ---- for R ----------------------------------------------------------------------------------------------


def describe_transform(transform: Transform) -> dict[str, Any]:
    """Return the data of a transform that R stores."""
    return transform.to_dict()


def make_transform(plain: Mapping[str, Any]) -> Transform:
    """Create a transform from the plain data that R stores."""
    return Transform.from_dict(plain)

"""A transform that was read from a file: what it carries over, between the pixels of two images."""

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
from ...maps import check_shape, inverse_points, warp_points
from ..result import DIRECTIONS, as_size, check_points
from ..warping import KINDS, carry_pixels, choose_interpolation
from .space import Space, apply, inverse

FOUND = 1e-3  # pixels: how near Newton's method must come to a point


@dataclass(frozen=True, eq=False, repr=False)
class Transform:
    """A transform between the pixels of two images: moving(map(x)) = fixed(x).

    `read_transform()` returns it. Its arrays are read-only. Positions are in pixels (voxels) from 0; axes are (row,
    column) in images and (depth, row, column) in volumes. Its `affine`, as that of a registration, can start another.

    Attributes:
        map: (axis, *size of fixed), the position in the moving image of each pixel of the fixed one; None where the file
            holds a linear map, which has no grid.
        affine: (axis, axis + 1), the linear map: moving = affine[:, :-1] fixed + affine[:, -1]. Of a field it is the
            one that is nearest to it in the mean square over its pixels.
        spacing, moving_spacing: (axis), the size of the pixels of the two images.
        origin, moving_origin: (axis), the physical points (x, y, z) of their first pixels.
        cosines, moving_cosines: (axis, axis), their direction cosines, as ITK has them.
        file: the name of the file.

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
        """The space of the fixed image and that of the moving one."""
        return (
            Space(self.spacing, self.origin, self.cosines),
            Space(self.moving_spacing, self.moving_origin, self.moving_cosines),
        )

    def transform_points(self, points: Any, direction: str = "moving_to_fixed") -> np.ndarray:
        """Points of one image carried over to the other.

        Args:
            points: (point, axis), in pixels from 0; a single point (axis) will do.
            direction: "moving_to_fixed" takes points of the moving image; "fixed_to_moving" those of the fixed one.

        Returns:
            the points in the other image, in the shape of `points`. Beyond its border a field goes on straight.

        Raises:
            ShapeError: points with another number of coordinates than the images have axes.
            InputError: an unknown direction, values that are not finite, a point that a field takes no pixel to.
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
        """An image, or labels, carried over to the pixels of the other image.

        Args:
            image: of the moving image ("fixed_to_moving": of the fixed one), with as many axes as the transform, or
                several channels of it with their axis in front.
            interpolation, fill, direction, type: as of `Registration.warp()`.
            shape: the sizes of the other image. None is the size of the field, or, for a linear map and for
                "fixed_to_moving", that of `image`.

        Returns:
            an image of the size of the other image, with the channels of `image`.

        Raises:
            ShapeError: an image or a shape that does not fit the transform.
            InputError: as of `Registration.warp()`; a field without an inverse.
        Warns:
            GequiMessage: whole numbers, where `type` is None: what they were taken for.
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
        """The position in the one image of each pixel of the other."""
        if self.map is None:
            return apply(self.affine if onto_fixed else inverse(self.affine), np.indices(shape).astype(np.float64))
        if onto_fixed:
            return self.map
        return self._backwards(pixel_grid(shape, torch.float64).reshape(len(shape), -1), "image").reshape(-1, *shape)

    def _backwards(self, points: torch.Tensor, argument: str) -> np.ndarray:
        """Points (axis, point) of the moving image in the fixed one, through a field."""
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
        """The transform as plain data: a dict of its attributes, from which `from_dict()` makes it again."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Transform:
        """The transform of a dict that `to_dict()` made. Its arrays are copied."""
        given = {each.name: plain[each.name] for each in fields(cls)}
        arrays = {name: np.array(value, float, order="C") for name, value in given.items() if np.ndim(value)}
        return cls(**{**given, **arrays})


# ---- for R ----------------------------------------------------------------------------------------------


def describe_transform(transform: Transform) -> dict[str, Any]:
    """What R keeps of a transform."""
    return transform.to_dict()


def make_transform(plain: Mapping[str, Any]) -> Transform:
    """The transform that R keeps as plain data."""
    return Transform.from_dict(plain)

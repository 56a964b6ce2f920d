"""The mean of maps from a template to images: of their linear parts, and of the deformations that remain.

Here a place is a position from the center of its image, in units of length. A map leads from places in the template to
places in an image. It is the deformation id + u of the template followed by a linear map L, which fits it best. Its
composition with the inverse of the mean of all id + u, and with the frame in which the mean of all L is the identity,
leads from the unbiased template to the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..arrays import as_numpy, own_tensor
from ..errors import InputError
from ..geometry.grids import pixel_grid
from ..geometry.linalg import determinant
from ..geometry.tensor_maps import inverse_points, jacobian_matrix, sample_map
from ._frames import Linear, mean_frame

ROUNDS = 10  # of the mean, at most; a round reduces the distance of the mean from the identity tenfold or more
EXACT = 1e-6  # pixels, the root mean square distance of a mean from the identity that is not reduced further
SHARES = (1.0, 0.5, 0.25)  # of a mean deformation that are undone at once, the largest that has an inverse


@dataclass(frozen=True)
class Shapes:
    """Maps from a template to images, whose mean is the identity.

    Attributes:
        maps: arrays (axis, *size), one per image: the position in the image for each pixel of the template.
        linears: the linear parts of the maps, between places.
        bends: array (image, axis, *size): the deformations u, in units of length.
        mean_turn: whether the rotations of the images determine the rotation of the template.
    """

    maps: list[np.ndarray]
    linears: list[Linear]
    bends: np.ndarray
    mean_turn: bool


def centered(
    maps: Sequence[np.ndarray], sizes: Sequence[Sequence[int]], size: Sequence[int], spacing: np.ndarray, start: int
) -> Shapes:
    """Compose maps with the map of the template onto itself that makes their mean the identity.

    Args:
        maps: arrays (axis, *present size): the position in each image for each pixel of the present template.
        sizes: the sizes of the images.
        size: the size of the new template.
        spacing: the pixel size along each axis.
        start: the number of the map that determines the rotation if the rotations of all maps have no mean.
    """
    unit = _along(spacing)
    given = [(own_tensor(map, torch.float64) - _middle(own)) * unit for map, own in zip(maps, sizes, strict=True)]
    places = (pixel_grid(size, torch.float64) - _middle(size)) * unit
    onto = places  # the place in the present template for each pixel of the new one
    for number in range(ROUNDS):
        moved = [_sampled(map, onto, unit) for map in given]
        linears = [_fitted(places, map) for map in moved]
        bends = torch.stack([_backward(linear, map) - places for linear, map in zip(linears, moved, strict=True)])
        frame = mean_frame(linears, start)
        step = _forward(Linear(frame.matrix, frame.shift), places)
        if float(bends.abs().max()) > EXACT * float(unit.min()):  # else the maps are linear, of any size
            step = _sampled(_inverse(places, bends.mean(0), unit), step, unit)
        far = ((step - places) / unit).square().sum(0).mean().sqrt()
        if far < EXACT or number == ROUNDS - 1:
            break
        onto = _sampled(onto, step, unit)
    positions = [as_numpy(map / unit + _middle(own)) for map, own in zip(moved, sizes, strict=True)]
    return Shapes(positions, linears, as_numpy(bends), frame.mean_turn)


def _sampled(map: torch.Tensor, places: torch.Tensor, unit: torch.Tensor) -> torch.Tensor:
    """Return the values of a map on the pixels of an image at places in it."""
    return sample_map(map[None], (places / unit + _middle(map.shape[1:]))[None])[0]


def _fitted(places: torch.Tensor, map: torch.Tensor) -> Linear:
    """Return the linear map that fits a map of all places of a template best."""
    at, to = as_numpy(places.flatten(1)), as_numpy(map.flatten(1))
    shift = to.mean(1)
    return Linear(to @ at.T @ np.linalg.inv(at @ at.T), shift)


def _forward(linear: Linear, places: torch.Tensor) -> torch.Tensor:
    matrix, shift = (torch.from_numpy(part) for part in linear)
    return torch.einsum("ij,j...->i...", matrix, places) + _along(shift)


def _backward(linear: Linear, places: torch.Tensor) -> torch.Tensor:
    inverse = np.linalg.inv(linear.matrix)
    return _forward(Linear(inverse, -inverse @ linear.shift), places)


def _inverse(places: torch.Tensor, bend: torch.Tensor, unit: torch.Tensor) -> torch.Tensor:
    """Return the inverse of places + bend, or of a smaller share of the bend if the whole one folds."""
    size = places.shape[1:]
    for share in SHARES:
        map = (places + share * bend) / unit + _middle(size)
        if bool((determinant(jacobian_matrix(map)) > 0).all()):
            found, error = inverse_points(map, pixel_grid(size, torch.float64).flatten(1))
            if bool((error < 1e-3).all()):
                return (found.reshape(map.shape) - _middle(size)) * unit
    raise InputError("`{argument}` deform so much that their mean deformation folds.", "images")


def _middle(size: Sequence[int]) -> torch.Tensor:
    return _along([(n - 1) / 2 for n in size])


def _along(values: Sequence[float] | np.ndarray | torch.Tensor) -> torch.Tensor:
    """Return one value per axis as (axis, 1, ...)."""
    tensor = torch.as_tensor(values, dtype=torch.float64)
    return tensor.reshape(-1, *[1] * len(tensor))

"""Linear maps, their generators, and the flow of a velocity.

A linear map is (axis, axis + 1): moving = A[:, :-1] fixed + A[:, -1], in pixels. The functions accept batches of maps.

Source: Arsigny et al. 2006 (exponential by squaring), Schonemann 1966 and Umeyama 1991 (the rotation nearest to a
matrix).
"""

from __future__ import annotations

import itertools

import torch

from ..geometry.grids import Kind, Size, cell_centers, kind_of, size_of
from ..geometry.rotations import nearest_rotation
from ..geometry.sampling import grid_sample

SQUARINGS = 6  # in `flow()`; not tuned


def apply_linear(linear: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Apply maps (map, axis, axis + 1) to points (map, axis, ...)."""
    moved = torch.einsum("bij,bj...->bi...", linear[:, :, :-1], points)
    return moved + linear[:, :, -1].reshape(*linear.shape[:2], *[1] * (points.ndim - 2))


def flow(velocity: torch.Tensor, image: Size) -> torch.Tensor:
    """Compute exp(v) - id on the grid of the velocity v (map, axis, *size), by squaring v / 64 six times.

    `image` is the size in pixels of the image that the grid covers.
    """
    positions = cell_centers(size_of(velocity), image, velocity.dtype, velocity.device)
    shift = velocity / 2**SQUARINGS
    for _ in range(SQUARINGS):
        shift = shift + grid_sample(shift, positions + shift, size=image)
    return shift


def image_center(size: Size, kind: Kind) -> torch.Tensor:
    """Return the center of an image, in pixels: (axis)."""
    return torch.tensor([(n - 1) / 2 for n in size], **kind)


def generators(transform: str, axes: int, kind: Kind) -> torch.Tensor:
    """Return a basis of the derivatives of a kind of map at the identity: (generator, axis, axis + 1).

    The basis consists of the shifts; except for translations, also of the rotations; for similarities, of one scale;
    and for affine maps, of all scales and shears.
    """
    basis = []
    for i, j in itertools.combinations(range(axes), 2) if transform != "translation" else ():
        rotation = torch.zeros(axes, axes + 1, **kind)
        rotation[i, j], rotation[j, i] = -1, 1
        basis.append(rotation)
        if transform == "affine":
            basis.append(rotation.abs())
    for i in range(axes):
        shift, stretch = torch.zeros(2, axes, axes + 1, **kind)
        shift[i, -1], stretch[i, i] = 1, 1
        basis += [shift, stretch] if transform == "affine" else [shift]
    if transform == "similarity":
        basis.append(torch.eye(axes, axes + 1, **kind))
    return torch.stack(basis)


def nearest_linear(maps: torch.Tensor, transform: str, center: torch.Tensor) -> torch.Tensor:
    """Return the nearest map of a kind, from "affine" to "translation", that agrees with each map at `center`."""
    if transform == "affine":
        return maps
    if transform == "translation":
        return translations(recentered(maps, center)[:, :, -1] - center)
    return recentered(similar_part(recentered(maps, center), transform == "rigid"), -center)


def translations(shifts: torch.Tensor) -> torch.Tensor:
    """Return the maps x + shift for shifts (map, axis)."""
    axes = shifts.shape[1]
    return torch.cat([torch.eye(axes, **kind_of(shifts)).expand(len(shifts), -1, -1), shifts[:, :, None]], 2)


def similar_part(maps: torch.Tensor, rigid: bool = False) -> torch.Tensor:
    """Return the maps with the nearest similarities (rotations) of their linear parts."""
    inner = maps[:, :, :-1]
    rotation = nearest_rotation(inner)
    scale = 1.0 if rigid else (rotation * inner).sum((1, 2), keepdim=True) / maps.shape[1]
    return torch.cat([rotation * scale, maps[:, :, -1:]], 2)


def recentered(maps: torch.Tensor, center: torch.Tensor) -> torch.Tensor:
    """Return the maps as functions of x - center."""
    return torch.cat([maps[:, :, :-1], (maps[:, :, -1] + maps[:, :, :-1] @ center)[:, :, None]], 2)

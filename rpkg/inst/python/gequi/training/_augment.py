"""Data augmentation: examples and their targets are transformed by random elements of a group.

An input is transformed according to its fields, (g f)(p) = rho(g) f(g^-1 p), with linear interpolation and 0 outside
the image. The kinds are "group" (elements of the group of a network), "rotation" (any angle) and "jitter" (turns
between the elements of the group and shifts of less than a pixel, which together resample every image). The target is
transformed accordingly: classes of pixels move with the pixels, and fields are transformed as the output fields of the
network. Classes and numbers without spatial axes do not change.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from .. import groups
from .._escnn import FieldType
from ..errors import FieldError, InputError
from ..fields import show_fields
from ..geometry.grids import turned_grid
from ..geometry.rotations import on_array_axes, rotation_matrix
from ..geometry.sampling import grid_sample
from ..networks import EquivariantNetwork
from ._targets import IGNORED
from ._tasks import Task

SHIFT = 0.5  # pixels, the largest shift of "jitter" along each axis
# Radians, the largest turn of "jitter" for models without a group of rotations by a finite angle. It was the better one
# of the two (2 and 8 degrees) that were tried on digits.
SMALL_TURN = math.radians(8)


class Augmentation:
    """Random transformations and their action on inputs and targets."""

    def __init__(self, kind: str, network: torch.nn.Module, task: Task, axes: int) -> None:
        """Check the augmentation. `axes` is the number of spatial axes of the input."""
        self.kind, self.task = kind, task
        own = network if isinstance(network, EquivariantNetwork) else None
        self.fields = own.in_type if own else None
        self.target_fields = own.out_type if own and task.name in ("regression", "binary") else None
        if kind == "group":
            self._take_elements(own)
        elif axes != 2:
            raise InputError(
                "`{argument}` = {kind!r} rotates images in the plane; for other inputs use {group!r}.",
                "augment", kind=kind, group="group",
            )  # fmt: skip
        else:
            for fields in (self.fields, self.target_fields):
                if fields is not None:
                    rotatable_parts(fields, kind)  # raises an error for fields without an action of all angles
            self.largest_turn = largest_turn(own)

    def _take_elements(self, network: EquivariantNetwork | None) -> None:
        if network is None:
            raise InputError(
                "`{argument}` = {group!r} requires a network, which declares its group; for a module use {rotation!r}.",
                "augment", rotation="rotation", group="group",
            )  # fmt: skip
        rows = []
        for element in groups.elements(network.space):
            on_output = network.to_output(element)
            if on_output is not None:
                channels = (
                    groups.fields_matrix(network.in_type, element),
                    groups.fields_matrix(network.out_type, on_output),
                )
                rows.append((groups.base_matrix(network.space, element), *channels))
        self.table = [torch.tensor(np.stack([row[i] for row in rows])) for i in range(3)]

    def draw(self, count: int, generator: torch.Generator) -> Any:
        """Draw the transformations of a batch: numbers of elements, angles (radians), or rows of an angle and shifts."""
        if self.kind == "group":
            return torch.randint(len(self.table[0]), (count,), generator=generator)
        if self.kind == "jitter":
            largest = torch.tensor([self.largest_turn, SHIFT, SHIFT], dtype=torch.float64)
            return largest * (2 * torch.rand(count, 3, generator=generator, dtype=torch.float64) - 1)
        return 2 * torch.pi * torch.rand(count, generator=generator, dtype=torch.float64)

    def __call__(self, x: torch.Tensor, y: torch.Tensor, motions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Transform inputs and targets, each example by its own transformation."""
        motions = motions.cpu()  # the matrices are small: they are computed on the CPU in float64
        shifts: torch.Tensor | None = None
        on_input: torch.Tensor | None
        on_target: torch.Tensor | None
        if self.kind == "group":
            matrices, on_input, on_target = (part[motions] for part in self.table)
        else:
            if self.kind == "jitter":
                motions, shifts = motions[:, 0], motions[:, 1:]
            matrices = rotation_matrix(motions)
            on_input = None if self.fields is None else represent_rotations(self.fields, motions)
            on_target = None if self.target_fields is None else represent_rotations(self.target_fields, motions)
        x = move(act_on_channels(x, on_input), matrices, shifts=shifts)
        if self.task.name == "segmentation":
            # Pixels of the rotated image that come from outside the original have no class: -1.
            shifted = (y - IGNORED).to(x.dtype)[:, None]
            return x, move(shifted, matrices, "nearest", shifts)[:, 0].round().to(y.dtype) + IGNORED
        if self.task.name in ("regression", "binary") and y.ndim > 1:
            if self.target_fields is not None:
                y = act_on_channels(y, on_target)
            if y.ndim > 2:
                y = move(y, matrices, shifts=shifts)
        return x, y


def largest_turn(network: EquivariantNetwork | None) -> float:
    """Return half of the smallest angle by which the group of a network turns the plane, or `SMALL_TURN`."""
    if network is None or network.space.fibergroup.order() < 1:
        return SMALL_TURN
    matrices = [groups.base_matrix(network.space, element) for element in groups.elements(network.space)]
    rotations = sum(bool(np.linalg.det(matrix) > 0) for matrix in matrices)
    return math.pi / rotations if rotations > 1 else SMALL_TURN


def rotatable_parts(fields: FieldType, kind: str = "rotation") -> list[tuple[np.ndarray, list[int]]]:
    """Return the change of basis and the irrep frequencies of each field.

    Raises:
        FieldError: if a field does not allow rotations by all angles.
    """
    parts = []
    for representation in fields.representations:
        irreps = [fields.fibergroup.irrep(*identity) for identity in representation.irreps]
        frequencies = [int(irrep.attributes.get("frequency", 0)) for irrep in irreps]
        if any(irrep.size != (2 if k else 1) for irrep, k in zip(irreps, frequencies, strict=True)):
            raise FieldError(
                "`{argument}` = {kind!r} rotates by any angle, which not all of the fields {fields} allow; use "
                "{group!r}, or fields such as trivial and irrep_1.",
                "augment", kind=kind, group="group", fields=show_fields(fields),
            )  # fmt: skip
        parts.append((representation.change_of_basis, frequencies))
    return parts


def represent_rotations(fields: FieldType, angles: torch.Tensor) -> torch.Tensor | None:
    """Compute rho (batch, channel, channel) for each angle; None if the channels are invariant to all angles."""
    parts = rotatable_parts(fields)
    if not any(any(frequencies) for _, frequencies in parts):
        return None
    rho = torch.zeros(len(angles), fields.size, fields.size, dtype=torch.float64)
    start = 0
    for change, frequencies in parts:
        size = len(change)
        block = torch.zeros(len(angles), size, size, dtype=torch.float64)
        at = 0
        for k in frequencies:
            width = 2 if k else 1
            block[:, at : at + width, at : at + width] = rotation_matrix(k * angles) if k else 1.0
            at += width
        basis = torch.tensor(np.asarray(change, dtype=np.float64))
        rho[:, start : start + size, start : start + size] = basis @ block @ torch.linalg.inv(basis)
        start += size
    return rho


def act_on_channels(x: torch.Tensor, rho: torch.Tensor | None) -> torch.Tensor:
    """Multiply the channels of each example by the matrix of the example."""
    return x if rho is None else torch.einsum("bij,bj...->bi...", rho.to(x), x)


def move(
    x: torch.Tensor, matrices: torch.Tensor, interpolation: str = "linear", shifts: torch.Tensor | None = None
) -> torch.Tensor:
    """Transform images or volumes about their center, each by its own matrix, which acts on (x right, y up[, z up]).

    `shifts` (batch, axis), in pixels, are added to the points at which the images are sampled.
    """
    axes = x.ndim - 2
    if axes < 2:
        return x
    on_axes = torch.as_tensor(on_array_axes(matrices.numpy()))
    points = turned_grid(x.shape[2:], on_axes)
    if shifts is not None:
        points = points + shifts.reshape(*shifts.shape, *[1] * axes)
    return grid_sample(x, points.to(x), interpolation, "zeros")

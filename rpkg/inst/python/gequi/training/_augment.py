"""Data augmentation: examples and their targets are transformed by random elements of a group.

An input is transformed according to its fields, (g f)(p) = rho(g) f(g^-1 p), with linear interpolation and 0 outside
the image. The target is transformed accordingly: classes of pixels move with the pixels, and fields are transformed as
the output fields of the network. Classes and numbers without spatial axes do not change.
"""

from __future__ import annotations

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
                "`{argument}` = {rotation!r} rotates images in the plane; for other inputs use {group!r}.",
                "augment", rotation="rotation", group="group",
            )  # fmt: skip
        else:
            for fields in (self.fields, self.target_fields):
                if fields is not None:
                    rotatable_parts(fields)  # raises an error for fields without an action of all angles

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
                rho = network.out_type.representation(on_output)
                rows.append((groups.base_matrix(network.space, element), network.in_type.representation(element), rho))
        self.table = [torch.tensor(np.stack([row[i] for row in rows])) for i in range(3)]

    def draw(self, count: int, generator: torch.Generator) -> Any:
        """Draw transformations for a batch: numbers of elements, or angles in radians."""
        if self.kind == "group":
            return torch.randint(len(self.table[0]), (count,), generator=generator)
        return 2 * torch.pi * torch.rand(count, generator=generator, dtype=torch.float64)

    def __call__(self, x: torch.Tensor, y: torch.Tensor, motions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Transform inputs and targets, each example by its own transformation."""
        motions = motions.cpu()  # the matrices are small: they are computed on the CPU in float64
        on_input: torch.Tensor | None
        on_target: torch.Tensor | None
        if self.kind == "group":
            matrices, on_input, on_target = (part[motions] for part in self.table)
        else:
            matrices = rotation_matrix(motions)
            on_input = None if self.fields is None else represent_rotations(self.fields, motions)
            on_target = None if self.target_fields is None else represent_rotations(self.target_fields, motions)
        x = move(act_on_channels(x, on_input), matrices)
        if self.task.name == "segmentation":
            # Pixels of the rotated image that come from outside the original have no class: -1.
            shifted = (y - IGNORED).to(x.dtype)[:, None]
            return x, move(shifted, matrices, "nearest")[:, 0].round().to(y.dtype) + IGNORED
        if self.task.name in ("regression", "binary") and y.ndim > 1:
            if self.target_fields is not None:
                y = act_on_channels(y, on_target)
            if y.ndim > 2:
                y = move(y, matrices)
        return x, y


def rotatable_parts(fields: FieldType) -> list[tuple[np.ndarray, list[int]]]:
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
                "`{argument}` = {rotation!r} rotates by any angle, which not all of the fields {fields} allow; use "
                "{group!r}, or fields such as trivial and irrep_1.",
                "augment", rotation="rotation", group="group", fields=show_fields(fields),
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


def move(x: torch.Tensor, matrices: torch.Tensor, interpolation: str = "linear") -> torch.Tensor:
    """Transform images or volumes about their center, each by its own matrix, which acts on (x right, y up[, z up])."""
    axes = x.ndim - 2
    if axes < 2:
        return x
    on_axes = torch.as_tensor(on_array_axes(matrices.numpy()))
    return grid_sample(x, turned_grid(x.shape[2:], on_axes).to(x), interpolation, "zeros")

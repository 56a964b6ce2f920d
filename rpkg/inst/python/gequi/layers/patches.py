"""Patches: equivariant linear maps from each patch of an image or volume to one token, and from tokens to patches.

The filter of the pose g is the filter W of the identity, turned by g: W_g(p) = W(g^-1 p) rho(g)^-1, for p about the
center of the patch. If the group maps the grid of a patch onto itself, the entries of W are free numbers, for patches
of odd and even sizes. Other groups need filters between the pixels, which are those of a steerable convolution.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from .. import groups
from .._escnn import EquivariantModule, FieldType, GeometricTensor, GSpace
from .._limits import check_memory
from ..arrays import check_flag, check_integer
from ..errors import FieldError
from ..fields import show_fields
from .convolutions import plan_conv, plan_conv_transposed
from .normalization import plan_token_norm
from .plain import CONVOLUTIONS, TRANSPOSED, with_weights
from .plan import Step, Window, convolution_flops, dimension_of, fields_after, kind, odd


@kind
def plan_patch_embedding(before: FieldType, *, fields: Any, patch_size: int, bias: bool = True) -> Step:
    """Equivariant linear map from each patch to one token of regular fields; the patches do not overlap.

    `patch_size`: the side of a patch in pixels (odd, for a group with elements that do not map the pixel grid onto
    itself).
    """
    _need_finite(before)
    after = fields_after(before, fields)
    _need_regular(after, "`{argument}` must be regular, one channel per pose; got {fields}.", "fields")
    size = _check_size(before, after, patch_size)
    bias = check_flag(bias, "bias")
    if not _keeps_patches(before.gspace):
        size = odd(size, "patch_size")
        return plan_conv(before, fields=fields, kernel_size=size, stride=size, bias=bias)
    flops = convolution_flops(before, after, size)
    return Step(after, lambda: Patches(before, after, size, bias), _plain, Window(size, size), flops=flops)


@kind
def plan_patch_expansion(before: FieldType, *, fields: Any, patch_size: int, bias: bool = True) -> Step:
    """Equivariant linear map from each token of regular fields to a patch of `fields`, the reverse of patch_embedding.

    `patch_size`: the side of a patch in pixels (odd, for a group with elements that do not map the pixel grid onto
    itself).
    """
    _need_finite(before)
    message = (
        "the layer works on regular fields, to which patch_embedding or conv lead; the fields before it are {fields}."
    )
    after = fields_after(before, fields)
    _need_regular(before, message, "layers")
    size = _check_size(before, after, patch_size)
    bias = check_flag(bias, "bias")
    if not _keeps_patches(before.gspace):
        size = odd(size, "patch_size")
        plan = plan_conv if size == 1 else plan_conv_transposed
        return plan(before, fields=fields, kernel_size=size, stride=size, bias=bias)
    resizing: dict[str, Any] = {"window": Window(1)} if size == 1 else {"resize": lambda length: length * size}
    flops = convolution_flops(before, after, size)
    return Step(
        after,
        lambda: Expansion(before, after, size, bias),
        _plain,
        flops=lambda tokens, _: flops(tokens, tokens),
        **resizing,
    )


@kind
def plan_patch_merging(before: FieldType, *, fields: Any = None, patch_size: int = 2, bias: bool = False) -> Step:
    """Merges each patch of tokens into one token: token normalization, then the linear map of patch_embedding.

    `fields`: the regular fields of the output (None: twice as many as before); `patch_size`: the side of a patch in
    tokens (odd, for a group with elements that do not map the pixel grid onto itself).
    """
    _need_finite(before)
    message = (
        "the layer works on regular fields, to which patch_embedding or conv lead; the fields before it are {fields}."
    )
    _need_regular(before, message, "layers")
    wanted = {"regular": 2 * len(before)} if fields is None else fields
    linear = plan_patch_embedding(before, fields=wanted, patch_size=patch_size, bias=bias)
    norm = plan_token_norm(before)
    return Step(
        linear.out_type,
        lambda: Merging(norm.build(), linear.build()),
        lambda layer: nn.Sequential(norm.plain(layer.norm), linear.plain(layer.linear)),
        linear.window,
        flops=linear.flops,
    )


class Merging(EquivariantModule):
    """A normalization, and a linear map from patches."""

    def __init__(self, norm: Any, linear: Any) -> None:
        super().__init__()
        self.norm, self.linear = norm, linear
        self.in_type, self.out_type = norm.in_type, linear.out_type

    def forward(self, x: GeometricTensor) -> GeometricTensor:
        return self.linear(self.norm(x))

    def evaluate_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return self.linear.evaluate_output_shape(input_shape)


def _need_regular(fields: FieldType, message: str, argument: str) -> None:
    if any(field != fields.gspace.regular_repr for field in fields.representations):
        raise FieldError(message, argument, fields=show_fields(fields))


def _need_finite(before: FieldType) -> None:
    dimension_of(before, 2, 3)
    if before.gspace.fibergroup.order() < 1:
        raise FieldError(
            "the layer requires a finite group; {group} is continuous.",
            "layers", group=str(before.gspace.fibergroup),
        )  # fmt: skip


def _check_size(before: FieldType, after: FieldType, patch_size: Any) -> int:
    dimension = before.gspace.dimensionality
    size = check_integer(patch_size, "patch_size", minimum=1)
    check_memory(4 * before.size * after.size * size**dimension, "patch_size")
    return size


def _keeps_patches(space: GSpace) -> bool:
    """Return whether each element of the group maps the pixel grid onto itself."""
    return all(groups.keeps_grid(groups.base_matrix(space, element)) for element in groups.elements(space))


class _OnPatches(EquivariantModule):
    """A filter for each pose, and a bias for each invariant direction of the output fields."""

    source: torch.Tensor
    invariant: torch.Tensor

    def __init__(self, in_type: FieldType, out_type: FieldType, patch: int, bias: bool, on: FieldType) -> None:
        """`on` is the type of the features of pixels: of the input of an embedding, of the output of an expansion."""
        super().__init__()
        self.in_type, self.out_type, self.patch = in_type, out_type, patch
        space = in_type.gspace
        self.d, self.order = space.dimensionality, space.fibergroup.order()
        tokens = in_type if on is out_type else out_type
        self.weight = nn.Parameter(torch.empty(len(tokens), on.size, patch**self.d))
        self.register_buffer("source", torch.as_tensor(_sources(space, patch)), persistent=False)
        directions = torch.as_tensor(_invariant(out_type)).to(torch.get_default_dtype())
        self.register_buffer("invariant", directions, persistent=False)
        self.bias = nn.Parameter(torch.empty(directions.shape[1])) if bias and directions.shape[1] else None
        self.runs: list[tuple[int, int]] = []  # number and size of consecutive equal fields of a pixel
        for number, (field, same) in enumerate(itertools.groupby(on.representations)):
            self.runs.append((len(list(same)), int(field.size)))
            matrices = np.stack([field(element) for element in groups.elements(space)])
            self.register_buffer(f"action_{number}", torch.as_tensor(matrices).to(self.weight.dtype), persistent=False)

    def draw_weights(self, generator: torch.Generator) -> None:
        """Draw weights as torch does for convolutions: uniform within 1 / sqrt(inputs)."""
        embedding = isinstance(self, Patches)
        bound = 1 / math.sqrt(self.in_type.size * (self.patch**self.d if embedding else 1))
        for parameter in (self.weight, self.bias):
            if parameter is not None:
                drawn = torch.rand(parameter.shape, generator=generator, dtype=torch.float64)
                parameter.data.copy_(bound * (2 * drawn - 1))

    def expand_parameters(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the filter (channel of the token, channel of the pixel, *patch), and the bias (channel)."""
        turned = self.weight[:, :, self.source]  # (field, channel, pose, pixel)
        parts = []
        for number, part in enumerate(turned.split([count * size for count, size in self.runs], 1)):
            action = getattr(self, f"action_{number}")
            fields = part.unflatten(1, self.runs[number])
            parts.append(torch.einsum("fcjgp,gij->fgcip", fields, action).flatten(2, 3))
        filters = torch.cat(parts, 2).flatten(0, 1).unflatten(2, (self.patch,) * self.d)
        return filters, None if self.bias is None else self.invariant @ self.bias

    def forward(self, x: GeometricTensor) -> GeometricTensor:
        return GeometricTensor(self.convolve(x.tensor, *self.expand_parameters()), self.out_type)

    def convolve(self, x: torch.Tensor, filters: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        raise NotImplementedError


class Patches(_OnPatches):
    """From the pixels of each patch to one token."""

    def __init__(self, in_type: FieldType, out_type: FieldType, patch: int, bias: bool) -> None:
        super().__init__(in_type, out_type, patch, bias, on=in_type)

    def convolve(self, x: torch.Tensor, filters: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        return (functional.conv2d, functional.conv3d)[self.d - 2](x, filters, bias, self.patch)

    def evaluate_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (input_shape[0], self.out_type.size, *[length // self.patch for length in input_shape[2:]])


class Expansion(_OnPatches):
    """From each token to the pixels of its patch."""

    def __init__(self, in_type: FieldType, out_type: FieldType, patch: int, bias: bool) -> None:
        super().__init__(in_type, out_type, patch, bias, on=out_type)

    def convolve(self, x: torch.Tensor, filters: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        return (functional.conv_transpose2d, functional.conv_transpose3d)[self.d - 2](x, filters, bias, self.patch)

    def evaluate_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (input_shape[0], self.out_type.size, *[length * self.patch for length in input_shape[2:]])


def _plain(layer: Any) -> nn.Module:
    module = (CONVOLUTIONS if isinstance(layer, Patches) else TRANSPOSED)[layer.d - 2]
    options = {"kernel_size": (layer.patch,) * layer.d, "stride": (layer.patch,) * layer.d}
    return with_weights(module, *layer.expand_parameters(), layer.in_type.size, layer.out_type.size, **options)


def _sources(space: GSpace, patch: int) -> np.ndarray:
    """Return the number of the pixel g^-1 p, for each element g and each pixel p of a patch: (element, pixel)."""
    places = np.stack(np.meshgrid(*[np.arange(patch)] * space.dimensionality, indexing="ij"), -1)
    places = places.reshape(-1, space.dimensionality)
    center = (patch - 1) / 2
    signs = np.array([-1.0] * (space.dimensionality - 1) + [1.0])  # y and z decrease with the row and the depth
    points = ((places - center) * signs)[:, ::-1]
    found = []
    for element in groups.elements(space):
        moved = points @ groups.base_matrix(space, element)  # the inverse of an orthogonal matrix is its transpose
        indices = np.rint(moved[:, ::-1] * signs + center).astype(np.int64)
        found.append(np.ravel_multi_index(tuple(indices.T), (patch,) * space.dimensionality))
    return np.stack(found)


def _invariant(fields: FieldType) -> np.ndarray:
    """Return one invariant direction (channel, direction) for each field that has one."""
    columns, first = [], 0
    for field in fields.representations:
        size = int(field.size)
        mean = np.mean([field(element) for element in groups.elements(fields.gspace)], 0)
        column = mean[:, int(np.argmax(np.diag(mean)))]
        if np.abs(column).max() > 1e-6:
            columns.append(np.zeros(fields.size))
            columns[-1][first : first + size] = column / np.abs(column).max()
        first += size
    return np.stack(columns, 1) if columns else np.zeros((fields.size, 0))

"""Linear maps of regular fields in the Fourier basis of their group, where they are block diagonal.

Features have the shape (pose, field, point) here. In the Fourier basis they are a list of *bands* of the shape
(irrep and run, channel, point), one for each size and type of the irreps (`groups.fourier_bands()`). A map that
commutes with the group multiplies each run by a matrix of its own: for D4, 12 products per pair of fields in place of
64. Points are last, so every step is a product of matrices without a change of order.

A steerable layer stores the coefficients of basis kernels. For kernels of one pixel, the entries of the matrices are
linear functions of these coefficients, with |G| times fewer products than the entries of the whole filter. So wide
layers are computed in this form during training (`R2Conv` and others below), with the same weights, and in `predict()`
(`PointMap`, by fast.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from .. import groups
from .._escnn import EquivariantModule, FieldType, GeometricTensor, GSpace, escnn, identity_rows


class PoseBasis(NamedTuple):
    """The Fourier transform of a group, as tensors."""

    rows: torch.Tensor  # (component, pose)
    blocks: torch.Tensor  # (entry of a matrix, pose): multiplied by W, the entries of the matrices of all bands
    shapes: list[tuple[int, int, int]]  # (irrep, run, d) of each band
    identity: int  # the number of the identity


def pose_basis(space: GSpace, dtype: torch.dtype) -> PoseBasis:
    """Return the Fourier transform of the group of a gspace."""
    bands = groups.fourier_bands(space)
    rows = torch.cat([torch.as_tensor(each.rows).flatten(0, -2) for each in bands])
    blocks = torch.cat([torch.as_tensor(each.blocks).flatten(0, -2) for each in bands])
    shapes = [tuple(map(int, each.rows.shape[:3])) for each in bands]
    identity = groups.elements(space).index(space.fibergroup.identity)
    return PoseBasis(rows.to(dtype), blocks.to(dtype), shapes, identity)  # type: ignore[arg-type]


# ---- bands ----------------------------------------------------------------------------------------------


def poses_of(x: torch.Tensor, order: int) -> torch.Tensor:
    """Convert features (batch, channel, *size), channels in the order (field, pose), to (pose, field, point)."""
    return x.flatten(2).unflatten(1, (-1, order)).permute(2, 1, 0, 3).flatten(2)


def image_of(x: torch.Tensor, batch: int, size: Sequence[int]) -> torch.Tensor:
    """Convert features (pose, field, point) to (batch, channel, *size), channels in the order (field, pose)."""
    return x.unflatten(2, (batch, -1)).permute(2, 1, 0, 3).flatten(1, 2).unflatten(2, size)


def to_bands(x: torch.Tensor, rows: torch.Tensor, sizes: Sequence[tuple[int, int]]) -> list[torch.Tensor]:
    """Compute the bands of features (pose, field, point). `sizes` has the number of runs and d of each band."""
    parts = (rows @ x.flatten(1)).split([runs * size for runs, size in sizes])
    return [part.view(runs, -1, x.shape[2]) for part, (runs, _) in zip(parts, sizes, strict=True)]


def from_bands(bands: Sequence[torch.Tensor], rows: torch.Tensor, sizes: Sequence[tuple[int, int]]) -> torch.Tensor:
    """Compute the features (pose, field, point) of bands."""
    parts = [part.view(runs * size, -1) for part, (runs, size) in zip(bands, sizes, strict=True)]
    return (rows.mT @ torch.cat(parts)).view(len(rows), -1, bands[0].shape[-1])


def block_matrices(entries: torch.Tensor, shapes: Sequence[tuple[int, int, int]]) -> list[torch.Tensor]:
    """Arrange the entries (entry, output, input) of all bands as matrices (irrep, d * output, d * input) of each."""
    outputs = entries.shape[1]
    parts = entries.split([irreps * size**2 for irreps, _, size in shapes])
    return [
        part.view(irreps, size, size, outputs, -1).transpose(2, 3).reshape(irreps, size * outputs, -1)
        for part, (irreps, _, size) in zip(parts, shapes, strict=True)
    ]


def multiply(bands: Sequence[torch.Tensor], matrices: Sequence[torch.Tensor], bias: torch.Tensor) -> list[torch.Tensor]:
    """Multiply each run of a band by the matrix of its irrep. The bias belongs to the trivial band, which is first."""
    out = [torch.addmm(bias, matrices[0][0], bands[0][0])[None]]
    for band, matrix in zip(bands[1:], matrices[1:], strict=True):
        runs = len(band) // len(matrix)
        out.append(torch.bmm(matrix[:, None].expand(-1, runs, -1, -1).flatten(0, 1), band))
    return out


# ---- which form is faster -------------------------------------------------------------------------------


class Threshold(NamedTuple):
    """The form with bands is faster from both limits on: see `worth()`."""

    saved: float  # products saved per number of the input and output
    products: float  # of the dense form, in the whole batch


# tests/benchmarks/fourier.py determined the limits, on one core: with them, the chosen form is nearest to the faster one.
# Training expands all filters of the dense form at each step, so its price does not depend on the number of tokens.
TRAINING = Threshold(saved=120, products=0)
PREDICTION = Threshold(saved=120, products=2e7)


def share_of_products(shapes: Sequence[tuple[int, int, int]]) -> float:
    """Return the products of the form with bands relative to those of the dense form."""
    order = sum(irreps * runs * size for irreps, runs, size in shapes)
    return sum(irreps * runs * size**2 for irreps, runs, size in shapes) / order**2


def worth(limits: Threshold, inputs: int, outputs: int, share: float, tokens: float = math.inf) -> bool:
    """Return whether a map between numbers of channels is faster with bands, for a number of points of all images.

    Without `tokens`: whether it is for any number.
    """
    saved = inputs * outputs * (1 - share) / (inputs + outputs)
    return saved >= limits.saved and inputs * outputs * tokens >= limits.products


# ---- steerable layers in training -----------------------------------------------------------------------


class _WithBands(EquivariantModule):
    """A map of one pixel between regular fields. During training it is computed with bands where that is faster."""

    entries: torch.Tensor  # (entry of a matrix, basis kernel)
    rows: torch.Tensor

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        kind = self.weights.dtype
        basis = pose_basis(self.in_type.gspace, torch.float64)
        entries = basis.blocks @ identity_rows(self, basis.identity).mT
        self.shapes, self.share = basis.shapes, share_of_products(basis.shapes)
        self.sizes = [(irreps * runs, size) for irreps, runs, size in basis.shapes]
        self.register_buffer("entries", entries.to(kind), persistent=False)
        self.register_buffer("rows", basis.rows.to(kind), persistent=False)

    def forward(self, x: GeometricTensor) -> GeometricTensor:
        assert x.type == self.in_type
        tokens = x.tensor.numel() // self.in_type.size
        dense = x.tensor.is_cuda or not worth(TRAINING, self.in_type.size, self.out_type.size, self.share, tokens)
        if dense or not self.training:
            return super().forward(x)
        return GeometricTensor(self.with_bands(x.tensor), self.out_type, x.coords)

    def with_bands(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the output (batch, channel, *size)."""
        order, outputs = len(self.rows), len(self.out_type)
        entries = (self.entries @ self.weights.view(-1, self.entries.shape[1]).mT).view(len(self.entries), outputs, -1)
        bias = x.new_zeros(outputs, 1)
        if self.bias is not None:
            bias = math.sqrt(order) * (self.bias_expansion @ self.bias).view(outputs, order)[:, :1]
        bands = to_bands(poses_of(x[..., None], order), self.rows, self.sizes)
        bands = multiply(bands, block_matrices(entries, self.shapes), bias)
        return image_of(from_bands(bands, self.rows, self.sizes), len(x), x.shape[2:] or (1,)).view(
            len(x), -1, *x.shape[2:]
        )


# With the names of the layers of escnn, whose weights and files they have.
class R2Conv(_WithBands, escnn.nn.R2Conv):
    """`escnn.nn.R2Conv` with kernels of one pixel."""


class R3Conv(_WithBands, escnn.nn.R3Conv):
    """`escnn.nn.R3Conv` with kernels of one pixel."""


class Linear(_WithBands, escnn.nn.Linear):
    """`escnn.nn.Linear`."""


_FORMS = {escnn.nn.R2Conv: R2Conv, escnn.nn.R3Conv: R3Conv, escnn.nn.Linear: Linear}


def form_of(layer: Any, before: FieldType, after: FieldType) -> Any:
    """Return the class of a map of one pixel: that of escnn, or the one with bands if it may be faster."""
    space = before.gspace
    if space.fibergroup.order() < 2 or not worth(TRAINING, before.size, after.size, 0):
        return layer
    if any(each != space.regular_repr for fields in (before, after) for each in fields.representations):
        return layer
    shapes = [tuple(each.rows.shape[:3]) for each in groups.fourier_bands(space)]
    return _FORMS[layer] if worth(TRAINING, before.size, after.size, share_of_products(shapes)) else layer


# ---- plain layers ---------------------------------------------------------------------------------------


def marked(plain: nn.Module, layer: nn.Module) -> nn.Module:
    """Return the plain form of a map of one pixel with the Fourier transform of its group, for `has_bands()`."""
    if isinstance(layer, _WithBands):
        plain.poses = pose_basis(layer.in_type.gspace, torch.float64)  # type: ignore[assignment]
    return plain


def has_bands(plain: Any) -> bool:
    """Return whether `PointMap` may be a faster form of a plain layer."""
    basis, weight = getattr(plain, "poses", None), getattr(plain, "weight", None)
    if basis is None or weight is None or weight.is_cuda or weight.dtype not in (torch.float32, torch.float64):
        return False
    return worth(PREDICTION, weight.shape[1], weight.shape[0], share_of_products(basis.shapes))


class PointMap(nn.Module):
    """A linear map of regular fields at each point, for inference: with bands, or dense for few points.

    Features are channels last in memory. Then the Fourier transform and its inverse change the order of axes too, and no
    array is copied.
    """

    rows: torch.Tensor  # (component, pose)
    bias: torch.Tensor  # (component, 1, output)

    def __init__(self, plain: Any, dense: nn.Module) -> None:
        """`plain` is a convolution of one pixel or a linear layer, with `poses`, and `dense` its fastest dense form."""
        super().__init__()
        self.dense, self.attribute = dense, "none"  # and the following operation, "none" or "relu"
        basis: PoseBasis = plain.poses
        order, self.share = len(basis.rows), share_of_products(basis.shapes)
        weight = plain.weight.detach().flatten(1).double()
        self.outputs, self.inputs = (length // order for length in weight.shape)
        first = weight.view(self.outputs, order, self.inputs, order)[:, basis.identity]  # (output, input, pose)
        entries = torch.einsum("eg,oig->eoi", basis.blocks.to(weight.device), first)
        self.bands = [(irreps * runs, size) for irreps, runs, size in basis.shapes]
        for number, (matrix, (_, runs, size)) in enumerate(
            zip(block_matrices(entries, basis.shapes), basis.shapes, strict=True)
        ):
            parts = matrix.view(-1, size, self.outputs, size, self.inputs).permute(0, 1, 3, 4, 2)
            parts = parts.repeat_interleave(runs, 0).contiguous()  # (irrep and run, d, d, input, output)
            self.register_buffer(f"matrix_{number}", parts.to(plain.weight.dtype))
        self.register_buffer("rows", basis.rows.to(plain.weight))
        bias = weight.new_zeros(len(weight)) if plain.bias is None else plain.bias.detach().double()
        components = basis.rows.to(bias) @ bias.view(-1, order).T
        invariant = bool((components[1:].abs() <= 1e-6 * components.abs().max()).all())  # only the trivial band has one
        self.register_buffer("bias", components[: 1 if invariant else order, None].to(plain.weight.dtype))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens, order = x.numel() // x.shape[1], len(self.rows)
        if not worth(PREDICTION, self.inputs * order, self.outputs * order, self.share, tokens):
            return self._after(self.dense(x))
        last = x.movedim(1, -1)
        components = self.rows @ last.reshape(-1, order).T  # (component, point and input)
        out = x.new_empty(order, tokens, self.outputs)
        first = 0
        for number, (runs, size) in enumerate(self.bands):
            band = slice(first, first + runs * size)
            source = components[band].view(runs, size, tokens, self.inputs)
            self._multiply(source, getattr(self, f"matrix_{number}"), out[band].view(runs, size, tokens, self.outputs))
            first += runs * size
        out[: len(self.bias)] += self.bias
        return self._after((out.flatten(1).T @ self.rows).view(*last.shape[:-1], -1).movedim(-1, 1))

    def _multiply(self, x: torch.Tensor, matrix: torch.Tensor, out: torch.Tensor) -> None:
        for i in range(x.shape[1]):
            torch.bmm(x[:, 0], matrix[:, i, 0], out=out[:, i])
            for j in range(1, x.shape[1]):
                out[:, i].baddbmm_(x[:, j], matrix[:, i, j])

    def _after(self, x: torch.Tensor) -> torch.Tensor:
        return x.relu_() if self.attribute == "relu" else x

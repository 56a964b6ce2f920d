"""Linear maps and normalization of regular fields in the Fourier basis of their group: see layers/fourier.py."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from .._escnn import GSpace
from ..layers.fourier import block_matrices, from_bands, multiply, pose_basis, to_bands
from .poses import draw_uniform

EPS = 1e-5  # added to the variance, as in torch.nn.LayerNorm


class GroupFourier(nn.Module):
    """The Fourier transform of regular fields and its inverse, which is its transpose."""

    rows: torch.Tensor  # (component, pose)

    def __init__(self, space: GSpace) -> None:
        super().__init__()
        basis = pose_basis(space, torch.get_default_dtype())
        self.order = len(basis.rows)
        self.sizes = [(irreps * runs, size) for irreps, runs, size in basis.shapes]
        self.register_buffer("rows", basis.rows, persistent=False)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Compute the bands of features (pose, field, point)."""
        return [x] if self.order == 1 else to_bands(x, self.rows, self.sizes)

    def inverse(self, bands: Sequence[torch.Tensor]) -> torch.Tensor:
        """Compute the features (pose, field, point) of bands."""
        return bands[0] if self.order == 1 else from_bands(bands, self.rows, self.sizes)


class TokenNorm(nn.Module):
    """Layer normalization over all channels (field, pose) of a token, with one weight and one bias per field.

    The group permutes the channels of a field, so mean and variance do not change. Of the bands, only the trivial one
    has a mean. The weight and bias are applied by the linear map that follows.
    """

    def __init__(self, fields: int, order: int) -> None:
        super().__init__()
        self.channels = fields * order
        self.weight, self.bias = nn.Parameter(torch.ones(fields)), nn.Parameter(torch.zeros(fields))

    def forward(self, bands: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Compute the bands with mean 0 and variance 1, before weight and bias."""
        centered = [bands[0] - bands[0].mean(1, keepdim=True), *bands[1:]]
        squares = torch.stack([band.square().sum((0, 1)) for band in centered]).sum(0)
        scale = (squares / self.channels + EPS).rsqrt()
        return [band * scale for band in centered]


class PoseLinear(nn.Module):
    """The linear maps of regular fields that commute with the group: y[g] = sum_h W[g^-1 h] x[h] + b.

    The weights are `weight` (pose, outputs, inputs), and `bias`, one number per output field.
    """

    def __init__(self, space: GSpace, inputs: int, outputs: int) -> None:
        super().__init__()
        self.order = space.fibergroup.order()
        self.weight = nn.Parameter(torch.empty(self.order, outputs, inputs))
        self.bias = nn.Parameter(torch.empty(outputs))
        basis = pose_basis(space, torch.get_default_dtype())
        self.shapes = basis.shapes
        self.register_buffer("blocks", basis.blocks, persistent=False)

    blocks: torch.Tensor  # (entry of a matrix, pose): the entries of all bands

    def draw_weights(self, generator: torch.Generator) -> None:
        """Draw weights as torch does for linear maps: uniform within 1 / sqrt(inputs)."""
        inputs = self.order * self.weight.shape[2]
        draw_uniform(self.weight, inputs, generator)
        draw_uniform(self.bias, inputs, generator)

    def matrices(self, norm: TokenNorm | None = None) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Return the matrices (irrep, output, input) of each band, and the bias (output, 1) of the trivial one.

        They include the weight and bias of the normalization before the map, if there is one.
        """
        outputs, inputs = self.weight.shape[1:]
        entries = (self.blocks @ self.weight.flatten(1)).view(-1, outputs, inputs)
        bias: torch.Tensor = self.bias
        if norm is not None:
            bias = torch.addmv(bias, entries[0], norm.bias)
            entries = entries * norm.weight
        return block_matrices(entries, self.shapes), math.sqrt(self.order) * bias[:, None]

    def forward(self, bands: Sequence[torch.Tensor], norm: TokenNorm | None = None) -> list[torch.Tensor]:
        return multiply(bands, *self.matrices(norm))

    def ready(self, norm: TokenNorm | None = None) -> ReadyPoseLinear:
        """Return this map, after the affine part of a normalization, with its matrices computed."""
        return ReadyPoseLinear(*self.matrices(norm))


class ReadyPoseLinear(nn.Module):
    """A `PoseLinear` for inference, with the matrices as its weights."""

    bias: torch.Tensor

    def __init__(self, matrices: Sequence[torch.Tensor], bias: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("bias", bias.detach().clone())
        for number, matrix in enumerate(matrices):
            self.register_buffer(f"matrix_{number}", matrix.detach().clone())
        self.count = len(matrices)

    def forward(self, bands: Sequence[torch.Tensor], norm: nn.Module | None = None) -> list[torch.Tensor]:
        return multiply(bands, [getattr(self, f"matrix_{number}") for number in range(self.count)], self.bias)

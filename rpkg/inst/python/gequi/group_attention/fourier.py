"""Linear maps of regular fields in the Fourier basis of their group, where they are block diagonal.

Features have the shape (pose, field, point) here. In the Fourier basis they are a list of *bands* of the shape
(irrep and run, channel, point), one for each size and type of the irreps (`groups.fourier_bands()`). A map that
commutes with the group multiplies each run by a matrix of its own: for D4, 12 products per pair of fields in place of
64. Points are last, so every step is a product of matrices without a change of order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from .. import groups
from .._escnn import GSpace
from .poses import draw_uniform

EPS = 1e-5  # added to the variance, as in torch.nn.LayerNorm


class GroupFourier(nn.Module):
    """The Fourier transform of regular fields and its inverse, which is its transpose."""

    def __init__(self, space: GSpace) -> None:
        super().__init__()
        bands = groups.fourier_bands(space)
        self.order = space.fibergroup.order()
        self.sizes = [(each.rows.shape[0] * each.rows.shape[1], each.rows.shape[2]) for each in bands]  # (run, d)
        rows = torch.cat([torch.as_tensor(each.rows).flatten(0, -2) for each in bands])
        self.register_buffer("rows", rows.to(torch.get_default_dtype()), persistent=False)

    rows: torch.Tensor  # (component, pose)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Compute the bands of features (pose, field, point)."""
        if self.order == 1:
            return [x]
        components = self.rows @ x.flatten(1)
        parts = components.split([runs * size for runs, size in self.sizes])
        return [part.view(runs, -1, x.shape[2]) for part, (runs, _) in zip(parts, self.sizes, strict=True)]

    def inverse(self, bands: Sequence[torch.Tensor]) -> torch.Tensor:
        """Compute the features (pose, field, point) of bands."""
        if self.order == 1:
            return bands[0]
        points = bands[0].shape[-1]
        parts = [part.view(runs * size, -1) for part, (runs, size) in zip(bands, self.sizes, strict=True)]
        return (self.rows.mT @ torch.cat(parts)).view(self.order, -1, points)


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
        self.shapes = []  # (irrep, run, d) of each band
        blocks = []
        for band in groups.fourier_bands(space):
            self.shapes.append(band.rows.shape[:3])
            blocks.append(torch.as_tensor(band.blocks).flatten(0, -2))
        self.register_buffer("blocks", torch.cat(blocks).to(torch.get_default_dtype()), persistent=False)

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
        parts = entries.split([irreps * size**2 for irreps, _, size in self.shapes])
        matrices = [
            part.view(irreps, size, size, outputs, inputs).transpose(2, 3).reshape(irreps, size * outputs, -1)
            for part, (irreps, _, size) in zip(parts, self.shapes, strict=True)
        ]
        return matrices, math.sqrt(self.order) * bias[:, None]

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


def multiply(bands: Sequence[torch.Tensor], matrices: Sequence[torch.Tensor], bias: torch.Tensor) -> list[torch.Tensor]:
    """Multiply each run of a band by the matrix of its irrep. The bias belongs to the trivial band, which is first."""
    out = [torch.addmm(bias, matrices[0][0], bands[0][0])[None]]
    for band, matrix in zip(bands[1:], matrices[1:], strict=True):
        runs = len(band) // len(matrix)
        out.append(torch.bmm(matrix[:, None].expand(-1, runs, -1, -1).flatten(0, 1), band))
    return out

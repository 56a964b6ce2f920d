"""Attention within each pose, on points with coordinates: the computation of the posewise kinds of layers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from .. import groups
from .._escnn import GSpace
from .poses import attend_in_windows, draw_uniform

# Wavelengths of the waves before training, in pixels: the range from which pairwise attention draws its own.
SHORTEST_WAVE, LONGEST_WAVE = 2.0, 16.0


class PoseLinear(nn.Module):
    """The linear maps of regular fields that commute with the group: y[g] = sum_h W[g^-1 h] x[h] + b.

    The map is computed as one dense matrix. Channels are (field, pose) in the tensors of a network, and (pose, field)
    within attention, where each pose is a head. With `parts`, the outputs are several tensors (part, pose, field).

    The weights are `weight` (pose, parts * outputs, inputs), and `bias`, one number per output field.
    """

    choice: torch.Tensor  # (pose g * pose h, pose): 1 at g^-1 h

    def __init__(
        self, space: GSpace, inputs: int, outputs: int, *, columns: str = "pose", rows: str = "pose", parts: int = 1
    ) -> None:
        super().__init__()
        table = groups.cayley_table(space)
        identity = groups.elements(space).index(space.fibergroup.identity)  # not the first element of every group
        relative = torch.as_tensor(table[(table == identity).argmax(axis=1)])
        self.order, self.parts, self.columns, self.rows = len(table), parts, columns, rows
        choice = functional.one_hot(relative.flatten(), self.order).to(torch.get_default_dtype())
        self.register_buffer("choice", choice, persistent=False)
        self.weight = nn.Parameter(torch.empty(self.order, parts * outputs, inputs))
        self.bias = nn.Parameter(torch.empty(parts * outputs))

    def draw_weights(self, generator: torch.Generator) -> None:
        """Draw weights as torch does for linear maps: uniform within 1 / sqrt(inputs)."""
        inputs = self.order * self.weight.shape[2]
        draw_uniform(self.weight, inputs, generator)
        draw_uniform(self.bias, inputs, generator)

    def matrix(self) -> torch.Tensor:
        """Return the dense matrix (output channel, input channel)."""
        # A product with zeros and ones: its gradient is a product too, several times as fast as that of indexing.
        blocks = self.choice.to(self.weight.dtype) @ self.weight.flatten(1)
        blocks = blocks.view(self.order, self.order, self.parts, -1, self.weight.shape[2])  # (g, h, part, out, in)
        rows = (2, 0, 3) if self.rows == "pose" else (2, 3, 0)
        columns = (1, 4) if self.columns == "pose" else (4, 1)
        return blocks.permute(*rows, *columns).flatten(3).flatten(0, 2)

    def offset(self) -> torch.Tensor:
        """Return the bias of each output channel."""
        bias = self.bias.view(self.parts, -1)
        if self.rows == "pose":
            return bias[:, None].expand(-1, self.order, -1).flatten()
        return bias[:, :, None].expand(-1, -1, self.order).flatten()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.linear(x, self.matrix(), self.offset())


class TokenNorm(nn.Module):
    """Layer normalization over all channels (field, pose) of a token, with one weight and one bias per field.

    The group permutes the channels of a field, so mean and variance do not change.
    """

    def __init__(self, fields: int, order: int) -> None:
        super().__init__()
        self.order = order
        self.weight, self.bias = nn.Parameter(torch.ones(fields)), nn.Parameter(torch.zeros(fields))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight, bias = (each[:, None].expand(-1, self.order).flatten() for each in (self.weight, self.bias))
        return functional.layer_norm(x, weight.shape, weight, bias)


class PosewiseAttention(nn.Module):
    """Attention between the points within each pose: tokens (batch, point, channel) to tokens.

    The pose g has `heads` heads with `key_dim` features, which are key_dim / 2 complex numbers, each with a wave vector
    v. In queries and keys of the point x, the number of v is multiplied by exp(i <v, g^-1 x>). All poses share the wave
    vectors; those of the head g are turned by g.
    """

    matrices: torch.Tensor
    frequencies: torch.Tensor  # (heads, key_dim / 2, axis)

    def __init__(
        self, space: GSpace, fields: tuple[int, int], heads: int, key_dim: int, qk_norm: bool, learn_frequencies: bool
    ) -> None:
        super().__init__()
        self.heads, self.key_dim = heads, key_dim
        matrices = np.stack([groups.base_matrix(space, element) for element in groups.elements(space)])
        self.register_buffer("matrices", torch.as_tensor(matrices), persistent=False)
        self.poses, inner = len(matrices), heads * key_dim
        self.maps = PoseLinear(space, fields[0], inner, columns="field", parts=3)
        self.output = PoseLinear(space, inner, fields[1], rows="field")
        waves = spread_waves(heads * key_dim // 2, matrices.shape[1]).to(torch.get_default_dtype())
        waves = waves.view(key_dim // 2, heads, -1).transpose(0, 1).contiguous()
        if learn_frequencies:
            self.frequencies = nn.Parameter(waves)
        else:
            self.register_buffer("frequencies", waves, persistent=False)
        self.log_gain = nn.Parameter(torch.zeros(heads)) if qk_norm else None

    def waves_of(self, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return cos and sin of <v, g^-1 x> for points (batch, point, axis): (batch, point, 1, head, wave).

        The angles are computed in float64, because far points have large angles.
        """
        waves = torch.einsum("gab,hvb->ghva", self.matrices.double(), self.frequencies.double()).flatten(0, 2)
        angles = (points.double() @ waves.mT).unflatten(2, (1, self.poses * self.heads, -1))
        dtype = self.maps.weight.dtype
        return angles.cos().to(dtype), angles.sin().to(dtype)

    def forward(
        self, x: torch.Tensor, points: torch.Tensor, size: tuple[int, int] | None = None, window: int | None = None
    ) -> torch.Tensor:
        """Compute features (batch, point, channel).

        Args:
            x: tensor (batch, point, channel): regular fields, channels in the order (field, pose).
            points: tensor (batch or 1, point, axis): the coordinates (x, y) or (x, y, z).
            size: tuple (row, column): the size of the image whose pixels are the points. Required for a window.
            window: int: the side of the neighborhood that a point attends to, in pixels. None is all points.
        """
        maps = self.maps(x).unflatten(2, (3, self.poses * self.heads, self.key_dim))
        both, value = maps[:, :, :2], maps[:, :, 2]
        if self.log_gain is not None:  # x / sqrt(1 + mean x^2): small vectors as they are, large ones of bounded length
            gain = self.log_gain.exp().repeat(self.poses)[:, None]
            scale = (1 + both.square().mean(-1, keepdim=True)).rsqrt()
            both = both * (scale * torch.stack([torch.ones_like(gain), gain]))
        cos, sin = self.waves_of(points)
        real, imaginary = both.chunk(2, -1)
        both = torch.cat([real * cos - imaginary * sin, real * sin + imaginary * cos], -1)
        query, key, value = (each.transpose(1, 2) for each in (both[:, :, 0], both[:, :, 1], value))
        if window is None:
            out = functional.scaled_dot_product_attention(query, key, value)
        else:
            assert size is not None
            query, key, value = (each.unsqueeze(2) for each in (query, key, value))
            out = attend_in_windows(query, key, value, 1 / math.sqrt(self.key_dim), size, window).squeeze(2)
        return self.output(out.transpose(1, 2).flatten(2))


class PoseMLP(nn.Module):
    """Two equivariant linear maps with GELU between them."""

    def __init__(self, space: GSpace, fields: int, hidden: int) -> None:
        super().__init__()
        self.inner = PoseLinear(space, fields, hidden, columns="field")
        self.outer = PoseLinear(space, hidden, fields, rows="field")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.outer(functional.gelu(self.inner(x)))


def spread_waves(count: int, dimension: int) -> torch.Tensor:
    """Return wave vectors (wave, axis) whose lengths and directions are spread evenly, without random numbers.

    Lengths are geometric. Directions are the additive recurrence with the generalized golden ratio, which covers circle
    and sphere evenly for any count.
    """
    number = torch.arange(count, dtype=torch.float64)
    size = 2 * math.pi / SHORTEST_WAVE * (SHORTEST_WAVE / LONGEST_WAVE) ** ((number + 0.5) / max(count, 1))
    if dimension == 2:
        angle = 2 * math.pi * number * (math.sqrt(5) - 1) / 2
        return size[:, None] * torch.stack([angle.cos(), angle.sin()], 1)
    plastic = 1.324717957244746  # x^3 = x + 1
    angle, height = 2 * math.pi * (number / plastic % 1), 2 * ((0.5 + number / plastic**2) % 1) - 1
    radius = (1 - height**2).sqrt()
    return size[:, None] * torch.stack([radius * angle.cos(), radius * angle.sin(), height], 1)


def tokens_of(x: torch.Tensor) -> torch.Tensor:
    """Convert features (batch, channel, *size) to tokens (batch, point, channel)."""
    return x.flatten(2).mT


def image_of(tokens: torch.Tensor, size: Any) -> torch.Tensor:
    """Convert tokens (batch, point, channel) to features (batch, channel, *size)."""
    return tokens.mT.unflatten(2, size)

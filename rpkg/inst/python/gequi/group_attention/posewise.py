"""Attention within each pose, on points with coordinates: the computation of the posewise kinds of layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from .. import groups
from .._escnn import GSpace
from .fourier import GroupFourier, PoseLinear, TokenNorm
from .poses import attend_in_windows

# Wavelengths of the waves before training, in pixels: the range from which pairwise attention draws its own.
SHORTEST_WAVE, LONGEST_WAVE = 2.0, 16.0


class PosewiseAttention(nn.Module):
    """Attention between the points within each pose: bands of features to bands.

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
        self.maps = PoseLinear(space, fields[0], 3 * inner)
        self.output = PoseLinear(space, inner, fields[1])
        waves = spread_waves(heads * key_dim // 2, matrices.shape[1]).to(torch.get_default_dtype())
        waves = waves.view(key_dim // 2, heads, -1).transpose(0, 1).contiguous()
        if learn_frequencies:
            self.frequencies = nn.Parameter(waves)
        else:
            self.register_buffer("frequencies", waves, persistent=False)
        self.log_gain = nn.Parameter(torch.zeros(heads)) if qk_norm else None

    def angles_of(self, points: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        """Return <v, g^-1 x> for points (batch, point, axis): (pose, 1, head, wave, batch, point).

        Far points have large angles, so whole turns are removed in float64. The rest is small in every type.
        """
        waves = torch.einsum("gab,hvb->ghva", self.matrices.double(), self.frequencies.double())
        turns = (waves / (2 * math.pi)).flatten(0, 2) @ points.double().flatten(0, 1).mT
        angles = (turns - turns.detach().round()).to(like.dtype) * (2 * math.pi)
        return angles.view(self.poses, 1, self.heads, -1, *points.shape[:2])

    def forward(
        self,
        bands: Sequence[torch.Tensor],
        fourier: GroupFourier,
        points: torch.Tensor,
        norm: TokenNorm | None = None,
        size: tuple[int, int] | None = None,
        window: int | None = None,
        exists: torch.Tensor | None = None,
    ) -> list[torch.Tensor]:
        """Compute the bands of the output.

        Args:
            bands: list of tensors (irrep and run, channel, point), the points of all images one after the other.
            fourier: the Fourier transform of the group.
            points: tensor (batch or 1, point, axis): the coordinates (x, y) or (x, y, z).
            norm: the normalization of `bands`, whose weight and bias are not applied yet.
            size: tuple (row, column): the size of the image whose pixels are the points. Required for a window.
            window: int: the side of the neighborhood that a point attends to, in pixels. None is all points.
            exists: tensor (batch, point) of bool: the points that can be attended to. None is all of them.
        """
        maps = fourier.inverse(self.maps(bands, norm))
        maps = maps.view(self.poses, 3, self.heads, self.key_dim, -1, points.shape[1])
        both, value = maps.split((2, 1), 1)
        gain = None
        if self.log_gain is not None:  # that of queries is 1
            gain = torch.stack([torch.ones_like(self.log_gain), self.log_gain.exp()])[..., None, None, None]
        query, key = rotate(both, self.angles_of(points, both), gain).flatten(2, 3)
        value = value.permute(FOR_KERNEL).contiguous().flatten(2, 3)[0]
        if window is None:
            mask = None if exists is None else exists[:, None, None]
            out = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        else:
            assert size is not None
            query, key, value = (each.unsqueeze(2) for each in (query, key, value))
            out = attend_in_windows(query, key, value, 1 / math.sqrt(self.key_dim), size, window).squeeze(2)
        out = out.permute(1, 3, 0, 2).reshape(self.poses, self.heads * self.key_dim, -1)
        return self.output(fourier(out))


# From (pose, part, head, feature, batch, point) to (part, batch, pose, head, point, feature) of the fused kernel of
# attention, which needs contiguous arrays; and back.
FOR_KERNEL, FROM_KERNEL = (1, 4, 0, 2, 5, 3), (2, 0, 3, 5, 1, 4)


def rotate(x: torch.Tensor, angles: torch.Tensor, gain: torch.Tensor | None = None) -> torch.Tensor:
    """Turn the complex numbers x (pose, part, head, real and imaginary, batch, point) by angles.

    With a gain (part, head, 1, 1, 1), x is replaced by gain x / sqrt(1 + mean x^2): small vectors as they are, large
    ones of bounded length. The output has the order of axes (part, batch, pose, head, point, real and imaginary).
    """
    inputs = [each for each in (x, angles, gain) if each is not None]
    if torch.is_grad_enabled() and any(each.requires_grad for each in inputs):
        return _Rotation.apply(x, angles, gain)[0]
    out = (
        _turned(x, angles.cos(), angles.sin())
        if gain is None
        else _turned(x * _scale(x, gain), angles.cos(), angles.sin())
    )
    return out.permute(FOR_KERNEL).contiguous()


def _scale(x: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
    return gain * (1 + x.square().mean(3, keepdim=True)).rsqrt()


def _turned(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    real, imaginary = x.chunk(2, 3)
    return torch.cat([real * cos - imaginary * sin, real * sin + imaginary * cos], 3)


class _Rotation(torch.autograd.Function):
    """`rotate()` with half the passes over memory. It keeps only its output y, in the array that the kernel keeps too.

    The derivative by the angle is i y. With the scale r = gain / sqrt(1 + mean x^2), the derivative of a loss by x is
    R^-1 (r y' - r <y', y> y / (gain^2 d)) for d features, where R is the rotation and y' the derivative by y.
    """

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, angles: torch.Tensor, gain: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        cos, sin = angles.cos(), angles.sin()
        out = _turned_in_place(x, cos, sin)
        scale = None if gain is None else _scale(x, gain)
        out = (out if scale is None else out.mul_(scale)).permute(FOR_KERNEL).contiguous()
        ctx.save_for_backward(out, scale, angles, gain)
        ctx.waves = cos, sin
        ctx.set_materialize_grads(False)
        return out, scale  # the scale is an output because second derivatives need its derivative

    @staticmethod
    def backward(
        ctx: Any, grad: torch.Tensor | None, by_scale: torch.Tensor | None
    ) -> tuple[torch.Tensor | None, torch.Tensor | None, torch.Tensor | None]:
        out, scale, angles, gain = ctx.saved_tensors
        out = out.permute(FROM_KERNEL)
        grad = torch.zeros_like(out) if grad is None else grad.permute(FROM_KERNEL)
        through, by_gain = grad, None
        if gain is not None:
            product = (grad * out).sum(3, keepdim=True)
            both = product if by_scale is None else product + by_scale * scale
            by_gain = (both / gain).sum((0, 4, 5), keepdim=True)[0] if ctx.needs_input_grad[2] else None
            through = (grad * scale).addcmul(out, both * scale / (gain.square() * out.shape[3]), value=-1)
        if torch.is_grad_enabled():  # the gradient is itself differentiated
            before = _turned(through, angles.cos(), -angles.sin())
        else:
            before = _turned_in_place(through, ctx.waves[0], -ctx.waves[1])
        if not ctx.needs_input_grad[1]:
            return before, None, by_gain
        (real, imaginary), (by_real, by_imaginary) = out.chunk(2, 3), grad.chunk(2, 3)
        by_angle = (by_imaginary * real).addcmul(by_real, imaginary, value=-1).sum(1, keepdim=True)
        return before, by_angle.sum_to_size(angles.shape), by_gain


def _turned_in_place(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    out = torch.empty_like(x, memory_format=torch.contiguous_format)
    (real, imaginary), (out_real, out_imaginary) = x.chunk(2, 3), out.chunk(2, 3)
    torch.mul(real, cos, out=out_real).addcmul_(imaginary, sin, value=-1)
    torch.mul(real, sin, out=out_imaginary).addcmul_(imaginary, cos)
    return out


class PoseMLP(nn.Module):
    """Two equivariant linear maps with GELU at each pose between them."""

    def __init__(self, space: GSpace, fields: int, hidden: int) -> None:
        super().__init__()
        self.inner = PoseLinear(space, fields, hidden)
        self.outer = PoseLinear(space, hidden, fields)

    def forward(
        self, bands: Sequence[torch.Tensor], fourier: GroupFourier, norm: TokenNorm | None = None
    ) -> list[torch.Tensor]:
        return self.outer(fourier(functional.gelu(fourier.inverse(self.inner(bands, norm)))))


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

"""Attention between poses, on points with coordinates: the computation of both kinds of layers."""

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
from ..attention import attend
from ..errors import InputError


def pixel_points(size: Sequence[int], like: torch.Tensor) -> torch.Tensor:
    """Return the coordinates (1, point, axis) of the pixels about the center of an image or volume.

    x is to the right, y up, and z towards smaller depths, as the group acts on them.
    """
    axes = [torch.arange(n, dtype=torch.float64, device=like.device) - (n - 1) / 2 for n in size]
    grid = torch.meshgrid(*[-axis for axis in axes[:-1]], axes[-1], indexing="ij")
    return torch.stack(grid[::-1], -1).flatten(0, -2)[None]


class AdditiveScores(nn.Module):
    """rho_P and rho_H, as features to append to queries and keys."""

    matrices: torch.Tensor  # (wave, 2, 2): one matrix of the group for each wave vector of an orbit, v and -v being one
    source: torch.Tensor  # (element, wave): the wave that an element's inverse leads to
    sign: torch.Tensor  # (element, wave): -1 where it leads to the opposite of that wave
    relative: torch.Tensor  # (element, element): the number of h^-1 w
    frequencies: torch.Tensor | None
    waves: torch.Tensor | None
    poses: torch.Tensor | None

    def __init__(self, space: GSpace, heads: int, key_dim: int, frequencies: int, poses: bool) -> None:
        super().__init__()
        matrices, source, sign, relative = _tables(space)
        order, waves = source.shape
        self.order, self.key_size = order, key_dim
        for name, table in (("matrices", matrices), ("source", source), ("sign", sign), ("relative", relative)):
            self.register_buffer(name, torch.as_tensor(table), persistent=False)
        shapes = {
            "frequencies": (heads, frequencies, 2),
            "waves": (2, heads, waves, frequencies, key_dim),
            "poses": (heads, order, key_dim),
        }
        needed = {"frequencies": frequencies > 0, "waves": frequencies > 0, "poses": poses and order > 1}
        for name, shape in shapes.items():
            self.register_parameter(name, nn.Parameter(torch.empty(shape)) if needed[name] else None)

    def draw_weights(self, generator: torch.Generator) -> None:
        """Draw weights such that positions contribute about half as much as contents."""
        if self.frequencies is not None and self.waves is not None:
            draw_frequencies(self.frequencies, generator)
            count = self.frequencies.shape[1]
            drawn = torch.randn(self.waves.shape, generator=generator, dtype=torch.float64)
            self.waves.data.copy_(0.5 * drawn / math.sqrt(self.waves.shape[2] * count))
        if self.poses is not None:
            self.poses.data.copy_(0.5 * torch.randn(self.poses.shape, generator=generator, dtype=torch.float64))

    def phases(self, points: torch.Tensor) -> torch.Tensor | None:
        """Return <v, x> of points (batch, point, 2) as (batch, heads, 1, point, wave)."""
        return None if self.frequencies is None else phases_of(self.matrices, self.frequencies, points)

    def of_queries(self, query: torch.Tensor, phases: torch.Tensor | None) -> torch.Tensor:
        """Append position features to queries (batch, heads, element or 1, point, feature), for each element."""
        features = [query.expand(-1, -1, self.order, -1, -1)]
        if phases is not None and self.waves is not None:
            even, odd = self.waves[:, :, self.source]  # (heads, element, wave, frequency, feature)
            odd = odd * self.sign[..., None, None].to(odd.dtype)
            on_cos, on_sin = (query @ each.flatten(2, 3).mT for each in (even, odd))
            cos, sin = phases.cos().to(query.dtype), phases.sin().to(query.dtype)
            features += [on_cos * cos - on_sin * sin, on_cos * sin + on_sin * cos]
        if self.poses is not None:
            features.append(query @ self.poses[:, self.relative].mT)
        return torch.cat(features, -1)

    def of_keys(self, key: torch.Tensor, phases: torch.Tensor | None, gain: torch.Tensor) -> torch.Tensor:
        """Append position features to keys (batch, heads, element or 1, point, feature), multiplied by `gain`."""
        features = [key * gain]
        if phases is not None:
            waves = torch.cat([phases.cos(), phases.sin()], -1).to(key.dtype)
            features.append(waves.expand(*key.shape[:-1], -1))
        if self.poses is not None:
            marks = torch.eye(self.order, dtype=key.dtype, device=key.device)
            features.append(marks[:, None].expand(*key.shape[:-1], -1))
        return torch.cat(features, -1)


class RotaryScores(nn.Module):
    """Positions as angles of queries and keys, without further features, and therefore without further cost of the
    scores.

    The features of a head are complex numbers, some for each wave vector v of an orbit. In the query (or key) of the
    pose (i, h), the number of v is q(h^-1 v) exp(i <v, x_i>). The group permutes the numbers as it permutes the waves,
    so the score is Re sum_v conj(q(v)) exp(i <v, h^-1 (x_j - x_i)>) k(w^-1 h v), which depends only on relative poses.
    In the keys of lifting, one real number serves all waves of an orbit; if half an orbit is stored, the other half is
    the conjugate.

    Source: Su et al. 2021 (arXiv 2104.09864), for one axis and without a group.
    """

    matrices: torch.Tensor
    source: torch.Tensor
    sign: torch.Tensor

    def __init__(self, space: GSpace, heads: int, key_dim: int, lifting: bool) -> None:
        super().__init__()
        matrices, source, sign, _ = _tables(space)
        self.order, self.waves = source.shape
        for name, table in (("matrices", matrices), ("source", source), ("sign", sign)):
            self.register_buffer(name, torch.as_tensor(table), persistent=False)
        count = check_rotary(space, key_dim)
        self.key_size = count if lifting else key_dim
        self.frequencies = nn.Parameter(torch.empty(heads, count, 2))

    def draw_weights(self, generator: torch.Generator) -> None:
        draw_frequencies(self.frequencies, generator)

    def phases(self, points: torch.Tensor) -> torch.Tensor:
        """Return <v, x> of points (batch, point, 2) as (batch, heads, 1, point, wave)."""
        return phases_of(self.matrices, self.frequencies, points)

    def of_queries(self, query: torch.Tensor, phases: torch.Tensor) -> torch.Tensor:
        """Rotate the complex numbers of queries (batch, heads, element or 1, point, feature), for each element."""
        return self._rotate(query, phases.cos().to(query.dtype), phases.sin().to(query.dtype))

    def of_keys(self, key: torch.Tensor, phases: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
        """Rotate the complex numbers of keys (batch, heads, element or 1, point, feature), and multiply by `gain`."""
        cos, sin = gain * phases.cos().to(key.dtype), gain * phases.sin().to(key.dtype)
        if key.shape[-1] == 2 * cos.shape[-1]:
            return self._rotate(key, cos, sin)
        key = key.repeat(1, 1, 1, 1, self.waves)
        return torch.cat([key * cos, key * sin], -1)

    def _rotate(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        numbers = x.expand(-1, -1, self.order, -1, -1).unflatten(-1, (2, self.waves, -1))
        numbers = torch.stack([numbers[:, :, h, :, :, source] for h, source in enumerate(self.source)], 2)
        real, imaginary = (part.flatten(-2) for part in numbers.unbind(-3))
        # Conjugates by their sign; on cos and sin, which are small beside the features.
        sign = self.sign.repeat_interleave(real.shape[-1] // self.waves, 1)[:, None].to(x.dtype)
        return torch.cat([real * cos - imaginary * (sign * sin), real * sin + imaginary * (sign * cos)], -1)


def check_rotary(space: GSpace, key_dim: int) -> int:
    """Return how many complex numbers `key_dim` features provide for each wave of an orbit."""
    waves = len(_tables(space)[0])
    if key_dim % (2 * waves):
        raise InputError(
            "`{argument}` (fields / heads, where it is not given) must be divisible by {divisor} for positions = "
            "{rotary!r}: complex numbers for {waves} waves of {group}; got {key_dim}.",
            "key_dim", divisor=2 * waves, rotary="rotary", waves=waves, group=str(space.fibergroup), key_dim=key_dim,
        )  # fmt: skip
    return key_dim // (2 * waves)


def wave_count(space: GSpace) -> int:
    """Return the number of waves of an orbit, v and -v being one."""
    return len(_tables(space)[0])


def phases_of(matrices: torch.Tensor, frequencies: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Return <v, x> of points (batch, point, 2) as (batch, heads, 1, point, wave); float64, as phases are large."""
    waves = torch.einsum("wab,hfb->hwfa", matrices.double(), frequencies.double()).flatten(1, 2)
    return (points.double()[:, None] @ waves.mT).unsqueeze(2)


def draw_frequencies(frequencies: torch.Tensor, generator: torch.Generator) -> None:
    """Draw wave vectors (heads, frequency, 2) with wavelengths from 2 to 16 pixels in all directions."""
    octaves, direction = torch.rand((2, *frequencies.shape[:2]), generator=generator, dtype=torch.float64)
    size, angle = 2 * math.pi / (2 * 8**octaves), 2 * math.pi * direction
    frequencies.data.copy_(torch.stack([size * angle.cos(), size * angle.sin()], -1))


def _tables(space: GSpace) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the tables of both scores: matrices, source, sign, relative.

    If the group contains the half turn, the waves of v and -v are equal up to the sign of the sine, so one wave of each
    pair represents both: half the features for the same functions.
    """
    table = groups.cayley_table(space)
    matrices = np.stack([groups.base_matrix(space, element) for element in groups.elements(space)])
    inverse = table.argmin(axis=1)  # the identity has the number 0
    half_turn = [number for number, matrix in enumerate(matrices) if np.allclose(matrix, -np.eye(2))]
    kept = [g for g in range(len(table)) if not half_turn or g < table[g, half_turn[0]]]
    wave_of = {g: (wave, 1.0) for wave, g in enumerate(kept)}
    if half_turn:
        wave_of.update({int(table[g, half_turn[0]]): (wave, -1.0) for wave, g in enumerate(kept)})
    reached = [[wave_of[int(table[inverse[h], g])] for g in kept] for h in range(len(table))]
    source = np.array([[wave for wave, _ in row] for row in reached])
    sign = np.array([[sign for _, sign in row] for row in reached])
    return matrices[kept], source, sign, table[inverse]


class PoseAttention(nn.Module):
    """Attention between poses on points with coordinates, the map of both layers.

    Features are (batch, field, element or 1, point). The weights are `query`, `key`, `value` (heads * key_dim, field)
    and `output` (field, heads * key_dim) with their biases, where heads are packed as in torch, and the weights of
    `scores`.
    """

    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    output: torch.Tensor
    query_bias: torch.Tensor
    key_bias: torch.Tensor
    value_bias: torch.Tensor
    output_bias: torch.Tensor

    def __init__(
        self, space: GSpace, fields: tuple[int, int], lifting: bool, heads: int, key_dim: int, frequencies: int,
        dropout: float, qk_norm: bool, positions: str,
    ) -> None:  # fmt: skip
        super().__init__()
        self.heads, self.key_dim, self.dropout = heads, key_dim, dropout
        inner = heads * key_dim
        self.scores: AdditiveScores | RotaryScores = (
            RotaryScores(space, heads, key_dim, lifting)
            if positions == "rotary"
            else AdditiveScores(space, heads, key_dim, frequencies, poses=not lifting)
        )
        for name in ("query", "key", "value", "output"):
            sizes = (fields[1], inner) if name == "output" else (inner, fields[0])
            if name == "key":
                sizes = (heads * self.scores.key_size, fields[0])
            self.register_parameter(name, nn.Parameter(torch.empty(sizes)))
            self.register_parameter(f"{name}_bias", nn.Parameter(torch.empty(sizes[0])))
        self.log_gain = nn.Parameter(torch.zeros(heads)) if qk_norm else None

    def draw_weights(self, generator: torch.Generator) -> None:
        """Draw weights as torch does for linear maps: uniform within 1 / sqrt(inputs)."""
        for name in ("query", "key", "value", "output"):
            weight = getattr(self, name)
            draw_uniform(weight, weight.shape[1], generator)
            draw_uniform(getattr(self, f"{name}_bias"), weight.shape[1], generator)

    def forward(
        self,
        x: torch.Tensor,
        points: torch.Tensor,
        size: tuple[int, int] | None = None,
        window: int | None = None,
        exists: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Compute features at poses (batch, field, element, point).

        Args:
            x: tensor (batch, field, element or 1, point): the features.
            points: tensor (batch or 1, point, 2): the coordinates, x to the right and y up.
            size: tuple (row, column): the size of the image whose pixels are the points. Required for a window.
            window: int: the side of the neighborhood that a point attends to, in pixels. None is all points.
            exists: tensor (batch, point) of bool: the points that can be attended to. None is all of them.
        """
        poses, count = x.shape[2:]
        weight = torch.cat([self.query, self.key, self.value])
        bias = torch.cat([self.query_bias, self.key_bias, self.value_bias])
        maps = functional.linear(x.flatten(2).mT, weight, bias)
        sizes = [self.heads * size for size in (self.key_dim, self.scores.key_size, self.key_dim)]
        query, key, value = (
            each.unflatten(2, (self.heads, -1)).transpose(1, 2).unflatten(2, (poses, count))
            for each in maps.split(sizes, 2)
        )
        gain = query.new_ones(1)
        if self.log_gain is not None:  # x / sqrt(1 + mean x^2): small vectors as they are, large ones of bounded length
            query, key = (functional.rms_norm(each, each.shape[-1:], eps=1.0) for each in (query, key))
            gain = self.log_gain.exp()[:, None, None, None]
        phases: Any = self.scores.phases(points)
        query, key = self.scores.of_queries(query, phases), self.scores.of_keys(key, phases, gain)
        scale = 1 / math.sqrt(self.key_dim)
        if window is None:
            mask = None if exists is None else exists.repeat(1, poses)[:, None, None]
            out = attend(query.flatten(2, 3), key.flatten(2, 3), value.flatten(2, 3), scale, mask)
            out = out.unflatten(2, (self.scores.order, count))
        else:
            assert size is not None
            out = attend_in_windows(query, key, value, scale, size, window)
        out = functional.linear(out.permute(0, 2, 3, 1, 4).flatten(3), self.output, self.output_bias)
        return functional.dropout(out, self.dropout, self.training).permute(0, 3, 1, 2)


def attend_in_windows(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, size: tuple[int, int], window: int
) -> torch.Tensor:
    """Attend from the poses of each pixel to those of the window around it, without pixels outside the image."""

    def gather(x: torch.Tensor) -> torch.Tensor:
        """Convert (batch, heads, pose, point, feature) to (batch, heads, point, pose of the window, feature)."""
        batch, heads, poses, _, features = x.shape
        image = x.movedim(3, 4).reshape(batch, -1, *size)
        around = functional.unfold(image, window, padding=window // 2)
        around = around.reshape(batch, heads, poses, features, window**2, -1)
        return around.permute(0, 1, 5, 2, 4, 3).flatten(3, 4)

    inside = functional.unfold(query.new_ones(1, 1, *size), window, padding=window // 2)[0].T > 0
    mask = inside[:, None, None].expand(-1, 1, key.shape[2], -1).flatten(2)
    return attend(query.transpose(2, 3), gather(key), gather(value), scale, mask).transpose(2, 3)


def draw_uniform(parameter: torch.Tensor, inputs: int, generator: torch.Generator) -> None:
    """Draws a parameter uniformly within 1 / sqrt(inputs)."""
    drawn = torch.rand(parameter.shape, generator=generator, dtype=torch.float64)
    parameter.data.copy_((2 * drawn - 1) / math.sqrt(inputs))

"""Attention between poses, on points with coordinates: what both kinds of layers compute."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from .. import groups
from .._escnn import GSpace
from ..attention import attend


def pixel_points(rows: int, columns: int, like: torch.Tensor) -> torch.Tensor:
    """The coordinates (1, point, 2) of the pixels about the centre of an image, x to the right and y up."""
    x = torch.arange(columns, dtype=torch.float64, device=like.device) - (columns - 1) / 2
    y = (rows - 1) / 2 - torch.arange(rows, dtype=torch.float64, device=like.device)
    return torch.stack([x.expand(rows, -1), y[:, None].expand(-1, columns)], -1).reshape(1, -1, 2)


class PoseScores(nn.Module):
    """The scores of relative poses, as features to append to queries and keys."""

    turns: torch.Tensor  # (wave, 2, 2): one matrix of the group for each wave vector of an orbit, v and -v being one
    source: torch.Tensor  # (element, wave): the wave that an element's inverse leads to
    sign: torch.Tensor  # (element, wave): -1 where it leads to the opposite of that wave
    relative: torch.Tensor  # (element, element): the number of h^-1 w
    frequencies: torch.Tensor | None
    waves: torch.Tensor | None
    poses: torch.Tensor | None

    def __init__(self, space: GSpace, heads: int, key_dim: int, frequencies: int, poses: bool) -> None:
        super().__init__()
        turns, source, sign, relative = _tables(space)
        order, waves = source.shape
        self.order, self.key_dim = order, key_dim
        for name, table in (("turns", turns), ("source", source), ("sign", sign), ("relative", relative)):
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
        """Wavelengths from 4 to 32 pixels in all directions; positions that weigh about as much as contents."""

        def uniform(*shape: int) -> torch.Tensor:
            return torch.rand(shape, generator=generator, dtype=torch.float64)

        if self.frequencies is not None and self.waves is not None:
            heads, count, _ = self.frequencies.shape
            size = 2 * math.pi / (4 * 8 ** uniform(heads, count))
            angle = 2 * math.pi * uniform(heads, count)
            self.frequencies.data.copy_(torch.stack([size * angle.cos(), size * angle.sin()], -1))
            drawn = torch.randn(self.waves.shape, generator=generator, dtype=torch.float64)
            self.waves.data.copy_(0.5 * drawn / math.sqrt(self.waves.shape[2] * count))
        if self.poses is not None:
            self.poses.data.copy_(0.5 * torch.randn(self.poses.shape, generator=generator, dtype=torch.float64))

    def phases(self, points: torch.Tensor) -> torch.Tensor | None:
        """<v, x> of points (batch, point, 2) as (batch, heads, 1, point, wave); in float64, since phases grow large."""
        if self.frequencies is None:
            return None
        waves = torch.einsum("wab,hfb->hwfa", self.turns.double(), self.frequencies.double()).flatten(1, 2)
        return (points.double()[:, None] @ waves.mT).unsqueeze(2)

    def of_queries(self, query: torch.Tensor, phases: torch.Tensor | None) -> torch.Tensor:
        """Queries (batch, heads, element or 1, point, feature) with their position features, for each element."""
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

    def of_keys(self, key: torch.Tensor, phases: torch.Tensor | None) -> torch.Tensor:
        """Keys (batch, heads, element or 1, point, feature) with the position features of their points."""
        features = [key]
        if phases is not None:
            waves = torch.cat([phases.cos(), phases.sin()], -1).to(key.dtype)
            features.append(waves.expand(*key.shape[:-1], -1))
        if self.poses is not None:
            marks = torch.eye(self.order, dtype=key.dtype, device=key.device)
            features.append(marks[:, None].expand(*key.shape[:-1], -1))
        return torch.cat(features, -1)


def _tables(space: GSpace) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The tables of `PoseScores`: turns, source, sign, relative.

    Where the group holds the half turn, the waves of v and -v are the same up to the sign of the sine, so one of
    each pair stands for both: half the features for the same functions.
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
    """Attention between poses: the map of both layers, on points with coordinates.

    Features are (batch, field, element or 1, point). Weights: `query`, `key`, `value` (heads * key_dim, field) and
    `output` (field, heads * key_dim) with their biases, heads packed as torch packs them, and those of `scores`.
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
        dropout: float, qk_norm: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        self.heads, self.key_dim, self.dropout = heads, key_dim, dropout
        inner = heads * key_dim
        for name in ("query", "key", "value", "output"):
            sizes = (fields[1], inner) if name == "output" else (inner, fields[0])
            self.register_parameter(name, nn.Parameter(torch.empty(sizes)))
            self.register_parameter(f"{name}_bias", nn.Parameter(torch.empty(sizes[0])))
        self.log_gain = nn.Parameter(torch.zeros(heads)) if qk_norm else None
        self.scores = PoseScores(space, heads, key_dim, frequencies, poses=not lifting)

    def draw_weights(self, generator: torch.Generator) -> None:
        """torch's own initialisation of linear maps: uniform within 1 / sqrt(inputs)."""
        for name in ("query", "key", "value", "output"):
            weight = getattr(self, name)
            draw_uniform(weight, weight.shape[1], generator)
            draw_uniform(getattr(self, f"{name}_bias"), weight.shape[1], generator)

    def forward(
        self, x: torch.Tensor, points: torch.Tensor, size: tuple[int, int] | None = None, window: int | None = None
    ) -> torch.Tensor:
        """Features at poses (batch, field, element, point).

        Args:
            x: (batch, field, element or 1, point).
            points: coordinates (batch or 1, point, 2), x to the right and y up.
            size: (row, column) of the image whose pixels the points are; needed for a window.
            window: side of the neighbourhood that a point attends to, pixels; None is all points.
        """
        poses, count = x.shape[2:]
        weight = torch.cat([self.query, self.key, self.value])
        bias = torch.cat([self.query_bias, self.key_bias, self.value_bias])
        maps = functional.linear(x.flatten(2).mT, weight, bias)
        query, key, value = (
            maps.unflatten(2, (3, self.heads, self.key_dim)).permute(2, 0, 3, 1, 4).unflatten(3, (poses, count))
        )
        if self.log_gain is not None:  # x / sqrt(1 + mean x^2): small vectors as they are, large ones of bounded length
            query = functional.rms_norm(query, (self.key_dim,), eps=1.0)
            key = functional.rms_norm(key, (self.key_dim,), eps=1.0) * self.log_gain.exp()[:, None, None, None]
        phases = self.scores.phases(points)
        query, key = self.scores.of_queries(query, phases), self.scores.of_keys(key, phases)
        scale = 1 / math.sqrt(self.key_dim)
        if window is None:
            out = attend(query.flatten(2, 3), key.flatten(2, 3), value.flatten(2, 3), scale)
            out = out.unflatten(2, (self.scores.order, count))
        else:
            assert size is not None
            out = _attend_in_windows(query, key, value, scale, size, window)
        out = functional.linear(out.permute(0, 2, 3, 1, 4).flatten(3), self.output, self.output_bias)
        return functional.dropout(out, self.dropout, self.training).permute(0, 3, 1, 2)


def _attend_in_windows(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, size: tuple[int, int], window: int
) -> torch.Tensor:
    """Attention of each pixel's poses to those of the window around it, of which only the pixels in the image count."""

    def gather(x: torch.Tensor) -> torch.Tensor:
        """(batch, heads, pose, point, feature) as (batch, heads, point, pose of the window, feature)."""
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

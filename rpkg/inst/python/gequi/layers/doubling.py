"""Layers on a grid of half the spacing: larger images, and nonlinearities that are computed there.

A nonlinearity creates frequencies that the pixel grid cannot represent. They appear as lower frequencies, which do not
turn with the image. Computed on the finer grid, most of them can be removed.

Source: Karras et al. 2021 (arXiv 2106.12423), alias-free nonlinearities.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from .._escnn import EquivariantModule, FieldType, GeometricTensor
from ..arrays import check_flag
from ..geometry.doubling import REACH, doubled, halved
from .plain import Apply
from .plan import Step, Window, dimension_of, kind, need_pointwise


@kind
def plan_enlarge(before: FieldType) -> Step:
    """Enlarges images or volumes: n pixels become 2 n - 1, interpolated with a Kaiser-windowed sinc filter."""
    dimension_of(before, 2, 3)
    return Step(before, lambda: Enlarge(before), lambda layer: Apply(doubled), resize=lambda length: 2 * length - 1)


class Antialiased(nn.Module):
    """A function of single values, computed at half the spacing and filtered."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return halved(self.function(doubled(x)))


class Enlarge(EquivariantModule):
    """`doubled()` on features of any type."""

    def __init__(self, in_type: FieldType) -> None:
        super().__init__()
        self.in_type = self.out_type = in_type

    def forward(self, x: GeometricTensor) -> GeometricTensor:
        return GeometricTensor(doubled(x.tensor), self.out_type)

    def evaluate_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (*input_shape[:2], *(2 * length - 1 for length in input_shape[2:]))


class Pointwise(EquivariantModule):
    """`Antialiased` on fields whose channels the group permutes."""

    def __init__(self, in_type: FieldType, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.in_type = self.out_type = in_type
        self.plain = Antialiased(function)

    def forward(self, x: GeometricTensor) -> GeometricTensor:
        return GeometricTensor(self.plain(x.tensor), self.out_type)

    def evaluate_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return input_shape


def pointwise(
    before: FieldType, antialiased: Any, build: Callable[[], nn.Module], function: Callable[[], nn.Module]
) -> Step:
    """Plan a pointwise nonlinearity: the layer `build()`, or with `antialiased` `function()` on the finer grid."""
    need_pointwise(before)
    if not check_flag(antialiased, "antialiased"):
        return Step(before, build, lambda layer: function())
    dimension_of(before, 2, 3)
    reach = 2 * REACH - 1  # pixels: half of them by each of the two filters
    window = Window(2 * reach + 1, padding=reach)
    return Step(before, lambda: Pointwise(before, function()), lambda layer: Antialiased(function()), window)

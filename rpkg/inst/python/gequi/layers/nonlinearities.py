"""Nonlinearities that commute with the group, for different types of fields."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from .._escnn import EquivariantModule, FieldType, GeometricTensor, escnn
from ..arrays import check_choice, check_flag, check_integer, check_number
from ..errors import FieldError
from ..fields import show_fields, spectral_frequency
from .doubling import pointwise
from .plain import Gate, NormScale, Sampled
from .plan import Step, kind


@kind
def plan_relu(before: FieldType, *, antialiased: bool = False) -> Step:
    """ReLU on each channel. `antialiased` computes it on a grid of half the spacing and filters."""
    return pointwise(before, antialiased, lambda: escnn.nn.ReLU(before), nn.ReLU)


@kind
def plan_elu(before: FieldType, *, alpha: float = 1.0, antialiased: bool = False) -> Step:
    """ELU on each channel. `antialiased` computes it on a grid of half the spacing and filters."""
    alpha = check_number(alpha, "alpha", minimum=0)
    return pointwise(before, antialiased, lambda: escnn.nn.ELU(before, alpha=alpha), lambda: nn.ELU(alpha))


@kind
def plan_leaky_relu(before: FieldType, *, negative_slope: float = 0.01, antialiased: bool = False) -> Step:
    """Leaky ReLU on each channel. `antialiased` computes it on a grid of half the spacing and filters."""
    slope = check_number(negative_slope, "negative_slope")
    layer = escnn.nn.LeakyReLU
    return pointwise(before, antialiased, lambda: layer(before, negative_slope=slope), lambda: nn.LeakyReLU(slope))


@kind
def plan_norm_nonlinearity(before: FieldType, *, function: str = "n_relu", bias: bool = True) -> Step:
    """Changes the norm of each field and keeps its direction: f -> function(|f| - bias) f / |f|."""
    function = check_choice(function, "function", ("n_relu", "n_sigmoid", "n_softplus", "squash"))
    bias = check_flag(bias, "bias") and function != "squash"  # escnn has no bias for squash
    return Step(before, lambda: escnn.nn.NormNonLinearity(before, function=function, bias=bias), _plain_norm)


def _plain_norm(layer: Any) -> nn.Module:
    sizes, bias = _sizes(layer.in_type), None
    if layer.log_bias is not None:
        by_size = layer.log_bias.exp().flatten()  # in escnn, biases are sorted by the size of the fields
        bias = by_size[torch.tensor(_ranks(sizes), device=by_size.device)]
    return NormScale(sizes, layer._function, bias, layer.eps)


def _sizes(fields: FieldType) -> list[int]:
    return [int(field.size) for field in fields.representations]


def _ranks(sizes: list[int]) -> list[int]:
    """Return the rank of each field when the fields are sorted by size."""
    order = sorted(range(len(sizes)), key=sizes.__getitem__)
    return [order.index(field) for field in range(len(sizes))]


@kind
def plan_gated_nonlinearity(before: FieldType) -> Step:
    """Multiplies each field of the second half by the sigmoid of a trivial field of the first half, its gate."""
    fields = before.representations
    half, left = divmod(len(fields), 2)
    if left or not all(field.is_trivial() for field in fields[:half]):
        raise FieldError(
            "the layer requires one trivial field for each field that it gates, and the trivial fields first, such as "
            "{example!r}; the fields before it are {fields}.",
            "layers", example={"trivial": 2, "irrep_1": 2}, fields=show_fields(before),
        )  # fmt: skip
    after = FieldType(before.gspace, fields[half:])

    def build() -> escnn.nn.EquivariantModule:
        layer = escnn.nn.GatedNonLinearity1(before)
        layer.bias.data.zero_()  # escnn draws random biases; 0 starts all gates half open
        return layer

    return Step(after, build, _plain_gate)


def _plain_gate(layer: Any) -> nn.Module:
    sizes = _sizes(layer.out_type)
    return Gate(sizes, layer.bias, _ranks(sizes))  # escnn assigns the first gates to the smallest fields


@kind
def plan_fourier_elu(before: FieldType, *, samples: int | None = None) -> Step:
    """ELU on the values of fields "fourier(L)" at `samples` group elements, equivariant up to this sampling.

    If `samples` is a multiple of 4, the layer is exactly equivariant to quarter turns. In space, `samples` is escnn's N
    of the grid "thomson_cube", which has 24 N elements.
    """
    group, space = before.gspace.fibergroup, before.gspace
    frequency = spectral_frequency(before)
    if frequency is None:
        raise FieldError(
            "the layer needs fields {name!r}, all with the same L; the fields before it are {fields}.",
            "layers", name="fourier(L)", fields=show_fields(before),
        )  # fmt: skip
    on_sphere = group.name.startswith(("SO(3)", "O(3)"))
    wanted = (
        (4 if on_sphere else 4 * frequency + 4) if samples is None else check_integer(samples, "samples", minimum=1)
    )
    grid = {"type": "thomson_cube" if on_sphere else "regular", "N": wanted}
    irreps = group.bl_irreps(frequency)
    return Step(
        before,
        lambda: escnn.nn.FourierELU(space, len(before), irreps, inplace=False, **grid),
        lambda layer: Sampled(layer.A, layer.Ainv, nn.functional.elu),
        flops=None,  # the number of elements of the grid is that of escnn
    )


@kind
def plan_softmax(before: FieldType) -> Step:
    """Softmax over the channels of invariant fields: probabilities that sum to 1."""
    if not all(field.is_trivial() for field in before.representations):
        raise FieldError(
            "the layer compares channels, which only invariant (trivial) fields allow; the fields before it are {fields}.",
            "layers", fields=show_fields(before),
        )  # fmt: skip
    return Step(before, lambda: Softmax(before), lambda layer: nn.Softmax(1))


class Softmax(EquivariantModule):
    """Softmax over the channels: exp(x_i) / sum_j exp(x_j)."""

    def __init__(self, in_type: FieldType) -> None:
        super().__init__()
        self.in_type = self.out_type = in_type

    def forward(self, x: GeometricTensor) -> GeometricTensor:
        return GeometricTensor(torch.softmax(x.tensor, 1), self.out_type)

    def evaluate_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return input_shape

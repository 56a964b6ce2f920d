"""Pooling over windows, over the whole image and over the group."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from torch import nn

from .._escnn import EquivariantModule, FieldType, GeometricTensor, escnn
from ..arrays import check_choice, check_flag, check_integer, check_number
from ..errors import InputError
from ..groups import trivial
from .plain import Apply, FieldPool, depthwise
from .plan import Step, Window, blur_flops, dimension_of, kind, need_pointwise
from .points import mean_of_points


@kind
def plan_max_pool(
    before: FieldType,
    *,
    kernel_size: int,
    stride: int | None = None,
    padding: int = 0,
    antialiased: bool = False,
    sigma: float = 0.6,
) -> Step:
    """Maximum over windows. `antialiased` computes it at every pixel, blurs (Gaussian, `sigma` pixels) and strides."""
    dimension = dimension_of(before, 2, 3)
    need_pointwise(before)
    window = _window(kernel_size, stride, padding)
    options = {"kernel_size": window.kernel_size, "stride": window.stride, "padding": window.padding}
    if not check_flag(antialiased, "antialiased"):
        layer = escnn.nn.PointwiseMaxPool2D if dimension == 2 else escnn.nn.PointwiseMaxPool3D
        pool = (nn.MaxPool2d, nn.MaxPool3d)[dimension - 2]
        return Step(
            before,
            lambda: layer(before, **options),
            lambda built: pool(window.kernel_size, window.stride, window.padding),
            window,
        )
    sigma = check_number(sigma, "sigma", minimum=1e-3)
    layer = escnn.nn.PointwiseMaxPoolAntialiased2D if dimension == 2 else escnn.nn.PointwiseMaxPoolAntialiased3D
    blur = _blur(sigma)
    # The maximum has stride 1 and the blur has the stride of the layer: both windows combined.
    both = Window(window.kernel_size + blur - 1, window.stride, window.padding + (blur - 1) // 2)
    return Step(
        before,
        lambda: layer(before, sigma=sigma, **options),
        _plain_blurred_maximum,
        both,
        flops=blur_flops(before, blur),
    )


def _plain_blurred_maximum(layer: Any) -> nn.Module:
    pool = (nn.MaxPool2d, nn.MaxPool3d)[layer.d - 2]
    maximum = pool(layer.kernel_size, 1, layer.padding, layer.dilation)
    return nn.Sequential(maximum, depthwise(layer.filter, layer.stride, layer._pad))


@kind
def plan_avg_pool(
    before: FieldType,
    *,
    kernel_size: int = 2,
    stride: int | None = None,
    padding: int = 0,
    antialiased: bool = False,
    sigma: float = 0.66,
) -> Step:
    """Mean over windows. `antialiased` uses a Gaussian of `sigma` pixels, padded to keep the size, instead of a box."""
    dimension = dimension_of(before, 2, 3)
    window = _window(kernel_size, stride, padding)
    if not check_flag(antialiased, "antialiased"):
        layer = escnn.nn.PointwiseAvgPool2D if dimension == 2 else escnn.nn.PointwiseAvgPool3D
        pool = (nn.AvgPool2d, nn.AvgPool3d)[dimension - 2]
        return Step(
            before,
            lambda: layer(before, kernel_size=window.kernel_size, stride=window.stride, padding=window.padding),
            lambda built: pool(window.kernel_size, window.stride, window.padding),
            window,
        )
    sigma = check_number(sigma, "sigma", minimum=1e-3)
    layer = escnn.nn.PointwiseAvgPoolAntialiased2D if dimension == 2 else escnn.nn.PointwiseAvgPoolAntialiased3D
    blur = _blur(sigma)
    return Step(
        before,
        lambda: layer(before, sigma=sigma, stride=window.stride),
        lambda built: depthwise(built.filter, built.stride, built.padding),
        Window(blur, window.stride, (blur - 1) // 2),
        flops=blur_flops(before, blur),
    )


def _window(kernel_size: int, stride: int | None, padding: int) -> Window:
    size = check_integer(kernel_size, "kernel_size", minimum=1)
    padding = check_integer(padding, "padding", minimum=0)
    if 2 * padding > size:
        raise InputError(
            "`{argument}` must be at most half of kernel_size = {size}; got {padding}.",
            "padding", size=size, padding=padding,
        )  # fmt: skip
    return Window(size, size if stride is None else check_integer(stride, "stride", minimum=1), padding)


def _blur(sigma: float) -> int:
    """Return the size of escnn's Gaussian blur filter."""
    return 2 * round(3 * sigma) + 1


@kind
def plan_global_avg_pool(before: FieldType) -> Step:
    """Mean over the whole image or volume: one value per channel, with spatial axes of size 1."""
    dimension_of(before, 2, 3)
    return Step(before, lambda: GlobalAveragePool(before), lambda layer: Apply(mean_of_points), resize=lambda length: 1)


class GlobalAveragePool(EquivariantModule):
    """Mean over all spatial axes, which keep size 1. It is equivariant for all fields."""

    def __init__(self, in_type: FieldType) -> None:
        super().__init__()
        self.in_type = self.out_type = in_type

    def forward(self, x: GeometricTensor) -> GeometricTensor:
        return GeometricTensor(mean_of_points(x.tensor), self.out_type)

    def evaluate_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (*input_shape[:2], *[1] * (len(input_shape) - 2))


@kind
def plan_group_pool(before: FieldType, *, reduction: str = "max") -> Step:
    """Maximum (or mean) over the channels of each field: one invariant channel per field."""
    need_pointwise(before)
    reduction = check_choice(reduction, "reduction", ("max", "mean"))
    after = _one_trivial_a_field(before)
    return Step(after, lambda: GroupPool(before, after, reduction), lambda layer: deepcopy(layer.pool))


@kind
def plan_norm_pool(before: FieldType) -> Step:
    """Euclidean norm of each field, for all types of fields: one invariant channel per field."""
    after = _one_trivial_a_field(before)
    return Step(after, lambda: GroupPool(before, after, "norm"), lambda layer: deepcopy(layer.pool))


def _one_trivial_a_field(before: FieldType) -> FieldType:
    return FieldType(before.gspace, [trivial(before.gspace)] * len(before))


class GroupPool(EquivariantModule):
    """The maximum, mean or norm of the channels of each field."""

    def __init__(self, in_type: FieldType, out_type: FieldType, reduction: str) -> None:
        super().__init__()
        self.in_type, self.out_type = in_type, out_type
        self.pool = FieldPool([int(r.size) for r in in_type.representations], reduction)

    def forward(self, x: GeometricTensor) -> GeometricTensor:
        return GeometricTensor(self.pool(x.tensor), self.out_type)

    def evaluate_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (input_shape[0], len(self.out_type), *input_shape[2:])

"""Steerable convolutions and linear maps: all maps between two field types that commute with the group.

Source: Weiler and Cesa 2019 (arXiv 1911.08251); Cesa, Lang and Weiler 2022 (ICLR). The layers are those of escnn.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from .._escnn import FieldType, escnn
from .._limits import check_memory
from ..arrays import check_choice, check_flag, check_integer
from ..errors import FieldError, InputError
from ..fields import show_fields
from .fourier import form_of, marked
from .plain import CONVOLUTIONS, TRANSPOSED, with_weights
from .plan import Step, Window, convolution_flops, dimension_of, fields_after, kind, odd

_FLOAT = 4  # bytes
_PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


@kind
def plan_conv(
    before: FieldType,
    *,
    fields: Any,
    kernel_size: int,
    padding: int = 0,
    stride: int = 1,
    dilation: int = 1,
    padding_mode: str = "zeros",
    groups: int = 1,
    bias: bool = True,
) -> Step:
    """Steerable convolution to `fields`, in the plane or in space."""
    dimension = dimension_of(before, 2, 3)
    after = fields_after(before, fields)
    window = Window(
        odd(kernel_size, "kernel_size"),
        check_integer(stride, "stride", minimum=1),
        check_integer(padding, "padding", minimum=0),
        check_integer(dilation, "dilation", minimum=1),
    )
    check_memory(_FLOAT * before.size * after.size * window.kernel_size**dimension, "kernel_size")
    options: dict[str, Any] = {
        "padding_mode": check_choice(padding_mode, "padding_mode", _PADDING_MODES),
        "groups": _check_groups(before, after, check_integer(groups, "groups", minimum=1)),
        "bias": check_flag(bias, "bias"),
    }
    layer = escnn.nn.R2Conv if dimension == 2 else escnn.nn.R3Conv
    layer = form_of(layer, before, after) if window == Window(1) and options["groups"] == 1 else layer
    return Step(
        after,
        lambda: _steerable(layer, before, after, **vars(window), **options),
        _plain_conv,
        window,
        flops=convolution_flops(before, after, window.kernel_size, options["groups"]),
    )


@kind
def plan_conv_transposed(
    before: FieldType,
    *,
    fields: Any,
    kernel_size: int,
    padding: int = 0,
    output_padding: int = 0,
    stride: int = 1,
    dilation: int = 1,
    bias: bool = True,
) -> Step:
    """Transposed steerable convolution to `fields`. A stride enlarges the image."""
    dimension = dimension_of(before, 2, 3)
    after = fields_after(before, fields)
    window = Window(
        odd(kernel_size, "kernel_size"),
        check_integer(stride, "stride", minimum=1),
        check_integer(padding, "padding", minimum=0),
        check_integer(dilation, "dilation", minimum=1),
    )
    check_memory(_FLOAT * before.size * after.size * window.kernel_size**dimension, "kernel_size")
    extra = check_integer(output_padding, "output_padding", minimum=0)
    if extra and extra >= max(window.stride, window.dilation):
        raise InputError(
            "`{argument}` must be less than the stride or the dilation; got {extra} with stride {stride}, dilation "
            "{dilation}.",
            "output_padding", extra=extra, stride=window.stride, dilation=window.dilation,
        )  # fmt: skip
    bias = check_flag(bias, "bias")
    layer = escnn.nn.R2ConvTransposed if dimension == 2 else escnn.nn.R3ConvTransposed

    def resize(length: int) -> int:
        reach = window.dilation * (window.kernel_size - 1) + 1
        return (length - 1) * window.stride - 2 * window.padding + reach + extra

    return Step(
        after,
        lambda: _steerable(layer, before, after, **vars(window), output_padding=extra, bias=bias),
        _plain_conv,
        resize=resize,
        never_exact="its output_padding adds pixels on one side only" if extra else "",
        flops=lambda size, _: convolution_flops(before, after, window.kernel_size)(size, size),
    )


@kind
def plan_linear(before: FieldType, *, fields: Any, bias: bool = True) -> Step:
    """Equivariant linear map to `fields`, for vectors without a base space."""
    dimension_of(before, 0)
    after = fields_after(before, fields)
    check_memory(_FLOAT * before.size * after.size, "fields")
    bias = check_flag(bias, "bias")
    layer = form_of(escnn.nn.Linear, before, after)
    flops = convolution_flops(before, after, 1)
    return Step(after, lambda: _steerable(layer, before, after, bias=bias), _plain_linear, flops=flops)


def _plain_conv(layer: Any) -> nn.Module:
    """Return torch's convolution with the expanded filter."""
    options = {name: getattr(layer, name) for name in ("kernel_size", "stride", "padding", "dilation", "groups")}
    transposed = hasattr(layer, "output_padding")
    own = "output_padding" if transposed else "padding_mode"
    module = (TRANSPOSED if transposed else CONVOLUTIONS)[layer.d - 2]
    options[own] = getattr(layer, own)
    sizes = layer.in_type.size, layer.out_type.size
    return marked(with_weights(module, *layer.expand_parameters(), *sizes, **options), layer)


def _plain_linear(layer: Any) -> nn.Module:
    sizes = layer.in_type.size, layer.out_type.size
    return marked(with_weights(nn.Linear, *layer.expand_parameters(), *sizes), layer)


def _steerable(layer: Any, before: FieldType, after: FieldType, **options: Any) -> nn.Module:
    try:
        return layer(before, after, initialize=False, **options)
    except ValueError as error:
        if "empty" not in str(error):
            raise
        raise FieldError(
            "no equivariant kernel maps {before} to {after} with these options; use a larger kernel_size or other fields.",
            "fields", before=show_fields(before), after=show_fields(after),
        ) from error  # fmt: skip


def _check_groups(before: FieldType, after: FieldType, groups: int) -> int:
    for name, fields in (("input", before), ("output", after)):
        whole, left = divmod(len(fields), groups)
        equal = (
            all(r == fields.representations[i % whole] for i, r in enumerate(fields.representations))
            if whole
            else False
        )
        if left or not equal:
            raise FieldError(
                "`{argument}` = {groups} must split the {name} fields into equal parts; they are {fields}.",
                "groups", groups=groups, name=name, fields=show_fields(fields),
            )  # fmt: skip
    return groups

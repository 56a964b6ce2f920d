"""Layers that change the group, the spatial size or the position of features, and layers that contain layers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from .._escnn import EquivariantModule, FieldType, GeometricTensor, GroupElement, canonical_type, escnn
from .._limits import check_memory
from ..arrays import check_flag, check_integer, check_number
from ..errors import FieldError, ShapeError
from ..fields import field_type, show_fields
from .plain import Apply, Branch, Joined, Sum, no_change, plain_layers, with_weights
from .plan import Step, dimension_of, kind, plan_layers, without_base


@kind
def plan_upsample(before: FieldType, *, scale_factor: int, align_corners: bool = False) -> Step:
    """Enlarges images (bilinear) or volumes (trilinear) by an integer factor."""
    dimension = dimension_of(before, 2, 3)
    factor = check_integer(scale_factor, "scale_factor", minimum=1)
    align = check_flag(align_corners, "align_corners")
    layer = escnn.nn.R2Upsampling if dimension == 2 else escnn.nn.R3Upsampling
    mode = "bilinear" if dimension == 2 else "trilinear"
    return Step(
        before,
        lambda: layer(before, scale_factor=factor, mode=mode, align_corners=align),
        lambda built: nn.Upsample(scale_factor=factor, mode=mode, align_corners=align),
        resize=lambda length: length * factor,
    )


@kind
def plan_mask(before: FieldType, *, margin: float = 0.0, sigma: float = 2.0) -> Step:
    """Keeps the inscribed disc (or ball), which stays in view at all rotation angles, and decays to 0 outside it."""
    dimension_of(before, 2, 3)
    margin = check_number(margin, "margin", minimum=0)
    sigma = check_number(sigma, "sigma", minimum=0)
    return Step(before, lambda: Mask(before, margin, sigma), lambda layer: Apply(layer.mask))


class Mask(EquivariantModule):
    """Multiplies by 1 inside the inscribed disc reduced by `margin` pixels, and by a Gaussian edge outside.

    `sigma` is the standard deviation of the edge in pixels.
    """

    def __init__(self, in_type: FieldType, margin: float, sigma: float) -> None:
        super().__init__()
        self.in_type = self.out_type = in_type
        self.margin, self.sigma = margin, sigma

    def forward(self, x: GeometricTensor) -> GeometricTensor:
        return GeometricTensor(self.mask(x.tensor), self.out_type)

    def mask(self, tensor: torch.Tensor) -> torch.Tensor:
        """Mask a tensor (batch, channel, *size)."""
        size = tensor.shape[2:]
        kind: dict[str, Any] = {"dtype": torch.promote_types(tensor.dtype, torch.float32), "device": tensor.device}
        axes = [torch.arange(n, **kind) - (n - 1) / 2 for n in size]
        squares = (axis**2 for axis in torch.meshgrid(*axes, indexing="ij"))
        radius = sum(squares, start=torch.zeros(size, **kind)).sqrt()
        reach = torch.stack([axis[-1] for axis in axes]).min()  # minimum of a tensor, which exporters can trace
        beyond = (radius - (reach - self.margin)).clamp(min=0)
        edge = torch.exp(-((beyond / self.sigma) ** 2) / 2) if self.sigma > 0 else beyond == 0
        return tensor * edge.to(tensor.dtype)

    def evaluate_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return input_shape


@kind
def plan_restrict(before: FieldType, *, subgroup: Any) -> Step:
    """Restricts the group to a subgroup, given by its escnn id, such as 2 (C_2 in C_N) or [None, 4] (C_4 in D_4)."""
    identity: Any = (
        tuple(_id_part(part) for part in subgroup)
        if isinstance(subgroup, Sequence) and not isinstance(subgroup, str)
        else _id_part(subgroup)
    )
    space = before.gspace
    try:
        smaller, _, to_subgroup = space.restrict(identity)
        after = canonical_type(before.restrict(identity), space.fibergroup)
    except Exception as error:  # escnn raises assertions, often without a message
        raise FieldError(
            "`{argument}` must be an id of a subgroup of {group}, as escnn writes it; got {subgroup!r}{reason}.",
            "subgroup", group=str(space.fibergroup), subgroup=subgroup, reason=f": {error}" if str(error) else "",
        ) from error  # fmt: skip
    assert smaller == after.gspace
    step = Step(after, lambda: Restriction(before, after), no_change)
    step.to_subgroup = _as_partial(to_subgroup)
    return step


class Restriction(EquivariantModule):
    """Keeps the values and changes their type to that of a subgroup."""

    def __init__(self, in_type: FieldType, out_type: FieldType) -> None:
        super().__init__()
        self.in_type, self.out_type = in_type, out_type

    def forward(self, x: GeometricTensor) -> GeometricTensor:
        return GeometricTensor(x.tensor, self.out_type)

    def evaluate_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return input_shape


def _as_partial(to_subgroup: Any) -> Any:
    def partial(element: GroupElement) -> GroupElement | None:
        return to_subgroup(element)

    return partial


def _id_part(part: Any) -> Any:
    """Convert 4.0, as sent by R, to 4; keep an angle."""
    return int(part) if isinstance(part, float) and math.isfinite(part) and part.is_integer() else part


@kind
def plan_flatten(before: FieldType) -> Step:
    """Drops spatial axes of size 1: features (batch, channel) with the same fields, without a base space."""
    dimension_of(before, 2, 3)
    after = FieldType(without_base(before.gspace), before.representations)
    return Step(after, lambda: Flatten(before, after), lambda layer: nn.Flatten(), spatial=False)


class Flatten(EquivariantModule):
    """Converts features of spatial size 1 to vectors."""

    def __init__(self, in_type: FieldType, out_type: FieldType) -> None:
        super().__init__()
        self.in_type, self.out_type = in_type, out_type

    def forward(self, x: GeometricTensor) -> GeometricTensor:
        return GeometricTensor(x.tensor.flatten(1), self.out_type)

    def evaluate_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return input_shape[:2]


@kind
def plan_dense(before: FieldType, *, units: int, bias: bool = True) -> Step:
    """Linear layer on invariant features, after group_pool or norm_pool, as the head of a classifier."""
    units = check_integer(units, "units", minimum=1)
    bias = check_flag(bias, "bias")
    if not all(field.is_trivial() for field in before.representations):
        raise FieldError(
            "the layer mixes channels freely, which only invariant (trivial) fields allow; the fields before it are "
            "{fields}. Put a group_pool or norm_pool before it, or use linear after flatten.",
            "layers", fields=show_fields(before),
        )  # fmt: skip
    check_memory(4 * before.size * units, "units")
    space = before.gspace if before.gspace.dimensionality == 0 else without_base(before.gspace)
    after = field_type(space, {"trivial": units})
    return Step(
        after,
        lambda: Dense(before, after, bias),
        _plain_dense,
        spatial=before.gspace.dimensionality == 0,
        flops=lambda *_: 2 * before.size * units,
    )


def _plain_dense(layer: Any) -> nn.Module:
    linear = with_weights(nn.Linear, layer.weight, layer.bias, layer.in_type.size, layer.out_type.size)
    return nn.Sequential(nn.Flatten(), linear)


class Dense(EquivariantModule):
    """Linear layer on invariant features (batch, channel). Spatial axes of size 1 are dropped."""

    def __init__(self, in_type: FieldType, out_type: FieldType, bias: bool) -> None:
        super().__init__()
        self.in_type, self.out_type = in_type, out_type
        self.weight = nn.Parameter(torch.empty(out_type.size, in_type.size))
        self.bias = nn.Parameter(torch.empty(out_type.size)) if bias else None

    def draw_weights(self, generator: torch.Generator) -> None:
        """Draw weights as torch initializes a linear layer: uniform within 1 / sqrt(inputs)."""
        bound = 1 / math.sqrt(self.in_type.size)
        for parameter in self.parameters():
            drawn = torch.rand(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.data.copy_(bound * (2 * drawn - 1))

    def forward(self, x: GeometricTensor) -> GeometricTensor:
        return GeometricTensor(nn.functional.linear(x.tensor.flatten(1), self.weight, self.bias), self.out_type)

    def evaluate_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (input_shape[0], self.out_type.size)


@kind
def plan_residual(
    before: FieldType,
    *,
    layers: Sequence[Mapping[str, Any]],
    shortcut: Sequence[Mapping[str, Any]] = (),
    prefix: str = "",
) -> Step:
    """Adds the output of `layers` to their input, or to the output of `shortcut`."""
    branches = [
        plan_layers(before, layers, "layers", prefix),
        plan_layers(before, shortcut, "shortcut", f"{prefix}shortcut."),
    ]
    ends = [branch[-1].out_type if branch else before for branch in branches]
    if not branches[0]:
        raise FieldError("`{argument}` is empty: a residual layer needs at least one layer inside.", "layers")
    if ends[0] != ends[1]:
        raise FieldError(
            "the sum needs equal fields: `{argument}` end with {main}, `{other:name}` with {shortcut}. A conv of "
            "kernel_size 1 in `{other:name}` can lead to these fields.",
            "layers", other="shortcut", main=show_fields(ends[0]), shortcut=show_fields(ends[1]),
        )  # fmt: skip

    def plain(layer: Any) -> nn.Module:
        main, shortcut = (
            Branch(plain_layers(branch, built))
            for branch, built in zip(branches, (layer.main, layer.shortcut), strict=True)
        )
        return Sum(main, shortcut)

    return Step(ends[0], lambda: Residual(before, ends[0], branches), plain, branches=branches)


class Residual(EquivariantModule):
    """Sum of the outputs of two branches. An empty branch is the identity."""

    def __init__(self, in_type: FieldType, out_type: FieldType, branches: list[list[Step]]) -> None:
        super().__init__()
        self.in_type, self.out_type = in_type, out_type
        self.main, self.shortcut = (nn.ModuleList(step.make() for step in branch) for branch in branches)

    def forward(self, x: GeometricTensor) -> GeometricTensor:
        main = shortcut = x
        for layer in self.main:
            main = layer(main)
        for layer in self.shortcut:
            shortcut = layer(shortcut)
        if main.tensor.shape != shortcut.tensor.shape:
            raise ShapeError(
                "a residual layer cannot add features of the shapes {main} and {shortcut}: pad the convolutions inside "
                "(padding = (kernel_size - 1) / 2).",
                "layers", main=tuple(main.tensor.shape), shortcut=tuple(shortcut.tensor.shape),
            )  # fmt: skip
        return GeometricTensor(main.tensor + shortcut.tensor, self.out_type)

    def evaluate_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        for layer in self.main:
            input_shape = layer.evaluate_output_shape(input_shape)  # type: ignore[operator]
        return input_shape


@kind
def plan_skip(before: FieldType, *, layers: Sequence[Mapping[str, Any]], prefix: str = "") -> Step:
    """Concatenates the output of `layers` and their input, as in a U-Net: the fields of the output come first."""
    through = plan_layers(before, layers, "layers", prefix)
    if not through:
        raise FieldError("`{argument}` is empty: a skip layer needs at least one layer inside.", "layers")
    end = through[-1].out_type
    if end.gspace != before.gspace:
        raise FieldError(
            "`{argument}` must stay on {space}; they end on {end}.",
            "layers",
            space=str(before.gspace),
            end=str(end.gspace),
        )
    return Step(
        end + before,
        lambda: Skip(before, end + before, through),
        lambda layer: Joined(Branch(plain_layers(through, layer.main))),
        branches=[through, []],
    )


class Skip(EquivariantModule):
    """Concatenates the output of a branch and its input."""

    def __init__(self, in_type: FieldType, out_type: FieldType, branch: list[Step]) -> None:
        super().__init__()
        self.in_type, self.out_type = in_type, out_type
        self.main = nn.ModuleList(step.make() for step in branch)

    def forward(self, x: GeometricTensor) -> GeometricTensor:
        main = x
        for layer in self.main:
            main = layer(main)
        if main.tensor.shape[2:] != x.tensor.shape[2:]:
            raise ShapeError(
                "a skip layer cannot concatenate features of the sizes {main} and {size}: use images whose size is "
                "divisible by the strides inside.",
                "x", main=tuple(main.tensor.shape[2:]), size=tuple(x.tensor.shape[2:]),
            )  # fmt: skip
        return GeometricTensor(torch.cat([main.tensor, x.tensor], dim=1), self.out_type)

    def evaluate_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (input_shape[0], self.out_type.size, *input_shape[2:])

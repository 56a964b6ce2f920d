"""The kinds of group self-attention layers, on regular fields, which combine with steerable convolutions."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from .._escnn import EquivariantModule, FieldType, GeometricTensor
from ..arrays import check_choice, check_flag, check_integer, check_number
from ..attention import whole_blocks
from ..errors import FieldError, InputError
from ..fields import show_fields
from ..layers.plain import Unwrapped
from ..layers.plan import Flops, Size, Step, dimension_of, fields_after, kind, odd
from ..layers.points import existing_points, points_in_place_of_pixels
from .poses import PoseAttention, check_rotary, draw_uniform, pixel_points, wave_count

MOST_HIDDEN = 1024  # hidden units of a block for each field


@kind
def plan_lifting_attention(
    before: FieldType,
    *,
    fields: Any,
    heads: int = 1,
    key_dim: int | None = None,
    frequencies: int = 2,
    window: int | None = None,
    dropout: float = 0.0,
    qk_norm: bool = True,
    positions: str = "additive",
) -> Step:
    """Attention from the points of an image to its poses: trivial fields in, regular fields out.

    `key_dim`: the number of features of each of `heads` heads (None: fields / heads); `frequencies`: the number of
    Fourier features of positions, per head and pair of opposite elements, 0 for none; `window`: the side of the
    neighborhood (odd, in pixels; None: the whole image); `dropout` of the output; `qk_norm`: whether queries and keys
    have bounded length;
    `positions`: "additive" (separate scores) or "rotary" (angles of queries and keys, without `frequencies`).
    """
    need_finite(before, 2)
    if not all(field.is_trivial() for field in before.representations):
        raise FieldError(
            "the layer requires trivial fields; the fields before it are {fields}. For regular fields use "
            "group_attention.",
            "layers", fields=show_fields(before),
        )  # fmt: skip
    after = fields_after(before, fields)
    need_regular(after, "`{argument}` must be regular, one channel per pose; got {fields}.", "fields")
    options = _attention_options(after, heads, key_dim, frequencies, window, dropout, qk_norm, positions)
    flops = attention_flops(before, len(after), options, lifting=True)
    return Step(after, lambda: AttentionLayer(before, after, lifting=True, **options), Unwrapped, flops=flops)


@kind
def plan_group_attention(
    before: FieldType,
    *,
    fields: Any,
    heads: int = 1,
    key_dim: int | None = None,
    frequencies: int = 2,
    window: int | None = None,
    dropout: float = 0.0,
    qk_norm: bool = True,
    positions: str = "additive",
) -> Step:
    """Attention between the poses of an image: regular fields in, regular fields out.

    The options are those of lifting_attention.
    """
    need_finite(before, 2)
    need_poses(before)
    after = fields_after(before, fields)
    need_regular(after, "`{argument}` must be regular, one channel per pose; got {fields}.", "fields")
    options = _attention_options(after, heads, key_dim, frequencies, window, dropout, qk_norm, positions)
    flops = attention_flops(before, len(after), options)
    return Step(after, lambda: AttentionLayer(before, after, lifting=False, **options), Unwrapped, flops=flops)


@kind
def plan_group_attention_block(
    before: FieldType,
    *,
    heads: int = 1,
    key_dim: int | None = None,
    frequencies: int = 2,
    window: int | None = None,
    dropout: float = 0.0,
    qk_norm: bool = True,
    positions: str = "additive",
    mlp_ratio: float = 2.0,
) -> Step:
    """Residual block on regular fields: group_attention, then a two-layer perceptron at each pose.

    The inputs of both parts are normalized. The options are those of lifting_attention; the perceptron has `mlp_ratio`
    hidden units per field.
    """
    need_finite(before, 2)
    need_poses(before)
    options = _attention_options(before, heads, key_dim, frequencies, window, dropout, qk_norm, positions)
    hidden = max(1, round(len(before) * check_number(mlp_ratio, "mlp_ratio", minimum=0, maximum=MOST_HIDDEN)))
    flops = attention_flops(before, len(before), options, hidden)
    return Step(before, lambda: AttentionBlock(before, hidden, options), Unwrapped, flops=flops)


def need_finite(before: FieldType, *dimensions: int) -> None:
    """Raise a FieldError unless a finite group acts on a base space of one of these dimensions."""
    dimension = dimension_of(before, *dimensions)
    if before.gspace.fibergroup.order() < 1:
        raise FieldError(
            "the layer requires a finite group; {group} is continuous. Use {example}, for example.",
            "layers", group=str(before.gspace.fibergroup),
            example="rot2dOnR2 or flipRot2dOnR2 with N = 8" if dimension == 2 else "octaOnR3",
        )  # fmt: skip


def need_poses(before: FieldType) -> None:
    """Raise a FieldError unless all fields are regular."""
    message = (
        "the layer works on poses (regular fields), to which lifting_attention or conv lead; the fields before it are "
        "{fields}."
    )
    need_regular(before, message, "layers")


def need_regular(fields: FieldType, message: str, argument: str) -> None:
    """Raise a FieldError with this message unless all fields are regular."""
    if any(field != fields.gspace.regular_repr for field in fields.representations):
        raise FieldError(message, argument, fields=show_fields(fields))


def _attention_options(
    fields: FieldType,
    heads: Any,
    key_dim: Any,
    frequencies: Any,
    window: Any,
    dropout: Any,
    qk_norm: Any,
    positions: Any,
) -> dict[str, Any]:
    heads, key_dim = head_features(fields, heads, key_dim)
    if check_choice(positions, "positions", ("additive", "rotary")) == "rotary":
        check_rotary(fields.gspace, key_dim)
    return {
        "heads": heads,
        "key_dim": key_dim,
        "frequencies": check_integer(frequencies, "frequencies", minimum=0),
        "window": None if window is None else odd(window, "window"),
        "dropout": check_number(dropout, "dropout", 0, 1),
        "qk_norm": check_flag(qk_norm, "qk_norm"),
        "positions": positions,
    }


def attention_flops(
    before: FieldType, after: int, options: dict[str, Any], hidden: int = 0, lifting: bool = False
) -> Flops:
    """Return the FLOPs of a layer, or of a block whose perceptron has `hidden` units per pose."""
    order, heads, key_dim = before.gspace.fibergroup.order(), options["heads"], options["key_dim"]
    poses, fields, inner = (1 if lifting else order), len(before), heads * key_dim
    rotary = options["positions"] == "rotary"

    def flops(size: Size, _: Size) -> int:
        tokens, waves = math.prod(size), wave_count(before.gspace)
        key_size = key_dim // (2 * waves) if rotary and lifting else key_dim
        # features of positions and of the pose, appended to queries and keys
        extra = 0 if rotary else 2 * waves * options["frequencies"]
        extra += 0 if rotary or lifting or order == 1 else order
        width = whole_blocks(key_dim + extra)  # of queries, keys and values, as `attend()` pads them
        queries = whole_blocks(order * tokens)
        keys, calls = poses * tokens, 1
        if options["window"] is not None:
            queries, keys, calls = whole_blocks(order), poses * options["window"] ** 2, tokens
        maps = poses * fields * heads * (2 * key_dim + key_size) + order * (inner * after + 2 * fields * hidden)
        scores = heads * order * key_dim * extra
        return 2 * (tokens * (maps + scores) + 2 * calls * heads * queries * keys * width)

    return flops


def head_features(fields: FieldType, heads: Any, key_dim: Any) -> tuple[int, int]:
    """Return the checked numbers of heads and of features per head."""
    count, heads = len(fields), check_integer(heads, "heads", minimum=1)
    if key_dim is None and count % heads:
        raise InputError(
            "`{argument}` must divide the number of fields, {count}, if `{other:name}` is not given; got {heads}.",
            "heads", count=count, other="key_dim", heads=heads,
        )  # fmt: skip
    return heads, count // heads if key_dim is None else check_integer(key_dim, "key_dim", minimum=1)


def points_of(x: torch.Tensor, window: int | None) -> torch.Tensor:
    """Return the coordinates (batch or 1, point, axis) of features (batch, channel, *size), or the points given."""
    points = points_in_place_of_pixels.get()
    if points is None:
        return pixel_points(x.shape[2:], x)
    if window is not None:
        raise InputError("an attention layer with a window needs the grid of an image; points have none.", "network")
    return points


class AttentionLayer(EquivariantModule):
    """Attention between the poses of an image, or of a set of points if one is given."""

    def __init__(
        self, in_type: FieldType, out_type: FieldType, window: int | None, lifting: bool, **options: Any
    ) -> None:
        super().__init__()
        self.in_type, self.out_type, self.window = in_type, out_type, window
        self.poses = 1 if lifting else in_type.gspace.fibergroup.order()
        self.attention = PoseAttention(in_type.gspace, (len(in_type), len(out_type)), lifting, **options)

    def forward(self, x: GeometricTensor) -> GeometricTensor:
        size = x.tensor.shape[2:]
        points = points_of(x.tensor, self.window)
        features = x.tensor.unflatten(1, (len(self.in_type), self.poses)).flatten(3)
        out = self.attention(features, points, size, self.window, existing_points.get())
        return GeometricTensor(out.flatten(1, 2).unflatten(2, size), self.out_type)

    def evaluate_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (input_shape[0], self.out_type.size, *input_shape[2:])


class AttentionBlock(EquivariantModule):
    """x + attention(norm(x)), then x + mlp(norm(x)): norm and mlp act on the fields at each pose alone."""

    def __init__(self, in_type: FieldType, hidden: int, options: dict[str, Any]) -> None:
        super().__init__()
        self.in_type = self.out_type = in_type
        self.norm, self.attention = FieldNorm(in_type), AttentionLayer(in_type, in_type, lifting=False, **options)
        self.mlp_norm, self.mlp = FieldNorm(in_type), FieldMLP(in_type, hidden, options["dropout"])

    def forward(self, x: GeometricTensor) -> GeometricTensor:
        x = x + self.attention(self.norm(x))
        return x + self.mlp(self.mlp_norm(x))

    def evaluate_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return input_shape


class _AtEachPose(EquivariantModule):
    """A map of the fields at each pose, equal for all poses, and therefore equivariant on regular fields."""

    def __init__(self, in_type: FieldType) -> None:
        super().__init__()
        self.in_type = self.out_type = in_type

    def forward(self, x: GeometricTensor) -> GeometricTensor:
        poses = x.tensor.unflatten(1, (len(self.in_type), -1)).movedim(1, -1)
        return GeometricTensor(self.at_pose(poses).movedim(-1, 1).flatten(1, 2), self.out_type)

    def at_pose(self, x: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def evaluate_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return input_shape


class FieldNorm(_AtEachPose):
    """Layer normalization over the fields at each pose."""

    def __init__(self, in_type: FieldType) -> None:
        super().__init__(in_type)
        self.weight, self.bias = nn.Parameter(torch.ones(len(in_type))), nn.Parameter(torch.zeros(len(in_type)))

    def at_pose(self, x: torch.Tensor) -> torch.Tensor:
        return functional.layer_norm(x, self.weight.shape, self.weight, self.bias)


class FieldMLP(_AtEachPose):
    """Two linear maps over the fields at each pose, with GELU between them."""

    def __init__(self, in_type: FieldType, hidden: int, dropout: float) -> None:
        super().__init__(in_type)
        fields, self.dropout = len(in_type), dropout
        self.inner, self.inner_bias = nn.Parameter(torch.empty(hidden, fields)), nn.Parameter(torch.empty(hidden))
        self.outer, self.outer_bias = nn.Parameter(torch.empty(fields, hidden)), nn.Parameter(torch.empty(fields))

    def draw_weights(self, generator: torch.Generator) -> None:
        """Draw weights as torch does for linear maps: uniform within 1 / sqrt(inputs)."""
        for weight, bias in ((self.inner, self.inner_bias), (self.outer, self.outer_bias)):
            draw_uniform(weight, weight.shape[1], generator)
            draw_uniform(bias, weight.shape[1], generator)

    def at_pose(self, x: torch.Tensor) -> torch.Tensor:
        hidden = functional.gelu(functional.linear(x, self.inner, self.inner_bias))
        out = functional.linear(hidden, self.outer, self.outer_bias)
        return functional.dropout(out, self.dropout, self.training)

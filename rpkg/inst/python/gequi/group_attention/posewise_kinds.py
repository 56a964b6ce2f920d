"""The kinds of layers that attend within each pose, on regular fields of the plane or of space."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from .._escnn import EquivariantModule, FieldType, GeometricTensor
from .._limits import check_memory
from ..arrays import check_flag, check_number
from ..attention import whole_blocks
from ..errors import FieldError, InputError
from ..layers.fourier import image_of, pose_basis, poses_of, share_of_products
from ..layers.plain import Unwrapped
from ..layers.plan import Flops, Size, Step, fields_after, kind, odd
from ..layers.points import existing_points
from .fourier import GroupFourier, PoseLinear, TokenNorm
from .kinds import MOST_HIDDEN, head_features, need_finite, need_poses, need_regular, points_of
from .posewise import PoseMLP, PosewiseAttention


@kind
def plan_posewise_attention(
    before: FieldType,
    *,
    fields: Any,
    heads: int = 1,
    key_dim: int | None = None,
    window: int | None = None,
    dropout: float = 0.0,
    qk_norm: bool = True,
    learn_frequencies: bool = True,
) -> Step:
    """Attention between the points within each pose: regular fields in, regular fields out.

    Each pose has `heads` heads with `key_dim` features (None: fields / heads; even, as positions are rotary);
    `window`: the side of the neighborhood of a pixel (odd; None: the whole image); `dropout` of the output; `qk_norm`:
    whether queries and keys have bounded length; `learn_frequencies`: whether training changes the frequencies of the
    positions.
    """
    _need_space(before)
    after = fields_after(before, fields)
    need_regular(after, "`{argument}` must be regular, one channel per pose; got {fields}.", "fields")
    options = _options(before, after, heads, key_dim, window, dropout, qk_norm, learn_frequencies)
    flops = attention_flops(before, len(after), options)
    return Step(after, lambda: PosewiseLayer(before, after, **options), _plain, flops=flops)


@kind
def plan_posewise_attention_block(
    before: FieldType,
    *,
    heads: int = 1,
    key_dim: int | None = None,
    window: int | None = None,
    dropout: float = 0.0,
    qk_norm: bool = True,
    learn_frequencies: bool = True,
    mlp_ratio: float = 4.0,
) -> Step:
    """Residual block on regular fields: posewise_attention, then two equivariant linear maps with GELU between them.

    The inputs of both parts are normalized over all channels of a token. The options are those of posewise_attention;
    `mlp_ratio`: hidden fields per field.
    """
    _need_space(before)
    options = _options(before, before, heads, key_dim, window, dropout, qk_norm, learn_frequencies)
    hidden = max(1, round(len(before) * check_number(mlp_ratio, "mlp_ratio", minimum=0, maximum=MOST_HIDDEN)))
    check_memory(4 * before.size * hidden * before.gspace.fibergroup.order(), "mlp_ratio")
    flops = attention_flops(before, len(before), options, hidden)
    return Step(before, lambda: PosewiseBlock(before, hidden, options), _plain, flops=flops)


def _need_space(before: FieldType) -> None:
    need_finite(before, 2, 3)
    need_poses(before)


def _options(
    before: FieldType,
    after: FieldType,
    heads: Any,
    key_dim: Any,
    window: Any,
    dropout: Any,
    qk_norm: Any,
    learn_frequencies: Any,
) -> dict[str, Any]:
    heads, key_dim = head_features(after, heads, key_dim)
    if key_dim % 2:
        raise InputError(
            "`{argument}` (fields / heads, where it is not given) must be even, because rotary positions act on pairs "
            "of features; got {key_dim}.",
            "key_dim", key_dim=key_dim,
        )  # fmt: skip
    if window is not None and before.gspace.dimensionality != 2:
        raise FieldError("`{argument}` needs images; the features before it are volumes.", "window")
    check_memory(4 * before.size * 3 * heads * key_dim * before.gspace.fibergroup.order(), "key_dim")
    return {
        "window": None if window is None else odd(window, "window"),
        "dropout": check_number(dropout, "dropout", 0, 1),
        "heads": heads,
        "key_dim": key_dim,
        "qk_norm": check_flag(qk_norm, "qk_norm"),
        "learn_frequencies": check_flag(learn_frequencies, "learn_frequencies"),
    }


def attention_flops(before: FieldType, after: int, options: dict[str, Any], hidden: int = 0) -> Flops:
    """Return the FLOPs of a layer, or of a block whose perceptron has `hidden` fields.

    They are those of the linear maps with bands, the Fourier transforms around them, and attention.
    """
    fields, inner, window = len(before), options["heads"] * options["key_dim"], options["window"]

    def flops(size: Size, _: Size) -> int:
        basis = pose_basis(before.gspace, torch.float64)
        order, share = len(basis.rows), share_of_products(basis.shapes)
        maps = round(share * order**2) * (3 * fields * inner + inner * after + 2 * fields * hidden)
        transforms = order**2 * (fields + 4 * inner + after + 2 * hidden if order > 1 else 0)
        tokens = math.prod(size)
        scores = inner * tokens
        if window is not None:  # one query at a time, padded as `attend()` does
            scores = options["heads"] * whole_blocks(options["key_dim"]) * whole_blocks(1) * window**2
        return 2 * tokens * (maps + transforms + 2 * order * scores)

    return flops


def _plain(layer: Any) -> nn.Module:
    """Return a copy on plain tensors, with the matrices of its linear maps computed once."""
    form = Unwrapped(layer)
    built = form.layer
    norms = (
        {built.attention.maps: built.norm, built.mlp.inner: built.mlp_norm} if isinstance(built, PosewiseBlock) else {}
    )
    for module in list(form.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, PoseLinear):
                setattr(module, name, child.ready(norms.get(child)))
    return form


class _OnTokens(EquivariantModule):
    """A map of features at the pixels of an image or volume, or at the points of a set if one is given."""

    def __init__(self, in_type: FieldType, out_type: FieldType, window: int | None, dropout: float) -> None:
        super().__init__()
        self.in_type, self.out_type, self.window, self.dropout = in_type, out_type, window, dropout
        self.fourier = GroupFourier(in_type.gspace)

    def forward(self, x: GeometricTensor) -> GeometricTensor:
        batch, _, *size = x.tensor.shape
        bands = self.fourier(poses_of(x.tensor, self.fourier.order))
        where = {"points": points_of(x.tensor, self.window), "size": tuple(size), "window": self.window}
        where["exists"] = existing_points.get()
        return GeometricTensor(image_of(self.at_poses(bands, where), batch, size), self.out_type)

    def at_poses(self, bands: list[torch.Tensor], where: dict[str, Any]) -> torch.Tensor:
        """Compute the output (pose, field, point); `where` are the options of attention that depend on the image."""
        raise NotImplementedError

    def evaluate_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (input_shape[0], self.out_type.size, *input_shape[2:])


class PosewiseLayer(_OnTokens):
    """Attention within each pose."""

    def __init__(
        self, in_type: FieldType, out_type: FieldType, window: int | None, dropout: float, **options: Any
    ) -> None:
        super().__init__(in_type, out_type, window, dropout)
        self.attention = PosewiseAttention(in_type.gspace, (len(in_type), len(out_type)), **options)

    def at_poses(self, bands: list[torch.Tensor], where: dict[str, Any]) -> torch.Tensor:
        out = self.fourier.inverse(self.attention(bands, self.fourier, **where))
        return functional.dropout(out, self.dropout, self.training)


class PosewiseBlock(_OnTokens):
    """x + attention(norm(x)), then x + mlp(norm(x)). The sums are those of the bands."""

    def __init__(self, in_type: FieldType, hidden: int, options: dict[str, Any]) -> None:
        super().__init__(in_type, in_type, options["window"], options["dropout"])
        rest = {name: value for name, value in options.items() if name not in ("window", "dropout")}
        space, fields = in_type.gspace, len(in_type)
        self.norm, self.mlp_norm = (TokenNorm(fields, space.fibergroup.order()) for _ in range(2))
        self.attention = PosewiseAttention(space, (fields, fields), **rest)
        self.mlp = PoseMLP(space, fields, hidden)

    def at_poses(self, bands: list[torch.Tensor], where: dict[str, Any]) -> torch.Tensor:
        out = self.attention(self.norm(bands), self.fourier, norm=self.norm, **where)
        bands = self._sums(bands, out)
        out = self.mlp(self.mlp_norm(bands), self.fourier, self.mlp_norm)
        return self.fourier.inverse(self._sums(bands, out))

    def _sums(self, bands: list[torch.Tensor], others: list[torch.Tensor]) -> list[torch.Tensor]:
        """Add the bands of both, after dropout of the values that the others have at poses."""
        if self.training and self.dropout > 0:
            others = self.fourier(functional.dropout(self.fourier.inverse(others), self.dropout))
        return [band + other for band, other in zip(bands, others, strict=True)]

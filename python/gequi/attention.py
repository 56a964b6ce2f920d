"""Attention: each query takes the mean of the values, weighted by how well their keys match it.

The law that makes it an equivariant operator: permuting the queries permutes the outputs; permuting the pairs of
key and value changes nothing; and since the weights of a query sum to 1, an affine map of the values commutes with
it. No position enters unless the features carry one.

Convention. Tokens are (token, feature), behind any leading axes. Heads are packed as (heads key_dim), the order of
torch, so that weights move to and from `torch.nn.MultiheadAttention` unchanged.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from .arrays import as_array, as_numpy, as_tensor, check_dtype, check_flag, check_integer, check_number, own_tensor
from .errors import InputError, ShapeError
from .recipes import choose_seed, factory

# ---- operators ------------------------------------------------------------------------------------------


def softmax(x: Any, axis: int | None = None, dtype: str = "float64") -> np.ndarray:
    """Exponentials, scaled to sum to 1 along an axis: exp(x_i) / sum_j exp(x_j).

    Args:
        x: numbers, any shape with at least one axis. -Inf is a weight of 0.
        axis: the axis that sums to 1; None is the last.
        dtype: "float32" or "float64".

    Returns:
        an array of the shape of `x`.

    Raises:
        InputError: NaN or +Inf, or nothing but -Inf along the axis.
        ShapeError: no such axis.

    Example:
        >>> softmax([[0.0, 0.0], [1.0, 1.0]]).tolist()
        [[0.5, 0.5], [0.5, 0.5]]
    """
    array = as_array(x, "x", finite=False)
    if array.ndim == 0:
        raise ShapeError("`x` must have at least one axis; got a single number.", "x")
    along = array.ndim - 1 if axis is None else check_integer(axis, "axis", -array.ndim, array.ndim - 1)
    _check_scores(array, "x")
    if np.isneginf(array.max(axis=along)).any():
        raise InputError(f"`x` must have a finite value in each run along axis {along}; one is all -Inf.", "x")
    return as_numpy(torch.softmax(own_tensor(array, check_dtype(dtype)), along))


def _check_scores(array: np.ndarray, argument: str) -> None:
    """Refuses NaN and +Inf. -Inf is a score like any other: it takes no part."""
    if np.isnan(array).any() or np.isposinf(array).any():
        raise InputError(f"`{argument}` must hold finite numbers or -Inf; it holds NaN or +Inf.", argument)


def scaled_dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    scale: float | None = None,
    mask: Any = None,
    weights: bool = False,
    dtype: str = "float64",
) -> Any:
    """Attention: softmax(scale query key^T) value, the softmax over the keys.

    Args:
        query: (..., query, feature).
        key: (..., key, feature).
        value: (..., key, channel). Leading axes of the three are broadcast against each other.
        scale: what the dot products are multiplied by; None is 1 / sqrt(number of features).
        mask: (..., query, key). True where the query may attend to the key (torch's convention), or numbers that are
            added to the scaled scores, -Inf where it may not.
        weights: also return the attention weights. Without them, torch's fused attention runs, whose memory grows
            with the number of tokens and not with its square.
        dtype: "float32" or "float64".

    Returns:
        (..., query, channel); with `weights`, a dict: `output` and `weights` (..., query, key), whose last axis sums
        to 1.

    Raises:
        ShapeError: axes that do not fit each other; the message names them.
        InputError: a mask that leaves a query without any key.

    Source:
        Vaswani et al. 2017 (arXiv 1706.03762), section 3.2.1; Abbott 2024 (arXiv 2402.05424), figure 20.

    Example:
        >>> scaled_dot_product_attention([[1.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]], [[2.0], [4.0]], scale=0).tolist()
        [[3.0]]
    """
    kind = check_dtype(dtype)
    q, k, v = (
        as_tensor(array, name, dtype=kind) for array, name in ((query, "query"), (key, "key"), (value, "value"))
    )
    _check_tokens(q, k, v)
    factor = 1 / math.sqrt(q.shape[-1]) if scale is None else check_number(scale, "scale")
    allowed = None if mask is None else _check_mask(mask, q, k, v, kind)
    if not check_flag(weights, "weights"):
        return as_numpy(attend(q, k, v, factor, allowed))
    matrix = attention_weights(q, k, factor, allowed)
    return {"output": as_numpy(matrix @ v), "weights": as_numpy(matrix)}


def _check_tokens(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> None:
    for tensor, name, last in ((query, "query", "feature"), (key, "key", "feature"), (value, "value", "channel")):
        if tensor.ndim < 2:
            raise ShapeError(f"`{name}` must have the axes (..., token, {last}); got {tuple(tensor.shape)}.", name)
    if key.shape[-1] != query.shape[-1]:
        raise ShapeError(
            f"`key` must have the features of `query`, {query.shape[-1]} on its last axis; got {key.shape[-1]}.", "key"
        )
    if value.shape[-2] != key.shape[-2]:
        raise ShapeError(
            f"`value` must have one row for each key, {key.shape[-2]} on its last axis but one; "
            f"got {value.shape[-2]}.",
            "value",
        )
    try:
        torch.broadcast_shapes(query.shape[:-2], key.shape[:-2], value.shape[:-2])
    except RuntimeError:
        shapes = ", ".join(str(tuple(t.shape[:-2])) for t in (query, key, value))
        raise ShapeError(f"`query`, `key` and `value` have leading axes that do not broadcast: {shapes}.") from None


def _check_mask(
    mask: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, dtype: torch.dtype
) -> torch.Tensor:
    array = as_array(mask, "mask", finite=False)
    is_flag = array.dtype.kind == "b"
    _check_scores(array, "mask")
    lead = torch.broadcast_shapes(query.shape[:-2], key.shape[:-2], value.shape[:-2])
    wanted = (*lead, query.shape[-2], key.shape[-2])
    try:
        fits = np.broadcast_shapes(array.shape, wanted) == wanted
    except ValueError:
        fits = False
    if not fits:
        raise ShapeError(f"`mask` must have the shape (..., query, key) = {wanted}; got {array.shape}.", "mask")
    takes_part = array if is_flag else ~np.isneginf(array)
    if not takes_part.any(axis=-1).all():
        raise InputError("`mask` leaves a query without any key to attend to; each needs at least one.", "mask")
    return own_tensor(array, torch.bool if is_flag else dtype)


def attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scale: float | None = None,
    mask: torch.Tensor | None = None,
) -> torch.Tensor:
    """Attention on tensors (..., token, feature), by torch's fused kernel.

    On the CPU that kernel runs only on four axes and where values are as wide as keys: the tensors are brought to
    that form, with zeros that change neither scores nor sums. Queries and features are filled up to whole blocks:
    the last rows of a matrix product round otherwise than the rest, and a query's output would depend, in its last
    bit, on where the query stands.
    """
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    queries, channels = query.shape[-2], value.shape[-1]
    width = _whole_blocks(max(query.shape[-1], channels))
    lead = torch.broadcast_shapes(query.shape[:-2], key.shape[:-2], value.shape[:-2])
    query = functional.pad(query, (0, 0, 0, _whole_blocks(queries) - queries))
    if mask is not None and mask.ndim >= 2 and mask.shape[-2] == queries:
        mask = functional.pad(mask, (0, 0, 0, _whole_blocks(queries) - queries), value=1)
    if mask is not None and mask.ndim > 2:
        mask = mask.expand(*lead, *mask.shape[-2:]).reshape(-1, 1, *mask.shape[-2:])
    four = [
        functional.pad(each, (0, width - each.shape[-1])).expand(*lead, -1, -1).reshape(-1, 1, each.shape[-2], width)
        for each in (query, key, value)
    ]
    out = functional.scaled_dot_product_attention(four[0], four[1], four[2], attn_mask=mask, scale=scale)
    return out[..., :queries, :channels].reshape(*lead, queries, channels)


def _whole_blocks(length: int) -> int:
    """The next multiple of 8, the block of the matrix products of common processors."""
    return (length + 7) // 8 * 8  # of no negative number: ONNX rounds those towards 0


def attention_weights(
    query: torch.Tensor, key: torch.Tensor, scale: float, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """The weights (..., query, key) that `attend()` never holds at once."""
    scores = scale * (query @ key.mT)
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else scores + mask
    return torch.softmax(scores, -1)


# ---- modules --------------------------------------------------------------------------------------------


@factory
def multi_head_attention(
    dim: int,
    heads: int = 1,
    key_dim: int | None = None,
    bias: bool = False,
    seed: int | None = None,
    dtype: str = "float32",
) -> nn.Module:
    """Multi-head attention: several attentions side by side, each on features of its own.

    Each head has linear maps of the query and of the context to `key_dim` features; the outputs of all heads go
    through one more linear map back to `dim`. Called as `predict(module, query, context)`.

    Args:
        dim: features of a token, in and out.
        heads: number of heads.
        key_dim: features of a head; None is dim / heads.
        bias: whether the four linear maps add a bias (torch's own does, the diagrams of the source do not).
        seed: of the initial weights; None is fresh.
        dtype: "float32" or "float64".

    Returns:
        a torch module on `query` (batch, query, dim) and `context` (batch, key, dim), giving (batch, query, dim).
        Its weights: `query`, `key`, `value` (heads * key_dim, dim) and `output` (dim, heads * key_dim), heads packed
        as torch packs them; with `bias` also `query_bias`, `key_bias`, `value_bias` and `output_bias`.

    Raises:
        InputError: sizes that are not whole numbers of at least 1, or `dim` not divisible by `heads`.

    Source:
        Vaswani et al. 2017 (arXiv 1706.03762), section 3.2.2; Abbott 2024 (arXiv 2402.05424), figure 21.

    Example:
        >>> module = multi_head_attention(8, heads=2, seed=1)
        >>> module(torch.zeros(1, 5, 8), torch.zeros(1, 3, 8)).shape
        torch.Size([1, 5, 8])
    """
    dim = check_integer(dim, "dim", minimum=1)
    heads, key_dim = _check_heads(dim, heads, key_dim, "dim")
    return MultiHeadAttention(dim, heads, key_dim, check_flag(bias, "bias"), generator_of(seed), check_dtype(dtype))


@factory
def visual_attention(
    channels: int,
    key_dim: int | None = None,
    heads: int = 1,
    kernel_size: int = 1,
    stride: int = 1,
    bias: bool = False,
    seed: int | None = None,
    dtype: str = "float32",
) -> nn.Module:
    """Multi-head attention between the windows of two images.

    Query, key and value are convolutions; each window of the query image attends to all windows of the context
    image; a transposed convolution brings the result back to the pixels of the query image, at any stride. With
    `kernel_size` 1 it is multi-head attention on the pixels. Called as `predict(module, query, context)`.

    Args:
        channels: channels of both images, in and out.
        key_dim: features of a head; None is channels / heads.
        heads: number of heads.
        kernel_size: side of a window, pixels.
        stride: step from window to window, pixels. Pixels beyond the last window get the output's bias only.
        bias: whether the four convolutions add a bias.
        seed: of the initial weights; None is fresh.
        dtype: "float32" or "float64".

    Returns:
        a torch module on `query` (batch, channel, row, column) and `context` (batch, channel, row, column), the two
        of any sizes not below `kernel_size`, giving an image of the size of `query`. Its weights: `query`, `key`,
        `value` (heads * key_dim, channels, kernel_size, kernel_size) and `output` (channels, heads * key_dim,
        kernel_size, kernel_size); biases as in `multi_head_attention()`.

    Raises:
        InputError: sizes that are not whole numbers of at least 1, or `channels` not divisible by `heads`.

    Source:
        Abbott 2024 (arXiv 2402.05424), figure 28.

    Example:
        >>> module = visual_attention(3, key_dim=4, heads=2, kernel_size=3, stride=3, seed=1)
        >>> module(torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 9, 12)).shape
        torch.Size([1, 3, 16, 16])
    """
    channels = check_integer(channels, "channels", minimum=1)
    heads, key_dim = _check_heads(channels, heads, key_dim, "channels")
    kernel_size = check_integer(kernel_size, "kernel_size", minimum=1)
    stride = check_integer(stride, "stride", minimum=1)
    return VisualAttention(
        channels, heads, key_dim, kernel_size, stride, check_flag(bias, "bias"), generator_of(seed), check_dtype(dtype)
    )


def _check_heads(dim: int, heads: object, key_dim: object, argument: str) -> tuple[int, int]:
    heads = check_integer(heads, "heads", minimum=1)
    if key_dim is not None:
        return heads, check_integer(key_dim, "key_dim", minimum=1)
    if dim % heads:
        raise InputError(
            f"`heads` must divide `{argument}` where `key_dim` is not given; got {heads} heads for {dim}.", "heads"
        )
    return heads, dim // heads


def generator_of(seed: object) -> torch.Generator:
    """A generator of random numbers of its own: of a seed, or a fresh one for None."""
    return torch.Generator().manual_seed(choose_seed(seed))


class _HeadMaps(nn.Module):
    """The four maps of an attention with heads, as weights by name."""

    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    output: torch.Tensor
    query_bias: torch.Tensor | None
    key_bias: torch.Tensor | None
    value_bias: torch.Tensor | None
    output_bias: torch.Tensor | None

    def __init__(
        self, dim: int, heads: int, key_dim: int, window: tuple[int, ...], bias: bool,
        generator: torch.Generator, dtype: torch.dtype,
    ) -> None:  # fmt: skip
        super().__init__()
        self.dim, self.heads, self.key_dim = dim, heads, key_dim
        inner = heads * key_dim
        for name in ("query", "key", "value", "output"):
            sizes = (dim, inner) if name == "output" else (inner, dim)
            # torch's own initialisation of a linear map or convolution: uniform within 1 / sqrt(inputs)
            bound = 1 / math.sqrt(math.prod((sizes[1], *window)))
            shapes = {name: (*sizes, *window), f"{name}_bias": (sizes[0],)}
            for each, shape in shapes.items():
                if each == name or bias:
                    drawn = bound * (2 * torch.rand(shape, generator=generator, dtype=torch.float64) - 1)
                    self.register_parameter(each, nn.Parameter(drawn.to(dtype)))
                else:
                    self.register_parameter(each, None)

    def _of_heads(self, tokens: torch.Tensor) -> torch.Tensor:
        """(batch, token, heads key_dim) as (batch, heads, token, key_dim)."""
        return tokens.unflatten(-1, (self.heads, self.key_dim)).transpose(1, 2)

    def _attend(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Attention in each head, on (batch, token, heads key_dim)."""
        out = attend(self._of_heads(query), self._of_heads(key), self._of_heads(value))
        return out.transpose(1, 2).flatten(2)

    def _check(self, query: torch.Tensor, context: torch.Tensor, ndim: int, axes: str, at: int) -> None:
        for tensor, name in ((query, "query"), (context, "context")):
            if tensor.ndim != ndim or tensor.shape[at] != self.dim:
                raise ShapeError(f"`{name}` must have the axes {axes}; got the shape {tuple(tensor.shape)}.", name)
        if len(query) != len(context):
            raise ShapeError(
                f"`query` and `context` must have the same batch axis; got {len(query)} and {len(context)}.", "context"
            )


class MultiHeadAttention(_HeadMaps):
    """The module of `multi_head_attention()`."""

    def __init__(
        self, dim: int, heads: int, key_dim: int, bias: bool, generator: torch.Generator, dtype: torch.dtype
    ) -> None:
        super().__init__(dim, heads, key_dim, (), bias, generator, dtype)

    def forward(self, query: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        self._check(query, context, 3, f"(batch, token, feature = {self.dim})", 2)
        queries = query.shape[1]
        query = functional.pad(query, (0, 0, 0, _whole_blocks(queries) - queries))  # for the reason in attend()
        inner = self._attend(
            functional.linear(query, self.query, self.query_bias),
            functional.linear(context, self.key, self.key_bias),
            functional.linear(context, self.value, self.value_bias),
        )
        return functional.linear(inner, self.output, self.output_bias)[:, :queries]

    def extra_repr(self) -> str:
        return f"dim={self.dim}, heads={self.heads}, key_dim={self.key_dim}, bias={self.query_bias is not None}"


class VisualAttention(_HeadMaps):
    """The module of `visual_attention()`."""

    def __init__(
        self, channels: int, heads: int, key_dim: int, kernel_size: int, stride: int, bias: bool,
        generator: torch.Generator, dtype: torch.dtype,
    ) -> None:  # fmt: skip
        super().__init__(channels, heads, key_dim, (kernel_size, kernel_size), bias, generator, dtype)
        self.kernel_size, self.stride = kernel_size, stride

    def forward(self, query: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        self._check(query, context, 4, f"(batch, channel = {self.dim}, row, column)", 1)
        for image, name in ((query, "query"), (context, "context")):
            if min(image.shape[2:]) < self.kernel_size:
                raise ShapeError(
                    f"`{name}` must be at least as large as the window, {self.kernel_size} pixels; "
                    f"got {tuple(image.shape[2:])}.",
                    name,
                )
        queries = functional.conv2d(query, self.query, self.query_bias, self.stride)
        keys = functional.conv2d(context, self.key, self.key_bias, self.stride)
        values = functional.conv2d(context, self.value, self.value_bias, self.stride)
        inner = self._attend(*(each.flatten(2).mT for each in (queries, keys, values)))
        windows = inner.mT.unflatten(-1, tuple(queries.shape[2:]))
        out = functional.conv_transpose2d(windows, self.output.transpose(0, 1), None, self.stride)
        # Pixels beyond the last window: a transposed convolution alone would leave them out (16 -> 15 for 3 by 3). They
        # are added behind it, since in ONNX its own output_padding cannot depend on the size.
        rows, columns = ((length - self.kernel_size) % self.stride for length in query.shape[2:])
        out = functional.pad(out, (0, columns, 0, rows))
        return out if self.output_bias is None else out + self.output_bias[:, None, None]

    def extra_repr(self) -> str:
        return (
            f"channels={self.dim}, heads={self.heads}, key_dim={self.key_dim}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}, bias={self.query_bias is not None}"
        )

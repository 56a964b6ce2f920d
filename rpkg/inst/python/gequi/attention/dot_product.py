"""Scaled dot-product attention, on arrays and on tensors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from ..arrays import as_array, as_numpy, as_tensor, check_dtype, check_flag, check_number, check_result, own_tensor
from ..errors import InputError, ShapeError
from .weights import attention_weights, check_scores


def scaled_dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    scale: float | None = None,
    mask: Any = None,
    weights: bool = False,
    dtype: str = "float64",
) -> Any:
    """Compute scaled dot-product attention: softmax(scale query key^T) value, with the softmax over the keys.

    Args:
        query: numeric array (..., query, feature).
        key: numeric array (..., key, feature).
        value: numeric array (..., key, channel). Leading axes of the three arrays are broadcast.
        scale: number, the factor of the dot products. None is 1 / sqrt(number of features).
        mask: array (..., query, key). Logical: True if the query may attend to the key, as in torch. Numeric: values
            added to the scaled scores, -Inf to exclude a key.
        weights: logical, whether to return the attention weights. If False, the fused attention of torch is used, whose
            memory grows linearly with the number of tokens.
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
    q, k, v = (as_tensor(array, name, dtype=kind) for array, name in ((query, "query"), (key, "key"), (value, "value")))
    _check_tokens(q, k, v)
    factor = 1 / math.sqrt(q.shape[-1]) if scale is None else check_number(scale, "scale")
    check_products(q, k, factor, "query", "key")
    allowed = None if mask is None else _check_mask(mask, q, k, v, kind)
    if not check_flag(weights, "weights"):
        return check_result(as_numpy(attend(q, k, v, factor, allowed)), "value")
    matrix = attention_weights(q, k, factor, allowed)
    return {
        "output": check_result(as_numpy(matrix @ v), "value"),
        "weights": check_result(as_numpy(matrix), "query"),
    }


def check_products(query: torch.Tensor, key: torch.Tensor, scale: float, query_name: str, key_name: str) -> None:
    """Raise an error for scores that could overflow. The fused kernel would silently give them a weight of 0.

    A score is at most |scale| |q| |k|, and |q| is at most the root of the number of features times the largest feature.
    """
    largest, of_key = float(query.abs().max()), float(key.abs().max())
    with np.errstate(over="ignore"):
        reach = np.float64(query.shape[-1]) * largest * of_key
        bound = max(reach, reach * abs(scale), largest * abs(scale))
    if not bound < torch.finfo(query.dtype).max:
        template = "`{argument}` has values too large to compute with in {dtype}: the result is not finite."
        larger = key_name if of_key > largest else query_name
        raise InputError(template, larger, dtype=str(query.dtype).removeprefix("torch."))


def _check_tokens(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> None:
    for tensor, name, last in ((query, "query", "feature"), (key, "key", "feature"), (value, "value", "channel")):
        if tensor.ndim < 2:
            template = "`{argument}` must have the axes (..., token, {last}); got {shape}."
            raise ShapeError(template, name, last=last, shape=tuple(tensor.shape))
    if key.shape[-1] != query.shape[-1]:
        template = "`{argument}` must have the features of `query`, {wanted} on its last axis; got {given}."
        raise ShapeError(template, "key", wanted=query.shape[-1], given=key.shape[-1])
    if value.shape[-2] != key.shape[-2]:
        template = "`{argument}` must have one row for each key, {wanted} on its last axis but one; got {given}."
        raise ShapeError(template, "value", wanted=key.shape[-2], given=value.shape[-2])
    try:
        torch.broadcast_shapes(query.shape[:-2], key.shape[:-2], value.shape[:-2])
    except RuntimeError:
        shapes = ", ".join(str(tuple(t.shape[:-2])) for t in (query, key, value))
        template = "`query`, `key` and `value` have leading axes that do not broadcast: {shapes}."
        raise ShapeError(template, shapes=shapes) from None


def _check_mask(
    mask: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, dtype: torch.dtype
) -> torch.Tensor:
    array = as_array(mask, "mask", finite=False, flags=True)
    is_flag = array.dtype.kind == "b"
    check_scores(array, "mask")
    lead = torch.broadcast_shapes(query.shape[:-2], key.shape[:-2], value.shape[:-2])
    wanted = (*lead, query.shape[-2], key.shape[-2])
    try:
        fits = np.broadcast_shapes(array.shape, wanted) == wanted
    except ValueError:
        fits = False
    if not fits:
        template = "`{argument}` must have the shape (..., query, key) = {wanted}; got {shape}."
        raise ShapeError(template, "mask", wanted=wanted, shape=array.shape)
    takes_part = array if is_flag else ~np.isneginf(array)
    if not takes_part.any(axis=-1).all():
        raise InputError("`{argument}` masks every key of a query; each query needs at least one key.", "mask")
    return own_tensor(array, torch.bool if is_flag else dtype, argument="mask")


def attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scale: float | None = None,
    mask: torch.Tensor | None = None,
) -> torch.Tensor:
    """Compute attention of tensors (..., token, feature) with the fused kernel of torch.

    On the CPU, this kernel requires four axes, and values as wide as keys. The tensors are reshaped and padded with
    zeros, which change neither scores nor sums. Queries and features are padded to whole blocks, because the last rows
    of a matrix product are rounded differently. Otherwise the last bits of the output of a query would depend on its
    position.
    """
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    queries, channels = query.shape[-2], value.shape[-1]
    width = whole_blocks(max(query.shape[-1], channels))
    lead = torch.broadcast_shapes(query.shape[:-2], key.shape[:-2], value.shape[:-2])
    query = functional.pad(query, (0, 0, 0, whole_blocks(queries) - queries))
    if mask is not None and mask.ndim < 2:
        mask = mask.expand(queries, key.shape[-2])
    if mask is not None and mask.shape[-2] == queries:
        mask = functional.pad(mask, (0, 0, 0, whole_blocks(queries) - queries), value=1)
    if mask is not None and mask.ndim > 2:
        mask = mask.expand(*lead, *mask.shape[-2:]).reshape(-1, 1, *mask.shape[-2:])
    four = [
        functional.pad(each, (0, width - each.shape[-1])).expand(*lead, -1, -1).reshape(-1, 1, each.shape[-2], width)
        for each in (query, key, value)
    ]
    out = functional.scaled_dot_product_attention(four[0], four[1], four[2], attn_mask=mask, scale=scale)
    return out[..., :queries, :channels].reshape(*lead, queries, channels)


def whole_blocks(length: int) -> int:
    """Return the next multiple of 8, the block size of the matrix products of common processors."""
    return (length + 7) // 8 * 8  # without negative numbers, because ONNX rounds them towards 0

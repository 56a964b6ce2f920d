"""Multi-head attention as a module, and the parts that visual attention uses as well."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from .._recipes import choose_seed, factory
from ..arrays import check_dtype, check_flag, check_integer
from ..errors import InputError, ShapeError
from .dot_product import attend, whole_blocks


@factory
def multi_head_attention(
    dim: int,
    heads: int = 1,
    key_dim: int | None = None,
    bias: bool = False,
    seed: int | None = None,
    dtype: str = "float32",
) -> nn.Module:
    """Create a multi-head attention module.

    Linear maps project query and context to `key_dim` features per head. Attention is computed per head, and a linear
    map projects the concatenated heads to `dim` features. Apply the module with `predict(module, query, context)`, or
    with `predict(module, query)` for self-attention, where the context is the query.

    Args:
        dim: integer, the number of features of a token, for input and output.
        heads: integer, the number of attention heads.
        key_dim: integer, the number of features per head. None is dim / heads.
        bias: logical, whether the four linear maps have a bias.
        seed: integer, the seed of the initial weights. None draws a seed.
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
    heads, key_dim = check_heads(dim, heads, key_dim, "dim")
    return MultiHeadAttention(dim, heads, key_dim, check_flag(bias, "bias"), generator_of(seed), check_dtype(dtype))


def check_heads(dim: int, heads: object, key_dim: object, argument: str) -> tuple[int, int]:
    """Return the checked number of heads and of features per head; `argument` names `dim`."""
    heads = check_integer(heads, "heads", minimum=1)
    if key_dim is not None:
        return heads, check_integer(key_dim, "key_dim", minimum=1)
    if dim % heads:
        template = (
            "`{argument}` must divide `{divided:name}` where `key_dim` is not given; got {heads} heads for {dim}."
        )
        raise InputError(template, "heads", divided=argument, heads=heads, dim=dim)
    return heads, dim // heads


def generator_of(seed: object) -> torch.Generator:
    """Return a random generator with this seed, or with a random one if it is None."""
    return torch.Generator().manual_seed(choose_seed(seed))


class HeadMaps(nn.Module):
    """The four linear maps of multi-head attention, as named weights."""

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
            # initialization of linear maps and convolutions in torch: uniform within 1 / sqrt(inputs)
            bound = 1 / math.sqrt(math.prod((sizes[1], *window)))
            shapes = {name: (*sizes, *window), f"{name}_bias": (sizes[0],)}
            for each, shape in shapes.items():
                if each == name or bias:
                    drawn = bound * (2 * torch.rand(shape, generator=generator, dtype=torch.float64) - 1)
                    self.register_parameter(each, nn.Parameter(drawn.to(dtype)))
                else:
                    self.register_parameter(each, None)

    def _of_heads(self, tokens: torch.Tensor) -> torch.Tensor:
        """Convert (batch, token, heads key_dim) to (batch, heads, token, key_dim)."""
        return tokens.unflatten(-1, (self.heads, self.key_dim)).transpose(1, 2)

    def attend(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Compute attention in each head, for inputs (batch, token, heads key_dim)."""
        out = attend(self._of_heads(query), self._of_heads(key), self._of_heads(value))
        return out.transpose(1, 2).flatten(2)

    def check(self, query: torch.Tensor, context: torch.Tensor, ndim: int, axes: str, at: int) -> None:
        for tensor, name in ((query, "query"), (context, "context")):
            if tensor.ndim != ndim or tensor.shape[at] != self.dim:
                template = "`{argument}` must have the axes {axes}; got the shape {shape}."
                raise ShapeError(template, name, axes=axes, shape=tuple(tensor.shape))
        if len(query) != len(context):
            template = "`query` and `context` must have the same batch axis; got {queries} and {contexts}."
            raise ShapeError(template, "context", queries=len(query), contexts=len(context))


class MultiHeadAttention(HeadMaps):
    """The module of `multi_head_attention()`."""

    def __init__(
        self, dim: int, heads: int, key_dim: int, bias: bool, generator: torch.Generator, dtype: torch.dtype
    ) -> None:
        super().__init__(dim, heads, key_dim, (), bias, generator, dtype)

    def forward(self, query: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        context = query if context is None else context
        self.check(query, context, 3, f"(batch, token, feature = {self.dim})", 2)
        queries = query.shape[1]
        query = functional.pad(query, (0, 0, 0, whole_blocks(queries) - queries))  # for the reason in attend()
        inner = self.attend(
            functional.linear(query, self.query, self.query_bias),
            functional.linear(context, self.key, self.key_bias),
            functional.linear(context, self.value, self.value_bias),
        )
        return functional.linear(inner, self.output, self.output_bias)[:, :queries]

    def extra_repr(self) -> str:
        return f"dim={self.dim}, heads={self.heads}, key_dim={self.key_dim}, bias={self.query_bias is not None}"

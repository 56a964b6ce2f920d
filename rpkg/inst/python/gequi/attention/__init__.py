"""Attention: each query takes the mean of the values, weighted by how well their keys match it.

The law that makes it an equivariant operator: permuting the queries permutes the outputs; permuting the pairs of
key and value changes nothing; and since the weights of a query sum to 1, an affine map of the values commutes with
it. No position enters unless the features carry one.

Convention. Tokens are (token, feature), behind any leading axes. Heads are packed as (heads key_dim), the order of
torch, so that weights move to and from `torch.nn.MultiheadAttention` unchanged.
"""

from .dot_product import attend, scaled_dot_product_attention
from .multi_head import MultiHeadAttention, generator_of, multi_head_attention
from .visual import VisualAttention, visual_attention
from .weights import attention_weights, softmax

__all__ = [
    "MultiHeadAttention",
    "VisualAttention",
    "attend",
    "attention_weights",
    "generator_of",
    "multi_head_attention",
    "scaled_dot_product_attention",
    "softmax",
    "visual_attention",
]

"""Attention: each query receives the mean of the values, weighted by the similarity of their keys to the query.

Attention is equivariant under permutations. Permuting the queries permutes the outputs. Permuting the pairs of key and
value changes nothing. The weights of a query sum to 1, so an affine map of the values commutes with attention.
Positions have no effect unless the features contain them.

Convention. Tokens are (token, feature), after any leading axes. Heads are packed as (heads key_dim), as in torch, so
weights can be exchanged with `torch.nn.MultiheadAttention` unchanged.
"""

from .dot_product import attend, check_products, scaled_dot_product_attention, whole_blocks
from .multi_head import MultiHeadAttention, generator_of, multi_head_attention
from .visual import VisualAttention, visual_attention
from .weights import attention_weights, softmax

__all__ = [
    "MultiHeadAttention",
    "VisualAttention",
    "attend",
    "attention_weights",
    "check_products",
    "generator_of",
    "multi_head_attention",
    "scaled_dot_product_attention",
    "softmax",
    "visual_attention",
    "whole_blocks",
]

"""Group self-attention: attention between poses, equivariant to rotations and reflections of the plane.

A pose is a point x_i together with a group element h. The channels of a regular field are the values at the poses of a
point. For each head, the attention score between the query at the pose (i, h) and the key at the pose (j, w) is

    <q(i, h), k(j, w) + rho_P(h^-1 (x_j - x_i)) + rho_H(h^-1 w)> / sqrt(key_dim)

The softmax of the scores over all (j, w) weights the values v(j, w). Positions are expressed relative to the pose of
the query, so a common transformation of all poses leaves each score unchanged, and the layer is equivariant for all
weights. The lifting layer maps images to poses: there is no w, and all poses of a point share one query and key.

rho_P is a sum of Fourier features, rho_P(z) = sum_v a_v cos(<v, z>) + b_v sin(<v, z>), over wave vectors v that the
group permutes. By the addition theorems, its scores are dot products of features of the query's pose with features of
the key's point. The scores of rho_H are dot products of features of the two elements. These features are appended to
queries and keys and passed to the fused attention kernel of torch, so no (token, token) array is stored. On the CPU
the kernel has no dropout of attention weights; `dropout` sets output values of a layer to 0 instead.

Appended features increase the cost of scores, in particular for small heads. positions = "rotary" instead encodes the
positions in the angles of queries and keys, without further features. The score is again a function of
h^-1 (x_j - x_i) and h^-1 w.

Rounding errors grow with the scores. With `qk_norm`, queries and keys have a bounded length, so float32 remains exact
to about 1e-5 for any size of the weights of the linear maps. Without `qk_norm`, the layer without positions is that of
torch.

Posewise attention (posewise.py) is the form without the pairs of poses, in the plane or in space. The tokens are the
points, and each pose g is a head, which attends to the points only:

    y(i, g) = sum_j softmax_j(<q(i, g) exp(i <v, g^-1 x_i>), k(j, g) exp(i <v, g^-1 x_j>)> / sqrt(key_dim)) v(j, g)

The poses are mixed by the linear maps before and after the heads, y[g] = sum_h W[g^-1 h] x[h] + b. If a group element u
moves the feature at (x, h) to (u x, u h), the head u g receives the queries, keys, values and rotated positions that
the head g had, so it computes the same output. This holds for all weights and all finite groups. The linear maps are
computed in the Fourier basis of the group, where they are block diagonal (fourier.py). The number of compared pairs is
that of plain attention with |G| heads; tests/benchmarks/group_attention.py measures the time.

Source: Romero & Cordonnier 2021 (arXiv 2010.00977). Their published code applies h^-1 to u^-1 w, which is already
invariant, and is therefore not equivariant; here the query is located at the output pose. Fourier features: Rahimi &
Recht 2007. Bounded queries and keys: Henry et al. 2020 (arXiv 2010.04245). Rotary positions: Su et al. 2021 (arXiv
2104.09864); the permutation of their waves by the group is original to gequi. Posewise attention: Islam et al. 2025
(arXiv 2510.03511), Octic Vision Transformers 2025 (arXiv 2505.15441).
"""

from . import kinds, posewise_kinds
from .fourier import GroupFourier, PoseLinear
from .poses import PoseAttention, pixel_points
from .posewise import PosewiseAttention

__all__ = [
    "GroupFourier",
    "PoseAttention",
    "PoseLinear",
    "PosewiseAttention",
    "kinds",
    "pixel_points",
    "posewise_kinds",
]

"""Group self-attention: attention between poses, exactly equivariant to rotations and reflections of the plane.

A token is a pose: a point x_i with a group element h. Features of poses are regular fields: the channel of the
element h of a field is its value at the pose (x_i, h). For each head, the query of the pose (i, h) scores the key
of the pose (j, w) by

    <q(i, h), k(j, w) + rho_P(h^-1 (x_j - x_i)) + rho_H(h^-1 w)> / sqrt(key_dim)

and the softmax of the scores over all (j, w) weighs the values v(j, w). Both positions are seen from the pose of the
query, so moving all poses by a group element changes no score: the layer is equivariant whatever its weights. From
images to poses (lifting) there is no w, and one query and key serve all poses of a point.

rho_P is a sum of Fourier features, rho_P(z) = sum_v a_v cos(<v, z>) + b_v sin(<v, z>), over wave vectors v that the
group permutes. By the addition theorems its scores are scalar products of features of the query's pose with features
of the key's point, and those of rho_H of features of the two elements; they are appended to query and key, torch's
fused kernel does the rest, and no (token, token) array exists. The kernel has no dropout of weights on the CPU, so
`dropout` sets values of a layer's output to 0 instead.

Appended features make scores dearer where heads are small. positions = "rotary" instead puts the positions into the
angles of queries and keys and costs no features: the score is again a function of h^-1 (x_j - x_i) and h^-1 w.

Rounding errors grow with the scores. With `qk_norm` queries and keys have a bounded length, so float32 stays exact to
about 1e-5 however large the weights of the linear maps grow; without it, the layer without positions is torch's own.

Source: Romero & Cordonnier 2021 (arXiv 2010.00977), whose published code acts with h^-1 on u^-1 w, which is invariant
already, and so is not equivariant; here the query stands at the output pose. Fourier features: Rahimi & Recht 2007.
Bounded queries and keys: Henry et al. 2020 (arXiv 2010.04245).
Rotary positions: Su et al. 2021 (arXiv 2104.09864); that the group permutes their waves is gequi's.
"""

from . import kinds
from .poses import PoseAttention, pixel_points

__all__ = ["PoseAttention", "kinds", "pixel_points"]

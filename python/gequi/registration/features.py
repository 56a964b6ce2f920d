"""The designed encoder: an image lifted to poses, and a group convolution that describes each token in each pose.

Both layers are those of an equivariant network of the rotations C_16: `lift` leads from a trivial to a regular field,
`describe` from regular to regular fields on tokens. A turn of the image by 2 pi / 16 moves the tokens and rolls the
poses of each; quarter turns do so up to rounding.

Source: the descriptors of SIFT (Lowe 2004) and DAISY (Tola, Lepetit and Fua 2010), written as two such layers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from .grids import Size, centres, gradient, look_up, smooth

POSES = 16
TOKEN = 4  # pixels
RING_POINTS = 8
RINGS = ((0.0, 2.0), (6.0, 2.5), (12.0, 4.0))  # radius and smoothing, in pixels
WIDE_RINGS = ((0.0, 2.0), (8.0, 3.0), (16.0, 5.0))


@dataclass
class Tokens:
    """An image's tokens: their places (token, axis), features (token, pose, feature) of norm 1, and strengths."""

    size: Size
    places: torch.Tensor
    features: torch.Tensor
    strength: torch.Tensor


def lift(image: torch.Tensor, mask: torch.Tensor, sigma: float = 1.0, half_turns: bool = False) -> torch.Tensor:
    """Channel k answers to edges whose gradient points along e_k = (cos, sin)(2 pi k / 16) in (row, column).

    h_k = max(cos(angle to e_k), 0)^3 |gradient| / sqrt(G_8 * |gradient|^2 + 0.02^2)

    Args:
        image, mask: (1, 1, row, column), the image in about [0, 1].
        sigma: of the Gaussian derivative, in pixels.
        half_turns: |cos| instead: the 8 channels are then blind to the sign of contrast.

    Returns:
        (1, 16 or 8, row, column).
    """
    blurred = smooth(mask * image, (sigma, sigma), True) / smooth(mask, (sigma, sigma), True).clamp_min(1e-3)
    slope = gradient(blurred, (1.0, 1.0)) * mask
    length = (slope.square().sum(1, keepdim=True) + 1e-12).sqrt()
    angles = torch.arange(POSES // 2 if half_turns else POSES, dtype=image.dtype, device=image.device) * (
        2 * math.pi / POSES
    )
    cosine = torch.einsum("bihw,ik->bkhw", slope, torch.stack([angles.cos(), angles.sin()])) / length
    cosine = cosine.abs() if half_turns else cosine.clamp_min(0)
    energy = smooth(length.square(), (8.0, 8.0), True)
    return cosine**3 * (length / (energy + 0.02**2).sqrt())


def describe(
    image: torch.Tensor,
    mask: torch.Tensor,
    rings: tuple[tuple[float, float], ...] = RINGS,
    sigma: float = 1.0,
    half_turns: bool = False,
) -> Tokens:
    """Tokens every 4 pixels. In pose g, a token's features are the lifted channels about it, read from direction g on.

    The channels are smoothed and read at the token and at 8 points of each ring; points outside the image count as 0.
    """
    shape: Size = (image.shape[-2], image.shape[-1])
    size: Size = (max(shape[0] // TOKEN, 1), max(shape[1] // TOKEN, 1))
    places = centres(size, shape, image.dtype, image.device).flatten(1).T
    lifted = lift(image, mask, sigma, half_turns)
    channels = lifted.shape[1]
    pose = torch.arange(POSES, device=image.device)[:, None, None]
    channel = (pose + 2 * torch.arange(channels // 2, device=image.device)[:, None]) % channels
    features = []
    for radius, blur in rings:
        points = POSES if radius else 1
        angles = torch.arange(points, dtype=image.dtype, device=image.device) * (2 * math.pi / points)
        offsets = radius * torch.stack([angles.cos(), angles.sin()], 1)
        at = (places[:, None] + offsets).permute(2, 0, 1)[None]
        read = look_up(smooth(lifted, (blur, blur), True), at, shape, "zeros")[0]  # (channel, token, point)
        step = POSES // RING_POINTS * torch.arange(RING_POINTS if radius else 1, device=image.device)
        point = (pose + step) % points
        features.append(read.permute(1, 0, 2).flatten(1)[:, (channel * points + point).flatten(1)])
    joined = torch.cat(features, 2)
    norm = joined[:, 0].norm(dim=-1)
    seen = look_up(mask, places.T[None, :, None], shape)[0, 0, 0]
    return Tokens(size, places, joined / (joined.norm(dim=-1, keepdim=True) + 1e-6), norm * seen)

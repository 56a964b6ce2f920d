"""The layers of the designed encoder: an image lifted to poses, a group convolution over rings, and pooling to tokens.

They are kinds of layers as all others, for the rotations C_N of the plane: `oriented_gradients` leads from a trivial to
a regular field, `ring_descriptor` from it to regular fields on tokens. A turn of the image by 2 pi / N moves the tokens
and rolls the channels of each field; quarter turns do so up to rounding, at every size of image.

Source: the descriptors of SIFT (Lowe 2004) and DAISY (Tola, Lepetit and Fua 2010), written as two such layers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any

import torch

from ..._escnn import EquivariantModule, FieldType, GeometricTensor
from ...arrays import as_array, check_flag, check_integer, check_number
from ...errors import FieldError, InputError, ShapeError
from ...fields import field_type, show_fields
from ...geometry.filters import gaussian_filter, gradient, masked_gaussian_filter
from ...geometry.grids import Size, area_resample, cell_centers, kind_of, size_of
from ...geometry.sampling import grid_sample
from ...layers.plan import Step, dimension_of, kind

TOKEN = 4  # pixels
RINGS = ((0.0, 2.0), (6.0, 2.5), (12.0, 4.0))  # radius and smoothing, in pixels
WIDE_RINGS = ((0.0, 2.0), (8.0, 3.0), (16.0, 5.0))
DIRECTIONS = 8  # that a descriptor reads, where the group has a multiple of it

# Where an image is to be looked at, (1, 1, row, column), for the layers that read pixels; None is everywhere.
seen_pixels: ContextVar[torch.Tensor | None] = ContextVar("seen", default=None)


def direction_step(order: int) -> int:
    """Every how many elements of C_N a descriptor reads a direction."""
    return order // DIRECTIONS if order % DIRECTIONS == 0 else 1


# ---- the lift -------------------------------------------------------------------------------------------


@kind
def plan_oriented_gradients(before: FieldType, *, sigma: float = 1.0, signed: bool = True) -> Step:
    """Edges by their direction: the locally normalised gradient of an image in [0, 1], to one channel a rotation.

    `sigma` of the Gaussian derivative, pixels; without `signed`, the channels are blind to which side is the brighter,
    and there is one for each rotation up to a half turn.
    """
    order = _cyclic_order(before)
    sigma = check_number(sigma, "sigma", minimum=0.1)
    signed = check_flag(signed, "signed")
    if len(before) != 1 or not before.representations[0].is_trivial():
        raise FieldError(f"it takes one grey image (a trivial field); before it come {show_fields(before)}.", "layers")
    if order % 2 and not signed:
        raise FieldError(f"without `signed` it needs an even number of rotations; got {order}.", "signed")
    after = field_type(before.gspace, {"regular" if signed else "quotient(2)": 1})
    return Step(after, lambda: OrientedGradients(before, after, sigma, signed))


def _cyclic_order(before: FieldType) -> int:
    dimension_of(before, 2)
    order = int(before.gspace.fibergroup.order())
    if before.gspace.fibergroup.name != f"C{order}" or order < 4:
        raise FieldError(
            f"it needs the rotations of rot2dOnR2 with N of 4 or more; the group is {before.gspace.fibergroup}.",
            "layers",
        )
    return order


class OrientedGradients(EquivariantModule):
    """Channel k answers to edges whose gradient points along e_k = (cos, sin)(2 pi k / N) in (row, column).

    h_k = max(cos(angle to e_k), 0)^3 |gradient| / sqrt(G_8 * |gradient|^2 + 0.02^2), with |cos| where not signed
    """

    not_exported = "oriented_gradients"  # its matrices are made for each size of image

    def __init__(self, in_type: FieldType, out_type: FieldType, sigma: float, signed: bool) -> None:
        super().__init__()
        self.in_type, self.out_type, self.sigma, self.signed = in_type, out_type, sigma, signed
        self.order = int(in_type.gspace.fibergroup.order())

    def forward(self, x: GeometricTensor) -> GeometricTensor:
        image, windows = x.tensor, (self.sigma, self.sigma)
        mask = seen_pixels.get()
        mask = torch.ones_like(image[:1]) if mask is None else mask
        blurred = masked_gaussian_filter(image, mask, windows, normalized=True)
        slope = gradient(blurred, (1.0, 1.0)) * mask
        length = (slope.square().sum(1, keepdim=True) + 1e-12).sqrt()
        angles = torch.arange(self.out_type.size, **kind_of(image)) * (2 * math.pi / self.order)
        cosine = torch.einsum("bihw,ik->bkhw", slope, torch.stack([angles.cos(), angles.sin()])) / length
        cosine = cosine.clamp_min(0) if self.signed else cosine.abs()
        energy = gaussian_filter(length.square(), (8.0, 8.0), True)
        return GeometricTensor(cosine**3 * (length / (energy + 0.02**2).sqrt()), self.out_type)

    def evaluate_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (input_shape[0], self.out_type.size, *input_shape[2:])


# ---- the descriptor -------------------------------------------------------------------------------------


@kind
def plan_ring_descriptor(before: FieldType, *, rings: Any = None, token: int = TOKEN) -> Step:
    """Describes tokens every few pixels by oriented gradients, smoothed and read on rings about each token.

    `rings`, pairs of radius (0: the token itself) and smoothing, pixels (None: 0 and 2, 6 and 2.5, 12 and 4); `token`,
    the pixels from token to token. A channel is the pose in which the ring is read; a field, how much further an edge
    is turned than the pose.
    """
    order = _cyclic_order(before)
    if len(before) != 1 or not _is_lifted(before):
        raise FieldError(f"it reads oriented_gradients; before it come {show_fields(before)}.", "layers")
    rings, token = _check_rings(RINGS if rings is None else rings), check_integer(token, "token", minimum=1)
    turns = len(range(0, before.size, direction_step(order)))
    after = field_type(before.gspace, {"regular": sum(turns if radius else 1 for radius, _ in rings)})
    return Step(after, lambda: RingDescriptor(before, after, rings, token), resize=lambda n: tokens_along(n, token))


def _is_lifted(fields: FieldType) -> bool:
    space = fields.gspace
    lifted = [space.regular_repr, *([space.quotient_repr(2)] if space.fibergroup.order() % 2 == 0 else [])]
    return fields.representations[0] in lifted


def _check_rings(rings: Any) -> list[tuple[float, float]]:
    array = as_array(rings, "rings")
    if array.ndim != 2 or array.shape[1] != 2 or len(array) == 0:
        raise ShapeError(f"`rings` must hold a radius and a smoothing for each ring; got shape {array.shape}.", "rings")
    if (array[:, 0] < 0).any() or (array[:, 1] <= 0).any():
        raise InputError("`rings` must have radii of 0 or more and smoothing above 0.", "rings")
    return [(float(radius), float(blur)) for radius, blur in array]


def tokens_along(pixels: int, token: int) -> int:
    """The number of tokens that cover so many pixels, about `token` each."""
    return max(pixels // token, 1)


class RingDescriptor(EquivariantModule):
    """R_{r, d}[h] = (G_r * channel h + d)(token + r e_h) for each ring r and turn d; R_0[h] = (G_0 * channel h)(token).

    Points outside the image count as 0. Tokens cover the image evenly.
    """

    not_exported = "ring_descriptor"  # its matrices are made for each size of image

    def __init__(
        self, in_type: FieldType, out_type: FieldType, rings: Sequence[tuple[float, float]], token: int
    ) -> None:
        super().__init__()
        self.in_type, self.out_type, self.rings, self.token = in_type, out_type, rings, token
        self.order = int(in_type.gspace.fibergroup.order())

    def forward(self, x: GeometricTensor) -> GeometricTensor:
        lifted = x.tensor
        shape, channels, kind = size_of(lifted), lifted.shape[1], kind_of(lifted)
        size = tuple(tokens_along(n, self.token) for n in shape)
        places = cell_centers(size, shape, **kind).flatten(1)
        pose = torch.arange(self.order, device=lifted.device)
        turn = torch.arange(0, channels, direction_step(self.order), device=lifted.device)[:, None]
        angles = pose.to(lifted.dtype) * (2 * math.pi / self.order)
        directions = torch.stack([angles.cos(), angles.sin()])
        fields = []
        for radius, blur in self.rings:
            points = places[:, None] + (radius * directions if radius else torch.zeros(2, 1, **kind))[:, :, None]
            smoothed = gaussian_filter(lifted, (blur, blur), True)
            read = grid_sample(smoothed, points.expand(len(lifted), *points.shape), padding="zeros")
            if radius:
                fields.append(read[:, (pose + turn) % channels, pose.expand(len(turn), -1)])
            else:  # a field of half the poses stands twice in a regular one, and counts as before
                fields.append(read[:, None, pose % channels, 0] * math.sqrt(channels / self.order))
        joined = torch.cat(fields, 1).flatten(1, 2)
        return GeometricTensor(joined.unflatten(-1, size), self.out_type)

    def evaluate_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (input_shape[0], self.out_type.size, *[tokens_along(n, self.token) for n in input_shape[2:]])


# ---- pooling --------------------------------------------------------------------------------------------


@kind
def plan_token_pool(before: FieldType, *, token: int = TOKEN) -> Step:
    """Means over cells of about `token` pixels that cover an image evenly: exact at every size, unlike a stride."""
    dimension_of(before, 2, 3)
    token = check_integer(token, "token", minimum=1)
    return Step(before, lambda: TokenPool(before, token), resize=lambda n: tokens_along(n, token))


class TokenPool(EquivariantModule):
    """Means over even cells, which may cut pixels."""

    not_exported = "token_pool"  # its matrices are made for each size of image

    def __init__(self, in_type: FieldType, token: int) -> None:
        super().__init__()
        self.in_type = self.out_type = in_type
        self.token = token

    def forward(self, x: GeometricTensor) -> GeometricTensor:
        size: Size = tuple(tokens_along(n, self.token) for n in size_of(x.tensor))
        return GeometricTensor(area_resample(x.tensor, size), self.out_type)

    def evaluate_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (*input_shape[:2], *[tokens_along(n, self.token) for n in input_shape[2:]])

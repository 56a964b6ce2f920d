"""The layers of the designed encoders, which describe the tokens of images and of volumes.

They are ordinary kinds of layers. `oriented_gradients` and `ring_descriptor` are for images and the rotations C_N of
the plane. They map a trivial field to a regular field, and this to regular fields on tokens. A rotation of the image by
2 pi / N moves the tokens and cyclically shifts the channels of each field. `local_normalization` is for images and
volumes. `sphere_descriptor` is for volumes and all rotations of space, and maps to irreps on tokens. Quarter turns are
exact up to rounding for every size of image.

Source: the descriptors of SIFT (Lowe 2004) and DAISY (Tola, Lepetit and Fua 2010), written as two layers; local
descriptors on spheres, Kazhdan, Funkhouser and Rusinkiewicz 2003.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from ..._escnn import EquivariantModule, FieldType, GeometricTensor, GSpace
from ...arrays import as_array, check_flag, check_integer, check_number
from ...errors import FieldError, InputError, ShapeError
from ...fields import field_type, show_fields
from ...geometry.filters import gaussian_filter, gradient, local_normalize, masked_gaussian_filter
from ...geometry.grids import Size, area_resample, cell_centers, kind_of, size_of
from ...geometry.sampling import grid_sample
from ...layers.plain import Unwrapped
from ...layers.plan import Step, dimension_of, kind
from .harmonics import harmonics, quadrature

TOKEN = 4  # pixels
RINGS = ((0.0, 2.0), (6.0, 2.5), (12.0, 4.0))  # radius and smoothing, in pixels
WIDE_RINGS = ((0.0, 2.0), (8.0, 3.0), (16.0, 5.0))
DIRECTIONS = 8  # that a descriptor reads, where the group has a multiple of it
SPHERES = ((2.0, 0.8), (4.0, 1.0), (6.0, 1.3), (8.0, 1.6), (10.0, 2.0))  # radius and smoothing, in voxels
WIDE_SPHERES = ((3.0, 1.2), (6.0, 1.5), (9.0, 2.0), (12.0, 2.5), (15.0, 3.0))
DEGREE = 3  # of the spherical harmonics
CONTRAST_FLOOR = 0.05  # the least local standard deviation, for images in about [0, 1]

# Where an image is to be looked at, (1, 1, *size), for the layers that read pixels; None is everywhere.
seen_pixels: ContextVar[torch.Tensor | None] = ContextVar("seen", default=None)


def direction_step(order: int) -> int:
    """Return the step between the elements of C_N at which a descriptor reads a direction."""
    return order // DIRECTIONS if order % DIRECTIONS == 0 else 1


def is_rotations_of_plane(space: GSpace) -> bool:
    """Return whether a gspace has 4 or more rotations of the plane as its group."""
    order = int(space.fibergroup.order())
    return space.dimensionality == 2 and order >= 4 and space.fibergroup.name == f"C{order}"


def is_rotations_of_space(space: GSpace) -> bool:
    """Return whether a gspace has all rotations of space as its group."""
    return space.dimensionality == 3 and space.fibergroup.name == "SO(3)"


def _check_image_field(before: FieldType) -> None:
    """Raise an error for fields that are not one grayscale image or volume."""
    if len(before) != 1 or not before.representations[0].is_trivial():
        image = "image" if before.gspace.dimensionality == 2 else "volume"
        raise FieldError(
            "it takes one gray {image} (a trivial field); the fields before it are {fields}.",
            "layers",
            image=image,
            fields=show_fields(before),
        )


def _mask_of(image: torch.Tensor) -> torch.Tensor:
    """Return the mask (1, 1, *size) with which the layers read an image."""
    mask = seen_pixels.get()
    return torch.ones_like(image[:1]) if mask is None else mask


# ---- edges ----------------------------------------------------------------------------------------------


@kind
def plan_oriented_gradients(before: FieldType, *, sigma: float = 1.0, signed: bool = True) -> Step:
    """Edges by direction: the locally normalized gradient of an image with values in [0, 1], one channel per rotation.

    `sigma` is the standard deviation of the Gaussian derivative, in pixels. Without `signed`, the channels do not
    depend on which side is brighter, and there is one for each rotation up to a half turn.
    """
    order = _cyclic_order(before)
    sigma = check_number(sigma, "sigma", minimum=0.1)
    signed = check_flag(signed, "signed")
    _check_image_field(before)
    if order % 2 and not signed:
        raise FieldError("without `signed` it needs an even number of rotations; got {order}.", "signed", order=order)
    after = field_type(before.gspace, {"regular" if signed else "quotient(2)": 1})
    return Step(after, lambda: OrientedGradients(before, after, sigma, signed), Unwrapped, flops=None)


def _cyclic_order(before: FieldType) -> int:
    """Return the number of rotations of the plane."""
    dimension_of(before, 2)
    if not is_rotations_of_plane(before.gspace):
        raise FieldError(
            "it needs the rotations of rot2dOnR2 with N of 4 or more; the group is {group}.",
            "layers",
            group=str(before.gspace.fibergroup),
        )
    return int(before.gspace.fibergroup.order())


class OrientedGradients(EquivariantModule):
    """Edge responses: channel k responds to gradients along e_k = (cos, sin)(2 pi k / N) in (row, column).

    h_k = max(cos(angle to e_k), 0)^3 |gradient| / sqrt(G_8 * |gradient|^2 + 0.02^2), with |cos| if unsigned
    """

    not_exported = "oriented_gradients"  # its matrices are made for each size of image

    def __init__(self, in_type: FieldType, out_type: FieldType, sigma: float, signed: bool) -> None:
        super().__init__()
        self.in_type, self.out_type, self.sigma, self.signed = in_type, out_type, sigma, signed
        self.order = int(in_type.gspace.fibergroup.order())

    def forward(self, x: GeometricTensor) -> GeometricTensor:
        image, windows = x.tensor, (self.sigma, self.sigma)
        mask = _mask_of(image)
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


# ---- rings ----------------------------------------------------------------------------------------------


@kind
def plan_ring_descriptor(before: FieldType, *, rings: Any = None, token: int = TOKEN) -> Step:
    """Describes tokens every few pixels by oriented gradients, smoothed and sampled on rings around each token.

    `rings`: pairs of radius (0: the token itself) and smoothing, in pixels (None: 0 and 2, 6 and 2.5, 12 and 4);
    `token`: the distance of tokens in pixels. A channel corresponds to the pose in which the ring is sampled, and a
    field to the angle of an edge from the pose.
    """
    order = _cyclic_order(before)
    if len(before) != 1 or not _is_lifted(before):
        raise FieldError(
            "it takes the output of oriented_gradients; the fields before it are {fields}.",
            "layers",
            fields=show_fields(before),
        )
    rings = _check_radii(RINGS if rings is None else rings, "rings", "ring")
    token = check_integer(token, "token", minimum=1)
    angles = len(range(0, before.size, direction_step(order)))
    after = field_type(before.gspace, {"regular": sum(angles if radius else 1 for radius, _ in rings)})
    return Step(
        after,
        lambda: RingDescriptor(before, after, rings, token),
        Unwrapped,
        resize=lambda n: tokens_along(n, token),
        flops=None,
    )


def _is_lifted(fields: FieldType) -> bool:
    space = fields.gspace
    lifted = [space.regular_repr, *([space.quotient_repr(2)] if space.fibergroup.order() % 2 == 0 else [])]
    return fields.representations[0] in lifted


def _check_radii(value: Any, argument: str, ring: str) -> list[tuple[float, float]]:
    """Return the radius and the smoothing of each ring or sphere."""
    array = as_array(value, argument)
    if array.ndim != 2 or array.shape[1] != 2 or len(array) == 0:
        raise ShapeError(
            "`{argument}` must hold a radius and a smoothing for each {ring}; got shape {shape}.",
            argument,
            ring=ring,
            shape=array.shape,
        )
    if (array[:, 0] < 0).any() or (array[:, 1] <= 0).any():
        raise InputError("`{argument}` must have radii of 0 or more and smoothing above 0.", argument)
    return [(float(radius), float(blur)) for radius, blur in array]


def tokens_along(pixels: int, token: int) -> int:
    """Return the number of tokens, each of about `token` pixels, that cover this number of pixels."""
    return max(pixels // token, 1)


class RingDescriptor(EquivariantModule):
    """R_{r, d}[h] = (G_r * channel h + d)(token + r e_h) for each ring r and angle d; R_0[h] = (G_0 * channel
    h)(token).

    Points outside the image are 0. Tokens cover the image evenly.
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
        positions = cell_centers(size, shape, **kind).flatten(1)
        pose = torch.arange(self.order, device=lifted.device)
        angle = torch.arange(0, channels, direction_step(self.order), device=lifted.device)[:, None]
        angles = pose.to(lifted.dtype) * (2 * math.pi / self.order)
        directions = torch.stack([angles.cos(), angles.sin()])
        fields = []
        for radius, blur in self.rings:
            points = positions[:, None] + (radius * directions if radius else torch.zeros(2, 1, **kind))[:, :, None]
            smoothed = gaussian_filter(lifted, (blur, blur), True)
            read = grid_sample(smoothed, points.expand(len(lifted), *points.shape), padding="zeros")
            if radius:
                fields.append(read[:, (pose + angle) % channels, pose.expand(len(angle), -1)])
            else:  # a field of half the poses occurs twice in a regular one: scaled accordingly
                fields.append(read[:, None, pose % channels, 0] * math.sqrt(channels / self.order))
        joined = torch.cat(fields, 1).flatten(1, 2)
        return GeometricTensor(joined.unflatten(-1, size), self.out_type)

    def evaluate_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (input_shape[0], self.out_type.size, *[tokens_along(n, self.token) for n in input_shape[2:]])


# ---- volumes --------------------------------------------------------------------------------------------


@kind
def plan_local_normalization(
    before: FieldType, *, window: float = 4.0, sigma: float = 0.7, signed: bool = True
) -> Step:
    """Subtracts the local mean of an image or volume in [0, 1] and divides by the local standard deviation.

    `window`, and `sigma` of the smoothing before it, are standard deviations of Gaussians in pixels. Without `signed`,
    the absolute value is used, which does not distinguish bright from dark.
    """
    dimension_of(before, 2, 3)
    _check_image_field(before)
    window = check_number(window, "window", minimum=0.1)
    sigma = check_number(sigma, "sigma", minimum=0.1)
    signed = check_flag(signed, "signed")
    return Step(before, lambda: LocalNormalization(before, window, sigma, signed), Unwrapped, flops=None)


class LocalNormalization(EquivariantModule):
    """(y - mean(y)) / sqrt(variance(y) + 0.05^2) with y = G_sigma * x, or its absolute value, within the mask."""

    not_exported = "local_normalization"  # its matrices are made for each size of image

    def __init__(self, in_type: FieldType, window: float, sigma: float, signed: bool) -> None:
        super().__init__()
        self.in_type = self.out_type = in_type
        self.window, self.sigma, self.signed = window, sigma, signed

    def forward(self, x: GeometricTensor) -> GeometricTensor:
        image = x.tensor
        mask = _mask_of(image).expand(len(image), *[-1] * (image.ndim - 1))
        axes = image.ndim - 2
        smoothed = masked_gaussian_filter(image, mask, [self.sigma] * axes, normalized=True)
        normal = mask * local_normalize(smoothed, mask, [self.window] * axes, CONTRAST_FLOOR)[0]
        return GeometricTensor(normal if self.signed else normal.abs(), self.out_type)

    def evaluate_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return input_shape


@kind
def plan_sphere_descriptor(before: FieldType, *, spheres: Any = None, token: int = TOKEN) -> Step:
    """Describes tokens every few voxels by samples on spheres around each, in spherical harmonics up to degree 3.

    `spheres`: pairs of radius and smoothing, in voxels (None: 2 and 0.8, 4 and 1, 6 and 1.3, 8 and 1.6, 10 and 2);
    `token`: the distance of tokens in voxels. There is an irrep of degree 0 for each sphere, then one of degree 1, 2
    and 3 each.
    """
    dimension_of(before, 3)
    if not is_rotations_of_space(before.gspace):
        raise FieldError(
            "it needs the rotations of rot3dOnR3; the group is {group}.", "layers", group=str(before.gspace.fibergroup)
        )
    _check_image_field(before)
    spheres = _check_radii(SPHERES if spheres is None else spheres, "spheres", "sphere")
    token = check_integer(token, "token", minimum=1)
    irreps = [before.gspace.irrep(degree) for degree in range(DEGREE + 1) for _ in spheres]
    after = FieldType(before.gspace, irreps)
    return Step(
        after,
        lambda: SphereDescriptor(before, after, spheres, token),
        Unwrapped,
        resize=lambda n: tokens_along(n, token),
        flops=None,
    )


class SphereDescriptor(EquivariantModule):
    """The mean of Y_l(u) (G_r * x)(token + r u) over the directions u, for each degree l and sphere r.

    The mean is computed at 50 directions with Lebedev's weights. Points outside the volume are 0. Tokens cover the
    volume evenly.
    """

    not_exported = "sphere_descriptor"  # its matrices are made for each size of image

    def __init__(
        self, in_type: FieldType, out_type: FieldType, spheres: Sequence[tuple[float, float]], token: int
    ) -> None:
        super().__init__()
        self.in_type, self.out_type, self.spheres, self.token = in_type, out_type, spheres, token

    def forward(self, x: GeometricTensor) -> GeometricTensor:
        volume = x.tensor
        shape = size_of(volume)
        size = tuple(tokens_along(n, self.token) for n in shape)
        positions = cell_centers(size, shape, **kind_of(volume)).flatten(1).T
        directions, analysis = _analysis(volume.dtype, volume.device)
        read = []
        for radius, blur in self.spheres:
            points = (positions[:, None] + radius * directions).permute(2, 0, 1).reshape(1, 3, -1)
            smoothed = gaussian_filter(volume, [blur] * 3, True)
            values = grid_sample(smoothed, points.expand(len(volume), -1, -1), padding="zeros")
            read.append(values.reshape(len(volume), len(positions), -1) @ analysis)
        described = torch.stack(read, 1).mT  # (batch, sphere, harmonic, token)
        degrees = [described[:, :, degree**2 : (degree + 1) ** 2].flatten(1, 2) for degree in range(DEGREE + 1)]
        return GeometricTensor(torch.cat(degrees, 1).unflatten(-1, size), self.out_type)

    def evaluate_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (input_shape[0], self.out_type.size, *[tokens_along(n, self.token) for n in input_shape[2:]])


@lru_cache(maxsize=8)
def _analysis(dtype: torch.dtype, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return directions (point, axis), and the weighted harmonics of all degrees at them (point, harmonic)."""
    points, weights = quadrature()
    values = np.concatenate([harmonics(points, degree) for degree in range(DEGREE + 1)], 1)
    return (
        torch.as_tensor(points, dtype=dtype, device=device),
        torch.as_tensor(weights[:, None] * values, dtype=dtype, device=device),
    )


# ---- pooling --------------------------------------------------------------------------------------------


@kind
def plan_token_pool(before: FieldType, *, token: int = TOKEN) -> Step:
    """Means over cells of about `token` pixels that cover an image evenly: exact at every size, unlike a stride."""
    dimension_of(before, 2, 3)
    token = check_integer(token, "token", minimum=1)
    return Step(before, lambda: TokenPool(before, token), Unwrapped, resize=lambda n: tokens_along(n, token))


class TokenPool(EquivariantModule):
    """Means over equal cells, whose borders may cut pixels."""

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

"""Requirements of a network that describes images or volumes, and the positions of its tokens.

An encoder of images maps one trivial field to regular fields of rotations C_N of the plane. An encoder of volumes maps
one trivial field on the rotations of space to irreps. Both have a token every few pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ..._escnn import FieldType, GeometricTensor
from ...errors import FieldError, InputError, ShapeError
from ...fields import show_fields
from ...geometry.grids import Kind, Size
from ...layers import Step
from ...networks import EquivariantNetwork, check_network, copy_network, with_dtype
from .kinds import is_rotations_of_plane, is_rotations_of_space, seen_pixels

PIXELS = (1, 8)  # a token may stand for
TRIED = 128  # pixels along an axis on which an encoder is tried


# ---- what an encoder must be ----------------------------------------------------------------------------


def check_encoder(encoder: object, argument: str = "encoder") -> EquivariantNetwork:
    """Check that `encoder` is a network whose tokens of images or volumes registration can read, and return it."""
    network = check_network(encoder, argument)
    dimension = network.space.dimensionality
    if dimension not in (2, 3):
        raise FieldError(
            "`{argument}` must be a network on images or volumes; it is one on {space}.",
            argument,
            space=str(network.space),
        )
    {2: _check_image_fields, 3: _check_volume_fields}[dimension](network.out_type, argument)
    if len(network.in_type) != 1 or not network.in_type.representations[0].is_trivial():
        raise FieldError(
            "`{argument}` must take one gray {image}, a trivial field; its input is {fields}.",
            argument,
            image="image" if dimension == 2 else "volume",
            fields=show_fields(network.in_type),
        )
    pixels = token_distance(network, TRIED)
    if not PIXELS[0] <= pixels <= PIXELS[1]:
        raise InputError(
            "`{argument}` must have a token every {least} to {most} pixels; it has one every {pixels:g}.",
            argument,
            least=PIXELS[0],
            most=PIXELS[1],
            pixels=pixels,
        )
    fitting_size(network, (TRIED,), argument)
    return network


def _check_image_fields(fields: FieldType, argument: str) -> None:
    if not is_rotations_of_plane(fields.gspace):
        raise FieldError(
            "`{argument}` must lead to fields of 4 or more rotations of the plane (rot2dOnR2, N = 4 or more); its "
            "output has {group}, {space}.",
            argument,
            group=str(fields.gspace.fibergroup),
            space=str(fields.gspace),
        )
    if any(field != fields.gspace.regular_repr for field in fields.representations):
        raise FieldError(
            "`{argument}` must lead to regular fields, one channel a pose; its output is {fields}.",
            argument,
            fields=show_fields(fields),
        )


def _check_volume_fields(fields: FieldType, argument: str) -> None:
    if not is_rotations_of_space(fields.gspace):
        raise FieldError(
            "`{argument}` must lead to fields of the rotations of space (rot3dOnR3); its output has {group}, {space}.",
            argument,
            group=str(fields.gspace.fibergroup),
            space=str(fields.gspace),
        )
    degrees = irrep_degrees(fields)
    if not any(degrees) or None in degrees:
        raise FieldError(
            "`{argument}` must lead to irreps, and to one of degree 1 or more, which tells the pose; its output is "
            "{fields}.",
            argument,
            fields=show_fields(fields),
        )


def irrep_degrees(fields: FieldType) -> list[int | None]:
    """Return the degree of each field on the rotations of space; None for a field that is not an irrep."""
    degrees: list[int | None] = []
    for field in fields.representations:
        degree = field.irreps[0][0]
        degrees.append(degree if field == fields.gspace.irrep(degree) else None)
    return degrees


def ready(encoder: EquivariantNetwork, kind: Kind) -> EquivariantNetwork:
    """Return a copy of an encoder of a type and on a device, in evaluation mode; the original is unchanged."""
    twin = with_dtype(encoder, str(kind["dtype"]).removeprefix("torch."))
    twin = copy_network(encoder) if twin is encoder else twin
    twin.eval()  # before it moves: escnn expands its filters then
    return twin.to(kind["device"])


# ---- running it -----------------------------------------------------------------------------------------


@contextmanager
def looking_at(mask: torch.Tensor) -> Iterator[None]:
    """A context in which the layers that read pixels use a mask."""
    token = seen_pixels.set(mask)
    try:
        with torch.no_grad():
            yield
    finally:
        seen_pixels.reset(token)


def lift(encoder: EquivariantNetwork, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the output of the first layer of an encoder for an image: (1, channel, *size)."""
    with looking_at(mask):
        return encoder.layers[0](GeometricTensor(image, encoder.in_type)).tensor


# ---- where its tokens lie -------------------------------------------------------------------------------


def token_positions(encoder: EquivariantNetwork, shape: Size, size: Size, kind: Kind) -> torch.Tensor:
    """Return the positions of the tokens of an image of this shape, centered, in its pixels: (token, axis)."""
    axes = [
        (n - 1) / 2 + (torch.arange(m, **kind) - (m - 1) / 2) * token_distance(encoder, n)
        for n, m in zip(shape, size, strict=True)
    ]
    return torch.cartesian_prod(*axes)


def token_distance(encoder: EquivariantNetwork, pixels: int) -> float:
    """Return the distance of tokens in pixels, for an image with this number of pixels along an axis."""
    return _distance(encoder.steps, pixels)


def _distance(steps: list[Step], length: int) -> float:
    distance = 1.0
    for step in steps:
        after = step.after((length,))
        if not after:
            raise ShapeError("`encoder` must keep the rows and columns of an image; its output has none.", "encoder")
        if step.branches:
            distance *= _distance(step.branches[0], length)
        elif step.window is not None:
            distance *= step.window.stride
        elif step.resize is not None:
            distance *= length / after[0]
        length = after[0]
    return distance


def fitting_size(encoder: EquivariantNetwork, size: Size, argument: str = "encoder") -> Size:
    """Return the largest size up to this one at which the tokens of the encoder are centered in the image."""
    fitting = []
    for length in size:
        tried = range(length, max(length - 2 * PIXELS[1], 0), -1)
        fits = next((n for n in tried if not encoder.inexact_layers((n,))), None)
        if fits is None:
            inexact = encoder.inexact_layers((length,))[0]
            raise InputError(
                "`{argument}` must have its tokens evenly about the middle of an image; {layer} has not: {reason}.",
                argument,
                layer=inexact["layer"],
                reason=inexact["reason"],
            )
        fitting.append(fits)
    return tuple(fitting)

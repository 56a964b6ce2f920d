"""From an encoder to tokens: what a network makes of an image, read at each token in each pose.

An encoder is any network of this package that leads from one trivial field to regular fields of rotations C_N of the
plane, with a token every few pixels. Channel h of a regular field belongs to the rotation by 2 pi h / N. The features
of a token in pose g are its regular fields rolled by g, so that they are the same wherever, and however turned, the
same thing is seen. Of many rotations every second (third, ...) channel is read, which leaves 8.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from ..._escnn import GeometricTensor
from ...errors import FieldError, InputError, ShapeError
from ...fields import show_fields
from ...geometry.grids import Kind, Size, kind_of, size_of
from ...geometry.sampling import grid_sample
from ...layers import Step
from ...networks import EquivariantNetwork, check_network, copy_network, with_dtype
from .kinds import direction_step, seen_pixels
from .matching import Matches, Tokens, joined, mutual_attention

PIXELS = (1, 8)  # a token may stand for
TRIED = 128  # pixels along the image on which an encoder is tried


@dataclass
class PlanarDescriptor:
    """The descriptor of images: an encoder, which is a network on images that leads to regular fields."""

    encoder: EquivariantNetwork

    def fitting_size(self, size: Size) -> Size:
        return fitting_size(self.encoder, size)

    def describe(self, image: torch.Tensor, mask: torch.Tensor) -> Tokens:
        return describe(self.encoder, image, mask)

    def match(self, fixed: Tokens, moving: Tokens, sharpness: float = 40.0) -> Matches:
        return match(fixed, moving, sharpness)


def describe(encoder: EquivariantNetwork, image: torch.Tensor, mask: torch.Tensor) -> Tokens:
    """The tokens of an image (1, 1, row, column) in about [0, 1] with a mask of the same shape."""
    with looking_at(mask):
        output = encoder(image)
    shape, size = size_of(image), size_of(output)
    positions = token_positions(encoder, shape, size, kind_of(image))
    rolled = roll(output[0].flatten(1), int(encoder.out_type.gspace.fibergroup.order()))
    norm = rolled[:, 0].norm(dim=-1)
    seen = grid_sample(mask, positions.T[None, :, None])[0, 0, 0]
    return Tokens(size, positions, rolled / (rolled.norm(dim=-1, keepdim=True) + 1e-6), norm * seen)


@contextmanager
def looking_at(mask: torch.Tensor) -> Iterator[None]:
    """Inside, the layers that read pixels look where the mask is."""
    token = seen_pixels.set(mask)
    try:
        with torch.no_grad():
            yield
    finally:
        seen_pixels.reset(token)


def lift(encoder: EquivariantNetwork, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """What the first layer of an encoder makes of an image: (1, channel, row, column)."""
    with looking_at(mask):
        return encoder.layers[0](GeometricTensor(image, encoder.in_type)).tensor


def token_positions(encoder: EquivariantNetwork, shape: Size, size: Size, kind: Kind) -> torch.Tensor:
    """Where the tokens of an image of this shape lie, evenly about its middle: (token, axis), in its pixels."""
    axes = [
        (n - 1) / 2 + (torch.arange(m, **kind) - (m - 1) / 2) * token_distance(encoder, n)
        for n, m in zip(shape, size, strict=True)
    ]
    return torch.cartesian_prod(*axes)


def roll(output: torch.Tensor, poses: int) -> torch.Tensor:
    """Regular fields (field * pose, token), in escnn's order, as features (token, pose, feature)."""
    every = torch.arange(0, poses, direction_step(poses), device=output.device)
    channel = (torch.arange(poses, device=output.device)[:, None] + every) % poses
    fields = output.unflatten(0, (-1, poses)).permute(2, 0, 1)  # (token, field, pose)
    return fields[:, :, channel].transpose(1, 2).flatten(2)


def match(fixed: Tokens, moving: Tokens, sharpness: float = 40.0) -> Matches:
    """Each query's best key over all positions and poses, with a partner finer than a token.

    The score of a pair is the best over the poses of key. The softmax over keys and that over queries, multiplied,
    are the mutual weight, whose best key wins; the value is the mean place of the 3 x 3 tokens about it under the
    softmax; the turn is refined by a parabola through the scores of the neighbouring poses.
    """
    query, poses = fixed.features[:, 0], moving.features.shape[1]
    score = pose_score(query, moving, 0)
    for pose in range(1, poses):
        score = torch.maximum(score, pose_score(query, moving, pose))
    over_keys, mutual, key = mutual_attention(score, sharpness)

    profile = torch.einsum("qd,qsd->qs", query, moving.features[key])
    best = profile.argmax(1)
    before, at, after = (profile.gather(1, ((best + step) % poses)[:, None])[:, 0] for step in (-1, 0, 1))
    part = 0.5 * (before - after) / (before - 2 * at + after - 1e-9)
    angle = (best + part.clamp(-0.5, 0.5)) * (2 * math.pi / poses)

    rotation = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], 1).unflatten(1, (2, 2))
    return joined(fixed, moving, over_keys, mutual, key, rotation)


def pose_score(query: torch.Tensor, moving: Tokens, pose: int) -> torch.Tensor:
    """How alike features (query, feature) are to those of each token in a pose, between -1 and 1: (query, key)."""
    return query @ moving.features[:, pose].T


# ---- what an encoder must be ----------------------------------------------------------------------------


def check_encoder(encoder: object, argument: str = "encoder") -> EquivariantNetwork:
    """`encoder`, where it is a network that registration can read tokens from."""
    network = check_network(encoder, argument)
    fields = network.in_type
    if fields.gspace.dimensionality != 2:
        raise FieldError(f"`{argument}` must be a network on images; it is one on {fields.gspace}.", argument)
    group = network.out_type.gspace.fibergroup
    poses = int(group.order())
    if poses < 4 or group.name != f"C{poses}" or network.out_type.gspace.dimensionality != 2:
        raise FieldError(
            f"`{argument}` must lead to fields of 4 or more rotations of the plane (rot2dOnR2, N = 4 or more); its "
            f"output has {group}, {network.out_type.gspace}.",
            argument,
        )
    if len(fields) != 1 or not fields.representations[0].is_trivial():
        raise FieldError(
            f"`{argument}` must take one grey image, a trivial field; its input is {show_fields(fields)}.", argument
        )
    if any(field != network.out_type.gspace.regular_repr for field in network.out_type.representations):
        raise FieldError(
            f"`{argument}` must lead to regular fields, one channel a pose; its output is "
            f"{show_fields(network.out_type)}.",
            argument,
        )
    pixels = token_distance(network, TRIED)
    if not PIXELS[0] <= pixels <= PIXELS[1]:
        raise InputError(
            f"`{argument}` must have a token every {PIXELS[0]} to {PIXELS[1]} pixels; it has one every {pixels:g}.",
            argument,
        )
    fitting_size(network, (TRIED, TRIED), argument)
    return network


def ready(encoder: EquivariantNetwork, kind: Kind) -> EquivariantNetwork:
    """An encoder of its own in a type and on a device, in evaluation mode; that of the user stays as it is."""
    twin = with_dtype(encoder, str(kind["dtype"]).removeprefix("torch."))
    twin = copy_network(encoder) if twin is encoder else twin
    twin.eval()  # before it moves: escnn expands its filters then
    return twin.to(kind["device"])


def token_distance(encoder: EquivariantNetwork, pixels: int) -> float:
    """Pixels from token to token, on an image of so many pixels along an axis."""
    return _distance(encoder.steps, pixels)


def _distance(steps: list[Step], length: int) -> float:
    distance = 1.0
    for step in steps:
        after = step.after((length,))
        if not after:
            raise ShapeError("`encoder` must keep the rows and columns of an image; it ends without.", "encoder")
        if step.branches:
            distance *= _distance(step.branches[0], length)
        elif step.window is not None:
            distance *= step.window.stride
        elif step.resize is not None:
            distance *= length / after[0]
        length = after[0]
    return distance


def fitting_size(encoder: EquivariantNetwork, size: Size, argument: str = "encoder") -> Size:
    """The largest size up to this one at which the encoder's tokens lie evenly about the middle of the image."""
    fitting = []
    for length in size:
        tried = range(length, max(length - 2 * PIXELS[1], 0), -1)
        fits = next((n for n in tried if not encoder.inexact_layers((n, n))), None)
        if fits is None:
            reason = encoder.inexact_layers((length, length))[0]
            raise InputError(
                f"`{argument}` must have its tokens evenly about the middle of an image; {reason['layer']} has not: "
                f"{reason['reason']}.",
                argument,
            )
        fitting.append(fits)
    return tuple(fitting)

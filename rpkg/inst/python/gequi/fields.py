"""Typed features: the representation of each group of channels, and their transformation by a group element.

Convention. An array of features has the axes (batch, channel, row, column) on the plane, (batch, channel, depth, row,
column) in space and (batch, channel) without a base space. x runs along columns to the right, y along rows upwards, and
z along depth upwards (the first slice is the top). An element g acts on a field by (g f)(p) = rho(g) f(g^-1 p), about
the center of the grid.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from . import groups
from ._escnn import FieldType, GroupElement, GSpace
from .arrays import as_array, as_numpy, check_integer, check_result, own_tensor
from .errors import FieldError, InputError, ShapeError
from .geometry.grids import turned_grid
from .geometry.rotations import on_array_axes
from .geometry.sampling import grid_sample

Fields = Mapping[str, int] | list[Any] | tuple[Any, ...]

AXES = {
    0: "(batch, channel)",
    2: "(batch, channel, row, column)",
    3: "(batch, channel, depth, row, column)",
}


def field_pairs(fields: Any, argument: str = "fields") -> list[tuple[str, int]]:
    """Convert a mapping, pairs or names to plain data, [(representation, count), ...]."""
    if isinstance(fields, str):
        fields = {fields: 1}
    if isinstance(fields, Mapping):
        entries: list[Any] = list(fields.items())
    elif isinstance(fields, list | tuple):
        entries = [(entry, 1) if isinstance(entry, str) else entry for entry in fields]
    else:
        raise FieldError(
            "`{argument}` must map names of representations to counts, such as {example!r}; got {fields!r:.80}.",
            argument, example={"regular": 4}, fields=fields,
        )  # fmt: skip
    pairs = []
    for entry in entries:
        if not (isinstance(entry, list | tuple) and len(entry) == 2 and isinstance(entry[0], str)):
            raise FieldError("`{argument}` must pair a name with a count; got {entry!r}.", argument, entry=entry)
        pairs.append((entry[0], check_integer(entry[1], f"{argument}${entry[0]}", minimum=1)))
    if not pairs:
        raise FieldError("`{argument}` is empty: at least one field is needed.", argument)
    return pairs


def field_type(space: GSpace, fields: Fields) -> FieldType:
    """Define the type of a feature: a list of fields, each with a representation of the group.

    Args:
        space: a gspace.
        fields: names of representations with counts, such as `{"regular": 4, "irrep_1": 2}`, in the order of the
            channels; a list of pairs or of names is as good. Names: "trivial" (one channel that does not change),
            "regular" (finite groups: the group permutes the channels), "irrep_..." as `representations(space)` lists
            them, "quotient(H)" (the channels are the cosets of the subgroup H) and "induced(H; irrep_1)" (from a
            representation of H), with H as escnn's subgroup id: "quotient(2)" in C_N, "quotient(None,2)" in D_N;
            "fourier(L)" (functions on the group, as Fourier coefficients up to frequency L).

    Returns:
        an `escnn.nn.FieldType`. Its `size` is the number of channels.

    Raises:
        FieldError: an unknown representation, or a malformed `fields`.
        InputError: a count that is not an integer of at least 1.

    Source:
        Weiler and Cesa 2019 (arXiv 1911.08251).

    Example:
        >>> import gequi
        >>> gequi.field_type(gequi.gspace("rot2dOnR2", N=4), {"regular": 4, "irrep_1": 2}).size
        20
    """
    return parse_fields(space, fields)


def parse_fields(space: GSpace, fields: Fields, argument: str = "fields") -> FieldType:
    """Call `field_type()` for an argument with another name."""
    groups.check_gspace(space)
    pairs = field_pairs(fields, argument)
    try:
        representations = [each for name, count in pairs for each in [groups.representation_of(space, name)] * count]
    except FieldError as error:
        raise error.about(argument) from None
    return FieldType(space, representations)


def describe_fields(fields: FieldType) -> list[tuple[str, int]]:
    """Return the fields of a type as names with counts; adjacent fields with the same representation are combined.

    The names are those that `field_type()` accepts. Representations that only escnn can create, such as restricted
    ones, have the name of escnn.
    """
    pairs: list[tuple[str, int]] = []
    for representation in fields.representations:
        name = _name(fields.gspace, representation)
        if pairs and pairs[-1][0] == name:
            pairs[-1] = (name, pairs[-1][1] + 1)
        else:
            pairs.append((name, 1))
    return pairs


def _name(space: GSpace, representation: Any) -> str:
    if representation.is_trivial():
        return "trivial"
    if "fourier" in representation.attributes:
        return f"fourier({representation.attributes['fourier']})"
    by_subgroup = re.match(r"^(quotient|induced)\[(.*?)\](?:\[(.*)\])?$", representation.name)
    if by_subgroup:
        kind, subgroup, of = by_subgroup.groups()
        return f"{kind}({subgroup.strip('()').replace(' ', '')}{'; ' + of if of else ''})"
    return str(representation.name)


def spectral_frequency(fields: FieldType) -> int | None:
    """Return L if all fields are "fourier(L)" with the same L; otherwise None."""
    found = {re.fullmatch(r"fourier\((\d+)\)", name) for name, _ in describe_fields(fields)}
    match = found.pop()
    return int(match.group(1)) if match and not found else None


def show_fields(fields: FieldType) -> str:
    """Describe a type in one line, such as '4 regular + 2 irrep_1'."""
    return " + ".join(f"{count} {name}" for name, count in describe_fields(fields))


def check_features(x: Any, fields: FieldType, argument: str = "x") -> np.ndarray:
    """Return `x` as an array with the axes and the channels of `fields`.

    If the type has one channel, a single image (row, column) or volume (depth, row, column) is a batch of one.
    """
    dimension = fields.gspace.dimensionality
    allowed = [2 + dimension, dimension] if dimension and fields.size == 1 else [2 + dimension]
    array = as_array(x, argument, ndim=allowed, axes=AXES[dimension])
    if array.ndim == dimension:
        array = array[None, None]
    if array.shape[1] != fields.size:
        raise ShapeError(
            "`{argument}` must have {size} on its axis 'channel' ({fields}); got {channels}, shape {shape}.",
            argument, size=fields.size, fields=show_fields(fields), channels=array.shape[1], shape=array.shape,
        )  # fmt: skip
    return array


def transform_field(x: Any, type: FieldType, element: int) -> np.ndarray:
    """Transform a feature by a group element: (g f)(p) = rho(g) f(g^-1 p).

    The grid is transformed about its center, and the channels by the representation of their field. Elements that map
    the pixel grid onto itself (quarter turns and reflections) only move pixels. Other elements interpolate with a cubic
    spline and fill with 0 outside the image.

    Args:
        x: numeric array (batch, channel, row, column), (batch, channel, depth, row, column) or (batch, channel). An
            array (row, column) is accepted if `type` has one channel.
        type: a field type, created by `field_type()`.
        element: integer, the number of the group element, as in `group_elements()`.

    Returns:
        an array with the axes and the type of `x`. A quarter turn of a non-square image swaps its height and width.

    Raises:
        ShapeError: axes or channels that do not match `type`.
        InputError: an element number that is out of range, or values that are not finite.

    Source:
        Weiler and Cesa 2019 (arXiv 1911.08251).

    Example:
        >>> import gequi, numpy
        >>> space = gequi.gspace("rot2dOnR2", N=4)
        >>> image = numpy.arange(4.0).reshape(1, 1, 2, 2)
        >>> gequi.transform_field(image, gequi.field_type(space, {"trivial": 1}), 1)[0, 0].tolist()
        [[1.0, 3.0], [0.0, 2.0]]
    """
    check_type(type)
    array = check_features(x, type)
    moved = check_result(act(array, type, groups.check_element(type.gspace, element)), "x")
    return moved[0, 0] if np.ndim(x) == type.gspace.dimensionality else moved


def check_type(type: object, argument: str = "type") -> FieldType:
    """Return `type` if it is a field type; otherwise raise an error."""
    if not isinstance(type, FieldType):
        raise InputError(
            "`{argument}` must be a field type, as field_type() makes it; got {type!r:.80}.", argument, type=type
        )
    return type


def act(x: np.ndarray, fields: FieldType, element: GroupElement) -> np.ndarray:
    """Apply an element to features with the axes of their gspace, or with the axes (batch, channel) only."""
    return act_on_each((x, fields, element))[0]


def act_on_each(*moves: tuple[np.ndarray, FieldType, GroupElement]) -> list[np.ndarray]:
    """Apply elements to features, as `act()` does. Features of one size that move alike are sampled together."""
    tensors, matrices = [], []
    for x, fields, element in moves:
        rho, matrix = action_matrices(fields, element)
        tensors.append(_act_on_channels(own_tensor(x, torch.float32 if x.dtype == np.float32 else torch.float64), rho))
        matrices.append(matrix if x.ndim > 2 else matrix[:0])
    size = tensors[0].shape[2:]
    if all(x.shape[2:] == size and np.array_equal(m, matrices[0]) for x, m in zip(tensors, matrices, strict=True)):
        channels = [x.flatten(0, 1) for x in tensors]
        parts = _move_grid(torch.cat(channels), matrices[0]).split([len(x) for x in channels])
        moved = [part.unflatten(0, x.shape[:2]).to(x) for part, x in zip(parts, tensors, strict=True)]
    else:
        moved = [_move_grid(x, matrix) for x, matrix in zip(tensors, matrices, strict=True)]
    return [as_numpy(x) for x in moved]


def action_matrices(fields: FieldType, element: GroupElement) -> tuple[np.ndarray, np.ndarray]:
    """Return the matrices by which an element acts on the channels and on the points of the base space."""
    return groups.fields_matrix(fields, element), groups.base_matrix(fields.gspace, element)


def act_on_tensor(x: torch.Tensor, rho: np.ndarray, matrix: np.ndarray) -> torch.Tensor:
    """Apply the matrices of an element: `rho` to the channels, `matrix` to the axes after them, if there are any."""
    on_fibre = _act_on_channels(x, rho)
    return on_fibre if x.ndim == 2 else _move_grid(on_fibre, matrix)


def _act_on_channels(x: torch.Tensor, rho: np.ndarray) -> torch.Tensor:
    """Apply rho to axis 1. A permutation of channels is applied as a permutation, so it is exact to the bit."""
    rounded = rho.round()
    if np.allclose(rho, rounded, atol=1e-9) and (np.abs(rounded).sum(axis=1) == 1).all():
        source = np.abs(rounded).argmax(axis=1)
        sign = torch.as_tensor(rounded[np.arange(len(rho)), source]).to(x)
        return x[:, torch.as_tensor(source, device=x.device)] * sign.reshape(-1, *[1] * (x.ndim - 2))
    return torch.tensordot(x, torch.as_tensor(rho).to(x), dims=([1], [1])).movedim(-1, 1)


def _move_grid(x: torch.Tensor, matrix: np.ndarray) -> torch.Tensor:
    """Move tensors (..., row, column) or (..., depth, row, column) by a matrix that acts on (x, y[, z])."""
    n = len(matrix)
    if n == 0:  # features without a base space
        return x
    on_axes = on_array_axes(matrix)
    spatial = list(range(x.ndim - n, x.ndim))
    if groups.keeps_grid(on_axes):
        rounded = on_axes.round()
        source = np.abs(rounded).argmax(axis=1)  # axis i of the result is axis source[i] of x
        moved = x.permute([*range(x.ndim - n), *(spatial[s] for s in source)])
        return moved.flip([spatial[i] for i in range(n) if rounded[i, source[i]] < 0]).contiguous()
    channels = x.reshape(1, -1, *x.shape[-n:])
    points = turned_grid(x.shape[-n:], torch.as_tensor(on_axes[None], device=x.device))
    return grid_sample(channels, points, "cubic", "zeros").reshape(x.shape)

"""Conversion of pictures, with colors or with other orders of axes, to the grayscale arrays of all functions."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .arrays import as_array
from .geometry.rotations import nifti_rotation

LUMINANCE = (0.299, 0.587, 0.114)
MOST_CHANNELS = 4  # along a third axis; a longer one is that of the columns of a volume


def to_grayscale(x: Any) -> np.ndarray:
    """Convert an image to grayscale: 0.299 red + 0.587 green + 0.114 blue.

    Args:
        x: array (row, column), which is grayscale already, or (row, column, channel) with 1 channel, 2 (gray, alpha), 3
            (RGB) or 4 (RGB and alpha). Alpha is ignored. An array with more than 4 entries in the third axis is a
            grayscale volume (depth, row, column).

    Returns:
        an array (row, column) or (depth, row, column), in the range of `x`; float32 if `x` is, otherwise float64.

    Raises:
        ShapeError: an array of other axes.
        InputError: values that are not numeric, or not finite.

    Source:
        the weights: Recommendation ITU-R BT.601, as in the grayscale conversion of JPEG, Pillow and OpenCV.

    Example:
        >>> to_grayscale([[[1.0, 1.0, 1.0], [0.0, 1.0, 0.0]]]).round(3).tolist()
        [[1.0, 0.587]]
    """
    return as_grayscale(x, "x")


def as_grayscale(x: Any, argument: str) -> np.ndarray:
    """Convert to grayscale, see `to_grayscale()`, with another argument name for messages."""
    array = as_array(x, argument, ndim=(2, 3), axes="(row, column), (row, column, channel) or (depth, row, column)")
    values = array.astype(np.float32 if array.dtype == np.float32 else np.float64)
    if values.ndim == 2 or values.shape[2] > MOST_CHANNELS:
        return values
    if values.shape[2] < len(LUMINANCE):
        return values[..., 0]
    red, green, blue = np.moveaxis(values[..., :3], 2, 0)
    return (LUMINANCE[0] * red + LUMINANCE[1] * green + LUMINANCE[2] * blue).astype(values.dtype)


# ---- the axes of a NIfTI file ---------------------------------------------------------------------------


def nifti_axes(size: Sequence[int], header: Mapping[str, Any]) -> dict[str, Any]:
    """Determine the conversion of voxels (i, j, k) of a NIfTI image to an array (depth, row, column), or (row, column).

    The columns of the array run along +x (to the right of the patient), its rows along -y (to the back) and its depth
    along -z (downwards), as in the fields of gequi, where x runs to the right, y upwards and z to the first slice. Each
    voxel axis is assigned to the closest world axis. Axes are permuted and flipped, but not resampled.

    Args:
        size: tuple of int: the sizes along i, j (and k).
        header: mapping: fields of the NIfTI header: `sform_code` with `srow_x`, `srow_y`, `srow_z`; `qform_code` with
            `quatern_b`, `quatern_c`, `quatern_d` and `qoffset_x`, `qoffset_y`, `qoffset_z`; and the complete `pixdim`.
            Missing fields are 0. The sform is used if present, otherwise the qform, otherwise i, j and k along +x, +y
            and +z.

    Returns:
        a dict: `order`, the voxel axis of each axis of the array, from 0; `flipped`, whether it has the opposite
        direction; `spacing` along each axis of the array, or None if the header has none; `orientation` (axis, axis +
        1), which maps the voxel v, from 0, to its position in the array, from 0: orientation[:, :-1] v + orientation[:,
        -1]; and, for a volume whose header defines its location, `origin` and `cosines`, the position of the first
        voxel of the array and the direction cosines, as used by `write_transform()` (LPS), otherwise None.

    Source:
        nifti1.h, methods 1 to 3 (R. W. Cox et al., 2004).

    Example:
        >>> axes = nifti_axes((4, 5, 6), {"pixdim": [1, 2, 2, 3]})
        >>> axes["order"], axes["flipped"], axes["spacing"]
        ([2, 1, 0], [True, True, False], [3.0, 2.0, 2.0])
    """
    directions = _directions(header)
    worlds = max(itertools.permutations(range(3)), key=lambda order: sum(abs(directions[order, range(3)])))
    axes = len(size)
    order = [worlds.index(world) for world in (2, 1, 0) if worlds.index(world) < axes]
    signs = [directions[worlds[axis], axis] > 0 for axis in order]
    flipped = [bool(sign == (worlds[axis] != 0)) for sign, axis in zip(signs, order, strict=True)]
    orientation = np.zeros((axes, axes + 1))
    for row, (axis, flip) in enumerate(zip(order, flipped, strict=True)):
        orientation[row, axis] = -1 if flip else 1
        orientation[row, -1] = size[axis] - 1 if flip else 0
    lengths = _field(header, "pixdim", 8)[1 : axes + 1]
    known = bool(np.isfinite(lengths).all() and (lengths > 0).all())
    spacing = [float(lengths[axis]) for axis in order] if known else None
    origin, cosines = _in_space(header, orientation) if axes == 3 else (None, None)
    return {
        "order": order, "flipped": flipped, "spacing": spacing, "orientation": orientation, "origin": origin,
        "cosines": cosines,
    }  # fmt: skip


def _in_space(header: Mapping[str, Any], orientation: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return the LPS point of the first voxel of an array, and the directions of its columns, rows and slices."""
    if _field(header, "sform_code", 1)[0] > 0:
        world = np.stack([_field(header, f"srow_{axis}", 4) for axis in "xyz"])
        known = all(np.size(header.get(f"srow_{axis}", [])) >= 4 for axis in "xyz")
    else:
        lengths = _field(header, "pixdim", 4)[1:]
        shift = [_field(header, f"qoffset_{axis}", 1) for axis in "xyz"]
        world = np.concatenate([_directions(header) * lengths, shift], 1)
        known = _field(header, "qform_code", 1)[0] > 0 and all(f"qoffset_{axis}" in header for axis in "xyz")
    if not known or not np.isfinite(world).all() or np.linalg.matrix_rank(world[:, :-1]) < 3:
        return None, None
    world[:2] *= -1
    directions = world[:, :-1] @ np.linalg.inv(orientation[:, :-1])
    origin = world[:, -1] - directions @ orientation[:, -1]
    columns = directions[:, ::-1]
    return origin + 0.0, columns / np.linalg.norm(columns, axis=0) + 0.0


def _field(header: Mapping[str, Any], name: str, count: int) -> np.ndarray:
    """Return a field of the header as an array of numbers, 0 if the field is missing."""
    values = np.zeros(count)
    given = np.asarray(header.get(name, []), dtype=float).reshape(-1)[:count]
    values[: len(given)] = given
    return values


def _directions(header: Mapping[str, Any]) -> np.ndarray:
    """Return the direction of each voxel axis: (world axis, voxel axis), columns of length 1."""
    if _field(header, "sform_code", 1)[0] > 0:
        matrix = np.stack([_field(header, f"srow_{axis}", 3) for axis in "xyz"])
    elif _field(header, "qform_code", 1)[0] > 0:
        vector = np.array([_field(header, f"quatern_{part}", 1)[0] for part in "bcd"])
        matrix = nifti_rotation(vector) * [1, 1, -1 if _field(header, "pixdim", 1)[0] < 0 else 1]
    else:
        matrix = np.eye(3)
    lengths = np.linalg.norm(matrix, axis=0)
    return matrix / lengths if np.isfinite(lengths).all() and (lengths > 0).all() else np.eye(3)

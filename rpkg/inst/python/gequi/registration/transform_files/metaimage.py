"""Displacement fields in MetaImage files (.mha), as used by ITK, elastix and 3D Slicer.

A file consists of text lines, key = value, followed by the data. Points and displacements are LPS, and the components
of a pixel are adjacent. The rows of TransformMatrix are the columns of the direction of ITK.
"""

from __future__ import annotations

import zlib

import numpy as np

from ...errors import TransformFileError
from .linear import text
from .nifti import Field
from .space import Space, apply, space_of_affine

_TYPES = {"MET_FLOAT": "f4", "MET_DOUBLE": "f8"}
LAST = b"ElementDataFile"


def write_metaimage(points: np.ndarray, space: Space) -> bytes:
    axes, size = len(points), points.shape[1:]
    lines = {
        "ObjectType": "Image",
        "NDims": str(axes),
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "False",
        "TransformMatrix": _row(space.cosines.T.ravel()),
        "Offset": _row(space.origin),
        "CenterOfRotation": _row(np.zeros(axes)),
        "ElementSpacing": _row(space.spacing[::-1]),
        "DimSize": " ".join(map(str, size[::-1])),
        "ElementNumberOfChannels": str(axes),
        "ElementType": "MET_DOUBLE",
        LAST.decode(): "LOCAL",
    }
    header = "".join(f"{key} = {value}\n" for key, value in lines.items())
    displacements = points - apply(space.affine, np.indices(size))
    return header.encode() + np.ascontiguousarray(np.moveaxis(displacements, 0, -1), "<f8").tobytes()


def _row(numbers: np.ndarray) -> str:
    return " ".join(map(text, numbers))


def read_metaimage(data: bytes, name: str) -> Field:
    header, values = _header(data, name)
    if header.get("ElementDataFile", "LOCAL").upper() != "LOCAL":
        template = "{file} keeps its data in another file, {other!r}; one file (.mha) is read."
        raise TransformFileError(template, "path", file=name, other=header["ElementDataFile"])
    size = tuple(int(each) for each in _numbers(header, "DimSize", name))[::-1]
    axes = len(size)
    channels = int(_numbers(header, "ElementNumberOfChannels", name, "1")[0])
    if axes not in (2, 3) or channels != axes or min(size) < 1:
        raise TransformFileError(
            "{file} is not a displacement field: number of components: {channels}, number of axes: {axes}.",
            "path", file=name, channels=channels, axes=axes,
        )  # fmt: skip
    kind = _TYPES.get(header.get("ElementType", ""))
    if kind is None or header.get("BinaryData", "True") != "True":
        template = "{file} holds {type!r}; binary MET_FLOAT and MET_DOUBLE are read."
        raise TransformFileError(template, "path", file=name, type=header.get("ElementType"))
    if header.get("CompressedData") == "True":
        try:
            values = zlib.decompress(values)
        except zlib.error as error:
            template = "{file} is damaged: it cannot be decompressed ({reason})."
            raise TransformFileError(template, "path", file=name, reason=str(error)) from None
    most = header.get("BinaryDataByteOrderMSB", header.get("ElementByteOrderMSB", "False")) == "True"
    stored = np.dtype((">" if most else "<") + kind)
    wanted = axes * int(np.prod(size, dtype=np.int64)) * stored.itemsize
    if len(values) < wanted:
        template = "{file} is cut off: its data have {size} bytes where {wanted} are needed."
        raise TransformFileError(template, "path", file=name, size=len(values), wanted=wanted)
    pixels = np.frombuffer(values[:wanted], stored).astype(np.float64).reshape(*size, axes)
    space = _space(header, axes, name)
    return apply(space.affine, np.indices(size)) + np.moveaxis(pixels, -1, 0), space


def _header(data: bytes, name: str) -> tuple[dict[str, str], bytes]:
    """Return the text lines of the header, and the remaining bytes."""
    start = data.find(LAST)
    end = data.find(b"\n", start)
    if start < 0 or end < 0 or not data[:10].strip().startswith((b"ObjectType", b"NDims", b"Comment")):
        raise TransformFileError("{file} is not a MetaImage file: its header is missing.", "path", file=name)
    lines = data[:end].decode("latin-1").splitlines()
    pairs = [line.partition("=") for line in lines if line.strip()]
    return {key.strip(): value.strip() for key, _, value in pairs}, data[end + 1 :]


def _numbers(header: dict[str, str], key: str, name: str, default: str | None = None) -> np.ndarray:
    try:
        numbers = np.array([float(word) for word in header.get(key, default or "").split()])
    except ValueError:
        numbers = np.array([])
    if not len(numbers) or not np.isfinite(numbers).all():
        template = "{file} is damaged: its header has no numbers {key}."
        raise TransformFileError(template, "path", file=name, key=key)
    return numbers


def _space(header: dict[str, str], axes: int, name: str) -> Space:
    turn = _numbers(header, "TransformMatrix", name, " ".join(map(str, np.eye(axes).ravel())))
    origin = _numbers(header, "Offset", name, " ".join(["0"] * axes))
    spacing = _numbers(header, "ElementSpacing", name, " ".join(["1"] * axes))
    if (len(turn), len(origin), len(spacing)) != (axes * axes, axes, axes):
        template = "{file} is damaged: its header does not state the position of its pixels."
        raise TransformFileError(template, "path", file=name)
    affine = np.concatenate([turn.reshape(axes, axes).T * spacing, origin[:, None]], 1)
    if np.linalg.matrix_rank(affine[:, :-1]) < axes:
        template = "{file} is damaged: its header does not state the position of its pixels."
        raise TransformFileError(template, "path", file=name)
    return space_of_affine(affine)

"""Fields in NIfTI-1 files: displacements of ITK and ANTs, and deformations of NiftyReg.

NIfTI files use RAS: x to the right, y to the front, z upwards. The points of ITK, and the displacements that ITK and
ANTs store with intent code 1007, are LPS. NiftyReg stores positions in RAS. A field has 5 axes (x, y, z, 1, component);
for images, z has the size 1.
"""

from __future__ import annotations

import gzip
import sys
import zlib
from typing import Any

import numpy as np

from ...errors import InputError, TransformFileError
from ...geometry.rotations import nifti_rotation
from .space import Space, apply, space_of_affine, versor_of

Field = tuple[np.ndarray, Space]  # the points (axis, *size) that the pixels go to, and where the pixels lie

VECTOR, DISPLACEMENT = 1007, 1006  # intent codes; components of the latter are RAS
NIFTYREG, DEFORMATION = b"NREG_TRANS", 0  # intent_name, intent_p1
MOST = 2**15 - 1  # pixels along an axis
_TYPES = {16: "f4", 64: "f8"}
_FIELDS: list[tuple[str, Any, int]] = [
    ("sizeof_hdr", "i4", 0), ("dim", ("i2", 8), 40), ("intent_p1", "f4", 56), ("intent_code", "i2", 68),
    ("datatype", "i2", 70), ("bitpix", "i2", 72), ("pixdim", ("f4", 8), 76), ("vox_offset", "f4", 108),
    ("scl_slope", "f4", 112), ("scl_inter", "f4", 116), ("xyzt_units", "u1", 123), ("qform_code", "i2", 252),
    ("sform_code", "i2", 254), ("quatern", ("f4", 3), 256), ("qoffset", ("f4", 3), 268), ("srow", ("f4", (3, 4)), 280),
    ("intent_name", "S16", 328), ("magic", "S4", 344),
]  # fmt: skip
HEADER = np.dtype(
    {
        "names": [name for name, _, _ in _FIELDS],
        "formats": [kind for _, kind, _ in _FIELDS],
        "offsets": [at for *_, at in _FIELDS],
        "itemsize": 348,
    }
)
DATA = 352  # the header, and four bytes that say that no extension follows
MILLIMETERS, SCANNER = 2, 1
LITTLE = sys.byteorder == "little"


# ---- writing --------------------------------------------------------------------------------------------


def write_nifti(points: np.ndarray, space: Space, compressed: bool, niftyreg: bool) -> bytes:
    axes, size = len(points), points.shape[1:]
    if max(size) > MOST:
        raise InputError(
            "`{argument}`: NIfTI-1 holds at most {most} pixels along an axis; the field has {size}.",
            "path", most=MOST, size=list(size),
        )  # fmt: skip
    header = np.zeros((), HEADER.newbyteorder("<"))
    header["sizeof_hdr"], header["magic"], header["vox_offset"] = 348, b"n+1", DATA
    header["dim"] = [5, *size[::-1], *[1] * (4 - axes), axes, 1, 1]
    header["intent_code"], header["datatype"], header["bitpix"] = VECTOR, 64, 64
    header["scl_slope"], header["xyzt_units"] = 1, MILLIMETERS
    if niftyreg:
        header["intent_name"], header["intent_p1"] = NIFTYREG, DEFORMATION
    _lay_out(header, space)
    values = _ras(points) if niftyreg else points - apply(space.affine, np.indices(size))
    data = header.tobytes() + bytes(DATA - 348) + np.ascontiguousarray(values, "<f8").tobytes()
    return gzip.compress(data, mtime=0) if compressed else data


def _lay_out(header: np.ndarray, space: Space) -> None:
    """Return the header fields for the location of the voxels, for ITK points of an image or a volume."""
    axes = len(space.spacing)
    turn, at, lengths = np.eye(3), np.zeros(3), np.ones(3)
    turn[:axes, :axes], at[:axes], lengths[:axes] = space.cosines, space.origin, space.spacing[::-1]
    turn, at = _ras(turn), _ras(at)
    mirrored = np.linalg.det(turn) < 0
    if max(np.abs(at).max(), lengths.max()) > np.finfo(np.float32).max:
        raise InputError("`{argument}` is too large for the header of a NIfTI file, which is float32.", "origin")
    header["pixdim"] = [-1 if mirrored else 1, *lengths, 1, 1, 1, 1]
    header["qform_code"] = header["sform_code"] = SCANNER
    header["quatern"] = versor_of(turn * [1, 1, -1 if mirrored else 1])
    header["qoffset"] = at
    header["srow"] = np.concatenate([turn * lengths, at[:, None]], 1)


def _ras(points: np.ndarray) -> np.ndarray:
    """Convert points (axis, ...) between LPS and RAS."""
    turned = np.array(points, dtype=np.float64)
    turned[:2] *= -1
    return turned + 0.0  # no -0


# ---- reading --------------------------------------------------------------------------------------------


def read_nifti(data: bytes, name: str) -> Field:
    if data[:2] == b"\x1f\x8b":
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            template = "{file} is damaged: it cannot be decompressed ({reason})."
            raise TransformFileError(template, "path", file=name, reason=str(error)) from None
    header = _header(data, name)
    axes, size = _sizes(header, name)
    kind = np.dtype(_TYPES[int(header["datatype"])]).newbyteorder(
        "<" if header.dtype["bitpix"].isnative == LITTLE else ">"
    )
    start, count = int(header["vox_offset"]), axes * int(np.prod(size, dtype=np.int64))
    end = start + count * kind.itemsize
    if len(data) < end:
        template = "{file} is cut off: it has {size} bytes where {wanted} are needed."
        raise TransformFileError(template, "path", file=name, size=len(data), wanted=end)
    values = np.frombuffer(data[start:end], kind).astype(np.float64).reshape(axes, *size)
    slope = float(header["scl_slope"])
    if np.isfinite(slope) and slope != 0:
        values = values * slope + float(header["scl_inter"])
    space = _space(header, axes, name)
    ours = _is_niftyreg(header)
    if ours and int(header["intent_p1"]) == DEFORMATION:
        return _ras(values), space
    ras = ours or int(header["intent_code"]) == DISPLACEMENT
    return apply(space.affine, np.indices(size)) + (_ras(values) if ras else values), space


def _header(data: bytes, name: str) -> np.ndarray:
    if len(data) < 348:
        template = "{file} is not a NIfTI file: it has {size} bytes, fewer than the header of 348."
        raise TransformFileError(template, "path", file=name, size=len(data))
    for kind in (HEADER.newbyteorder("<"), HEADER.newbyteorder(">")):
        header = np.frombuffer(data[:348], kind)[0]
        if header["sizeof_hdr"] == 348 and header["magic"] == b"n+1":
            return np.asarray(header)
        if header["sizeof_hdr"] == 540:
            raise TransformFileError("{file} is a NIfTI-2 file; NIfTI-1 is read.", "path", file=name)
    raise TransformFileError("{file} is not a NIfTI-1 file that contains its data.", "path", file=name)


def _is_niftyreg(header: np.ndarray) -> bool:
    return bytes(header["intent_name"].item()).startswith(NIFTYREG)


def _sizes(header: np.ndarray, name: str) -> tuple[int, tuple[int, ...]]:
    """Return the number of axes and the sizes (depth, row, column) or (row, column) of a field."""
    dim, code = header["dim"].astype(int).tolist(), int(header["intent_code"])
    niftyreg = _is_niftyreg(header)
    axes = dim[5]
    if dim[0] != 5 or dim[4] != 1 or axes not in (2, 3) or (axes == 2 and dim[3] != 1) or min(dim[1:4]) < 1:
        raise TransformFileError(
            "{file} is not a displacement field: it needs the sizes (x, y, z, 1, 3), or (x, y, 1, 1, 2) of an image; got "
            "{sizes:list}.",
            "path", file=name, sizes=dim[1 : max(1, min(dim[0], 7)) + 1],
        )  # fmt: skip
    if code not in (VECTOR, DISPLACEMENT):
        raise TransformFileError(
            "{file} is not a displacement field: its intent code is {code}, not {vector}.",
            "path", file=name, code=code, vector=VECTOR,
        )  # fmt: skip
    if niftyreg and int(header["intent_p1"]) not in (0, 1):
        raise TransformFileError(
            "{file} holds a transform of NiftyReg that is neither a deformation nor a displacement field (its intent_p1 "
            "is {kind}); `reg_transform -def` makes a deformation field of it.",
            "path", file=name, kind=int(header["intent_p1"]),
        )  # fmt: skip
    if int(header["datatype"]) not in _TYPES:
        template = "{file} holds numbers of the type {type}; float32 (16) and float64 (64) are read."
        raise TransformFileError(template, "path", file=name, type=int(header["datatype"]))
    return axes, tuple(dim[1 : axes + 1][::-1])


def _space(header: np.ndarray, axes: int, name: str) -> Space:
    """Return the location of the voxels: from the sform, otherwise the qform, otherwise the spacing alone."""
    lengths = header["pixdim"].astype(np.float64)
    affine = np.concatenate([np.diag(lengths[1:4]), np.zeros((3, 1))], 1)
    if header["sform_code"] > 0:
        affine = header["srow"].astype(np.float64)
    elif header["qform_code"] > 0:
        turn = nifti_rotation(header["quatern"]) * lengths[1:4] * [1, 1, -1 if lengths[0] < 0 else 1]
        affine = np.concatenate([turn, header["qoffset"].astype(np.float64)[:, None]], 1)
    affine = _ras(affine)
    flat = axes == 3 or (affine[2, :2] == 0).all()
    if axes == 2:
        affine = affine[:2, [0, 1, 3]]
    if not flat or not np.isfinite(affine).all() or np.linalg.matrix_rank(affine[:, :-1]) < axes:
        template = "{file} is damaged: its header does not state the position of its pixels."
        raise TransformFileError(template, "path", file=name)
    return space_of_affine(affine)

"""Files of a linear map of physical points: ITK text files (.tfm), MATLAB files (.mat) and CSV.

Linear transforms of ITK have parameters and fixed parameters. All except the translation have a center c, the fixed
parameters: x -> M (x - c) + c + t.
"""

from __future__ import annotations

import csv
import io
import re
import struct
from collections.abc import Callable, Sequence

import numpy as np

from ...errors import TransformFileError
from ...geometry.rotations import versor_rotation
from .space import Affine, compose

HEADER = "#Insight Transform File V1.0"
_NAME = re.compile(r"(\w+?)_(?:double|float)_([23])_([23])")
AXIS_NAMES = "xyz"
_MATLAB = {0: "<f8", 10: "<f4", 1000: ">f8", 1010: ">f4"}  # the types of a full matrix of numbers, in version 4


def text(number: float) -> str:
    """Format a number as text that is read back exactly, without a sign for 0."""
    return repr(float(number) + 0.0).removesuffix(".0")


# ---- ITK's text -----------------------------------------------------------------------------------------


def write_tfm(affine: Affine) -> bytes:
    axes = len(affine)
    lines = [
        HEADER, "#Transform 0", f"Transform: AffineTransform_double_{axes}_{axes}",
        "Parameters: " + " ".join(map(text, _parameters(affine))), "FixedParameters: " + " ".join(["0"] * axes), "",
    ]  # fmt: skip
    return "\n".join(lines).encode()


def read_tfm(data: bytes, name: str) -> Affine:
    """Read a linear transform, or several of a composite, of which the last one is applied first."""
    lines = [line.strip() for line in data.decode("latin-1").splitlines()]
    if not lines or not lines[0].startswith("#Insight Transform File"):
        template = "{file} is not a transform file of ITK: its first line is not {header!r}."
        raise TransformFileError(template, "path", file=name, header=HEADER)
    transforms: list[dict[str, str]] = []
    for line in lines[1:]:
        key, colon, value = line.partition(":")
        if key == "Transform" and colon:
            transforms.append({})
        if line and not line.startswith("#"):
            if not colon or not transforms:
                raise TransformFileError(
                    "{file} is damaged: it has the line {line!r:.60}.", "path", file=name, line=line
                )
            transforms[-1][key] = value.strip()
    if transforms and transforms[0]["Transform"].startswith("CompositeTransform"):
        transforms = transforms[1:]
    elif len(transforms) > 1:
        template = "{file} holds {count} transforms that are not a composite: keep one of them."
        raise TransformFileError(template, "path", file=name, count=len(transforms))
    if not transforms:
        raise TransformFileError("{file} holds no transform.", "path", file=name)
    affines = [
        _linear(each["Transform"], _numbers(each, "Parameters", name), _numbers(each, "FixedParameters", name), name)
        for each in transforms
    ]
    whole = affines[0]
    for inner in affines[1:]:
        if inner.shape != whole.shape:
            raise TransformFileError("{file} holds transforms of images and of volumes.", "path", file=name)
        whole = compose(whole, inner)
    return whole


def _numbers(transform: dict[str, str], key: str, name: str) -> np.ndarray:
    if key not in transform:
        raise TransformFileError("{file} is damaged: {key} are missing.", "path", file=name, key=key)
    try:
        return np.array([float(word) for word in transform[key].split()])
    except ValueError:
        template = "{file} is damaged: {key} are not all numbers."
        raise TransformFileError(template, "path", file=name, key=key) from None


# ---- MATLAB, version 4 ----------------------------------------------------------------------------------


def write_mat(affine: Affine) -> bytes:
    axes = len(affine)
    parts = [(f"AffineTransform_double_{axes}_{axes}", _parameters(affine)), ("fixed", np.zeros(axes))]
    written = b""
    for label, values in parts:
        header = struct.pack("<5i", 0, len(values), 1, 0, len(label) + 1)
        written += header + label.encode() + b"\0" + values.astype("<f8").tobytes()
    return written


def read_mat(data: bytes, name: str) -> Affine:
    variables, rest = [], data
    while rest:
        label, values, rest = _variable(rest, name)
        variables.append((label, values))
    if len(variables) != 2 or variables[1][0] != "fixed":
        template = (
            "{file} is not a transform of ITK: it holds {names:list}, not a transform and its `fixed` parameters."
        )
        raise TransformFileError(template, "path", file=name, names=[label for label, _ in variables])
    return _linear(variables[0][0], variables[0][1], variables[1][1], name)


def _variable(data: bytes, name: str) -> tuple[str, np.ndarray, bytes]:
    """Return the first variable of a MATLAB file of version 4, and the remaining bytes."""
    if data[:6] == b"MATLAB":
        template = "{file} is a MATLAB file of a later version; ITK writes transforms in version 4."
        raise TransformFileError(template, "path", file=name)
    if len(data) < 20:
        raise TransformFileError("{file} is cut off.", "path", file=name)
    order = "<" if struct.unpack("<i", data[:4])[0] in _MATLAB else ">"
    kind, rows, columns, imaginary, length = struct.unpack(order + "5i", data[:20])
    if kind not in _MATLAB or imaginary or not 0 < length < 256 or min(rows, columns) < 0:
        raise TransformFileError(
            "{file} is not a MATLAB file of version 4, the format that ITK writes.", "path", file=name
        )
    precision = _MATLAB[kind]
    end = 20 + length + rows * columns * np.dtype(precision).itemsize
    if end > len(data):
        template = "{file} is cut off: it has {size} bytes where {wanted} are needed."
        raise TransformFileError(template, "path", file=name, size=len(data), wanted=end)
    label = data[20 : 20 + length].rstrip(b"\0").decode("latin-1")
    return label, np.frombuffer(data[20 + length : end], precision).astype(np.float64), data[end:]


# ---- CSV ------------------------------------------------------------------------------------------------


def write_csv(affine: Affine) -> bytes:
    names = AXIS_NAMES[: len(affine)]
    rows = [["axis", *names, "shift"], *([name, *map(text, row)] for name, row in zip(names, affine, strict=True))]
    return "".join(",".join(row) + "\n" for row in rows).encode()


def read_csv(data: bytes, name: str) -> Affine:
    rows = [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(data.decode("latin-1"))) if row]
    axes = len(rows) - 1
    names = list(AXIS_NAMES[: max(axes, 2)])
    if not rows or rows[0] != ["axis", *names, "shift"] or [row[0] for row in rows[1:]] != names:
        template = "{file} is not a table of a linear map: it needs the header {header!r} and a row for each axis."
        raise TransformFileError(template, "path", file=name, header=",".join(["axis", *names, "shift"]))
    try:
        affine = np.array([[float(cell) for cell in row[1:]] for row in rows[1:]]).reshape(axes, axes + 1)
    except ValueError:
        template = "{file} is damaged: its rows are not {count} numbers each."
        raise TransformFileError(template, "path", file=name, count=axes + 1) from None
    return _checked(affine, name)


# ---- ITK's linear transforms ----------------------------------------------------------------------------


def _parameters(affine: Affine) -> np.ndarray:
    return np.concatenate([affine[:, :-1].ravel(), affine[:, -1]])


def _linear(kind: str, parameters: np.ndarray, fixed: np.ndarray, name: str) -> Affine:
    """Return the affine map of an ITK transform: x -> M (x - center) + center + t."""
    found = _NAME.fullmatch(kind.strip())
    short = found.group(1) if found else kind
    if found is None or found.group(2) != found.group(3) or short not in _KINDS:
        raise TransformFileError(
            "{file} holds a {kind}, which is not among the linear transforms that are read: {known:list}.",
            "path", file=name, kind=short, known=sorted(_KINDS),
        )  # fmt: skip
    axes, (counts, matrix_of) = int(found.group(2)), _KINDS[short]
    wanted = counts[axes - 2]
    if wanted is None:
        template = "{file} is damaged: it holds a {kind} of {axes} axes, which ITK does not have."
        raise TransformFileError(template, "path", file=name, kind=short, axes=axes)
    centers = (0,) if short in _WITHOUT_CENTER else (axes, axes + 1) if short == "Euler3DTransform" else (axes,)
    if len(parameters) != wanted or len(fixed) not in centers:
        raise TransformFileError(
            "{file} is damaged: a {kind} has {wanted} parameters and {fixed} fixed ones; got {given} and {given_fixed}.",
            "path", file=name, kind=short, wanted=wanted, fixed=centers[0], given=len(parameters),
            given_fixed=len(fixed),
        )  # fmt: skip
    matrix, shift = matrix_of(parameters, fixed, axes)
    center = fixed[:axes] if len(fixed) else np.zeros(axes)
    return _checked(np.concatenate([matrix, (shift + center - matrix @ center)[:, None]], 1), name)


def _checked(affine: Affine, name: str) -> Affine:
    if not np.isfinite(affine).all():
        raise TransformFileError("{file} holds numbers that are not finite.", "path", file=name)
    if abs(np.linalg.det(affine[:, :-1])) < np.finfo(float).tiny:
        raise TransformFileError("{file} holds a linear map that has no inverse.", "path", file=name)
    return affine


def _turn(angle: float, axes: int = 2, plane: tuple[int, int] = (0, 1)) -> np.ndarray:
    """Return the rotation from the first axis of a plane towards the second."""
    turn, (i, j) = np.eye(axes), plane
    turn[[i, j], [i, j]] = np.cos(angle)
    turn[j, i], turn[i, j] = np.sin(angle), -np.sin(angle)
    return turn


def _euler(parameters: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    about_x, about_y, about_z = (
        _turn(angle, 3, plane) for angle, plane in zip(parameters, [(1, 2), (2, 0), (0, 1)], strict=False)
    )
    last = len(fixed) > 3 and fixed[3] != 0  # ITK's ComputeZYX
    return about_z @ about_y @ about_x if last else about_z @ about_x @ about_y


Matrices = Callable[[np.ndarray, np.ndarray, int], tuple[np.ndarray, np.ndarray]]
_WITHOUT_CENTER = ("IdentityTransform", "TranslationTransform")


def _affine(p: np.ndarray, fixed: np.ndarray, axes: int) -> tuple[np.ndarray, np.ndarray]:
    return p[: axes * axes].reshape(axes, axes), p[axes * axes :]


_KINDS: dict[str, tuple[tuple[int | None, int | None], Matrices]] = {
    "AffineTransform": ((6, 12), _affine),
    "MatrixOffsetTransformBase": ((6, 12), _affine),
    "IdentityTransform": ((0, 0), lambda p, fixed, axes: (np.eye(axes), np.zeros(axes))),
    "TranslationTransform": ((2, 3), lambda p, fixed, axes: (np.eye(axes), p)),
    "ScaleTransform": ((2, 3), lambda p, fixed, axes: (np.diag(p), np.zeros(axes))),
    "Euler2DTransform": ((3, None), lambda p, fixed, axes: (_turn(p[0]), p[1:])),
    "Rigid2DTransform": ((3, None), lambda p, fixed, axes: (_turn(p[0]), p[1:])),
    "Similarity2DTransform": ((4, None), lambda p, fixed, axes: (p[0] * _turn(p[1]), p[2:])),
    "Euler3DTransform": ((None, 6), lambda p, fixed, axes: (_euler(p[:3], fixed), p[3:])),
    "VersorTransform": ((None, 3), lambda p, fixed, axes: (versor_rotation(p), np.zeros(3))),
    "VersorRigid3DTransform": ((None, 6), lambda p, fixed, axes: (versor_rotation(p[:3]), p[3:])),
    "Similarity3DTransform": ((None, 7), lambda p, fixed, axes: (p[6] * versor_rotation(p[:3]), p[3:6])),
}

Reader = Callable[[bytes, str], Affine]
LINEAR: dict[str, tuple[Callable[[Affine], bytes], Reader, Sequence[str]]] = {
    "tfm": (write_tfm, read_tfm, (".tfm", ".txt")),
    "mat": (write_mat, read_mat, (".mat",)),
    "csv": (write_csv, read_csv, (".csv",)),
}

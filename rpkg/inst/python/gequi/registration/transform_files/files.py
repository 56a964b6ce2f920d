"""Writing transforms to files of other programs, and reading them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..._files import check_path, shown, write_file
from ...arrays import check_choice, check_flag
from ...errors import InputError, TransformFileError
from ...maps import check_spacing
from ..result import DIRECTIONS, Registration
from .linear import LINEAR
from .metaimage import read_metaimage, write_metaimage
from .nifti import Field, read_nifti, write_nifti
from .space import Affine, Space, apply, compose, fitted, inverse, make_space
from .transform import Transform

LINEAR_TRANSFORMS = ("affine", "similarity", "rigid", "translation")
ENDINGS = {
    "tfm": (".tfm", ".txt"),
    "mat": (".mat",),
    "csv": (".csv",),
    "nifti": (".nii.gz", ".nii"),
    "niftyreg": (".nii.gz", ".nii"),
    "mha": (".mha",),
}
FIELDS: dict[str, Callable[[bytes, str], Field]] = {"nifti": read_nifti, "mha": read_metaimage}


def write_transform(
    found: Any,
    path: Any,
    direction: str = "moving_to_fixed",
    linear: bool = False,
    format: str | None = None,
    origin: Any = None,
    cosines: Any = None,
    moving_origin: Any = None,
    moving_cosines: Any = None,
    overwrite: bool = False,
) -> str:
    """Write the map of a registration to a file for ITK, ANTs, elastix, 3D Slicer or NiftyReg.

    The file contains the transform T from physical points of the fixed image to physical points of the moving image.
    These programs use T to resample the moving image on the grid of the fixed image. Points are (x, y) or (x, y, z) as
    in ITK. Without `cosines`, x increases along a row (from column to column), y from row to row and z from slice to
    slice. The pixel (depth k, row j, column i), counted from 0, is located at

        point = origin + cosines @ (spacing of columns * i, spacing of rows * j, spacing of slices * k)

    with the `spacing` of the registration. The file formats call these axes LPS: x to the left of the patient, y to the
    back and z upwards. For other images this is only a name. Numbers are written with full precision (float64).

    SimpleITK's `GetArrayFromImage(image)` has these axes, with `image.GetSpacing()[::-1]`, `image.GetOrigin()` and
    `image.GetDirection()`. The data of nibabel have the reversed order of axes, `image.get_fdata().T`. With `A =
    image.affine`, `scale = np.linalg.norm(A[:3, :3], axis=0)` and `lps = np.diag([-1, -1, 1])`, they have `origin=lps @
    A[:3, 3]`, `cosines=lps @ A[:3, :3] / scale` and the spacing `scale[::-1]`.

    Args:
        found: Registration or Transform: a registration, or a transform from `read_transform()`, which keeps its own
            origins and cosines.
        path: str: the path of the file. Its ending determines the format. ~ is the home directory of the user.
        direction: str: "moving_to_fixed" writes T as described, for resampling the moving image. "fixed_to_moving"
            writes the inverse, with the two images exchanged.
        linear: bool: whether to write only the linear part, `affine`. Not needed for a linear map.
        format: str: the format. None uses the file ending. Formats of a linear map:
            "tfm" (.tfm, .txt): the ITK text file of an AffineTransform with center 0, y = M x + t, where the parameters
            are M row by row, then t.
            "mat" (.mat): the same parameters in a MATLAB file of version 4, as written by ITK and ANTs
            (0GenericAffine.mat).
            "csv" (.csv): a table with the header axis,x,y,z,shift (axis,x,y,shift) and one row [M t] per axis.
            Formats of a field, on the pixels of the fixed image:
            "nifti" (.nii, .nii.gz): displacements T(x) - x as in ITK and ANTs: 5 axes (x, y, z, 1, component), intent
            code 1007, LPS components. The sform and qform of the header, which are RAS and float32, have the opposite
            sign in x and y.
            "mha" (.mha): displacements T(x) - x as MetaImage in LPS, for ITK, elastix and 3D Slicer.
            "niftyreg" (.nii, .nii.gz; must be given): positions T(x) in RAS, not displacements: the deformation field
            of NiftyReg, with intent code 1007, intent_name NREG_TRANS, intent_p1 0.
        origin, moving_origin: array (x, y[, z]): the positions of the first pixels of the fixed and the moving image,
            as from SimpleITK's `GetOrigin()`. None is 0 for the fixed image and `origin` for the moving image.
        cosines, moving_cosines: array: the direction cosines, as from SimpleITK's `GetDirection()`, a matrix or its
            numbers row by row. None is the identity for the fixed image and `cosines` for the moving image.
        overwrite: bool: whether to replace an existing file.

    Returns:
        str: the path.

    Raises:
        InputError: an unknown format or file ending, an existing file, a path that cannot be written, a deformable map
            in a linear format, or cosines that are not orthonormal.
        ShapeError: origins or cosines whose length does not match the number of axes.

    Source:
        ITK: TransformFileWriter, MatlabTransformIO, MetaImageIO and NiftiImageIO. NIfTI-1: nifti1.h (R. W. Cox et al.,
        2004). NiftyReg: reg_transform (M. Modat et al.).

    Example:
        The pixel (row 2, column 1) of a fixed image whose rows are 4 apart and whose columns are 2 apart lies at
        x = 10 + 1 * 2 = 12, y = 20 + 2 * 4 = 28. The map takes it to the pixel (row 4, column 0) of the moving image, at
        x = 10, y = 36: T adds (-2, 8).

        >>> import tempfile, dataclasses, gequi
        >>> image = gequi.sample_image("cat")[50:114, 150:210]
        >>> found = gequi.register_images(image, image, spacing=(4.0, 2.0), transform="rigid")
        >>> affine, map = np.array([[1.0, 0, 2], [0, 1, -1]]), gequi.identity_map((64, 60)) + [[[2.0]], [[-1.0]]]
        >>> found = dataclasses.replace(found, affine=affine, map=map)
        >>> folder = tempfile.TemporaryDirectory()
        >>> def written(ending, **options):
        ...     path = gequi.write_transform(found, folder.name + "/t" + ending, origin=(10, 20), overwrite=True, **options)
        ...     return open(path, "rb").read()
        >>> print(written(".tfm").decode().strip())
        #Insight Transform File V1.0
        #Transform 0
        Transform: AffineTransform_double_2_2
        Parameters: 1 0 0 1 -2 8
        FixedParameters: 0 0
        >>> print(written(".csv").decode().strip())
        axis,x,y,shift
        x,1,0,-2
        y,0,1,8
        >>> np.frombuffer(written(".mat")[47:95]).tolist()
        [1.0, 0.0, 0.0, 1.0, -2.0, 8.0]

        In a NIfTI file the components follow each other; in a MetaImage file they stand side by side. The first pixel
        lies at (10, 20), in RAS at (-10, -20); the position of T at the pixel above is (-10, -36) in RAS.

        >>> field = np.frombuffer(written(".nii")[352:]).reshape(2, 64, 60)
        >>> field[:, 2, 1].tolist()
        [-2.0, 8.0]
        >>> np.frombuffer(written(".nii")[280:312], "<f4").reshape(2, 4).tolist()
        [[-2.0, 0.0, 0.0, -10.0], [0.0, -4.0, 0.0, -20.0]]
        >>> header, _, data = written(".mha").partition(b"LOCAL" + bytes([10]))
        >>> np.frombuffer(data).reshape(64, 60, 2)[2, 1].tolist()
        [-2.0, 8.0]
        >>> header.decode().splitlines()[6:9:2]
        ['Offset = 10 20', 'ElementSpacing = 2 4']
        >>> np.frombuffer(written(".nii", format="niftyreg")[352:]).reshape(2, 64, 60)[:, 2, 1].tolist()
        [-10.0, -36.0]
        >>> folder.cleanup()
    """
    target = check_path(path)
    kind = _format_of(path, format)
    forwards = check_choice(direction, "direction", DIRECTIONS) == "moving_to_fixed"
    alone = check_flag(linear, "linear")
    spaces = _spaces(found, origin, cosines, moving_origin, moving_cosines)
    if not check_flag(overwrite, "overwrite") and target.exists():
        raise InputError(
            "`{argument}`: there is a file {file!r} already; `overwrite` = {yes!r} replaces it.",
            "path", file=str(path), yes=True,
        )  # fmt: skip
    fixed, moving = spaces if forwards else spaces[::-1]
    affine = found.affine if forwards else inverse(found.affine)
    straight = alone or _is_linear(found)
    if kind in LINEAR:
        if not straight:
            raise InputError(
                "`{argument}`: a {format} file holds a linear map, and this one is not; `linear` = {yes!r} writes its "
                "linear part, and files that end in .nii.gz or .mha hold all of it.",
                "path", format=kind, yes=True,
            )  # fmt: skip
        return str(write_file(path, LINEAR[kind][0](_in_points(affine, fixed, moving))))
    map = _map_of(found, forwards)
    if straight:
        map = apply(affine, np.indices(map.shape[1:]).astype(np.float64))
    points = apply(moving.affine, map)
    if kind == "mha":
        return str(write_file(path, write_metaimage(points, fixed)))
    compressed = str(path).lower().endswith(".gz")
    return str(write_file(path, write_nifti(points, fixed, compressed, kind == "niftyreg")))


def read_transform(
    path: Any,
    spacing: Any = None,
    origin: Any = None,
    cosines: Any = None,
    moving_spacing: Any = None,
    moving_origin: Any = None,
    moving_cosines: Any = None,
) -> Transform:
    """Read a transform from a file of `write_transform()` or another program, for the pixels of two images.

    Files contain a transform of physical points. The spacing, origin and cosines of the images determine the location
    of their pixels, as described at `write_transform()`. The transform must map points of the fixed image to points of
    the moving image, as these programs write it for resampling the moving image.

    Args:
        path: str: the path of the file. By its ending:
            .tfm, .txt, .mat: a linear ITK transform (AffineTransform, MatrixOffsetTransformBase, and the Euler, Versor,
            Rigid, Similarity, Scale, Translation and Identity transforms; text files may contain a composite of them).
            .csv: a table as from `write_transform()`.
            .nii, .nii.gz: a displacement field of ITK or ANTs (intent code 1007, LPS; 1006, RAS), or a deformation or
            displacement field of NiftyReg (intent_name NREG_TRANS).
            .mha: a displacement field.
        spacing, origin, cosines: array: of the fixed image, the pixel size (row, column) or (depth, row, column), the
            position of the first pixel (x, y[, z]), and the direction of ITK. None is 1, 0 and the identity. A field
            contains its own spacing, origin and cosines; arguments must agree with them.
        moving_spacing, moving_origin, moving_cosines: array: the same for the moving image. None uses the value of the
            fixed image.

    Returns:
        a `Transform`. Its attributes are `map` (for a field, the position in the moving image for each pixel of the
        fixed image), `affine` (the linear map, or the least-squares fit to the field) and the arguments. Its methods
        are `transform_points()` and `warp()`.

    Raises:
        TransformFileError: a file that does not exist, is damaged, incomplete or not a supported transform.
        InputError: an unknown file ending, cosines that are not orthonormal, or a spacing, origin or cosines that
            disagree with the field.
        ShapeError: a spacing, origin or cosines whose length does not match the number of axes.

    Source:
        see `write_transform()`.

    Example:
        >>> import tempfile, gequi
        >>> image = gequi.sample_image("cat")[50:114, 150:210]
        >>> found = gequi.register_images(image, image, spacing=(3.0, 2.0))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     again = read_transform(write_transform(found, folder + "/field.mha"))
        >>> bool(abs(again.map - found.map).max() < 1e-9), again.spacing.tolist()
        (True, [3.0, 2.0])
    """
    kind = _format_of(path, None)
    name = shown(path)
    data = _contents(path)
    if kind in LINEAR:
        affine = LINEAR[kind][1](data, name)
        axes, map = len(affine), None
        fixed = make_space(check_spacing(spacing, axes, "spacing"), origin, cosines)
    else:
        points, fixed = FIELDS[kind](data, name)
        if not np.isfinite(points).all():
            raise TransformFileError("{file} holds numbers that are not finite.", "path", file=name)
        axes = len(points)
        _check_agreement(fixed, spacing, origin, cosines)
    moving = make_space(
        fixed.spacing if moving_spacing is None else check_spacing(moving_spacing, axes, "moving_spacing"),
        fixed.origin if moving_origin is None else moving_origin,
        fixed.cosines if moving_cosines is None else moving_cosines,
        "moving_",
    )
    if kind in LINEAR:
        affine = compose(inverse(moving.affine), compose(affine, fixed.affine))
    else:
        map = apply(inverse(moving.affine), points)
        affine = fitted(map)
    return Transform(
        map, affine, fixed.spacing, moving.spacing, fixed.origin, moving.origin, fixed.cosines, moving.cosines,
        check_path(path).name,
    )  # fmt: skip


# ---- what is written ------------------------------------------------------------------------------------


def _spaces(found: Any, origin: Any, cosines: Any, moving_origin: Any, moving_cosines: Any) -> tuple[Space, Space]:
    """Return the space of the fixed image and that of the moving image."""
    if not isinstance(found, Registration | Transform):
        raise InputError(
            "`{argument}` must be a registration, as register_images() returns it, or a transform; got {found!r}.",
            "found", found=found,
        )  # fmt: skip
    at, turn, moving_at, moving_turn = origin, cosines, moving_origin, moving_cosines
    if isinstance(found, Transform):
        at, turn = (own if given is None else given for own, given in ((found.origin, at), (found.cosines, turn)))
        moving_at = found.moving_origin if moving_at is None else moving_at
        moving_turn = found.moving_cosines if moving_turn is None else moving_turn
    fixed = make_space(found.spacing, at, turn)
    moving_at = fixed.origin if moving_at is None else moving_at
    moving_turn = fixed.cosines if moving_turn is None else moving_turn
    return fixed, make_space(found.moving_spacing, moving_at, moving_turn, "moving_")


def _is_linear(found: Registration | Transform) -> bool:
    return found.map is None if isinstance(found, Transform) else found.transform in LINEAR_TRANSFORMS


def _in_points(affine: Affine, fixed: Space, moving: Space) -> Affine:
    """Convert a linear map of pixels to a linear map of points."""
    return compose(moving.affine, compose(affine, inverse(fixed.affine)))


def _map_of(found: Registration | Transform, forwards: bool) -> np.ndarray:
    if isinstance(found, Registration):
        return found.map if forwards else found.inverse_map
    if found.map is None or not forwards:
        reason = (
            "it is a linear map, which has no grid"
            if found.map is None
            else "the size of the moving image is not known"
        )
        template = "`{argument}`: no field can be made of this transform in this direction: {reason}."
        raise InputError(template, "found", reason=reason)
    return found.map


# ---- files ----------------------------------------------------------------------------------------------


def _format_of(path: Any, format: str | None) -> str:
    name = check_path(path).name.lower()
    if format is not None:
        kind = check_choice(format, "format", ENDINGS)
        if not name.endswith(ENDINGS[kind]):
            raise InputError(
                "`{argument}` must end in {endings} for the format {format!r}; got {file!r}.",
                "path", endings=" or ".join(ENDINGS[kind]), format=kind, file=str(path),
            )  # fmt: skip
        return kind
    for kind, endings in ENDINGS.items():
        if name.endswith(endings):
            return kind
    raise InputError(
        "`{argument}` must end in one of {endings:list}; got {file!r}.",
        "path", endings=list(dict.fromkeys(each for endings in ENDINGS.values() for each in endings)), file=str(path),
    )  # fmt: skip


def _contents(path: Any) -> bytes:
    try:
        return check_path(path).read_bytes()
    except FileNotFoundError:
        raise TransformFileError("`{argument}`: there is no file {file!r}.", "path", file=str(path)) from None
    except OSError as error:
        template = "`{argument}`: {file!r} cannot be read ({reason})."
        raise TransformFileError(template, "path", file=str(path), reason=str(error.strerror)) from None


def _check_agreement(field: Space, spacing: Any, origin: Any, cosines: Any) -> None:
    """Raise an error if arguments of the fixed image disagree with the field's file, up to float32 precision."""
    lengths = field.spacing if spacing is None else check_spacing(spacing, len(field.spacing), "spacing")
    given = make_space(lengths, field.origin if origin is None else origin, cosines)
    extent = float(np.abs(field.origin).max() + field.spacing.max())
    for name, value, scale in (("spacing", given.spacing, 1.0), ("origin", given.origin, extent)):
        own = getattr(field, name)
        if not np.allclose(value, own, rtol=1e-5, atol=1e-5 * scale):
            raise InputError(
                "`{argument}` must be that of the field, {own!r}, or {none!r}; got {value!r}.",
                name, own=own.tolist(), none=None, value=value.tolist(),
            )  # fmt: skip
    if cosines is not None and not np.allclose(given.cosines, field.cosines, atol=1e-4):
        raise InputError(
            "`{argument}` must be those of the field, {own!r}, or {none!r}; got {value!r}.",
            "cosines", own=field.cosines.tolist(), none=None, value=given.cosines.tolist(),
        )  # fmt: skip

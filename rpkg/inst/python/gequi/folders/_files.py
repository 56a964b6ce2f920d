"""Image files: listing and reading them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .._files import check_path, shown
from ..errors import GequiError, InputError, ShapeError, need_packages
from ._sixteen import has_deep_channels, read_deep_channels

PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
ENDINGS = (".npy", *PICTURES)
EXIF_TURN = 0x0112  # how a camera was held
BITS, SAMPLES = 258, 339  # tags of a TIFF file: the bits of a value, and their meaning (1 unsigned, 2 signed)
# What a picture's own way of storing colors becomes: one channel or three.
_MODES = {"1": "L", "LA": "L", "P": "RGB", "PA": "RGB", "RGBA": "RGB", "CMYK": "RGB", "YCbCr": "RGB", "HSV": "RGB"}


def list_images(images: Any, argument: str = "images") -> list[Path]:
    """Return the image files of a folder in alphabetical order, or the files of a list in its order."""
    if isinstance(images, str | os.PathLike):
        folder = check_path(images, argument)
        if folder.is_file():
            return list_images([images], argument)
        if not folder.is_dir():
            raise InputError(
                "`{argument}` must be a folder, or a list of files; there is no folder {folder}.",
                argument, folder=shown(folder),
            )  # fmt: skip
        files = sorted(file for file in folder.iterdir() if is_image(file))
        if not files:
            raise InputError(
                "`{argument}`: {folder} has no file that ends with {endings}.",
                argument, folder=shown(folder), endings=" ".join(ENDINGS),
            )  # fmt: skip
        return files
    if not isinstance(images, Sequence) or not images:
        raise InputError(
            "`{argument}` must be a folder, or a list of files; got {value!r:.60}.", argument, value=images
        )
    files = [check_path(each, argument) for each in images]
    for file in files:
        check_image_file(file, argument)
    return files


def check_image_file(file: Path, argument: str) -> None:
    """Raise an InputError unless the file exists and its name is that of an image."""
    if not file.is_file():
        raise InputError("`{argument}`: there is no file {file}.", argument, file=shown(file))
    if file.suffix.lower() not in ENDINGS:
        raise InputError(
            "`{argument}`: {file} must end with one of {endings}.",
            argument, file=shown(file), endings=" ".join(ENDINGS),
        )  # fmt: skip


def is_image(file: Path) -> bool:
    """Return whether the name of a file is that of an image. Hidden files, such as those of macOS, are not images."""
    return file.suffix.lower() in ENDINGS and not file.name.startswith(".")


def read_image(file: Path, axes: int = 2) -> np.ndarray:
    """Read the image in a file: (channel, row, column), or (channel, depth, row, column) if `axes` is 3.

    Integers of a picture are scaled to values from 0 to 1. A .npy file is used unchanged and may lack the channel axis.
    The pages of a picture file are the slices of a volume; an image may have only one page.
    """
    if not file.is_file():  # opening a pipe would block
        raise _unreadable(file, "it is no file")
    try:
        if file.suffix.lower() == ".npy":
            pages, image = 1, np.load(file, allow_pickle=False)
        else:
            pages, image = _picture(file, axes)
        if image.dtype.kind == "f" and not np.isfinite(image).all():
            raise ValueError("it has values that are not finite")
    except GequiError:
        raise
    except Exception as error:  # numpy, pillow and the parsers that they call have many errors for damaged files
        raise _unreadable(file, str(error) or type(error).__name__) from None
    if axes == 2 and pages > 1:
        raise ShapeError(
            "`{argument}`: {file} has {pages} pages, which are as many images: give a file for each of them.",
            "images", file=shown(file), pages=pages,
        )  # fmt: skip
    image = image[None] if image.ndim == axes else image
    if image.ndim != axes + 1 or image.dtype.kind not in "fiub":
        wanted = "(channel, row, column)" if axes == 2 else "(channel, depth, row, column)"
        raise ShapeError(
            "`{argument}`: {file} must hold numbers {wanted}; got {type} of shape {shape}.",
            "images", file=shown(file), wanted=wanted, type=image.dtype, shape=image.shape,
        )  # fmt: skip
    return np.asarray(image)


def _unreadable(file: Path, reason: str) -> InputError:
    return InputError("`{argument}`: {file} cannot be read ({reason}).", "images", file=shown(file), reason=reason)


def _picture(file: Path, axes: int) -> tuple[int, np.ndarray]:
    """Return the number of pages of a picture and the first page; for a volume, all pages as slices."""
    need_packages(("PIL",), "reading pictures", "images")
    from PIL import Image, ImageOps, ImageSequence  # here, since only pictures need it

    with Image.open(file) as picture:
        # The further images in a photograph (MPO) are previews of the first.
        pages = 1 if picture.format == "MPO" else getattr(picture, "n_frames", 1)
        if axes == 2:
            # The order matters: getexif() loads the picture, after which its depth is no longer available.
            turned = picture.format != "TIFF" and not has_deep_channels(picture) and EXIF_TURN in picture.getexif()
            if turned:
                ImageOps.exif_transpose(picture, in_place=True)
            return pages, _values(picture, file, 0)
        slices = [_values(page, file, number) for number, page in enumerate(ImageSequence.Iterator(picture))]
        return pages, np.stack(slices[:pages], axis=1)


def _values(picture: Any, file: Path, page: int) -> np.ndarray:
    """Return a page as (channel, row, column), with values from 0 to 1."""
    if has_deep_channels(picture):
        values = read_deep_channels(file, page)
    else:
        values = np.asarray(picture.convert(_MODES[picture.mode]) if picture.mode in _MODES else picture)
    highest = {"u": np.iinfo(values.dtype).max if values.dtype.kind == "u" else 1, "i": 65535}.get(values.dtype.kind, 1)
    tags = getattr(picture, "tag_v2", {})
    if values.dtype.kind == "i" and 32 in tags.get(BITS, ()):  # pillow reads both kinds as signed
        signed = 2 in tags.get(SAMPLES, ())
        values, highest = (values, 2**31 - 1) if signed else (values.view(np.uint32), 2**32 - 1)
    values = values / np.float64(highest)
    return values[None] if values.ndim == 2 else np.moveaxis(values, -1, 0)


def read_batch(files: Sequence[Path], shape: tuple[int, ...], axes: int) -> np.ndarray:
    """Read several images as a batch. The error for an image whose shape differs from the first names the file."""
    images = [read_image(file, axes) for file in files]
    for file, image in zip(files, images, strict=True):
        if image.shape != shape:
            raise ShapeError(
                "`{argument}` must have one shape; {file} has {shape}, the first one {first}.",
                "images", file=shown(file), shape=image.shape, first=shape,
            )  # fmt: skip
    return np.stack(images)

"""Images written to picture files."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .._files import check_path, shown, write_file
from ..arrays import as_array, check_integer, check_number
from ..errors import GequiWarning, InputError, ShapeError, need_packages
from ._sixteen import encode_deep_colors

# The ending of a file, and what pillow calls its format.
FORMATS = {".png": "PNG", ".tif": "TIFF", ".tiff": "TIFF", ".jpg": "JPEG", ".jpeg": "JPEG"}
MOST_CHANNELS = 4  # along a third axis; a longer one is that of the columns of a volume


def write_image(x: Any, path: Any, limits: Any = (0, 1), bits: int = 8, quality: int = 90) -> Any:
    """Write an image to a PNG, TIFF or JPEG file.

    Args:
        x: array: (row, column); (row, column, channel) with 1 to 4 channels: gray, gray and alpha, RGB, or RGB and
            alpha; a volume (depth, row, column), which is written as the pages of a TIFF file; or (image, channel, row,
            column), which is written to one file per image. Logical values are written as black (False) and white
            (True).
        path: str or list of str: the path of the file, ending in .png, .tif, .tiff, .jpg or .jpeg; for several images,
            one path per image.
        limits: pair of float: the values written as black and as white. Values outside are clipped, with a warning.
            None uses the minimum and maximum. NaN is written as black, with a warning.
        bits: int: 8 or 16 bits per value. 16 bits are available for PNG and TIFF, in grayscale, color and color with
            alpha.
        quality: int: the JPEG quality from 1 to 95.

    Returns:
        str or list of str: the path or paths.

    Raises:
        ShapeError: other axes, or a number of paths that differs from the number of images.
        InputError: other file endings, channels or bits that the format does not support, or a file that cannot be
            written.
        SetupError: pillow is not installed, or tifffile for 16-bit color TIFF.
    Warns:
        GequiWarning: values that were clipped or NaN, with their number and range.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Path(write_image(np.eye(5), f"{folder}/eye.png")).read_bytes()[1:4]
        b'PNG'
    """
    need_packages(["PIL"], "Writing pictures", "images")
    depth = check_integer(bits, "bits")
    if depth not in (8, 16):
        raise InputError("`{argument}` must be 8 or 16; got {bits}.", "bits", bits=depth)
    options = {"quality": check_integer(quality, "quality", minimum=1, maximum=95)}
    values = as_array(
        x, "x", ndim=(2, 3, 4), finite=False, axes="(row, column), (row, column, channel), (depth, row, column) or "
        "(image, channel, row, column)",
    )  # fmt: skip
    if values.ndim == 4 and values.shape[1] > MOST_CHANNELS:
        raise ShapeError("`{argument}` must have 1 to 4 channels; got {count}.", "x", count=values.shape[1])
    several = isinstance(path, Sequence) and not isinstance(path, str)
    files = [check_path(each) for each in (path if several else [path])]
    stored = _as_integers(values, limits, depth)
    images = [np.moveaxis(each, 0, -1) for each in stored] if stored.ndim == 4 else [stored]
    if len(files) != len(images):
        raise ShapeError(
            "`{argument}` must be as many files as there are images, {count}; got {given}.",
            "path", count=len(images), given=len(files),
        )  # fmt: skip
    pages = [_pages(each, file, depth) for each, file in zip(images, files, strict=True)]
    for each, file in zip(pages, files, strict=True):
        write_file(file, _encoded(each, file, options))
    return [str(file) for file in files] if several else str(files[0])


def _as_integers(values: np.ndarray, limits: Any, bits: int) -> np.ndarray:
    """Convert values to integers from 0 to 2^bits - 1, with a warning for values that are clipped."""
    known = values[np.isfinite(values)]
    if limits is None:
        low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
        high = high if high > low else low + 1
    else:
        low, high = _check_limits(limits)
    missing, beyond = int(np.isnan(values).sum()), int((values < low).sum() + (values > high).sum())
    if missing:
        template = "{missing} of {count} values are missing; they are written as black."
        warnings.warn(GequiWarning(template, missing=missing, count=values.size), stacklevel=4)
    if beyond:
        template = (
            "{beyond} of {count} values were clipped to `{limits:name}`, {low:g} to {high:g}: they go from {least:g} to "
            "{most:g}. With `{limits:name}` = {none!r} the smallest value is black and the largest white."
        )
        warnings.warn(
            GequiWarning(
                template, beyond=beyond, count=values.size, limits="limits", low=low, high=high, none=None,
                least=float(np.nanmin(values)), most=float(np.nanmax(values)),
            ),
            stacklevel=4,
        )  # fmt: skip
    scaled = (np.clip(np.nan_to_num(values.astype(np.float64), nan=low), low, high) - low) / (high - low)
    return np.asarray(np.rint(scaled * (2**bits - 1)), np.uint8 if bits == 8 else np.uint16)


def _check_limits(limits: Any) -> tuple[float, float]:
    try:
        low, high = (check_number(float(each), "limits") for each in limits)
    except (TypeError, ValueError):
        raise InputError(
            "`{argument}` must be two numbers, the values of black and of white; got {limits!r:.60}.",
            "limits", limits=limits,
        ) from None  # fmt: skip
    if low >= high:
        raise InputError(
            "`{argument}` must be two numbers of which the second is larger; got {low:g} and {high:g}.",
            "limits", low=low, high=high,
        )  # fmt: skip
    return low, high


def _pages(image: np.ndarray, file: Path, bits: int) -> list[np.ndarray]:
    """Return the pages of a file, each (row, column) or (row, column, channel), if the format supports them."""
    kind = FORMATS.get(file.suffix.lower())
    if kind is None:
        raise InputError(
            "`{argument}` must end with one of {endings}; got {file}.",
            "path", endings=" ".join(FORMATS), file=shown(file),
        )  # fmt: skip
    if image.ndim == 2 or image.shape[2] == 1:
        pages = [image.reshape(image.shape[:2])]
    elif image.shape[2] <= MOST_CHANNELS:
        pages = [image]
    elif kind == "TIFF":
        pages = list(image)
    else:
        raise ShapeError(
            "`{argument}` is a volume (depth, row, column) of the sizes {sizes}: a TIFF file holds all of it, {kind} one "
            "slice.",
            "x", sizes=image.shape, kind=kind,
        )  # fmt: skip
    colours = pages[0].ndim == 3
    if bits == 16 and (kind == "JPEG" or (colours and image.shape[2] == 2)):
        raise InputError(
            "`{argument}` = 16 is for PNG and TIFF files, of gray, of colors, and of colors with alpha; got {what}.",
            "bits", what="JPEG" if kind == "JPEG" else "gray with alpha",
        )  # fmt: skip
    if bits == 16 and colours and kind == "TIFF":
        need_packages(["tifffile"], "Writing colors of 16 bits to TIFF files", "images")
    if kind == "JPEG" and colours and image.shape[2] != 3:
        raise InputError("`{argument}` has an alpha channel, which JPEG does not hold: leave it out.", "x")
    return pages


def _encoded(pages: list[np.ndarray], file: Path, options: dict[str, Any]) -> bytes:
    from PIL import Image  # here, since only pictures need it

    kind = FORMATS[file.suffix.lower()]
    if pages[0].ndim == 3 and pages[0].dtype == np.uint16:
        return encode_deep_colors(pages[0], kind)
    pictures = [Image.fromarray(np.ascontiguousarray(page)) for page in pages]
    settings: dict[str, Any] = {"JPEG": options, "TIFF": {"compression": "tiff_adobe_deflate"}}.get(kind, {})
    if len(pictures) > 1:
        settings = {**settings, "save_all": True, "append_images": pictures[1:]}
    data = io.BytesIO()
    pictures[0].save(data, kind, **settings)
    return data.getvalue()

"""Data sets of image files: classes, resizing, and reading batch by batch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import interpolate, pad

from .._files import check_path, shown
from ..arrays import LazyArray, as_numpy, check_choice, check_integer, entries, opener, scalar
from ..errors import GequiError, InputError, ShapeError
from ..pictures import LUMINANCE
from ._files import PICTURES, is_image, list_images, read_image

RESIZES = ("stretch", "crop", "pad")


class ImageFiles(LazyArray):
    """A data set (image, channel, row, column) of image files; see `image_files()`."""

    def __init__(
        self,
        files: list[Path],
        labels: list[str] | None,
        size: tuple[int, int] | None,
        resize: str,
        channels: int | None,
    ) -> None:
        self.files, self.size, self.resize = files, size, resize
        self.labels = labels
        self.classes = sorted(set(labels)) if labels is not None else None
        if labels is not None and self.classes is not None:
            numbers = {name: number for number, name in enumerate(self.classes)}
            self.targets = np.array([numbers[label] for label in labels])
        first = _read(files[0])
        self.channels = channels or (1 if len(first) < 3 else 3)
        self.shape = (len(files), self.channels, *(size or first.shape[1:]))

    def read(self, indexes: np.ndarray) -> np.ndarray:
        return np.stack([self._image(self.files[index]) for index in indexes])

    def _image(self, file: Path) -> np.ndarray:
        image = with_channels(_read(file).astype(np.float32), self.channels)
        if self.size is not None:
            return _resized(image, self.size, self.resize)
        if image.shape != self.shape[1:]:
            raise ShapeError(
                "`{argument}`: {file} has {size} pixels, the first file {first}; `{option:name}` brings images to one "
                "size.",
                "x", file=shown(file), size=_times(image.shape), first=_times(self.shape[1:]), option="size",
            )  # fmt: skip
        return image


def image_files(
    x: Any, labels: Any = None, size: Any = None, resize: str = "stretch", channels: int | None = None
) -> ImageFiles:
    """Create a data set of image files for `fit()`, `evaluate()` and `predict()`, which read the images batch by batch.

    These functions also accept a folder or a list of files directly; call `image_files()` to resize images.

    Args:
        x: str or list of str: a folder with one subfolder per class, named after the class; a folder of images without
            classes; or a list of file paths. Files must end in .npy, .png, .jpg, .tif or .bmp.
        labels: list of str: the class of each file of a list. None for images without classes.
        size: tuple (rows, columns) or int: the size to which images are resized. None if all images have the same size.
        resize: str: "stretch" scales each axis independently; "crop" scales the image to cover `size` and crops the
            center; "pad" scales the image to fit into `size` and pads with 0. Images are scaled with linear
            interpolation, and averaged when they are reduced.
        channels: int: 1 (grayscale: 0.299 red + 0.587 green + 0.114 blue) or 3 (color). None uses the number of
            channels of the first image.

    Returns:
        an object with `shape` (image, channel, row, column), `files`, `classes` (sorted; None without labels) and
        `targets`, the class number of each image, from 0. Indexing reads images.

    Raises:
        InputError: a folder that does not exist or contains no images, a file that cannot be read (when it is read), or
            labels that do not match.
        ShapeError: images that differ in size if `size` is None; the message names the file.
        SetupError: pillow, which pictures require, is not installed.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("cat", "dog"):
        ...         Path(folder, name).mkdir()
        ...         np.save(f"{folder}/{name}/1.npy", np.eye(5))
        ...     images = image_files(folder, size=4)
        ...     images.classes, images[:2].shape
        (['cat', 'dog'], (2, 1, 4, 4))
    """
    files, known = _labelled(x) if isinstance(x, str | os.PathLike) else (list_images(x, "x"), None)
    if labels is not None:
        known = [_name(each) for each in entries(labels)]
        if len(known) != len(files):
            raise ShapeError(
                "`{argument}` must be as many as there are files, {count}; got {given}.",
                "labels", count=len(files), given=len(known),
            )  # fmt: skip
    channels = scalar(channels)
    if channels is not None and (not isinstance(channels, int | float) or channels not in (1, 3)):
        raise InputError("`{argument}` must be 1, 3 or {none!r}; got {value!r}.", "channels", none=None, value=channels)
    resize = check_choice(resize, "resize", RESIZES)
    return ImageFiles(files, known, _check_size(size), resize, None if channels is None else int(channels))


def _read(file: Path) -> np.ndarray:
    """Read the image in a file; errors name the argument that it belongs to."""
    try:
        return read_image(file)
    except GequiError as error:
        raise error.about("x") from error


def _name(label: Any) -> str:
    """Return the name of a class from text or a number."""
    label = scalar(label)
    if not isinstance(label, str | int | float):
        raise InputError("`{argument}` must be names of classes; got {label!r}.", "labels", label=label)
    return str(label)


@opener
def _open(x: Any) -> ImageFiles | None:
    """Return `image_files()` of a folder, a picture or a list of files; otherwise None."""
    if isinstance(x, str | os.PathLike):
        try:
            path = check_path(x, "x")
        except InputError:
            return None
        return image_files(path if path.is_dir() else [path]) if path.is_dir() or _is_picture(path) else None
    files = isinstance(x, list | tuple) and bool(x) and all(isinstance(each, str | os.PathLike) for each in x)
    return image_files(list(x)) if files else None


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in PICTURES


def _labelled(x: Any) -> tuple[list[Path], list[str] | None]:
    """Return the images of a folder, and the names of their subfolders if it has any."""
    folder = check_path(x, "x")
    classes = sorted(each for each in folder.iterdir() if _holds_images(each)) if folder.is_dir() else []
    if not classes:
        return list_images(folder, "x"), None
    files = [(file, each.name) for each in classes for file in list_images(each, "x")]
    return [file for file, _ in files], [name for _, name in files]


def _holds_images(folder: Path) -> bool:
    return folder.is_dir() and any(is_image(file) for file in folder.iterdir())


def _check_size(size: Any) -> tuple[int, int] | None:
    if size is None:
        return None
    values = entries(size)
    if len(values) not in (1, 2):
        raise InputError(
            "`{argument}` must be rows and columns, or one number for both; got {size!r}.", "size", size=size
        )
    rows, columns = (check_integer(each, "size", minimum=1) for each in (values * 2)[:2])
    return rows, columns


def _times(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def with_channels(image: np.ndarray, channels: int) -> np.ndarray:
    if len(image) == 2:  # gray and alpha
        image = image[:1]
    if len(image) == channels:
        return image
    if channels == 3:
        return np.repeat(image[:1], 3, axis=0)
    return np.tensordot(np.array(LUMINANCE, np.float32), image[:3], 1)[None]


def _resized(image: np.ndarray, size: tuple[int, int], resize: str) -> np.ndarray:
    """Resize an image (channel, row, column)."""
    scales = [new / old for new, old in zip(size, image.shape[1:], strict=True)]
    inner = size
    if resize != "stretch":
        scale = max(scales) if resize == "crop" else min(scales)
        rows, columns = (max(1, round(old * scale)) for old in image.shape[1:])
        inner = (rows, columns)
    scaled = interpolate(torch.from_numpy(image)[None], inner, mode="bilinear", antialias=True)[0]
    before = [(new - old) // 2 for new, old in zip(size, inner, strict=True)]  # negative where it is cropped
    after = [new - old - first for new, old, first in zip(size, inner, before, strict=True)]
    return as_numpy(pad(scaled, [before[1], after[1], before[0], after[0]]))


def describe_image_files(images: ImageFiles) -> dict[str, Any]:
    """Return the data of a data set of image files that R stores."""
    return {
        "files": [str(file) for file in images.files], "labels": images.labels, "classes": images.classes,
        "shape": list(images.shape),
    }  # fmt: skip

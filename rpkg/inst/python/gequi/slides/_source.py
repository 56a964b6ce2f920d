"""Large images in TIFF files, read in parts."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from .._files import check_path, shown
from ..errors import GequiError, InputError, ShapeError, need_packages

CACHED_BYTES = 128 * 2**20  # of decoded tiles: three rows of tiles of 512 pixels, 25,000 pixels wide, in 3 channels
AXES = {"YX": (None, 0, 1), "YXS": (2, 0, 1), "SYX": (0, 1, 2), "CYX": (0, 1, 2), "YXC": (2, 0, 1)}


class Level:
    """One resolution of a large image: its size, and its pixels by region."""

    def __init__(self, file: Any, series: Any, number: int, source: Source) -> None:
        level = series.levels[number]
        self.file, self.number, self.source, self.pages = file, number, source, list(level.pages)
        axes = "".join(axis for axis, size in zip(level.axes, level.shape, strict=True) if size > 1 or axis in "YX")
        shape = tuple(size for axis, size in zip(level.axes, level.shape, strict=True) if size > 1 or axis in "YX")
        if axes not in AXES:
            raise ShapeError(
                "`{argument}`: {file} must hold one image (row, column), with channels or without; got the axes {axes}.",
                source.argument, file=shown(source.path), axes=", ".join(level.axes),
            )  # fmt: skip
        along, row, column = AXES[axes]
        self.size = (int(shape[row]), int(shape[column]))
        self.channels = 1 if along is None else int(shape[along])
        self.dtype = np.dtype(level.dtype)
        self.mapped: np.ndarray | None = None
        if level.dataoffset is not None and level.keyframe.is_memmappable:
            self.mapped = _channels_first(source.mapped(number).reshape(shape), along)
        elif not source.decodes(level.keyframe):
            self.mapped = _channels_first(_decoded_by_pillow(source, level.keyframe, shape), along)

    def region(self, rows: slice, columns: slice) -> np.ndarray:
        """Read the pixels of a region within the image: (channel, row, column)."""
        with _errors_of_reading(self.source.path, self.source.argument):
            return np.array(self.mapped[:, rows, columns]) if self.mapped is not None else self._read(rows, columns)

    def _read(self, rows: slice, columns: slice) -> np.ndarray:
        """Copy the pixels of a region from the tiles or strips that contain it."""
        out = np.zeros((self.channels, rows.stop - rows.start, columns.stop - columns.start), self.dtype)
        for number, page in enumerate(self.pages):
            for index in self._segments(page, rows, columns):
                values, channel, row, column = self.source.segment(self, number, index)
                first = number if len(self.pages) > 1 else channel
                top, left = max(rows.start, row), max(columns.start, column)
                bottom = min(rows.stop, row + values.shape[1])
                right = min(columns.stop, column + values.shape[2])
                if top < bottom and left < right:
                    part = values[:, top - row : bottom - row, left - column : right - column]
                    into = out[first : first + len(values), top - rows.start : bottom - rows.start]
                    into[:, :, left - columns.start : right - columns.start] = part
        return out

    def _segments(self, page: Any, rows: slice, columns: slice) -> Iterator[int]:
        """Yield the numbers of the tiles or strips of a page that a region contains."""
        height, width = page.chunks[:2]
        down, across = -(-self.size[0] // height), -(-self.size[1] // width)
        for sample in range(len(page.dataoffsets) // (down * across)):
            for i in range(rows.start // height, -(-rows.stop // height)):
                for j in range(columns.start // width, -(-columns.stop // width)):
                    yield (sample * down + i) * across + j

    def read_segment(self, number: int, index: int) -> tuple[np.ndarray, int, int, int]:
        """Decode a tile or strip: its pixels (channel, row, column), and its first channel, row and column."""
        page = self.pages[number]
        handle = self.file.filehandle
        data = None
        if page.databytecounts[index]:
            handle.seek(page.dataoffsets[index])
            data = handle.read(page.databytecounts[index])
        values, (sample, _, row, column, _), shape = page.decode(data, index, jpegtables=page.jpegtables)
        if values is None:  # an empty tile of a sparse file
            values = np.full(shape, page.nodata, self.dtype)
        values = values[0, : shape[1], : shape[2]]
        return np.moveaxis(values, -1, 0), int(sample), int(row), int(column)


def _decoded_by_pillow(source: Source, page: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Decode a whole page with pillow, for compressions that tifffile decodes only with imagecodecs."""
    from PIL import Image

    with Image.open(source.path) as picture:
        picture.seek(page.index)
        values = np.asarray(picture)
    if values.dtype != page.dtype or values.size != math.prod(shape):
        raise ValueError(f"pixels of type {page.dtype} with {page.compression.name} compression require imagecodecs")
    return values.reshape(shape)


def _channels_first(pixels: np.ndarray, along: int | None) -> np.ndarray:
    return pixels[None] if along is None else np.moveaxis(pixels, along, 0)


class Source:
    """A large image in a TIFF file: its levels, from the full resolution to the lowest."""

    def __init__(self, path: Path, argument: str, file: Any, tifffile: Any) -> None:
        self.path, self.argument = path, argument
        self._mapping, self._decompressors = tifffile.memmap, tifffile.TIFF.DECOMPRESSORS
        self._decoded: OrderedDict[tuple[int, int, int], tuple[np.ndarray, int, int, int]] = OrderedDict()
        self._bytes = 0
        series = file.series[0]
        count = len(series.levels) if self.decodes(series.keyframe) else 1
        self.levels = [Level(file, series, number, self) for number in range(count)]

    @property
    def size(self) -> tuple[int, int]:
        """The numbers of rows and columns at full resolution."""
        return self.levels[0].size

    def mapped(self, number: int) -> np.ndarray:
        """Map the pixels of a level that is stored without compression to memory."""
        return np.asarray(self._mapping(self.path, series=0, level=number, mode="r"))

    def decodes(self, page: Any) -> bool:
        """Return whether tifffile can decode the compression of a page."""
        try:
            return bool(self._decompressors[page.compression])
        except (KeyError, ValueError):
            return False

    def segment(self, level: Level, number: int, index: int) -> tuple[np.ndarray, int, int, int]:
        """Return a decoded tile or strip. The most recent ones are kept."""
        key = (level.number, number, index)
        if key in self._decoded:
            self._decoded.move_to_end(key)
            return self._decoded[key]
        found = level.read_segment(number, index)
        self._decoded[key] = found
        self._bytes += found[0].nbytes
        while self._bytes > CACHED_BYTES and len(self._decoded) > 1:
            self._bytes -= self._decoded.popitem(last=False)[1][0].nbytes
        return found


@contextmanager
def opened(path: Any, argument: str) -> Iterator[Source]:
    """Open a large image. Errors of reading it are errors about `argument`.

    Raises:
        InputError: if the file does not exist, is no TIFF file, or is damaged.
        ShapeError: if it holds something else than one image.
        SetupError: if tifffile is not installed.
    """
    need_packages(("tifffile", "PIL"), "reading large images", "images")
    import tifffile  # here, since only large images need it

    file = check_path(path, argument)
    if not file.is_file():  # opening a pipe would block
        raise InputError("`{argument}`: there is no file {file}.", argument, file=shown(file))
    with ExitStack() as stack:
        with _errors_of_reading(file, argument):
            tiff = stack.enter_context(tifffile.TiffFile(file))
            source = Source(file, argument, tiff, tifffile)
        yield source


@contextmanager
def _errors_of_reading(file: Path, argument: str) -> Iterator[None]:
    """Convert the errors of tifffile and its decoders, which are of many classes for damaged files."""
    try:
        yield
    except GequiError:
        raise
    except Exception as error:
        raise InputError(
            "`{argument}`: {file} cannot be read as TIFF ({reason}).",
            argument, file=shown(file), reason=str(error) or type(error).__name__,
        ) from None  # fmt: skip

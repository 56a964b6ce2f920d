"""Colours of 16 bits in pictures, of which pillow knows 8: read by pillow in two halves, written without it."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

_EXCHANGED = {"L": "B", "B": "L", "N": "B" if np.little_endian else "L"}
_BITS_PER_SAMPLE = 258  # a tag of TIFF
_COLOR_TYPES = {3: 2, 4: 6}  # of PNG, by the number of channels
_LEVEL = 6  # of zlib: its default


def has_deep_colors(picture: Any) -> bool:
    """Whether the colours of a page that pillow has opened have 16 bits.

    Raises:
        ValueError: they are stored in a way that pillow misreads.
    """
    modes = [_raw_mode(tile) for tile in picture.tile]
    if picture.mode not in ("RGB", "RGBA"):
        return False
    deep = [mode[:-1] in ("RGB;16", "RGBA;16") for mode in modes]
    tags = getattr(picture, "tag_v2", {})
    if not any(deep) and max(tags.get(_BITS_PER_SAMPLE, (8,))) > 8 and "R" in modes:
        raise ValueError("its colours have 16 bits and are stored one after another, not pixel by pixel")
    return any(deep)


def read_deep_colors(file: Path, page: int = 0) -> np.ndarray:
    """The colours of a page, and its alpha: (row, column, channel), from 0 to 65535.

    pillow keeps the high byte of each value. With the order of the bytes exchanged it keeps the low one.
    """
    return 256 * _bytes(file, page, False).astype(np.uint16) + _bytes(file, page, True)


def _bytes(file: Path, page: int, exchanged: bool) -> np.ndarray:
    from PIL import Image  # here, since only pictures need it

    with Image.open(file) as picture:
        if page:
            picture.seek(page)
        if exchanged:
            picture.tile = [_exchanged(tile) for tile in picture.tile]
        return np.asarray(picture)


def _raw_mode(tile: Any) -> str:
    arguments = tile[3]
    return str(arguments[0] if isinstance(arguments, tuple) else arguments)


def _exchanged(tile: Any) -> Any:
    """What pillow is to decode, with the order of the bytes exchanged."""
    mode, arguments = _raw_mode(tile), tile[3]
    mode = mode[:-1] + _EXCHANGED[mode[-1]]
    return type(tile)(*tile[:3], (mode, *arguments[1:]) if isinstance(arguments, tuple) else mode)


# ---- writing --------------------------------------------------------------------------------------------


def encode_deep_colors(values: np.ndarray, kind: str) -> bytes:
    """A PNG or TIFF file of colours (row, column, channel) from 0 to 65535, with alpha where there are four channels."""
    return _tiff(values) if kind == "TIFF" else _png(values)


def _png(values: np.ndarray) -> bytes:
    """Source: Portable Network Graphics (W3C, 2003), sections 5 and 11."""
    rows, columns, channels = values.shape
    lines = np.zeros((rows, 1 + columns * channels * 2), np.uint8)  # the first byte of each: no filter
    lines[:, 1:] = np.ascontiguousarray(values, ">u2").view(np.uint8).reshape(rows, -1)
    header = struct.pack(">IIBBBBB", columns, rows, 16, _COLOR_TYPES[channels], 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), _LEVEL)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in chunks)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _tiff(values: np.ndarray) -> bytes:
    import tifffile  # here, since only such pictures need it

    alpha = ["unassalpha"] if values.shape[2] == 4 else None
    data = io.BytesIO()
    tifffile.imwrite(data, values, photometric="rgb", compression="zlib", extrasamples=alpha, metadata=None)
    return data.getvalue()

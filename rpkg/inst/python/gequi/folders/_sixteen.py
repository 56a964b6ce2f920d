"""Pictures with 16-bit colors, or with 16-bit gray and alpha, of which pillow decodes only 8 bits per value.

They are read in two halves, and written without pillow.
"""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

_ORDERS = {"L": "B", "B": "L", "N": "B" if np.little_endian else "L"}
_EXCHANGED = {f"{kind};16{order}": f"{kind};16{other}" for kind in ("RGB", "RGBA") for order, other in _ORDERS.items()}
_GREY_AND_ALPHA = "LA;16B"  # as PNG stores them
_BITS_PER_SAMPLE = 258  # a tag of TIFF
_COLOR_TYPES = {3: 2, 4: 6}  # of PNG, by the number of channels
_LEVEL = 6  # of zlib: its default


def has_deep_channels(picture: Any) -> bool:
    """Return whether a page opened by pillow has 16 bits per value, of which pillow decodes 8.

    Raises:
        ValueError: the values are stored in a way that pillow misreads.
    """
    modes = [_raw_mode(tile) for tile in picture.tile]
    if picture.mode not in ("RGB", "RGBA"):
        return False
    deep = [mode[:-1] in ("RGB;16", "RGBA;16") or mode == _GREY_AND_ALPHA for mode in modes]
    tags = getattr(picture, "tag_v2", {})
    if not any(deep) and max(tags.get(_BITS_PER_SAMPLE, (8,))) > 8 and "R" in modes:
        raise ValueError("its colors have 16 bits and are stored plane by plane, not pixel by pixel")
    return any(deep)


def read_deep_channels(file: Path, page: int = 0) -> np.ndarray:
    """Return the colors of a page, or its gray values, without alpha: (row, column, channel), from 0 to 65535.

    pillow keeps the high byte of each color; with exchanged byte order it keeps the low byte. Gray and alpha are four
    bytes, which pillow decodes as 8-bit red, green, blue and alpha.
    """
    if (halves := _decode(file, page, {_GREY_AND_ALPHA: "RGBA"})) is not None:
        return 256 * halves[..., :1].astype(np.uint16) + halves[..., 1:2]
    high = _decode(file, page, {mode: mode for mode in _EXCHANGED})
    return 256 * high[..., :3].astype(np.uint16) + _decode(file, page, _EXCHANGED)[..., :3]


def _decode(file: Path, page: int, modes: dict[str, str]) -> Any:
    """Decode the page with its raw modes replaced according to `modes`; None if it has other modes."""
    from PIL import Image  # here, since only pictures need it

    with Image.open(file) as picture:
        if page:
            picture.seek(page)
        if not all(_raw_mode(tile) in modes for tile in picture.tile):
            return None
        picture.tile = [_with_mode(tile, modes[_raw_mode(tile)]) for tile in picture.tile]
        return np.asarray(picture)


def _raw_mode(tile: Any) -> str:
    arguments = tile[3]
    return str(arguments[0] if isinstance(arguments, tuple) else arguments)


def _with_mode(tile: Any, mode: str) -> Any:
    arguments = tile[3]
    return type(tile)(*tile[:3], (mode, *arguments[1:]) if isinstance(arguments, tuple) else mode)


# ---- writing --------------------------------------------------------------------------------------------


def encode_deep_colors(values: np.ndarray, kind: str) -> bytes:
    """Encode colors (row, column, channel) from 0 to 65535 as a PNG or TIFF file; a fourth channel is alpha."""
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

"""The registration of one pair of files: what is written, and whether it is there already.

The folder contains `job.json`, the table of pairs; `rows/PAIR.json`, the row of each pair that is done, with the
checksums of its images and results; and the results, `maps/PAIR.nii.gz` and `warped/PAIR.npy`. The row is written last,
so that a pair whose process was killed is registered again.
"""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .. import jobs
from .._files import as_json, write_file
from ..errors import GequiError, GequiWarning
from ..registration import Registrations, register_images, write_transform
from ._examples import with_channels
from ._files import check_image_file, read_image
from ._pairs import FILES, Pair

METRICS = ("similarity_before", "similarity_after", "uncertainty", "folds", "overlap", "others", "seconds")
FOUND = ("probability", "rotation", "scale", "mirror", *METRICS)
COLUMNS = ("pair", *FILES, *FOUND, "condition", "message", "map", "warped")
RESULTS = {"map": "maps/{pair}.nii.gz", "warped": "warped/{pair}.npy"}

Row = dict[str, Any]


def finished_row(folder: Path, job: Mapping[str, Any], pair: Pair) -> Row | None:
    """Return the row of a pair if it is done: with these images and options, and with its results in place."""
    try:
        kept = jobs.read_plain(_row_file(folder, pair))
    except GequiError:  # damaged
        return None
    if kept is None or kept.get("key") != _key(job, pair):
        return None
    intact = all(_checksum(folder / name) == expected for name, expected in kept["files"].items())
    return dict(kept["row"]) if intact else None


def register_pair(folder: Path, job: Mapping[str, Any], pair: Pair) -> None:
    """Register a pair and write its results and its row. An error becomes a row."""
    if finished_row(folder, job, pair) is not None:
        return
    key = _key(job, pair)  # before the images are read
    row: Row = {**dict.fromkeys(COLUMNS), **{name: pair[name] for name in ("pair", *FILES)}}
    written: dict[str, str] = {}
    try:
        found = _registered(job, pair)
    except Exception as error:  # a damaged image must not end the others, whatever it breaks
        row |= {"condition": type(error).__name__, "message": str(error)}
    else:
        summary = Registrations([found], [pair["pair"]]).summary()[0]
        row |= {name: {**summary, **found.decomposition}[name] for name in FOUND}
        written = _write(folder, job, pair, found)
        row |= written
    files = {name: _checksum(folder / name) for name in written.values()}
    (folder / "rows").mkdir(parents=True, exist_ok=True)
    jobs.write_plain(_row_file(folder, pair), {"key": key, "row": row, "files": files})


def _registered(job: Mapping[str, Any], pair: Pair) -> Any:
    images: dict[str, Any] = {name: _read(Path(pair[name]), job["dimension"], name) for name in FILES}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GequiWarning)  # the row has the number of other maps
        return register_images(**images, **pair["options"], dtype=job["dtype"], device=job["device"])


def _read(file: Path, axes: int, argument: str) -> np.ndarray:
    """Read an image in grayscale."""
    check_image_file(file, argument)
    try:
        image = read_image(file, axes)
    except GequiError as error:
        raise error.about(argument) from error
    return with_channels(image if image.dtype == np.float32 else image.astype(np.float64), 1)[0]


def _write(folder: Path, job: Mapping[str, Any], pair: Pair, found: Any) -> dict[str, str]:
    """Write the results of a pair, and return their names in the folder."""
    names = {kind: template.format(pair=pair["pair"]) for kind, template in RESULTS.items()}
    if not job["warped"]:
        del names["warped"]
    for name in names.values():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
    write_transform(found, folder / names["map"], overwrite=True)
    if job["warped"]:
        data = io.BytesIO()
        np.save(data, found.warped)
        write_file(folder / names["warped"], data.getvalue())
    return names


def _row_file(folder: Path, pair: Pair) -> Path:
    return folder / "rows" / f"{pair['pair']}.json"


def _key(job: Mapping[str, Any], pair: Pair) -> str:
    """Return what identifies a pair: the contents of its images, and all options."""
    options = {name: job[name] for name in ("dimension", "dtype", "device", "warped")}
    images = {name: [pair[name], _checksum(Path(pair[name]))] for name in FILES}
    return hashlib.sha256(as_json([options, pair["options"], images], sort_keys=True).encode()).hexdigest()


_sums: dict[tuple[Any, ...], str] = {}  # the fixed image is often the same


def _checksum(file: Path) -> str | None:
    """Return the checksum of a file, or None if it cannot be read."""
    try:
        about = os.stat(file)
        if not file.is_file():
            return None
        state = (str(file), about.st_mtime_ns, about.st_size, about.st_ino)
        if state not in _sums:
            if len(_sums) > 1000:
                _sums.clear()
            _sums[state] = jobs.file_checksum(file)
        return _sums[state]
    except OSError:
        return None

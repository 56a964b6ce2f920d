"""The folder of a job: created empty, written completely or not at all, removed only where gequi created it."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .._files import check_path, is_left_behind, shown, this_writer
from ..errors import InputError

_RANDOM = 8  # number of characters that tempfile.mkdtemp() adds
MARKER = ".gequi-job"  # marks folders that gequi has created and may remove


def empty_folder(folder: Any) -> Path:
    """Return the path of a folder for a job, which must be empty or not exist."""
    path = check_path(folder, "folder")
    if path.exists() and not path.is_dir():
        raise InputError("`{argument}`: {folder} is a file, not a folder.", "folder", folder=shown(path))
    if path.exists() and any(path.iterdir()):
        raise InputError("`{argument}`: {folder} is not empty.", "folder", folder=shown(folder))
    return path


@contextlib.contextmanager
def temporary_folder(checkpoint: Any = None) -> Iterator[Path]:
    """Create a folder for a job on this machine, beside a checkpoint or in the temporary directory.

    The folder is removed when the work is done. After a failure, only the logs of the workers are kept. They are
    removed by the next job in the same place after this process has ended.
    """
    near = None if checkpoint is None else check_path(checkpoint, "checkpoint").absolute()
    place = None
    try:
        place = Path(tempfile.mkdtemp(prefix="gequi-job-") if near is None else tempfile.mkdtemp(
            prefix=f"{near.name}.job-", dir=near.parent
        ))  # fmt: skip
        _remove_left(place.parent, place.name[:-_RANDOM])
        (place / MARKER).write_text(" ".join(map(str, this_writer())))
    except OSError as error:
        if place is not None:
            shutil.rmtree(place, ignore_errors=True)
        raise InputError(
            "`{argument}`: cannot create a folder next to {path} ({reason}).",
            "devices" if near is None else "checkpoint", path=shown(near or place or tempfile.gettempdir()),
            reason=error.strerror,
        ) from None  # fmt: skip
    try:
        yield place
    except BaseException:
        _remove(place, keep="*.log")
        raise
    _remove(place)


def _remove_left(place: Path, prefix: str) -> None:
    """Remove the folders of jobs whose process has ended."""
    for folder in place.glob(glob.escape(prefix) + "?" * _RANDOM):
        with contextlib.suppress(OSError, ValueError):
            marker = folder / MARKER
            writer, process = (marker.read_text() or "- 0").split()
            mine = not hasattr(os, "getuid") or folder.stat().st_uid == os.getuid()
            if mine and is_left_behind(writer, int(process), marker.stat().st_mtime):
                _remove(folder)


def _remove(folder: Path, keep: str | None = None) -> None:
    """Remove a folder created by gequi, except files that match `keep`. Other folders are not removed."""
    if not (folder / MARKER).is_file():
        return
    kept = set(folder.glob(keep)) if keep else set()
    if not kept:
        shutil.rmtree(folder)
        return
    for path in folder.iterdir():
        if path not in kept and path.name != MARKER:
            path.unlink()


@contextlib.contextmanager
def written_whole(folder: Path, argument: str = "folder") -> Iterator[None]:
    """Write a job folder completely or not at all: after an error, the written files are removed.

    Errors about a file in the folder become errors about `argument`.
    """
    made = not folder.exists()
    before = set() if made else set(folder.iterdir())
    with written_to(folder, argument):
        try:
            yield
        except BaseException:
            with contextlib.suppress(OSError):
                for path in set(folder.iterdir()) - before:
                    path.unlink()
                if made:
                    folder.rmdir()
            raise


@contextlib.contextmanager
def written_to(folder: Path, argument: str = "folder") -> Iterator[None]:
    """Create a folder to write to. Errors about a file in it become errors about `argument`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except InputError as error:
        if error.argument == "path":
            raise error.about(argument) from None
        raise
    except OSError as error:
        template = "`{argument}`: {folder} cannot be written ({reason})."
        raise InputError(template, argument, folder=shown(folder), reason=str(error.strerror)) from None

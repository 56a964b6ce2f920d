"""Files: read, and written whole or not at all; paths as arguments; plain data as JSON."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import re
import secrets
import stat
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .errors import InputError, ModelFileError

# Drafts say who writes them: the machine and the process. One of another machine is old after a day.
_WRITER = hashlib.sha256(platform.node().encode()).hexdigest()[:8]
_OLD_SECONDS = 86400.0


def read_file(path: Any) -> bytes:
    """The bytes of a file."""
    file = check_path(path)
    try:
        if not stat.S_ISREG(file.stat().st_mode):  # one would wait for a pipe, and read from a device without end
            template = "`{argument}`: {file!r} cannot be read (it is {kind}, not a file)."
            raise ModelFileError(template, "path", file=str(path), kind=_kind(file))
        return file.read_bytes()
    except FileNotFoundError:
        raise ModelFileError("`{argument}`: there is no file {file!r}.", "path", file=str(path)) from None
    except (OSError, MemoryError) as error:
        template = "`{argument}`: {file!r} cannot be read ({reason})."
        raise ModelFileError(
            template, "path", file=str(path), reason=getattr(error, "strerror", "out of memory")
        ) from None


def write_file(path: Any, data: bytes) -> Path:
    """Writes a file whole or not at all: under another name in the same folder, to the disk, then renamed.

    A file that is replaced keeps its permissions. Drafts of this file that killed processes have left are removed.
    """
    target = check_path(path)
    if not target.name or target.is_dir() or (target.exists() and not target.is_file()):
        template = "`{argument}`: {file!r} cannot be written (it is {kind}, not a file)."
        raise InputError(template, "path", file=str(path), kind=_kind(target))
    draft = target.with_name(f".{target.name}.{_WRITER}-{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        with open(draft, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileNotFoundError):
            os.chmod(draft, stat.S_IMODE(target.stat().st_mode))
        os.replace(draft, target)
        _remove_drafts(target)
    except OSError as error:
        template = "`{argument}`: {file!r} cannot be written ({reason})."
        raise InputError(template, "path", file=str(path), reason=str(error.strerror)) from None
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
    return target


def is_left_behind(writer: str, process: int, changed: float) -> bool:
    """Whether what a process was writing, on the machine `writer`, is of no one any more."""
    if writer == _WRITER and os.name == "posix":  # elsewhere a signal 0 is none
        try:
            os.kill(process, 0)
        except (ProcessLookupError, OverflowError):
            return True
        except OSError:
            return False
    return time.time() - changed > _OLD_SECONDS


def this_writer() -> tuple[str, int]:
    """The machine and the process, for `is_left_behind()`."""
    return _WRITER, os.getpid()


def _remove_drafts(target: Path) -> None:
    pattern = re.compile(re.escape(f".{target.name}.") + r"([0-9a-f]{8})-(\d+)-[0-9a-f]{8}\.part")
    with contextlib.suppress(OSError):
        for file in target.parent.iterdir():
            found = pattern.fullmatch(file.name)
            if found and is_left_behind(found[1], int(found[2]), file.lstat().st_mtime):
                file.unlink(missing_ok=True)


def _kind(path: Path) -> str:
    """What is at a path where a file should be."""
    if path.is_dir():
        return "a folder"
    return "a pipe" if path.is_fifo() else "a device" if path.exists() else "nothing"


def as_json(data: Any, **options: Any) -> str:
    """Plain data as JSON; numbers and arrays of numpy as those of Python."""

    def plain(value: Any) -> Any:
        if isinstance(value, np.generic | np.ndarray):
            return value.tolist()
        raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")

    return json.dumps(data, default=plain, **options)


def check_metadata(metadata: Any) -> dict[str, Any]:
    """What is kept beside a model or a job, as a dict; empty for None."""
    if metadata is None or isinstance(metadata, Mapping):
        return dict(metadata or {})
    template = "`{argument}` must be plain data by name, such as {example!r}; got {value!r:.80}."
    raise InputError(template, "metadata", example={"author": "A"}, value=metadata)


def check_path(path: object, argument: str = "path") -> Path:
    """`path` as a Path, with ~ for the user's home."""
    if isinstance(path, str | os.PathLike) and str(path):
        try:
            text = os.fspath(path)
            os.fsencode(text)  # refuses half characters
            if isinstance(text, str) and "\0" not in text:
                place = Path(text).expanduser()
                os.path.exists(place) or place.exists()  # the latter refuses a name that is too long
                return place
        except (UnicodeError, RuntimeError, OSError):  # RuntimeError: the home of a user who is not there
            pass
    raise InputError("`{argument}` must be the path of a file; got {value!r:.80}.", argument, value=path)


def shown(path: object) -> str:
    """A path as messages show it."""
    return repr(str(path))

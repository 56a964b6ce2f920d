"""Reading files, writing files completely or not at all, checking paths, and plain data as JSON."""

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
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .errors import InputError, ModelFileError

# The name of a draft contains the machine and the process. A draft of another machine is left behind after a day.
_WRITER = hashlib.sha256(platform.node().encode()).hexdigest()[:8]
_OLD_SECONDS = 86400.0


def read_file(path: Any) -> bytes:
    """Return the content of a file."""
    file = check_path(path)
    try:
        if not stat.S_ISREG(file.stat().st_mode):  # reading a pipe would block, and a device may have no end
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
    """Write a file completely or not at all. See `replaced_file()`."""
    with replaced_file(path) as draft:
        draft.write_bytes(data)
    return check_path(path)


@contextlib.contextmanager
def replaced_file(path: Any) -> Iterator[Path]:
    """Provide the path of a draft in the same folder; afterwards it is flushed to disk and renamed to `path`.

    A replaced file keeps its permissions. After an error the draft is removed. Drafts of the same file from killed
    processes are removed.
    """
    target = check_path(path)
    if not target.name or target.is_dir() or (target.exists() and not target.is_file()):
        template = "`{argument}`: {file!r} cannot be written (it is {kind}, not a file)."
        raise InputError(template, "path", file=str(path), kind=_kind(target))
    draft = target.with_name(f".{target.name}.{_WRITER}-{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        yield draft
        with open(draft, "rb+") as file:
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


def is_left_behind(writer: str, process: int, changed: float) -> bool:
    """Return whether the process that wrote a draft on the machine `writer` no longer exists."""
    if writer == _WRITER and os.name == "posix":  # elsewhere a signal 0 is none
        try:
            os.kill(process, 0)
        except (ProcessLookupError, OverflowError):
            return True
        except OSError:
            return False
    return time.time() - changed > _OLD_SECONDS


def this_writer() -> tuple[str, int]:
    """Return the machine and the process, for `is_left_behind()`."""
    return _WRITER, os.getpid()


def _remove_drafts(target: Path) -> None:
    pattern = re.compile(re.escape(f".{target.name}.") + r"([0-9a-f]{8})-(\d+)-[0-9a-f]{8}\.part")
    with contextlib.suppress(OSError):
        for file in target.parent.iterdir():
            found = pattern.fullmatch(file.name)
            if found and is_left_behind(found[1], int(found[2]), file.lstat().st_mtime):
                file.unlink(missing_ok=True)


def _kind(path: Path) -> str:
    """Describe what is at a path, if it is not a file."""
    if path.is_dir():
        return "a folder"
    return "a pipe" if path.is_fifo() else "a device" if path.exists() else "nothing"


def as_json(data: Any, **options: Any) -> str:
    """Convert plain data to JSON; numbers and arrays of numpy become those of Python."""

    def plain(value: Any) -> Any:
        if isinstance(value, np.generic | np.ndarray):
            return value.tolist()
        raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")

    return json.dumps(data, default=plain, **options)


def check_metadata(metadata: Any) -> dict[str, Any]:
    """Return the metadata of a model or a job as a dict; None becomes an empty dict."""
    if metadata is None or isinstance(metadata, Mapping):
        return dict(metadata or {})
    template = "`{argument}` must be plain data by name, such as {example!r}; got {value!r:.80}."
    raise InputError(template, "metadata", example={"author": "A"}, value=metadata)


def check_path(path: object, argument: str = "path") -> Path:
    """Return `path` as a Path, with ~ replaced by the home folder."""
    if isinstance(path, str | os.PathLike) and str(path):
        try:
            text = os.fspath(path)
            os.fsencode(text)  # refuses half characters
            if isinstance(text, str) and "\0" not in text:
                place = Path(text).expanduser()
                os.path.exists(place) or place.exists()  # raises an error for a name that is too long
                return place
        except (UnicodeError, RuntimeError, OSError):  # RuntimeError: the home folder of an unknown user
            pass
    raise InputError("`{argument}` must be the path of a file; got {value!r:.80}.", argument, value=path)


def shown(path: object) -> str:
    """Format a path for messages."""
    return repr(str(path))

"""The files of a job, with checksums."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .._files import as_json, check_path, shown, write_file
from ..errors import InputError


def write_job(folder: Path, job: Mapping[str, Any]) -> None:
    """Write `job.json`, which `read_job()` reads, with the checksums of the other files of the job. Call this last."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    sums = {path.name: file_checksum(path) for path in files if path.name != "job.json"}
    write_plain(folder / "job.json", {**job, "checksums": sums} if sums else job)


def read_job(folder: Any) -> dict[str, Any] | None:
    """Read `job.json`; None if the file does not exist or does not contain a dict.

    Raises:
        InputError: if the checksum of the file or of another file of the job does not match.
    """
    place = check_path(folder, "folder")
    job = read_plain(place / "job.json")
    sums = (job or {}).get("checksums", {})
    if not isinstance(sums, dict):
        raise _damaged(place / "job.json")
    for name, expected in sums.items():
        file = place / Path(name).name  # only files of this folder, even if job.json names others
        try:
            same = file.is_file() and file_checksum(file) == expected  # is_file(): reading a pipe would block
        except OSError:
            same = False
        if not same:
            raise _damaged(file)
    return job


def read_job_of(folder: Any, part: str, content: str) -> dict[str, Any]:
    """Read a job that has a certain part; `content` is what the folder would hold, as messages call it."""
    job = read_job(folder)
    if job is None or part not in job:
        template = "`{argument}`: {folder} holds no {content}."
        raise InputError(template, "folder", folder=shown(folder), content=content)
    return job


def write_plain(path: Path, data: Mapping[str, Any]) -> None:
    """Write plain data with a checksum."""
    try:
        text = as_json(data)
    except (TypeError, ValueError, RecursionError) as error:
        template = "`{argument}` must be plain data that JSON holds: {reason}."
        raise InputError(template, "metadata", reason=str(error)) from None
    plain = json.loads(text)
    write_file(path, json.dumps({**plain, "checksum": _checksum(plain)}).encode())


def read_plain(path: Path) -> dict[str, Any] | None:
    """Read the data that `write_plain()` wrote; None if the file does not exist or does not contain a dict."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    if found.pop("checksum", None) != _checksum(found):
        raise _damaged(path)
    return found


def identity(folder: Path) -> str:
    """Return the checksum that identifies a job. Results store it."""
    return file_checksum(folder / "job.json")


def _checksum(plain: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def file_checksum(path: Path) -> str:
    """Compute the SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _damaged(path: Path) -> InputError:
    return InputError(
        "`{argument}`: {file} is damaged: its checksum does not agree with its contents.", "folder", file=shown(path)
    )

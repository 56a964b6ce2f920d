"""The job folder of a training: `job.json` with the options, the model, and the data or the paths of the data files.

The first worker writes `result.gequi` and `history.json` at the end.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import jobs
from .._files import check_metadata, shown
from ..arrays import LazyArray, as_numpy, opened
from ..errors import InputError
from ..networks import get_weights, set_weights
from ..saving import check_saveable, load_model, save_model
from ._data import targets_of
from .options import FitOptions

MODULE = "gequi.training"  # the module that a worker runs
PART = 64  # number of images in memory at once while they are written


def write_job(
    folder: Path, model: torch.nn.Module, x: Any, y: Any, options: FitOptions, metadata: Mapping[str, Any] | None = None
) -> None:
    """Write a training job. The `options` have been checked before."""
    for name, value in (("x", x), ("loss", options.loss)):
        if callable(value):
            raise InputError("`{argument}` cannot be a function where several processes train.", name)
    check_saveable(model)
    folder.mkdir(parents=True, exist_ok=True)
    save_model(model, folder / "model.gequi")
    job = dict(zip("xy", _pair(folder, x, y), strict=True))
    if isinstance(options.validation, tuple | list):
        held_out, targets = options.validation
        options = replace(options, validation=_pair(folder, held_out, targets, "validation_"))
    if options.class_weights is not None and not isinstance(options.class_weights, str):
        options = replace(options, class_weights=np.asarray(options.class_weights, dtype=float).tolist())
    jobs.write_job(folder, {**job, **options.plain(), "metadata": check_metadata(metadata)})


def _pair(folder: Path, x: Any, y: Any, prefix: str = "") -> list[str]:
    """Return the paths of inputs and their targets."""
    x = opened(x)
    return [_by_reference(folder, prefix + "x", x), _by_reference(folder, prefix + "y", targets_of(x, y))]


def _by_reference(folder: Path, name: str, value: Any) -> str:
    """Return the path of a .npy file with the values. Values that are in a file already are not copied."""
    if isinstance(value, str | os.PathLike):
        return str(Path(value).expanduser().absolute())
    path = folder / f"{name}.npy"
    if isinstance(value, LazyArray):  # read and written in parts
        with open(path, "wb") as file:  # not a memory map: it would end the process if the disk is full
            kind = np.lib.format.dtype_to_descr(value.dtype)
            header = {"descr": kind, "fortran_order": False, "shape": value.shape}
            np.lib.format.write_array_header_1_0(file, header)
            for start in range(0, len(value), PART):
                file.write(np.ascontiguousarray(value[start : start + PART], value.dtype).tobytes())
    else:
        np.save(path, as_numpy(value) if isinstance(value, torch.Tensor) else value)
    return str(path.absolute())


def read_job(folder: Path) -> tuple[torch.nn.Module, str, str, FitOptions]:
    """Read the model, the paths of the data and the options from a job folder."""
    job = jobs.read_job(folder)
    if job is None:
        raise no_job(folder)
    return load_model(folder / "model.gequi"), job["x"], job["y"], FitOptions.of(job)


def read_metadata(folder: Path) -> dict[str, Any]:
    """Read the metadata of a job."""
    job = jobs.read_job(folder)
    if job is None:
        raise no_job(folder)
    return dict(job.get("metadata") or {})


def write_result(folder: Path, model: torch.nn.Module, history: list[dict[str, Any]]) -> None:
    """Write the trained model and the history of a job."""
    save_model(model, folder / "result.gequi")
    whose = {"job": jobs.identity(folder), "model": jobs.file_checksum(folder / "result.gequi")}
    jobs.write_plain(folder / "history.json", {"history": history, **whose})


def read_result(folder: Path, model: torch.nn.Module) -> list[dict[str, Any]]:
    """Read the history of a completed job and copy its weights to the model."""
    found = jobs.read_plain(folder / "history.json") or {}
    if not isinstance(found.get("history"), list):
        raise InputError("`{argument}`: {folder} holds no history that can be read.", "folder", folder=shown(folder))
    learned = load_model(folder / "result.gequi")
    if found.get("job") != jobs.identity(folder) or found.get("model") != jobs.file_checksum(folder / "result.gequi"):
        raise InputError("`{argument}`: {folder} holds results of another job.", "folder", folder=shown(folder))
    set_weights(model, get_weights(learned))
    return list(found["history"])


def no_job(folder: object) -> InputError:
    return InputError("`{argument}`: {folder} holds no job.", "folder", folder=shown(folder))

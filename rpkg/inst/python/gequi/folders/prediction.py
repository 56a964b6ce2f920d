"""Prediction for images in files."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import jobs
from .._files import check_metadata, check_path, read_file, shown, write_file
from ..arrays import check_choice, check_integer
from ..errors import GequiError, InputError, ShapeError
from ..networks import EquivariantNetwork, check_model, predict
from ..saving import check_saveable, load_model, pack, save_model, unpack
from ..training import classes_of
from ._files import list_images, read_batch, read_image

MODULE = "gequi.folders"  # what a worker runs
TYPES = ("raw", "prob", "class")


def predict_folder(
    model: torch.nn.Module,
    images: Any,
    type: str = "raw",
    batch_size: int = 64,
    device: str = "auto",
    devices: int = 1,
) -> dict[str, Any]:
    """Predict the images of a folder, which are read batch by batch.

    Args:
        model: a network or another model of gequi; with one process, any torch module.
        images: str or list of str: a folder, whose .npy, .png, .jpg, .tif and .bmp files are used in alphabetical
            order, or a list of file paths. All images must have the same size. Pictures have one (grayscale) or three
            channels with values from 0 to 1. A .npy file contains an array (channel, row, column) or (row, column),
            which is used unchanged.
        type: str: "raw" for the output of the model, "prob" for class probabilities or "class" for the number of the
            most probable class, from 0.
        batch_size: int: the number of images processed at once.
        device: str: "cpu", "cuda" (GPU) or "auto".
        devices: int: the number of processes on this machine; each handles a part of the files.

    Returns:
        a dict: `files`, the paths, and `output`, an array with one entry per file.

    Raises:
        InputError: a folder that does not exist, a file that cannot be read, or an option out of range.
        ShapeError: images that differ in size or do not match the model; the message names the file.
        TrainingError: a process was killed.
        SetupError: pillow, which pictures require, is not installed.

    Example:
        >>> import gequi, tempfile
        >>> net = gequi.equivariant_network(gequi.gspace("rot2dOnR2", N=4), "trivial", seed=1, layers=[
        ...     {"layer": "conv", "fields": {"regular": 1}, "kernel_size": 3}])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for number in range(3):
        ...         np.save(f"{folder}/{number}.npy", np.eye(5) * number)
        ...     found = predict_folder(net, folder)
        >>> found["output"].shape
        (3, 4, 3, 3)
    """
    options = _check(model, images, type, batch_size, device, devices, 1)
    if options["devices"] == 1:
        output = _of_files(model, [Path(file) for file in options["files"]], options)
        return {"files": options["files"], "output": output}
    with jobs.temporary_folder() as folder:
        with jobs.written_whole(folder, "devices"):
            _write(folder, model, options)
        jobs.run_workers(folder, MODULE, options["devices"])
        return collect_prediction(folder)


def prepare_prediction(
    folder: Any,
    model: torch.nn.Module,
    images: Any,
    type: str = "raw",
    batch_size: int = 64,
    device: str = "auto",
    devices: int = 1,
    nodes: int = 1,
    metadata: Mapping[str, Any] | None = None,
) -> dict[str, str]:
    """Write a job that predicts the images of a folder on several machines with access to the same folders.

    Args:
        folder: str: the folder of the job, for `job.json` (with the paths of the images) and the model.
        model, images, type, batch_size, device: as in `predict_folder()`.
        devices: int: the number of processes on each machine.
        nodes: int: the number of machines.
        metadata: dict: plain data to store with the job.

    Returns:
        a dict of alternative commands, as from `prepare_job()`: `torchrun`, run once on each machine, and `srun`, run
        once in a SLURM batch script. Running a command again processes the files that are not finished.
        `collect_prediction()` then reads the results.

    Raises:
        InputError, ShapeError: the errors of `predict_folder()`, or a folder that is not empty.

    Example:
        >>> import gequi, tempfile
        >>> net = gequi.equivariant_network(gequi.gspace("rot2dOnR2", N=4), "trivial", [], seed=1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.save(f"{folder}/1.npy", np.eye(5))
        ...     lines = prepare_prediction(f"{folder}/job", net, folder, nodes=2, devices=4)
        >>> lines["srun"].split(" /")[0], " -m gequi.folders " in lines["srun"]
        ('srun --nodes 2 --ntasks-per-node 4', True)
    """
    place = jobs.empty_folder(folder)
    options = _check(model, images, type, batch_size, device, devices, nodes)
    check_saveable(model)
    with jobs.written_whole(place):
        _write(place, model, {**options, "metadata": check_metadata(metadata)})
    return jobs.command_lines(place, MODULE, options["nodes"], options["devices"])


def collect_prediction(folder: Any) -> dict[str, Any]:
    """Read the predictions of a finished job.

    Args:
        folder: str: the folder of the job, from `prepare_prediction()`.

    Returns:
        a dict, as from `predict_folder()`: `files` and `output`, in the order of the files.

    Raises:
        InputError: a folder without such a job, or a job that is not finished; the message states the number of
            finished parts.

    Example:
        >>> import tempfile
        >>> collect_prediction(tempfile.mkdtemp())  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        gequi.errors.InputError: `folder`: ... holds no predictions.
    """
    place = check_path(folder, "folder")
    job = prediction_job(place)
    parts: dict[int, dict[int, Path]] = {}
    for file in place.glob("part-*"):
        found = re.fullmatch(r"part-(\d+)-of-(\d+)\.safetensors", file.name)
        if found:
            parts.setdefault(int(found[2]), {})[int(found[1])] = file
    for count, of_a_run in parts.items():
        if len(of_a_run) == count:
            wanted = [len(jobs.Part(rank, count).slice(job["files"])) for rank in range(count)]
            arrays = [_read_part(of_a_run[rank + 1], jobs.identity(place), wanted[rank]) for rank in range(count)]
            return {"files": job["files"], "output": np.concatenate([each for each in arrays if len(each)])}
    raise InputError(
        "`{argument}`: {folder} is not finished; {done} of its parts exist.", "folder", folder=shown(folder),
        done=max((f"{len(of_a_run)} of {count}" for count, of_a_run in parts.items()), default="none"),
    )  # fmt: skip


def _read_part(file: Path, job: str, count: int) -> np.ndarray:
    """Read the predictions of one process if they belong to its part of this job."""
    description, arrays = unpack(read_file(file), shown(file))
    output = arrays.get("output")
    if description.get("job") != job or output is None or len(output) != count:
        raise InputError("`{argument}`: {file} is a part of another job; remove it.", "folder", file=shown(file))
    return output


def prediction_job(folder: Any) -> dict[str, Any]:
    """Return the settings of a prediction job: `files`, `type`, `metadata`, ..."""
    return jobs.read_job_of(folder, "files", "predictions")


def work(folder: Path) -> None:
    """Predict the part of the files of a job that belongs to this process."""
    job = prediction_job(folder)
    rank, processes = jobs.place_in_group()
    path = folder / f"part-{rank + 1}-of-{processes}.safetensors"
    files = [Path(file) for file in jobs.Part(rank, processes).slice(job["files"])]
    with contextlib.suppress(GequiError):  # parts that are damaged or of another job are computed again
        _read_part(path, jobs.identity(folder), len(files))
        return
    output = _of_files(load_model(folder / "model.gequi"), files, job) if files else np.empty(0)
    write_file(path, pack({"output": np.ascontiguousarray(output)}, {"job": jobs.identity(folder)}))


# ---- what both do ---------------------------------------------------------------------------------------


def _check(
    model: Any, images: Any, type: Any, batch_size: Any, device: Any, devices: Any, nodes: Any
) -> dict[str, Any]:
    """Check the options, and return them and the files as plain data. The first image is predicted as a test."""
    check_model(model, "model")
    files = [str(file.absolute()) for file in list_images(images)]
    options: dict[str, Any] = {
        "files": files, "type": check_choice(type, "type", TYPES), "device": check_choice(device, "device", jobs.DEVICES),
        "batch_size": check_integer(batch_size, "batch_size", minimum=1),
        "devices": check_integer(devices, "devices", minimum=1), "nodes": check_integer(nodes, "nodes", minimum=1),
        "shape": list(read_image(Path(files[0]), _axes(model)).shape),
    }  # fmt: skip
    if options["devices"] > 1:
        check_saveable(model)
    try:
        _of_files(model, [Path(files[0])], options)
    except ShapeError as error:
        file = shown(files[0])
        raise error.about("images").within("`{argument}`: {file} does not fit the model: ", file=file) from error
    return options


def _axes(model: torch.nn.Module) -> int:
    return int(model.space.dimensionality) if isinstance(model, EquivariantNetwork) else 2


def _write(folder: Path, model: torch.nn.Module, options: Mapping[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    save_model(model, folder / "model.gequi")
    jobs.write_job(folder, options)


def _of_files(model: torch.nn.Module, files: list[Path], options: Mapping[str, Any]) -> np.ndarray:
    """Compute the output for files, batch by batch."""
    size, shape, axes = options["batch_size"], tuple(options["shape"]), _axes(model)
    pieces = []
    with _on_device(model, options["device"]):
        for start in range(0, len(files), size):
            raw = predict(model, read_batch(files[start : start + size], shape, axes), batch_size=size)
            pieces.append(raw if options["type"] == "raw" else classes_of(raw, options["type"]))
    return np.concatenate(pieces)


@contextlib.contextmanager
def _on_device(model: torch.nn.Module, device: str) -> Iterator[None]:
    """Move the model to a device temporarily: of several GPUs, the one of this process."""
    before = next((p.device for p in model.parameters()), torch.device("cpu"))
    wanted = torch.device("cpu")
    if device == "cuda" or (device == "auto" and torch.cuda.is_available()):
        wanted = torch.device("cuda", int(os.environ.get("LOCAL_RANK") or os.environ.get("SLURM_LOCALID") or 0))
    model.to(wanted)
    try:
        yield
    finally:
        model.to(before)

"""Predicting for images in files."""

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
    """Predicts for the images in a folder, which are read a batch at a time.

    Args:
        model: from `equivariant_network()` or another model of gequi; with one process, any torch module.
        images: a folder, of which all .npy, .png, .jpg, .tif and .bmp files are taken in the order of their names; or
            a list of files. All have one size. A picture has one channel (grey) or three, from 0 to 1; a .npy file
            holds (channel, row, column), or (row, column) of one channel, as it is.
        type: "raw", the output of the model; for classes "prob", their probabilities, or "class", the number of the
            most probable one, from 0.
        batch_size: how many go through at once.
        device: "cpu", "cuda", or "auto".
        devices: processes on this machine; each takes a part of the files.

    Returns:
        a dict: `files`, their paths, and `output`, an array with one entry a file.

    Raises:
        InputError: no such folder, a file that cannot be read, or an option out of range.
        ShapeError: images of several sizes, or that do not fit the model; the message names the file.
        TrainingError: a process that was killed.
        SetupError: pictures, where pillow is not installed.

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
    """Writes down the predictions for a folder of images, for several machines that see the same folders.

    Args:
        folder: where to; `job.json` (with the paths of the images) and the model.
        model, images, type, batch_size, device: as in `predict_folder()`.
        devices: processes on each machine.
        nodes: machines.
        metadata: plain data that is kept with the job.

    Returns:
        a dict of command lines that do it, as of `prepare_job()`: `torchrun`, once on each machine, and `srun`, once in
        a batch script of SLURM. A line that is run again does what is left. Then `collect_prediction()` has the output.

    Raises:
        InputError, ShapeError: as `predict_folder()`; a folder that is not empty.

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
    """Fetches the predictions of a job, when it is done.

    Args:
        folder: of the job, from `prepare_prediction()`.

    Returns:
        a dict, as of `predict_folder()`: `files` and `output`, in the order of the files, whoever predicted which.

    Raises:
        InputError: a folder without such a job, or one that is not done; the message says how many parts there are.

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
        "`{argument}`: {folder} is not done; {done} of its parts are there.", "folder", folder=shown(folder),
        done=max((f"{len(of_a_run)} of {count}" for count, of_a_run in parts.items()), default="none"),
    )  # fmt: skip


def _read_part(file: Path, job: str, count: int) -> np.ndarray:
    """The predictions of one process, where they are those of its part of this job."""
    description, arrays = unpack(read_file(file), shown(file))
    output = arrays.get("output")
    if description.get("job") != job or output is None or len(output) != count:
        raise InputError("`{argument}`: {file} is a part of another job; remove it.", "folder", file=shown(file))
    return output


def prediction_job(folder: Any) -> dict[str, Any]:
    """What a job of predictions was told: `files`, `type`, `metadata`, ..."""
    job = jobs.read_job(folder)
    if job is None or "files" not in job:
        raise InputError("`{argument}`: {folder} holds no predictions.", "folder", folder=shown(folder))
    return job


def work(folder: Path) -> None:
    """What each process does: predicts for its part of the files of a job."""
    job = prediction_job(folder)
    rank, processes = jobs.place_in_group()
    path = folder / f"part-{rank + 1}-of-{processes}.safetensors"
    files = [Path(file) for file in jobs.Part(rank, processes).slice(job["files"])]
    with contextlib.suppress(GequiError):  # what is there, but damaged or of another job, is done again
        _read_part(path, jobs.identity(folder), len(files))
        return
    output = _of_files(load_model(folder / "model.gequi"), files, job) if files else np.empty(0)
    write_file(path, pack({"output": np.ascontiguousarray(output)}, {"job": jobs.identity(folder)}))


# ---- what both do ---------------------------------------------------------------------------------------


def _check(
    model: Any, images: Any, type: Any, batch_size: Any, device: Any, devices: Any, nodes: Any
) -> dict[str, Any]:
    """The options, and the files that they are for, as plain data. The first image is tried."""
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
    """The output for files, batch by batch."""
    size, shape, axes = options["batch_size"], tuple(options["shape"]), _axes(model)
    pieces = []
    with _on_device(model, options["device"]):
        for start in range(0, len(files), size):
            raw = predict(model, read_batch(files[start : start + size], shape, axes), batch_size=size)
            pieces.append(raw if options["type"] == "raw" else classes_of(raw, options["type"]))
    return np.concatenate(pieces)


@contextlib.contextmanager
def _on_device(model: torch.nn.Module, device: str) -> Iterator[None]:
    """The model on a processor for a while: of several GPUs, the one of this process."""
    before = next((p.device for p in model.parameters()), torch.device("cpu"))
    wanted = torch.device("cpu")
    if device == "cuda" or (device == "auto" and torch.cuda.is_available()):
        wanted = torch.device("cuda", int(os.environ.get("LOCAL_RANK") or os.environ.get("SLURM_LOCALID") or 0))
    model.to(wanted)
    try:
        yield
    finally:
        model.to(before)

"""Predictions for folders of images that do not fit in memory: in one process, in several, or on several machines.

Each process takes a part of the files and writes what the network makes of them; nobody waits for anybody, and parts
that are done already are not done again. A job folder holds `job.json`, `model.gequi` and, when it is done, one
`part-1-of-2.npy` for each process.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..arrays import check_choice, check_integer
from ..errors import InputError, ShapeError
from ..networks import EquivariantNetwork, check_model, predict
from ..saving import check_path, check_saveable, load_model, save_model, shown, write_file
from ..training import classes_of
from ..training._data import Part
from ..training._jobs import command_lines, empty_folder, place_in_group, run_workers
from ..training._settings import DEVICES
from ._files import list_images, read_batch, read_image

TYPES = ("raw", "prob", "class")


def predict_folder(
    network: torch.nn.Module,
    images: Any,
    type: str = "raw",
    batch_size: int = 64,
    device: str = "auto",
    devices: int = 1,
) -> dict[str, Any]:
    """What a network makes of the images in a folder, which are read a batch at a time.

    Args:
        network: from `equivariant_network()` or another maker of gequi; with one process, any torch module.
        images: a folder, of which all .npy, .png, .jpg, .tif and .bmp files are taken in the order of their names; or
            a list of files. All have one size. A picture has one channel (grey) or three, from 0 to 1; a .npy file
            holds (channel, row, column), or (row, column) of one channel, as it is.
        type: "raw", what the network puts out; for classes "prob", their probabilities, or "class", the number of the
            most probable one, from 0.
        batch_size: how many go through at once.
        device: "cpu", "cuda", or "auto".
        devices: processes on this machine; each takes a part of the files.

    Returns:
        a dict: `files`, their paths, and `output`, an array with one entry a file.

    Raises:
        InputError: no such folder, a file that cannot be read, or an option out of range.
        ShapeError: images of several sizes, or that do not fit the network; the message names the file.
        TrainingError: a process that was killed.
        SetupError: pictures, where pillow is not installed.

    Example:
        >>> import gequi
        >>> net = gequi.equivariant_network(gequi.gspace("rot2dOnR2", N=4), "trivial", seed=1, layers=[
        ...     {"layer": "conv", "fields": {"regular": 1}, "kernel_size": 3}])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for number in range(3):
        ...         np.save(f"{folder}/{number}.npy", np.eye(5) * number)
        ...     found = predict_folder(net, folder)
        >>> found["output"].shape
        (3, 4, 3, 3)
    """
    options = _check(network, images, type, batch_size, device, devices, 1)
    if options["devices"] == 1:
        output = _of_files(network, [Path(file) for file in options["files"]], options)
        return {"files": options["files"], "output": output}
    folder = Path(tempfile.mkdtemp(prefix="gequi-job-"))
    _write(folder, network, options)
    run_workers(folder, "gequi.folders", options["devices"], None, "")
    found = collect_prediction(folder)
    shutil.rmtree(folder)
    return found


def prepare_prediction(
    folder: Any,
    network: torch.nn.Module,
    images: Any,
    type: str = "raw",
    batch_size: int = 64,
    device: str = "auto",
    devices: int = 1,
    nodes: int = 1,
    about: Mapping[str, Any] | None = None,
) -> dict[str, str]:
    """Writes down the predictions for a folder of images, for several machines that see the same folders.

    Args:
        folder: where to; `job.json` (with the paths of the images) and the model.
        network, images, type, batch_size, device: as in `predict_folder()`.
        devices: processes on each machine.
        nodes: machines.
        about: plain data that is kept with the job.

    Returns:
        a dict of command lines that do it, as of `prepare_job()`: `torchrun`, once on each machine, and `srun`, once in
        a batch script of SLURM. A line that is run again does what is left. Then `collect_prediction()` has the output.

    Raises:
        InputError, ShapeError: as `predict_folder()`; a folder that is not empty.

    Example:
        >>> import gequi
        >>> net = gequi.equivariant_network(gequi.gspace("rot2dOnR2", N=4), "trivial", [], seed=1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.save(f"{folder}/1.npy", np.eye(5))
        ...     lines = prepare_prediction(f"{folder}/job", net, folder, nodes=2, devices=4)
        >>> lines["srun"].split(" /")[0]
        'srun --nodes 2 --ntasks-per-node 4 python -m gequi.folders'
    """
    place = empty_folder(folder)
    options = _check(network, images, type, batch_size, device, devices, nodes)
    check_saveable(network)
    _write(place, network, {**options, "about": dict(about or {})})
    return command_lines(place, "gequi.folders", options["nodes"], options["devices"])


def collect_prediction(folder: Any) -> dict[str, Any]:
    """Fetches the predictions of a job, when it is done.

    Args:
        folder: of the job, from `prepare_prediction()`.

    Returns:
        a dict, as of `predict_folder()`: `files` and `output`, in the order of the files, whoever predicted which.

    Raises:
        InputError: a folder without such a job, or one that is not done; the message says how many parts there are.

    Example:
        >>> collect_prediction(tempfile.mkdtemp())  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        gequi.errors.InputError: `folder`: ... holds no predictions.
    """
    place = check_path(folder, "folder")
    job = about_prediction(place)
    parts: dict[int, dict[int, Path]] = {}
    for file in place.glob("part-*.npy"):
        found = re.fullmatch(r"part-(\d+)-of-(\d+)\.npy", file.name)
        if found:
            parts.setdefault(int(found[2]), {})[int(found[1])] = file
    for count, of_a_run in parts.items():
        if len(of_a_run) == count:
            arrays = [np.load(of_a_run[number + 1], allow_pickle=False) for number in range(count)]
            return {"files": job["files"], "output": np.concatenate([each for each in arrays if len(each)])}
    done = max((f"{len(of_a_run)} of {count}" for count, of_a_run in parts.items()), default="none")
    raise InputError(f"`folder`: {shown(folder)} is not done; {done} of its parts are there.", "folder")


def about_prediction(folder: Any) -> dict[str, Any]:
    """What a job was told: `files`, `type`, `about`, ..."""
    try:
        job = dict(json.loads((Path(folder) / "job.json").read_text()))
    except (OSError, ValueError):
        job = {}
    if "files" not in job:
        raise InputError(f"`folder`: {shown(folder)} holds no predictions.", "folder")
    return job


def work(folder: Path) -> None:
    """What each process does: predicts its part of the files of a job."""
    job = about_prediction(folder)
    rank, processes = place_in_group()
    path = folder / f"part-{rank + 1}-of-{processes}.npy"
    if path.exists():
        return
    files = [Path(file) for file in Part(rank, processes).slice(job["files"])]
    output = _of_files(load_model(folder / "model.gequi"), files, job) if files else np.empty(0)
    buffer = io.BytesIO()
    np.save(buffer, output)
    write_file(path, buffer.getvalue())


# ---- what both do ---------------------------------------------------------------------------------------


def _check(
    network: Any, images: Any, type: Any, batch_size: Any, device: Any, devices: Any, nodes: Any
) -> dict[str, Any]:
    """The options, and the files that they are for, as plain data. The first image is tried."""
    check_model(network)
    files = [str(file.absolute()) for file in list_images(images)]
    options: dict[str, Any] = {
        "files": files, "type": check_choice(type, "type", TYPES), "device": check_choice(device, "device", DEVICES),
        "batch_size": check_integer(batch_size, "batch_size", minimum=1),
        "devices": check_integer(devices, "devices", minimum=1), "nodes": check_integer(nodes, "nodes", minimum=1),
        "shape": list(read_image(Path(files[0]), _axes(network)).shape),
    }  # fmt: skip
    if options["devices"] > 1:
        check_saveable(network)
    try:
        _of_files(network, [Path(files[0])], options)
    except ShapeError as error:
        raise ShapeError(f"`images`: {shown(files[0])} does not fit the network: {error}", "images") from error
    return options


def _axes(network: torch.nn.Module) -> int:
    return int(network.space.dimensionality) if isinstance(network, EquivariantNetwork) else 2


def _write(folder: Path, network: torch.nn.Module, options: Mapping[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    save_model(network, folder / "model.gequi")
    write_file(folder / "job.json", json.dumps(options).encode())


def _of_files(network: torch.nn.Module, files: list[Path], options: Mapping[str, Any]) -> np.ndarray:
    """The output for files, batch by batch."""
    size, shape, axes = options["batch_size"], tuple(options["shape"]), _axes(network)
    pieces = []
    with _on_device(network, options["device"]):
        for start in range(0, len(files), size):
            raw = predict(network, read_batch(files[start : start + size], shape, axes), batch_size=size)
            pieces.append(raw if options["type"] == "raw" else classes_of(raw, options["type"]))
    return np.concatenate(pieces)


@contextlib.contextmanager
def _on_device(network: torch.nn.Module, device: str) -> Iterator[None]:
    """The network on a processor for a while: of several GPUs, the one of this process."""
    before = next((p.device for p in network.parameters()), torch.device("cpu"))
    wanted = torch.device("cpu")
    if device == "cuda" or (device == "auto" and torch.cuda.is_available()):
        wanted = torch.device("cuda", int(os.environ.get("LOCAL_RANK") or os.environ.get("SLURM_LOCALID") or 0))
    network.to(wanted)
    try:
        yield
    finally:
        network.to(before)


__all__ = ["collect_prediction", "predict_folder", "prepare_prediction"]

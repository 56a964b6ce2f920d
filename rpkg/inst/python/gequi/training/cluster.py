"""Training on several machines: a training job is written to a folder, and its result is read from there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from .._files import check_path, shown
from ..errors import InputError, nearest
from ..jobs import command_lines, empty_folder, leave_group, place_in_group, report_to, written_whole
from ..networks import check_model
from ._job import MODULE, read_job, read_metadata, read_result, write_job, write_result
from ._prepare import prepare
from .fitting import make_run, train
from .options import OPTIONS, FitOptions


def prepare_job(
    folder: Any,
    model: torch.nn.Module,
    x: Any,
    y: Any = None,
    metadata: Mapping[str, Any] | None = None,
    **options: Any,
) -> dict[str, str]:
    """Write a training job to a folder and return the commands that run it on a cluster.

    Args:
        folder: str or Path: an empty folder that all machines can access. It receives `job.json`, the model and the
            data, or the paths of the data files.
        model, x, y: as in `fit()`. For a .npy file, the job stores the path, not the contents.
        metadata: dict, optional: plain data to store with the job.
        **options: options of `fit()`, except `progress` and `callbacks`. `devices` is the number of processes on each
            of `nodes` machines.

    Returns:
        dict of str to str: two alternative commands. `torchrun` is run on each machine. `srun` is run once in a SLURM
        batch script. When the job is complete, `collect_job()` reads the trained weights.

    Raises:
        InputError: as in `fit()`, before anything is written, or if the folder is not empty.

    Example:
        >>> import gequi, numpy, tempfile
        >>> net = gequi.equivariant_network(gequi.gspace("rot2dOnR2", N=4), "trivial", seed=1, layers=[
        ...     {"layer": "conv", "fields": {"trivial": 1}, "kernel_size": 3, "padding": 1}])
        >>> x = numpy.ones((4, 1, 5, 5))
        >>> lines = prepare_job(tempfile.mkdtemp(), net, x, x, nodes=2, devices=2)
        >>> lines["srun"].split(" /")[0], " -m gequi.training " in lines["srun"]
        ('srun --nodes 2 --ntasks-per-node 2', True)
    """
    place = empty_folder(folder)
    check_model(model, "model")
    for name in options:
        if name in ("progress", "callbacks"):
            raise InputError("`{argument}` cannot be used where several processes train; leave it out.", name)
        if name not in OPTIONS:
            raise InputError(
                "unknown option `{argument}`; the options are {choices:list}.{hint}",
                name, choices=OPTIONS, hint=nearest(name, OPTIONS),
            )  # fmt: skip
    checked = FitOptions(**options).checked()
    prepare(model, x, y, checked)
    with written_whole(place):
        write_job(place, model, x, y, checked, metadata)
    return command_lines(place, MODULE, checked.nodes, checked.devices)


def collect_job(folder: Any, model: torch.nn.Module) -> list[dict[str, Any]]:
    """Read the result of a completed training job into a model.

    Args:
        folder: str or Path: the folder of the job.
        model: torch.nn.Module: the model that was given to `prepare_job()`. It receives the trained weights, as from
            `fit()`.

    Returns:
        list of dict: the history, as in `fit()`.

    Raises:
        InputError: if the folder does not contain a completed job.

    Example:
        >>> import tempfile
        >>> collect_job(tempfile.mkdtemp(), None)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        gequi.errors.InputError: `folder`: ... holds no job that is done.
    """
    place = check_path(folder, "folder")
    if not (place / "history.json").exists():
        raise InputError("`{argument}`: {folder} holds no job that is done.", "folder", folder=shown(folder))
    return read_result(place, model)


def job_metadata(folder: Any) -> dict[str, Any]:
    """Return the `metadata` of a job. R stores the classes there."""
    return read_metadata(check_path(folder, "folder"))


def work(folder: Path) -> None:
    """Run one process of a job: read the folder and train on the part of this process."""
    model, x, y, options = read_job(folder)
    history = train(make_run(model, x, y, options, report_to(folder)))
    leave_group()
    if place_in_group()[0] == 0:
        write_result(folder, model, history)

"""Training on several machines: a run is written down as a folder, and its result is fetched from there."""

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
    """Writes a training run down, for several machines that see the same folder.

    Args:
        folder: where to; `job.json`, the model and the data, or the paths of their files.
        model, x, y: as in `fit()`.
        metadata: plain data that is kept with the job.
        **options: as in `fit()`, apart from `progress` and `callbacks`; `devices` are the processes on each of
            `nodes` machines.

    Returns:
        a dict of command lines that do the run: `torchrun`, once on each machine, and `srun`, once in a batch script of
        SLURM. Then `collect_job()` brings the weights back.

    Raises:
        InputError: as `fit()`, before anything is written; a folder that is not empty.

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
    """Fetches what a job has learned, when it is done.

    Args:
        folder: of the job.
        model: the one that `prepare_job()` was given; the weights go into it, as `fit()` leaves them there.

    Returns:
        the history, as `fit()`.

    Raises:
        InputError: a folder without a job that is done.

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
    """The `metadata` of a job: R keeps the classes there."""
    return read_metadata(check_path(folder, "folder"))


def work(folder: Path) -> None:
    """What each process does: reads the folder of a job and trains its part."""
    model, x, y, options = read_job(folder)
    history = train(make_run(model, x, y, options, report_to(folder)))
    leave_group()
    if place_in_group()[0] == 0:
        write_result(folder, model, history)

"""Training in this process, or in several on this machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from .._progress import Progress, check_progress
from ..errors import InputError
from ..jobs import run_workers, temporary_folder, written_whole
from ..networks import check_model
from ..saving import check_saveable
from ._augment import Augmentation
from ._callbacks import Callbacks
from ._checkpoints import read_checkpoint, take_weights
from ._job import MODULE, read_result, write_job
from ._prepare import need_lightning, prepare
from ._run import Run
from .options import FitOptions


def fit(
    model: torch.nn.Module,
    x: Any,
    y: Any = None,
    loss: str | Callable[..., torch.Tensor] | None = None,
    epochs: int = 10,
    batch_size: int = 32,
    learning_rate: float = 1e-3,
    optimizer: Any = "adam",
    schedule: str = "constant",
    validation: Any = None,
    augment: str | None = None,
    class_weights: Any = None,
    ignore: int | None = None,
    precision: str | None = None,
    device: str = "auto",
    seed: int | None = None,
    checkpoint: Any = None,
    patience: int | None = None,
    devices: int = 1,
    nodes: int = 1,
    batches: int | None = None,
    progress: Callable[[dict[str, Any]], Any] | None = None,
    callbacks: Any = None,
) -> list[dict[str, Any]]:
    """Trains a model, in place.

    Args:
        model: from `equivariant_network()`, or any torch module that maps a batch to a batch.
        x: inputs (batch, channel, row, column), (batch, channel, depth, row, column) or (batch, channel); or the path
            of a .npy file of them, which is read a batch at a time; or a function that takes the number of a batch,
            from 0, and returns its `(x, y)`; or images in files: a folder with a folder for each class, a list of files,
            or what `image_files()` returned. A folder brings its targets.
        y: targets. Classes 0, 1, ... or False, True of images (batch) or of pixels (batch, row, column); a pixel that
            is -1, NaN or `ignore` counts for nothing. Or numbers of the shape of the model's output; or the path of a
            .npy file.
        loss: "cross_entropy", "binary_cross_entropy" (0 and 1, outputs are logits), "mse", "mae", "huber", or a
            function of output and target, whose targets may have any shape. None is cross_entropy for targets of an
            integer or logical type and for whole numbers, one an image or a place, where the model has several
            outputs there; else mse.
        epochs: how often each example is seen.
        batch_size: examples in a batch, over all devices together.
        learning_rate: the peak of the schedule.
        optimizer: "adam", "adamw" or "sgd"; or with options `{"optimizer": "sgd", "momentum": 0.9,
            "weight_decay": 1e-4}`.
        schedule: of the learning rate, by batches: "constant", "linear" or "cosine" down to 0, or "one_cycle" up from
            a 25th and down to almost nothing.
        validation: the fraction of the examples to hold out (drawn from `seed`), or a pair (x, y).
        augment: "group" moves each example by a random element of the network's group (of a continuous group, one of
            `group_elements()`); "rotation" turns images by any angle. Targets with a place or a direction move too.
        class_weights: a number for each class, or "balanced".
        ignore: a value of `y`, the class of pixels that count for nothing in the loss and in the metrics.
        precision: None for the model's own type, or "bfloat16" for mixed precision.
        device: "cpu", "cuda", or "auto".
        seed: of the order of examples, augmentation and dropout. None draws one. The same seed gives the same weights,
            to the bit, on one machine with one number of threads.
        checkpoint: a file that keeps the state after every epoch. If it exists, the run goes on from it.
        patience: stop after so many epochs without a better validation loss (without validation: loss), and go back
            to the best weights.
        devices: processes on this machine; each takes a part of every batch.
        nodes: machines; see `prepare_job()`.
        batches: batches in an epoch, where `x` is a function.
        progress: a function that is called with a dict about ten times a second; the run stops where it returns False.
            The dict has `epoch`, `epochs`, `batch`, `batches`, `step`, `steps`, `seconds_left` and the metrics so far.
        callbacks: an object or a dict, or a list of them, with any of the functions `on_epoch_begin(info)`,
            `on_epoch_end(info)` and `on_batch_end(info)`. `info` is the dict that `progress` is called with: without
            metrics when an epoch begins, with those of the validation when it ends. Where one of them returns False,
            the run stops after the batch (of `on_epoch_begin`, the one that follows), and can be resumed. A run that
            is resumed within an epoch begins that epoch again. Not where several processes train.

    Returns:
        the history, a dict an epoch: `epoch`, `loss` and, for classes, `accuracy` as training went; `val_loss` and
        further `val_` metrics as in `evaluate()`; `learning_rate`, `seconds`, and `stopped`: "" or, in the last row,
        "interrupt", "callback" or "patience".

    Reproducibility:
        On one machine, the same `seed` and the same number of threads (`torch.get_num_threads()`) give the same weights
        to the bit, also where a run was stopped, or killed, and goes on from its checkpoint. Another number of threads,
        or of devices, adds in another order, and the difference grows with each step.

    Raises:
        ShapeError: inputs or targets that do not fit the model.
        InputError: an option out of range; a loss that is no longer finite, before it reaches the weights.
        SetupError: lightning is not installed.

    Example:
        >>> import gequi, numpy as np
        >>> net = gequi.equivariant_network(gequi.gspace("rot2dOnR2", N=4), "trivial", seed=1, layers=[
        ...     {"layer": "conv", "fields": {"regular": 2}, "kernel_size": 3}, {"layer": "relu"},
        ...     {"layer": "global_avg_pool"}, {"layer": "group_pool"}, {"layer": "dense", "units": 2}])
        >>> x = np.random.default_rng(0).normal(size=(16, 1, 7, 7))
        >>> history = gequi.fit(net, x, np.arange(16) % 2, epochs=2, seed=1)
        >>> [row["epoch"] for row in history]
        [1, 2]
    """
    run = make_run(model, x, y, FitOptions.of(locals()), progress, callbacks)
    if run.options.nodes > 1:
        raise InputError(
            "`{argument}` > 1 needs a launcher on each machine: write the run down with prepare_job(), and start it "
            "there with torchrun or srun.",
            "nodes",
        )
    return train(run) if run.options.devices == 1 else _train_in_processes(run, x, y)


def make_run(
    model: torch.nn.Module, x: Any, y: Any, given: FitOptions, progress: Progress | None, callbacks: Any = None
) -> Run:
    """The run of a call of `fit()`, with all arguments checked; it goes on from its checkpoint, if there is one."""
    check_model(model, "model")
    options = given.checked()
    check_progress(progress)
    called = Callbacks(callbacks)
    if called and options.processes > 1:
        raise InputError("`{argument}` cannot be used where several processes train; leave them out.", "callbacks")
    checkpoint = None
    if options.checkpoint is not None:
        checkpoint = read_checkpoint(Path(options.checkpoint))
        check_saveable(model)
    if checkpoint is not None and given.seed is None:
        options = replace(options, seed=checkpoint.identity["seed"])
    need_lightning()
    prepared = prepare(model, x, y, options)
    augmentation = None
    if options.augment is not None:
        augmentation = Augmentation(options.augment, model, prepared.task, prepared.examples.axes)
    run = Run(model, prepared, options, augmentation, progress, called)
    if checkpoint is not None:
        take_weights(checkpoint, model, run.identity)
        run.restore(checkpoint.plain, checkpoint.arrays)
    return run


def train(run: Run) -> list[dict[str, Any]]:
    """Trains in this process: all of it, or, of several processes, this one's part."""
    from ._engine import train as turn  # here, since lightning takes seconds to import

    return turn(run)


def _train_in_processes(run: Run, x: Any, y: Any) -> list[dict[str, Any]]:
    """Trains with several processes on this machine and waits for them."""
    advice = " With `checkpoint`, the same call of fit() goes on from the last epoch."
    with temporary_folder(run.options.checkpoint) as folder:
        with written_whole(folder, "devices" if run.options.checkpoint is None else "checkpoint"):
            write_job(folder, run.model, x, y, run.options)
        run_workers(folder, MODULE, run.options.devices, run.progress, advice, stops=True)
        return read_result(folder, run.model)

"""Training in this process or in several processes on this machine."""

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
from ._loop import is_plain, train as train_plainly
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
    """Train a model in place.

    Args:
        model: torch.nn.Module: a network, created by `equivariant_network()`, or any torch module that maps a batch to
            a batch.
        x: array (batch, channel, row, column), (batch, channel, depth, row, column) or (batch, channel): the inputs.
            Also accepted: the path of a .npy file with such an array, which is read batch by batch; a function of the
            batch number (from 0) that returns `(x, y)`; image files, as accepted by `image_files()`: a folder with one
            subfolder per class, a list of files, or the result of `image_files()`. A folder provides the targets.
        y: array, optional: the targets: classes of images (batch) or of pixels (batch, row, column), or numbers with
            the shape of the output. Classes are 0, 1, ... or False, True. Pixels that are -1, NaN or `ignore` do not
            contribute to the loss. The path of a .npy file is also accepted.
        loss: str or callable, optional: "cross_entropy", "binary_cross_entropy" (targets 0 and 1, outputs are logits),
            "mse", "mae", "huber", or a function of output and target. With a function, targets may have any shape. None
            chooses cross-entropy for targets of an integer or logical type, and for integer-valued targets (one per
            image or pixel) if the model has several outputs there; otherwise mean squared error.
        epochs: int: the number of passes over the examples.
        batch_size: int: the number of examples per batch, over all devices.
        learning_rate: float: the maximum of the learning rate schedule.
        optimizer: str or dict: "adam", "adamw" or "sgd", or a dict with options, such as `{"optimizer": "sgd",
            "momentum": 0.9, "weight_decay": 1e-4}`.
        schedule: str: the learning rate schedule, updated after each batch: "constant", "linear" or "cosine" (decay to
            0), or "one_cycle" (increase from 1/25 of the maximum, then decay to almost 0).
        validation: float or tuple (x, y), optional: the fraction of the examples to use for validation (drawn with
            `seed`), or validation examples.
        augment: str, optional: data augmentation. "group" transforms each example by a random element of the group of
            the network (for a continuous group, one of `group_elements()`). "rotation" rotates images by a random
            angle. "jitter" turns images by up to half the smallest angle of the group (by up to 8 degrees if the model
            has no finite group of rotations) and shifts them by up to half a pixel, so that each is resampled, as an
            image at another angle is. Targets with spatial axes or directions are transformed accordingly.
        class_weights: array (class) or str, optional: one weight per class, or "balanced".
        ignore: int, optional: a class of pixels in `y` to exclude from the loss and the metrics.
        precision: str, optional: "bfloat16" for mixed precision. None uses the type of the model.
        device: str: "cpu", "cuda" or "auto".
        seed: int, optional: the seed for the order of examples, augmentation and dropout. None uses the seed of
            `checkpoint` if the file exists, and draws a seed otherwise. The same seed gives identical weights on the
            same machine with the same number of threads.
        checkpoint: str or Path, optional: a file that stores the state after each epoch. If the file exists, training
            resumes from it.
        patience: int, optional: the number of epochs without improvement of the validation loss (or of the loss,
            without validation) after which training stops. The best weights are restored.
        devices: int: the number of processes on this machine. Each processes a part of every batch.
        nodes: int: the number of machines; see `prepare_job()`.
        batches: int, optional: the number of batches per epoch if `x` is a function.
        progress: callable, optional: a function that is called about ten times per second with a dict: `epoch`,
            `epochs`, `batch`, `batches`, `step`, `steps`, `seconds_left` and the current metrics. Training stops if it
            returns False.
        callbacks: object, dict or list, optional: an object or dict with any of the functions `on_epoch_begin(info)`,
            `on_epoch_end(info)` and `on_batch_end(info)`, or a list of them. `info` is the dict that `progress`
            receives: without metrics at the beginning of an epoch, and with validation metrics at its end. If a
            function returns False, training stops after the current batch (after the next one for `on_epoch_begin`) and
            can be resumed. A training that was stopped within an epoch repeats this epoch. Callbacks are not available
            with several processes.

    Returns:
        list of dict: the history, one dict per epoch: `epoch`, `loss` and, for classes, `accuracy` during training;
        `val_loss` and other validation metrics, as in `evaluate()`; `learning_rate`; `seconds`; and `stopped`, which is
        "" or, in the last row, "interrupt", "callback" or "patience".

    Reproducibility:
        On one machine, the same `seed` and number of threads (`torch.get_num_threads()`) give identical weights. This
        includes trainings that were stopped or killed and resumed from a checkpoint. With another number of threads or
        devices, sums are computed in another order, and the difference grows with each step.

    Raises:
        ShapeError: if inputs or targets do not match the model.
        InputError: for an invalid option, or if the loss is no longer finite (the weights are not updated).
        SetupError: if lightning or torchmetrics is not installed.

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
    """Create the run of a call of `fit()` and check all arguments. An existing checkpoint is resumed."""
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
    """Train in this process. With several processes, this process trains on its part of each batch."""
    if is_plain(run.options):
        return train_plainly(run)
    from ._engine import train as turn  # imported here because lightning takes seconds to import

    return turn(run)


def _train_in_processes(run: Run, x: Any, y: Any) -> list[dict[str, Any]]:
    """Train with several processes on this machine and wait until they end."""
    advice = " With `checkpoint`, the same call of fit() goes on from the last epoch."
    with temporary_folder(run.options.checkpoint) as folder:
        with written_whole(folder, "devices" if run.options.checkpoint is None else "checkpoint"):
            write_job(folder, run.model, x, y, run.options)
        run_workers(folder, MODULE, run.options.devices, run.progress, advice, stops=True)
        return read_result(folder, run.model)

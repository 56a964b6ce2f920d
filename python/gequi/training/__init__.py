"""Training: a network learns from arrays, over lightning's engine.

`fit()` trains in place and returns a history; `evaluate()` measures. The same seed gives the same weights to the bit
on the same machine with the same number of threads, from R and from Python; a run that is stopped and resumed ends with
the weights of an unbroken one.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from ..arrays import check_choice, check_dtype, check_integer, check_number
from ..errors import InputError, ShapeError, nearest, need_packages
from ..networks import EquivariantNetwork, check_model, predict
from ..saving import check_path, check_saveable, shown
from ._augment import Augmentation
from ._checkpoints import read_checkpoint, resume
from ._data import Examples, Made, check_inputs, check_targets, open_array, split
from ._jobs import command_lines, empty_folder, read_result, run_here, write_job
from ._run import Run, measure
from ._settings import SETTINGS, Settings, check_loss, check_settings, fingerprint
from ._tasks import Task, check_classes, find_task, set_class_weights


def fit(
    network: torch.nn.Module,
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
    precision: str | None = None,
    device: str = "auto",
    seed: int | None = None,
    checkpoint: Any = None,
    patience: int | None = None,
    devices: int = 1,
    nodes: int = 1,
    batches: int | None = None,
    progress: Callable[[dict[str, Any]], Any] | None = None,
) -> list[dict[str, Any]]:
    """Trains a network, in place.

    Args:
        network: from `equivariant_network()`, or any torch module that maps a batch to a batch.
        x: inputs (batch, channel, row, column), (batch, channel, depth, row, column) or (batch, channel); or the path
            of a .npy file of them, which is read a batch at a time; or a function that takes the number of a batch,
            from 0, and returns its `(x, y)`.
        y: targets. Classes 0, 1, ... of images (batch) or of pixels (batch, row, column), where -1 is a pixel that
            counts for nothing; or numbers of the shape of the network's output; or the path of a .npy file.
        loss: "cross_entropy", "binary_cross_entropy" (0 and 1, outputs are logits), "mse", "mae", "huber", or a
            function of output and target. None is cross_entropy for targets of an integer type, else mse.
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
        precision: None for the network's own type, or "bfloat16" for mixed precision.
        device: "cpu", "cuda", or "auto".
        seed: of the order of examples, augmentation and dropout. None draws one.
        checkpoint: a file that keeps the state after every epoch. If it exists, the run goes on from it.
        patience: stop after so many epochs without a better validation loss (without validation: loss), and go back
            to the best weights.
        devices: processes on this machine; each takes a part of every batch.
        nodes: machines; see `prepare_job()`.
        batches: batches in an epoch, where `x` is a function.
        progress: a function that is called with a dict about ten times a second; the run stops where it returns False.

    Returns:
        the history, a dict an epoch: `epoch`, `loss` and, for classes, `accuracy` as training went; `val_loss` and
        further `val_` metrics as in `evaluate()`; `learning_rate`, `seconds`, and `stopped`: "" or, in the last row,
        "interrupt" or "patience".

    Raises:
        ShapeError: inputs or targets that do not fit the network.
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
    options = {
        "x": x, "y": y, "loss": loss, "epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate,
        "optimizer": optimizer, "schedule": schedule, "validation": validation, "augment": augment,
        "class_weights": class_weights, "precision": precision, "device": device, "checkpoint": checkpoint,
        "patience": patience, "devices": devices, "nodes": nodes, "batches": batches,
    }  # fmt: skip
    return _fit(network, **options, seed=seed, progress=progress, alone=True)


def _fit(
    network: torch.nn.Module,
    x: Any,
    y: Any,
    loss: Any,
    seed: int | None,
    validation: Any,
    class_weights: Any,
    checkpoint: Any,
    progress: Callable[[dict[str, Any]], Any] | None,
    alone: bool = False,
    **options: Any,
) -> list[dict[str, Any]]:
    """`fit()` in this process: all of it, or, of several processes, this one's part."""
    check_model(network)
    settings = check_settings(seed, **options)
    loss = check_loss(loss)
    if progress is not None and not callable(progress):
        raise InputError(f"`progress` must be a function; got {progress!r:.80}.", "progress")
    path = None if checkpoint is None else check_path(checkpoint, "checkpoint")
    found = None if path is None else read_checkpoint(path)
    if path is not None:
        check_saveable(network)
    if found is not None and seed is None:
        settings.seed = found[0]["training"]["identity"]["seed"]
    need_lightning()
    examples, held_out, task, data = _prepare(network, x, y, loss, validation, class_weights, settings)
    augmentation = None
    if settings.augment is not None:
        augmentation = Augmentation(settings.augment, network, task, examples.axes)
    identity = _identity(network, settings, task, class_weights, data)
    run = Run(network, task, examples, held_out, settings, augmentation, progress, path, identity)
    if path is not None and found is not None:
        resume(run, path, found)
    if alone and settings.nodes > 1:
        raise InputError(
            "`nodes` > 1 needs a launcher on each machine: write the run down with prepare_job(), and start it there "
            "with torchrun or srun.",
            "nodes",
        )
    if alone and settings.devices > 1:
        given = {"x": x, "y": y, "loss": loss, "validation": validation, "class_weights": class_weights}
        plain = {**given, **options, "checkpoint": checkpoint, "seed": settings.seed}
        return run_here(network, plain, settings.devices, progress)
    from ._engine import train

    return train(run)


def evaluate(
    network: torch.nn.Module,
    x: Any,
    y: Any,
    loss: str | Callable[..., torch.Tensor] | None = None,
    batch_size: int = 64,
) -> dict[str, float]:
    """How well a network does on examples with known targets.

    Args:
        network: from `equivariant_network()`, or any torch module.
        x, y, loss: as in `fit()`.
        batch_size: how many go through at once.

    Returns:
        a dict: `loss`, the mean; for classes of images `accuracy` and `balanced_accuracy` (the mean over the classes);
        for classes of pixels `accuracy` and `mean_iou`; for binary targets `accuracy`; for numbers and fields `rmse`,
        `mae` and `r_squared`.

    Raises:
        ShapeError, InputError: inputs or targets that do not fit the network.
        SetupError: torchmetrics is not installed.

    Source:
        torchmetrics, for the metrics.

    Example:
        >>> import gequi
        >>> net = gequi.equivariant_network(gequi.gspace("rot2dOnR2", N=4), "trivial", [{"layer": "relu"}])
        >>> x = np.array([[[[1.0, 3.0]]]])
        >>> evaluate(net, x, x + 2)["mae"]
        2.0
    """
    check_model(network)
    need_lightning()
    size = check_integer(batch_size, "batch_size", minimum=1)
    examples, task = _examples(network, open_array(x, "x"), open_array(y, "y"), check_loss(loss), ("x", "y"))
    return measure(network, examples, task, size)


def prepare_job(
    folder: Any, network: torch.nn.Module, x: Any, y: Any, about: Mapping[str, Any] | None = None, **options: Any
) -> dict[str, str]:
    """Writes a training run down, for several machines that see the same folder.

    Args:
        folder: where to; `job.json`, the model and the data, or the paths of their files.
        network, x, y: as in `fit()`.
        about: plain data that is kept with the job.
        **options: as in `fit()`; `devices` are the processes on each of `nodes` machines.

    Returns:
        a dict of command lines that do the run: `torchrun`, once on each machine, and `srun`, once in a batch script of
        SLURM. Then `collect_job()` brings the weights back.

    Raises:
        InputError: as `fit()`, before anything is written; a folder that is not empty.

    Example:
        >>> import gequi, tempfile
        >>> net = gequi.equivariant_network(gequi.gspace("rot2dOnR2", N=4), "trivial", seed=1, layers=[
        ...     {"layer": "conv", "fields": {"trivial": 1}, "kernel_size": 3, "padding": 1}])
        >>> x = np.ones((4, 1, 5, 5))
        >>> lines = prepare_job(tempfile.mkdtemp(), net, x, x, nodes=2, devices=2)
        >>> lines["srun"].split(" /")[0]
        'srun --nodes 2 --ntasks-per-node 2 python -m gequi.training'
    """
    place = empty_folder(folder)
    names = inspect.signature(fit).parameters
    unknown = [name for name in options if name not in names or name == "progress"]
    if unknown:
        raise InputError(f"`{unknown[0]}` is no option of a job.{nearest(unknown[0], names)}", unknown[0])
    given = {name: each.default for name, each in names.items() if name not in ("network", "progress")}
    given.update({"x": x, "y": y, **options})
    seed = given.pop("seed")
    settings = check_settings(seed, **{name: given[name] for name in SETTINGS})
    _prepare(network, x, y, check_loss(given["loss"]), given["validation"], given["class_weights"], settings)
    write_job(place, network, {**given, "seed": settings.seed, "about": dict(about or {})})
    return command_lines(place, "gequi.training", settings.nodes, settings.devices)


def collect_job(folder: Any, network: torch.nn.Module) -> list[dict[str, Any]]:
    """Fetches what a job has learned, when it is done.

    Args:
        folder: of the job.
        network: the one that `prepare_job()` was given; the weights go into it, as `fit()` leaves them there.

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
        raise InputError(f"`folder`: {shown(folder)} holds no job that is done.", "folder")
    return read_result(place, network)


def predict_classes(network: torch.nn.Module, x: Any, type: str = "prob", batch_size: int = 64) -> np.ndarray:
    """What a network that was trained on classes says of images or pixels.

    Args:
        network: from `equivariant_network()`, or any torch module.
        x: as in `predict()`.
        type: "prob", the probability of each class, or "class", the number of the most probable one, from 0.
        batch_size: how many go through at once.

    Returns:
        "prob": (batch, class) for images, (batch, class, row, column) for pixels; "class": without the class's axis.

    Source:
        softmax, whose logarithm the loss "cross_entropy" takes.
    """
    kind = check_choice(type, "type", ("prob", "class"))
    return classes_of(predict(network, x, batch_size=batch_size), kind)


def classes_of(output: np.ndarray, type: str) -> np.ndarray:
    """Probabilities ("prob") or the most probable class ("class") of a network's output (batch, class, ...)."""
    logits = torch.from_numpy(output)
    if logits[0, 0].numel() == 1:
        logits = logits.flatten(1)
    return (logits.softmax(1) if type == "prob" else logits.argmax(1)).numpy()


def need_lightning() -> None:
    """Refuses to go on without what training needs."""
    need_packages(("lightning", "torchmetrics"), "training", "train")


# ---- what fit() is given --------------------------------------------------------------------------------


def _prepare(
    network: torch.nn.Module, x: Any, y: Any, loss: Any, validation: Any, class_weights: Any, settings: Settings
) -> tuple[Examples | Made, Examples | None, Task, str]:
    """Examples to learn from and to validate with, the task, and a fingerprint of the data."""
    x, y = open_array(x, "x"), open_array(y, "y")
    fraction = None
    if validation is not None and not isinstance(validation, tuple | list):
        fraction = check_number(validation, "validation", minimum=0, maximum=1)
    examples: Examples | Made
    arrays: list[np.ndarray] = []
    if callable(x) and not isinstance(x, np.ndarray):
        if y is not None or fraction is not None:
            raise InputError(
                "where `x` is a function it makes the targets too, and `validation` must be a pair (x, y): leave out "
                "`y`.",
                "y" if y is not None else "validation",
            )
        if settings.batches is None:
            raise InputError("`batches`, the number of batches in an epoch, is missing: `x` is a function.", "batches")
        examples, task = _made(network, x, loss, settings.batches)
    else:
        if settings.batches is not None:
            raise InputError("`batches` is for an `x` that is a function; leave it out.", "batches")
        examples, task = _examples(network, x, y, loss, ("x", "y"))
        arrays = [examples.x, examples.y]
    set_class_weights(task, class_weights, arrays[1] if arrays else None)
    held_out = None
    if fraction is not None:
        assert isinstance(examples, Examples)
        examples, held_out = split(examples, fraction, settings.seed)
    elif validation is not None:
        if len(validation) != 2:
            raise InputError(f"`validation` must be a fraction or a pair (x, y); got {len(validation)} things.", "validation")
        x, y = (open_array(each, "validation") for each in validation)
        held_out, other = _examples(network, x, y, task.loss, ("validation$x", "validation$y"))
        if other.name != task.name:
            raise InputError(f"`validation` is for {other.name}, the examples for {task.name}.", "validation")
    return examples, held_out, task, fingerprint(*arrays)


def _examples(network: Any, x: Any, y: Any, loss: Any, names: tuple[str, str]) -> tuple[Examples, Task]:
    x = check_inputs(x, network, names[0])
    y = check_targets(y, len(x), names[1])
    task, y = find_task(loss, y, _output_shape(network, x))
    return Examples(x, y, _dtype(network), _classes(task)), task


def _made(network: Any, make: Callable[[int], Any], loss: Any, batches: int) -> tuple[Made, Task]:
    def pair(value: Any) -> tuple[np.ndarray, np.ndarray]:
        if not isinstance(value, tuple | list) or len(value) != 2:
            raise InputError(f"`x`, a function, must return a pair (x, y) for a batch; got {value!r:.60}.", "x")
        x = check_inputs(value[0], network, "x(batch)$x")
        return x, check_targets(value[1], len(x), "x(batch)$y")

    x, y = pair(make(0))
    task, _ = find_task(loss, y, _output_shape(network, x))

    def check(value: Any) -> tuple[np.ndarray, np.ndarray]:
        x, y = pair(value)
        if y.shape[1:] != task.target and y.ndim > 1:
            raise ShapeError(f"`x(batch)$y` must have the shape {('batch', *task.target)} in each batch; got {y.shape}.", "x")
        if task.loss == "cross_entropy":
            check_classes(y, -1 if task.target else 0, task.classes)
        return x, y.reshape(len(y), *task.target)

    return Made(make, batches, check, _dtype(network), _classes(task), x.ndim - 2), task


def _output_shape(network: Any, x: np.ndarray) -> tuple[int, ...]:
    """The shape of the output for one example; errors of shapes come before any work."""
    if isinstance(network, EquivariantNetwork):
        network.warn_if_inexact(x.shape[2:], once=True)
    return predict(network, x[:1]).shape[1:]


def _dtype(network: torch.nn.Module) -> torch.dtype:
    if isinstance(network, EquivariantNetwork):
        return network.dtype
    return check_dtype(next((p.dtype for p in network.parameters()), torch.get_default_dtype()), "network")


def _classes(task: Task) -> int | None:
    return task.classes if task.loss == "cross_entropy" else None


def _identity(network: Any, settings: Settings, task: Task, class_weights: Any, data: str) -> dict[str, Any]:
    """What makes a run that run and no other: a checkpoint is resumed only where all of it agrees."""
    same = {key: value for key, value in settings.plain().items() if key not in ("device", "devices", "nodes")}
    if settings.schedule == "constant":
        same.pop("epochs")  # more epochs than planned: the first ones are the same
    return {
        **same,
        "loss": task.loss if isinstance(task.loss, str) else getattr(task.loss, "__name__", "function"),
        "class_weights": None if task.class_weights is None else task.class_weights.tolist(),
        "data": data,
        "recipe": json.loads(json.dumps(getattr(network, "recipe", None))),
    }


__all__ = ["collect_job", "evaluate", "fit", "predict_classes", "prepare_job"]

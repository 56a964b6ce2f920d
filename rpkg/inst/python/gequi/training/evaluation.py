"""Metrics of a model on examples with known targets, and its predictions of classes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ..arrays import check_choice, check_integer
from ..jobs import Part
from ..networks import check_model, check_output, evaluating, predict
from ._data import Examples, open_array
from ._prepare import examples_of, need_lightning
from ._tasks import Task
from .options import check_loss


def evaluate(
    model: torch.nn.Module,
    x: Any,
    y: Any,
    loss: str | Callable[..., torch.Tensor] | None = None,
    batch_size: int = 64,
    ignore: int | None = None,
) -> dict[str, float]:
    """Measures a model on examples with known targets.

    Args:
        model: from `equivariant_network()`, or any torch module.
        x, y, loss, ignore: as in `fit()`.
        batch_size: how many go through at once.

    Returns:
        a dict: `loss`, the mean; for classes of images `accuracy` and `balanced_accuracy` (the mean over the classes);
        for classes of pixels `accuracy` and `mean_iou`; for binary targets `accuracy`; for numbers and fields `rmse`,
        `mae` and `r_squared`.

    Raises:
        ShapeError, InputError: inputs or targets that do not fit the model.
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
    check_model(model, "model")
    need_lightning()
    size = check_integer(batch_size, "batch_size", minimum=1)
    left_out = None if ignore is None else check_integer(ignore, "ignore")
    pair = open_array(x, "x"), open_array(y, "y")
    examples, task = examples_of(model, *pair, check_loss(loss), ("x", "y"), left_out)
    found = measure(model, examples, task, size)
    check_output(np.asarray(found["loss"], np.dtype(str(examples.dtype).removeprefix("torch."))), model)
    return found


def predict_classes(model: torch.nn.Module, x: Any, type: str = "prob", batch_size: int = 64) -> np.ndarray:
    """Predicts the classes of images or pixels with a model that was trained on them.

    Args:
        model: from `equivariant_network()`, or any torch module.
        x: as in `predict()`.
        type: "prob", the probability of each class, or "class", the number of the most probable one, from 0.
        batch_size: how many go through at once.

    Returns:
        "prob": (batch, class) for images, (batch, class, row, column) for pixels; "class": without the class's axis.

    Source:
        softmax, whose logarithm the loss "cross_entropy" takes.
    """
    kind = check_choice(type, "type", ("prob", "class"))
    return classes_of(predict(model, x, batch_size=batch_size), kind)


def classes_of(output: np.ndarray, type: str) -> np.ndarray:
    """Probabilities ("prob") or the most probable class ("class") of a model's output (batch, class, ...)."""
    logits = torch.from_numpy(output)
    if logits[0, 0].numel() == 1:
        logits = logits.flatten(1)
    return (logits.softmax(1) if type == "prob" else logits.argmax(1)).numpy()


def measure(
    model: torch.nn.Module, examples: Examples, task: Task, batch_size: int, part: Part | None = None
) -> dict[str, float]:
    """The mean loss and the task's metrics over examples, in evaluation mode.

    Where `part` is one of several, each process takes its part of the examples, and all get the measures of all: losses
    are summed with their weights, and the metrics' counts and sums are added up before the metrics are made of them.
    """
    part = part or Part()
    own = part.slice(np.arange(examples.count))  # none, where there are more processes than examples
    size = -(-batch_size // part.processes)
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    metrics = {name: metric.to(device) for name, metric in task.metrics(part.processes > 1).items()}
    loss = weight = 0.0
    with evaluating(model), torch.no_grad():
        for start in range(0, len(own), size):
            x, y = (each.to(device) for each in examples.take(own[start : start + size]))
            output = model(x)
            total, counted = task.measured(output, y)
            loss, weight = loss + float(total), weight + float(counted)
            for metric in metrics.values():
                metric.update(*task.for_metrics(output, y))
    loss, weight = part.total([loss, weight], device)
    found = {"loss": loss / max(weight, 1e-30)}
    for name, metric in metrics.items():
        if name != "r_squared" or examples.count * max(1, math.prod(task.target)) > 1:
            found[name] = float(metric.compute())
    return found

"""Metrics of a model on examples with known targets, and prediction of classes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from .._progress import Progress, check_progress, counted
from ..arrays import as_numpy, check_choice, check_integer, opened
from ..errors import InputError
from ..jobs import Part
from ..networks import batch_size_for, check_model, check_output, predict, predicting
from ._data import Examples, open_array, targets_of
from ._prepare import examples_of, need_lightning
from ._targets import IGNORED
from ._tasks import Task
from .options import check_loss


def evaluate(
    model: torch.nn.Module,
    x: Any,
    y: Any = None,
    loss: str | Callable[..., torch.Tensor] | None = None,
    batch_size: int | None = None,
    ignore: int | None = None,
    by: str = "all",
    progress: Progress | None = None,
) -> Any:
    """Evaluate a model on examples with known targets.

    Args:
        model: torch.nn.Module: a network, created by `equivariant_network()`, or any torch module.
        x, y, loss, ignore: as in `fit()`.
        batch_size: int, optional: the number of examples processed at once. None chooses it as `predict()` does.
        by: str: "all" for metrics over all examples. For classes also "class" for metrics per class and "confusion" for
            the confusion matrix.
        progress: callable, optional: as in `predict()`.

    Returns:
        The type depends on `by`.

        * "all": dict with the mean `loss` and, for classes of images, `accuracy` and `balanced_accuracy` (the mean of
          the recall over the classes); for classes of pixels, `accuracy` and `mean_iou`; for binary targets,
          `accuracy`; for numeric targets, `rmse`, `mae` and `r_squared`.
        * "class": list of dict, one per class: `class` (from 0), `count` (number of targets), `precision`, `recall`,
          `f1` and `iou`. The metrics are NaN if the class occurs neither in the targets nor in the predictions.
        * "confusion": integer array (true class, predicted class) of counts.

    Raises:
        ShapeError, InputError: if inputs or targets do not match the model, or if metrics per class are requested for
            targets that are not classes.
        SetupError: if lightning or torchmetrics is not installed.

    Source:
        Detlefsen et al. (2022), TorchMetrics, Journal of Open Source Software 7(70), 4101.

    Example:
        >>> import gequi
        >>> net = gequi.equivariant_network(gequi.gspace("rot2dOnR2", N=4), "trivial", [{"layer": "relu"}])
        >>> x = np.array([[[[1.0, 3.0]]]])
        >>> evaluate(net, x, x + 2)["mae"]
        2.0
    """
    check_model(model, "model")
    need_lightning()
    size = None if batch_size is None else check_integer(batch_size, "batch_size", minimum=1)
    left_out = None if ignore is None else check_integer(ignore, "ignore")
    x = open_array(opened(x), "x")
    y = open_array(targets_of(x, y), "y")
    size = size or batch_size_for(model, np.shape(x))
    kind = check_choice(by, "by", ("all", "class", "confusion"))
    examples, task = examples_of(model, x, y, check_loss(loss), ("x", "y"), left_out)
    tell = counted(check_progress(progress), examples.count)
    if kind != "all":
        counts = _confusion(model, examples, task, size, tell)
        return counts if kind == "confusion" else _by_class(counts)
    found = measure(model, examples, task, size, tell=tell)
    check_output(np.asarray(found["loss"], np.dtype(str(examples.dtype).removeprefix("torch."))), model)
    return found


def predict_classes(
    model: torch.nn.Module,
    x: Any,
    type: str = "prob",
    batch_size: int | None = None,
    precision: str | None = None,
    progress: Progress | None = None,
) -> np.ndarray:
    """Predict the classes of images or pixels with a model that was trained on classes.

    Args:
        model: torch.nn.Module: a network, created by `equivariant_network()`, or any torch module.
        x: array: the inputs, as in `predict()`.
        type: str: "prob" for the probability of each class, or "class" for the number of the most probable class, from
            0.
        batch_size: int, optional: the number of examples processed at once. None chooses it as `predict()` does.
        precision, progress: as in `predict()`.

    Returns:
        array: for "prob", (batch, class) for images and (batch, class, row, column) for pixels. For "class", the same
        without the class axis.

    Source:
        The softmax function, of which the "cross_entropy" loss takes the logarithm.
    """
    kind = check_choice(type, "type", ("prob", "class"))
    return classes_of(predict(model, x, batch_size=batch_size, precision=precision, progress=progress), kind)


def classes_of(output: np.ndarray, type: str) -> np.ndarray:
    """Compute probabilities ("prob") or the most probable class ("class") from the output (batch, class, ...)."""
    logits = torch.from_numpy(output)
    if logits[0, 0].numel() == 1:
        logits = logits.flatten(1)
    return (logits.softmax(1) if type == "prob" else logits.argmax(1)).numpy()


def measure(
    model: torch.nn.Module,
    examples: Examples,
    task: Task,
    batch_size: int,
    part: Part | None = None,
    tell: Callable[[int], None] | None = None,
) -> dict[str, float]:
    """Compute the mean loss and the metrics of the task over examples, in evaluation mode.

    If `part` is one of several processes, each process evaluates its part of the examples and all return the metrics
    over all examples: weighted losses are summed, and the counts and sums of the metrics are added before the metrics
    are computed.
    """
    part = part or Part()
    own = part.slice(np.arange(examples.count))  # empty if there are more processes than examples
    size = -(-batch_size // part.processes)
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    metrics = {name: metric.to(device) for name, metric in task.metrics(part.processes > 1).items()}
    loss = weight = 0.0
    for output, y in _outputs(model, examples, own, size, tell):
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


def _outputs(
    model: torch.nn.Module,
    examples: Examples,
    indexes: np.ndarray,
    size: int,
    tell: Callable[[int], None] | None = None,
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield the outputs and targets of examples, batch by batch, in evaluation mode."""
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    with predicting(model) as run:
        for start in range(0, len(indexes), size):
            x, y = (each.to(device) for each in examples.take(indexes[start : start + size]))
            yield run(x), y
            if tell is not None:
                tell(min(start + size, len(indexes)))


def _confusion(
    model: torch.nn.Module, examples: Examples, task: Task, size: int, tell: Callable[[int], None]
) -> np.ndarray:
    """Compute the confusion matrix: counts (true class, predicted class)."""
    from torchmetrics.classification import MulticlassConfusionMatrix

    if task.loss != "cross_entropy":
        raise InputError("`{argument}` = {all!r} is required for targets that are not classes.", "by", all="all")
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    counted = MulticlassConfusionMatrix(num_classes=task.classes, ignore_index=IGNORED, validate_args=False).to(device)
    for output, y in _outputs(model, examples, np.arange(examples.count), size, tell):
        counted.update(*task.for_metrics(output, y))
    return as_numpy(counted.compute())


def _by_class(counts: np.ndarray) -> list[dict[str, Any]]:
    """Compute the metrics of each class from the confusion matrix."""
    right, true, predicted = np.diag(counts), counts.sum(1), counts.sum(0)
    with np.errstate(invalid="ignore"):
        measures = {
            "precision": right / predicted, "recall": right / true, "f1": 2 * right / (true + predicted),
            "iou": right / (true + predicted - right),
        }  # fmt: skip
    return [
        {"class": number, "count": int(true[number]), **{name: float(each[number]) for name, each in measures.items()}}
        for number in range(len(counts))
    ]

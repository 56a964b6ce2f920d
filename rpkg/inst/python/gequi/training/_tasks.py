"""Tasks: what a network learns, which determines its loss and metrics.

classification: one class per image. Targets are whole numbers (batch,), outputs (batch, class).
segmentation: one class per pixel. Targets (batch, row, column), outputs (batch, class, row, column). Pixels whose
    target is -1, NaN or the option `ignore` do not contribute.
binary: yes or no for each output. Targets are 0 and 1, outputs are logits of the same shape.
regression: numbers or fields. Targets have the shape of the outputs.
own: a loss that is a function. Targets have any shape, and there are no metrics.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as functional

from ..arrays import as_array, check_number
from ..errors import InputError, ShapeError
from ._targets import IGNORED, are_classes, check_classes, check_no_image_left_out, class_numbers, finite

LOSSES = ("cross_entropy", "binary_cross_entropy", "mse", "mae", "huber")

_ELEMENTWISE: dict[str, Callable[..., torch.Tensor]] = {
    "binary_cross_entropy": functional.binary_cross_entropy_with_logits,
    "mse": functional.mse_loss,
    "mae": functional.l1_loss,
    "huber": functional.huber_loss,
}


class Task:
    """A loss, and the measurement of outputs against targets."""

    def __init__(
        self,
        loss: str | Callable[..., torch.Tensor],
        output: tuple[int, ...],
        target: tuple[int, ...],
        ignore: int | None = None,
    ) -> None:
        """Create a task. `output` and `target` are the shapes of one example; `ignore` is a class to exclude."""
        self.loss = loss
        self.output, self.target, self.ignore = output, target, ignore
        if loss == "cross_entropy":
            self.name = "segmentation" if len(target) > 0 else "classification"
            self.classes = output[0]
        else:
            self.name = "binary" if loss == "binary_cross_entropy" else "regression" if output == target else "own"
        self.class_weights: torch.Tensor | None = None

    def encode(self, y: np.ndarray) -> np.ndarray:
        """Convert targets to the form of the loss: classes are checked, and ignored targets become -1."""
        if self.loss != "cross_entropy":
            return y
        y = class_numbers(y, self.ignore)
        if not self.target:
            check_no_image_left_out(y)
        check_classes(y, IGNORED if self.target else 0, self.classes)
        return y

    def measured(self, output: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the sum of the losses of a batch and the weight by which it is divided for the mean."""
        output = output.reshape(len(output), *self.output)
        if callable(self.loss):
            count = torch.tensor(float(len(output)), device=output.device)
            return self.loss(output, target) * count, count
        if self.loss == "cross_entropy":
            weights = None if self.class_weights is None else self.class_weights.to(output)
            total = functional.cross_entropy(output, target, weight=weights, ignore_index=IGNORED, reduction="sum")
            counted = target[target != IGNORED] if self.target else target  # only pixels may be ignored
            weight = counted.numel() if weights is None else weights[counted].sum()
            return total, torch.as_tensor(weight, dtype=total.dtype, device=total.device).clamp(min=1e-30)
        total = _ELEMENTWISE[self.loss](output, target, reduction="sum")
        return total, torch.tensor(float(target.numel()), dtype=total.dtype, device=total.device)

    def hits(self, output: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, int] | None:
        """Return the number of correct classes in a batch and the number of classes; None if there are no classes."""
        if self.loss != "cross_entropy":
            return None
        chosen = output.detach().reshape(len(output), *self.output).argmax(1)
        if not self.target:
            return (chosen == target).sum(), len(target)
        valid = target != IGNORED
        return ((chosen == target) & valid).sum(), int(valid.sum())

    def metrics(self, shared: bool = False) -> dict[str, Any]:
        """Return the torchmetrics metrics of the task. `shared` combines the examples of all processes."""
        # Imported here because torchmetrics takes seconds to import.
        from torchmetrics import MeanAbsoluteError, MeanSquaredError, R2Score
        from torchmetrics.classification import BinaryAccuracy, MulticlassAccuracy, MulticlassJaccardIndex

        if self.name == "own":
            return {}
        sync: dict[str, Any] = {"sync_on_compute": shared}
        if self.name == "binary":
            return {"accuracy": BinaryAccuracy(**sync)}
        if self.name == "regression":
            return {
                "rmse": MeanSquaredError(squared=False, **sync),
                "mae": MeanAbsoluteError(**sync),
                "r_squared": R2Score(**sync),
            }
        options: dict[str, Any] = {"num_classes": self.classes, "ignore_index": IGNORED, "validate_args": False, **sync}
        found: dict[str, Any] = {"accuracy": MulticlassAccuracy(average="micro", **options)}
        if self.name == "segmentation":
            return {**found, "mean_iou": MulticlassJaccardIndex(**options)}
        return {**found, "balanced_accuracy": MulticlassAccuracy(average="macro", **options)}

    def for_metrics(self, output: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Convert a batch to the form of the metrics."""
        output = output.reshape(len(output), *self.output)
        if self.name == "regression":
            return output.reshape(-1), target.reshape(-1)
        return (output.sigmoid() if self.name == "binary" else output.argmax(1)), target


def find_task(
    loss: Any, y: np.ndarray, output_shape: tuple[int, ...], ignore: int | None = None
) -> tuple[Task, np.ndarray]:
    """Determine the task from the targets, and return the targets in the shape that is compared with the outputs.

    Args:
        loss: str or callable, optional: the loss. None is cross_entropy for classes, as decided by `are_classes()`,
            otherwise mse.
        y: array: the targets, which have been checked to be numeric. Targets that are classes may contain NaN.
        output_shape: tuple of int: the shape of the output of the network for one example.
        ignore: int, optional: the class of pixels that do not contribute.
    """
    if are_classes(y, loss, output_shape):
        return _classes_task(y, output_shape, ignore)
    if ignore is not None:
        raise InputError("`{argument}` is for targets that are classes.", "ignore")
    loss, y = loss or "mse", finite(y)
    size = int(np.prod(output_shape))
    target = (int(size),) if y.ndim == 1 and size == 1 else y.shape[1:]
    squeezed = tuple(n for n in output_shape[1:] if n != 1)
    fits = target == output_shape or (not squeezed and target == output_shape[:1])
    if not fits and callable(loss):
        return Task(loss, output_shape, y.shape[1:]), y
    if not fits:
        raise ShapeError(
            "`{argument}` must have the shape of the network's output, (batch, {sizes}); got {shape}.",
            "y", sizes=_sizes(output_shape), shape=y.shape,
        )  # fmt: skip
    if loss == "binary_cross_entropy" and isinstance(y, np.ndarray) and not np.isin(np.asarray(y), (0, 1)).all():
        raise InputError("`{argument}` must hold 0 and 1 only for the loss {loss!r}.", "y", loss=loss)
    return Task(loss, target, target), y.reshape(len(y), *target) if y.ndim == 1 else y


def _sizes(shape: tuple[int, ...]) -> str:
    """Format the sizes of axes for a message."""
    return ", ".join(map(str, shape))


def _classes_task(y: np.ndarray, output_shape: tuple[int, ...], ignore: int | None) -> tuple[Task, np.ndarray]:
    target = y.shape[1:]
    if not target and any(n != 1 for n in output_shape[1:]):
        raise ShapeError(
            "`{argument}` has one class per image, but the network predicts one for each of {shape} positions; end it "
            "with global_avg_pool, or give a class for each pixel.",
            "y", shape=output_shape[1:],
        )  # fmt: skip
    if target and target != output_shape[1:]:
        raise ShapeError(
            "`{argument}` must have a class for each pixel of the network's output, (batch, {sizes}), or one for each "
            "image, (batch); got {shape}.",
            "y", sizes=_sizes(output_shape[1:]), shape=y.shape,
        )  # fmt: skip
    classes = output_shape[0]
    if classes < 2:
        raise ShapeError(
            "the network has one output, so it cannot distinguish classes: give it one output per class, or use the "
            "loss {loss!r} with targets 0 and 1.",
            "loss", loss="binary_cross_entropy",
        )  # fmt: skip
    task = Task("cross_entropy", (classes, *target), target, ignore)
    return task, y if isinstance(y, np.memmap) else task.encode(y)


def set_class_weights(task: Task, given: Any, y: np.ndarray | None) -> None:
    """Set the weights of classes in the loss: numbers, or "balanced" for the inverse frequency of each class."""
    if given is None:
        return
    if task.loss != "cross_entropy":
        raise InputError("`{argument}` needs the loss {loss!r}.", "class_weights", loss="cross_entropy")
    if isinstance(given, str):
        if given != "balanced":
            raise InputError(
                "`{argument}` must be numbers or {balanced!r}; got {given!r}.",
                "class_weights", balanced="balanced", given=given,
            )  # fmt: skip
        if y is None:
            raise InputError(
                "`{argument}` cannot be {balanced!r} where `x` is a function: give numbers.",
                "class_weights", balanced="balanced",
            )  # fmt: skip
        flat = task.encode(np.asarray(y)).astype(np.int64).ravel()
        counts = np.bincount(flat[flat >= 0], minlength=task.classes)
        values = np.where(counts > 0, counts.sum() / (task.classes * np.maximum(counts, 1)), 0.0)
    else:
        values = as_array(given, "class_weights", ndim=1)
        if len(values) != task.classes:
            raise ShapeError(
                "`{argument}` must have {classes} numbers, one per class; got {count}.",
                "class_weights", classes=task.classes, count=len(values),
            )  # fmt: skip
        for value in values:
            check_number(value, "class_weights", minimum=0)
    task.class_weights = torch.tensor(np.asarray(values, dtype=np.float64))

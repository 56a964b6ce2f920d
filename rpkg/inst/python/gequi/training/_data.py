"""Training examples: arrays, files that do not fit in memory, or a function that returns batches."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..arrays import LazyArray, as_array, own_tensor
from ..errors import InputError, ShapeError
from ..fields import AXES, check_features
from ..jobs import Part
from ..networks import EquivariantNetwork
from ._seeds import generator_for

# ---- what comes in --------------------------------------------------------------------------------------


def open_array(value: Any, argument: str) -> Any:
    """Open the path of a .npy file as a memory map. Arrays and functions are returned unchanged."""
    if not isinstance(value, str | os.PathLike):
        return value
    try:
        return np.load(Path(os.fspath(value)).expanduser(), mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(
            "`{argument}` must be an array or the path of a .npy file; {reason}.",
            argument,
            reason=str(error) if len(str(error)) < 300 else getattr(error, "strerror", None) or str(error)[:300],
        ) from None


def targets_of(x: Any, y: Any) -> Any:
    """Return `y`, or the targets of `x` if `y` is None and `x` provides targets."""
    return x.targets if y is None and isinstance(x, LazyArray) else y


def check_inputs(x: Any, model: torch.nn.Module, argument: str = "x") -> Any:
    """Check the axes and channels of `x`. Only the first example of a memory map or of image files is read."""
    if isinstance(x, np.memmap | LazyArray):
        sample = x[:1]
        checked = check_features(sample, model.in_type, argument) if isinstance(model, EquivariantNetwork) else sample
        if checked.shape != sample.shape or x.dtype.kind not in "fiub":
            raise ShapeError(
                "`{argument}` must be a file of numbers {axes}; got shape {shape}.",
                argument,
                axes=AXES[2],
                shape=x.shape,
            )
        return x
    if isinstance(model, EquivariantNetwork):
        return check_features(x, model.in_type, argument)
    return as_array(x, argument, ndim=range(2, 6), axes=AXES[2])


def check_targets(y: Any, count: int, argument: str = "y") -> np.ndarray:
    """Return `y` as an array with one target per example."""
    if y is None:
        raise InputError("`{argument}` is missing.", argument)
    y = y if isinstance(y, np.memmap) else as_array(y, argument, flags=True, finite=False)
    if y.ndim == 0 or len(y) != count:
        raise ShapeError(
            "`{argument}` must have {count} targets, one per example; got shape {shape}.",
            argument, count=count, shape=y.shape,
        )  # fmt: skip
    return y


# ---- batches --------------------------------------------------------------------------------------------


class Examples:
    """Inputs and targets from which batches are taken. `chosen` restricts them to some of the examples."""

    def __init__(
        self,
        x: np.ndarray,
        y: np.ndarray,
        dtype: torch.dtype,
        encode: Callable[[np.ndarray], np.ndarray] | None,
        chosen: np.ndarray | None = None,
    ) -> None:
        """Store the examples. `encode` converts targets read from a file to classes; it is None for numeric targets."""
        self.x, self.y, self.dtype, self.encode = x, y, dtype, encode
        self.chosen = np.arange(len(x)) if chosen is None else chosen
        self.count = len(self.chosen)
        self.target_dtype = dtype if encode is None else torch.int64
        self._order: tuple[int, Any] = (-1, None)  # of the current epoch
        # Arrays in memory are converted to tensors once. Files are read batch by batch.
        self.held = None if isinstance(x, np.memmap | LazyArray) else own_tensor(x, dtype, argument="x")
        self.held_targets = None if isinstance(y, np.memmap) else own_tensor(y, self.target_dtype, argument="y")

    def subset(self, chosen: np.ndarray) -> Examples:
        """Return some of the examples, which share memory with the original."""
        part = object.__new__(Examples)
        part.__dict__.update(self.__dict__)
        part.chosen, part.count, part._order = self.chosen[chosen], len(chosen), (-1, None)
        return part

    @property
    def axes(self) -> int:
        """Return the number of spatial axes of the inputs."""
        return int(self.x.ndim) - 2

    def batches(self, batch_size: int) -> int:
        return -(-self.count // batch_size)

    def take(self, indexes: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the inputs and targets of some of the examples."""
        at = self.chosen[indexes]
        index = torch.from_numpy(at)
        x = own_tensor(as_array(self.x[at], "x"), self.dtype, argument="x") if self.held is None else self.held[index]
        if self.held_targets is not None:
            return x, self.held_targets[index]
        y = as_array(self.y[at], "y", finite=self.encode is None)
        return x, own_tensor(y if self.encode is None else self.encode(y), self.target_dtype, argument="y")

    def batch(self, seed: int, epoch: int, number: int, batch_size: int, part: Part) -> Any:
        """Return a batch of an epoch, in the order of this epoch. `part` selects the examples of this process."""
        if self._order[0] != epoch:
            self._order = epoch, torch.randperm(self.count, generator=generator_for(seed, "order", epoch)).numpy()
        indexes = self._order[1][number * batch_size : (number + 1) * batch_size]
        own, counts = part.of(indexes)
        return (*self.take(own), counts, len(indexes))


class Made:
    """Batches that a function returns: `make(i)` returns (x, y) of batch i of an epoch, from 0."""

    def __init__(
        self,
        make: Callable[[int], Any],
        batches: int,
        check: Callable[[Any], tuple[np.ndarray, np.ndarray]],
        dtype: torch.dtype,
        classes: bool,
        axes: int,
    ) -> None:
        self.make, self.made, self.check, self.axes = make, batches, check, axes
        self.dtype, self.target_dtype = dtype, torch.int64 if classes else dtype

    def batches(self, batch_size: int) -> int:
        return self.made

    def batch(self, seed: int, epoch: int, number: int, batch_size: int, part: Part) -> Any:
        x, y = self.check(self.make(number))
        own, counts = part.of(np.arange(len(x)))
        return (
            own_tensor(x[own], self.dtype, argument="x"),
            own_tensor(y[own], self.target_dtype, argument="y"),
            counts,
            len(x),
        )


def split(examples: Examples, fraction: float, seed: int) -> tuple[Examples, Examples]:
    """Split examples into training and validation examples, drawn with the seed."""
    order = torch.randperm(examples.count, generator=generator_for(seed, "validation")).numpy()
    held_out = max(1, round(fraction * examples.count))
    if held_out >= examples.count:
        raise InputError(
            "`{argument}` = {fraction:g} of {count} examples leaves none to learn from.",
            "validation", fraction=fraction, count=examples.count,
        )  # fmt: skip
    return examples.subset(np.sort(order[held_out:])), examples.subset(np.sort(order[:held_out]))

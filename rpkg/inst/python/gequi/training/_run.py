"""A run: the operations at each batch and epoch, independent of the training engine.

All random numbers of a batch are drawn with a seed of the batch, and the learning rate depends only on the batch
number. The state of a run is therefore the weights, the state of the optimizer, the history and the number of the next
batch. With this state, a resumed run is identical to an uninterrupted one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .._progress import Progress
from ..arrays import as_numpy
from ..errors import InputError
from ..jobs import Part, says_stop
from ..networks import get_weights, set_weights
from ._augment import Augmentation
from ._callbacks import Callbacks
from ._checkpoints import save_checkpoint
from ._optimizers import make_optimizer
from ._prepare import Prepared
from ._seeds import generator_for, seed_for, seed_layers
from .evaluation import measure
from .options import FitOptions

REPORT_SECONDS = 0.1  # between two calls of the progress function
CHECKPOINT_SECONDS = 300.0  # between two checkpoints within an epoch
_ASKED = (
    "interrupt",
    "callback",
)  # the network keeps its current state, and a resumed run ignores these reasons

Row = dict[str, Any]


class Run:
    """The training of a model, batch by batch."""

    def __init__(
        self,
        model: torch.nn.Module,
        prepared: Prepared,
        options: FitOptions,
        augmentation: Augmentation | None = None,
        progress: Progress | None = None,
        callbacks: Callbacks | None = None,
    ) -> None:
        self.model, self.options = model, options
        self.examples, self.validation, self.task = prepared.examples, prepared.validation, prepared.task
        self.identity, self.augmentation = prepared.identity, augmentation
        self.progress, self.callbacks = progress, callbacks or Callbacks()
        self.checkpoint = None if options.checkpoint is None else Path(options.checkpoint)
        self.batches = self.examples.batches(options.batch_size)
        self.steps = options.epochs * self.batches
        self.optimizer = make_optimizer(model, options.optimizer, options.learning_rate)
        self.part = Part()
        # The state, which checkpoints store.
        self.step = 0
        self.history: list[Row] = []
        self.sums = {"loss": 0.0, "weight": 0.0, "hits": 0.0, "classes": 0.0, "seconds": 0.0}
        self.best: dict[str, Any] = {"loss": math.inf, "epoch": 0, "weights": {}}
        self.stop = ""
        self._first = 0
        self._began = self._epoch_began = self._saved = time.monotonic()
        self._reported = -math.inf

    # ---- a batch ----------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start the clocks at the first batch or when a run is resumed."""
        self._first = self.step
        self._began = self._epoch_began = self._saved = time.monotonic()

    def batch(self, step: int) -> Any:
        """Return the batch of a step: inputs, targets, transformations, and whether the batch counts."""
        epoch, number = divmod(step, self.batches)
        size = self.options.batch_size
        x, y, counts, whole = self.examples.batch(self.options.seed, epoch, number, size, self.part)
        motions = None
        if self.augmentation is not None:
            # Drawn for the whole batch, so that several processes draw the same values as one process.
            drawn = self.augmentation.draw(whole, generator_for(self.options.seed, "augment", step))
            motions = self.part.slice(drawn) if counts else drawn[:1]
        return x, y, motions, counts

    def loss(self, batch: Any) -> torch.Tensor:
        """Compute the loss of a batch, which is minimized."""
        x, y, motions, counts = batch
        seed_layers(seed_for(self.options.seed, "layers", self.step, self.part.rank), x.device)  # for dropout
        if self.augmentation is not None:
            x, y = self.augmentation(x, y, motions)
        output = self.model(x)
        total, weight = self.task.measured(output, y)
        hits = self.task.hits(output, y)
        if not counts:
            total, weight, hits = total * 0, weight * 0, None
        seen = [float(total.detach()), float(weight.detach()), *((float(n) for n in hits) if hits else (0.0, 0.0))]
        if not math.isfinite(seen[0]):
            raise InputError(
                "training has diverged: in epoch {epoch}, batch {batch}, the loss is {loss}. Lower `{argument}` (it is "
                "{rate:g}), or look for targets out of scale.",
                "learning_rate", epoch=self.step // self.batches + 1, batch=self.step % self.batches + 1,
                loss=seen[0], rate=self.options.learning_rate,
            )  # fmt: skip
        seen = self.part.total(seen, total.device)
        for key, value in zip(("loss", "weight", "hits", "classes"), seen, strict=True):
            self.sums[key] += value
        return total * (self.part.processes / seen[1])

    def begin_batch(self) -> None:
        """Prepare an update of the weights: set the learning rate, and call callbacks if an epoch begins or resumes."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.options.learning_rate_at(self.step, self.steps)
        if self.step % self.batches == 0 or self.step == self._first:
            self._call("on_epoch_begin", {"epoch": self.step // self.batches + 1}, self.step % self.batches)

    def end_batch(self) -> None:
        """Finish an update of the weights: end of the epoch, callbacks, progress function and checkpoint."""
        self.step += 1
        if self.callbacks:
            self._call("on_batch_end", self._row((self.step - 1) // self.batches + 1))
        if self.step % self.batches == 0:
            self._check_weights()
            self.end_epoch()
            self._call("on_epoch_end", self.history[-1])
        self._report()
        due = time.monotonic() - self._saved > CHECKPOINT_SECONDS
        if self.checkpoint and not self.stop and (due or self.step % self.batches == 0):
            self.save()

    def _check_weights(self) -> None:
        if all(bool(torch.isfinite(weights).all()) for weights in self.model.parameters()):
            return
        raise InputError(
            "training has diverged: after epoch {epoch} some weights of the model are not finite. Lower `{argument}` "
            "(it is {rate:g}), and make the model anew.",
            "learning_rate", epoch=self.step // self.batches, rate=self.options.learning_rate,
        )  # fmt: skip

    def _info(self, row: Row, batch: int | None = None) -> dict[str, Any]:
        """Return the dict for progress functions and callbacks: metrics of the epoch and position in the run."""
        left = (time.monotonic() - self._began) / max(self.step - self._first, 1) * (self.steps - self.step)
        return {
            **row, "epochs": self.options.epochs, "batches": self.batches,
            "batch": (self.step - 1) % self.batches + 1 if batch is None else batch,
            "step": self.step, "steps": self.steps, "seconds_left": left,
        }  # fmt: skip

    def _call(self, event: str, row: Row, batch: int | None = None) -> None:
        try:
            goes_on = self.callbacks.call(event, lambda: self._info(row, batch))
        except KeyboardInterrupt:
            self.stop = self.stop or "interrupt"
            return
        if not goes_on:
            self.stop = self.stop or "callback"

    def _report(self) -> None:
        if self.progress is None or self.part.rank:
            return
        now = time.monotonic()
        ended = self.step % self.batches == 0
        if not ended and now - self._reported < REPORT_SECONDS:
            return
        self._reported = now
        row = self.history[-1] if ended else self._row((self.step - 1) // self.batches + 1)
        try:
            answer = self.progress(self._info(row))
        except KeyboardInterrupt:
            answer = False
        if says_stop(answer):
            self.stop = self.stop or "interrupt"

    # ---- an epoch ---------------------------------------------------------------------------------------

    def _row(self, epoch: int) -> Row:
        """Return the metrics of an epoch up to the current batch."""
        row: Row = {"epoch": epoch, "loss": self.sums["loss"] / max(self.sums["weight"], 1e-30)}
        if self.sums["classes"]:
            row["accuracy"] = self.sums["hits"] / self.sums["classes"]
        return row

    def end_epoch(self) -> None:
        epoch = -(-self.step // self.batches)
        row = self._row(epoch)
        if self.validation is not None:
            self.average_statistics()
            measured = measure(self.model, self.validation, self.task, self.options.batch_size, self.part)
            row.update({f"val_{name}": value for name, value in measured.items()})
        row["learning_rate"] = self.options.learning_rate_at(self.step - 1, self.steps)
        row["seconds"] = self.sums["seconds"] + time.monotonic() - self._epoch_began
        row["stopped"] = ""
        self.history.append(row)
        self.sums = dict.fromkeys(self.sums, 0.0)
        self._epoch_began = time.monotonic()
        if self.options.patience is not None:
            self._watch(row["val_loss" if "val_loss" in row else "loss"], epoch)

    def _watch(self, loss: float, epoch: int) -> None:
        if loss < self.best["loss"]:
            self.best = {"loss": loss, "epoch": epoch, "weights": get_weights(self.model)}
        elif epoch - self.best["epoch"] >= (self.options.patience or 0):
            self.stop = self.stop or "patience"

    def average_statistics(self) -> None:
        """Average the running statistics of batch normalization over the processes."""
        if self.part.processes == 1:
            return
        for name, buffer in self.model.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                torch.distributed.all_reduce(buffer)
                buffer /= self.part.processes

    def finish(self) -> list[Row]:
        """Return the history after the last batch or a stop. With `patience`, restore the best weights."""
        if self.stop in _ASKED and self.step % self.batches:
            partial = {**self._row(self.step // self.batches + 1), "stopped": ""}
            history = [*self.history, partial]
        else:
            history = [dict(row) for row in self.history]
        if self.checkpoint and self.stop:
            self.save()
        if history:
            history[-1] = {**history[-1], "stopped": self.stop}
        if self.best["weights"] and self.stop not in _ASKED:
            set_weights(self.model, self.best["weights"])
        return history

    # ---- checkpoints ------------------------------------------------------------------------------------

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return the state of the run as plain data and arrays."""
        arrays: dict[str, np.ndarray] = {}
        for index, memory in self.optimizer.state_dict()["state"].items():
            for key, value in memory.items():
                if value is not None:
                    arrays[f"optimizer/{index}/{key}"] = as_numpy(torch.as_tensor(value))
        arrays.update({f"best/{name}": value for name, value in self.best["weights"].items()})
        seconds = self.sums["seconds"] + (time.monotonic() - self._epoch_began if self.step % self.batches else 0.0)
        plain = {
            "step": self.step,
            "history": self.history,
            "sums": {**self.sums, "seconds": seconds},
            "best": {"loss": self.best["loss"] if self.best["weights"] else None, "epoch": self.best["epoch"]},
            "stop": self.stop if self.stop == "patience" else "",
        }
        return plain, arrays

    def restore(self, plain: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        """Restore a state. The weights of the model have been restored before."""
        self.step, self.history, self.sums = plain["step"], plain["history"], plain["sums"]
        self.stop = plain["stop"]
        memory: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in arrays.items():
            kind, _, rest = name.partition("/")
            if kind == "best":
                self.best["weights"][rest] = value
            elif kind == "optimizer":
                index, key = rest.split("/")
                memory.setdefault(int(index), {})[key] = torch.from_numpy(value.copy())
        if self.best["weights"]:
            self.best.update(plain["best"])
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": memory})

    def save(self) -> None:
        self._saved = time.monotonic()
        if self.part.rank == 0 and self.checkpoint is not None:
            plain, arrays = self.state()
            save_checkpoint(self.checkpoint, self.model, {**plain, "identity": self.identity}, arrays)

"""A run: what happens at each batch and each epoch, apart from the engine that turns it.

Everything random at a batch comes from a seed of that batch's own, and the learning rate from its number. So the
state of a run is the weights, the optimiser's memory, the history and the number of the next batch: no more has to be
kept for a resumed run to be the unbroken one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..arrays import as_numpy
from ..errors import InputError
from ..networks import evaluating, get_weights, set_weights
from ._augment import Augmentation
from ._data import Examples, Made, Part
from ._settings import Settings, generator_for, make_optimizer, seed_for, seed_layers
from ._tasks import Task

REPORT_SECONDS = 0.1  # between two calls of the progress function
CHECKPOINT_SECONDS = 300.0  # between two checkpoints within an epoch

Row = dict[str, Any]


class Run:
    """The training of a network, batch by batch."""

    def __init__(
        self,
        network: torch.nn.Module,
        task: Task,
        examples: Examples | Made,
        validation: Examples | None,
        settings: Settings,
        augmentation: Augmentation | None,
        progress: Callable[[Row], Any] | None,
        checkpoint: Path | None,
        identity: dict[str, Any],
    ) -> None:
        self.network, self.task = network, task
        self.examples, self.validation = examples, validation
        self.settings, self.augmentation = settings, augmentation
        self.progress, self.checkpoint, self.identity = progress, checkpoint, identity
        self.batches = examples.batches(settings.batch_size)
        self.steps = settings.epochs * self.batches
        self.optimizer = make_optimizer(network, settings)
        self.part = Part()
        # The state, which checkpoints keep.
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
        """At the first batch, or where a run goes on."""
        self._first = self.step
        self._began = self._epoch_began = self._saved = time.monotonic()

    def batch(self, step: int) -> Any:
        """The batch of a step: inputs, targets, motions, whether they count."""
        epoch, number = divmod(step, self.batches)
        size = self.settings.batch_size
        x, y, counts, whole = self.examples.batch(self.settings.seed, epoch, number, size, self.part)
        motions = None
        if self.augmentation is not None:
            # Drawn for the whole batch, so that several processes draw what one draws.
            drawn = self.augmentation.draw(whole, generator_for(self.settings.seed, "augment", step))
            motions = self.part.slice(drawn) if counts else drawn[:1]
        return x, y, motions, counts

    def loss(self, batch: Any) -> torch.Tensor:
        """The loss of a batch, to be minimised."""
        x, y, motions, counts = batch
        seed_layers(seed_for(self.settings.seed, "layers", self.step, self.part.rank), x.device)  # for dropout
        if self.augmentation is not None:
            x, y = self.augmentation(x, y, motions)
        output = self.network(x)
        total, weight = self.task.measured(output, y)
        hits = self.task.hits(output, y)
        if not counts:
            total, weight, hits = total * 0, weight * 0, None
        seen = [float(total.detach()), float(weight.detach()), *((float(n) for n in hits) if hits else (0.0, 0.0))]
        if not math.isfinite(seen[0]):
            raise InputError(
                f"training has diverged: in epoch {self.step // self.batches + 1}, batch "
                f"{self.step % self.batches + 1}, the loss is {seen[0]}. Lower `learning_rate` (it is "
                f"{self.settings.learning_rate:g}), or look for targets out of scale.",
                "learning_rate",
            )
        seen = self.part.total(seen, total.device)
        for key, value in zip(("loss", "weight", "hits", "classes"), seen, strict=True):
            self.sums[key] += value
        return total * (self.part.processes / seen[1])

    def set_learning_rate(self) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.learning_rate_at(self.step, self.steps)

    def end_batch(self) -> None:
        """After the weights have changed: the epoch's end, the progress function, the checkpoint."""
        self.step += 1
        if self.step % self.batches == 0:
            self.end_epoch()
        self._report()
        due = time.monotonic() - self._saved > CHECKPOINT_SECONDS
        if self.checkpoint and not self.stop and (due or self.step % self.batches == 0):
            self.save()

    def _report(self) -> None:
        if self.progress is None or self.part.rank:
            return
        now = time.monotonic()
        ended = self.step % self.batches == 0
        if not ended and now - self._reported < REPORT_SECONDS:
            return
        self._reported = now
        left = (now - self._began) / max(self.step - self._first, 1) * (self.steps - self.step)
        epoch = (self.step - 1) // self.batches + 1
        row = self.history[-1] if ended else self._row(epoch)
        told = {"epochs": self.settings.epochs, "batches": self.batches, "batch": (self.step - 1) % self.batches + 1}
        try:
            answer = self.progress({**row, **told, "step": self.step, "steps": self.steps, "seconds_left": left})
        except KeyboardInterrupt:
            answer = False
        if answer is not None and answer is not True and not answer:
            self.stop = self.stop or "interrupt"

    # ---- an epoch ---------------------------------------------------------------------------------------

    def _row(self, epoch: int) -> Row:
        """What is known of an epoch so far."""
        row: Row = {"epoch": epoch, "loss": self.sums["loss"] / max(self.sums["weight"], 1e-30)}
        if self.sums["classes"]:
            row["accuracy"] = self.sums["hits"] / self.sums["classes"]
        return row

    def end_epoch(self) -> None:
        epoch = -(-self.step // self.batches)
        row = self._row(epoch)
        if self.validation is not None:
            self.average_statistics()
            measured = measure(self.network, self.validation, self.task, self.settings.batch_size, self.part)
            row.update({f"val_{name}": value for name, value in measured.items()})
        row["learning_rate"] = self.settings.learning_rate_at(self.step - 1, self.steps)
        row["seconds"] = self.sums["seconds"] + time.monotonic() - self._epoch_began
        row["stopped"] = ""
        self.history.append(row)
        self.sums = dict.fromkeys(self.sums, 0.0)
        self._epoch_began = time.monotonic()
        if self.settings.patience is not None:
            self._watch(row["val_loss" if "val_loss" in row else "loss"], epoch)

    def _watch(self, loss: float, epoch: int) -> None:
        if loss < self.best["loss"]:
            self.best = {"loss": loss, "epoch": epoch, "weights": get_weights(self.network)}
        elif epoch - self.best["epoch"] >= (self.settings.patience or 0):
            self.stop = self.stop or "patience"

    def average_statistics(self) -> None:
        """What batch normalisation has gathered, averaged over the processes."""
        if self.part.processes == 1:
            return
        for name, buffer in self.network.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                torch.distributed.all_reduce(buffer)
                buffer /= self.part.processes

    def finish(self) -> list[Row]:
        """The history, after the last batch or a stop; with `patience`, the best weights."""
        if self.stop == "interrupt" and self.step % self.batches:
            partial = {**self._row(self.step // self.batches + 1), "stopped": ""}
            history = [*self.history, partial]
        else:
            history = [dict(row) for row in self.history]
        if self.checkpoint and self.stop:
            self.save()
        if history:
            history[-1] = {**history[-1], "stopped": self.stop}
        if self.best["weights"] and self.stop != "interrupt":
            set_weights(self.network, self.best["weights"])
        return history

    # ---- checkpoints ------------------------------------------------------------------------------------

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """The state of the run, as plain data and arrays."""
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

    def restore(self, plain: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        """Goes on from a state; the network has its weights already."""
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
        from ._checkpoints import save_checkpoint

        self._saved = time.monotonic()
        if self.part.rank == 0 and self.checkpoint is not None:
            save_checkpoint(self.checkpoint, self)


# ---- measuring ------------------------------------------------------------------------------------------


def measure(
    network: torch.nn.Module, examples: Examples, task: Task, batch_size: int, part: Part | None = None
) -> dict[str, float]:
    """The mean loss and the task's metrics over examples, in evaluation mode.

    Where `part` is one of several, each process takes its part of the examples, and all get the measures of all: losses
    are summed with their weights, and the metrics' counts and sums are added up before the metrics are made of them.
    """
    part = part or Part()
    own = part.slice(np.arange(examples.count))  # none, where there are more processes than examples
    size = -(-batch_size // part.processes)
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    metrics = {name: metric.to(device) for name, metric in task.metrics(part.processes > 1).items()}
    loss = weight = 0.0
    with evaluating(network), torch.no_grad():
        for start in range(0, len(own), size):
            x, y = (each.to(device) for each in examples.take(own[start : start + size]))
            output = network(x)
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

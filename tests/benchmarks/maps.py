"""Warping, composing and inverting maps beside OpenCV and SciPy. Run: python tests/benchmarks/maps.py [--sizes N ...] [--blocks]

An image of one channel and a smooth map with shifts of up to 10 pixels, float32, one thread. Printed are ratios of CPU
time (the medians of repeats in turn): `warp_image()` to OpenCV's remap and to SciPy's map_coordinates, `compose_maps()`
to two remaps, and `invert_map()` to 20 fixed-point steps of two remaps each. OpenCV rounds points to 1/32 pixel; gequi
does not, and its results agree to the bit for quarter turns of image and map.

`--blocks` prints the CPU time of the calls for 2^12 to 2^20 points at once, each divided by that of the constant
POINTS_AT_ONCE of geometry/sampling.py, which was set by it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from unittest import mock

import cv2
import numpy as np
import torch
from scipy import ndimage

import gequi
from gequi.geometry import sampling, tensor_maps


def calls(size: int) -> dict[str, Callable[[], object]]:
    random = np.random.default_rng(0)
    image = random.random((size, size), dtype=np.float32)
    shift = ndimage.gaussian_filter(random.standard_normal((2, size, size)), (0, 0.08 * size, 0.08 * size))
    map = (np.indices((size, size)) + 10 * shift / np.abs(shift).max()).astype(np.float32)
    remap = partial(cv2.remap, map1=map[1], map2=map[0], borderMode=cv2.BORDER_REPLICATE)
    return {
        "OpenCV linear": lambda: remap(image, interpolation=cv2.INTER_LINEAR),
        "OpenCV cubic": lambda: remap(image, interpolation=cv2.INTER_CUBIC),
        "OpenCV compose": lambda: [remap(part, interpolation=cv2.INTER_LINEAR) for part in map],
        "SciPy linear": lambda: ndimage.map_coordinates(image, map, order=1, mode="nearest"),
        "SciPy cubic": lambda: ndimage.map_coordinates(image, map, order=3, mode="mirror"),
        "gequi linear": lambda: gequi.warp_image(image, map),
        "gequi cubic": lambda: gequi.warp_image(image, map, "cubic"),
        "gequi compose": lambda: gequi.compose_maps(map, map),
        "gequi invert": lambda: gequi.invert_map(map),
    }


def medians(timed: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """The median CPU time of each call. The calls are made in turn, and the first round is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in timed}
    for _ in range(repeats + 1):
        for name, call in timed.items():
            start = time.process_time()
            call()
            seconds[name].append(time.process_time() - start)
    return {name: float(np.median(each[1:])) for name, each in seconds.items()}


def with_blocks(count: int, call: Callable[[], object]) -> object:
    """The result of a call that samples so many points at once."""
    with mock.patch.multiple(sampling, POINTS_AT_ONCE=count), mock.patch.multiple(tensor_maps, POINTS_AT_ONCE=count):
        return call()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[512])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--blocks", action="store_true")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    for size in chosen.sizes:
        timed = calls(size)
        if chosen.blocks:
            for name in [name for name in timed if name.startswith("gequi")]:
                counts = [2**k for k in range(12, 21)]
                found = medians({str(n): partial(with_blocks, n, timed[name]) for n in counts}, chosen.repeats)
                now = found[str(sampling.POINTS_AT_ONCE)]
                ratios = "  ".join(f"2^{n.bit_length() - 1} {found[str(n)] / now:.2f}" for n in counts)
                print(f"{size:5d}  {name.removeprefix('gequi '):8s} {ratios}", flush=True)
            continue
        median = medians(timed, chosen.repeats)
        for ours, other, times in (
            ("linear", "OpenCV linear", 1), ("linear", "SciPy linear", 1), ("cubic", "OpenCV cubic", 1),
            ("cubic", "SciPy cubic", 1), ("compose", "OpenCV compose", 1), ("invert", "OpenCV compose", 20),
        ):  # fmt: skip
            ratio = median[f"gequi {ours}"] / (times * median[other])
            print(f"{size:5d}  {ours:8s} to {times if times > 1 else '':2} {other:15s} {ratio:6.2f}", flush=True)


if __name__ == "__main__":
    main()

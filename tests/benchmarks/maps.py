"""Warping, composing and inverting maps beside OpenCV and SciPy. Run: python tests/benchmarks/maps.py [--sizes N ...]

An image of one channel and a smooth map with shifts of up to 10 pixels, float32, one thread. Printed are ratios of CPU
time (the medians of repeats in turn): `warp_image()` to OpenCV's remap and to SciPy's map_coordinates, `compose_maps()`
to two remaps, and `invert_map()` to 20 fixed-point steps of two remaps each. OpenCV rounds points to 1/32 pixel; gequi
does not, and its results agree to the bit for quarter turns of image and map.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial

import cv2
import numpy as np
import torch
from scipy import ndimage

import gequi


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[512])
    parser.add_argument("--repeats", type=int, default=9)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    for size in chosen.sizes:
        timed = calls(size)
        seconds: dict[str, list[float]] = {name: [] for name in timed}
        for _ in range(chosen.repeats + 1):  # the first is not counted
            for name, call in timed.items():
                start = time.process_time()
                call()
                seconds[name].append(time.process_time() - start)
        median = {name: float(np.median(each[1:])) for name, each in seconds.items()}
        for ours, other, times in (
            ("linear", "OpenCV linear", 1), ("linear", "SciPy linear", 1), ("cubic", "OpenCV cubic", 1),
            ("cubic", "SciPy cubic", 1), ("compose", "OpenCV compose", 1), ("invert", "OpenCV compose", 20),
        ):  # fmt: skip
            ratio = median[f"gequi {ours}"] / (times * median[other])
            print(f"{size:5d}  {ours:8s} to {times if times > 1 else '':2} {other:15s} {ratio:6.2f}", flush=True)


if __name__ == "__main__":
    main()

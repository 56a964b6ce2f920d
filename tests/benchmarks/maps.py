"""Warping, composing and inverting maps beside OpenCV and SciPy. Run: python tests/benchmarks/maps.py [--sizes N ...] [--blocks]

An image of one channel and a smooth map with shifts of up to 10 pixels, float32, one thread. It prints ratios of
CPU time (medians of repeats in turn): `warp_image()` to OpenCV's remap and to SciPy's map_coordinates, `compose_maps()`
to two remaps, and `invert_map()` to 20 fixed-point steps of two remaps each. OpenCV rounds points to 1/32 pixel; gequi
does not, and its results agree to the bit for quarter turns of image and map.

`--blocks` prints the CPU time of the calls for 2^12 to 2^20 points at once, each divided by that of the constant
POINTS_AT_ONCE of geometry/sampling.py, which was set by it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from unittest import mock

import cv2
import numpy as np
import torch
from scipy import ndimage
from support.rows import Row, compared, in_turn

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


# Works of gequi, the peer, how many of it are compared, and the target.
COMPARED = (
    ("linear", "OpenCV linear", 1, 3.0), ("linear", "SciPy linear", 1, 1.0), ("cubic", "OpenCV cubic", 1, 8.0),
    ("cubic", "SciPy cubic", 1, 1.0), ("compose", "OpenCV compose", 1, 3.0), ("invert", "OpenCV compose", 20, 3.0),
)  # fmt: skip


def rows(full: bool, sizes: Sequence[int] = (), repeats: int = 0) -> Iterator[Row]:
    cv2.setNumThreads(1)
    for size in sizes or ((256, 512, 1024) if full else (512,)):
        timed = in_turn(calls(size), least=repeats or 7, most=repeats or 15)
        for ours, other, times, target in COMPARED:
            peer = f"{times} x {other}" if times > 1 else other
            yield compared(f"map, {ours}, {size} x {size}", peer, timed, f"gequi {ours}", other, target, times)


def with_blocks(count: int, call: Callable[[], object]) -> object:
    """Call a function that samples a given number of points at once."""
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
    for size in chosen.sizes if chosen.blocks else ():
        for name, call in calls(size).items():
            if name.startswith("gequi"):
                counts = [2**k for k in range(12, 21)]
                found = in_turn({str(n): partial(with_blocks, n, call) for n in counts}, chosen.repeats, chosen.repeats)
                now = np.median(found[str(sampling.POINTS_AT_ONCE)])
                ratios = "  ".join(f"2^{n.bit_length() - 1} {np.median(found[str(n)]) / now:.2f}" for n in counts)
                print(f"{size:5d}  {name.removeprefix('gequi '):8s} {ratios}", flush=True)
    for row in () if chosen.blocks else rows(True, chosen.sizes, chosen.repeats):
        print(f"{row.name:30s} to {row.peer:20s} {row.value:6.2f}", flush=True)


if __name__ == "__main__":
    main()

"""Registration of large images: time, memory and error by size. Run: python tests/benchmarks/slides.py [SIZE ...]

The fixed image is a photograph enlarged to SIZE x SIZE pixels with fine noise; the moving image is the same picture seen
through a rotation by 137 degrees and a smooth bend of up to 1 % of the side. Both are tiled, compressed TIFF files with 8
bits. Each size runs in a process of its own: `read_slide()` of both, `register_images()`, and `warp_slide()`. It prints
the CPU time of each part, the peak memory of the process, and the median and the 99th percentile of the error of the map
in pixels of the full resolution, at points that both images show.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

import numpy as np
import tifffile
from scipy import ndimage

import gequi

ANGLE = np.deg2rad(137)
BAND = 256  # rows that are drawn at once


def picture(at: np.ndarray, size: int) -> np.ndarray:
    """The picture, from 0 to 1, at positions (axis, ...) in pixels of an image of the given size."""
    image = gequi.sample_image("cat")[:300, 100:400]
    scaled = at * (len(image) - 1) / (size - 1)
    value = ndimage.map_coordinates(image, scaled, order=1, mode="reflect")
    row, column = at
    for number, period in enumerate((7, 13, 29, 61)):  # texture finer than the enlarged photograph
        value = value + 0.03 * np.sin(2 * np.pi * row / period + number) * np.sin(2 * np.pi * column / (period + 2))
    return np.clip(0.1 + 0.8 * value, 0, 1)


def true_map(at: np.ndarray, size: int) -> np.ndarray:
    """The position in the moving image of positions (axis, ...) in the fixed image."""
    middle = (size - 1) / 2
    row, column = at - middle
    turned = np.stack([np.cos(ANGLE) * row - np.sin(ANGLE) * column, np.sin(ANGLE) * row + np.cos(ANGLE) * column])
    wave = 2 * np.pi * turned[::-1] / size
    return turned + 0.01 * size * np.sin(1.5 * wave) + middle


def rows_of(size: int, moved: bool) -> Iterator[np.ndarray]:
    for start in range(0, size, BAND):
        at = np.stack(np.meshgrid(np.arange(start, start + BAND), np.arange(size), indexing="ij")).astype(float)
        yield np.rint(255 * picture(true_map(at, size) if moved else at, size)).astype(np.uint8)


def write(path: str, size: int, moved: bool) -> None:
    image = np.concatenate(list(rows_of(size, moved)))
    tifffile.imwrite(path, image, tile=(512, 512), compression="zlib", photometric="minisblack")


def measure(folder: str, size: int) -> None:
    """Register the two files of a folder and print a line."""
    seconds, start = [], time.process_time()
    images = [gequi.read_slide(f"{folder}/{name}.tif") for name in ("moving", "fixed")]
    seconds.append(time.process_time() - start)
    found = gequi.register_images(*images)
    seconds.append(time.process_time() - start)
    files = [f"{folder}/{name}.tif" for name in ("moving", "fixed", "warped")]
    gequi.warp_slide(found, *files)
    seconds.append(time.process_time() - start)
    points = np.random.default_rng(1).uniform(0.2 * size, 0.8 * size, (4000, 2))
    there = gequi.transform_slide_points(found, points, *files[:2], "fixed_to_moving")
    error = np.linalg.norm(there - true_map(points.T, size).T, axis=1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    parts = np.diff([0, *seconds])
    print(f"{size:6d}  read {parts[0]:6.1f} s  register {parts[1]:6.1f} s  warp {parts[2]:6.1f} s  all {seconds[-1]:6.1f} s  "
          f"peak {peak:5.0f} MiB  error {np.median(error):.3f} {np.quantile(error, 0.99):.3f} px", flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sizes", type=int, nargs="*", default=[1024, 2048, 4096, 8192])
    parser.add_argument("--folder", help="measure the files of this folder, in this process")
    chosen = parser.parse_args()
    for size in chosen.sizes:
        if chosen.folder:
            measure(chosen.folder, size)
            continue
        with tempfile.TemporaryDirectory() as folder:
            write(f"{folder}/fixed.tif", size, moved=True)  # fixed(x) = moving(map(x))
            write(f"{folder}/moving.tif", size, moved=False)
            subprocess.run([sys.executable, __file__, str(size), "--folder", folder], check=True)


if __name__ == "__main__":
    main()

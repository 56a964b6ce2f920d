"""Registration of a folder of pairs by two processes, beside one. Run: python tests/benchmarks/folders.py [--pairs N]

Each pair shows a part of a photograph in two pictures: the second is turned by any angle, bent by up to 2 pixels and
slightly brighter. For each number of workers, it prints the wall time, the CPU time of all processes, and how many pairs
were registered. The efficiency is the wall time of one worker, divided by that of several and by their number:
it must be at least 0.9 for 1,000 pairs of 128 x 128 on an idle machine of two cores. On a machine that is shared, the
ratio of the CPU times shows what several processes add to the work, and the number of cores that were available is the
CPU time divided by the wall time.
"""

from __future__ import annotations

import argparse
import math
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import gequi

GOAL = 0.9
BEND = 2.0  # pixels
ENOUGH = 0.98  # of the pairs that must be registered


def make_pairs(folder: Path, count: int, size: int, seed: int) -> list[dict[str, str]]:
    """Write the images of the pairs as files; return the table of the pairs."""
    random = np.random.default_rng(seed)
    picture = gequi.sample_image("cat").astype(np.float64)
    places = np.indices((size, size)) - (size - 1) / 2
    reach = size * 0.75  # of the corners of a turned image and its bend
    rows = []
    for number in range(count):
        center = random.uniform([reach, reach], np.array(picture.shape) - 1 - reach).reshape(2, 1, 1)
        angle, phase = random.uniform(0, 2 * math.pi, 2)
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        bent = np.tensordot(turn, places, 1) + BEND * np.sin(places[::-1] * 2 * math.pi / size + phase)
        images = {
            "fixed": gequi.warp_image(picture, places + center),
            "moving": 0.9 * gequi.warp_image(picture, bent + center) + 0.05,
        }
        row = {"pair": f"{number:04}"}
        for side, image in images.items():
            row[side] = str(folder / f"{number:04}-{side}.npy")
            np.save(row[side], image.astype(np.float32))
        rows.append(row)
    return rows


def cpu_seconds() -> float:
    """The CPU time of this process and of those of its processes that have ended."""
    return sum(os.times()[:4])


def timed(pairs: list[dict[str, str]], folder: Path, workers: int) -> dict[str, Any]:
    start, used = time.perf_counter(), cpu_seconds()
    table = gequi.register_folder(pairs, folder, workers=workers)
    wall = time.perf_counter() - start
    done = sum(row["condition"] is None for row in table)
    return {"workers": workers, "wall": wall, "cpu": cpu_seconds() - used, "done": done}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--size", type=int, default=128, help="pixels along a side")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        (images := Path(name) / "images").mkdir()
        pairs = make_pairs(images, chosen.pairs, chosen.size, chosen.seed)
        timed(pairs[:1], Path(name) / "first", 1)  # the first registration of a process loads torch and the filters
        print(
            f"{chosen.pairs} pairs of {chosen.size} x {chosen.size}\nworkers    wall s     CPU s  CPU/wall  registered"
        )
        rows = []
        for workers in (1, chosen.workers):
            row = timed(pairs, Path(name) / f"of-{workers}", workers)
            print(
                f"{workers:>7} {row['wall']:>9.1f} {row['cpu']:>9.1f} {row['cpu'] / row['wall']:>9.2f} {row['done']:>11}",
                flush=True,
            )
            rows.append(row)
    one, several = rows
    efficiency = one["wall"] / several["wall"] / chosen.workers
    print(f"efficiency {efficiency:.2f} (goal {GOAL}); CPU time {several['cpu'] / one['cpu']:.3f} times that of one")
    enough = min(row["done"] for row in rows) >= ENOUGH * chosen.pairs
    raise SystemExit(0 if efficiency >= GOAL and enough else 1)


if __name__ == "__main__":
    main()

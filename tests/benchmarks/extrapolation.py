"""The claimed error of points outside the fixed image. Run: python tests/benchmarks/extrapolation.py

The fixed image of a pair of registration.py is cut to its inner part, and the rest of its pixels, which the
registration has not seen, are carried to the moving image by `transform_points(extrapolate = True)`. The pairs are bent,
as there, or turned only, for a linear map. The table has, by
the distance from the part, the share of pixels whose error is below two claimed standard deviations. It set `extrapolation_reach` and `extrapolation_bend` of the presets; --fit prints
the shares for other values.
"""

from __future__ import annotations

import argparse
import itertools
import math
import warnings
from typing import NamedTuple

import numpy as np
import registration as benchmark
from scipy import ndimage

import gequi
from gequi.registration.extrapolation import distance_beyond, extrapolated
from gequi.registration.presets import IMAGES

TRANSFORMS = ("deformable", "affine", "similarity")


class Outside(NamedTuple):
    """The distance, error and deviation at the border of each pixel outside; the bend, size and scale of the map."""

    distance: np.ndarray
    error: np.ndarray
    border: np.ndarray
    bend: float
    size: tuple[int, ...]
    scale: float

    def claimed(self, reach: float | None = None, bend: float | None = None) -> np.ndarray:
        """Return the claim with the values of the presets, or with the given values."""
        share = (1.0 if bend is None else bend / IMAGES.extrapolation_bend) * self.bend
        factor = 1.0 if reach is None else IMAGES.extrapolation_reach / reach
        near = extrapolated(self.border, self.distance * factor, self.size, 0.0)
        return np.hypot(near, extrapolated(0 * self.border, self.distance, self.size, share, self.scale))


def linear_pair(size: int, name: str, random: np.random.Generator, change: str) -> benchmark.Pair:
    """A picture, and the same picture rotated and up to 10 % larger or smaller."""
    image = benchmark.picture(name, size)
    pixels, centre, margin = np.indices((size, size)).astype(float), (size - 1) / 2, (len(image) - size) / 2
    angle = random.uniform(0, 2 * math.pi)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    map = np.tensordot(turn * random.uniform(0.9, 1.1), pixels - centre, axes=1) + centre
    fixed, moving = (ndimage.map_coordinates(image, at + margin, order=3, mode="nearest") for at in (map, pixels))
    return benchmark.Pair(name, angle, moving, benchmark.changed(fixed, change, random), map)


def outside(pair: benchmark.Pair, transform: str, share: float, random: np.random.Generator) -> Outside:
    """Register the central part of the fixed image, and compare the map outside it, where both images are seen."""
    n = len(pair.fixed)
    side = round(share * n)
    corner = random.integers(0, n - side + 1, 2)
    part = pair.fixed[corner[0] : corner[0] + side, corner[1] : corner[1] + side]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = gequi.register_images(pair.moving, part, transform=transform, min_probability=0)
    at = np.argwhere(((pair.map >= 0) & (pair.map <= n - 1)).all(0))
    local = (at - corner).astype(float)
    distance = distance_beyond(local.T, part.shape)
    chosen = random.permutation(np.flatnonzero(distance > 0))[:2000]
    at, local, distance = at[chosen], local[chosen], distance[chosen]
    carried = found.transform_points(local, "fixed_to_moving", extrapolate=True)
    error = np.linalg.norm(carried - pair.map[:, at[:, 0], at[:, 1]].T, axis=1)
    inner = np.clip(local, 0, np.array(part.shape) - 1)
    _, border = found.transform_points(inner, "fixed_to_moving", return_std=True)
    scale = abs(np.linalg.det(found.affine[:, :-1])) ** 0.5
    return Outside(distance, error, border, found._bend, part.shape, scale)


def measure(transform: str, count: int, seed: int) -> list[Outside]:
    random, found = np.random.default_rng(seed), []
    for number in range(count):
        name, change = benchmark.PICTURES[number % 8], benchmark.CHANGES[number // 8 % 2]
        size, share = (128, 256)[number % 2], random.uniform(0.5, 0.8)
        if transform == "deformable":
            image = benchmark.picture(name, size)
            pair = benchmark.make_pair(name, image, size, random.uniform(0, 360), random, change)
        else:
            pair = linear_pair(size, name, random, change)
        found.append(outside(pair, transform, share, random))
    return [each for each in found if np.median(each.error) < 20]  # of a wrong map nothing can be claimed


def shares(found: list[Outside], reach: float | None = None, bend: float | None = None) -> str:
    distance = np.concatenate([each.distance / each.size[0] for each in found])
    within = np.concatenate([each.error < 2 * each.claimed(reach, bend) for each in found])
    cells = []
    for low, high in itertools.pairwise((0, 0.05, 0.1, 0.2, 0.4, 1)):
        chosen = (distance > low) & (distance <= high)
        cells.append(f"{low:4.2f}-{high:4.2f}: {100 * within[chosen].mean():5.1f} %")
    return f"{'  '.join(cells)}  all: {100 * within.mean():5.1f} %"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=32)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--fit", action="store_true")
    chosen = parser.parse_args()
    print("pixels within 2 deviations, by their distance from the part in sides of it")
    for transform in TRANSFORMS:
        found = measure(transform, chosen.pairs, chosen.seed)
        print(f"{transform:>11} ({len(found)} pairs)  {shares(found)}", flush=True)
        for reach, bend in itertools.product((0.1, 0.25, 0.5), (1.0, 1.5, 2.0)) if chosen.fit else ():
            print(f"  reach {reach:4.2f} bend {bend:4.2f}  {shares(found, reach, bend)}")


if __name__ == "__main__":
    main()

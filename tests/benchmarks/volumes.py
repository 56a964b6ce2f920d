"""Registration of volumes turned by any rotation, beside SimpleITK. Run: python tests/benchmarks/volumes.py

A pair: the moving volume is nilearn's T1 template of the brain (MNI152, in its wheel) at some millimetres to a voxel;
the fixed one is the template seen through a rotation, drawn from all of SO(3), after a smooth random warp of up to 8
millimetres. The error of a map is its mean distance from the truth in the brain, in voxels; a success is a mean error
below 1 voxel; Dice is the overlap of the grey matter carried over by the map with that carried over by the truth.
"""

from __future__ import annotations

import argparse
import itertools
import time
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from registration import changed, jacobian, length, smooth_shift
from scipy import ndimage
from scipy.spatial.transform import Rotation
from support.peers import affine_and_demons

CHANGES = ("clean", "photometric")
MILLIMETRES = 8.0  # of the warp, at most


class Pair(NamedTuple):
    """Two volumes, the true map (axis, depth, row, column) between them, and masks of the brain and its gray matter."""

    moving: np.ndarray
    fixed: np.ndarray
    map: np.ndarray
    brain: np.ndarray
    grey: np.ndarray
    moving_grey: np.ndarray


@cache
def template(resolution: int) -> tuple[np.ndarray, np.ndarray]:
    """nilearn's T1 template, from 0 to 1, and the mask of its gray matter, with voxels of the given size in mm."""
    from nilearn.datasets import load_mni152_gm_mask, load_mni152_template

    volume = load_mni152_template(resolution=resolution).get_fdata()
    grey = load_mni152_gm_mask(resolution=resolution).get_fdata()
    return volume / volume.max(), grey > 0.5


def make_pair(resolution: int, random: np.random.Generator, change: str = "clean") -> Pair:
    """Make a pair of the template as described at the top of this file."""
    volume, grey = template(resolution)
    rotation = Rotation.random(random_state=random).as_matrix()
    middle = (np.array(volume.shape) - 1).reshape(3, 1, 1, 1) / 2
    warped = np.indices(volume.shape) + smooth_shift(volume.shape, MILLIMETRES / resolution, random)
    map = np.tensordot(rotation, warped - middle, axes=1) + middle
    fixed = changed(ndimage.map_coordinates(volume, map, order=3), change, random)
    brain = ndimage.map_coordinates((volume > 0.05).astype(float), map, order=1) > 0.5
    return Pair(volume, fixed, map, brain, carried(grey, map), grey)


def carried(labels: np.ndarray, map: np.ndarray) -> np.ndarray:
    """Warp a mask by a map; the result is true where the interpolated mask exceeds 1/2."""
    return ndimage.map_coordinates(labels.astype(float), map, order=1) > 0.5


def pairs(resolution: int, count: int, change: str = "clean", seed: int = 0) -> Iterator[Pair]:
    for number in range(count):
        yield make_pair(resolution, np.random.default_rng([seed, number]), change)


def scored(pair: Pair) -> np.ndarray:
    """The voxels where a map is scored: those of the brain that are seen in both volumes."""
    end = np.array(pair.moving.shape).reshape(3, 1, 1, 1) - 1
    return pair.brain & ((pair.map >= 0) & (pair.map <= end)).all(0)


def error(map: np.ndarray, pair: Pair) -> np.ndarray:
    """The distance from the truth, in voxels, at the scored voxels."""
    return length(map - pair.map)[scored(pair)]


def dice(map: np.ndarray, pair: Pair) -> float:
    found = carried(pair.moving_grey, map)
    return 2 * np.sum(found & pair.grey) / (np.sum(found) + np.sum(pair.grey))


# ---- methods: (moving, fixed) -> map; the peers are in support/peers.py ------------------------------------------------------------------------


def gequi_map(moving: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    import gequi

    return gequi.register_images(moving, fixed, min_probability=0).map


METHODS: dict[str, tuple[str | None, Callable[..., np.ndarray]]] = {
    "gequi": (None, gequi_map),
    "24 starts + demons (SimpleITK)": ("SimpleITK", affine_and_demons),
}


def row(method: Callable[..., np.ndarray], data: Iterator[Pair]) -> dict[str, Any]:
    """Figures of a method on pairs: errors in voxels, success, Dice, folds, seconds a pair."""
    errors, overlaps, folds, seconds = [], [], 0, []
    for pair in data:
        start = time.perf_counter()
        map = method(pair.moving, pair.fixed)
        seconds.append(time.perf_counter() - start)
        errors.append(error(map, pair).mean())
        overlaps.append(dice(map, pair))
        folds += int((jacobian(map) <= 0).sum())
    return {
        "pairs": len(errors), "mean": np.mean(errors), "median": np.median(errors), "worst": np.max(errors),
        "success": 100 * np.mean(np.array(errors) < 1), "dice": np.mean(overlaps), "least": np.min(overlaps),
        "folds": folds, "seconds": np.median(seconds),
    }  # fmt: skip


def main() -> None:
    from importlib.util import find_spec

    installed = [name for name, (module, _) in METHODS.items() if module is None or find_spec(module)]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resolutions", type=int, nargs="+", default=[4, 2], help="millimetres to a voxel")
    parser.add_argument("--pairs", type=int, nargs="+", default=[40, 6], help="for each resolution")
    parser.add_argument("--changes", nargs="+", default=list(CHANGES), choices=CHANGES)
    parser.add_argument("--methods", nargs="+", default=installed, choices=list(METHODS))
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    warnings.filterwarnings("ignore", message=".* fit almost as well")  # counted by registration_claims.py
    print(
        f"{'mm':>2} {'change':<12} {'method':<30} pairs   mean median  worst success  dice least folds seconds",
        flush=True,
    )
    for resolution, count in zip(chosen.resolutions, chosen.pairs, strict=True):
        for change, name in itertools.product(chosen.changes, chosen.methods):
            r = row(METHODS[name][1], pairs(resolution, count, change, chosen.seed))
            print(
                f"{resolution:>2} {change:<12} {name:<30} {r['pairs']:>5} {r['mean']:>6.3f} {r['median']:>6.3f} "
                f"{r['worst']:>6.2f} {r['success']:>6.1f}% {r['dice']:>5.3f} {r['least']:>5.3f} {r['folds']:>5} "
                f"{r['seconds']:>7.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()

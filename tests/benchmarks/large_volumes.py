"""Time, memory and error of large volumes.

Run: python tests/benchmarks/large_volumes.py [--size 197 233 189] [--threads 2]
     python tests/benchmarks/large_volumes.py --refined 2 3 [--pairs 2]

The first form registers one generated volume, an ellipsoid with a texture of three sizes, with itself turned by 76
degrees. It prints the CPU time and the wall time of register_images(), the largest memory of the process with the two
volumes and the known map (24 bytes a voxel in float32), and the error of the map inside the body, in voxels. The goals
are 60 s and 5 GB for 197 x 233 x 189 on two cores, and 20 GB for 400 x 400 x 400, which takes about 12 minutes.

The second form sets LARGE_UPSAMPLING of gequi/registration/pyramid.py. It registers pairs of the brain template at 2 mm
(1.1 million voxels), turned and warped as in volumes.py, with the moving volume refined so many times along each axis.
It prints the mean error in the brain, in voxels, and the CPU time of each pair.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np
import torch
from scipy import ndimage
from scipy.spatial.transform import Rotation

import gequi
from gequi.registration import pyramid

DEGREES = 76.0
AXIS = np.array([0.6, 0.64, 0.48])
TEXTURE = ((1.0, 2.0), (1.0, 4.0), (1.5, 8.0))  # weight and size in voxels


def body(size: tuple[int, ...], random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the volume, and the places of its voxels from the center (axis, *size)."""
    texture = np.zeros(size, np.float32)
    for weight, width in TEXTURE:
        noise = ndimage.gaussian_filter(random.normal(size=size).astype(np.float32), width)
        texture += weight * width**1.5 * noise
    half = np.array([(n - 1) / 2 for n in size], np.float32).reshape(3, 1, 1, 1)
    places = np.indices(size, np.float32) - half
    radius = np.sqrt(np.square(places / (0.9 * (half + 0.5))).sum(0))
    return (0.6 + 0.15 * texture / texture.std()) / (1 + np.exp((radius - 0.85) * 20)), places


def compare_refinements(refinements: list[int], count: int, seed: int) -> None:
    """Print the errors of pairs of the brain template for each refinement of the moving volume."""
    from volumes import CHANGES, error, gequi_map, pairs

    print("change        pair  refined  error (voxels)  CPU (s)")
    for change in CHANGES:
        for number, pair in enumerate(pairs(2, count, change, seed)):
            assert pair.moving.size >= pyramid.LARGE
            for refined in refinements:
                pyramid.LARGE_UPSAMPLING = refined
                cpu = time.process_time()
                found = gequi_map(pair.moving, pair.fixed)
                cpu = time.process_time() - cpu
                print(
                    f"{change:<13} {number:>4} {refined:>8} {error(found, pair).mean():>15.4f} {cpu:>8.1f}", flush=True
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=3, default=[197, 233, 189])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--refined", type=int, nargs="+", help="compare refinements of the moving volume")
    parser.add_argument("--pairs", type=int, default=2)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    if chosen.refined:
        compare_refinements(chosen.refined, chosen.pairs, chosen.seed)
        return
    moving, places = body(tuple(chosen.size), np.random.default_rng(chosen.seed))
    rotation = Rotation.from_rotvec(np.radians(DEGREES) * AXIS / np.linalg.norm(AXIS)).as_matrix().astype(np.float32)
    middle = np.array([(n - 1) / 2 for n in moving.shape], np.float32).reshape(3, 1, 1, 1)
    truth = np.tensordot(rotation, places, 1) + middle
    del places
    fixed = ndimage.map_coordinates(moving, truth, order=1)
    wall, cpu = time.perf_counter(), time.process_time()
    found = gequi.register_images(moving, fixed)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    error = np.sqrt(sum(np.square(one - other) for one, other in zip(found.map, truth, strict=True)))[fixed > 0.3]
    print(
        f"{' x '.join(map(str, moving.shape))}: CPU {cpu:.1f} s, wall {wall:.1f} s on {chosen.threads} threads, largest "
        f"memory {memory:.2f} GiB, error {np.median(error):.4f} voxels (median), {np.quantile(error, 0.99):.4f} (99 %)"
    )


if __name__ == "__main__":
    main()

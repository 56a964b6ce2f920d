"""A generated block of serial sections, aligned by register_stack(). Run: python tests/benchmarks/stacks.py

The block is a body with a texture of three sizes; texture and outline change with the depth. `--depth` is the standard
deviation of the smoothing along the stack, in sections, so that sections twice that far apart have little in common. Each
section is turned by any angle, shifted by up to 8 pixels and bent by 3 pixels on average; a tenth have another contrast
and a slow change of brightness, two are turned over and one is torn. It prints the distance of the aligned sections
from the truth, up to one map that all have in common (their mean), inside the body; the drift, which is the
distance of the last section relative to the first; and the sections that are reported as not aligned.

It was used to choose between the steps of gequi/stacks, on this block only. --free adds up the deformations without the prior, for comparison.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

import gequi

SIZES = ((0.4, 2.0), (0.7, 4.0), (1.0, 10.0))  # weight and size, in pixels, of the parts of the texture
BODY = 0.36  # of the side, the radius within which errors count
SHIFT = 8.0  # pixels
NOISE = 0.02  # of the brightness of the body, about
TEAR, TWIST = 0.08, 10.0  # the width of a tear, as a share of the side, and the turn of one part, in degrees


def tissue(sections: int, size: int, depth: float, random: np.random.Generator) -> np.ndarray:
    """A block (section, row, column) with values from 0 to about 1."""
    texture = np.zeros((sections, size, size))
    for weight, width in SIZES:
        noise = ndimage.gaussian_filter(random.normal(size=texture.shape), (depth, width, width), mode="wrap")
        texture += weight * noise / noise.std()
    row, column = (np.indices((size, size)) - (size - 1) / 2) / (size / 2)
    z, angle = np.arange(sections)[:, None, None], np.arctan2(row, column)
    outline = (
        0.72 + 0.06 * np.sin(3 * angle + z / depth) + 0.05 * np.cos(2 * angle - z / depth) + 0.04 * np.sin(z / depth)
    )
    inside = 1 / (1 + np.exp((np.hypot(row, column) - outline) * 40))
    return inside * (0.55 + 0.13 * texture / texture.std())


class Cut:
    """How one section was cut and mounted: `at(y)` returns the positions in the block of its pixels y (axis, ...)."""

    def __init__(self, size: int, random: np.random.Generator, bend: float, over: bool, torn: bool) -> None:
        self.size, self.center, self.over, self.torn = size, (size - 1) / 2, over, torn
        self.angle = random.uniform(0, 2 * math.pi)
        self.shift = random.uniform(-SHIFT, SHIFT, 2)
        direction = random.normal(size=(4, 2))
        waves = random.uniform(1.0, 2.0, (4, 1)) * 1.2 * math.pi / size  # 0.8 to 1.7 sides long
        self.waves = direction / np.linalg.norm(direction, axis=1, keepdims=True) * waves
        self.phases, self.heights = random.uniform(0, 2 * math.pi, 4), random.normal(size=(4, 2))
        moved = self.bend(np.indices((size, size)) - self.center)
        self.heights *= bend / np.sqrt((moved**2).sum(0).mean())
        self.crack = random.uniform(0, 2 * math.pi), random.uniform(-0.1, 0.1) * size

    def bend(self, x: np.ndarray) -> np.ndarray:
        phases = np.tensordot(self.waves, x, 1) + self.phases.reshape(-1, *[1] * (x.ndim - 1))
        return np.tensordot(self.heights.T, np.sin(phases), 1)

    def turned(self, y: np.ndarray) -> np.ndarray:
        x = np.array(y, dtype=float) - self.center
        return _turn(np.stack([x[0], -x[1]]) if self.over else x, self.angle)

    def beyond(self, x: np.ndarray) -> np.ndarray:
        """The distance of positions beyond the crack."""
        return x[0] * math.cos(self.crack[0]) + x[1] * math.sin(self.crack[0]) - self.crack[1]

    def at(self, y: np.ndarray, whole: bool = False) -> np.ndarray:
        """With `whole`, as if the section were not torn."""
        x = self.turned(y)
        wide = [1] * (x.ndim - 1)
        if self.torn and not whole:
            away = np.array([math.cos(self.crack[0]), math.sin(self.crack[0])]).reshape(2, *wide) * TEAR * self.size
            x = np.where(self.beyond(x) > 0, _turn(x, math.radians(TWIST)) - away, x)
        return x + self.bend(x) + self.center + self.shift.reshape(2, *wide)


def _turn(x: np.ndarray, angle: float) -> np.ndarray:
    cosine, sine = math.cos(angle), math.sin(angle)
    return np.stack([cosine * x[0] - sine * x[1], sine * x[0] + cosine * x[1]])


@dataclass(frozen=True)
class Block:
    """A generated block: the sections, how each was cut, and the numbers of those that are torn, over, or changed."""

    images: list[np.ndarray]
    cuts: list[Cut]
    torn: list[int]
    over: list[int]
    changed: list[int]


def make_block(
    sections: int = 60, size: int = 256, depth: float = 30.0, bend: float = 3.0, seed: int = 1, over: int = 2
) -> Block:
    """A block with one torn section, `over` sections that show the other side, and a tenth with another contrast."""
    random = np.random.default_rng(seed)
    block = tissue(sections, size, depth, random)
    order = random.permutation(np.arange(2, sections - 2)).tolist()
    torn, mirrored, changed = order[:1], order[1 : 1 + over], order[1 + over : 1 + over + round(0.1 * sections)]
    images, cuts = [], []
    y = np.indices((size, size)).astype(float)
    for number, section in enumerate(block):
        cut = Cut(size, random, bend, number in mirrored, number in torn)
        image = ndimage.map_coordinates(section, cut.at(y), order=3, mode="constant")
        if cut.torn:
            beyond = cut.beyond(cut.turned(y))
            image = np.where((beyond > -1) & (beyond < TEAR * size), 0, image)
        if number in changed:
            image = np.clip(image, 0, 1) ** random.uniform(0.6, 1.6) * random.uniform(0.6, 1.4)
            slope = np.tensordot(random.uniform(-1, 1, 2), y, 1)
            image = image * (1 + 0.3 * np.sin(2 * math.pi * slope / size / 1.5))
        images.append((image + random.normal(scale=NOISE, size=image.shape)).astype(np.float32))
        cuts.append(cut)
    return Block(images, cuts, sorted(torn), sorted(mirrored), sorted(changed))


def errors(block: Block, maps: np.ndarray) -> dict[str, Any]:
    """The distances of the aligned sections from the truth, up to one common map, in pixels."""
    whole = [number for number in range(len(maps)) if number not in block.torn and np.isfinite(maps[number]).all()]
    at = np.stack([block.cuts[number].at(maps[number]) for number in whole])
    common, center = at.mean(0), block.cuts[0].center
    body = np.hypot(*(common - center)) < BODY * block.cuts[0].size
    missed = np.hypot(*(at - common).swapaxes(0, 1))[:, body].mean(1)
    drift = float(np.hypot(*(at[-1] - at[0]))[body].mean())
    return {"mean": float(missed.mean()), "worst": float(missed.max()), "drift": drift}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sections", type=int, default=60)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--depth", type=float, default=30.0)
    parser.add_argument("--bend", type=float, default=3.0)
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2, 3])
    parser.add_argument("--transform", default="deformable")
    parser.add_argument("--free", action="store_true")
    options = parser.parse_args()
    if options.free:
        from gequi.stacks import _bends

        _bends._variances = lambda network, path, weights: (_bends.NO_PRIOR, 1.0, 0.0)
    for seed in options.seeds:
        block = make_block(options.sections, options.size, options.depth, options.bend, seed)
        start = time.process_time(), time.perf_counter()
        stack = gequi.register_stack(block.images, options.transform)
        seconds = time.process_time() - start[0], time.perf_counter() - start[1]
        bad = [f"{row['section']} {row['status']}" for row in stack.table if row["status"] != "aligned"]
        over = [k for k, row in enumerate(stack.table) if row["mirrored"] != stack.table[0]["mirrored"]]
        told = "  ".join(f"{name} {value:.2f}" for name, value in errors(block, stack.maps).items())
        print(f"seed {seed}  {told}  pixels; named {bad}, torn {block.torn}; turned over {over}, truth {block.over}")
        print(
            f"  deformation {stack.spread:.2f}, drift of a step {stack.drift:.2f}; {seconds[0]:.0f} s of CPU, {seconds[1]:.0f} s"
        )


if __name__ == "__main__":
    main()

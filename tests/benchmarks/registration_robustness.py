"""Registration of unusual pairs: another scale, half an overlap, a stretch, a fixed frame.

Run: python tests/benchmarks/registration_robustness.py [PART ...] [--pairs N] [--seed S]

scale     the fixed image shows the picture 0.5, 0.6, 1.6 and 2 times as large
overlap   half of the fixed image lies outside the moving image
stretch   the picture is stretched 1.5 times along one direction, with transform "affine" and "deformable"
frame     a picture moves and turns behind a round black frame that does not move, without masks, in both contrasts

Each pair shows a picture at a random angle. A success is a median error below 2 pixels (at 128 pixels) where the picture
is seen in both images and a map that is accepted with the defaults.
"""

from __future__ import annotations

import argparse
import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import registration as benchmark
from scipy import ndimage

import gequi
from gequi.errors import GequiError

SIZE = 128
PICTURES = (*benchmark.PICTURES, "clock", "moon", "page")  # wider than the pictures that the presets were set on
LIMIT = 2.0  # pixels

Case = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # moving, fixed, the true map, where it is measured


def case_of(picture: np.ndarray, linear: np.ndarray, shift: np.ndarray, moving_size: int = SIZE) -> Case:
    """The fixed image shows the picture through the linear map; the moving image is the middle of the picture."""
    middle = (len(picture) - 1) / 2
    pixels = np.indices((SIZE, SIZE)) - (SIZE - 1) / 2
    at = np.einsum("ij,jrc->irc", linear, pixels) + shift[:, None, None]
    scale = math.sqrt(abs(np.linalg.det(linear)))
    blurred = ndimage.gaussian_filter(picture, 0.5 * math.sqrt(max(scale**2 - 1, 0)))
    fixed = ndimage.map_coordinates(blurred, at + middle, order=3, mode="reflect")
    start = round(middle - (moving_size - 1) / 2)
    moving = picture[start : start + moving_size, start : start + moving_size]
    map = at + middle - start
    return moving, fixed, map, ((map >= 2) & (map <= moving_size - 3)).all(0)


def rotation(angle: float) -> np.ndarray:
    return np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])


def pictures(pairs: int, seed: int) -> Iterator[tuple[np.ndarray, np.random.Generator]]:
    """Yield pictures in turn, 3 times as large as the images, each with its random generator."""
    for number in range(pairs):
        name = PICTURES[number % len(PICTURES)]
        yield benchmark.picture(name, 2 * SIZE), np.random.default_rng([seed, number])


def scaled(pairs: int, seed: int, scale: float) -> Iterator[Case]:
    for picture, random in pictures(pairs, seed):
        size = round(SIZE * max(1.0, 1 / scale)) if scale < 1 else SIZE
        linear = rotation(random.uniform(0, 2 * math.pi)) / scale
        yield case_of(picture, linear, random.uniform(-4, 4, 2), min(size, len(picture)))


def overlapping(pairs: int, seed: int, share: float) -> Iterator[Case]:
    for picture, random in pictures(pairs, seed):
        away = rotation(random.uniform(0, 2 * math.pi)) @ np.array([(1 - share) * SIZE, 0])
        yield case_of(picture, rotation(random.uniform(0, 2 * math.pi)), away)


def stretched(pairs: int, seed: int, factor: float) -> Iterator[Case]:
    for picture, random in pictures(pairs, seed):
        turn, back = (rotation(random.uniform(0, 2 * math.pi)) for _ in range(2))
        yield case_of(picture, turn @ np.diag([factor**0.5, factor**-0.5]) @ back, random.uniform(-4, 4, 2))


def framed(pairs: int, seed: int, contrast: str) -> Iterator[Case]:
    """A retina at a random angle and shift behind a round black frame that stays where it is."""
    retina = gequi.sample_image("retina")
    retina = ndimage.zoom(retina, 2.2 * SIZE / len(retina), order=3)
    row, column = np.indices((SIZE, SIZE)) - (SIZE - 1) / 2
    window = np.hypot(row, column) < 0.46 * SIZE
    for number in range(pairs):
        random = np.random.default_rng([seed, number])
        moving, fixed, map, seen = case_of(retina, rotation(random.uniform(0, 2 * math.pi)), random.uniform(-10, 10, 2))
        fixed = 1 - fixed if contrast == "any" else fixed
        inside = ndimage.map_coordinates(window.astype(float), map, order=1, mode="constant") > 0.5
        yield np.where(window, moving, 0.0), np.where(window, fixed, 0.0), map, seen & window & inside


def measure(name: str, cases: Iterator[Case], **options: Any) -> None:
    errors, refused, wrong = [], 0, 0
    for moving, fixed, truth, seen in cases:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = gequi.register_images(moving, fixed, **options)
        except GequiError:
            refused += 1
            continue
        error = float(np.median(np.linalg.norm(found.map - truth, axis=0)[seen]))
        errors.append(error)
        wrong += error >= LIMIT
    count = len(errors) + refused
    right = len(errors) - wrong
    middle = np.median(errors) if errors else math.nan
    print(f"{name:36s} {count:4d} pairs  success {100 * right / count:5.1f} %  refused {refused:3d}  wrong {wrong:3d}  "
          f"median {middle:.3f} px", flush=True)  # fmt: skip


def parts(pairs: int, seed: int) -> dict[str, Callable[[], None]]:
    def scale() -> None:
        for factor in (0.5, 0.6, 1.6, 2.0):
            measure(f"scale {factor}", scaled(pairs, seed, factor))

    def overlap() -> None:
        for share in (0.7, 0.5, 0.4):
            measure(f"overlap {share:.0%}", overlapping(pairs, seed, share))

    def stretch() -> None:
        for factor in (1.5, 2.0):
            for transform in ("affine", "deformable"):
                measure(f"stretch {factor}:1, {transform}", stretched(pairs, seed, factor), transform=transform)

    def frame() -> None:
        for contrast in ("same", "any"):
            measure(f"retina in a fixed frame, {contrast}", framed(20, seed, contrast), contrast=contrast)

    return {"scale": scale, "overlap": overlap, "stretch": stretch, "frame": frame}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", help="scale, overlap, stretch, frame; all where none is named")
    parser.add_argument("--pairs", type=int, default=22)
    parser.add_argument("--seed", type=int, default=17)
    chosen = parser.parse_args()
    known = parts(chosen.pairs, chosen.seed)
    for name in chosen.parts or known:
        known[name]()


if __name__ == "__main__":
    main()

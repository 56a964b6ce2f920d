"""Registration of stained sections with landmarks, from a folder. Run: python tests/benchmarks/real_pairs.py FOLDER

FOLDER holds an image and a table for each section, such as lung_he.jpg and lung_he.csv with the columns `row` and
`column` in pixels from 0; the landmarks of two sections of one subject agree in their order. Every ordered pair of a
subject is registered, upright and turned, without a limit of probability. Printed are, for each pair, the median rTRE
(the error over the diagonal of the fixed image), the robustness (the share of landmarks that moved nearer), the share of
landmarks whose error is below two claimed deviations, sqrt(claimed^2 + annotators^2), and whether the defaults would
have refused the map; and over all pairs the rank correlation of claim and error. --annotators SUBJECT=PERCENT is the
distance of two annotators as a share of the diagonal (lung=0.23, the least of its images; graf=0.05, its homography).

Where the folder has them, pairs whose map is known follow: two contrasts of one slice of a brain, upright and turned
(contrast "any"), and a painted wall from two viewpoints.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy import ndimage, stats

import gequi

LEAST = 0.5  # the default of `min_probability`
# of graf1 to graf3, in (x, y, 1) from 0 (OpenCV's documentation)
HOMOGRAPHY = np.array(
    [[0.76285898, -0.29922929, 225.67123], [0.33443473, 1.0143901, -76.999973], [3.4663091e-4, -1.4364524e-5, 1]]
)


def load(folder: Path, name: str, size: int) -> tuple[np.ndarray, np.ndarray]:
    """A section in grey, `size` pixels along its longer side, and its landmarks (point, axis)."""
    with Image.open(folder / f"{name}.jpg") as whole:
        grey = whole.convert("L")
    scale = size / max(grey.size)
    small = grey.resize((round(grey.width * scale), round(grey.height * scale)), Image.Resampling.LANCZOS)
    with open(folder / f"{name}.csv") as table:
        points = np.array([[float(row["row"]), float(row["column"])] for row in csv.DictReader(table)])
    factor = np.array([small.height / grey.height, small.width / grey.width])
    return np.asarray(small) / 255.0, (points + 0.5) * factor - 0.5


def turned(image: np.ndarray, points: np.ndarray, angle: float) -> tuple[np.ndarray, np.ndarray]:
    """The image and its points turned about the middle, on a canvas that holds all of it."""
    cosine, sine = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    rotation = np.array([[cosine, -sine], [sine, cosine]])
    size = np.ceil(np.abs(rotation) @ image.shape).astype(int)
    before, after = (np.array(image.shape) - 1) / 2, (size - 1) / 2
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    moved = ndimage.affine_transform(
        image, rotation.T, before - rotation.T @ after, output_shape=tuple(size), order=1, cval=float(np.median(border))
    )
    return moved, (points - before) @ rotation.T + after


class Measured(NamedTuple):
    """A pair: median rTRE in percent, robustness, probability, and of each landmark the error and the claim, in pixels."""

    relative: float
    nearer: float
    probability: float
    error: np.ndarray
    claimed: np.ndarray
    annotators: float

    @property
    def within(self) -> float:
        return float((self.error < 2 * np.hypot(self.claimed, self.annotators)).mean())


def measure(
    moving: np.ndarray, fixed: np.ndarray, from_points: np.ndarray, to_points: np.ndarray, annotators: float = 0.0,
    **options: object,
) -> Measured:  # fmt: skip
    """The registration of two images beside their landmarks; `annotators` is in percent of the diagonal of `fixed`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = gequi.register_images(moving, fixed, min_probability=0, **options)
    carried, deviation = found.transform_points(to_points, "fixed_to_moving", return_std=True)
    error = np.linalg.norm(carried - from_points, axis=1)
    nearer = np.linalg.norm(found.transform_points(from_points, extrapolate=True) - to_points, axis=1)
    before = np.linalg.norm(from_points - to_points, axis=1)
    diagonal = float(np.hypot(*fixed.shape)) / 100
    return Measured(
        float(np.median(error)) / diagonal, float((nearer < before).mean()) if before.any() else np.nan, found.probability, error, deviation,
        annotators * diagonal,
    )  # fmt: skip


def grey(path: Path, size: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """An image in grey, and its pixels for each pixel of the file: (axis)."""
    with Image.open(path) as file:
        whole = file.convert("L")
    factor = 1.0 if size is None else size / max(whole.size)
    small = whole.resize((round(whole.width * factor), round(whole.height * factor)), Image.Resampling.LANCZOS)
    return np.asarray(small) / 255.0, np.array([small.height / whole.height, small.width / whole.width])


def known_pairs(folder: Path, size: int) -> Iterator[tuple[str, str, tuple[np.ndarray, ...]]]:
    """Pairs whose map is known: name, contrast, (moving, fixed, points of moving, points of fixed)."""
    if (folder / "brain_t1.png").exists():
        brain = {name: grey(folder / f"brain_{name}.png")[0] for name in ("t1", "pd")}
        inner = ndimage.binary_erosion(brain["pd"] > 0.08, iterations=2)
        points = np.argwhere(inner)[::150].astype(float)
        for (moving, fixed), angle in itertools.product((("t1", "pd"), ("pd", "t1")), (0.0, 37.0, 120.0, 200.0)):
            shown, moved = turned(brain[moving], points, angle)
            yield f"brain {moving} to {fixed} {angle:.0f}", "any", (shown, brain[fixed], moved, points)
    if (folder / "graf1.png").exists():
        (one, by_one), (three, by_three) = (grey(folder / f"graf{number}.png", size) for number in (1, 3))
        at = np.stack(np.meshgrid(*[np.arange(5, n - 5, 30.0) for n in one.shape], indexing="ij"), -1).reshape(-1, 2)
        exact = ((at + 0.5) / by_one - 0.5)[:, ::-1]
        projected = np.concatenate([exact, np.ones((len(exact), 1))], 1) @ HOMOGRAPHY.T
        there = (projected[:, 1::-1] / projected[:, 2:] + 0.5) * by_three - 0.5
        seen = ((there > 2) & (there < np.array(three.shape) - 3)).all(1)
        yield "graf 3 to 1", "same", (three, one, there[seen], at[seen])
        yield "graf 1 to 3", "same", (one, three, at[seen], there[seen])


def sections(folder: Path, size: int, angles: list[float]) -> Iterator[tuple[str, str, tuple[np.ndarray, ...]]]:
    """Every ordered pair of sections of a subject, at each angle: subject, name, images and points as `known_pairs()`."""
    subjects: dict[str, list[str]] = {}
    for table in sorted(folder.glob("*_*.csv")):
        subjects.setdefault(table.stem.partition("_")[0], []).append(table.stem)
    for subject, names in subjects.items():
        loaded = {name: load(folder, name, size) for name in names}
        for moving, fixed in itertools.permutations(names, 2):
            (image, from_points), (other, to_points) = loaded[moving], loaded[fixed]
            count = min(len(from_points), len(to_points))
            for angle in angles:
                shown, points = turned(image, from_points[:count], angle)
                yield subject, f"{moving} to {fixed} {angle:.0f}", (shown, other, points, to_points[:count])


def flipped(pair: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    """The pair with its moving image and the points of it flipped left to right."""
    moving, fixed, points, to_points = pair
    return moving[:, ::-1], fixed, np.stack([points[:, 0], moving.shape[1] - 1 - points[:, 1]], 1), to_points


def report(name: str, row: Measured) -> Measured:
    refused = "  would be refused" if row.probability < LEAST else ""
    print(f"{name:36s}  rTRE {row.relative:5.2f} %  nearer {row.nearer:4.2f}  within 2 deviations {row.within:4.2f}  "
          f"probability {row.probability:4.2f}{refused}", flush=True)  # fmt: skip
    return row


def summarize(title: str, rows: list[Measured]) -> None:
    if not rows:
        return
    error, claimed = (np.concatenate([getattr(row, name) for row in rows]) for name in ("error", "claimed"))
    print(f"{len(rows)} {title}: median rTRE {np.median([row.relative for row in rows]):.3f} %, robustness "
          f"{np.nanmean([row.nearer for row in rows]):.3f}, within 2 deviations {np.mean([row.within for row in rows]):.3f}, "
          f"rank correlation of claim and error {stats.spearmanr(claimed, error).statistic:.2f}, would be refused "
          f"{sum(row.probability < LEAST for row in rows)}", flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--angles", type=float, nargs="*", default=[0.0])
    parser.add_argument("--contrast", default="same")
    parser.add_argument("--transform", default="deformable")
    parser.add_argument("--mirrored", action="store_true", help='flip the moving sections, with mirror = "search"')
    parser.add_argument("--annotators", nargs="*", default=["lung=0.23", "graf=0.05"], metavar="SUBJECT=PERCENT")
    chosen = parser.parse_args()
    if chosen.folder is None:
        print("real pairs: no folder of sections was given")
        return
    of_subject = {name: float(percent) for name, _, percent in (each.partition("=") for each in chosen.annotators)}
    options = {
        "contrast": chosen.contrast,
        "transform": chosen.transform,
        "mirror": "search" if chosen.mirrored else False,
    }
    stained = [
        report(name, measure(*(flipped(pair) if chosen.mirrored else pair), of_subject.get(subject, 0.0), **options))
        for subject, name, pair in sections(chosen.folder, chosen.size, chosen.angles)
    ]
    summarize("pairs of sections", stained)
    known = []
    for name, contrast, pair in known_pairs(chosen.folder, chosen.size):
        known.append(report(name, measure(*pair, of_subject.get(name.split()[0], 0.0), contrast=contrast)))
    if known:
        summarize("pairs in all", stained + known)


if __name__ == "__main__":
    main()

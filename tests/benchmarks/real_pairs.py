"""Registration of real pairs, from a folder, also beside other packages. Run: python tests/benchmarks/real_pairs.py FOLDER

FOLDER, ../shared/data/pairs where none is named, holds an image and a table for each section, such as lung_he.jpg and lung_he.csv with the columns `row` and
`column` in pixels from 0; the landmarks of two sections of one subject agree in their order. Every ordered pair of a
subject is registered, upright and turned, without a limit of probability. For each pair it prints the median rTRE
(the error over the diagonal of the fixed image), the robustness (the share of landmarks that moved nearer), the share of
landmarks whose error is below two claimed deviations, sqrt(claimed^2 + annotators^2), and whether the defaults would
have refused the map. Over all pairs it prints the rank correlation of claim and error. --annotators SUBJECT=PERCENT is the
distance of two annotators as a share of the diagonal (lung=0.23, the least of its images; graf=0.05, its homography).

Where the folder has them, pairs whose map is known follow: two contrasts of one slice of a brain (contrast "any"),
upright, turned by 11 other angles, and shifted; and a painted wall from two viewpoints. A map is right if its median
error is below 2 pixels (of sections: below 1 % of the diagonal), and should come without a warning.

With --methods NAME ... (or all), other packages register the same pairs, and one table is printed. Its median and worst
rTRE, robustness and right maps are those of the map that the landmarks of the fixed image are carried by, and a method
that finds no map is scored as if it had not moved the images. "refused" means for gequi that the defaults refuse the
map, and for others that they find none. Times are seconds of CPU for a pair, of all cores together. support/peers.py says what
each method does.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy import ndimage, stats
from support import peers

import gequi
from gequi.errors import AmbiguousRegistrationWarning

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "data" / "pairs"
PARTS = ("sections", "brain", "graf")
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
    """A pair: median rTRE in percent, robustness, probability, and of each landmark the error and the claim, in pixels.

    `right` is whether the median error is small enough, and `warned` whether the map was said to be ambiguous.
    """

    relative: float
    nearer: float
    probability: float
    error: np.ndarray
    claimed: np.ndarray
    annotators: float
    right: bool
    warned: bool

    @property
    def within(self) -> float:
        return float((self.error < 2 * np.hypot(self.claimed, self.annotators)).mean())


def measure(
    moving: np.ndarray, fixed: np.ndarray, from_points: np.ndarray, to_points: np.ndarray, annotators: float = 0.0,
    limit: float = 1.0, **options: object,
) -> Measured:  # fmt: skip
    """Register two images and compare the map with the landmarks.

    `annotators` and `limit` are in percent of the diagonal of `fixed`.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = gequi.register_images(moving, fixed, min_probability=0, **options)
    carried, deviation = found.transform_points(to_points, "fixed_to_moving", return_std=True)
    error = np.linalg.norm(carried - from_points, axis=1)
    nearer = np.linalg.norm(found.transform_points(from_points, extrapolate=True) - to_points, axis=1)
    before = np.linalg.norm(from_points - to_points, axis=1)
    diagonal = float(np.hypot(*fixed.shape)) / 100
    warned = any(issubclass(each.category, AmbiguousRegistrationWarning) for each in caught)
    relative = float(np.median(error)) / diagonal
    return Measured(
        relative, float((nearer < before).mean()) if before.any() else np.nan, found.probability, error, deviation,
        annotators * diagonal, relative < limit, warned,
    )  # fmt: skip


def grey(path: Path, size: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return an image in gray, and its size relative to the file: (axis)."""
    with Image.open(path) as file:
        whole = file.convert("L")
    factor = 1.0 if size is None else size / max(whole.size)
    small = whole.resize((round(whole.width * factor), round(whole.height * factor)), Image.Resampling.LANCZOS)
    return np.asarray(small) / 255.0, np.array([small.height / whole.height, small.width / whole.width])


Case = tuple[str, str, tuple[np.ndarray, ...]]  # subject, name, (moving, fixed, points of moving, points of fixed)


def brains(folder: Path) -> Iterator[Case]:
    """Two contrasts of one slice of a brain: turned by 12 angles, and shifted."""
    if not (folder / "brain_t1.png").exists():
        return
    brain = {name: grey(folder / f"brain_{name}.png")[0] for name in ("t1", "pd")}
    inner = ndimage.binary_erosion(brain["pd"] > 0.08, iterations=2)
    points = np.argwhere(inner)[::150].astype(float)
    for moving, fixed in (("t1", "pd"), ("pd", "t1")):
        for angle in range(0, 360, 30):
            shown, moved = turned(brain[moving], points, angle)
            yield "brain", f"brain {moving} to {fixed} {angle}", (shown, brain[fixed], moved, points)
        by = np.array([13, 17])
        shifted = ndimage.shift(brain[moving], by, order=1)
        seen = (points + by < np.array(shifted.shape) - 1).all(1)
        pair = shifted, brain[fixed], points[seen] + by, points[seen]
        yield "brain", f"brain {moving} to {fixed} shifted", pair


def walls(folder: Path, size: int) -> Iterator[Case]:
    """A painted wall from two viewpoints, whose homography is known."""
    if not (folder / "graf1.png").exists():
        return
    (one, by_one), (three, by_three) = (grey(folder / f"graf{number}.png", size) for number in (1, 3))
    at = np.stack(np.meshgrid(*[np.arange(5, n - 5, 30.0) for n in one.shape], indexing="ij"), -1).reshape(-1, 2)
    exact = ((at + 0.5) / by_one - 0.5)[:, ::-1]
    projected = np.concatenate([exact, np.ones((len(exact), 1))], 1) @ HOMOGRAPHY.T
    there = (projected[:, 1::-1] / projected[:, 2:] + 0.5) * by_three - 0.5
    seen = ((there > 2) & (there < np.array(three.shape) - 3)).all(1)
    yield "graf", "graf 3 to 1", (three, one, there[seen], at[seen])
    yield "graf", "graf 1 to 3", (one, three, at[seen], there[seen])


def sections(folder: Path, size: int, angles: list[float]) -> Iterator[Case]:
    """Every ordered pair of sections of a subject, at each angle."""
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


def flipped(case: Case) -> Case:
    """The case with its moving image and the points of it flipped left to right."""
    subject, name, (moving, fixed, points, to_points) = case
    there = np.stack([points[:, 0], moving.shape[1] - 1 - points[:, 1]], 1)
    return subject, name, (moving[:, ::-1], fixed, there, to_points)


def report(name: str, row: Measured) -> Measured:
    said = f"{'' if row.right else '  wrong'}{'  ambiguous' if row.warned else ''}"
    refused = "  would be refused" if row.probability < LEAST else ""
    print(f"{name:36s}  rTRE {row.relative:5.2f} %  nearer {row.nearer:4.2f}  within 2 deviations {row.within:4.2f}  "
          f"probability {row.probability:4.2f}{refused}{said}", flush=True)  # fmt: skip
    return row


def summarize(title: str, rows: list[Measured]) -> None:
    if not rows:
        return
    error, claimed = (np.concatenate([getattr(row, name) for row in rows]) for name in ("error", "claimed"))
    print(f"{len(rows)} {title}: median rTRE {np.median([row.relative for row in rows]):.3f} %, robustness "
          f"{np.nanmean([row.nearer for row in rows]):.3f}, within 2 deviations {np.mean([row.within for row in rows]):.3f}, "
          f"rank correlation of claim and error {stats.spearmanr(claimed, error).statistic:.2f}, would be refused "
          f"{sum(row.probability < LEAST for row in rows)}, wrong {sum(not row.right for row in rows)}, with a warning "
          f"{sum(row.warned for row in rows)}", flush=True)  # fmt: skip


def limit_of(subject: str, pair: tuple[np.ndarray, ...]) -> float:
    """The median error below which a map is right, in percent of the diagonal: 1, or 2 pixels where the map is exact."""
    return 200 / float(np.hypot(*pair[1].shape)) if subject in ("brain", "graf") else 1.0


# ---- beside other packages ----------------------------------------------------------------------------------


class Carried(NamedTuple):
    """The result of a method on a pair: median rTRE (%), robustness, and whether the map is right and was refused."""

    relative: float
    nearer: float
    right: bool
    refused: bool
    seconds: float


def carry(method: str, subject: str, pair: tuple[np.ndarray, ...], options: dict[str, object]) -> Carried:
    """The landmarks of the fixed image carried by the map of a method."""
    moving, fixed, from_points, to_points = pair
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if method == "gequi":
            found = gequi.register_images(moving, fixed, min_probability=0, **options)
            map, refused = found.map, found.probability < LEAST
        else:
            map = peers.PEERS[method][1](moving, fixed)
            refused = map is None
    seconds = time.process_time() - start
    map = peers.nothing(moving, fixed) if map is None else map
    there = np.stack([ndimage.map_coordinates(part, to_points.T, order=1, mode="nearest") for part in map], 1)
    error, before = (np.linalg.norm(at - from_points, axis=1) for at in (there, to_points))
    relative = 100 * float(np.median(error)) / float(np.hypot(*fixed.shape))
    nearer = float((error < before).mean()) if before.any() else np.nan
    return Carried(relative, nearer, relative < limit_of(subject, pair), refused, seconds)


def compare(title: str, cases: list[Case], methods: list[str], options: dict[str, object]) -> None:
    for method in methods if cases else []:
        rows = [carry(method, subject, pair, options) for subject, _, pair in cases]
        relative, nearer, right, refused, seconds = (np.array(column) for column in zip(*rows, strict=True))
        robust = np.nanmean(nearer) if np.isfinite(nearer).any() else np.nan
        print(f"{title:<10} {method:<36} {len(rows):>5} {np.median(relative):>8.3f} {relative.max():>8.2f} "
              f"{robust:>10.3f} {int(right.sum()):>5} {int(refused.sum()):>7} {np.median(seconds):>8.1f}",
              flush=True)  # fmt: skip


def main() -> None:
    lacking = peers.missing()
    known = ["gequi", *(name for name in peers.PEERS if name not in lacking)]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=FOLDER)
    parser.add_argument("--parts", nargs="*", default=list(PARTS), choices=PARTS)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--angles", type=float, nargs="*", default=[0.0])
    parser.add_argument("--contrast", default="same")
    parser.add_argument("--transform", default="deformable")
    parser.add_argument("--mirrored", action="store_true", help='flip the moving sections, with mirror = "search"')
    parser.add_argument("--annotators", nargs="*", default=["lung=0.23", "graf=0.05"], metavar="SUBJECT=PERCENT")
    parser.add_argument("--methods", nargs="*", choices=["all", *known], help="what is compared in one table")
    chosen = parser.parse_args()
    if not chosen.folder.is_dir():
        print(f"real pairs: there is no folder of them here ({chosen.folder})")
        return
    of_subject = {name: float(percent) for name, _, percent in (each.partition("=") for each in chosen.annotators)}
    options = {
        "contrast": chosen.contrast,
        "transform": chosen.transform,
        "mirror": "search" if chosen.mirrored else False,
    }
    cases: dict[str, tuple[Iterator[Case], dict[str, object]]] = {
        "sections": (sections(chosen.folder, chosen.size, chosen.angles), options),
        "brain": (brains(chosen.folder), {"contrast": "any"}),
        "graf": (walls(chosen.folder, chosen.size), {"contrast": "same"}),
    }
    if chosen.methods:
        for name, module in lacking.items():
            print(f"{name} is left out: {module} is not installed")
        print(f"{'pairs of':<10} {'method':<36} pairs   median    worst robustness right refused CPU sec.")
        methods = known if "all" in chosen.methods else chosen.methods
        for part in chosen.parts:
            given, of_part = cases[part]
            compare(
                part,
                [flipped(case) if part == "sections" and chosen.mirrored else case for case in given],
                methods,
                of_part,
            )
        return
    total = []
    for part in chosen.parts:
        given, of_part = cases[part]
        rows = []
        for case in given:
            subject, name, pair = flipped(case) if part == "sections" and chosen.mirrored else case
            row = measure(*pair, of_subject.get(subject, 0.0), limit_of(subject, pair), **of_part)
            rows.append(report(name, row))
        summarize(f"pairs of {part}", rows)
        total += rows
    summarize("pairs in all", total)


if __name__ == "__main__":
    main()

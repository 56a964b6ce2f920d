"""Registration of stained sections with landmarks, from a folder. Run: python tests/benchmarks/real_pairs.py FOLDER

FOLDER holds an image and a table for each section, such as lung_he.jpg and lung_he.csv with the columns `row` and
`column` in pixels from 0; the landmarks of two sections of one subject agree in their order. Every ordered pair of a
subject is registered, upright and turned, without a limit of confidence. Printed are, for each pair, the median rTRE
(the error over the diagonal of the fixed image), the robustness (the share of landmarks that moved nearer), the share of
landmarks whose error is below two claimed standard deviations, and whether the defaults would have refused the map.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import warnings
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

import gequi
from gequi.registration.presets import preset_for


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


def measure(moving: np.ndarray, fixed: np.ndarray, from_points: np.ndarray, to_points: np.ndarray, contrast: str) -> list:
    """Median rTRE in percent, robustness, the share within two deviations, the confidence."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = gequi.register_images(moving, fixed, contrast=contrast, min_probability=0)
    carried, deviation = found.transform_points(to_points, "fixed_to_moving", return_std=True)
    error = np.linalg.norm(carried - from_points, axis=1)
    nearer = np.linalg.norm(found.transform_points(from_points) - to_points, axis=1)
    before = np.linalg.norm(from_points - to_points, axis=1)
    relative = 100 * float(np.median(error)) / float(np.hypot(*fixed.shape))
    return [relative, float((nearer < before).mean()), float((error < 2 * deviation).mean()), found.confidence]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--angles", type=float, nargs="*", default=[0.0])
    parser.add_argument("--contrast", default="same")
    chosen = parser.parse_args()
    if chosen.folder is None:
        print("real pairs: no folder of sections was given")
        return
    least = preset_for(2).least_confidence("deformable", chosen.contrast == "any")
    subjects: dict[str, list[str]] = {}
    for table in sorted(chosen.folder.glob("*_*.csv")):
        subjects.setdefault(table.stem.partition("_")[0], []).append(table.stem)
    rows = []
    for names in subjects.values():
        sections = {name: load(chosen.folder, name, chosen.size) for name in names}
        for moving, fixed in itertools.permutations(names, 2):
            (image, from_points), (other, to_points) = sections[moving], sections[fixed]
            count = min(len(from_points), len(to_points))
            for angle in chosen.angles:
                shown, points = turned(image, from_points[:count], angle)
                row = measure(shown, other, points, to_points[:count], chosen.contrast)
                rows.append(row)
                refused = "  would be refused" if row[3] < least else ""
                print(f"{moving:>16s} to {fixed:16s} {angle:4.0f}  rTRE {row[0]:5.2f} %  nearer {row[1]:4.2f}  "
                      f"within 2 deviations {row[2]:4.2f}  confidence {row[3]:4.2f}{refused}", flush=True)  # fmt: skip
    table = np.array(rows)
    print(f"{len(table)} pairs: median rTRE {np.median(table[:, 0]):.3f} %, robustness {table[:, 1].mean():.3f}, within 2 "
          f"deviations {table[:, 2].mean():.3f}, would be refused {int((table[:, 3] < least).sum())}")  # fmt: skip


if __name__ == "__main__":
    main()

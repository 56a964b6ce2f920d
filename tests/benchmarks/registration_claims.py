"""Measures properties of registration other than accuracy. Run: python tests/benchmarks/registration_claims.py

law       the images turned by quarters and moved by whole tokens, each on its own: the distance of the map from the
          one that the law demands
angles    the same for any two angles, with the interpolation that turning costs
swap      the map of the exchanged images, after the map
claims    the share of pixels whose error is below two claimed standard deviations, and the rank correlation of the two,
          also with contrast "any"; real pairs are in real_pairs.py, volumes in volumes.py
silhouettes  the same of black shapes on white: inside them nothing determines the map, along their outlines little does
periodic  wrong maps of textures that repeat themselves, and how many of them came without a warning
folds     pixels that fold, and the inverse
refusals  unrelated pairs that are not refused, and related ones that are
memory    the most that a pair takes beyond the import; a coordinate attention of 16,384 x 16,384 tokens
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import registration as benchmark
from registration import Pair
from scipy import ndimage, stats

import gequi
from gequi.errors import AmbiguousRegistrationWarning, UnrelatedImagesError
from gequi.registration import Registration

HERE = Path(__file__).parent
TOKEN = 4  # pixels
FRAME, INNER = 128, 96  # pixels along a side of the frame, and of the masked picture that is moved in it


def any_pairs(count: int, seed: int, size: int = 128, change: str = "clean") -> Iterator[Pair]:
    """Make pairs of the benchmark's pictures at random angles."""
    random = np.random.default_rng(seed)
    pictures = [(name, benchmark.picture(name, size)) for name in benchmark.PICTURES]
    for number in range(count):
        name, image = pictures[number % len(pictures)]
        yield benchmark.make_pair(name, image, size, random.uniform(0, 360), random, change)


def registered(moving: np.ndarray, fixed: np.ndarray, **options: object) -> Registration:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AmbiguousRegistrationWarning)
        return gequi.register_images(moving, fixed, **options)


# ---- the law ------------------------------------------------------------------------------------------------


def turned(image: np.ndarray, quarters: int) -> np.ndarray:
    return np.ascontiguousarray(np.rot90(image, quarters))


def turned_map(map: np.ndarray, moving_quarters: int, fixed_quarters: int, size: int) -> np.ndarray:
    """Return the map between the rotated images from the map between the original images."""
    map = np.stack([turned(part, fixed_quarters) for part in map])
    for _ in range(moving_quarters % 4):  # np.rot90: (row, column) goes to (size - 1 - column, row)
        map = np.stack([size - 1 - map[1], map[0]])
    return map


def framed(image: np.ndarray, row: int, column: int) -> tuple[np.ndarray, np.ndarray]:
    """Place the picture in an empty frame, and return the frame and a mask of the picture."""
    frame, mask = np.zeros((FRAME, FRAME)), np.zeros((FRAME, FRAME), dtype=bool)
    place = np.s_[row : row + len(image), column : column + len(image)]
    frame[place], mask[place] = image, True
    return frame, mask


def attention(moving: np.ndarray, fixed: np.ndarray, dtype: str) -> np.ndarray:
    """Return the position to which the attention moves each token of the fixed image: (axis, row, column)."""
    steps = gequi.registration_steps(moving, fixed, dtype=dtype)
    tokens = len(fixed) // TOKEN
    return steps["matches"]["moving"].T.reshape(2, tokens, tokens)


def law(seed: int, dtype: str) -> None:
    """All 16 combinations of quarter turns of 4 pairs."""
    worst, worst_attention = [], []
    for pair in itertools.islice(any_pairs(8, seed), 0, 8, 2):
        moving, fixed = pair.moving.astype(dtype), pair.fixed.astype(dtype)
        map = registered(moving, fixed, dtype=dtype).map
        places = attention(moving, fixed, dtype)
        for of_moving, of_fixed in itertools.product(range(4), range(4)):
            images = turned(moving, of_moving), turned(fixed, of_fixed)
            found = registered(*images, dtype=dtype).map
            worst.append(np.abs(found - turned_map(map, of_moving, of_fixed, 128)).max())
            there = attention(*images, dtype)
            worst_attention.append(np.abs(there - turned_map(places, of_moving, of_fixed, 128)).max())
    print(f"law, quarter turns, {dtype}: attention {max(worst_attention):.1e}, map {max(worst):.1e} pixels at most")


def shifts(seed: int, dtype: str) -> None:
    """Shift masked pictures by whole tokens in their frames, independently of each other."""
    pair = next(any_pairs(1, seed, INNER))
    reference, worst, places = None, [], []
    for at in itertools.product((0, 8, 16, 32), repeat=2):
        for other in ((16, 16), (8, 24), (24, 8)):
            moving, moving_mask = framed(pair.moving, *at)
            fixed, fixed_mask = framed(pair.fixed, *other)
            found = registered(moving, fixed, moving_mask=moving_mask, fixed_mask=fixed_mask, dtype=dtype).map
            part = found[:, other[0] : other[0] + INNER, other[1] : other[1] + INNER] - np.reshape(at, (2, 1, 1))
            reference = part if reference is None else reference
            difference = benchmark.length(part - reference)[benchmark.scored(pair)]
            worst.append(difference.max())
            places.append(np.median(difference))
    print(f"law, whole tokens, {dtype}: map {max(worst):.1e} pixels at most, median {np.median(places):.1e}")


def angles(count: int, seed: int) -> None:
    """Pairs at 36 x 36 angles. Each image is rotated about its center by its own angle."""
    random = np.random.default_rng(seed)
    pixels = np.indices((128, 128)).astype(float)
    inner = benchmark.length(pixels - 63.5) < 0.42 * 128
    found, floor = [], []

    def seen(image: np.ndarray, map: np.ndarray, angle: float) -> tuple[np.ndarray, np.ndarray]:
        """Rotate a part of a larger picture, and return it with the positions of its pixels in the picture."""
        turn = np.radians(angle)
        rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        at = np.tensordot(rotation, pixels - 63.5, axes=1) + 63.5
        at = np.stack([ndimage.map_coordinates(part, at, order=3, mode="nearest") for part in map])
        return ndimage.map_coordinates(image, at + (len(image) - 128) / 2, order=3, mode="nearest"), rotation

    for number in range(count):
        image = benchmark.picture(benchmark.PICTURES[number % len(benchmark.PICTURES)], 128)
        warp = pixels + benchmark.smooth_shift((128, 128), 10, np.random.default_rng([seed, number % 8]))
        one, other = random.choice(36, 2) * 10.0
        fixed, _ = seen(image, warp, 0)
        moving, _ = seen(image, pixels, 0)
        reference = registered(moving, fixed, min_probability=0).map
        fixed_turned, of_fixed = seen(image, warp, one)
        moving_turned, of_moving = seen(image, pixels, other)
        map = registered(moving_turned, fixed_turned, min_probability=0).map
        at = np.tensordot(of_fixed, pixels - 63.5, axes=1) + 63.5
        expected = np.stack([ndimage.map_coordinates(part, at, order=1, mode="nearest") for part in reference])
        expected = np.tensordot(of_moving.T, expected - 63.5, axes=1) + 63.5
        inside = inner & ((expected > 3) & (expected < 124)).all(0)
        found.append(benchmark.length(map - expected)[inside])
        back = ndimage.map_coordinates(image, at + 32, order=3)
        floor.append(np.abs(back - fixed).mean())
    found = np.concatenate(found)
    print(
        f"law, any angles, {count} of 36 x 36: median {np.median(found):.3f}, 95 % below {np.quantile(found, 0.95):.3f}"
        " pixels"
    )


# ---- the rest -----------------------------------------------------------------------------------------------


def swap(count: int, seed: int) -> None:
    means = []
    for pair in any_pairs(count, seed):
        there = registered(pair.moving, pair.fixed).map
        back = registered(pair.fixed, pair.moving).map
        both = gequi.compose_maps(back, there)
        means.append(benchmark.length(both - np.indices(pair.fixed.shape))[benchmark.scored(pair)].mean())
    print(f"swapped images, {count} pairs: {np.mean(means):.3f} pixels, median {np.median(means):.3f}")


def claims(count: int, seed: int) -> None:
    cases = [(size, change, {}) for size in (128, 256, 512) for change in ("clean", "photometric")]
    cases += [(256, "inverted", {"contrast": "any"}), (256, "photometric", {"contrast": "any"})]
    for size, change, options in cases:
        errors, claimed = [], []
        for pair in any_pairs(count if size == 128 else count // 4, seed, size, change):
            found = registered(pair.moving, pair.fixed, min_probability=0, **options)
            errors.append(benchmark.error(found.map, pair))
            claimed.append(found.uncertainty[benchmark.scored(pair)])
        error, claim = np.concatenate(errors), np.concatenate(claimed)
        chosen = np.random.default_rng(seed).permutation(len(error))[:20000]
        rank = stats.spearmanr(error[chosen], claim[chosen]).statistic
        kind = "".join(f", {name} {value}" for name, value in options.items())
        print(
            f"claims, {size} pixels, {change}{kind}: {100 * (error <= 2 * claim).mean():.1f} % within 2 deviations, "
            f"rank correlation {rank:.2f}",
            flush=True,
        )
    half = next(any_pairs(1, seed))
    mask = np.indices(half.fixed.shape)[1] < 64
    flat = [np.where(mask, image.mean(), image) for image in (half.moving, half.moving)]
    deviation = registered(*flat).uncertainty
    ratio = np.median(deviation[:, :48]) / np.median(deviation[:, 80:])
    print(f"claims, a flat half: {ratio:.1f} times the deviation of the other half")


def silhouette(size: int, random: np.random.Generator) -> np.ndarray:
    """Black shapes on white with a smooth random outline, 1.5 times as large as `size`."""
    large = round(1.5 * size)
    noise = ndimage.gaussian_filter(random.standard_normal((large, large)), random.uniform(0.06, 0.13) * size)
    fine = ndimage.zoom(noise, 4, order=1)  # greys along the outline, as a camera averages it
    return ndimage.zoom((fine > np.median(fine)).astype(float), 0.25, order=1)


def silhouettes(count: int, seed: int) -> None:
    for change in ("clean", "photometric"):
        random = np.random.default_rng(seed)
        flat, within, error, claim = [], [], [], []
        for _ in range(count):
            image = silhouette(128, random)
            pair = benchmark.make_pair("silhouette", image, 128, random.uniform(0, 360), random, change)
            found, scored = registered(pair.moving, pair.fixed, min_probability=0), benchmark.scored(pair)
            edges = ndimage.gaussian_gradient_magnitude(pair.fixed, 1.0) > 0.1
            flat.append((ndimage.distance_transform_edt(~edges) > 8)[scored])
            error.append(benchmark.error(found.map, pair))
            claim.append(found.uncertainty[scored])
            within.append(error[-1] <= 2 * claim[-1])
        inside, hit = np.concatenate(flat), np.concatenate(within)
        rank = stats.spearmanr(np.concatenate(error), np.concatenate(claim)).statistic
        print(
            f"claims, silhouettes, {change}: {100 * hit.mean():.1f} % within 2 deviations, more than 8 pixels from an "
            f"outline {100 * hit[inside].mean():.1f} %, rank correlation {rank:.2f}",
            flush=True,
        )


def checkerboard(size: int) -> np.ndarray:
    """A chessboard with soft edges, 1.5 times as large as `size`."""
    row, column = np.indices((round(1.5 * size),) * 2)
    return ndimage.gaussian_filter(((row // 12 + column // 12) % 2).astype(float), 0.8)


def periodic(count: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    for name in ("brick", "chessboard"):
        image = benchmark.picture(name, 128) if name == "brick" else checkerboard(128)
        wrong = silent = warned = 0
        for _ in range(count):
            pair = benchmark.make_pair(name, image, 128, random.uniform(0, 360), random)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                map = gequi.register_images(pair.moving, pair.fixed, min_probability=0).map
            missed = benchmark.error(map, pair).mean() >= 2
            wrong, warned, silent = wrong + missed, warned + bool(caught), silent + (missed and not caught)
        print(f"periodic, {name}: of {count} maps {wrong} wrong, {warned} with a warning, {silent} wrong without one")


def folds(count: int, seed: int) -> None:
    total, inverse, smallest = 0, [], np.inf
    for number, pair in enumerate(any_pairs(count, seed)):
        change = ("clean", "photometric")[number % 2]
        fixed = benchmark.changed(pair.fixed, change, np.random.default_rng(number))
        found = registered(pair.moving, fixed, min_probability=0)
        total, smallest = total + found.metrics["folds"], min(smallest, found.jacobian.min())
        inverse.append(found.metrics["inverse_consistency"])
    print(
        f"folds, {count} pairs: {total} pixels, least determinant {smallest:.2f}; inverse {np.mean(inverse):.4f} pixels"
    )


OTHERS = ("moon", "page", "text", "clock", "rocket", "horse", "hubble_deep_field", "microaneurysms")


def refusals(count: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    names = benchmark.PICTURES + benchmark.TEXTURES + OTHERS
    images = {name: benchmark.picture(name, 128)[32:160, 32:160] for name in names}
    for contrast, change in (("same", "photometric"), ("any", "inverted")):
        unrelated = [random.choice(names, 2, replace=False) for _ in range(count)]
        given = [(images[one], turned(images[other], random.integers(4))) for one, other in unrelated]
        accepted = count - sum(refused(*pair, contrast) for pair in given)
        pairs = list(any_pairs(count, seed, change=change))
        lost = sum(refused(pair.moving, pair.fixed, contrast) for pair in pairs)
        print(
            f"refusals, contrast {contrast}: of {count} unrelated pairs {accepted} not refused; "
            f"of {count} related ones, {change}, {lost} refused"
        )


def refused(moving: np.ndarray, fixed: np.ndarray, contrast: str) -> bool:
    try:
        registered(moving, fixed, contrast=contrast)
    except UnrelatedImagesError:
        return True
    return False


def memory() -> None:
    """Measure each in a process of its own, after the import and a small first call."""
    start = "import resource, numpy as np, gequi, registration as r; peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024; "
    pair = (
        "p = r.make_pair('cat', r.picture('cat', {0}), {0}, 68.0, np.random.default_rng(1)); before = peak(); "
        "gequi.register_images(p.moving, p.fixed); print(f'{{peak() - before:.0f}} MB')"
    )
    tokens = (
        "g = np.random.default_rng(1).standard_normal((2, 16384, 64)).astype('float32'); "
        "v = np.indices((128, 128)).reshape(2, -1).T.astype('float32'); "
        "gequi.scaled_dot_product_attention(g[0][:64], g[1][:64], v[:64]); before = peak(); "
        "gequi.scaled_dot_product_attention(g[0], g[1], v); print(f'{peak() - before:.0f} MiB')"
    )
    for name, code in (("128 pixels", pair.format(128)), ("512 pixels", pair.format(512)), ("16,384 tokens", tokens)):
        run = subprocess.run([sys.executable, "-c", start + code], capture_output=True, text=True, check=True, cwd=HERE)
        print(f"memory, {name}: {run.stdout.strip()}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = ("law", "shifts", "angles", "swap", "claims", "silhouettes", "periodic", "folds", "refusals", "memory")
    parser.add_argument("parts", nargs="*", default=list(parts), metavar="part")
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--seed", type=int, default=3)
    chosen = parser.parse_args()
    for part in chosen.parts:
        if part in ("law", "shifts"):
            for dtype in ("float32", "float64"):
                {"law": law, "shifts": shifts}[part](chosen.seed, dtype)
        elif part == "memory":
            memory()
        else:
            measure = {
                "angles": angles, "swap": swap, "claims": claims, "silhouettes": silhouettes,
                "periodic": periodic, "folds": folds, "refusals": refusals,
            }[part]  # fmt: skip
            measure(chosen.pairs, chosen.seed)
        sys.stdout.flush()


if __name__ == "__main__":
    main()

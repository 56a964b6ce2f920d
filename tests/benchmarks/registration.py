"""Registration of generated pairs, at any angle, beside the peers that are installed. Run: python tests/benchmarks/registration.py

A pair: the moving image is the middle of a picture; the fixed image is the picture seen through a turn after a smooth
random warp of up to 10 pixels at 128 x 128, so that the true map is known. The error of a map is its mean distance
from the truth in the central disc, where both images are seen; a success is a mean error below 2 pixels. The peers are
in support/peers.py.
"""

from __future__ import annotations

import argparse
import math
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage

PICTURES = ("astronaut", "camera", "coins", "cat", "coffee", "retina", "immunohistochemistry", "cell")
TEXTURES = ("brick", "grass", "gravel")
WIDER = ("clock", "moon", "page", "rocket", "hubble_deep_field", "horse", "text")  # none was set on these
CHANGES = ("clean", "photometric", "inverted", "multimodal")
MODALITIES = ("curve", "edges", "labels", "stains")  # by turns, what "multimodal" is; stains are of one picture only
STAINED = "immunohistochemistry"


class Pair(NamedTuple):
    """Two images and the true map from the fixed to the moving one, (axis, row, column)."""

    picture: str
    angle: float
    moving: np.ndarray
    fixed: np.ndarray
    map: np.ndarray


def picture(name: str, size: int, stain: int | None = None) -> np.ndarray:
    """A picture of scikit-image, its central square in grey between 0 and 1, 1.5 times as large as `size`.

    Of a picture of stained tissue, `stain` 0 is the haematoxylin and 2 the DAB.
    """
    from skimage import color, data, transform

    image = np.asarray(getattr(data, name)(), dtype=np.float64)
    if stain is not None:
        image = color.rgb2hed(image[..., :3] / 255)[..., stain]
        image = image.clip(*np.quantile(image, (0.005, 0.995)))
    image = color.rgb2gray(image[..., :3] / 255) if image.ndim == 3 else image
    side = min(image.shape)
    row, column = ((n - side) // 2 for n in image.shape)
    large = round(1.5 * size)
    image = transform.resize(image[row : row + side, column : column + side], (large, large), anti_aliasing=True)
    return (image - image.min()) / np.ptp(image)


def smooth_shift(shape: tuple[int, ...], pixels: float, random: np.random.Generator) -> np.ndarray:
    """A smooth random shift (axis, *shape) of up to `pixels`, without folds."""
    axes, sigma = len(shape), 0.1 * max(shape)
    shift = ndimage.gaussian_filter(random.standard_normal((axes, *shape)), (0, *[sigma] * axes), mode="reflect")
    shift -= shift.mean(tuple(range(1, axes + 1)), keepdims=True)
    shift *= pixels / length(shift).max()
    while jacobian(shift + np.indices(shape)).min() <= 0.2:
        shift *= 0.97
    return shift


def length(vectors: np.ndarray) -> np.ndarray:
    """Lengths (*shape) of vectors (axis, *shape)."""
    return np.sqrt((vectors**2).sum(0))


def jacobian(map: np.ndarray) -> np.ndarray:
    """The determinant (*shape) of the derivative of a map (axis, *shape)."""
    slopes = np.stack([np.stack(np.gradient(part)) for part in map])
    return np.linalg.det(np.moveaxis(slopes, (0, 1), (-2, -1)))


def changed(image: np.ndarray, change: str, random: np.random.Generator) -> np.ndarray:
    """The image, "photometric": with gamma, a smooth bias field of 20 % and 3 % noise; "inverted"; or another kind.

    "curve", through a random intensity curve that rises and falls; "edges", the length of its gradient; "labels", four
    classes of brightness, each with a random grey, as a segmentation is drawn.
    """
    if change == "photometric":
        bias = ndimage.gaussian_filter(random.standard_normal(image.shape), 0.2 * max(image.shape))
        image = image.clip(0, 1) ** random.uniform(0.7, 1.4) * (1 + 0.2 * bias / np.abs(bias).max())
        return image + 0.03 * random.standard_normal(image.shape)
    if change == "curve":
        knots = random.permutation([0.0, 0.4, 0.7, 1.0, 0.2])
        return np.interp(image.clip(0, 1), np.linspace(0, 1, len(knots)), knots)
    if change == "edges":
        return ndimage.gaussian_gradient_magnitude(image, 1.0 * len(image) / 128)
    if change == "labels":
        classes = np.searchsorted(np.quantile(image, (0.25, 0.5, 0.75)), image)
        return ndimage.gaussian_filter(random.permutation([0.0, 0.33, 0.67, 1.0])[classes], 0.5)
    return 1 - image if change == "inverted" else image


def make_pair(
    name: str,
    image: np.ndarray,
    size: int,
    angle: float,
    random: np.random.Generator,
    change: str = "clean",
    other: np.ndarray | None = None,
) -> Pair:
    """Make a pair from a picture as described at the top of this file. `other` is the picture of the fixed image."""
    pixels, centre, margin = np.indices((size, size)).astype(float), (size - 1) / 2, (len(image) - size) / 2
    row, column = pixels + smooth_shift((size, size), 10 * size / 128, random) - centre
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    map = np.stack([cosine * row - sine * column, sine * row + cosine * column]) + centre
    fixed, moving = (
        ndimage.map_coordinates(shown, at + margin, order=3, mode="nearest")
        for shown, at in ((image if other is None else other, map), (image, pixels))
    )
    return Pair(name, angle, moving, changed(fixed, change, random), map)


def pairs(
    size: int = 128,
    angles: tuple[float, ...] = (0, 45, 90, 137, 180),
    change: str = "clean",
    seed: int = 0,
    names: tuple[str, ...] = PICTURES,
) -> Iterator[Pair]:
    """Make a pair of each picture at each angle. "multimodal" pairs have each modality in turn."""
    for number, name in enumerate(names):
        image = picture(name, size)
        stains = [picture(name, size, stain) for stain in (0, 2)] if name == STAINED else []
        for turn, angle in enumerate(angles):
            random = np.random.default_rng([seed, number, int(angle)])
            modalities = MODALITIES if stains else MODALITIES[:3]
            kind = modalities[(turn + number) % len(modalities)] if change == "multimodal" else change
            if kind != "stains":
                yield make_pair(name, image, size, angle, random, kind)
            elif stains:
                yield make_pair(name, stains[0], size, angle, random, kind, stains[1])


def scored(pair: Pair) -> np.ndarray:
    """The pixels where a map is scored: the central disc, where the moving image is seen."""
    size = len(pair.fixed)
    row, column = np.indices((size, size)) - (size - 1) / 2
    return (np.hypot(row, column) < 0.42 * size) & ((pair.map >= 0) & (pair.map <= size - 1)).all(0)


def error(map: np.ndarray, pair: Pair) -> np.ndarray:
    """The distance from the truth, in pixels, at the scored pixels."""
    return length(map - pair.map)[scored(pair)]


# ---- methods: (moving, fixed, change) -> map ----------------------------------------------------------------


def gequi_map(moving: np.ndarray, fixed: np.ndarray, change: str) -> np.ndarray:
    import gequi

    contrast = "same" if change in ("clean", "photometric") else "any"
    return gequi.register_images(moving, fixed, contrast=contrast, min_probability=0).map


def gequi_trained_map(moving: np.ndarray, fixed: np.ndarray, change: str) -> np.ndarray:
    """Register with the encoder that was trained on other pictures, for any contrast."""
    import gequi

    encoder = gequi.registration_encoder("multimodal")
    return gequi.register_images(moving, fixed, contrast="any", encoder=encoder, min_probability=0).map


def methods() -> dict[str, Callable[..., np.ndarray]]:
    """Return gequi and the peers that are installed. A peer that finds no map gets the identity."""
    from support import peers

    def without_change(peer: Callable[..., Any]) -> Callable[..., np.ndarray]:
        def map(moving: np.ndarray, fixed: np.ndarray, change: str) -> np.ndarray:
            found = peer(moving, fixed)
            return np.indices(fixed.shape).astype(float) if found is None else found

        return map

    others = {name: without_change(peer) for name, (_, peer) in peers.PEERS.items() if name not in peers.missing()}
    return {"gequi": gequi_map, "gequi, trained encoder": gequi_trained_map, **others}


def row(method: Callable[..., np.ndarray], data: list[Pair], change: str) -> dict[str, Any]:
    """Figures of a method on pairs: errors in pixels, success and folds, seconds a pair."""
    errors, folds, seconds = [], 0, []
    for pair in data:
        start = time.perf_counter()
        map = method(pair.moving, pair.fixed, change)
        seconds.append(time.perf_counter() - start)
        errors.append(error(map, pair).mean())
        folds += int((jacobian(map) <= 0).sum())
    return {
        "pairs": len(data), "mean": np.mean(errors), "median": np.median(errors), "worst": np.max(errors),
        "success": 100 * np.mean(np.array(errors) < 2), "folds": folds, "seconds": np.median(seconds),
    }  # fmt: skip


def main() -> None:
    known = methods()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 512])
    parser.add_argument("--angles", type=float, nargs="+", default=[0, 45, 90, 137, 180])
    parser.add_argument("--changes", nargs="+", default=list(CHANGES), choices=CHANGES + MODALITIES)
    parser.add_argument("--pictures", nargs="+", default=list(PICTURES), choices=PICTURES + TEXTURES + WIDER)
    parser.add_argument("--methods", nargs="+", default=list(known), choices=list(known))
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    warnings.filterwarnings("ignore", message=".* fit almost as well")  # counted by registration_claims.py
    print(f"{'size':>4} {'change':<12} {'method':<30} pairs   mean median  worst success folds seconds")
    for size in chosen.sizes:
        for change in chosen.changes:
            data = list(pairs(size, tuple(chosen.angles), change, chosen.seed, tuple(chosen.pictures)))
            for name in chosen.methods if data else []:
                r = row(known[name], data, change)
                print(
                    f"{size:>4} {change:<12} {name:<30} {r['pairs']:>5} {r['mean']:>6.3f} {r['median']:>6.3f} "
                    f"{r['worst']:>6.2f} {r['success']:>6.1f}% {r['folds']:>5} {r['seconds']:>7.2f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()

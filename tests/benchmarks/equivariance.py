"""Errors of maps under elements that interpolate, relative to the interpolation floor. FACTOR is set from them.

    python tests/benchmarks/equivariance.py

One line a map: the largest error(g) / floor(g) over the rotations of C3, by the size of the image (noise), and in brackets
the floor. FACTOR in gequi/symmetry/interpolation.py stands between the maps that are equivariant and those that are not.
"""

import numpy as np
import scipy.ndimage

import gequi
from gequi.groups import elements
from gequi.symmetry import interpolation
from gequi.symmetry.operators import make_operator

SIZES = (17, 25, 33, 49, 65)
SPACE = gequi.gspace("rot2dOnR2", N=3)
KERNEL = np.random.default_rng(1).normal(size=(1, 1, 3, 3))


def slope(x, axis):
    return np.gradient(x, axis=axis)


EQUIVARIANT = {
    "square": np.square,
    "Laplacian": lambda x: scipy.ndimage.laplace(x, mode="constant"),
    "blur": lambda x: scipy.ndimage.gaussian_filter(x, [0, 0, 2, 2], mode="constant"),
    "mean of 3 x 3": lambda x: scipy.ndimage.uniform_filter(x, [0, 0, 3, 3], mode="constant"),
    "length of the gradient": lambda x: np.hypot(slope(x, 2), slope(x, 3)),
    "median of 3 x 3": lambda x: scipy.ndimage.median_filter(x, [1, 1, 3, 3]),
}
OTHERS = {
    "shift by a pixel": lambda x: np.roll(x, 1, 3),
    "mirror": lambda x: x[..., ::-1],
    "random 3 x 3 kernel": lambda x: scipy.ndimage.convolve(x, KERNEL, mode="constant"),
    "mean of 1 x 3": lambda x: scipy.ndimage.uniform_filter(x, [0, 0, 1, 3]),
    "slope along the rows": lambda x: slope(x, 3),
    "a tenth of a shift": lambda x: x + 0.1 * np.roll(x, 1, 3),
    "a ramp of a tenth": lambda x: x * np.linspace(1, 1.1, x.shape[3]),
    "squared difference of curvatures": lambda x: (slope(slope(x, 3), 3) - slope(slope(x, 2), 2)) ** 2,
}


def ratio(f, size):
    """The largest error in floors, and the floor."""
    x = np.random.default_rng(size).normal(size=(1, 1, size, size))
    operator = make_operator(f, SPACE, "trivial", "trivial", None)
    found = [interpolation.error_and_floor(operator, interpolation.smooth_input(x), g) for g in elements(SPACE)[1:]]
    error, floor = max(found, key=lambda each: each[0] / each[1])
    return f"{error / floor:8.1f} ({floor:.0e})"


if __name__ == "__main__":
    print(f"{'':34}" + "".join(f"{size:17}" for size in SIZES))
    for title, maps in (("equivariant", EQUIVARIANT), ("not equivariant", OTHERS)):
        print(title)
        for name, f in maps.items():
            print(f"  {name:32}" + " ".join(ratio(f, size) for size in SIZES))

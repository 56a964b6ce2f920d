"""registration: R's answers are Python's."""

import numpy as np
import pytest

import gequi

X = np.linspace(0, 1, 50)
A, B = np.cos(np.pi / 2 * X), X + 0.07 * np.sin(3 * np.pi * X)


def test_fourier_features(r, same, random):
    same(r.value(r.fourier_features(X, features=9, seed=4)), gequi.fourier_features(X, features=9, seed=4))
    points = random.normal(size=(6, 2))
    options = {"features": 5, "bandwidth": 0.3, "phase": "conv", "seed": 4, "dtype": "float32"}
    same(r.value(r.fourier_features(points, **options)), gequi.fourier_features(points, **options).astype(np.float64))


@pytest.mark.parametrize("options", [
    {}, {"refine": 3}, {"kernel": "fourier", "seed": 2}, {"bandwidth": 0.05, "temperature": 2.0, "dtype": "float32"},
    {"kernel": "fourier", "phase": "conv", "features": 30, "seed": 5},
])  # fmt: skip
def test_invert_function_and_register_curves(r, same, options):
    same(np.array(r.value(r.invert_function(X, X**2, X, **options))), gequi.invert_function(X, X**2, X, **options).astype(float))
    same(np.array(r.value(r.register_curves(A, B, **options))), gequi.register_curves(A, B, **options).astype(float))
    ours = gequi.register_curves(A, B, X, weights=True, **options)
    theirs = r.value(r.register_curves(A, B, X, weights=True, **options))
    same(np.array(theirs["output"]), ours["output"].astype(float))
    same(theirs["weights"], ours["weights"].astype(float))


def test_invert_function_of_points(r, same, random):
    places, values, query = random.normal(size=(30, 2)), random.normal(size=(30, 3)), random.normal(size=(4, 3))
    same(r.value(r.invert_function(places, values, query)), gequi.invert_function(places, values, query))

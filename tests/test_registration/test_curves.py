"""Inversion of functions and registration of curves: the two examples of the source, the law, refused inputs."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from gequi.errors import InputError, ShapeError
from gequi.registration import fourier_features, invert_function, register_curves


def grid(n: int, ends: bool) -> np.ndarray:
    """The source's own grid stops one step before 1; with both ends it has 1 as well."""
    return np.linspace(0, 1, n, endpoint=ends)


def curve_a(t: np.ndarray) -> np.ndarray:
    return np.cos(np.pi / 2 * t)


def curve_b(t: np.ndarray) -> np.ndarray:
    return t + 0.07 * np.sin(3 * np.pi * t)


def true_map(t: np.ndarray) -> np.ndarray:
    return 2 / np.pi * np.arccos(np.clip(curve_b(t), -1, 1))


def errors(n: int, ends: bool, **options) -> tuple[np.ndarray, np.ndarray]:
    """Absolute errors of the source's two examples: the root of x, and the registration of its two curves."""
    x = grid(n, ends)
    root = invert_function(x, x**2, x, **options)
    registered = register_curves(curve_a(x), curve_b(x), x, **options)
    return np.abs(root - np.sqrt(x)), np.abs(registered - true_map(x))


BOTH_GRIDS = pytest.mark.parametrize("ends", [False, True])


# ---- accuracy -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", ["conv", "uniform"])
def test_the_published_version_with_100_random_features(phase):
    found = [errors(100, False, kernel="fourier", bandwidth=1 / 59, phase=phase, seed=seed) for seed in range(50)]
    root, registered = (np.array(each) for each in zip(*found, strict=True))
    assert root.mean() <= 3e-3
    assert registered.mean() <= 3e-3
    assert np.median(root.max(axis=1)) < 0.05  # at x = 0, where the root is steep


def test_uniform_phases_tell_all_values_apart_where_the_published_ones_do_not():
    worst = {
        phase: max(
            errors(100, False, kernel="fourier", bandwidth=1 / 59, phase=phase, seed=seed)[1].max()
            for seed in range(50)
        )
        for phase in ("conv", "uniform")
    }
    assert worst["uniform"] < 0.03 < 0.1 < worst["conv"]  # measured: 0.026 and 0.212


@BOTH_GRIDS
def test_the_default_kernel(ends):
    for each in errors(100, ends):
        assert each.mean() <= 2e-3
    for each in errors(1000, ends):
        assert each.mean() <= 1e-4


@BOTH_GRIDS
@pytest.mark.parametrize(("n", "bound"), [(100, 1e-6), (1000, 1e-7)])
def test_refinement_reaches_the_spline(n, bound, ends):
    for each in errors(n, ends, refine=4):
        assert each.mean() <= bound
        assert each.max() <= 1e-5  # also at the extrema, where Newton's own step would leave 3e-3


def test_each_step_of_refinement_brings_the_answer_nearer():
    x = grid(100, True)
    by_steps = [np.abs(register_curves(curve_a(x), curve_b(x), refine=k) - true_map(x)).mean() for k in range(4)]
    assert all(later < 0.05 * earlier for earlier, later in itertools.pairwise(by_steps[:3]))
    assert by_steps[3] < 1e-7


def test_with_both_ends_the_map_reaches_1():  # arange(0, 1, 0.01) holds no 1, so the source's map could not
    x = grid(100, True)
    assert register_curves(curve_a(x), [0.0], x, refine=4)[0] == pytest.approx(1, abs=1e-6)
    assert register_curves(curve_a(x), [0.0])[0] > 0.99


def test_the_default_bandwidth_follows_the_grid_and_the_units():
    x = grid(100, True)
    default = register_curves(curve_a(x), curve_b(x))
    np.testing.assert_allclose(
        register_curves(curve_a(x), curve_b(x), bandwidth=0.75 / 99), default, rtol=0, atol=1e-12
    )
    in_other_units = register_curves(1000 * curve_a(x) + 5, 1000 * curve_b(x) + 5)
    np.testing.assert_allclose(in_other_units, default, rtol=0, atol=1e-10)
    fourier = [
        register_curves(scale * curve_a(x), scale * curve_b(x), kernel="fourier", seed=1) for scale in (1.0, 1000.0)
    ]
    np.testing.assert_allclose(fourier[0], fourier[1], rtol=0, atol=1e-9)
    np.testing.assert_allclose(
        fourier[0],
        register_curves(curve_a(x), curve_b(x), kernel="fourier", bandwidth=1 / 59, seed=1),
        rtol=0,
        atol=1e-12,
    )


def test_temperature_widens_the_kernel_as_its_square():
    x = grid(100, True)
    by_temperature = invert_function(x, x**2, x, bandwidth=0.01, temperature=4)
    np.testing.assert_allclose(by_temperature, invert_function(x, x**2, x, bandwidth=0.02), rtol=0, atol=1e-11)
    cold, hot = (
        invert_function(x, x**2, x, kernel="fourier", temperature=t, seed=1, weights=True)["weights"] for t in (1, 10)
    )
    assert cold.max(axis=1).mean() > 2 * hot.max(axis=1).mean()


def test_float32_is_as_accurate_as_the_kernel():
    for single, double in zip(errors(100, True, dtype="float32"), errors(100, True), strict=True):
        assert abs(single.mean() - double.mean()) < 1e-5
    x = grid(100, True)
    far = register_curves(curve_a(x) + 100, curve_b(x) + 100, dtype="float32")  # distances, not values, count
    np.testing.assert_allclose(far, register_curves(curve_a(x), curve_b(x)), rtol=0, atol=2e-3)
    assert invert_function([0.0, 1.0], [0.0, 1.0], [0.5], dtype="float32", refine=1).dtype == np.float32


# ---- values of any dimension ----------------------------------------------------------------------------


def test_a_grid_of_points_in_the_plane_is_inverted_the_same_way():
    axis = np.linspace(0, 1, 24)
    points = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)

    def a(p):
        return p + 0.05 * np.sin(2 * np.pi * p[:, ::-1])

    def b(p):
        return 0.1 + 0.8 * p + 0.04 * np.sin(np.pi * p)

    found = register_curves(a(points), b(points), points)
    assert found.shape == points.shape
    residual = np.linalg.norm(a(found) - b(points), axis=1)
    by_step = register_curves(points, b(points), points, bandwidth=0.75 / 23)
    np.testing.assert_allclose(register_curves(points, b(points), points), by_step, rtol=0, atol=1e-10)
    assert residual.mean() < 0.004
    assert residual.max() < 0.02
    assert residual.max() > 1e-6


def test_a_curve_in_space_is_inverted_and_refined():
    def helix(s):
        return np.stack([np.cos(7 * s), np.sin(7 * s), s], axis=1)

    s, asked = np.linspace(0, 1, 200), np.linspace(0, 1, 57)
    assert np.abs(invert_function(s, helix(s), helix(asked)) - asked).max() < 0.01
    assert np.abs(invert_function(s, helix(s), helix(asked), refine=4) - asked).max() < 1e-8


def test_the_order_of_an_array_in_memory_does_not_change_a_bit():  # R keeps columns together, numpy rows
    random = np.random.default_rng(0)
    arrays = [random.standard_normal(shape) for shape in ((30, 2), (30, 3), (4, 3))]
    turned = [np.asfortranarray(array) for array in arrays]
    np.testing.assert_array_equal(invert_function(*turned), invert_function(*arrays))
    np.testing.assert_array_equal(fourier_features(turned[0], seed=1), fourier_features(arrays[0], seed=1))


def test_samples_may_come_in_any_order_and_at_any_places():
    random = np.random.default_rng(0)
    x = random.permutation(np.sort(random.random(300)))
    asked = np.linspace(0.05, 0.95, 50)
    assert np.abs(invert_function(x, x**3 + x, asked**3 + asked, refine=4) - asked).max() < 1e-6


def test_two_samples_are_enough():
    assert invert_function([0.0, 1.0], [3.0, 5.0], [4.0, 3.5], refine=1).round(12).tolist() == [0.5, 0.25]


# ---- laws -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("refine", [0, 4])
def test_registration_is_equivariant_to_a_deformation_of_either_curve(refine):
    x = np.linspace(0, 1, 400)

    def u(t):
        return t + 0.1 * np.sin(np.pi * t)

    def v(t):
        return t**1.3

    both = register_curves(curve_a(u(x)), curve_b(v(x)), x, refine=refine)
    plain = register_curves(curve_a(x), curve_b(x), x, refine=refine)
    inverse_u = np.interp(np.interp(v(x), x, plain), u(x), x)
    assert np.abs(both - inverse_u).max() <= 1e-3
    assert np.abs(both - plain).max() > 0.05  # the deformations are far from none


def test_attentions_own_laws_hold_exactly():
    random = np.random.default_rng(1)
    x = grid(100, True)
    a, b = curve_a(x), curve_b(x)
    found = register_curves(a, b, x)
    p, r = random.permutation(100), random.permutation(100)
    np.testing.assert_array_equal(register_curves(a, b[p], x), found[p])
    np.testing.assert_allclose(register_curves(a[r], b, x[r]), found, rtol=0, atol=1e-12)
    np.testing.assert_allclose(register_curves(a, b, 3 * x - 7), 3 * found - 7, rtol=0, atol=1e-12)
    matrix = random.standard_normal((1, 3))
    np.testing.assert_allclose(register_curves(a, b, x[:, None] @ matrix, bandwidth=0.75 / 99), found[:, None] @ matrix,
                               rtol=0, atol=1e-12)  # fmt: skip


# ---- random features ------------------------------------------------------------------------------------


def test_the_seed_fixes_the_features_and_both_sides_share_them():
    x = np.linspace(0, 1, 100)
    features = fourier_features(x, seed=3)
    assert features.shape == (100, 100)
    np.testing.assert_array_equal(features, fourier_features(x, seed=3))
    np.testing.assert_array_equal(features[:7], fourier_features(x[:7], seed=3))
    assert not np.array_equal(features, fourier_features(x, seed=4))
    assert not np.array_equal(fourier_features(x), fourier_features(x))
    assert fourier_features(x, dtype="float32", seed=3).dtype == np.float32
    first, second = (invert_function(x, x**2, x, kernel="fourier", seed=3) for _ in range(2))
    np.testing.assert_array_equal(first, second)  # the source gave each use a layer of its own


def test_the_features_products_are_a_gaussian_kernel_in_the_mean():
    x = np.linspace(-1, 1, 21)
    features = fourier_features(x, features=200_000, bandwidth=0.3, seed=1)
    kernel = features @ features.T / 100_000
    np.testing.assert_allclose(kernel, np.exp(-((x[:, None] - x) ** 2) / (2 * 0.3**2)), rtol=0, atol=0.02)
    plane = np.random.default_rng(0).random((9, 2))
    features = fourier_features(plane, features=200_000, bandwidth=0.5, seed=1)
    squares = ((plane[:, None] - plane) ** 2).sum(-1)
    np.testing.assert_allclose(features @ features.T / 100_000, np.exp(-squares / (2 * 0.25)), rtol=0, atol=0.02)


def test_features_of_the_published_phases_stay_within_those_of_a_convolution():
    at_zero = fourier_features([0.0], features=1000, phase="conv", seed=1)
    assert np.abs(at_zero).max() <= np.sin(1)
    assert np.abs(at_zero).max() > 0.99 * np.sin(1)
    assert np.abs(fourier_features([0.0], features=1000, phase="uniform", seed=1)).max() > 0.99
    self_products = np.mean(
        [(fourier_features(grid(100, False), seed=s, phase="conv") ** 2).sum(1).mean() for s in range(20)]
    )
    assert self_products == pytest.approx(49.6, abs=1.5)  # half the number of features, not 1


# ---- weights and refusals -------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", ["gaussian", "fourier"])
def test_the_weights_are_the_matrix_that_maps_places_to_answers(kernel):
    x, asked = grid(100, True), np.linspace(0.1, 0.9, 7)
    found = invert_function(x, x**2, asked, kernel=kernel, seed=1, weights=True)
    assert found["weights"].shape == (7, 100)
    np.testing.assert_allclose(found["weights"].sum(axis=1), 1, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found["weights"] @ x, found["output"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(
        invert_function(x, x**2, asked, kernel=kernel, seed=1), found["output"], rtol=0, atol=1e-12
    )


def test_the_gaussian_weights_are_the_kernel_of_the_distances():
    x, asked = grid(30, True), np.linspace(-0.1, 1.1, 11)
    scores = -((asked[:, None] - x**2) ** 2) / (2 * 0.03**2)
    expected = np.exp(scores - scores.max(axis=1, keepdims=True))
    expected /= expected.sum(axis=1, keepdims=True)
    found = invert_function(x, x**2, asked, bandwidth=0.03, weights=True)["weights"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)


X = np.linspace(0, 1, 10)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: invert_function(X, X[:9], X),
            ShapeError,
            "`y` must have one value for each of the 10 samples `x`; got 9",
        ),
        (lambda: invert_function(X, X, np.ones((3, 2))), ShapeError, "`query` must have the channels of `y`, 1; got 2"),
        (lambda: invert_function(np.ones((2, 2, 2)), X, X), ShapeError, r"`x` must have 1 or 2 axes \(point\) or"),
        (lambda: invert_function(X, 0 * X, X), InputError, "`y` must take at least two different values"),
        (lambda: invert_function([1.0], [1.0], [1.0]), InputError, "`y` must take at least two different values"),
        (
            lambda: invert_function(X, X, X, kernel="gauss"),
            InputError,
            "`kernel` must be one of .* Did you mean 'gaussian'",
        ),
        (lambda: invert_function(X, X, X, kernel="fourier", phase="conf"), InputError, "`phase` must be one of"),
        (lambda: invert_function(X, X, X, kernel="fourier", features=0), InputError, "`features` must be at least 1"),
        (lambda: invert_function(X, X, X, bandwidth=0), InputError, "`bandwidth` must be greater than 0; got 0"),
        (lambda: invert_function(X, X, X, bandwidth=-1), InputError, "`bandwidth` must be greater than 0"),
        (lambda: invert_function(X, X, X, temperature=0), InputError, "`temperature` must be greater than 0"),
        (lambda: invert_function(X, X, X, refine=1.5), InputError, r"`refine` must be a whole number; got 1\.5"),
        (lambda: invert_function(X, X, X, refine=-1), InputError, "`refine` must be at least 0"),
        (lambda: invert_function(np.eye(10), X, X, refine=1), InputError, "`refine` works along one axis"),
        (lambda: invert_function(0 * X, X, X, refine=1), InputError, "`refine` needs distinct positions in `x`"),
        (lambda: invert_function(X, X, [np.nan]), InputError, "`query` must be finite"),
        (lambda: register_curves(0 * X, X), InputError, "`a` must take at least two different values"),
        (lambda: register_curves(X, np.ones((3, 2))), ShapeError, "`b` must have the channels of `a`, 1; got 2"),
        (lambda: register_curves(X, [np.inf]), InputError, "`b` must be finite"),
        (lambda: register_curves(X, X, x=X[:4]), ShapeError, "`a` must have one value for each of the 4 samples `x`"),
        (lambda: fourier_features(X, bandwidth=0), InputError, "`bandwidth` must be greater than 0"),
        (lambda: fourier_features("x"), InputError, "`x` must be an array of numbers; got text"),
        (lambda: fourier_features([1.7e308], bandwidth=0.1, seed=1), InputError, "`x` has values too large to compute"),
        (lambda: invert_function(X, X * 1e200, X), InputError, "`y` has .* float64: their squares are not finite"),
        (lambda: invert_function(X, X, X * 1.7e308), InputError, "`query` has values too large to compute with in"),
        (lambda: invert_function(X, X, X * 1e39, dtype="float32"), InputError, "`query` is too large for float32"),
        (lambda: invert_function(X, 1e39 * X, X, bandwidth=1, dtype="float32"), InputError, "`y` is too large for"),
        (lambda: invert_function(X * 1e39, X, X, dtype="float32"), InputError, "`x` is too large for float32"),
        (lambda: invert_function(X * 1e200, X, X, refine=1), InputError, "`x` has .* their squares are not finite"),
        (lambda: invert_function(X * 1e-310, X, X, refine=1), InputError, "`x` has positions too near each other"),
        (lambda: invert_function(X * 1e-120, X, X, refine=1), InputError, "`x` has positions too near each other"),
        (lambda: register_curves(X, X * 1.7e308), InputError, "`b` has values too large to compute with in float64"),
    ],
)
def test_errors_name_the_argument(call, error, message):
    with pytest.raises(error, match=message):
        call()

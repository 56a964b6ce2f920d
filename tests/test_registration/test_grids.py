"""The grids and the dense step hold in 2 and in 3 dimensions."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from scipy import fft

from gequi.registration import grids
from gequi.registration.dense import Level, Pair, generators
from gequi.registration.equations import Equations, times, upper

SIZES = [(9, 12), (7, 9, 8)]


def field(size, channels=1, seed=0):
    return torch.randn(1, channels, *size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def wave(places, shift=0.0):
    """A smooth function of places (axis, ...) that varies along every axis."""
    return sum(torch.sin((0.5 + 0.1 * axis) * (x + shift) + axis) for axis, x in enumerate(places))


@pytest.mark.parametrize("size", SIZES)
def test_cosines_are_the_orthonormal_cosine_transform(size):
    x = field(size, 2)
    torch.testing.assert_close(
        grids.cosines(x), torch.from_numpy(fft.dctn(x.numpy(), axes=range(2, x.ndim), norm="ortho"))
    )
    torch.testing.assert_close(grids.cosines(grids.cosines(x), inverse=True), x)


@pytest.mark.parametrize("size", SIZES)
def test_a_plane_is_read_differentiated_and_averaged_without_error(size):
    slope = torch.arange(1.0, len(size) + 1, dtype=torch.float64)
    plane = torch.einsum("a...,a->...", grids.centres(size, size, torch.float64), slope)[None, None]
    inner = (..., *[slice(1, -1)] * len(size))
    for axis, part in enumerate(grids.gradient(plane, [1.0] * len(size))[0]):
        torch.testing.assert_close(part[inner], slope[axis].expand_as(part[inner]))
    points = 2 + torch.rand(1, len(size), 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(grids.look_up(plane, points, size)[0, 0], slope @ points[0])
    cells = tuple((n + 1) // 2 for n in size)
    torch.testing.assert_close(grids.average(plane, cells).mean(), plane.mean())


@pytest.mark.parametrize("size", SIZES)
def test_grids_commute_with_quarter_turns(size):
    x = field(size)
    for a, b in itertools.combinations(range(2, x.ndim), 2):
        turned = torch.rot90(x, 1, (a, b))
        fine = [2 * n for n in size]
        fine_turned = [2 * n for n in turned.shape[2:]]
        sigma = [1.5] * len(size)
        torch.testing.assert_close(grids.smooth(turned, sigma), torch.rot90(grids.smooth(x, sigma), 1, (a, b)))
        torch.testing.assert_close(grids.refine(turned, fine_turned), torch.rot90(grids.refine(x, fine), 1, (a, b)))


@pytest.mark.parametrize("size", SIZES)
def test_conjugate_gradients_solve_the_equations_of_the_dense_step(size):
    axes = len(size)
    slopes = field(size, axes, 1)
    tensor = torch.cat([slopes[:, i : i + 1] * slopes[:, j : j + 1] for i, j in upper(axes)], 1)
    x = field(size, axes, 2)
    torch.testing.assert_close(times(tensor, x), slopes * (slopes * x).sum(1, keepdim=True))
    prior = 0.1 + grids.squared_frequencies(size, size, torch.float64)
    right = times(tensor, x) + grids.cosines(prior * grids.cosines(x), inverse=True)
    for modes in (1, 3, min(size)):  # all modes of the first axis: then a few steps remain
        torch.testing.assert_close(Equations(tensor, prior).solve(right, modes, 200), x, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("size", SIZES)
def test_mode_products_are_those_of_the_cosines(size):
    numbers, modes = field(size, 3, 1), 3
    cells = math.prod(size)
    waves = grids.cosines(torch.eye(cells, dtype=torch.float64).reshape(cells, 1, *size), inverse=True)
    lowest = torch.arange(cells).reshape(size)[(slice(modes),) * len(size)].flatten()
    waves = waves[lowest].flatten(1)
    expected = torch.einsum("ax,bcx,dx->bcad", waves, numbers.flatten(2), waves)
    found = grids.mode_products(numbers, modes).reshape(expected.shape)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("size", SIZES)
def test_the_lowest_modes_alone_are_solved_in_one_step(size):
    """Where the data's precision is the same everywhere and the answer holds low modes only, nothing is left to do."""
    axes = len(size)
    tensor = torch.zeros(1, len(upper(axes)), *size, dtype=torch.float64)
    tensor[:, [number for number, (i, j) in enumerate(upper(axes)) if i == j]] = 0.7
    prior = 0.1 + grids.squared_frequencies(size, size, torch.float64)
    low = torch.zeros(1, axes, *size, dtype=torch.float64)
    low[(..., *[slice(3)] * axes)] = field((3,) * axes, axes, 4)
    x = grids.cosines(low, inverse=True)
    right = 0.7 * x + grids.cosines(prior * low, inverse=True)
    torch.testing.assert_close(Equations(tensor, prior).solve(right, 3, 1), x, rtol=1e-4, atol=1e-4)


def test_long_images_are_smoothed_in_strips_as_short_ones_are():
    x = field((300, 280), 2, 5)
    dense = grids.separable(
        x, [grids._gaussian(n, sigma, False, x.dtype, x.device) for n, sigma in ((300, 2.5), (280, 6.0))]
    )
    torch.testing.assert_close(grids.smooth(x, (2.5, 6.0)), dense, rtol=0, atol=3e-6)
    turned = grids.smooth(torch.rot90(x, 1, (2, 3)), (6.0, 2.5))
    torch.testing.assert_close(turned, torch.rot90(grids.smooth(x, (2.5, 6.0)), 1, (2, 3)), rtol=0, atol=1e-14)


@pytest.mark.parametrize(("axes", "counts"), [(2, (3, 4, 6)), (3, (6, 7, 12))])
def test_generators_span_their_kind_of_map(axes, counts):
    kind = grids.Kind(dtype=torch.float64, device=torch.device("cpu"))
    for transform, count in zip(("rigid", "similarity", "affine"), counts, strict=True):
        basis = generators(transform, axes, kind)
        assert torch.linalg.matrix_rank(basis.flatten(1)) == len(basis) == count
        if transform == "rigid":
            torch.testing.assert_close(basis[:, :, :-1], -basis[:, :, :-1].mT)


@pytest.mark.parametrize("size", [(40, 44), (24, 28, 26)])
def test_the_dense_and_the_linear_step_find_a_small_shift(size):
    places = grids.centres(size, size, torch.float64)
    fixed, moving = (wave(places, shift)[None, None] / 4 + 0.5 for shift in (0.4, 0.0))
    level = Level(Pair(fixed, moving, torch.ones_like(fixed), torch.ones_like(fixed)), 1.0)
    still = torch.eye(len(size), len(size) + 1, dtype=torch.float64)[None]
    velocity = level.start(1)
    for _ in range(6):
        velocity = level.dense_step(still, velocity)
    middle = (..., *[slice(8, -8)] * len(size))
    assert (level.map(still, velocity) - places)[0][middle].sub(0.4).abs().max() < 0.05
    linear = still
    for _ in range(6):
        linear = level.linear_step(linear, "rigid")
    assert (
        linear[0, :, -1] + linear[0, :, :-1] @ places[middle].flatten(1).mean(1) - places[middle].flatten(1).mean(1)
    ).sub(0.4).abs().max() < 0.02


def test_where_nothing_is_seen_the_velocity_goes_back_to_0(dtype):
    kind = grids.Kind(dtype=getattr(torch, dtype), device=torch.device("cpu"))
    image, mask = field((64, 48), 1, 3).to(**kind), torch.ones(1, 1, 64, 48, **kind)
    level = Level(Pair(image, image, mask, mask), 2.0)
    away = torch.tensor([[[1.0, 0.0, 1e4], [0.0, 1.0, 0.0]]], **kind)
    velocity = 20 * field(level.field, 2, 4).to(**kind)
    for _ in range(3):
        velocity = level.dense_step(away, velocity)
    assert velocity.abs().max() < 1e-2

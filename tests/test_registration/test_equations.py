"""The deformable and the linear step, and the equations that they solve, in 2 and in 3 dimensions."""

from __future__ import annotations

import pytest
import torch

from gequi.geometry import grids
from gequi.geometry.filters import gaussian_filter, local_moments
from gequi.geometry.grids import area_resample
from gequi.registration import pyramid
from gequi.registration.equations import (
    JITTER,
    Equations,
    conjugate_gradients,
    project_positive_semidefinite,
    symmetric_product,
    upper_entries,
)
from gequi.registration.gauss_newton import gauss_newton_step, gradient_products, linear_step
from gequi.registration.preprocess import Pair
from gequi.registration.pyramid import make_level, map_at_cells, zero_velocity
from gequi.registration.transforms import generators

SIZES = [(9, 12), (7, 9, 8)]


def field(size, channels=1, seed=0):
    return torch.randn(1, channels, *size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def wave(places, shift=0.0):
    """A smooth function of places (axis, ...) that varies along every axis."""
    return sum(torch.sin((0.5 + 0.1 * axis) * (x + shift) + axis) for axis, x in enumerate(places))


@pytest.mark.parametrize("size", SIZES)
def test_conjugate_gradients_solve_the_equations_of_the_deformable_step(size):
    axes = len(size)
    slopes = field(size, axes, 1)
    tensor = torch.cat([slopes[:, i : i + 1] * slopes[:, j : j + 1] for i, j in upper_entries(axes)], 1)
    x = field(size, axes, 2)
    torch.testing.assert_close(symmetric_product(tensor, x), slopes * (slopes * x).sum(1, keepdim=True))
    prior = 0.1 + grids.squared_frequencies(size, size, torch.float64)
    right = symmetric_product(tensor, x) + grids.dct(prior * grids.dct(x), inverse=True)
    for modes in (1, 3, min(size)):  # all modes of the first axis: then a few steps remain
        torch.testing.assert_close(Equations(tensor, prior).solve(right, modes, 200), x, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("size", SIZES)
def test_the_lowest_modes_alone_are_solved_in_one_step(size):
    """Where the data's precision is the same everywhere and the answer holds low modes only, nothing is left to do."""
    axes = len(size)
    tensor = torch.zeros(1, len(upper_entries(axes)), *size, dtype=torch.float64)
    tensor[:, [number for number, (i, j) in enumerate(upper_entries(axes)) if i == j]] = 0.7
    prior = 0.1 + grids.squared_frequencies(size, size, torch.float64)
    low = torch.zeros(1, axes, *size, dtype=torch.float64)
    low[(..., *[slice(3)] * axes)] = field((3,) * axes, axes, 4)
    x = grids.dct(low, inverse=True)
    right = 0.7 * x + grids.dct(prior * low, inverse=True)
    torch.testing.assert_close(Equations(tensor, prior).solve(right, 3, 1), x, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("axes", "counts"), [(2, (3, 4, 6)), (3, (6, 7, 12))])
def test_generators_span_their_kind_of_map(axes, counts):
    kind = grids.Kind(dtype=torch.float64, device=torch.device("cpu"))
    for transform, count in zip(("rigid", "similarity", "affine"), counts, strict=True):
        basis = generators(transform, axes, kind)
        assert torch.linalg.matrix_rank(basis.flatten(1)) == len(basis) == count
        if transform == "rigid":
            torch.testing.assert_close(basis[:, :, :-1], -basis[:, :, :-1].mT)


@pytest.mark.parametrize("size", [(40, 44), (24, 28, 26)])
def test_the_deformable_and_the_linear_step_find_a_small_shift(size):
    places = grids.cell_centers(size, size, torch.float64)
    fixed, moving = (wave(places, shift)[None, None] / 4 + 0.5 for shift in (0.4, 0.0))
    level = make_level(Pair(fixed, moving, torch.ones_like(fixed), torch.ones_like(fixed)), 0)
    still = torch.eye(len(size), len(size) + 1, dtype=torch.float64)[None]
    velocity = zero_velocity(level, 1)
    for _ in range(6):
        velocity = gauss_newton_step(level, still, velocity)
    middle = (..., *[slice(8, -8)] * len(size))
    assert (map_at_cells(level, still, velocity) - places)[0][middle].sub(0.4).abs().max() < 0.05
    linear = still
    for _ in range(6):
        linear = linear_step(level, linear, "rigid")
    assert (
        linear[0, :, -1] + linear[0, :, :-1] @ places[middle].flatten(1).mean(1) - places[middle].flatten(1).mean(1)
    ).sub(0.4).abs().max() < 0.02


def test_where_nothing_is_seen_the_velocity_goes_back_to_0(dtype):
    kind = grids.Kind(dtype=getattr(torch, dtype), device=torch.device("cpu"))
    image, mask = field((64, 48), 1, 3).to(**kind), torch.ones(1, 1, 64, 48, **kind)
    level = make_level(Pair(image, image, mask, mask), 1)
    away = torch.tensor([[[1.0, 0.0, 1e4], [0.0, 1.0, 0.0]]], **kind)
    velocity = 20 * field(level.field, 2, 4).to(**kind)
    for _ in range(3):
        velocity = gauss_newton_step(level, away, velocity)
    assert velocity.abs().max() < 1e-2


@pytest.mark.parametrize("axes", [2, 3])
def test_what_is_projected_loses_its_negative_eigenvalues_and_nothing_else(axes):
    entries = field((20,), len(upper_entries(axes)), 5)[0]
    projected = project_positive_semidefinite(entries, axes)
    for cell in range(20):
        before, after = torch.zeros(2, axes, axes, dtype=torch.float64)
        for number, (i, j) in enumerate(upper_entries(axes)):
            before[i, j] = before[j, i] = entries[number, cell]
            after[i, j] = after[j, i] = projected[number, cell]
        values, vectors = torch.linalg.eigh(before)
        kept = [value * torch.outer(v, v) for value, v in zip(values, vectors.T, strict=True) if value > 0]
        torch.testing.assert_close(after, sum(kept, torch.zeros(axes, axes, dtype=torch.float64)))


def test_a_matrix_that_the_data_leave_singular_is_factored_with_a_little_of_the_identity():
    """All slopes along one diagonal, and no prior: across the diagonal nothing is known."""
    tensor = torch.full((1, 3, 6, 5), 0.5, dtype=torch.float64)
    factor, scale = Equations(tensor, torch.zeros(6, 5, dtype=torch.float64)).cholesky(1)
    matrix = torch.ones(1, 2, 2, dtype=torch.float64) + JITTER * torch.eye(2, dtype=torch.float64)
    torch.testing.assert_close(factor @ factor.mT, matrix)
    torch.testing.assert_close(scale, torch.full_like(scale, 0.5**-0.5))
    assert JITTER < 1e-3


def test_a_batch_is_solved_as_its_rows_alone_are():
    tensor = torch.cat([torch.cat([field((6, 7), 1, seed) ** 2 + 1, field((6, 7), 1, seed + 1) / 9,
                                   field((6, 7), 1, seed + 2) ** 2 + 1], 1) for seed in (6, 16)])  # fmt: skip
    tensor[1] *= 20
    prior, right = grids.squared_frequencies((6, 7), (6, 7), torch.float64) + 0.1, field((6, 7), 4, 7).view(2, 2, 6, 7)
    together = Equations(tensor, prior).solve(right, 3, 4)
    for row in range(2):
        alone = Equations(tensor[row : row + 1], prior).solve(right[row : row + 1], 3, 4)
        torch.testing.assert_close(together[row : row + 1], alone)


def test_conjugate_gradients_end_after_a_step_for_each_eigenvalue_and_leave_0_alone():
    values = torch.tensor([0.3, 2.0, 7.0], dtype=torch.float64).repeat(4)[None, None]
    right = field((12,), 1, 8)
    found = conjugate_gradients(lambda x: values * x, lambda x: x, right, 3)
    torch.testing.assert_close(found, right / values)
    none = conjugate_gradients(lambda x: values * x, lambda x: x, 0 * right, 3)
    assert torch.equal(none, torch.zeros_like(right))


def test_a_large_volume_is_refined_less_and_an_image_never(monkeypatch):
    """The refined volume would take 108 bytes a voxel."""
    ones, square = torch.ones(1, 1, 20, 20, 20), torch.ones(1, 1, 20, 20)
    assert make_level(Pair(ones, ones, ones, ones), 0).moving.shape[2:] == (60, 60, 60)
    monkeypatch.setattr(pyramid, "LARGE", 100)
    assert make_level(Pair(ones, ones, ones, ones), 0).moving.shape[2:] == (40, 40, 40)
    assert make_level(Pair(square, square, square, square), 0).moving.shape[2:] == (60, 60)


def test_the_equations_of_a_volume_are_those_of_all_entries_at_once():
    draw = torch.Generator().manual_seed(3)
    one, other = torch.rand(2, 1, 3, 8, 9, 7, dtype=torch.float64, generator=draw)
    precision = torch.rand(1, 1, 8, 9, 7, dtype=torch.float64, generator=draw)
    found = gradient_products(one, other, precision, (4, 5, 3))
    pairs = [(i, j) for i in range(3) for j in range(i, 3)]
    products = [precision[:, 0] * (one[:, i] * other[:, j] + one[:, j] * other[:, i]) / 2 for i, j in pairs]
    torch.testing.assert_close(found, area_resample(torch.stack(products, 1), (4, 5, 3)))


def test_the_moments_of_a_volume_are_those_of_its_channels():
    draw = torch.Generator().manual_seed(4)
    x = torch.rand(1, 2, 12, 13, 11, dtype=torch.float64, generator=draw)
    mask = torch.rand(1, 1, 12, 13, 11, dtype=torch.float64, generator=draw)
    mean, variance = local_moments(x, mask, [2.0] * 3)
    weight = gaussian_filter(mask, [2.0] * 3)
    expected = gaussian_filter(mask * x, [2.0] * 3) / weight
    torch.testing.assert_close(mean, expected)
    torch.testing.assert_close(variance, gaussian_filter(mask * x**2, [2.0] * 3) / weight - expected**2)

"""Registration of volumes: accuracy at any rotation, the law, masks, spacing, and refused inputs."""

from __future__ import annotations

import sys
import warnings
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.spatial.transform import Rotation

import gequi
from gequi import compose_maps, identity_map, register_images
from gequi.errors import AmbiguousRegistrationWarning, InputError, ShapeError, UnrelatedImagesError
from gequi.geometry.rotations import cube_rotations
from gequi.registration.descriptors import DEGREE, SphericalDescriptor, designed_for_volumes, harmonics
from gequi.registration.finding import without_hints

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import volumes as benchmark
from registration import length

SEEDS = [0, pytest.param(1, marks=pytest.mark.slow)]
TURNS = cube_rotations()


@cache
def pair(seed, change="clean", resolution=6):
    return benchmark.make_pair(resolution, np.random.default_rng([7, seed]), change)


@cache
def found(seed, change="clean", resolution=6, dtype="float32"):
    given = pair(seed, change, resolution)
    return register_images(given.moving, given.fixed, dtype=dtype)


# ---- accuracy -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("change", "most", "least"), [("clean", 0.1, 0.99), ("photometric", 0.25, 0.96)])
@pytest.mark.parametrize("seed", SEEDS)  # the whole benchmark is tests/benchmarks/volumes.py
def test_a_brain_turned_by_any_rotation_is_found_to_a_fraction_of_a_voxel(seed, change, most, least):
    result = found(seed, change)
    assert benchmark.error(result.map, pair(seed, change)).mean() < most
    assert benchmark.dice(result.map, pair(seed, change)) > least
    assert result.metrics["folds"] == 0
    assert result.alternatives == ()


def test_the_result_has_the_volumes_axes():
    given, result = pair(0), found(0)
    shape = given.fixed.shape
    assert result.map.shape == result.inverse_map.shape == (3, *shape)
    assert result.affine.shape == (3, 4)
    assert result.warped.shape == result.jacobian.shape == result.uncertainty.shape == shape
    assert np.corrcoef(given.fixed[given.brain], result.warped[given.brain])[0, 1] > 0.99
    np.testing.assert_allclose(result.jacobian, gequi.map_jacobian(result.map), rtol=0, atol=1e-4)
    assert result.metrics["inverse_consistency"] <= 0.02
    there_and_back = compose_maps(result.map, result.inverse_map)
    inside = ((result.inverse_map > 0) & (result.inverse_map < np.reshape(shape, (3, 1, 1, 1)) - 1)).all(0)
    assert length(there_and_back - identity_map(shape))[inside].mean() <= 0.02


@pytest.mark.parametrize("seed", SEEDS)
def test_nine_of_ten_errors_lie_within_two_claimed_standard_deviations(seed):
    within = [
        benchmark.error(found(seed, change).map, pair(seed, change))
        < 2 * found(seed, change).uncertainty[benchmark.scored(pair(seed, change))]
        for change in ("clean", "photometric")
    ]
    assert 0.90 <= np.concatenate(within).mean() <= 0.99


def linear_pair(matrix, shift):
    volume, _ = benchmark.template(6)
    middle = (np.array(volume.shape) - 1).reshape(3, 1, 1, 1) / 2
    map = np.tensordot(matrix, np.indices(volume.shape) - middle, axes=1) + middle + np.reshape(shift, (3, 1, 1, 1))
    return volume, ndimage.map_coordinates(volume, map, order=3), map


ROTATION = Rotation.from_rotvec([1.0, -0.7, 1.4]).as_matrix()
STRETCH = np.array([[1.08, 0.04, 0.0], [0.0, 0.95, 0.05], [0.0, 0.0, 1.02]])


@pytest.mark.parametrize(
    ("transform", "matrix"),
    [("rigid", ROTATION), ("similarity", 0.93 * ROTATION), ("affine", ROTATION @ STRETCH)],
)
def test_a_linear_map_is_found_to_a_hundredth_of_a_voxel(transform, matrix):
    moving, fixed, map = linear_pair(matrix, (1.0, -2.0, 1.5))
    result = register_images(moving, fixed, transform=transform)
    brain = fixed > 0.1
    assert length(result.map - map)[brain].max() < 0.02
    np.testing.assert_allclose(result.affine[:, :3], matrix, rtol=0, atol=2e-3)
    assert result.uncertainty[brain].max() < 0.1


def test_inverted_contrast_is_found_where_any_contrast_is_allowed():
    moving, fixed, map = linear_pair(ROTATION, (1.0, -2.0, 1.5))
    result = register_images(moving, 1 - fixed, contrast="any", transform="rigid")
    assert length(result.map - map)[fixed > 0.1].mean() < 0.25


@pytest.mark.slow
def test_inverted_contrast_is_found_under_a_warp_too():
    given = pair(0)
    result = register_images(given.moving, 1 - given.fixed, contrast="any")
    assert benchmark.error(result.map, given).mean() < 0.25


# ---- the law --------------------------------------------------------------------------------------------


def turned(volume, turn):
    """The volume turned about its middle by one of the cube's turns."""
    order = np.abs(turn).argmax(1)
    return np.flip(volume.transpose(order), [axis for axis in range(3) if turn[axis, order[axis]] < 0])


def turned_map(map, moving_shape, moving_turn, fixed_turn):
    middle = (np.array(moving_shape) - 1) / 2
    away = np.tensordot(moving_turn, map - middle.reshape(3, 1, 1, 1), axes=1)
    return np.stack([turned(part, fixed_turn) for part in away + (np.abs(moving_turn) @ middle).reshape(3, 1, 1, 1)])


@pytest.mark.parametrize("numbers", [pytest.param((5, 0), marks=pytest.mark.slow), (9, 20)])
def test_turning_each_volume_by_its_own_quarters_turns_the_map(numbers, dtype):
    given, result = pair(0, resolution=8), found(0, resolution=8, dtype=dtype)
    turns = [TURNS[number] for number in numbers]
    moved = register_images(turned(given.moving, turns[0]), turned(given.fixed, turns[1]), dtype=dtype)
    expected = turned_map(result.map, given.moving.shape, *turns)
    assert length(moved.map - expected).max() <= {"float32": 5e-3, "float64": 1e-9}[dtype]
    assert moved.probability == pytest.approx(result.probability, abs=1e-3)
    np.testing.assert_allclose(moved.uncertainty, turned(result.uncertainty, turns[1]), rtol=0.02)


def test_wigner_matrices_turn_the_harmonics():
    degrees = tuple(range(DEGREE + 1))
    turns, wigner = harmonics.poses(degrees, torch.float64, torch.device("cpu"))
    directions = np.random.default_rng(0).normal(size=(6, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    for turn, row in zip(turns[::37].numpy(), wigner[::37].numpy(), strict=True):
        start = 0
        for degree in degrees:
            count = 2 * degree + 1
            matrix = row[start : start + count**2].reshape(count, count)
            start += count**2
            np.testing.assert_allclose(matrix @ matrix.T, np.eye(count), rtol=0, atol=1e-12)
            before, after = (harmonics.harmonics(u, degree) for u in (directions, directions @ turn.T))
            np.testing.assert_allclose(after, before @ matrix.T, rtol=0, atol=1e-12)
        assert start == len(row)


def test_poses_are_double_cosets_of_the_cubes_turns_and_leave_no_wide_gap():
    turns = harmonics.rotations()
    assert turns.shape == (216, 3, 3)
    flat = turns.reshape(-1, 9)
    for both in (TURNS[5] @ turns, turns @ TURNS[9]):
        assert np.abs(flat[:, None] - both.reshape(1, -1, 9)).max(2).min(1).max() < 1e-12
    some = Rotation.random(500, random_state=0).as_matrix().reshape(-1, 9)
    angles = np.degrees(np.arccos(((some @ flat.T).max(1) - 1) / 2))
    assert angles.max() < 37
    assert angles.mean() < 20


def test_a_token_turns_with_its_volume():
    """Tokens move, and their coefficients turn by Wigner's matrices: shown by what is the same in every pose."""
    volume = torch.as_tensor(pair(0).moving, dtype=torch.float64)[None, None]
    away = torch.as_tensor(turned(pair(0).moving, TURNS[9]).copy())[None, None]
    descriptor = SphericalDescriptor(designed_for_volumes(False, dtype="float64"))
    here, there = (descriptor.describe(each, torch.ones_like(each)) for each in (volume, away))
    middle = (np.array(volume.shape[2:]) - 1) / 2
    places = (here.positions.numpy() - middle) @ TURNS[9].T + np.abs(TURNS[9]) @ middle
    order = np.abs(places[:, None] - there.positions.numpy()).max(2).argmin(1)
    np.testing.assert_allclose(there.positions.numpy()[order], places, rtol=0, atol=1e-9)
    for degree in descriptor.degrees:
        block = slice(5 * degree**2, 5 * (degree + 1) ** 2)  # of 5 spheres
        energies = [tokens.features[:, block].unflatten(1, (5, -1)).norm(dim=2) for tokens in (here, there)]
        np.testing.assert_allclose(energies[1][order], energies[0], rtol=0, atol=1e-10)


def test_matches_know_where_a_token_went_and_how_it_turned():
    here = torch.as_tensor(pair(0).moving)[None, None]
    there = torch.as_tensor(turned(pair(0).moving, TURNS[9]).copy())[None, None]
    descriptor = SphericalDescriptor(designed_for_volumes(False, dtype=str(here.dtype).removeprefix("torch.")))
    matches = descriptor.match(*(descriptor.describe(each, torch.ones_like(each)) for each in (here, there)))
    middle = (np.array(here.shape[2:]) - 1) / 2
    expected = (matches.fixed.numpy() - middle) @ TURNS[9].T + np.abs(TURNS[9]) @ middle
    strong = matches.weight > 0.2 * matches.weight.max()
    near = np.linalg.norm(matches.moving.numpy() - expected, axis=1) < 2
    assert near[strong].mean() > 0.95
    assert (np.abs(matches.rotation.numpy() - TURNS[9]).max((1, 2))[strong] < 1e-6).mean() > 0.95


# ---- masks, spacing, sizes ------------------------------------------------------------------------------


def test_voxels_of_any_shape_are_respected():
    given = pair(1)
    flat = ndimage.zoom(given.moving, (1, 1, 0.5), order=1, grid_mode=True, mode="nearest")
    result = register_images(flat, given.fixed, spacing=6.0, moving_spacing=(6.0, 6.0, 12.0))
    expected = given.map.copy()
    steps = given.moving.shape[2] / flat.shape[2]
    expected[2] = (expected[2] + 0.5) / steps - 0.5
    off = length((result.map - expected) * np.reshape((1, 1, steps), (3, 1, 1, 1)))
    assert off[given.brain].mean() < 0.3
    assert result.inverse_map.shape == (3, *flat.shape)
    truth = gequi.map_jacobian(expected, spacing=6.0, moving_spacing=(6.0, 6.0, 12.0))
    assert np.abs(result.jacobian - truth)[given.brain].mean() < 0.1


def test_what_a_mask_hides_does_not_count():
    given = pair(0)
    shown = np.ones(given.fixed.shape, dtype=bool)
    shown[14:22, 14:24, 12:20] = False
    spoilt = given.fixed.copy()
    spoilt[~shown] = np.random.default_rng(0).uniform(size=np.sum(~shown))
    result = register_images(given.moving, spoilt, fixed_mask=shown)
    near = given.brain & ndimage.binary_erosion(shown, iterations=3)
    assert length(result.map - given.map)[near].mean() < 0.15
    spoilt[~shown] = 3.0
    again = register_images(given.moving, spoilt, fixed_mask=shown)
    np.testing.assert_array_equal(again.map, result.map)


def test_volumes_of_different_sizes_are_fine():
    given = pair(0)
    part = given.fixed[4:-3, 5:-6, 2:]
    result = register_images(given.moving, part)
    assert length(result.map - given.map[:, 4:-3, 5:-6, 2:])[given.brain[4:-3, 5:-6, 2:]].mean() < 0.15


@pytest.mark.slow  # test_images.py has the fast case
def test_every_tensor_is_made_on_the_device_that_was_asked_for():
    given = pair(0, resolution=8)
    with torch.device("meta"):
        away = register_images(given.moving, given.fixed, device="cpu")
    np.testing.assert_array_equal(away.map, found(0, resolution=8).map)


# ---- what is refused ------------------------------------------------------------------------------------


def test_unrelated_volumes_are_refused():
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(2, 20, 18, 19)), (0, 2, 2, 2))
    with without_hints(), pytest.raises(UnrelatedImagesError, match="do not look alike under any map"):
        register_images(*noise, transform="rigid")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AmbiguousRegistrationWarning)
        assert register_images(*noise, min_probability=0).probability < 0.62


VOLUME = np.random.default_rng(0).normal(size=(16, 17, 18))


@pytest.mark.parametrize(
    ("moving", "fixed", "options", "error", "message"),
    [
        (VOLUME[0], VOLUME, {}, ShapeError, r"`moving` and `fixed` must be two images or two volumes; their shapes are \(17, 18\) and"),
        (VOLUME[None], VOLUME, {}, ShapeError, r"`moving` must have 2 or 3 axes \(row, column\) or \(depth, row, column\)"),
        (VOLUME[:5, :5, :5], VOLUME, {}, ShapeError, r"`moving` must be at least 16 pixels along each side; its shape is \(5, 5, 5\)"),
        (VOLUME, np.ones((16, 16, 16)), {}, InputError, r"`fixed` is constant, 1\.0 everywhere"),
        (VOLUME, VOLUME * np.nan, {}, InputError, r"`fixed` must be finite"),
        (VOLUME, VOLUME, {"spacing": (1, 2)}, ShapeError, r"`spacing` must be one number or 3, one for each axis; got 2"),
        (VOLUME, VOLUME, {"fixed_mask": VOLUME[0] > 0}, ShapeError, r"`fixed_mask` must have 3 axes"),
        (VOLUME, VOLUME, {"fixed_mask": VOLUME > 5}, InputError, r"`fixed_mask` leaves 0 pixels of the image; at least"),
        (VOLUME, VOLUME, {"moving_spacing": (1, 1, 0.2)}, ShapeError, r"`moving` has \(\d+, \d+, \d+\) pixels of the larger spacing"),
    ],
)  # fmt: skip
def test_what_cannot_be_registered_is_refused_in_one_sentence(moving, fixed, options, error, message):
    with pytest.raises(error, match=message):
        register_images(moving, fixed, **options)

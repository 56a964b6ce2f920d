"""Tests of group means: the mean of maps, the template of images with known maps, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy.linalg import expm, logm

import gequi
from gequi.errors import InputError, ShapeError, UnrelatedImagesError
from gequi.templates._frames import Linear, mean_frame, mean_metric, mean_rotation
from gequi.templates._shapes import centered

CAT = gequi.sample_image("cat").astype(float)
SIZE, MARGIN = 64, 8
INNER = np.s_[..., MARGIN:-MARGIN, MARGIN:-MARGIN]
RANDOM = np.random.default_rng(0)


def turn(degrees: float) -> np.ndarray:
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([[cosine, -sine], [sine, cosine]])


def bend(x: np.ndarray, phase: float) -> np.ndarray:
    """A smooth displacement by up to 1.5 pixels."""
    wave = 2 * np.pi / SIZE
    return 1.5 * np.stack([
        np.sin(1.5 * wave * x[1] + phase) * np.cos(wave * x[0] + 2 * phase),
        np.cos(1.5 * wave * x[0] - phase) * np.sin(wave * x[1] + phase),
    ])  # fmt: skip


def across(matrix: np.ndarray, x: np.ndarray) -> np.ndarray:
    return np.tensordot(matrix, x, 1)


def seen(x: np.ndarray) -> np.ndarray:
    """The photograph at positions from its center."""
    return gequi.warp_image(CAT, x + (np.array(CAT.shape) - 1).reshape(2, 1, 1) / 2, "cubic")


PLACES = np.indices((SIZE, SIZE)) - (SIZE - 1) / 2
SHIFT = np.array([2.0, -1.4]).reshape(2, 1, 1)
KNOWN = ((6.0, 1, 1, 0.3), (-6.0, -1, -1, 0.3), (6.0, -1, 1, 1.4), (-6.0, 1, -1, 1.4))  # turn, signs of shift and bend


def known_map(angle: float, to: int, sign: int, phase: float, common: float = 0.0) -> np.ndarray:
    """A map from places in the picture to places in an image, whose mean over KNOWN is a turn by `common`."""
    return across(turn(common), across(turn(angle), PLACES + sign * bend(PLACES, phase)) + to * SHIFT)


def made_image(angle: float, to: int, sign: int, phase: float, common: float = 0.0) -> np.ndarray:
    """The picture seen through the inverse of `known_map()`."""
    straight = across(turn(-angle), across(turn(-common), PLACES) - to * SHIFT)
    place = straight
    for _ in range(60):
        place = straight - sign * bend(place, phase)
    return seen(place)


IMAGES = [made_image(*known) for known in KNOWN]
PICTURE = seen(PLACES)


def root_mean_square(x: np.ndarray) -> float:
    return float(np.sqrt(np.nanmean(np.square(x))))


@pytest.fixture(scope="module", params=["float32", pytest.param("float64", marks=pytest.mark.slow)])
def found(request: pytest.FixtureRequest) -> Any:
    return gequi.group_mean(IMAGES, dtype=request.param)


# ---- the template ---------------------------------------------------------------------------------------


def test_the_template_of_images_with_known_maps_is_the_picture(found):
    error = root_mean_square((found.template - PICTURE)[INNER])
    assert error < 0.05 * PICTURE.std()
    assert root_mean_square((np.mean(IMAGES, 0) - PICTURE)[INNER]) > 4 * error  # a control: the mean without maps
    assert found.converged
    assert found.changes[-1] < 0.05
    assert math.isnan(found.changes[0])


def test_the_maps_are_the_known_maps(found):
    truth = np.stack([known_map(*known) for known in KNOWN]) + (SIZE - 1) / 2
    assert root_mean_square((found.maps - truth)[INNER]) < 0.05
    assert root_mean_square((found.maps[[1, 0, 3, 2]] - truth)[INNER]) > 1  # a control
    np.testing.assert_allclose([row["rotation"] for row in found.table], [6, -6, 6, -6], atol=0.3)
    np.testing.assert_allclose([row["shift"] for row in found.table], np.hypot(2, 1.4), atol=0.2)
    assert all(row["probability"] > 0.9 and row["similarity"] > 0.98 for row in found.table)


def test_the_variability_is_the_displacement_that_remains_without_the_linear_parts(found):
    displacements = np.stack([bend(PLACES, phase) for phase in (0.3, 1.4)])
    at = PLACES.reshape(2, -1)
    basis = np.vstack([at, np.ones(at.shape[1])])
    flat = displacements.reshape(4, -1)
    linear = flat @ basis.T @ np.linalg.inv(basis @ basis.T) @ basis
    known = np.sqrt(np.square((flat - linear).reshape(displacements.shape)).sum(1).mean(0))
    assert root_mean_square((found.variability - known)[INNER]) < 0.1
    assert root_mean_square(known[INNER]) > 1
    bends = [row["bend"] for row in found.table]
    np.testing.assert_allclose(bends, root_mean_square(found.variability), rtol=0.1)


def test_the_mean_of_the_maps_is_the_identity(found):
    middle, at = (SIZE - 1) / 2, PLACES.reshape(2, -1)
    linears = []
    for map in found.maps - middle:
        to = map.reshape(2, -1)
        linears.append(np.linalg.lstsq(np.vstack([at, np.ones(at.shape[1])]).T, to.T, rcond=None)[0].T)
    stretches = [logm(linear[:, :2].T @ linear[:, :2]) for linear in linears]
    np.testing.assert_allclose(np.mean(stretches, 0), 0, atol=1e-4)
    turns = [np.linalg.svd(linear[:, :2]) for linear in linears]
    mean = np.mean([left @ right for left, _, right in turns], 0)
    np.testing.assert_allclose(mean, mean.T, atol=1e-6)  # the nearest rotation of a symmetric matrix is the identity
    centers = [np.linalg.solve(linear[:, :2], linear[:, 2]) for linear in linears]
    np.testing.assert_allclose(np.mean(centers, 0), 0, atol=1e-4)
    remaining = [
        across(np.linalg.inv(linear[:, :2]), map - middle - linear[:, 2].reshape(2, 1, 1)) - PLACES
        for linear, map in zip(linears, found.maps, strict=True)
    ]
    np.testing.assert_allclose(np.mean(remaining, 0), 0, atol=1e-4)
    assert root_mean_square(np.stack(remaining)) > 0.5


@pytest.fixture(scope="module")
def usual() -> Any:
    return gequi.group_mean(IMAGES, rounds=2)


@pytest.mark.slow
def test_neither_the_order_nor_the_first_image_matters(usual):
    order = [2, 0, 3, 1]
    other = gequi.group_mean([IMAGES[k] for k in order], rounds=2)
    np.testing.assert_allclose(other.maps, usual.maps[order], atol=1e-6)
    begun = gequi.group_mean(IMAGES, start=(usual.start + 1) % 4, rounds=2)
    assert begun.start != usual.start
    assert root_mean_square((begun.maps - usual.maps)[INNER]) < 0.03
    assert root_mean_square((begun.template - usual.template)[INNER]) < 0.002 * PICTURE.std()


def test_the_template_turns_with_the_images(usual):
    turned = gequi.group_mean([np.rot90(image) for image in IMAGES], rounds=2)
    difference = turned.template - np.rot90(usual.template)
    assert root_mean_square(difference[INNER]) < 0.002 * PICTURE.std()


@pytest.mark.slow
def test_the_template_is_at_the_mean_angle():
    any_angle = gequi.group_mean([made_image(*known, common=31.0) for known in KNOWN], rounds=2)
    assert root_mean_square((any_angle.template - seen(across(turn(-31.0), PLACES)))[INNER]) < 0.06 * PICTURE.std()
    assert root_mean_square((any_angle.template - PICTURE)[INNER]) > 0.5 * PICTURE.std()  # a control


def test_images_of_any_orientation_and_an_unrelated_one():
    noise = np.random.default_rng(1).normal(size=(SIZE, SIZE))
    turned = {"a": np.rot90(IMAGES[0]), "b": IMAGES[1], "noise": noise, "c": IMAGES[2], "d": np.rot90(IMAGES[3], -1)}
    mean = gequi.group_mean(turned, start=1, rounds=2)
    assert [row["status"] for row in mean.table] == ["aligned", "aligned", "failed", "aligned", "aligned"]
    assert mean.table[2]["image"] == "noise"
    assert "do not look alike" in mean.table[2]["error"]
    assert np.isnan(mean.maps[2]).all()
    assert mean.turned_as is None
    rotations = [mean.table[k]["rotation"] for k in (0, 1, 3, 4)]
    np.testing.assert_allclose(rotations, [96, -6, 6, -96], atol=0.5)
    assert root_mean_square((mean.template - PICTURE)[INNER]) < 0.06 * PICTURE.std()
    assert "failed: noise" in repr(mean)


def test_rotations_without_a_mean_leave_the_pose_to_the_first_image():
    quarters = [np.rot90(PICTURE, k) for k in range(4)]
    mean = gequi.group_mean(quarters, transform="rigid", start=1, rounds=2)
    assert mean.turned_as == mean.start == 1
    np.testing.assert_allclose(np.array([row["rotation"] for row in mean.table]) % 360, [270, 0, 90, 180], atol=0.1)
    assert root_mean_square((mean.template - quarters[1])[INNER]) < 0.01 * PICTURE.std()


def test_images_of_several_sizes_have_a_template_of_their_mean_size():
    large = gequi.group_mean([seen(np.indices((n, n + 4)) - np.array([(n - 1) / 2, (n + 3) / 2]).reshape(2, 1, 1))
                              for n in (56, 60)], transform="rigid", rounds=2)  # fmt: skip
    assert large.template.shape == (58, 62)
    np.testing.assert_allclose([row["shift"] for row in large.table], 0, atol=0.05)
    np.testing.assert_allclose(large.variability, 0, atol=1e-4)


def test_volumes_with_a_pixel_size():
    at = np.indices((20, 24, 22)) * np.array([2.0, 1.0, 1.0]).reshape(3, 1, 1, 1)
    volume = np.sin(at[0] * at[1] / 60) + np.cos(at[2] / 3) * np.sin(at[0] / 6) + np.cos((at[1] + at[2]) / 5)
    images = [volume[:16, :22], volume[1:17, :22], volume[:16, 2:24]]
    mean = gequi.group_mean(images, "translation", spacing=[2, 1, 1], rounds=2)
    assert mean.template.shape == (16, 22, 22)
    shifts = np.array([[1 / 3, 2 / 3, 0], [-2 / 3, 2 / 3, 0], [1 / 3, -4 / 3, 0]]) * [2, 1, 1]
    np.testing.assert_allclose([row["shift"] for row in mean.table], np.linalg.norm(shifts, axis=1), atol=0.1)
    assert "voxels" in repr(mean)
    assert mean.plot("variability", slice=3, axis=2).axes[0].get_title() == "variability of 3 images"


def test_lengths_follow_the_pixel_size():
    images = [PICTURE, seen(PLACES + bend(PLACES, 0.3))]
    one, other = (gequi.group_mean(images, rounds=1, spacing=spacing) for spacing in (1.0, 1e-200))
    np.testing.assert_allclose(other.variability, 1e-200 * one.variability, rtol=1e-3, atol=1e-203)
    np.testing.assert_allclose(other.table[0]["bend"], 1e-200 * one.table[0]["bend"], rtol=1e-3)
    np.testing.assert_allclose(other.maps, one.maps, atol=1e-3)


# ---- the mean of maps -----------------------------------------------------------------------------------


def random_maps(count: int = 3, size: tuple[int, ...] = (24, 20)) -> list[np.ndarray]:
    axes = len(size)
    middle = (np.array(size) - 1).reshape(-1, *[1] * axes) / 2
    places = np.indices(size) - middle
    maps = []
    for _ in range(count):
        matrix = expm(0.2 * RANDOM.normal(size=(axes, axes)))
        waves = np.sin(np.tensordot(RANDOM.normal(size=(axes, axes)) * 0.15, places, 1) + RANDOM.uniform(0, 6))
        shift = RANDOM.normal(size=axes).reshape(middle.shape)
        maps.append(np.tensordot(matrix, places + 0.4 * waves, 1) + shift + middle)
    return maps


@pytest.mark.parametrize("size", [(24, 20), (10, 12, 11)])
def test_the_mean_of_centered_maps_is_the_identity(size):
    spacing = np.array([2.0, 1.0, 1.5][: len(size)])
    shapes = centered(random_maps(3, size), [size] * 3, size, spacing, 0)
    frame = mean_frame(shapes.linears, 0)
    np.testing.assert_allclose(frame.matrix, np.eye(len(size)), atol=1e-5)
    np.testing.assert_allclose(frame.shift, 0, atol=1e-5)
    np.testing.assert_allclose(shapes.bends.mean(0), 0, atol=1e-4)
    assert np.abs(shapes.bends).max() > 0.1


def test_the_mean_does_not_depend_on_the_present_template():
    maps, size = random_maps(), (24, 20)
    middle = (np.array(size) - 1).reshape(2, 1, 1) / 2
    places = np.indices(size) - middle
    other = across(turn(100.0) @ np.diag([1.2, 0.9]), places) + middle + 0.5  # another template: all of them composed
    linear = [across(expm(0.2 * RANDOM.normal(size=(2, 2))), places) + middle for _ in maps]
    one = centered(linear, [size] * 3, size, np.ones(2), 0)
    same = centered([gequi.compose_maps(map, other) for map in linear], [size] * 3, size, np.ones(2), 0)
    np.testing.assert_allclose(np.stack(one.maps), np.stack(same.maps), atol=1e-4)
    bent = centered(maps, [size] * 3, size, np.ones(2), 0)
    again = centered(bent.maps, [size] * 3, size, np.ones(2), 0)
    np.testing.assert_allclose(np.stack(bent.maps), np.stack(again.maps), atol=1e-5)
    assert np.abs(np.stack(maps) - np.stack(bent.maps)).max() > 0.5


def test_a_mean_deformation_that_folds_is_refused():
    fold = np.indices((20, 20)).astype(float)
    fold[0] += 12 * np.sin(fold[0] * 1.5)
    with pytest.raises(InputError, match="`images` deform so much"):
        centered([fold, fold], [(20, 20)] * 2, (20, 20), np.ones(2), 0)


@pytest.mark.parametrize("axes", [2, 3])
def test_the_mean_metric_is_the_mean_of_logarithms_in_any_frame(axes):
    base = expm(0.3 * RANDOM.normal(size=(axes, axes)))
    diagonal = [np.exp(RANDOM.normal(size=axes)) for _ in range(4)]
    metrics = [base.T @ np.diag(each) @ base for each in diagonal]
    oracle = base.T @ np.diag(np.exp(np.mean(np.log(diagonal), 0))) @ base
    np.testing.assert_allclose(mean_metric(metrics), oracle, rtol=1e-9)
    assert np.abs(np.mean(metrics, 0) - oracle).max() > 0.01  # a control: the arithmetic mean is not it


def test_the_mean_rotation_halves_the_angle_and_may_be_undetermined():
    mean, agreement = mean_rotation(np.stack([turn(170.0), turn(-150.0)]))
    np.testing.assert_allclose(mean, turn(-170.0), atol=1e-12)
    assert agreement == pytest.approx(math.cos(math.radians(20)))
    assert mean_rotation(np.stack([turn(90.0 * k) for k in range(4)]))[1] < 1e-12
    axis = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 0]])
    mean, agreement = mean_rotation(np.stack([expm(0.4 * axis), expm(1.0 * axis)]))
    np.testing.assert_allclose(mean, expm(0.7 * axis), atol=1e-12)
    assert mean_rotation(np.stack([np.eye(3), expm(np.pi * axis)]))[1] < 1e-12


def test_a_frame_turns_as_one_map_if_the_rotations_have_no_mean():
    maps = [Linear(turn(90.0 * k), np.zeros(2)) for k in range(4)]
    frame = mean_frame(maps, 2)
    assert not frame.mean_turn
    np.testing.assert_allclose(maps[2].matrix @ frame.matrix, np.eye(2), atol=1e-12)
    assert mean_frame(maps[:2], 0).mean_turn


# ---- what is shown, and what is refused -----------------------------------------------------------------


def test_a_group_mean_describes_itself_and_becomes_data(found):
    told = found.summary()
    assert (told["images"], told["aligned"], told["failed"], told["converged"]) == (4, 4, 0, True)
    assert told["rounds"] == len(found.changes)
    assert "4 aligned, 0 failed" in repr(found)
    again = type(found).from_dict(found.to_dict())
    assert repr(again) == repr(found)
    assert not again.template.flags.writeable
    figure = gequi.plot_group_mean(found, "variability")
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array(), found.variability)
    assert gequi.plot_group_mean(found).axes[0].get_title() == "template of 4 images"


def test_progress_counts_the_registrations():
    told: list[dict[str, Any]] = []
    gequi.group_mean([PICTURE, PICTURE], "rigid", rounds=2, progress=told.append)
    assert [each["done"] for each in told] == [1, 2, 3, 4, 4]
    assert {each["total"] for each in told} == {4}


@pytest.mark.parametrize(("options", "error", "message"), [
    ({"images": [PICTURE]}, ShapeError, "`images` must have at least 2 images; got 1"),
    ({"images": PICTURE}, ShapeError, "`images` must have 3 or 4 axes"),
    ({"images": [PICTURE, PICTURE[:9]]}, ShapeError, "Image 2 of 2: .*at least 16 pixels"),
    ({"images": [PICTURE, np.zeros((16, 16, 16))]}, ShapeError, "Image 2 of 2: .*all images or all volumes"),
    ({"images": [PICTURE, PICTURE * np.nan]}, InputError, "Image 2 of 2: .*finite"),
    ({"transform": "curved"}, InputError, "`transform` must be"),
    ({"start": 2}, InputError, "`start`"),
    ({"rounds": 0}, InputError, "`rounds` must be at least 1"),
    ({"tolerance": -1}, InputError, "`tolerance`"),
    ({"spacing": [1, 2, 3]}, ShapeError, "`spacing`"),
    ({"interpolation": "sharp"}, InputError, "`interpolation`"),
    ({"progress": 3}, InputError, "`progress` must be a function"),
])  # fmt: skip
def test_refused(options, error, message):
    with pytest.raises(error, match=message):
        gequi.group_mean(**{"images": [PICTURE, PICTURE], **options})


def test_images_without_anything_in_common_are_refused():
    noise = np.random.default_rng(1).normal(size=(2, 32, 32))
    with pytest.raises(UnrelatedImagesError, match="`images` has no 2 of its 2 images"):
        gequi.group_mean(noise, "rigid", start=0, rounds=1)


def test_only_a_group_mean_is_plotted():
    with pytest.raises(InputError, match="`mean` must be a group mean"):
        gequi.plot_group_mean(PICTURE)

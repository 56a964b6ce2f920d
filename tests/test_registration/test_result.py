"""The result of a registration: transformed points and images, the inverse, and its metrics."""

from __future__ import annotations

import dataclasses
import warnings
from functools import cache

import numpy as np
import pytest

from gequi import compose_maps, identity_map, map_jacobian, register_images, sample_image, warp_image
from gequi.errors import InputError, ShapeError
from gequi.registration import Registration
from gequi.registration.presets import preset_for
from gequi.registration.result import carry

CAT = sample_image("cat")
FIXED = CAT[50:130, 150:222]
MOVING = np.rot90(FIXED)  # what is at (row, column) of FIXED is at (71 - column, row) of MOVING


@cache
def quarter():
    return register_images(MOVING, FIXED)


@cache
def halved():
    """2 pixels of fixed to one of moving along the rows, 1 along the columns, in lengths of the fixed pixels."""
    map = np.stack(np.indices((40, 80)).astype(float))
    map[0] = 2 * map[0] + 0.5
    image = CAT[40:120, 150:230]
    return register_images(warp_image(image, map), image, moving_spacing=(2.0, 1.0), spacing=1.0, transform="affine")


@cache
def volumes():
    depth, row, column = np.indices((20, 22, 24))
    fixed = np.sin(depth * row / 30) + np.cos(column / 3) * np.sin(depth / 4) + 0.2 * np.sin(row + column / 2)
    # what is at (depth, row, column) of fixed is at (row, column, depth) of moving
    return register_images(
        fixed.transpose(1, 2, 0), fixed, spacing=(1, 1, 2), moving_spacing=(1, 2, 1), transform="rigid"
    )


# ---- a value --------------------------------------------------------------------------------------------


def test_a_registration_cannot_be_changed():
    found = quarter()
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.probability = 1.0
    for name in ("map", "warped", "fixed"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(found, name)[0] = 0


def test_it_holds_what_it_was_made_of():
    found = halved()
    np.testing.assert_array_equal(quarter().moving, MOVING)
    np.testing.assert_array_equal(quarter().fixed, FIXED)
    assert (found.spacing.tolist(), found.moving_spacing.tolist()) == ([1.0, 1.0], [2.0, 1.0])
    assert (found.transform, found.contrast, found.interpolation) == ("affine", "same", "cubic")


def test_it_says_itself_in_four_lines():
    lines = repr(quarter()).splitlines()
    assert lines[0] == "<Registration: 72 x 80 onto 80 x 72, deformable, contrast 'same'>"
    assert len(lines) == 4
    assert lines[2].endswith("0 folds; 100 % of the fixed image is seen in both")


def test_plain_data_makes_it_again():
    found = volumes()
    plain = found.to_dict()
    assert list(plain) == [each.name for each in dataclasses.fields(Registration)]
    again = Registration.from_dict(plain)
    for name, value in plain.items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(getattr(again, name), value)
            assert not np.shares_memory(getattr(again, name), value)
        elif name != "alternatives":
            assert getattr(again, name) == value or (name == "fill" and np.isnan(again.fill))
    assert repr(again) == repr(found)


# ---- what is carried over -------------------------------------------------------------------------------


def test_an_image_is_carried_both_ways_with_its_channels():
    found = quarter()
    np.testing.assert_allclose(found.warp(MOVING), found.warped, atol=1e-5)
    np.testing.assert_allclose(found.warp(FIXED, direction="fixed_to_moving"), MOVING, atol=0.02)
    both = found.warp(np.stack([MOVING, 1 - MOVING]), "linear")
    assert both.shape == (2, 80, 72)
    np.testing.assert_allclose(both.sum(0), 1, atol=1e-12)


def test_what_is_not_seen_is_filled():
    part = register_images(CAT[60:124, 160:224], CAT[50:130, 150:230])
    filled = part.warp(part.moving, fill=-1.0)
    assert (filled[:8] == -1).all()
    assert (filled[12:70, 12:70] > -0.5).all()


def test_points_are_carried_both_ways():
    found = quarter()
    points = np.array([[10.0, 20.0], [40.0, 5.5]])
    there = found.transform_points(points, "fixed_to_moving")
    np.testing.assert_allclose(there, [[51, 10], [65.5, 40]], atol=0.02)
    np.testing.assert_allclose(found.transform_points(there), points, atol=0.02)
    np.testing.assert_array_equal(found.transform_points(there[0]), found.transform_points(there)[0])
    volume = volumes()
    np.testing.assert_allclose(volume.transform_points([[3, 5, 9]], "fixed_to_moving"), [[5, 9, 3]], atol=1e-2)


def test_the_deviation_of_a_point_is_the_uncertainty_there():
    found = quarter()
    pixels = np.array([[10, 20], [40, 5], [79, 0]])
    there, std = found.transform_points(pixels, "fixed_to_moving", return_std=True)
    np.testing.assert_allclose(std, found.uncertainty[tuple(pixels.T)], rtol=1e-12)
    back, back_std = found.transform_points(there, return_std=True)
    np.testing.assert_allclose(back, pixels, atol=0.02)
    np.testing.assert_allclose(back_std, std, rtol=0.02)
    one, one_std = found.transform_points(there[0], return_std=True)
    assert one.shape == (2,)
    assert one_std == back_std[0]


def test_the_deviation_changes_with_the_scale_that_a_point_is_carried_through():
    found = halved()  # an area of 2 pixels of fixed to one of moving
    there, std = found.transform_points([[40.0, 40.0]], "fixed_to_moving", return_std=True)
    _, back = found.transform_points(there, return_std=True)
    assert back[0] / std[0] == pytest.approx(2**0.5, rel=0.01)


def test_a_fold_has_no_finite_deviation_on_the_way_back():
    folded = dataclasses.replace(quarter(), jacobian=np.full(FIXED.shape, -1.0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isinf(folded.transform_points([[5.0, 5.0]], return_std=True)[1]).all()


def test_points_outside_the_images_are_missing_unless_they_are_extrapolated():
    found = quarter()  # fixed is 80 x 72, moving 72 x 80: (row, column) of fixed is at (71 - column, row)
    edge = np.array([[-0.5, 40.0], [79.5, 71.5]])
    assert np.isfinite(found.transform_points(edge, "fixed_to_moving")).all()
    beyond = np.array([[-0.6, 40.0], [40.0, 71.6], [10.0, 20.0]])
    for direction, given in (("fixed_to_moving", beyond), ("moving_to_fixed", beyond[:, ::-1])):
        there, std = found.transform_points(given, direction, return_std=True)
        np.testing.assert_array_equal(np.isnan(there), [[True, True], [True, True], [False, False]])
        np.testing.assert_array_equal(np.isnan(std), [True, True, False])
        onward, grown = found.transform_points(given, direction, return_std=True, extrapolate=True)
        assert np.isfinite(onward).all()
        assert np.isfinite(grown).all()
        np.testing.assert_array_equal(onward[2], there[2])
    onward = found.transform_points([-5.0, 20.0], "fixed_to_moving", extrapolate=True)
    np.testing.assert_allclose(onward, [51, -5], atol=0.1)
    assert np.isnan(found.transform_points([-5.0, 20.0], "fixed_to_moving")).all()


def test_a_point_that_lands_outside_the_fixed_image_is_missing():
    part = register_images(CAT[50:130, 150:222], CAT[70:118, 165:213])  # 20 rows and 15 columns into moving
    inner, outer = [30.0, 30.0], [10.0, 30.0]
    np.testing.assert_allclose(part.transform_points(inner), [10, 15], atol=0.05)
    assert np.isnan(part.transform_points(outer)).all()
    np.testing.assert_allclose(part.transform_points(outer, extrapolate=True), [-10, 15], atol=0.5)


def test_the_deviation_beyond_the_image_grows_with_the_distance():
    linear = dataclasses.replace(halved(), uncertainty=np.full((80, 80), 0.1))
    away = np.array([[40.0, 79.5], [40.0, 79.5 + 20], [40.0, 79.5 + 40]])
    _, std = linear.transform_points(away, "fixed_to_moving", return_std=True, extrapolate=True)
    np.testing.assert_allclose(std, [0.1, 0.2, 0.3], rtol=1e-3)  # a quarter of 80 pixels adds as much again
    bent = identity_map((80, 80))
    bent[0] += 3 * np.sin(np.pi * bent[0] / 40)
    _, wider = dataclasses.replace(linear, map=bent).transform_points(
        away, "fixed_to_moving", return_std=True, extrapolate=True
    )
    slope = preset_for(2).extrapolation_bend * 3 * np.pi / 40 / 2  # a sine in one of two axes, by its mean square
    np.testing.assert_allclose(wider, np.hypot(std, slope * np.array([0, 20, 40]) * 0.5**0.5), rtol=0.03)


def test_the_unmoved_map_lays_the_middles_on_each_other():
    unmoved = halved().unmoved_map()
    assert unmoved.shape == (2, 80, 80)
    np.testing.assert_allclose(unmoved[:, 0, 0], [-0.25, 0])
    np.testing.assert_allclose(unmoved[:, 79, 79], [39.25, 79])
    assert volumes().unmoved_map().shape == (3, 20, 22, 24)


@pytest.mark.parametrize(
    ("method", "given", "options", "error", "message"),
    [
        ("warp", FIXED, {}, ShapeError, "`image` must have the size of the moving image, 72 x 80; got 80 x 72."),
        ("warp", MOVING[None, None], {}, ShapeError, "the moving image, 72 x 80; got 1 x 1 x 72 x 80."),
        ("warp", MOVING, {"direction": "fixed_to_moving"}, ShapeError, "the size of the fixed image, 80 x 72; got 72 x 80"),
        ("warp", MOVING, {"direction": "back"}, InputError, "`direction` must be one of 'moving_to_fixed', 'fixed_to"),
        ("warp", MOVING, {"interpolation": "quadratic"}, InputError, "`interpolation` must be one of"),
        ("transform_points", [[1, 2, 3]], {}, ShapeError, "`points` must have 2 coordinates for each point: row, column."),
        ("transform_points", [[np.nan, 2]], {}, InputError, "`points` must be finite"),
        ("transform_points", [1, 2], {"return_std": 1}, InputError, "`return_std` must be true or false"),
    ],
)  # fmt: skip
def test_what_cannot_be_carried_is_refused(method, given, options, error, message):
    with pytest.raises(error) as raised:
        getattr(quarter(), method)(given, **options)
    assert message in str(raised.value)


def test_coordinates_of_volumes_are_named_in_their_order():
    with pytest.raises(ShapeError, match="3 coordinates for each point: depth, row, column"):
        volumes().transform_points([1, 2])


def test_a_caller_with_a_name_of_its_own_is_told_of_it():
    with pytest.raises(ShapeError, match="`newdata` must have the size of the moving image"):
        carry(quarter(), "warp", FIXED)
    with pytest.raises(InputError, match="`direction` must be one of"):
        carry(quarter(), "transform_points", [1, 2], direction="up")


# ---- the other direction --------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [quarter, halved, volumes])
def test_the_inverse_is_the_registration_in_the_other_direction(make):
    found = make()
    inverse = found.inverse
    np.testing.assert_array_equal(inverse.map, found.inverse_map)
    np.testing.assert_array_equal(inverse.inverse_map, found.map)
    np.testing.assert_array_equal(inverse.fixed, found.moving)
    np.testing.assert_array_equal(inverse.spacing, found.moving_spacing)
    np.testing.assert_array_equal(inverse.warped, found.warp(found.fixed, direction="fixed_to_moving"))
    corner = np.array([3.0] * found.fixed.ndim)
    there = found.affine[:, :-1] @ corner + found.affine[:, -1]
    np.testing.assert_allclose(inverse.affine[:, :-1] @ there + inverse.affine[:, -1], corner, atol=1e-9)
    _, std = found.transform_points(np.argwhere(inverse.uncertainty > 0)[:50], return_std=True)
    np.testing.assert_allclose(std, inverse.uncertainty.ravel()[:50], rtol=1e-9)
    truth = map_jacobian(inverse.map, inverse.spacing, inverse.moving_spacing)
    inner = (slice(3, -3),) * found.fixed.ndim
    np.testing.assert_allclose(inverse.jacobian[inner], truth[inner], rtol=0.02)
    assert inverse.metrics["similarity_after"] == found.metrics["similarity_after"]
    assert inverse.metrics["folds"] == 0
    assert inverse.metrics["inverse_consistency"] < 0.02
    both = compose_maps(inverse.map, found.map)
    assert abs(both - identity_map(found.fixed.shape))[(slice(None), *inner)].max() < 0.05


def test_the_inverse_is_near_what_the_exchanged_images_give():
    found, other = quarter().inverse, register_images(FIXED, MOVING)
    np.testing.assert_allclose(found.map, other.map, atol=0.02)
    np.testing.assert_allclose(found.warped, other.warped, atol=0.01)
    np.testing.assert_allclose(found.uncertainty, other.uncertainty, rtol=0.05)
    assert found.metrics["overlap"] == other.metrics["overlap"]


def test_the_inverse_of_the_inverse_is_the_registration():
    row, column = np.indices((80, 80))
    # what is linear in the position stays itself between the rows of the moving image, which are two pixels apart
    found = dataclasses.replace(halved(), uncertainty=0.05 + 0.001 * row + 0.002 * column)
    again = found.inverse.inverse
    assert found.inverse is found.inverse
    np.testing.assert_array_equal(again.map, found.map)
    np.testing.assert_allclose(again.affine, found.affine, atol=1e-12)
    inner = np.s_[1:-1, 1:-1]  # a pixel at the rim is half a pixel outside the other image, where its last row holds
    np.testing.assert_allclose(again.uncertainty[inner], found.uncertainty[inner], rtol=1e-3)
    np.testing.assert_allclose(again.jacobian[inner], found.jacobian[inner], rtol=1e-3)


# ---- figures --------------------------------------------------------------------------------------------


def test_the_summary_is_plain_data():
    found = quarter()
    summary = found.summary()
    assert (summary["moving"], summary["fixed"]) == ([72, 80], [80, 72])
    assert summary["metrics"] == found.metrics
    assert summary["probability"] == found.probability
    of_uncertainty, of_jacobian = summary["spread"]
    assert of_uncertainty["over_pixels"] == "uncertainty"
    assert of_uncertainty["median"] == np.median(found.uncertainty)
    assert of_jacobian["least"] == found.jacobian.min()
    assert of_jacobian["95 %"] == np.quantile(found.jacobian, 0.95)

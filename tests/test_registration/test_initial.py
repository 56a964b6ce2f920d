"""A given start: linear maps, landmarks and earlier registrations; and the transform "translation"."""

from __future__ import annotations

import warnings
from functools import cache

import numpy as np
import pytest

from gequi import register_images, sample_image, warp_image
from gequi.errors import InputError, ShapeError, UnrelatedImagesError

CAT = sample_image("cat")
FIXED = CAT[40:168, 140:268]
MOVING = np.rot90(FIXED)  # what is at (row, column) of FIXED is at (127 - column, row) of MOVING
QUARTER = np.array([[0.0, -1.0, 127.0], [1.0, 0.0, 0.0]])
TRUTH = np.stack([127.0 - np.indices((128, 128))[1], np.indices((128, 128))[0]])


def tipped(affine, degrees, shift):
    """The map with its landing place turned about the middle and shifted."""
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn, middle = np.array([[cosine, -sine], [sine, cosine]]), np.full(2, 63.5)
    return np.concatenate([turn @ affine[:, :2], (turn @ (affine[:, 2] - middle) + middle + shift)[:, None]], 1)


@cache
def volume():
    depth, row, column = np.indices((24, 26, 28))
    return np.sin(depth * row / 40) + np.cos(column / 3) * np.sin(depth / 4) + 0.2 * np.sin(row + column / 2)


# ---- the three kinds of start ---------------------------------------------------------------------------


@pytest.mark.parametrize("transform", ["deformable", "affine", "similarity", "rigid"])
def test_the_map_near_a_start_is_found(transform):
    found = register_images(MOVING, FIXED, transform=transform, initial=tipped(QUARTER, 8, (5, -3)))
    np.testing.assert_allclose(found.map, TRUTH, atol=0.1)
    assert found.probability > 0.9
    assert found.alternatives == ()


def test_a_start_may_mirror_and_scale():
    found = register_images(FIXED[:, ::-1], FIXED, initial=np.array([[1.0, 0, 2], [0, -1, 126]]))
    np.testing.assert_allclose(
        found.map, np.stack([np.indices((128, 128))[0], 127 - np.indices((128, 128))[1]]), atol=0.1
    )
    assert found.decomposition["mirror"] is True
    half = FIXED.reshape(64, 2, 64, 2).mean((1, 3))
    found = register_images(half, FIXED, initial=np.array([[0.5, 0, 2], [0, 0.5, -1]]))
    np.testing.assert_allclose(found.map, (np.indices((128, 128)) + 0.5) / 2 - 0.5, atol=0.5)


def test_nothing_is_searched_elsewhere():
    with pytest.raises(UnrelatedImagesError, match="near `initial`: the best one is right with a probability of"):
        register_images(MOVING, FIXED, initial=np.eye(2, 3))  # three quarter turns away


def test_a_start_decides_between_maps_that_fit_equally_well():
    board = (np.add.outer(np.arange(96) // 12, np.arange(96) // 12) % 2).astype(float)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for shift in (0, 24):
            found = register_images(board, board, transform="rigid", initial=np.array([[1, 0, shift + 1], [0, 1, -1]]))
            np.testing.assert_allclose(found.decomposition["shift"], (shift, 0), atol=0.2)


@pytest.mark.parametrize(("transform", "count"), [("deformable", 3), ("deformable", 2), ("rigid", 2), ("affine", 4)])
def test_landmarks_of_both_images_are_a_start(transform, count):
    fixed = np.array([[20.0, 30.0], [100.0, 40.0], [60.0, 110.0], [90.0, 90.0]])[:count]
    moving = np.stack([127 - fixed[:, 1], fixed[:, 0]], 1) + np.array([[1, -1], [-1, 2], [2, 0], [0, 1]])[:count]
    found = register_images(MOVING, FIXED, transform=transform, initial={"moving": moving, "fixed": fixed})
    np.testing.assert_allclose(found.map, TRUTH, atol=0.1)


def test_landmarks_of_a_volume_and_of_anisotropic_pixels_are_a_start():
    fixed = volume()
    points = np.array([[4.0, 5.0, 6.0], [20.0, 6.0, 9.0], [8.0, 22.0, 7.0], [11.0, 9.0, 25.0]])
    options = {"spacing": (1, 1, 2), "moving_spacing": (1, 2, 1), "transform": "rigid"}
    found = register_images(fixed.transpose(1, 2, 0), fixed, **options,
                            initial={"moving": points[:, [1, 2, 0]], "fixed": points})  # fmt: skip
    np.testing.assert_allclose(found.transform_points([[3, 5, 9]], "fixed_to_moving"), [[5, 9, 3]], atol=1e-2)


def test_an_earlier_registration_is_a_start_also_in_another_size():
    half = [image.reshape(64, 2, 64, 2).mean((1, 3)) for image in (MOVING, FIXED)]
    coarse = register_images(*half, transform="similarity")
    found = register_images(MOVING, FIXED, transform="similarity", initial=coarse)
    np.testing.assert_allclose(found.map, TRUTH, atol=0.1)
    start = register_images(*half, initial=found, transform="rigid")
    np.testing.assert_allclose(start.map, 63.0 * np.array([1, 0])[:, None, None] + np.stack(
        [-np.indices((64, 64))[1], np.indices((64, 64))[0]]), atol=0.1)  # fmt: skip


def test_a_mask_and_a_spacing_do_not_move_the_start():
    mask = np.zeros((128, 128), dtype=bool)
    mask[20:120, 10:100] = True
    found = register_images(
        MOVING, FIXED, spacing=0.5, fixed_mask=mask, transform="rigid", initial=tipped(QUARTER, 8, (5, -3))
    )
    np.testing.assert_allclose(found.map, TRUTH, atol=0.1)


def test_each_pair_of_a_list_has_its_own_start():
    start = tipped(QUARTER, 8, (5, -3))
    found = register_images([MOVING, FIXED], [FIXED, FIXED], transform="rigid", initial=[start, None])
    np.testing.assert_allclose(found[0].map, TRUTH, atol=0.1)
    np.testing.assert_allclose(found[1].map, np.indices((128, 128)), atol=0.1)
    again = register_images([MOVING, FIXED], [FIXED, FIXED], transform="rigid", initial=found)
    assert [abs(one.map - other.map).max() < 0.05 for one, other in zip(found, again, strict=True)] == [True, True]
    both = register_images([MOVING, MOVING], [FIXED, FIXED], transform="rigid", initial=start)
    np.testing.assert_array_equal(both[1].map, both[0].map)


@pytest.mark.parametrize(
    ("initial", "options", "error", "message"),
    [
        (np.eye(3), {}, ShapeError, "`initial` must be a linear map of shape (2, 3), or landmarks"),
        ([[1, 2], [3, 4, 5]], {}, InputError, "`initial` must be an array of numbers"),
        (np.ones((2, 3)), {}, InputError, "`initial` has no inverse"),
        (np.diag([1.0, -1.0]) @ np.eye(2, 3), {"transform": "translation"}, InputError, "`initial` contains a reflection"),
        ({"moving": [[1, 2]]}, {}, InputError, "landmarks of both images, 'moving', 'fixed'; got 'moving'"),
        ({"moving": [[1, 2]], "fixed": [[1, 2], [3, 4]]}, {}, ShapeError, "as many landmarks of `moving` as of `fixed`"),
        ({"moving": [[1, 2]], "fixed": [[1, 2]]}, {}, InputError, "`initial` has too few landmarks"),
        ({"moving": [[1, 2]] * 5, "fixed": [[3, 3]] * 5}, {}, InputError, "`initial` has too few landmarks"),
        ({"moving": [[1, np.nan]], "fixed": [[1, 2]]}, {}, InputError, "`initial` must be finite"),
    ],
)  # fmt: skip
def test_what_is_no_start_is_refused(initial, options, error, message):
    with pytest.raises(error) as raised:
        register_images(MOVING, FIXED, initial=initial, **options)
    assert message in str(raised.value)


def test_starts_of_another_number_of_pairs_or_axes_are_refused():
    with pytest.raises(ShapeError, match="`initial` must be one for all 2 pairs, or as many; got 1"):
        register_images([MOVING] * 2, [FIXED] * 2, initial=[np.eye(2, 3)])
    flat = register_images(FIXED, FIXED, transform="rigid")
    with pytest.raises(ShapeError, match="`initial` is a registration of 2 axes; `moving` and `fixed` have 3"):
        register_images(volume(), volume(), initial=flat)


# ---- shifts ---------------------------------------------------------------------------------------------


def test_a_translation_only_shifts():
    whole = np.roll(CAT, (7, -11), (0, 1))
    found = register_images(whole[40:168, 140:268], FIXED, transform="translation")
    np.testing.assert_array_equal(found.affine[:, :2], np.eye(2))
    np.testing.assert_allclose(found.affine[:, 2], (7, -11), atol=0.02)
    assert (found.decomposition["rotation"], found.decomposition["scale"]) == (0, 1)
    half = warp_image(CAT, np.indices(CAT.shape) - np.array([3.5, 2.25])[:, None, None], "cubic")[40:168, 140:268]
    np.testing.assert_allclose(
        register_images(half, FIXED, transform="translation").affine[:, 2], (3.5, 2.25), atol=0.02
    )


def test_a_translation_of_pixels_of_other_lengths_scales_them():
    tall = FIXED[::2]  # its rows are twice as long
    found = register_images(tall, FIXED, moving_spacing=(2, 1), spacing=1, transform="translation")
    np.testing.assert_allclose(found.affine[:, :2], np.diag([0.5, 1.0]), atol=1e-6)
    assert found.decomposition["scale"] == pytest.approx(1)


def test_a_translation_of_a_volume_and_from_a_start():
    big = np.roll(volume(), (2, -3, 1), (0, 1, 2))
    for start in (None, {"moving": [[6.0, 2.0, 4.0]], "fixed": [[4.0, 5.0, 3.0]]}, np.eye(3, 4) + np.eye(3, 4, 3) * 2):
        found = register_images(big[:, :20], volume(), transform="translation", initial=start)
        np.testing.assert_array_equal(found.affine[:, :3], np.eye(3))
        np.testing.assert_allclose(found.affine[:, 3], (2, -3, 1), atol=0.05)


def test_a_turn_is_no_translation():
    with pytest.raises(UnrelatedImagesError):
        register_images(MOVING, FIXED, transform="translation")

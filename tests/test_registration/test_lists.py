"""Several pairs in one call: names, failed pairs, the table, and transformed points and images."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from gequi import register_images, sample_image
from gequi.errors import InputError, ShapeError
from gequi.registration import Registration, Registrations

FIXED = sample_image("cat")[50:130, 150:222]
MOVING = np.rot90(FIXED)
FLAT = np.ones((40, 40))


@cache
def three():
    """Of the second pair nothing can be said."""
    moving = {"turned": MOVING, "flat": FLAT, "same": FIXED}
    return register_images(moving, [FIXED] * 3, on_error="keep")


def test_a_list_stops_at_the_first_error_if_it_is_not_to_be_kept():
    with pytest.raises(InputError, match="Pair 2 of 2: `moving` is constant"):
        register_images([MOVING, FLAT], [FIXED, FIXED])
    with pytest.raises(InputError, match="`on_error` must be one of 'stop', 'keep'"):
        register_images([MOVING], [FIXED], on_error="skip")


def test_each_failed_pair_keeps_its_error():
    found, told = three(), []
    assert [type(each) for each in found] == [Registration, InputError, Registration]
    assert str(found["flat"]).startswith("Pair 2 of 3: `moving` is constant")
    assert found["flat"].argument == "moving"
    assert "check_image" in [entry.name for entry in _traceback(found["flat"].__cause__)]
    kept = register_images([FLAT, None], [FIXED, FIXED], on_error="keep", progress=told.append)
    assert [isinstance(each, InputError) for each in kept] == [True, True]
    assert [info["done"] for info in told] == [1, 2]


def _traceback(error):
    import traceback

    return traceback.extract_tb(error.__traceback__)


def test_names_are_those_of_the_fixed_images_or_of_the_moving_ones():
    found = three()
    assert found.names == ["turned", "flat", "same"]
    both = register_images({"a": MOVING}, {"b": FIXED}, transform="rigid")
    assert both.names == ["b"]
    assert register_images([MOVING], [FIXED], transform="rigid").names is None
    assert found["same"] is found[2]
    with pytest.raises(InputError, match="`name` must be one of 'turned', 'flat', 'same'"):
        found["other"]


def test_a_part_of_the_list_is_one_too():
    part = three()[1:]
    assert isinstance(part, Registrations)
    assert part.names == ["flat", "same"]
    assert [row["pair"] for row in part.summary()] == ["flat", "same"]


def test_the_table_has_a_row_for_each_pair():
    found = three()
    first, second, _ = found.summary()
    assert first["probability"] == found[0].probability
    assert first["uncertainty"] == np.median(found[0].uncertainty)
    assert first["error"] is None
    assert second["probability"] is None
    assert second["error"] == str(found[1])
    lines = repr(found).splitlines()
    assert lines[0] == "<Registrations: 3 pairs>"
    assert lines[1].split() == (
        "pair probability similarity before similarity after uncertainty folds overlap others seconds".split()
    )
    assert lines[2].startswith("turned")
    assert lines[-1] == f"flat: {found[1]}"
    assert repr(Registrations([found[0]] * 20)).splitlines()[-1] == "... and 8 more"
    assert repr(Registrations()) == "<Registrations: 0 pairs>"


def test_one_for_all_or_one_for_each_is_carried_over():
    found, points = three(), np.array([[10.0, 20.0], [5.0, 6.0]])
    carried = found.transform_points(points, return_std=True)
    np.testing.assert_array_equal(carried[0][0], found[0].transform_points(points))
    assert carried[1] is None
    images = found.warp({"a": MOVING, "b": FLAT, "c": FIXED}, interpolation="linear")
    np.testing.assert_array_equal(images[2], found[2].warp(FIXED, "linear"))
    assert images[1] is None
    each = found.transform_points([points, points, points[:1]])
    assert [None if at is None else at.shape for at in each] == [(2, 2), None, (1, 2)]
    with pytest.raises(ShapeError, match="`images` must be one for all 3 pairs, or as many; got 2"):
        found.warp([MOVING, FIXED])

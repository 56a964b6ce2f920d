"""Colours to grey."""

import numpy as np
import pytest

from gequi import grey_image
from gequi.errors import InputError, ShapeError

COLOURS = np.array([[[1, 0, 0], [0, 1, 0]], [[0, 0, 1], [1, 1, 1]]], dtype=float)


def test_the_weights_are_those_of_bt_601():
    np.testing.assert_allclose(grey_image(COLOURS), [[0.299, 0.587], [0.114, 1.0]], atol=1e-15)


def test_alpha_is_left_aside_and_grey_stays_grey():
    opaque, clear = (np.concatenate([COLOURS, np.full((2, 2, 1), alpha)], 2) for alpha in (1.0, 0.0))
    np.testing.assert_array_equal(grey_image(opaque), grey_image(COLOURS))
    np.testing.assert_array_equal(grey_image(clear), grey_image(COLOURS))
    grey = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(grey_image(grey), grey)
    np.testing.assert_array_equal(grey_image(grey[..., None]), grey)
    np.testing.assert_array_equal(grey_image(np.stack([grey, 0 * grey], 2)), grey)


def test_a_third_axis_that_is_longer_is_depth():
    volume = np.arange(60.0).reshape(3, 4, 5)
    np.testing.assert_array_equal(grey_image(volume), volume)


def test_bytes_become_float64_and_float32_stays():
    assert grey_image((255 * COLOURS).astype(np.uint8)).dtype == np.float64
    assert grey_image(COLOURS.astype(np.float32)).dtype == np.float32


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (np.ones(3), ShapeError, "`x` must have 2 or 3 axes"),
        (np.full((2, 2, 3), np.nan), InputError, "`x` must be finite"),
        ([["a"]], InputError, "`x` must be an array of numbers; got text"),
    ],
)
def test_what_is_no_picture_is_refused(given, error, message):
    with pytest.raises(error, match=message):
        grey_image(given)

"""maps: the results of R and Python are equal, with pixels counted from 1."""

import numpy as np
import pytest

import gequi


def close(from_r, expected):
    assert from_r.shape == expected.shape
    np.testing.assert_allclose(from_r, expected, rtol=0, atol=1e-11)  # counting from 1 rounds the last bits


@pytest.fixture
def wavy():
    rows, columns = gequi.identity_map((9, 12))
    return np.stack([rows + 0.4 * np.sin(columns / 3), columns - 0.3 * np.cos(rows / 2)])


def test_identity_map(r, same):
    same(r.value(r.identity_map([3, 4])), gequi.identity_map((3, 4)) + 1)
    same(r.value(r.identity_map([3, 4, 5], dtype="float32")), gequi.identity_map((3, 4, 5)) + 1)


@pytest.mark.parametrize("interpolation", ["linear", "cubic", "nearest"])
def test_warp_image(r, wavy, random, interpolation):
    image = random.normal(size=(9, 12))
    ours = gequi.warp_image(image, wavy, interpolation, fill=-2.0)
    close(r.value(r.warp_image(image, wavy + 1, interpolation, fill=-2.0)), ours)


def test_warp_points(r, wavy, random):
    points = random.uniform(-2, 10, size=(7, 2))
    close(r.value(r.warp_points(points + 1, wavy + 1)), gequi.warp_points(points, wavy) + 1)
    close(np.array(r.value(r.warp_points(r.make([3.5, 2.0]), wavy + 1))), gequi.warp_points([2.5, 1.0], wavy) + 1)


def test_compose_maps_and_invert_map(r, wavy):
    close(r.value(r.compose_maps(wavy + 1, wavy + 1)), gequi.compose_maps(wavy, wavy) + 1)
    close(r.value(r.invert_map(wavy + 1, shape=[8, 11], steps=40)), gequi.invert_map(wavy, (8, 11), 40) + 1)


def test_map_jacobian(r, wavy):
    close(r.value(r.map_jacobian(wavy + 1)), gequi.map_jacobian(wavy))
    options = {"spacing": [1.0, 2.0], "moving_spacing": 0.5, "matrix": True}
    close(r.value(r.map_jacobian(wavy + 1, **options)), gequi.map_jacobian(wavy, **options))

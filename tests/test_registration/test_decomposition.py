"""The decomposition of the linear part of a map: rotation, scale, shift, shear and reflection."""

from __future__ import annotations

import dataclasses
import math
from functools import cache

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from gequi import register_images, sample_image
from gequi.geometry.rotations import on_array_axes
from gequi.registration.decomposition import decompose, say

SIZES = {2: ((60, 90), (70, 80)), 3: ((20, 24, 28), (22, 18, 30))}


def screen_turn(degrees):
    """A counter-clockwise turn on the screen, of positions (row, column): known by where it takes what lies on the right."""
    right, up = np.array([0, 1]), np.array([-1, 0])
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    basis = np.stack([right, up], 1)
    return np.stack([cosine * right + sine * up, cosine * up - sine * right], 1) @ np.linalg.inv(basis)


def turn_of(parts):
    if "axis" not in parts:
        return screen_turn(parts["rotation"])
    # SciPy turns right-handed axes (x, y, z); in (depth, row, column) one looks along the axis, not against it
    axis = np.array([parts["axis"][2], -parts["axis"][1], -parts["axis"][0]])
    return on_array_axes(Rotation.from_rotvec(-axis * math.radians(parts["rotation"])).as_matrix())


def recomposed(parts, sizes, moving_spacing, spacing):
    """The linear map of a decomposition, by the formula in its manual page."""
    axes = len(spacing)
    stretch = np.diag(np.asarray(parts["scales"], float))
    stretch[np.triu_indices(axes, 1)] = np.atleast_1d(parts["shear"]) * parts["scale"]
    stretch = np.triu(stretch) + np.triu(stretch, 1).T
    mirror = np.diag([1.0] * (axes - 1) + [-1.0 if parts["mirror"] else 1.0])
    inner = turn_of(parts) @ mirror @ stretch * spacing / moving_spacing[:, None]
    middles = [(np.array(size) - 1) / 2 for size in sizes]
    return np.concatenate([inner, (middles[0] + parts["shift"] - inner @ middles[1])[:, None]], 1)


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("mirror", [False, True])
def test_the_parts_make_the_linear_map_again(axes, mirror, random):
    for _ in range(50):
        affine = random.normal(size=(axes, axes + 1)) * 3
        if (np.linalg.det(affine[:, :-1]) < 0) != mirror:
            affine[0] *= -1
        spacings = random.uniform(0.5, 2, (2, axes))
        parts = decompose(affine, *SIZES[axes], *spacings)
        assert parts["mirror"] is mirror
        assert np.prod(parts["scales"]) > 0
        np.testing.assert_allclose(recomposed(parts, SIZES[axes], *spacings), affine, rtol=0, atol=1e-12)


@pytest.mark.parametrize("axis", [(1, 0, 0), (0, 0.6, -0.8), (1, 1, 1)])
@pytest.mark.parametrize("degrees", [0, 1e-7, 30, 179.9999999, 180])
def test_any_turn_of_a_volume_is_found_to_rounding(axis, degrees):
    turn = turn_of({"rotation": degrees, "axis": np.array(axis) / np.linalg.norm(axis)})
    parts = decompose(np.concatenate([turn, np.zeros((3, 1))], 1), *SIZES[3], np.ones(3), np.ones(3))
    assert parts["rotation"] == pytest.approx(degrees, abs=1e-10)
    np.testing.assert_allclose(turn_of(parts), turn, rtol=0, atol=1e-14)


@pytest.mark.parametrize("degrees", [-150, -90, 0, 45, 90, 180])
def test_a_turn_of_the_moving_image_changes_the_rotation_alone(degrees, random):
    inner = np.eye(2) + 0.3 * random.normal(size=(2, 2))
    shift = np.zeros((2, 1))
    size = ((50, 50), (50, 50), np.ones(2), np.ones(2))
    before = decompose(np.concatenate([inner, shift], 1), *size)
    after = decompose(np.concatenate([screen_turn(degrees) @ inner, shift], 1), *size)
    turned = (after["rotation"] - before["rotation"] - degrees + 180) % 360 - 180
    assert turned == pytest.approx(0, abs=1e-10)
    for name in ("scale", "scales", "shear", "mirror"):
        np.testing.assert_allclose(after[name], before[name], atol=1e-12)


# ---- of a registration ----------------------------------------------------------------------------------

FIXED = sample_image("cat")[50:130, 150:222]


@cache
def turned():
    """numpy.rot90() turns counter-clockwise on the screen."""
    return register_images(np.rot90(FIXED), FIXED, transform="similarity")


def test_a_quarter_turn_is_90_degrees_counter_clockwise():
    parts = turned().decomposition
    assert parts["rotation"] == pytest.approx(90, abs=0.1)
    assert parts["scale"] == pytest.approx(1, abs=0.002)
    np.testing.assert_allclose(parts["shift"], 0, atol=0.1)
    assert (abs(parts["shear"]) < 1e-6, parts["mirror"]) == (True, False)
    back = turned().inverse.decomposition
    assert back["rotation"] == pytest.approx(-parts["rotation"], abs=1e-6)
    assert back["scale"] == pytest.approx(1 / parts["scale"], abs=1e-9)


def test_lengths_are_those_of_the_pixels():
    affine = np.array([[0.0, -0.5, 3.0], [2.0, 0.0, 0.0]])
    found = dataclasses.replace(
        turned(), affine=affine, moving_spacing=np.array([2.0, 1.0]), spacing=np.array([2.0, 1.0])
    )
    assert found.decomposition["rotation"] == pytest.approx(90)
    np.testing.assert_allclose([found.decomposition["scale"], *found.decomposition["scales"]], 1)


def test_it_is_printed_and_in_the_summary():
    found = turned()
    line = repr(found).splitlines()[-1]
    assert line == f"linear part: {say(found.decomposition, 'pixels')}"
    assert line.startswith("linear part: rotation 90.0 degrees, scale 1.000, shift (")
    assert line.endswith("pixels, not mirrored")
    assert found.summary()["decomposition"] == found.decomposition
    mirrored = dataclasses.replace(found, affine=np.array([[1.0, 0.0, 0.0], [0.2, -1.2, 50.0]]))
    assert ", mirrored" in repr(mirrored)
    assert "shear" in repr(mirrored)
    volume = {"rotation": 40.0, "axis": np.array([0.0, 1.0, 0.0]), "scale": 1.0, "scales": np.ones(3),
              "shear": np.zeros(3), "shift": np.zeros(3), "mirror": False}  # fmt: skip
    assert say(volume, "voxels").startswith("rotation 40.0 degrees about (0.00, 1.00, 0.00), scale 1.000, shift")

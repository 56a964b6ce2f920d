"""Plots of registrations, checked by their artists and the data in them."""

import dataclasses
import importlib.util
import subprocess
import sys
from functools import cache

import numpy as np
import pytest

from gequi import register_images, sample_image, warp_image
from gequi.errors import InputError, SetupError
from gequi.plots import TYPES, laid_over, stretched

FIXED = sample_image("cat")[50:130, 150:222]
MOVING = np.rot90(FIXED)


@cache
def of_images():
    return register_images(MOVING, FIXED)


@cache
def of_volumes():
    depth, row, column = np.indices((20, 22, 24))
    fixed = np.sin(depth * row / 30) + np.cos(column / 3) * np.sin(depth / 4) + 0.2 * np.sin(row + column / 2)
    return register_images(
        fixed.transpose(1, 2, 0), fixed, spacing=(1, 1, 2), moving_spacing=(1, 2, 1), transform="rigid"
    )


def panels(figure):
    """The axes that show a picture; a scale of colours has none."""
    return [axes for axes in figure.axes if axes.images]


def shown(axes):
    return axes.images[0].get_array()


@pytest.mark.parametrize("type", TYPES)
def test_every_type_is_a_figure_that_can_be_drawn(type):
    for figure in (of_images().plot(type), *(of_volumes().plot(type, axis=axis) for axis in range(3))):
        figure.draw_without_rendering()
        assert len(panels(figure)) == (1 if type in ("jacobian", "uncertainty") else 2)


def test_the_overlay_is_coloured_before_and_gray_after():
    before, after = panels(of_images().plot())
    assert (before.get_title(), after.get_title()) == ("before", "after")
    apart = [np.abs(shown(axes)[..., 0] - shown(axes)[..., 1]).mean() for axes in (before, after)]
    assert apart[0] > 0.1
    assert apart[1] < 0.01
    np.testing.assert_array_equal(shown(after)[..., 0], stretched(FIXED))
    np.testing.assert_array_equal(shown(after)[..., 2], stretched(FIXED))
    there = warp_image(stretched(MOVING), of_images().map)
    np.testing.assert_allclose(shown(after)[..., 1], there, atol=1e-3)


@pytest.mark.parametrize("change", [lambda x: 1 - x, lambda x: 0.2 + 0.5 * x**2, lambda x: 90 * x])
def test_images_that_agree_but_for_their_greys_are_gray(change):
    found = register_images(change(MOVING), FIXED, contrast="any", transform="similarity")
    after = panels(found.plot())[1]
    assert np.abs(shown(after)[..., 0] - shown(after)[..., 1]).mean() < 0.01
    same = dataclasses.replace(found, moving=1 - MOVING, contrast="same")
    assert np.abs(np.ptp(shown(panels(same.plot())[1])[..., :2], 2)).mean() > 0.1  # opposed values keep their color


def test_where_the_moving_image_does_not_reach_the_fixed_one_is_dark():
    found = register_images(MOVING[10:], FIXED, transform="rigid")
    parts = laid_over(found)
    unseen = np.isnan(parts["after"])
    assert 500 < unseen.sum() < 1000
    after = shown(panels(found.plot())[1])
    np.testing.assert_array_equal(after[unseen], np.repeat(stretched(FIXED)[unseen][:, None] / 2, 3, 1))


@cache
def of_pairs():
    return register_images(
        {"one": MOVING, "none": np.ones((30, 30)), "other": FIXED[:60]}, [FIXED] * 3, on_error="keep"
    )


@pytest.mark.parametrize("type", TYPES)
def test_a_list_has_a_small_picture_of_each_pair(type):
    found = of_pairs()
    figure = found.plot(type)
    figure.draw_without_rendering()
    one, none, other = figure.axes[:3]
    assert [axes.get_title() for axes in (one, none, other)] == ["one", "none", "other"]
    assert not none.images
    assert none.texts[0].get_text().replace("\n", " ").startswith("Pair 2 of 3: `moving` is constant")
    if type in ("jacobian", "uncertainty"):
        np.testing.assert_array_equal(shown(other), getattr(found["other"], type))
        assert one.images[0].norm is other.images[0].norm
        assert figure.axes[-1].get_ylabel().endswith("moving / fixed" if type == "jacobian" else "pixels")
    elif type == "grid":
        np.testing.assert_array_equal(shown(other), stretched(FIXED[:60]))
    else:
        np.testing.assert_array_equal(shown(other), shown(panels(found["other"].plot(type))[1]))


def test_lists_without_a_registration_are_shown_or_refused():
    figure = of_pairs()[1:2].plot()
    figure.draw_without_rendering()
    assert figure.axes[0].get_title() == "none"
    with pytest.raises(InputError, match="There is no pair to show"):
        of_pairs()[:0].plot()
    with pytest.raises(InputError, match="`type` must be one of"):
        of_pairs().plot("mesh")


def test_a_checkerboard_takes_its_squares_in_turn():
    _, after = panels(of_images().plot("checkerboard", squares=4))  # of 20 pixels
    carried = warp_image(stretched(MOVING), of_images().map, fill=0)
    np.testing.assert_array_equal(shown(after)[:20, :20], stretched(FIXED)[:20, :20])
    np.testing.assert_allclose(shown(after)[:20, 20:40], carried[:20, 20:40], atol=1e-3)
    np.testing.assert_array_equal(shown(after)[20:40, 20:40], stretched(FIXED)[20:40, 20:40])


def test_a_grid_is_straight_on_the_fixed_image_and_carried_over_on_the_moving_one():
    fixed, moving = panels(of_images().plot("grid", squares=8))  # every 10 pixels
    rows = [line for line in fixed.lines if len(line.get_xdata()) == 72]
    assert [line.get_ydata()[0] for line in rows] == [0, 10, 20, 30, 40, 50, 60, 70, 79]
    assert all(np.ptp(line.get_ydata()) == 0 for line in rows)
    third = [line for line in moving.lines if len(line.get_xdata()) == 72][2]
    np.testing.assert_array_equal(third.get_xdata(), of_images().map[1][20])
    np.testing.assert_array_equal(third.get_ydata(), of_images().map[0][20])
    np.testing.assert_array_equal(shown(moving), stretched(MOVING))


def test_the_determinant_and_the_uncertainty_have_a_scale():
    found = of_images()
    figure = found.plot("uncertainty")
    np.testing.assert_array_equal(shown(panels(figure)[0]), found.uncertainty)
    assert figure.axes[1].get_ylabel() == "standard deviation, pixels"
    assert panels(figure)[0].get_title() == "uncertainty of the map"
    figure = found.plot("jacobian")
    np.testing.assert_array_equal(shown(panels(figure)[0]), found.jacobian)
    norm = panels(figure)[0].images[0].norm
    assert norm.vmin * norm.vmax == pytest.approx(1)
    assert of_volumes().plot("jacobian").axes[1].get_ylabel() == "volume, moving / fixed"


def test_folds_are_black():
    jacobian = of_images().jacobian.copy()
    jacobian[:10] = -1
    axes = panels(dataclasses.replace(of_images(), jacobian=jacobian).plot("jacobian"))[0]
    colours = axes.images[0].cmap(axes.images[0].norm(shown(axes)))
    np.testing.assert_array_equal(colours[:10, :, :3], 0)
    assert (colours[10:, :, :3] > 0.5).all()


@pytest.mark.parametrize(("axis", "size"), [(0, (22, 24)), (1, (20, 24)), (2, (20, 22))])
def test_a_volume_is_cut_across_an_axis(axis, size):
    found = of_volumes()
    axes = panels(found.plot("uncertainty", slice=7, axis=axis))[0]
    assert shown(axes).shape == size
    np.testing.assert_array_equal(shown(axes), found.uncertainty.take(7, axis))
    lengths = [found.spacing[i] for i in range(3) if i != axis]
    assert axes.get_aspect() == lengths[0] / lengths[1]
    middle = panels(found.plot("uncertainty", axis=axis))[0]
    np.testing.assert_array_equal(shown(middle), found.uncertainty.take((found.fixed.shape[axis] - 1) // 2, axis))


def test_the_grid_of_a_volume_lies_on_the_slice_of_the_moving_one_that_it_goes_through():
    found = of_volumes()  # what is at depth 7 of fixed is at column 7 of moving
    _, moving = panels(found.plot("grid", slice=7, axis=0))
    assert shown(moving).shape == (24, 20)
    through = round(float(np.median(found.map[0, 7])))
    np.testing.assert_array_equal(shown(moving), stretched(found.moving)[through])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"type": "mesh"}, "`type` must be one of 'overlay', 'grid'"),
        ({"slice": 3}, "`slice` is for volumes; this is a registration of images"),
        ({"squares": 0}, "`squares` must be at least 1"),
    ],
)
def test_what_cannot_be_shown_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        of_images().plot(**options)


def test_a_slice_or_an_axis_that_is_not_there_is_refused():
    with pytest.raises(InputError, match="`slice` must be from 0 to 19; got 20"):
        of_volumes().plot(slice=20)
    with pytest.raises(InputError, match="`axis` must be from 0 to 2; got 3"):
        of_volumes().plot(axis=3)


def test_without_matplotlib_its_extra_is_named(monkeypatch):
    found, find = of_images(), importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "matplotlib" else find(name, *rest)
    )
    with pytest.raises(SetupError, match=r"A plot needs matplotlib: install gequi\[plot\]"):
        found.plot()


def test_gequi_is_imported_without_matplotlib():
    code = "import sys, gequi; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

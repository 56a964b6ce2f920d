"""Gray levels transformed by a curve: the curve, the transformed images, and registrations with them."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from gequi import register_images, sample_image
from gequi.geometry.grids import Kind
from gequi.registration.comparisons import compared
from gequi.registration.preprocess import prepare_pair
from gequi.registration.presets import preset_for
from gequi.registration.search import verify
from gequi.registration.tones import TonedPair, equalized_pair, tone_curves, tone_scores, toned_again, toned_pairs

_FILE = Path(__file__).parents[1] / "benchmarks" / "registration.py"
_SPEC = importlib.util.spec_from_file_location("registration_benchmark", _FILE)
benchmark = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(benchmark)

EXACT = Kind(dtype=torch.float64, device=torch.device("cpu"))
CAT = sample_image("cat")[60:156, 150:256]
IDENTITY = torch.eye(2, 3, dtype=torch.float64)[None]


def risen_and_fallen(image):
    """A curve without a local linear relation: what is dark and what is light become light."""
    image = (image - image.min()) / np.ptp(image)
    return 4 * (image - 0.5) ** 2


@cache
def pair(name, angle, change, size=128):
    random = np.random.default_rng([4, int(angle)])
    return benchmark.make_pair(name, benchmark.picture(name, size), size, angle, random, change)


def same_place(fixed, moving=CAT, contrast="any"):
    """A pair whose true map is the identity, and that map at the coarsest level."""
    given, _, _, _ = prepare_pair(moving, fixed, None, None, None, None, contrast, EXACT)
    return given, verify(given, "deformable", IDENTITY.to(given.fixed), 0)


# ---- curves ---------------------------------------------------------------------------------------------


def test_a_curve_is_the_mean_grey_of_the_other_image_at_each_grey():
    random = np.random.default_rng(1)
    given = torch.as_tensor(random.uniform(0, 1, (2, 1, 90, 80)))
    other = torch.stack([torch.sin(3 * given[0]), 1 - given[1]]) + 0.1 * torch.as_tensor(
        random.standard_normal(given.shape)
    )
    curves = tone_curves(given, other, torch.ones_like(given), preset_for(2))
    greys = torch.linspace(0, 1, curves.shape[1], dtype=torch.float64)
    inner = slice(3, -3)  # at both ends a smoothed curve is flatter
    expected = torch.stack([torch.sin(3 * greys), 1 - greys])
    assert (curves - expected)[:, inner].abs().max() < 0.03


def test_a_curve_has_values_where_no_pixel_has_the_grey_and_leaves_out_what_is_masked():
    given = torch.tensor([0.1, 0.9, 0.5], dtype=torch.float64).reshape(1, 1, 1, 3)
    other = torch.tensor([0.8, 0.3, 99.0], dtype=torch.float64).reshape(1, 1, 1, 3)
    weight = torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64).reshape(1, 1, 1, 3)
    curve = tone_curves(given, other, weight, preset_for(2))[0]
    assert bool(torch.isfinite(curve).all())
    assert float(curve.min()) >= 0.3 - 1e-9
    assert float(curve.max()) <= 0.8 + 1e-9
    assert curve[[0, -1]].tolist() == pytest.approx([0.8, 0.3], abs=0.01)


def test_toned_images_are_like_each_other_where_their_greys_are_not():
    given, found = same_place(risen_and_fallen(CAT))
    assert abs(np.corrcoef(given.moving.flatten(), given.fixed.flatten())[0, 1]) < 0.7
    moving_toned, fixed_toned = toned_pairs(given, found.linear, found.velocity)
    assert np.corrcoef(moving_toned.moving.flatten(), given.fixed.flatten())[0, 1] > 0.99
    assert moving_toned.fixed is given.fixed
    assert fixed_toned.moving is given.moving
    assert float(moving_toned.moving.quantile(0.01)) >= 0
    assert float(moving_toned.moving.quantile(0.99)) <= 1
    again = toned_again(moving_toned, found.linear, found.velocity)
    assert torch.equal(again.moving, moving_toned.moving)
    shifted = found.linear + torch.tensor([[0.0, 0.0, 30.0], [0.0, 0.0, 0.0]])
    assert not torch.allclose(toned_again(moving_toned, shifted, found.velocity).moving, moving_toned.moving)


def test_evenly_spread_greys_show_what_is_faint_and_keep_their_order():
    row, column = np.indices((60, 70))
    faint = np.where(column < 60, 0.1 + 0.01 * np.sin(row / 3) * np.sin(column / 4), 1.0)
    given, _, _, _ = prepare_pair(faint, 1 - faint, None, None, None, None, "any", EXACT)
    even = equalized_pair(given)
    inner = np.s_[..., :58]
    assert float(given.moving[inner].max() - given.moving[inner].min()) < 0.1
    assert float(even.moving[inner].max() - even.moving[inner].min()) > 0.7
    order = given.moving.flatten().argsort()
    assert float(even.moving.flatten()[order].diff().min()) >= -1e-12
    assert [float(even.moving.min()), float(even.moving.max())] == pytest.approx([0, 1], abs=0.01)
    # of an inverted image the greys are inverted
    torch.testing.assert_close(even.fixed, 1 - even.moving, rtol=0, atol=0.02)


def test_the_score_of_toned_images_tells_the_right_map_from_others():
    _, found = same_place(risen_and_fallen(CAT))
    shifts = torch.tensor([0.0, 9.0, -14.0, 25.0], dtype=torch.float64)
    linear = IDENTITY.repeat(4, 1, 1)
    linear[:, 0, 2] = shifts
    velocity = found.velocity.expand(4, *found.velocity.shape[1:])
    scores = tone_scores(found.level, linear, velocity)
    assert int(scores.argmax()) == 0
    assert float(scores[0]) > float(found.scores[0]) + 0.2
    assert float(scores[0]) > float(scores[1:].max()) + 0.2


def test_what_agrees_best_is_compared():
    curve, same = risen_and_fallen(CAT), CAT[::-1].copy()
    _, found = same_place(curve)
    chosen = compared(found, "deformable")
    assert isinstance(chosen.level.pair, TonedPair)
    assert float(chosen.scores[0]) > float(found.scores[0]) + preset_for(2).comparison_gain
    _, found = same_place(curve, contrast="same")
    assert compared(found, "deformable") is found
    _, found = same_place(1 - same, same)  # an inverted image is as good as it is
    assert compared(found, "deformable") is found


# ---- registrations --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "angle", "change"), [("astronaut", 20, "labels"), ("cat", 111, "curve")])
def test_pictures_are_registered_to_their_segmentation_and_to_other_greys(name, angle, change):
    given = pair(name, angle, change)
    found = register_images(given.moving, given.fixed, contrast="any")
    assert benchmark.error(found.map, given).mean() < 0.5
    assert found.alternatives == ()


# The law of contrast = "any" in float32 is in test_images.py, where edges are registered to greys.
@pytest.mark.parametrize("dtype", [pytest.param("float32", marks=pytest.mark.slow), "float64"])
def test_the_law_holds_where_greys_follow_a_curve(dtype):
    given = pair("cat", 111, "curve", size=96)
    result, moved = (
        register_images(np.rot90(given.moving, one), np.rot90(given.fixed, other), contrast="any", dtype=dtype)
        for one, other in ((0, 0), (1, 3))
    )
    row, column = np.rot90(result.map, 3, (1, 2))
    expected = np.stack([given.moving.shape[1] - 1 - column, row])  # where a quarter turn takes (row, column)
    assert np.hypot(*(moved.map - expected)).max() <= {"float32": 5e-3, "float64": 1e-9}[dtype]

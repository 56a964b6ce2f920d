"""Stacks of sections: the alignment of a generated block, its laws, what fails, what is refused, and its pictures."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch

import gequi
from gequi import register_stack, sample_image, warp_image
from gequi.errors import InputError, ShapeError, UnrelatedImagesError
from gequi.stacks import _bends, _pairs, _poses, _quality, aligning
from gequi.stacks._pairs import Pair, nodes_of

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))
import stacks as benchmark

IMAGE = sample_image("cat")[50:98, 150:198]
TURNED = [IMAGE, np.rot90(IMAGE), IMAGE[::-1], np.rot90(IMAGE, 2)]


@cache
def block():
    """Eight sections, of which the fourth is torn and the fifth turned over; the third has another contrast."""
    return benchmark.make_block(8, size=96, depth=20.0, bend=1.5, over=1)


FOUND = {}  # the pairs of the block


@cache
def aligned():
    """The stack, and what its progress told."""

    def remembered(images, pair, options):
        FOUND[pair] = _pairs.register_pair(images, pair, options)
        return FOUND[pair]

    told = []
    with mock.patch.object(aligning, "register_pair", remembered):
        return register_stack(block().images, progress=told.append), told


@cache
def turned():
    return register_stack(dict(zip("abcd", TURNED, strict=True)), transform="rigid", reach=1)


# ---- the generated block --------------------------------------------------------------------------------


def test_a_block_of_turned_bent_and_torn_sections_is_aligned():
    """tests/benchmarks/stacks.py has the figures of 60 sections; 8 sections know their deformations less well."""
    stack, _ = aligned()
    told = benchmark.errors(block(), stack.maps)
    assert told["mean"] <= 0.6
    assert told["drift"] <= 1.5
    assert [row["section"] for row in stack.table if row["status"] == "poor"] == block().torn
    over = [k for k, row in enumerate(stack.table) if row["mirrored"] != stack.table[0]["mirrored"]]
    assert over == block().over
    assert stack.reference not in block().torn


def test_the_deformations_improve_on_the_rigid_alignment():
    stack, _ = aligned()
    with mock.patch.object(aligning, "register_pair", lambda images, pair, options: FOUND[pair]):
        rigid = register_stack(block().images, transform="rigid")
    assert benchmark.errors(block(), stack.maps)["mean"] < 0.6 * benchmark.errors(block(), rigid.maps)["mean"]
    assert rigid.spread == 0
    assert {row["bend"] for row in rigid.table} == {0.0}


def test_progress_is_told_after_each_pair():
    stack, told = aligned()
    assert [info["done"] for info in told] == list(range(1, len(told) + 1))
    assert {info["total"] for info in told} == {len(stack.pairs)} == {13}
    assert set(told[0]) == {"done", "total", "seconds_left"}


# ---- poses ----------------------------------------------------------------------------------------------


def test_quarter_turns_and_reflections_are_found_exactly():
    """A quarter turn of an image is a permutation of its pixels, and so is the volume, up to rounding."""
    stack = turned()
    first = stack.table[0]
    angles = [(row["rotation"] - first["rotation"] * (-1) ** row["mirrored"]) % 360 for row in stack.table]
    if not first["mirrored"]:
        np.testing.assert_allclose(np.cos(np.radians(angles)), [1, 0, -1, -1], atol=0.02)
    assert [row["mirrored"] != first["mirrored"] for row in stack.table] == [False, False, True, False]
    inner = stack.volume[:, 4:-4, 4:-4]
    assert abs(inner - inner[0]).max() < 0.1 * np.ptp(IMAGE)


def test_every_second_section_is_turned_over_where_mirror_says_so():
    stack = register_stack([IMAGE, np.rot90(IMAGE[:, ::-1]), IMAGE], "rigid", mirror=True, reach=1)
    sides = [row["mirrored"] for row in stack.table]
    assert sides[0] == sides[2] != sides[1]
    assert [pair["mirrored"] for pair in stack.pairs] == [True, True]
    inner = stack.volume[:, 6:-6, 6:-6]
    assert abs(inner - inner[stack.reference]).max() < 0.1
    assert abs(IMAGE - np.rot90(IMAGE[:, ::-1]))[6:-6, 6:-6].max() > 0.3  # a control: as given they differ


def test_the_maps_lead_from_the_volume_to_the_sections():
    stack = turned()
    for image, map, plane in zip(stack.images, stack.maps, stack.volume, strict=True):
        seen = np.isfinite(plane)
        np.testing.assert_allclose(warp_image(image, map, "cubic")[seen], plane[seen], atol=0.1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_turning_a_section_turns_its_map_and_nothing_else(dtype):
    """A law: the search is equivariant under quarter turns, and so is the stack."""
    sections = [IMAGE, np.rot90(IMAGE)]
    other = [IMAGE, np.rot90(sections[1], 2)]
    one, two = (register_stack(each, "rigid", mirror=False, dtype=dtype) for each in (sections, other))
    assert one.reference == two.reference == 0
    np.testing.assert_allclose(two.maps[1], 47 - one.maps[1], atol=0.05)
    np.testing.assert_allclose(two.maps[0], one.maps[0], atol=1e-12)


def known_pair(first, second, turn, shift, size=(32, 32), mirrored=False, deviation=0.1):
    """A pair whose map is z -> turn z + shift about the centers."""
    center = _poses.center_of(size)
    z = turn * _poses.as_complex(nodes_of(size), center) + shift
    z = z.conj() if mirrored else z
    return Pair(
        first, second, _poses.as_points(z, center), torch.ones(size, dtype=torch.float64), deviation, mirrored, 1.0
    )


def test_a_pair_that_contradicts_the_others_moves_nothing(random):
    turns = np.exp(1j * random.uniform(0, 6, 6))
    shifts = random.normal(size=6) * 5 + 1j * random.normal(size=6)
    pairs = []
    for i, j in _pairs.near_pairs(6, 3):
        turn = turns[j] / turns[i]
        pairs.append(known_pair(i, j, turn, shifts[j] - turn * shifts[i]))
    pairs[4] = known_pair(pairs[4].first, pairs[4].second, 1j, 20)
    poses = _poses.find_poses([(32, 32)] * 6, pairs, 2)
    for k, pose in poses.items():
        assert abs(pose.turn - turns[k] / turns[2]) < 0.01
        assert abs(pose.shift - (shifts[k] - turns[k] / turns[2] * shifts[2])) < 0.1
        points = nodes_of((32, 32))
        torch.testing.assert_close(pose.backward(pose.forward(points)), points)


def test_sides_follow_the_pairs_of_the_smallest_variance():
    pairs = [
        known_pair(0, 1, 1, 0, mirrored=True),
        known_pair(1, 2, 1, 0, mirrored=True),
        known_pair(0, 2, 1, 0, mirrored=True, deviation=5.0),
    ]
    assert _poses.sides(3, pairs, 0).tolist() == [False, True, False]
    assert _poses.best_connected(3, pairs) == 1
    assert _poses.connected(5, pairs) == [[0, 1, 2], [3], [4]]


# ---- deformations ---------------------------------------------------------------------------------------


def waves(count, spread, random, size=(16, 16)):
    """Independent smooth deformations of this standard deviation."""
    at = nodes_of(size)
    bends = []
    for _ in range(count):
        phases = torch.from_numpy(random.uniform(0, 6, (2, 1, 1)))
        bends.append(spread * torch.sin(at.flip(0) / 5 + phases))  # its mean square length is spread squared
    return torch.stack(bends)


def pairs_of(bends, noise, random, size=(16, 16)):
    """What pairs say about small deformations, with an error that each step adds."""
    at = nodes_of(size)
    walk = torch.from_numpy(np.cumsum(random.normal(scale=noise / 2**0.5, size=(len(bends), 2, 1, 1)), 0))
    pairs = []
    for i, j in _pairs.near_pairs(len(bends), 2):
        map = at + bends[j] - bends[i] + walk[j] - walk[i]
        pairs.append(Pair(i, j, map, torch.ones(size, dtype=torch.float64), 0.05, False, 1.0))
    return pairs


def test_the_variances_are_those_of_the_deformations_and_of_the_steps(random):
    """Small deformations, for which the differences of the pairs add up: 200 sections know them to a fifth."""
    count = 200
    bends = waves(count, 0.02, random)
    pose = _poses.Pose(1, 0, False, (7.5, 7.5), (7.5, 7.5))
    poses = dict.fromkeys(range(count), pose)
    network = _bends._Network(pairs_of(bends, 0.01, random), poses, set())
    told = torch.stack([_bends._difference(p, nodes_of((16, 16)), poses, [(16, 16)] * count) for p in network.pairs])
    path = network.solve(told, _bends.NO_PRIOR)
    powers, white = network.powers(path, torch.ones(16, 16, dtype=torch.float64))
    prior, step = np.linalg.lstsq(np.stack([white, np.ones_like(white)], 1), powers, rcond=None)[0]
    assert abs(prior**0.5 / 0.02 - 1) < 0.2
    assert 0 < step < 4 * 0.01**2


def test_the_prior_keeps_errors_from_adding_up(random):
    count = 40
    bends = waves(count, 1.0, random)
    pose = _poses.Pose(1, 0, False, (7.5, 7.5), (7.5, 7.5))
    poses, shapes = dict.fromkeys(range(count), pose), [(16, 16)] * count
    pairs = pairs_of(bends, 0.5, random)
    found = _bends.find_bends(shapes, pairs, poses, 20)
    estimate = torch.stack(list(found.fields.values()))
    free = _bends._Network(pairs, poses, set()).solve(
        torch.stack([_bends._difference(p, nodes_of((16, 16)), poses, shapes) for p in pairs]), _bends.NO_PRIOR
    )

    def error(x):
        missed = x - bends
        return float((missed - missed.mean(0)).square().sum(1).mean().sqrt())

    assert error(estimate) < 0.7 * error(free)
    assert abs(float(estimate[-5:].mean() - estimate[:5].mean())) < 0.5


def test_a_poor_section_says_nothing_about_the_others(random):
    bends = waves(12, 1.0, random)
    bends[6] += 30
    pairs = pairs_of(bends, 0.05, random)
    pose = _poses.Pose(1, 0, False, (7.5, 7.5), (7.5, 7.5))
    found = _bends.find_bends([(16, 16)] * 12, _pairs.distrusted(pairs, {6}), dict.fromkeys(range(12), pose), 3, {6})
    without = [pair for pair in pairs if 6 not in (pair.first, pair.second)]
    poses = {k: pose for k in range(12) if k != 6}
    alone = _bends.find_bends([(16, 16)] * 12, without, poses, 3)
    for k in (0, 4, 5, 7, 11):
        assert float((found.fields[k] - alone.fields[k]).abs().max()) < 0.5


# ---- sections that fail ---------------------------------------------------------------------------------


def test_a_failed_section_is_marked_and_bridged():
    sections = [IMAGE, np.rot90(IMAGE), np.ones((48, 48)), np.full((20, 20), 3.0), IMAGE]
    stack = register_stack(sections, transform="rigid", mirror=False, reach=1, fill=None)
    assert [row["status"] for row in stack.table] == ["aligned", "aligned", "failed", "failed", "aligned"]
    assert [row["rotation"] is None for row in stack.table] == [False, False, True, True, False]
    assert (1, 4) not in _pairs.near_pairs(5, 1)
    assert np.isnan(stack.maps[2:4]).all()
    assert np.isnan(stack.volume[2:4]).all()
    assert abs(stack.volume[4] - stack.volume[0])[4:-4, 4:-4].max() < 0.1
    assert "not aligned: 2 (failed), 3 (failed)" in repr(stack)
    assert [row["error"] is None for row in stack.pairs].count(True) == 2


def test_bridges_connect_the_nearest_sections_that_were_not_tried():
    parts = [[1, 2, 3], [6, 7], [0]]
    assert _pairs.bridging_pairs(parts, {(3, 6), (0, 1)}, 2) == [(0, 2), (0, 3), (2, 6), (3, 7)]


def test_outliers_lie_far_below_the_median():
    values = dict(enumerate([0.9, 0.91, 0.92, 0.6, 0.9, np.nan, 0.85]))
    assert _quality.outliers(values) == {3}
    assert _quality.outliers({0: np.nan}) == set()


def test_the_similarity_ignores_brightness_and_with_any_contrast_the_sign():
    image = IMAGE.astype(float)
    inverted = [image, 2 * image + 1, 1 - image, None]
    same, any = (_quality.similarities(inverted, 3, kind) for kind in (False, True))
    assert same[0, 1] > 0.99
    assert same[0, 2] < -0.9
    assert any[0, 2] > 0.9
    assert np.isnan(same[3]).all()
    assert np.isnan(same[0, 0])


def test_sections_of_nothing_in_common_are_refused(random):
    with pytest.raises(UnrelatedImagesError, match="`images` has no pair of its 2 sections"):
        register_stack([np.ones((32, 32)), IMAGE])


def test_an_interrupt_ends_the_call_and_leaves_nothing_behind():
    def interrupt(told):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        register_stack(TURNED[:2], transform="rigid", mirror=False, progress=interrupt)
    assert len(register_stack(TURNED[:2], transform="rigid", mirror=False).volume) == 2


@pytest.mark.parametrize(
    ("images", "options", "kind", "message"),
    [
        ([IMAGE], {}, ShapeError, "`images` must have at least 2 sections; got 1"),
        ([IMAGE, IMAGE[0]], {}, ShapeError, "Section 2 of 2: `images` must have 2 axes"),
        ([IMAGE, IMAGE[:10]], {}, ShapeError, "at least 16 pixels along each side; got shape .10, 48."),
        ([IMAGE, IMAGE * np.nan], {}, InputError, "Section 2 of 2: `images` must be finite"),
        (IMAGE, {}, ShapeError, "`images` must have 3 axes"),
        (TURNED, {"transform": "affine"}, InputError, "`transform` must be one of"),
        (TURNED, {"reach": 0}, InputError, "`reach` must be"),
        (TURNED, {"mirror": "maybe"}, InputError, "`mirror` must be"),
        (TURNED, {"contrast": "other"}, InputError, "`contrast` must be one of"),
        (TURNED, {"progress": 3}, InputError, "`progress` must be a function"),
    ],
)
def test_what_is_no_stack_is_refused(images, options, kind, message):
    with pytest.raises(kind, match=message):
        register_stack(images, **options)


# ---- the result -----------------------------------------------------------------------------------------


def test_the_summary_and_the_text_count_the_sections():
    stack = turned()
    told = stack.summary()
    assert (told["sections"], told["aligned"], told["poor"], told["failed"], told["pairs"]) == (4, 4, 0, 0, 3)
    assert told["mirrored"] in (1, 3)
    assert repr(stack).startswith("<Stack: 4 sections of 48 x 48, rigid, contrast 'same'>\n4 aligned, 0 poor, 0 failed")
    assert [row["section"] for row in stack.table] == ["a", "b", "c", "d"]
    assert not stack.volume.flags.writeable


def test_a_stack_is_made_again_from_plain_data():
    again = gequi.stacks.make_stack(turned().to_dict())
    np.testing.assert_array_equal(again.volume, turned().volume)
    assert again.table == turned().table
    assert again.summary() == turned().summary()


def test_other_channels_and_labels_are_carried():
    stack = turned()
    np.testing.assert_allclose(stack.warp(TURNED), stack.volume, atol=1e-6)
    channels = [np.stack([image, image > 0.5]) for image in TURNED]
    np.testing.assert_allclose(stack.warp(channels)[:, 0], stack.volume, atol=1e-6)
    labels = stack.warp([image > 0.5 for image in TURNED])
    assert labels.dtype == bool
    assert labels.shape == stack.volume.shape
    with pytest.raises(ShapeError, match="one image for each of the 4 sections; got 3"):
        stack.warp(TURNED[:3])
    with pytest.raises(ShapeError, match="Section 2 of 4: `images` must have the size of the section"):
        stack.warp([IMAGE, IMAGE[:20], IMAGE, IMAGE])


def test_the_montage_names_what_is_not_aligned():
    stack, _ = aligned()
    figure = gequi.plot_stack(stack)
    figure.draw_without_rendering()
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["3 poor" if k == 3 else str(k) for k in range(8)]
    shown = figure.axes[0].images[0].get_array()
    assert shown.min() >= 0
    assert shown.max() <= 1
    assert np.ma.is_masked(shown)


def test_the_side_view_shows_a_column_or_a_row_before_and_after():
    stack = turned()
    before, after = gequi.plot_stack(stack, "side", axis=0, position=10).axes
    assert (before.get_title(), after.get_title()) == ("before", "after")
    assert after.images[0].get_array().shape == (4, 48)
    apart = [np.ma.masked_invalid(axes.images[0].get_array()).std(0).mean() for axes in (before, after)]
    assert apart[1] < 0.2 * apart[0]
    np.testing.assert_allclose(stack.unaligned(), np.stack(TURNED), atol=1e-6)
    for bad in ({"type": "top"}, {"type": "side", "axis": 2}, {"type": "side", "position": 48}):
        with pytest.raises(InputError):
            gequi.plot_stack(stack, **bad)
    with pytest.raises(InputError, match="`stack` must be a stack"):
        gequi.plot_stack(IMAGE)

"""Metrics of a registration, compared with analytic maps, direct definitions and SimpleITK; refused inputs."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import SimpleITK
from scipy.spatial.distance import cdist

from gequi import evaluate_registration, identity_map, register_images, sample_image, warp_image
from gequi.errors import InputError, ShapeError, UnrelatedImagesError
from gequi.registration import Registrations
from gequi.registration.evaluation import area_under_curve, non_diffeomorphic_volume, surface_distance

SIZES = {2: (24, 30), 3: (12, 14, 16)}
TURN = np.array([[0.9, -0.3, 4.0], [0.2, 1.1, -3.0]])


def table(rows):
    """The rows by the name of their metric, or by that and the label."""
    return {row["metric"] if row["label"] is None else (row["metric"], row["label"]): row for row in rows}


def after(rows):
    return {name: row["after"] for name, row in table(rows).items()}


# ---- landmarks ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axes", [2, 3])
def test_landmark_errors_are_distances_in_the_fixed_image(known, random, axes):
    spacing, moving_spacing = np.array([2.0, 0.5, 1.5])[:axes], np.array([1.0, 0.25, 3.0])[:axes]
    found = known(SIZES[axes], affine=np.eye(axes, axes + 1) + 0.05, spacing=spacing, moving_spacing=moving_spacing)
    fixed = random.uniform(2, 9, size=(40, axes))
    off = random.normal(size=fixed.shape)  # how far the landmarks are from where the map takes them
    moving = (fixed + off) @ found.affine[:, :-1].T + found.affine[:, -1]
    rows = table(evaluate_registration(found, landmarks=(moving, fixed)))
    error = np.linalg.norm(off * spacing, axis=1)
    before = np.linalg.norm(moving * moving_spacing - fixed * spacing, axis=1)
    diagonal = np.linalg.norm(np.array(SIZES[axes]) * spacing)
    for name, of, start in (("median", np.median, np.median(before)), ("max", np.max, before.max())):
        np.testing.assert_allclose(rows[f"TRE_{name}"]["after"], of(error), rtol=1e-9)
        np.testing.assert_allclose(rows[f"rTRE_{name}"]["after"], of(error) / diagonal, rtol=1e-9)
        np.testing.assert_allclose(rows[f"TRE_{name}"]["before"], start, rtol=1e-12)
        np.testing.assert_allclose(rows[f"rTRE_{name}"]["before"], start / diagonal, rtol=1e-12)
    assert rows["robustness"]["after"] == (error < before).mean()
    assert 0 < rows["robustness"]["after"] < 1
    assert {rows[name]["unit"] for name in ("TRE_median", "TRE_max")} == {"length"}
    assert ("AUC_5" in rows) == (axes == 2)


def test_a_perfect_map_has_no_error_and_a_landmark_that_stays_is_not_nearer(known):
    found = known((24, 30), affine=[[1, 0, 3], [0, 1, 0]])
    fixed = np.array([[2.0, 3.0], [5.0, 8.0]])
    rows = table(evaluate_registration(found, landmarks=(fixed + np.array([3, 0]), fixed)))
    assert after(rows.values())["TRE_max"] < 1e-9
    assert rows["TRE_median"]["before"] == 3
    assert rows["TRE_median"]["unit"] == "pixel"
    assert rows["robustness"]["after"] == 1
    assert rows["AUC_3"]["after"] == pytest.approx(1)
    unmoved = after(evaluate_registration(known((24, 30)), landmarks=(fixed, fixed)))
    assert unmoved["robustness"] == 0  # equal is not nearer


def test_the_area_under_the_curve_is_that_of_its_definition(random):
    for errors in (random.exponential(4, size=25), np.array([0.0, 2.0, 2.0, 40.0]), np.array([7.0]), np.array([3.0])):
        for limit in (3, 5, 10):
            places = [0.0, *np.sort(errors)]  # SuperGlue and LoFTR: the curve, cut off at the limit
            shares = np.linspace(0, 1, len(places))
            last = np.searchsorted(places, limit)
            y, x = [*shares[:last], shares[last - 1]], [*places[:last], limit]
            expected = sum((x[i + 1] - x[i]) * (y[i + 1] + y[i]) / 2 for i in range(len(x) - 1)) / limit
            assert area_under_curve(errors, limit) == pytest.approx(expected, abs=1e-12)
    assert area_under_curve(np.array([1.0]), 4) == pytest.approx(1 - 1 / 8)
    assert area_under_curve(np.array([9.0]), 4) == 0


def test_landmarks_may_have_the_names_of_their_images(known):
    found = known((24, 30), affine=TURN)
    moving, fixed = np.array([[2.0, 3.0], [9.0, 8.0], [4.0, 5.0]]), np.array([[3.0, 4.0], [8.0, 9.0], [1.0, 6.0]])
    by_order = evaluate_registration(found, landmarks=(moving, fixed))
    assert evaluate_registration(found, landmarks={"fixed": fixed, "moving": moving}) == by_order


# ---- labels ---------------------------------------------------------------------------------------------


def blobs(size, shift=0.0):
    """Two ellipsoids, with the labels 2 and 5."""
    at = np.moveaxis(np.indices(size), 0, -1) - np.array(shift)
    labels = np.zeros(size, dtype=np.int16)
    labels[(((at - np.array(size) * 0.3) / np.array(size) * 5) ** 2).sum(-1) < 1] = 2
    labels[(((at - np.array(size) * 0.7) / np.array(size) * 4) ** 2).sum(-1) < 1] = 5
    return labels


def as_sitk(mask, spacing):
    image = SimpleITK.GetImageFromArray(mask.astype(np.uint8))
    image.SetSpacing(np.asarray(spacing)[::-1].tolist())
    return image


@pytest.mark.parametrize("axes", [2, 3])
def test_labels_against_simpleitk_and_by_brute_force(known, axes):
    spacing = np.array([1.5, 0.75, 2.0])[:axes]
    found = known(SIZES[axes], affine=np.eye(axes, axes + 1) * 1.02 + 0.01, bend=0.4, spacing=spacing)
    fixed = blobs(SIZES[axes])
    moving = blobs(SIZES[axes], shift=[2, 0, -1][:axes])
    rows = table(evaluate_registration(found, labels=(moving, fixed)))
    assert {name for name in rows if isinstance(name, tuple)} == {*itertools.product(("Dice", "HD95"), (2, 5))}
    for stage, carried in (("before", moving), ("after", warp_image(moving, found.map, "nearest", fill=0))):
        for label in (2, 5):
            masks = [carried == label, fixed == label]
            overlap = SimpleITK.LabelOverlapMeasuresImageFilter()
            overlap.Execute(*(as_sitk(mask, spacing) for mask in masks))
            assert rows["Dice", label][stage] == pytest.approx(overlap.GetDiceCoefficient(), abs=1e-12)
            assert rows["HD95", label][stage] == pytest.approx(by_brute_force(*masks, spacing, 0.95), abs=1e-9)
    assert rows["Dice", 2]["unit"] == "share"
    assert rows["HD95", 2]["unit"] == "length"


def by_brute_force(one, other, spacing, quantile):
    """HD95 from all distances between pixels with a neighbor outside their mask."""
    edges = []
    for mask in (one, other):
        wide = np.pad(mask, 1)
        within = np.ones_like(mask)
        for axis, step in itertools.product(range(mask.ndim), (-1, 1)):
            within &= np.roll(wide, step, axis)[(slice(1, -1),) * mask.ndim]
        edges.append(np.argwhere(mask & ~within) * spacing)
    distances = cdist(*edges)
    return max(np.quantile(distances.min(axis), quantile) for axis in (0, 1))


def test_the_largest_surface_distance_is_simpleitks_hausdorff_distance(random):
    one, other = blobs((20, 26)) == 5, blobs((20, 26), shift=[3, 2]) == 5
    hausdorff = SimpleITK.HausdorffDistanceImageFilter()
    hausdorff.Execute(as_sitk(one, [2.0, 0.5]), as_sitk(other, [2.0, 0.5]))
    assert surface_distance(one, other, np.array([2.0, 0.5]), 1.0) == pytest.approx(hausdorff.GetHausdorffDistance())


def test_a_shift_of_a_square_has_a_known_overlap(known):
    fixed = np.zeros((30, 30), dtype=bool)
    fixed[10:20, 10:20] = True
    moving = np.roll(fixed, 4, axis=0)
    rows = table(evaluate_registration(known((30, 30)), labels=(moving, fixed)))
    assert rows["Dice", 1]["before"] == rows["Dice", 1]["after"] == 0.6
    assert rows["HD95", 1]["after"] == 4
    assert rows["HD95", 1]["unit"] == "pixel"
    aligned = table(evaluate_registration(known((30, 30), affine=[[1, 0, 4], [0, 1, 0]]), labels=(moving, fixed)))
    assert (aligned["Dice", 1]["before"], aligned["Dice", 1]["after"], aligned["HD95", 1]["after"]) == (0.6, 1, 0)


def test_a_label_that_leaves_the_image_has_no_overlap_and_no_distance(known):
    fixed = np.zeros((30, 30), dtype=int)
    fixed[2:8, 2:8] = 3
    rows = after(evaluate_registration(known((30, 30), affine=[[1, 0, 60], [0, 1, 0]]), labels=(fixed, fixed)))
    assert rows["Dice", 3] == 0
    assert np.isnan(rows["HD95", 3])


# ---- regularity -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("axes", [2, 3])
def test_a_linear_map_is_regular_also_where_it_mirrors(known, axes):
    matrix = np.eye(axes, axes + 1) * 1.3
    matrix[0, 1] = 0.4
    for sign in (1, -1):
        matrix[0] *= sign
        rows = table(evaluate_registration(known(SIZES[axes], affine=matrix)))
        assert list(rows) == ["SDlogJ", "NDA" if axes == 2 else "NDV"]
        assert after(rows.values())["SDlogJ"] < 1e-12
        assert rows["NDA" if axes == 2 else "NDV"]["after"] == 0


def test_a_mirrored_image_has_the_figures_of_the_image():
    fixed = sample_image("cat")[60:156, 150:246]
    moving = warp_image(fixed, identity_map((96, 96)) + 2 * np.sin(identity_map((96, 96))[::-1] / 9))
    plain = table(evaluate_registration(register_images(moving, fixed)))
    flipped = table(evaluate_registration(register_images(moving[:, ::-1], fixed, mirror=True)))
    assert plain["SDlogJ"]["after"] > 0.02
    assert flipped["SDlogJ"]["after"] == pytest.approx(plain["SDlogJ"]["after"], rel=1e-3)
    assert flipped["NDA"]["after"] == plain["NDA"]["after"] == 0


def test_the_spread_of_the_logarithm_of_the_determinant(known):
    found = known((24, 30), bend=0.9)
    expected = np.log(np.maximum(found.jacobian, 1e-9)).std()
    assert after(evaluate_registration(found))["SDlogJ"] == pytest.approx(expected, rel=1e-12)
    stretched = known((24, 30), bend=0.9, spacing=2.0, moving_spacing=1.0)  # a constant factor does not spread
    assert after(evaluate_registration(stretched))["SDlogJ"] == pytest.approx(expected, rel=1e-9)
    flat = known((24, 30), jacobian=np.where(np.arange(30) < 15, 1.0, -2.0) * np.ones((24, 1)))
    assert after(evaluate_registration(flat))["SDlogJ"] == pytest.approx(-np.log(1e-9) / 2)


def simplex_volumes(map, tetrahedra):
    """The signed volumes of simplices of every cell of a grid, one by one."""
    axes = len(map)
    for cell in itertools.product(*(range(n - 1) for n in map.shape[1:])):
        for corners in tetrahedra:
            places = np.array([map[(slice(None), *np.add(cell, corner))] for corner in corners])
            straight = np.linalg.det(np.subtract(corners[1:], corners[0]))
            yield np.linalg.det(places[1:] - places[0]) * np.sign(straight) / (2 if axes == 2 else 6)


TRIANGLES = [[(0, 0), (1, 0), (0, 1)], [(1, 1), (1, 0), (0, 1)], [(1, 0), (0, 0), (1, 1)], [(0, 1), (0, 0), (1, 1)]]
EVEN, ODD = [(0, 0, 0), (1, 1, 0), (1, 0, 1), (0, 1, 1)], [(1, 1, 1), (0, 0, 1), (0, 1, 0), (1, 0, 0)]
TETRAHEDRA = [EVEN, ODD] + [
    [corner, *(at for at in (ODD if corner in EVEN else EVEN) if np.abs(np.subtract(at, corner)).sum() == 1)]
    for corner in EVEN + ODD
]


@pytest.mark.parametrize("axes", [2, 3])
def test_the_folded_volume_is_that_of_the_simplices_turned_inside_out(known, random, axes):
    size = (9, 8, 7)[:axes]
    map = np.indices(size) + random.normal(size=(axes, *size)) * 0.7
    volumes = np.array([*simplex_volumes(map, TRIANGLES if axes == 2 else TETRAHEDRA)])
    folded = -volumes[volumes < 0].sum() / 2
    assert folded > 1
    assert non_diffeomorphic_volume(map) == pytest.approx(folded, rel=1e-12)
    found = dataclasses.replace(known(size), map=map, spacing=np.full(axes, 2.0), moving_spacing=np.full(axes, 4.0))
    told = after(evaluate_registration(found))["NDA" if axes == 2 else "NDV"]
    assert told == pytest.approx(100 * 2**axes * folded / map[0].size, rel=1e-12)


def test_both_splits_of_a_cell_fill_it(monkeypatch):
    for axes in (2, 3):
        straight = np.indices((4, 5, 6)[:axes]).astype(float)
        cells = np.prod(np.array(straight.shape[1:]) - 1)
        assert non_diffeomorphic_volume(straight) == 0
        assert non_diffeomorphic_volume(straight, -1.0) == pytest.approx(cells)
        monkeypatch.setattr("gequi.registration.evaluation.SLAB", 1)  # a row at a time
        assert non_diffeomorphic_volume(straight, -1.0) == pytest.approx(cells)


def test_one_pixel_that_central_differences_do_not_see_is_found(known):
    """The checkerboard problem: the central difference at a pixel does not use its own position."""
    map = np.indices((9, 9)).astype(float)
    map[:, 4, 4] += 3
    found = known((9, 9), map=map)
    assert found.jacobian[4, 4] == 1
    assert after(evaluate_registration(found))["NDA"] > 1


# ---- lists ----------------------------------------------------------------------------------------------


def test_a_list_has_the_rows_of_each_and_the_area_over_the_pairs(known, random):
    found = [known((24, 30)), known((24, 30), affine=TURN)]
    fixed = random.uniform(2, 20, size=(6, 2))
    landmarks = [(fixed + np.array([1, 0]), fixed), (fixed + np.array([0, 4]), fixed)]
    rows = evaluate_registration(found, landmarks=landmarks)
    for pair in (0, 1):
        own = [{key: value for key, value in row.items() if key != "pair"} for row in rows if row["pair"] == pair]
        assert own == evaluate_registration(found[pair], landmarks=landmarks[pair])
    whole = {row["metric"]: row for row in rows if row["pair"] is None}
    assert list(whole) == ["AUC_3", "AUC_5", "AUC_10"]
    assert whole["AUC_5"]["before"] == pytest.approx(area_under_curve(np.array([1.0, 4.0]), 5))
    labels = blobs((24, 30))
    rows = evaluate_registration(found, labels=[None, (labels, labels)])
    assert {row["pair"] for row in rows if row["metric"] == "Dice"} == {1}
    assert None not in {row["pair"] for row in rows}


def test_a_pair_that_failed_has_an_infinite_error(known):
    fixed = np.array([[2.0, 3.0], [5.0, 8.0]])
    pairs = Registrations([known((24, 30)), UnrelatedImagesError("no")], ["right", "wrong"])
    rows = evaluate_registration(pairs, landmarks=[(fixed + np.array([1, 0]), fixed)] * 2)
    assert {row["pair"] for row in rows} == {"right", None}
    whole = {row["metric"]: row for row in rows if row["pair"] is None}
    assert whole["AUC_5"]["before"] == pytest.approx(area_under_curve(np.array([1.0, 1.0]), 5))
    assert whole["AUC_5"]["after"] == pytest.approx(area_under_curve(np.array([1.0, np.inf]), 5))
    labels = blobs((24, 30))
    assert {row["pair"] for row in evaluate_registration(pairs, labels=[(labels, labels)] * 2)} == {"right"}


# ---- what is refused ------------------------------------------------------------------------------------

POINTS = np.array([[2.0, 3.0], [9.0, 8.0]])
LABELS = blobs((24, 30))


@pytest.mark.parametrize(
    ("landmarks", "kind", "message"),
    [
        (POINTS[:1], ShapeError, "`landmarks` must be a pair: one of the moving image and one of the fixed image"),
        ((POINTS, POINTS[:1]), ShapeError, "as many points in both images; got 2 in the moving and 1 in the fixed"),
        (
            (POINTS, np.ones((2, 3))),
            ShapeError,
            "must have 2 coordinates for each point: row, column; those of the fixed",
        ),
        ((POINTS[0], POINTS), ShapeError, "Of the moving image: `landmarks` must have 2 axes"),
        ((POINTS, POINTS * np.nan), InputError, "Of the fixed image: `landmarks` must be finite"),
        ((POINTS * 1e200, POINTS), InputError, "`landmarks` has values too large to compute with in float64"),
        ((POINTS, np.empty((0, 2))), ShapeError, "Of the fixed image: `landmarks` is empty"),
    ],
)
def test_landmarks_that_do_not_fit_are_refused(known, landmarks, kind, message):
    with pytest.raises(kind, match=message) as caught:
        evaluate_registration(known((24, 30)), landmarks=landmarks)
    assert caught.value.argument == "landmarks"


@pytest.mark.parametrize(
    ("labels", "kind", "message"),
    [
        (LABELS, ShapeError, "`labels` must be a pair"),
        ((LABELS, LABELS[1:]), ShapeError, "that of the fixed image has 24 x 30, but its labels have 23 x 30"),
        ((LABELS, LABELS * 0), InputError, r"only the moving image has 2, 5"),
        ((LABELS * (LABELS == 2), LABELS), InputError, r"only the fixed image has 5\."),
        ((LABELS * 0, LABELS * 0), InputError, "`labels` are empty: all pixels are 0"),
        ((LABELS, LABELS / 2), InputError, "must be whole numbers; those of the fixed image are not, as 2.5"),
        ((LABELS, LABELS * np.nan), InputError, "Of the fixed image: `labels` must be finite"),
    ],
)
def test_labels_that_do_not_fit_are_refused(known, labels, kind, message):
    with pytest.raises(kind, match=message) as caught:
        evaluate_registration(known((24, 30)), labels=labels)
    assert caught.value.argument == "labels"


def test_what_is_no_registration_is_refused(known):
    with pytest.raises(InputError, match=r"`found` must be a registration.*got \{\}"):
        evaluate_registration({})
    with pytest.raises(InputError, match="`found` is an empty list"):
        evaluate_registration([])
    pair = [known((24, 30)), known((24, 30))]
    with pytest.raises(
        ShapeError, match="`landmarks` must be a list with a pair for each of the 2 registrations; got 1"
    ):
        evaluate_registration(pair, landmarks=[(POINTS, POINTS)])
    with pytest.raises(ShapeError, match="Pair 1 of 2: `landmarks` must have as many points") as caught:
        evaluate_registration(pair, landmarks=[(POINTS, POINTS), (POINTS, POINTS[:1])])
    assert caught.value.argument == "landmarks"

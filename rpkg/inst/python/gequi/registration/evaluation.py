"""Evaluation of a registration with landmarks and labels, by standard metrics."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import ndimage

from ..arrays import as_array, check_result
from ..errors import GequiError, InputError, ShapeError
from ..maps import warp_image, warp_points
from .many import Registrations
from .result import AXES, Registration, as_size

AUC_THRESHOLDS = (3, 5, 10)  # pixels
SURFACE_QUANTILE = 0.95
LEAST_DETERMINANT = 1e-9  # where Learn2Reg clips the determinant before its logarithm
SLAB = 2**15  # pixels whose simplices are measured at a time, which bounds the memory
SIDES = ("moving", "fixed")

Row = dict[str, Any]


def evaluate_registration(found: Any, landmarks: Any = None, labels: Any = None) -> list[Row]:
    """Evaluate a registration with landmarks and labels, and by the regularity of its map.

    Args:
        found: Registration or list: the result of `register_images()`, for one pair or several pairs.
        landmarks: pair (moving, fixed) of arrays (point, axis), in pixels from 0, or a dict of "moving" and "fixed".
            Point i of both sets is the same anatomical point. None omits these metrics. For several pairs, a list of
            such pairs.
        labels: pair (moving, fixed) of label images with the sizes of the two images: arrays of integers, where 0 is
            the background. None omits these metrics. For several pairs, a list of such pairs.

    Returns:
        a list of dicts, one per metric: `metric`; `label`, the label, or None; `before`, the value before registration,
        or None if it is not defined; `after`; and `unit`: "pixel" ("voxel"), "length" (the unit of `spacing`) if the
        spacing is not 1, "share" (0 to 1), "%" or None. For several pairs, each dict begins with `pair`, the name or
        the number from 0, and the last rows, with `pair` None, are the AUC over all pairs. A failed pair has no rows;
        its error after registration counts as infinite.

        The value "before" compares the two images without registration, with their first pixels aligned.

        With landmarks:
            TRE_median, TRE_max: the target registration error, the distance |T(p_i) - q_i| between the mapped moving
                landmark p_i and the fixed landmark q_i, in units of the spacing of the fixed image.
            rTRE_median, rTRE_max: TRE divided by the diagonal of the fixed image, (sum over the axes of
                (size * spacing)^2)^(1/2).
            robustness: the fraction of landmarks whose TRE is smaller after registration than before.
            AUC_3, AUC_5, AUC_10 (images only): the area under the cumulative error curve from 0 to the threshold,
                divided by the threshold. Errors are in pixels of the fixed image. The curve connects (0, 0) and the
                points (i-th smallest error, i / number of errors) linearly. For one registration, the errors are those
                of its landmarks. For several pairs, the error of a pair is the mean over its landmarks. Matching
                benchmarks use the mean error of the four image corners under the true map; landmarks at the four
                corners give the same value.
        With labels, for each label, on the pixels of the fixed image. The moving labels are resampled with
        nearest-neighbor interpolation, and pixels outside the moving image are background.
            Dice: 2 |A and B| / (|A| + |B|).
            HD95: the larger of the two 95 % quantiles (linear interpolation) of the distances from each boundary pixel
                of A to the nearest boundary pixel of B and from B to A, in units of the spacing. A boundary pixel has a
                face neighbor outside the label or lies at the border of the image. NaN if a label is mapped outside the
                image.
        Always:
            SDlogJ: the standard deviation of ln J over the pixels of the fixed image, where J is the determinant of the
                Jacobian of the map, clipped to at least 1e-9.
            NDV (NDA for images): the non-diffeomorphic volume (area) in % of the number of pixels. Each cell of 2^n
                neighboring pixels is divided into simplices in two ways (2 triangles in images, 5 tetrahedra in
                volumes). The volumes of the inverted simplices are summed and divided by 2. The value is 0 if and only
                if the map is digitally diffeomorphic. Unlike in the program of the authors, the image is not extended
                beyond its border, because a rotated map would fold there.
        If the map contains a reflection, J is used with the opposite sign, as in `jacobian`.

    Raises:
        ShapeError: landmark sets that are not a pair, differ in size or lack a coordinate per axis; label images of
            other sizes than the images; lists that differ in length.
        InputError: values that are not finite, labels that are not integers, images without labels, a label that only
            one image contains, or a `found` that is not a registration.

    Source:
        TRE, rTRE and robustness: Borovec et al. 2020, ANHIR (IEEE TMI 39), and its program BIRL. Dice, HD95 and
        SDlogJ: Hering et al. 2023, Learn2Reg (IEEE TMI 42). NDV: Liu et al. 2024, On Finite Difference Jacobian
        Computation in Deformable Image Registration (IJCV 132). AUC: Sarlin et al. 2020 (SuperGlue); Sun et al. 2021
        (LoFTR).

    Example:
        >>> from gequi import register_images, sample_image
        >>> image = sample_image("cat")[50:178, 150:278]
        >>> found = register_images(moving=image.T[::-1], fixed=image)  # turned by a quarter
        >>> moving, fixed = [[127, 0], [100, 50]], [[0, 0], [50, 27]]
        >>> for row in evaluate_registration(found, landmarks=(moving, fixed))[:5]:
        ...     print(row["metric"], row["after"] < 0.01, row["unit"])
        TRE_median True pixel
        TRE_max True pixel
        rTRE_median True share
        rTRE_max True share
        robustness False share
    """
    if not isinstance(found, list | tuple):
        return _evaluate(check_registration(found), landmarks, labels)[0]
    if not len(found):
        raise InputError("`{argument}` is an empty list.", "found")
    of_each = {"landmarks": landmarks, "labels": labels}
    for name, value in of_each.items():
        of_each[name] = _of_each(value, name, len(found))
    rows, errors = [], []
    for number, each in enumerate(found):
        try:
            given = (of_each["landmarks"][number], of_each["labels"][number])
            own, error = _failed(*given) if _has_failed(each) else _evaluate(check_registration(each), *given)
        except GequiError as refusal:
            raise refusal.within("Pair {pair:index} of {total}: ", pair=number, total=len(found)) from refusal
        pair = found.label(number) if isinstance(found, Registrations) else number
        rows += [{"pair": pair, **row} for row in own]
        errors += [error] if error is not None else []
    over_pairs = _areas(*np.array(errors).T) if errors else []
    return rows + [{"pair": None, **row} for row in over_pairs]


def _evaluate(found: Registration, landmarks: Any, labels: Any) -> tuple[list[Row], tuple[float, float] | None]:
    """Return the rows of one registration and, for images, its mean landmark error in pixels before and after."""
    rows: list[Row] = []
    error = None
    if landmarks is not None:
        before, after = _errors(found, *_check_landmarks(landmarks, found.fixed.ndim))
        rows += _rows_of_landmarks(found, before, after)
        if found.fixed.ndim == 2:
            pixels = [np.linalg.norm(each, axis=1) for each in (before, after)]
            rows += _areas(*pixels)
            error = (float(pixels[0].mean()), float(pixels[1].mean()))
    if labels is not None:
        rows += _rows_of_labels(found, *_check_labels(labels, found))
    deviation = float(np.log(np.maximum(found.jacobian, LEAST_DETERMINANT)).std())
    rows.append(_row("SDlogJ", deviation, None))
    sign = np.sign(np.linalg.det(found.affine[:, :-1])) or 1.0
    folded = 100 * non_diffeomorphic_volume(found.map, sign * _area_ratio(found)) / found.fixed.size
    rows.append(_row("NDA" if found.fixed.ndim == 2 else "NDV", folded, "%"))
    return rows, error


def _has_failed(found: Any) -> bool:
    """Return whether a pair of a list failed. Python keeps its error; R passes None."""
    return found is None or isinstance(found, GequiError)


def _failed(landmarks: Any, labels: Any) -> tuple[list[Row], tuple[float, float] | None]:
    """Return no rows, and an infinite error after registration."""
    if landmarks is None or np.shape(_as_pair(landmarks, "landmarks")[0])[-1:] != (2,):
        return [], None
    moving, fixed = _check_landmarks(landmarks, 2)
    return [], (float(np.linalg.norm(moving - fixed, axis=1).mean()), math.inf)


def _row(metric: str, after: float, unit: str | None, before: float | None = None, label: int | None = None) -> Row:
    return {"metric": metric, "label": label, "before": before, "after": float(after), "unit": unit}


def _unit(found: Registration) -> str:
    """Return the unit of TRE and HD95."""
    if not ((found.spacing == 1).all() and (found.moving_spacing == 1).all()):
        return "length"
    return "voxel" if found.fixed.ndim == 3 else "pixel"


# ---- landmarks ------------------------------------------------------------------------------------------


def _errors(found: Registration, moving: np.ndarray, fixed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the errors of the landmarks in pixels of the fixed image (point, axis), before and after registration."""
    unmoved = moving * (found.moving_spacing / found.spacing)
    return unmoved - fixed, warp_points(moving, found.inverse_map) - fixed


def _rows_of_landmarks(found: Registration, before: np.ndarray, after: np.ndarray) -> list[Row]:
    with np.errstate(over="ignore"):
        lengths = [np.linalg.norm(each * found.spacing, axis=1) for each in (before, after)]
    check_result(np.concatenate(lengths), "landmarks")
    diagonal = float(np.linalg.norm(np.array(found.fixed.shape) * found.spacing))
    rows = []
    for name, scale, unit in (("TRE", 1.0, _unit(found)), ("rTRE", diagonal, "share")):
        for statistic, of in (("median", np.median), ("max", np.max)):
            start, end = (float(of(each)) / scale for each in lengths)
            rows.append(_row(f"{name}_{statistic}", end, unit, start))
    return [*rows, _row("robustness", float((lengths[1] < lengths[0]).mean()), "share")]


def _areas(before: np.ndarray, after: np.ndarray) -> list[Row]:
    return [
        _row(f"AUC_{limit}", area_under_curve(after, limit), "share", area_under_curve(before, limit))
        for limit in AUC_THRESHOLDS
    ]


def area_under_curve(errors: np.ndarray, limit: float) -> float:
    """Compute the area under the error curve through (0, 0) and (e_i, i / n) up to `limit`, divided by `limit`."""
    below = np.sort(errors[errors < limit])
    share = np.arange(len(below) + 1) / len(errors)
    steps = np.diff([0.0, *below, limit])
    return float((steps[:-1] * (share[:-1] + share[1:]) / 2).sum() + steps[-1] * share[-1]) / limit


# ---- labels ---------------------------------------------------------------------------------------------


def _rows_of_labels(found: Registration, moving: np.ndarray, fixed: np.ndarray) -> list[Row]:
    along = (-1, *[1] * fixed.ndim)
    unmoved = np.indices(fixed.shape) * (found.spacing / found.moving_spacing).reshape(along)
    carried = [warp_image(moving, map, "nearest", fill=0) for map in (unmoved, found.map)]
    unit, rows = _unit(found), []
    for label in np.unique(fixed[fixed != 0]).tolist():
        pairs = [(each == label, fixed == label) for each in carried]
        start, end = (_dice(*pair) for pair in pairs)
        rows.append(_row("Dice", end, "share", start, label))
        start, end = (surface_distance(*pair, found.spacing) for pair in pairs)
        rows.append(_row("HD95", end, unit, start, label))
    return rows


def _dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * float((one & other).sum()) / float(one.sum() + other.sum())


def surface_distance(
    one: np.ndarray, other: np.ndarray, spacing: np.ndarray, quantile: float = SURFACE_QUANTILE
) -> float:
    """Return the larger quantile of the two sets of distances between two masks' boundaries; NaN if one is empty."""
    if not (one.any() and other.any()):
        return math.nan
    box = ndimage.find_objects((one | other).astype(np.uint8))[0]
    edges = [mask & ~ndimage.binary_erosion(mask) for mask in (one[box], other[box])]
    distances = [
        ndimage.distance_transform_edt(~to, sampling=spacing)[at] for at, to in itertools.permutations(edges, 2)
    ]
    return max(float(np.quantile(each, quantile)) for each in distances)


# ---- regularity -----------------------------------------------------------------------------------------


def _area_ratio(found: Registration) -> float:
    """Return the volume of a pixel of the moving image divided by that of a pixel of the fixed image."""
    return float(np.prod(found.moving_spacing / found.spacing))


def non_diffeomorphic_volume(map: np.ndarray, ratio: float = 1.0) -> float:
    """Return the volume (area) that a map (axis, *size) inverts, times `ratio`; below 0, `ratio` reverses the sign."""
    rows = max(1, SLAB // math.prod(map.shape[2:]))
    slabs = (map[:, start : start + rows + 1] for start in range(0, map.shape[1] - 1, rows))
    return sum(_folded(slab, ratio) for slab in slabs)


def _folded(map: np.ndarray, ratio: float) -> float:
    axes = len(map)
    corners = {
        at: map[(slice(None), *(slice(1, None) if each else slice(-1) for each in at))]
        for at in itertools.product((0, 1), repeat=axes)
    }
    simplices = [(at, [_flipped(at, axis) for axis in range(axes)]) for at in corners]
    if axes == 3:  # the tetrahedra in the middle, between the four that are cut off at every other corner
        evens = [(0, 0, 0), (1, 1, 0), (1, 0, 1), (0, 1, 1)]
        simplices += [(first, list(rest)) for first, *rest in (evens, [tuple(1 - each for each in at) for at in evens])]
    folded = 0.0
    for first, rest in simplices:
        edges = [corners[at] - corners[first] for at in rest]
        straight = np.sign(np.linalg.det(np.subtract(rest, first)))
        volume = _determinant(edges)
        volume *= ratio * straight / math.factorial(axes)
        folded -= float(volume[volume < 0].sum())
    return folded / 2


def _flipped(corner: Sequence[int], axis: int) -> tuple[int, ...]:
    return tuple(1 - each if i == axis else each for i, each in enumerate(corner))


def _determinant(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Return the determinant of matrices with the rows (axis, ...)."""
    if len(rows) == 2:
        return np.asarray(rows[0][0] * rows[1][1] - rows[0][1] * rows[1][0])
    x, y, z = rows
    return np.asarray(sum(x[i] * (y[j] * z[k] - y[k] * z[j]) for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1))))


# ---- checks ---------------------------------------------------------------------------------------------


def check_registration(found: Any) -> Registration:
    """Return `found` if it is a registration; otherwise raise an InputError."""
    if isinstance(found, Registration):
        return found
    raise InputError(
        "`{argument}` must be a registration, as register_images() returns it, or a list of them; got {found!r}.",
        "found", found=found,
    )  # fmt: skip


def _of_each(value: Any, argument: str, pairs: int) -> Sequence[Any]:
    if value is None:
        return [None] * pairs
    if not isinstance(value, list | tuple) or len(value) != pairs:
        given = len(value) if isinstance(value, list | tuple) else type(value).__name__
        raise ShapeError(
            "`{argument}` must be a list with a pair for each of the {pairs} registrations; got {given}.",
            argument, pairs=pairs, given=given,
        )  # fmt: skip
    return value


def _as_pair(value: Any, argument: str) -> tuple[Any, Any]:
    """(of the moving image, of the fixed one)."""
    if isinstance(value, Mapping) and set(value) == set(SIDES):
        return value["moving"], value["fixed"]
    if (
        isinstance(value, list | tuple | np.ndarray)
        and (isinstance(value, list | tuple) or value.ndim)
        and len(value) == 2
    ):
        return value[0], value[1]
    raise ShapeError("`{argument}` must be a pair: one of the moving image and one of the fixed image.", argument)


def _of_side(x: Any, argument: str, side: str, **checks: Any) -> np.ndarray:
    try:
        return as_array(x, argument, **checks)
    except GequiError as error:
        raise error.within("Of the {side} image: ", side=side) from error


def _check_landmarks(landmarks: Any, axes: int) -> tuple[np.ndarray, np.ndarray]:
    points = []
    for side, given in zip(SIDES, _as_pair(landmarks, "landmarks"), strict=True):
        array = _of_side(given, "landmarks", side, ndim=2, axes="(point, axis)").astype(np.float64)
        if array.shape[1] != axes:
            raise ShapeError(
                "`{argument}` must have {count} coordinates for each point: {axes}; those of the {side} image have "
                "{given}.",
                "landmarks", count=axes, axes=", ".join(AXES[axes]), side=side, given=array.shape[1],
            )  # fmt: skip
        points.append(array)
    moving, fixed = points
    if len(moving) != len(fixed):
        raise ShapeError(
            "`{argument}` must have as many points in both images; got {moving} in the moving and {fixed} in the fixed "
            "one.",
            "landmarks", moving=len(moving), fixed=len(fixed),
        )  # fmt: skip
    return moving, fixed


def _check_labels(labels: Any, found: Registration) -> tuple[np.ndarray, np.ndarray]:
    arrays, known = [], []
    for side, given in zip(SIDES, _as_pair(labels, "labels"), strict=True):
        array, size = _of_side(given, "labels", side), getattr(found, side).shape
        if array.shape != size:
            raise ShapeError(
                "`{argument}` must have the sizes of the images; that of the {side} image has {size}, but its labels "
                "have {given}.",
                "labels", side=side, size=as_size(size), given=as_size(array.shape),
            )  # fmt: skip
        whole = array.astype(np.int64)
        if (whole != array).any():
            template = "`{argument}` must be whole numbers; those of the {side} image are not, as {value!r}."
            raise InputError(template, "labels", side=side, value=float(array[whole != array][0]))
        arrays.append(whole)
        known.append(set(np.unique(whole[whole != 0]).tolist()))
    if not any(known):
        raise InputError("`{argument}` are empty: all pixels are 0, the background.", "labels")
    for side, own, others in (("moving", known[0], known[1]), ("fixed", known[1], known[0])):
        if own - others:
            raise InputError(
                "`{argument}` must be the same in both images; only the {side} image has {only:list}.",
                "labels", side=side, only=sorted(own - others),
            )  # fmt: skip
    return arrays[0], arrays[1]

"""Elements of the group of a gspace: their numbers, names, actions on points, and products."""

from __future__ import annotations

import functools
import math
import re
from typing import Any

import numpy as np

from .._escnn import GroupElement, GSpace, Representation
from ..arrays import check_index
from ..errors import InputError
from .space import check_gspace


def elements(space: GSpace) -> list[GroupElement]:
    """Return the elements of a finite group in the order of escnn, or escnn's test elements of a continuous group."""
    group = check_gspace(space).fibergroup
    return list(group.elements if group.order() > 0 else group.testing_elements())


def check_element(space: GSpace, element: object, argument: str = "element") -> GroupElement:
    """Return the element with the number `element`, counted from 0."""
    all_elements = elements(space)
    return all_elements[check_index(element, argument, len(all_elements))]


def base_matrix(space: GSpace, element: GroupElement) -> np.ndarray:
    """Return the matrix by which an element moves points (x, y[, z]); its shape is (0, 0) without a base space."""
    if space.dimensionality == 0:
        return np.zeros((0, 0))
    return matrix_of(space.basespace_action, element)


@functools.lru_cache(maxsize=256)  # escnn computes the matrix of each irrep again, in about 0.3 ms for a group of 8
def matrix_of(representation: Representation, element: GroupElement) -> np.ndarray:
    """Return the matrix by which a representation maps an element, as an array that cannot be written to."""
    matrix = np.array(representation(element), dtype=np.float64)
    matrix.flags.writeable = False
    return matrix


def keeps_grid(matrix: np.ndarray) -> bool:
    """Return whether a matrix maps the pixel grid onto itself, as quarter turns and reflections do."""
    size = np.abs(matrix)
    return bool(np.allclose(size, size.round(), atol=1e-9) and (size.round().sum(axis=0) == 1).all())


def group_elements(space: GSpace) -> list[dict[str, Any]]:
    """List the elements of a group and their action on the base space.

    Args:
        space: a gspace.

    Returns:
        a table, one dict an element: `element` (its number, from 0), `name`, `angle` (radians, of its rotation),
        `reflection` (whether it changes handedness) and `exact` (whether it maps the pixel grid onto itself, so
        that it moves an image without interpolation). For a continuous group: escnn's grid of test elements.

    Raises:
        InputError: `space` is not a gspace.

    Source:
        The order of the elements is that of escnn (Cesa, Lang and Weiler 2022).

    Example:
        >>> import gequi
        >>> [row["name"] for row in group_elements(gequi.gspace("rot2dOnR2", N=4))]
        ['0°', '90°', '180°', '270°']
    """
    rows = []
    for number, element in enumerate(elements(space)):
        matrix = base_matrix(space, element)
        name, angle, reflection = _name_element(matrix) if matrix.size else (_one_line(element), math.nan, False)
        rows.append(
            {"element": number, "name": name, "angle": angle, "reflection": reflection, "exact": keeps_grid(matrix)}
        )
    return rows


def _one_line(element: GroupElement) -> str:
    return re.sub(r"\s+", " ", str(element).replace("array", "")).strip()


def _name_element(matrix: np.ndarray) -> tuple[str, float, bool]:
    """Return a name such as '90°' or '120° about (1, 1, 1)', the angle in radians, and whether it is a reflection."""
    reflection = bool(np.linalg.det(matrix) < 0)
    if len(matrix) == 2:
        angle = math.atan2(matrix[1, 0], matrix[0, 0]) % (2 * math.pi)
        if reflection:  # the angle of the mirror line is half the angle
            return f"mirror {_degrees(angle / 2 % math.pi)}", 0.0, True
        return _degrees(angle), _wrap(angle), False
    proper = -matrix if reflection else matrix
    angle = math.acos(np.clip((np.trace(proper) - 1) / 2, -1, 1))
    if reflection and math.isclose(angle, math.pi, abs_tol=1e-6):
        return f"mirror across {_axis(proper)}", 0.0, True
    turn = "" if math.isclose(angle, 0, abs_tol=1e-6) else f"{_degrees(angle)} about {_axis(proper)}"
    if reflection:
        return (f"{turn}, inverted" if turn else "inversion"), angle, True
    return (turn or "0°"), angle, False


def _wrap(angle: float) -> float:
    return 0.0 if math.isclose(angle, 2 * math.pi, abs_tol=1e-9) else angle


def _degrees(angle: float) -> str:
    return f"{round(math.degrees(_wrap(angle)), 2):g}°"


def _axis(rotation: np.ndarray) -> str:
    """Return the axis of a rotation, scaled so that its largest component is 1."""
    values, vectors = np.linalg.eigh((rotation + rotation.T) / 2)
    axis = vectors[:, np.argmax(values)]
    turning = np.array(
        [rotation[2, 1] - rotation[1, 2], rotation[0, 2] - rotation[2, 0], rotation[1, 0] - rotation[0, 1]]
    )
    lead = axis[np.argmax(np.abs(axis) > 0.99 * np.abs(axis).max())]
    sign = np.sign(axis @ turning) if np.abs(turning).max() > 1e-6 else np.sign(lead)
    axis = sign * axis / np.abs(axis).max()
    return "(" + ", ".join(f"{round(c, 2) + 0.0:g}" for c in axis) + ")"


def cayley_table(space: GSpace) -> np.ndarray:
    """Compute the multiplication table of a finite group.

    Args:
        space: a gspace with a finite group.

    Returns:
        integers (element, element): entry [i, j] is the number of g_i g_j (first g_j acts, then g_i).

    Raises:
        InputError: the group is continuous.

    Example:
        >>> import gequi
        >>> cayley_table(gequi.gspace("rot2dOnR2", N=3)).tolist()
        [[0, 1, 2], [1, 2, 0], [2, 0, 1]]
    """
    group = check_gspace(space).fibergroup
    if group.order() < 1:
        raise InputError(
            "`{argument}` must have a finite group for a Cayley table; {group} is continuous.",
            "space",
            group=str(group),
        )
    members = list(group.elements)
    number = {element: i for i, element in enumerate(members)}
    return np.array([[number[a @ b] for b in members] for a in members], dtype=np.int64)

"""Groups that act on images, volumes and vectors: gspaces, their elements and their representations.

A *gspace* is a base space (the plane R2, space R3, or a single point for vectors) with a group that acts on
it. Its *fibre group* acts on the features at each point, by a representation. Both are escnn's objects.

Convention. Elements are numbered from 0 in escnn's order. Matrices of the base space act on coordinates
(x, y) or (x, y, z), x to the right, y up; element 1 of `rot2dOnR2` with N = 4 is the counter-clockwise quarter
turn of an image (`numpy.rot90`).
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from ._escnn import Group, GroupElement, GSpace, Representation, escnn
from .arrays import check_integer, check_number
from .errors import FieldError, InputError, listing, nearest

_SUMMARIES = {
    "rot2dOnR2": "rotations of the plane",
    "flipRot2dOnR2": "rotations and reflections of the plane",
    "flip2dOnR2": "one reflection of the plane",
    "trivialOnR2": "no symmetry but translation of the plane",
    "rot3dOnR3": "all rotations of space",
    "flipRot3dOnR3": "all rotations and reflections of space",
    "octaOnR3": "the 24 rotations of a cube",
    "fullOctaOnR3": "the 48 rotations and reflections of a cube",
    "icoOnR3": "the 60 rotations of an icosahedron",
    "fullIcoOnR3": "the 120 rotations and reflections of an icosahedron",
    "rot2dOnR3": "rotations about the z axis",
    "dihedralOnR3": "rotations about the z axis, half turns across it",
    "conicalOnR3": "rotations about the z axis and mirrors that contain it",
    "cylindricalOnR3": "rotations about the z axis and the inversion",
    "fullCylindricalOnR3": "as dihedralOnR3, and the inversion",
    "mirOnR3": "one mirror",
    "invOnR3": "the inversion x -> -x",
    "trivialOnR3": "no symmetry but translation of space",
    "no_base_space": "any group, acting on vectors that sit at no place",
}
_GROUP_FACTORIES = {
    name: getattr(escnn.group, name)
    for name in (
        "trivial_group", "cyclic_group", "dihedral_group", "klein4_group", "so2_group", "o2_group", "so3_group",
        "o3_group", "octa_group", "full_octa_group", "ico_group", "full_ico_group", "cylinder_group",
        "full_cylinder_group", "cylinder_discrete_group", "full_cylinder_discrete_group",
    )
}  # fmt: skip


# ---- gspaces --------------------------------------------------------------------------------------------


def gspaces() -> list[dict[str, Any]]:
    """The gspaces that `gspace()` makes.

    Returns:
        a table, one dict a gspace: `name`, `dimension` (of the base space), `symmetry`, `options`.

    Example:
        >>> [row["name"] for row in gspaces() if row["dimension"] == 2]
        ['flip2dOnR2', 'flipRot2dOnR2', 'rot2dOnR2', 'trivialOnR2']
    """
    return [
        {
            "name": name,
            "dimension": {"R2": 2, "R3": 3}.get(name[-2:], 0),
            "symmetry": _SUMMARIES[name],
            "options": ", ".join(_options_of(name)),
        }
        for name in sorted(_SUMMARIES, key=lambda name: (name == "no_base_space", name))
    ]


def gspace(name: str, **options: Any) -> GSpace:
    """A base space with a group that acts on it.

    Args:
        name: one of the names in `gspaces()`.
        **options: escnn's own, where the gspace has them: `N` (number of rotations; -1, the default of escnn, is
            the continuous group), `maximum_frequency` (of the irreps of a continuous group), `axis` (of a
            reflection, radians). For `no_base_space`: `group`, one of escnn's groups by name
            ("cyclic_group", "so3_group", ...), and what that group takes.

    Returns:
        an `escnn.gspaces.GSpace`.

    Raises:
        InputError: an unknown name or option (the message lists what there is).

    Source:
        Weiler & Cesa 2019 (arXiv 1911.08251); Cesa, Lang & Weiler 2022.

    Example:
        >>> gspace("rot2dOnR2", N=4).fibergroup
        C4
    """
    if not isinstance(name, str) or name not in _SUMMARIES:
        raise InputError(
            f"`name` must be one of {listing(r['name'] for r in gspaces())}; got {name!r}.{nearest(name, _SUMMARIES)}",
            "name",
        )
    given = {key: value for key, value in options.items() if value is not None}
    if name == "no_base_space":
        return _describe(_no_base_space(given), name, given)
    factory = getattr(escnn.gspaces, name)
    return _describe(factory(**_check_options(name, factory, given)), name, given)


def _no_base_space(given: dict[str, Any]) -> GSpace:
    group = given.get("group")
    if group not in _GROUP_FACTORIES:
        raise InputError(
            f"`group` must be one of {listing(_GROUP_FACTORIES)}; got {group!r}.{nearest(group, _GROUP_FACTORIES)}",
            "group",
        )
    factory = _GROUP_FACTORIES[group]
    rest = {key: value for key, value in given.items() if key != "group"}
    return escnn.gspaces.no_base_space(factory(**_check_options(group, factory, rest)))


def _options_of(name: str) -> list[str]:
    if name == "no_base_space":
        return ["group", "N", "maximum_frequency"]
    return list(_parameters(getattr(escnn.gspaces, name)))


def _parameters(factory: Callable[..., Any]) -> dict[str, str]:
    """Our names of a factory's parameters -> its own: escnn says N in the plane and n in space."""
    own = [name for name in inspect.signature(factory).parameters if name != "adjoint"]
    return {"N" if name == "n" else name: name for name in own}


def _check_options(name: str, factory: Callable[..., Any], given: dict[str, Any]) -> dict[str, Any]:
    parameters = _parameters(factory)
    checked: dict[str, Any] = {}
    for key, value in given.items():
        if key not in parameters:
            has = f"its options are {listing(parameters)}" if parameters else "it has no options"
            raise InputError(f"`{key}` is no option of {name}: {has}.{nearest(key, parameters)}", key)
        if key == "axis":
            checked["axis"] = check_number(value, "axis")
        elif key == "N":
            number = check_integer(value, "N", minimum=-1)
            if number == 0:
                raise InputError("`N` must be at least 1, or -1 for the continuous group; got 0.", "N")
            checked[parameters["N"]] = number
        else:
            checked[key] = check_integer(value, key, minimum=0)
    missing = [
        key
        for key, own in parameters.items()
        if own not in checked and inspect.signature(factory).parameters[own].default is inspect.Parameter.empty
    ]
    if missing:
        raise InputError(f"{name} needs `{missing[0]}`.", missing[0])
    return checked


def _describe(space: GSpace, name: str, options: dict[str, Any]) -> GSpace:
    """Notes on a gspace how it was made, so that a recipe that holds it is plain data."""
    plain = {key: scalar.item() if hasattr(scalar, "item") else scalar for key, scalar in options.items()}
    plain = {key: int(v) if isinstance(v, float) and v.is_integer() else v for key, v in plain.items()}
    space.gequi_description = {"name": name, **plain}
    return space


def describe_gspace(space: GSpace) -> dict[str, Any]:
    """The name and options from which `gspace()` makes `space` again: plain data."""
    check_gspace(space)
    if not hasattr(space, "gequi_description"):
        raise InputError(
            f"`space` must come from gequi.gspace(), which notes how to make it again; got escnn's own {space}.",
            "space",
        )
    return dict(space.gequi_description)


def check_gspace(space: object, argument: str = "space") -> GSpace:
    """`space`, where it is a gspace."""
    if not isinstance(space, GSpace):
        raise InputError(f"`{argument}` must be a gspace, as gspace() makes it; got {space!r:.80}.", argument)
    return space


# ---- elements -------------------------------------------------------------------------------------------


def elements(space: GSpace) -> list[GroupElement]:
    """The elements of a finite group in escnn's order; of a continuous group, escnn's grid of test elements."""
    group = check_gspace(space).fibergroup
    return list(group.elements if group.order() > 0 else group.testing_elements())


def check_element(space: GSpace, element: object) -> GroupElement:
    """The element with the number `element`."""
    all_elements = elements(space)
    return all_elements[check_integer(element, "element", 0, len(all_elements) - 1)]


def base_matrix(space: GSpace, element: GroupElement) -> np.ndarray:
    """The matrix by which an element moves the points (x, y[, z]) of the base space; (0, 0) where it has none."""
    if space.dimensionality == 0:
        return np.zeros((0, 0))
    return np.asarray(space.basespace_action(element), dtype=np.float64)


def keeps_grid(matrix: np.ndarray) -> bool:
    """Whether a matrix maps the pixel grid onto itself: quarter turns and mirrors do, other turns do not."""
    size = np.abs(matrix)
    return bool(np.allclose(size, size.round(), atol=1e-9) and (size.round().sum(axis=0) == 1).all())


def group_elements(space: GSpace) -> list[dict[str, Any]]:
    """The elements of a group and what each does to the base space.

    Args:
        space: a gspace.

    Returns:
        a table, one dict an element: `element` (its number, from 0), `name`, `angle` (radians, of its rotation),
        `reflection` (whether it changes handedness) and `exact` (whether it maps the pixel grid onto itself, so
        that it moves an image without interpolation). For a continuous group: escnn's grid of test elements.

    Example:
        >>> [row["name"] for row in group_elements(gspace("rot2dOnR2", N=4))]
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
    """A name such as '90°', 'mirror 45°', '120° about (1, 1, 1)'; the angle in radians; whether it reflects."""
    reflection = bool(np.linalg.det(matrix) < 0)
    if len(matrix) == 2:
        angle = math.atan2(matrix[1, 0], matrix[0, 0]) % (2 * math.pi)
        if reflection:  # the mirror's line stands at half the angle
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
    """The axis of a rotation, scaled so that its largest component is 1."""
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
    """The multiplication table of a finite group.

    Args:
        space: a gspace with a finite group.

    Returns:
        integers (element, element): entry [i, j] is the number of g_i g_j (first g_j acts, then g_i).

    Raises:
        InputError: the group is continuous.

    Example:
        >>> cayley_table(gspace("rot2dOnR2", N=3)).tolist()
        [[0, 1, 2], [1, 2, 0], [2, 0, 1]]
    """
    group = check_gspace(space).fibergroup
    if group.order() < 1:
        raise InputError(f"`space` must have a finite group for a Cayley table; {group} is continuous.", "space")
    members = list(group.elements)
    number = {element: i for i, element in enumerate(members)}
    return np.array([[number[a @ b] for b in members] for a in members], dtype=np.int64)


# ---- representations ------------------------------------------------------------------------------------


def representations(space: GSpace) -> list[dict[str, Any]]:
    """The representations that a field can have, by name.

    Besides the names listed, `quotient(...)` and `induced(...)` name representations by a subgroup, `fourier(L)`
    functions on the group by their highest frequency: see `field_type()`.

    Returns:
        a table, one dict a representation: `name`, `size`, `irreducible`, `pointwise` (whether it permutes or
        keeps the channels, so that pointwise nonlinearities such as ReLU are equivariant on it).

    Example:
        >>> [(row["name"], row["size"]) for row in representations(gspace("rot2dOnR2", N=4))]
        [('trivial', 1), ('irrep_0', 1), ('irrep_1', 2), ('irrep_2', 1), ('regular', 4)]
    """
    check_gspace(space)
    limit = _maximum_frequency(space)
    rows = [("trivial", trivial(space))]
    rows += [(irrep.name, irrep) for irrep in space.irreps if _frequency(irrep.id) <= limit]
    if space.fibergroup.order() > 0:
        rows.append(("regular", space.regular_repr))
    return [
        {
            "name": name,
            "size": int(representation.size),
            "irreducible": len(representation.irreps) == 1,
            "pointwise": "pointwise" in representation.supported_nonlinearities,
        }
        for name, representation in rows
    ]


def _maximum_frequency(space: GSpace) -> float:
    """The highest frequency that was asked for. escnn's groups are singletons whose list of irreps only grows."""
    if space.fibergroup.order() > 0:
        return math.inf
    description = getattr(space, "gequi_description", {})
    factory = _GROUP_FACTORIES.get(description.get("group", "")) or getattr(
        escnn.gspaces, description.get("name", ""), None
    )
    if factory is None:
        return math.inf
    return float(
        description.get("maximum_frequency", inspect.signature(factory).parameters["maximum_frequency"].default)
    )


def _frequency(irrep_id: Any) -> int:
    return _frequency(irrep_id[-1]) if isinstance(irrep_id, tuple) else int(irrep_id)


def trivial(space: GSpace) -> Representation:
    """The trivial representation. escnn forgets, for products of groups, that pointwise maps are equivariant on it."""
    space.trivial_repr.supported_nonlinearities.add("pointwise")
    return space.trivial_repr


_BY_SUBGROUP = re.compile(r"^(quotient|induced|fourier)\((.*?)(?:;\s*(.+))?\)$")


def representation_of(space: GSpace, name: str) -> Representation:
    """The representation of a name, as `field_type()` describes the names."""
    group = check_gspace(space).fibergroup
    if not isinstance(name, str):
        raise FieldError(f"`representation` must be a name; got {name!r}.", "representation")
    if name == "trivial":
        return trivial(space)
    if name == "regular":
        if group.order() < 1:
            raise FieldError(
                f'`representation` "regular" needs a finite group; {group} is continuous: use its irreps.',
                "representation",
            )
        return space.regular_repr
    found = {irrep.name: irrep for irrep in space.irreps}
    if name in found:
        return found[name]
    by_subgroup = _BY_SUBGROUP.match(name)
    if by_subgroup:
        return _by_subgroup(space, group, name, *by_subgroup.groups())
    if name == "standard" and hasattr(group, "standard_representation"):
        return group.standard_representation()
    choices = [row["name"] for row in representations(space)]
    raise FieldError(
        f"`representation` must be one of {listing(choices)}, quotient(...), induced(...) or fourier(...) for "
        f"{group}; "
        f"got {name!r}.{nearest(name, choices)}",
        "representation",
    )


def _by_subgroup(space: GSpace, group: Group, name: str, kind: str, subgroup: str, of: str | None) -> Representation:
    parts = tuple(None if part == "None" else _number(part) for part in re.split(r"\s*,\s*", subgroup.strip()))
    identity = parts if len(parts) > 1 else parts[0]
    try:
        if kind == "fourier":
            return _fourier(group, check_integer(identity, "L", minimum=0))
        if kind == "quotient":
            return space.quotient_repr(identity)
        inner = group.subgroup(identity)[0]
        return space.induced_repr(identity, {irrep.name: irrep for irrep in inner.irreps()}[of or "irrep_0"])
    except FieldError as error:
        raise FieldError(f"`representation` {name!r}: {error}.", "representation") from None
    except Exception as error:  # escnn's own refusals are assertions, often without a text
        raise FieldError(
            f"`representation` {name!r}: {group} has no such subgroup or representation "
            f"({type(error).__name__}{': ' + str(error) if str(error) else ''}).",
            "representation",
        ) from error


def _fourier(group: Group, frequency: int) -> Representation:
    """Functions on a continuous group with frequencies up to `frequency`, as escnn's FourierELU takes them."""
    if group.order() > 0:
        raise FieldError(f"{group} is finite: its functions are the regular fields", "representation")
    made = group.spectral_regular_representation(*group.bl_irreps(frequency), name=None)
    made.attributes["fourier"] = frequency
    return made


def _number(text: str) -> int | float | str | bool:
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return {"True": True, "False": False}.get(text, text)


def representation_matrix(space: GSpace, representation: str, element: int) -> np.ndarray:
    """The matrix rho(g) by which an element acts in a representation.

    Args:
        space: a gspace.
        representation: a name, as in `representations(space)` or `field_type()`.
        element: the element's number, as in `group_elements(space)`.

    Returns:
        float64 matrix (size, size); orthogonal, and rho(g h) = rho(g) rho(h).

    Raises:
        FieldError: unknown representation.
        InputError: no such element.

    Example:
        >>> representation_matrix(gspace("rot2dOnR2", N=4), "irrep_1", 1).round(12).tolist()
        [[0.0, -1.0], [1.0, 0.0]]
    """
    rho = representation_of(space, representation)
    return np.asarray(rho(check_element(space, element)), dtype=np.float64)

"""Gspaces: base spaces with a group that acts on them, with the names of escnn."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from .._escnn import GSpace, escnn, quick_regular_representations
from .._recipes import unknown_option
from ..arrays import check_integer, check_number
from ..errors import InputError, nearest

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
    "no_base_space": "any group, acting on vectors without a position",
}
GROUP_FACTORIES = {
    name: getattr(escnn.group, name)
    for name in (
        "trivial_group", "cyclic_group", "dihedral_group", "klein4_group", "so2_group", "o2_group", "so3_group",
        "o3_group", "octa_group", "full_octa_group", "ico_group", "full_ico_group", "cylinder_group",
        "full_cylinder_group", "cylinder_discrete_group", "full_cylinder_discrete_group",
    )
}  # fmt: skip


def gspaces() -> list[dict[str, Any]]:
    """List the gspaces that `gspace()` can create. This function never fails.

    Returns:
        a table, one dict a gspace: `name`, `dimension` (of the base space), `symmetry`, `options`.

    Source:
        Weiler and Cesa (2019), General E(2)-equivariant steerable CNNs, arXiv 1911.08251.

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
    """Create a gspace: a base space and a group that acts on it.

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
            "`{argument}` must be one of {choices:list}; got {name!r}.{hint}",
            "name", choices=[row["name"] for row in gspaces()], name=name, hint=nearest(name, _SUMMARIES),
        )  # fmt: skip
    given = {key: value for key, value in options.items() if value is not None}
    with quick_regular_representations():
        if name == "no_base_space":
            return _describe(_no_base_space(given), name, given)
        factory = getattr(escnn.gspaces, name)
        return _describe(factory(**_check_options(name, factory, given)), name, given)


def _no_base_space(given: dict[str, Any]) -> GSpace:
    group = given.get("group")
    if group not in GROUP_FACTORIES:
        raise InputError(
            "`{argument}` must be one of {choices:list}; got {group!r}.{hint}",
            "group", choices=list(GROUP_FACTORIES), group=group, hint=nearest(group, GROUP_FACTORIES),
        )  # fmt: skip
    factory = GROUP_FACTORIES[group]
    rest = {key: value for key, value in given.items() if key != "group"}
    return escnn.gspaces.no_base_space(factory(**_check_options(group, factory, rest)))


def _options_of(name: str) -> list[str]:
    if name == "no_base_space":
        return ["group", "N", "maximum_frequency"]
    return list(_parameters(getattr(escnn.gspaces, name)))


def _parameters(factory: Callable[..., Any]) -> dict[str, str]:
    """Map our names of the parameters of a factory to those of escnn, which uses N in the plane and n in space."""
    own = [name for name in inspect.signature(factory).parameters if name != "adjoint"]
    return {"N" if name == "n" else name: name for name in own}


def _check_options(name: str, factory: Callable[..., Any], given: dict[str, Any]) -> dict[str, Any]:
    parameters = _parameters(factory)
    checked: dict[str, Any] = {}
    for key, value in given.items():
        if key not in parameters:
            raise unknown_option(key, name, parameters)
        if key == "axis":
            checked["axis"] = check_number(value, "axis")
        elif key == "N":
            number = check_integer(value, "N", minimum=-1)
            if number == 0:
                raise InputError("`{argument}` must be at least 1, or -1 for the continuous group; got 0.", "N")
            checked[parameters["N"]] = number
        else:
            checked[key] = check_integer(value, key, minimum=0)
    missing = [
        key
        for key, own in parameters.items()
        if own not in checked and inspect.signature(factory).parameters[own].default is inspect.Parameter.empty
    ]
    if missing:
        raise InputError("{name} needs `{argument}`.", missing[0], name=name)
    return checked


def _describe(space: GSpace, name: str, options: dict[str, Any]) -> GSpace:
    """Store in a gspace how it was created, so that a recipe that contains it is plain data."""
    plain = {key: scalar.item() if hasattr(scalar, "item") else scalar for key, scalar in options.items()}
    plain = {key: int(v) if isinstance(v, float) and v.is_integer() else v for key, v in plain.items()}
    space.gequi_description = {"name": name, **plain}
    return space


def describe_gspace(space: GSpace) -> dict[str, Any]:
    """Return the name and options with which `gspace()` creates `space` again, as plain data."""
    check_gspace(space)
    if not hasattr(space, "gequi_description"):
        raise InputError(
            "`{argument}` must come from gequi.gspace(), which notes how to make it again; got escnn's own {space}.",
            "space", space=str(space),
        )  # fmt: skip
    return dict(space.gequi_description)


def check_gspace(space: object, argument: str = "space") -> GSpace:
    """Return `space` if it is a gspace; otherwise raise an error."""
    if not isinstance(space, GSpace):
        raise InputError(
            "`{argument}` must be a gspace, as gspace() makes it; got {space!r:.80}.", argument, space=space
        )
    return space

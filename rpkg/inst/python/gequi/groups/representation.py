"""Representations of the group of a gspace: how group elements act on the channels of a field."""

from __future__ import annotations

import inspect
import math
import re
from typing import Any

import numpy as np
from scipy.linalg import block_diag

from .._escnn import FieldType, Group, GroupElement, GSpace, Representation, canonical_representation, escnn
from ..arrays import check_integer
from ..errors import FieldError, nearest
from .element import check_element, matrix_of
from .space import GROUP_FACTORIES, check_gspace


def representations(space: GSpace) -> list[dict[str, Any]]:
    """List the representations of a group by name.

    `quotient(...)`, `induced(...)` and `fourier(L)` name further representations: see `field_type()`.

    Args:
        space: a gspace, created by `gspace()`.

    Returns:
        a table, one dict a representation: `name`, `size`, `irreducible`, `pointwise` (whether it permutes or
        keeps the channels, so that pointwise nonlinearities such as ReLU are equivariant on it).

    Raises:
        InputError: `space` is not a gspace.

    Example:
        >>> import gequi
        >>> [(row["name"], row["size"]) for row in representations(gequi.gspace("rot2dOnR2", N=4))]
        [('trivial', 1), ('irrep_0', 1), ('irrep_1', 2), ('irrep_2', 1), ('regular', 4)]
    """
    check_gspace(space)
    rows = [("trivial", trivial(space)), *_irreps(space).items()]
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


def _irreps(space: GSpace) -> dict[str, Representation]:
    """Return the irreps of a gspace by name.

    The groups of escnn are singletons: they also have the irreps that other gspaces and kernels have created.
    """
    limit = _maximum_frequency(space)
    return {irrep.name: irrep for irrep in space.irreps if _frequency(irrep.id) <= limit}


def _maximum_frequency(space: GSpace) -> float:
    """Return the highest frequency of the irreps of a gspace."""
    if space.fibergroup.order() > 0:
        return math.inf
    description = getattr(space, "gequi_description", {})
    factory = GROUP_FACTORIES.get(description.get("group", "")) or getattr(
        escnn.gspaces, description.get("name", ""), None
    )
    if factory is None:
        return math.inf
    return float(
        description.get("maximum_frequency", inspect.signature(factory).parameters["maximum_frequency"].default)
    )


def _frequency(irrep_id: tuple[Any, ...]) -> int:
    """Return the frequency of the rotations. The id of an irrep of a product has an id of each group before a number."""
    return _frequency(irrep_id[1]) if isinstance(irrep_id[0], tuple) else int(irrep_id[-1])


def trivial(space: GSpace) -> Representation:
    """Return the trivial representation. For products of groups, escnn does not mark it as pointwise equivariant."""
    space.trivial_repr.supported_nonlinearities.add("pointwise")
    return space.trivial_repr


_BY_SUBGROUP = re.compile(r"^(quotient|induced|fourier)\((.*?)(?:;\s*(.+))?\)$")


def representation_of(space: GSpace, name: str) -> Representation:
    """Return the representation with this name; `field_type()` describes the names."""
    group = check_gspace(space).fibergroup
    if not isinstance(name, str):
        raise FieldError("`{argument}` must be a name; got {name!r}.", "representation", name=name)
    if name == "trivial":
        return trivial(space)
    if name == "regular":
        if group.order() < 1:
            raise FieldError(
                "`{argument}` {name!r} needs a finite group; {group} is continuous: use its irreps.",
                "representation", name=name, group=str(group),
            )  # fmt: skip
        return space.regular_repr
    found = _irreps(space)
    if name in found:
        return found[name]
    by_subgroup = _BY_SUBGROUP.match(name)
    if by_subgroup:
        return _by_subgroup(space, group, name, *by_subgroup.groups())
    if name == "standard" and hasattr(group, "standard_representation"):
        standard = group.standard_representation  # a method in some groups of escnn, a value in others
        return standard if isinstance(standard, Representation) else standard()
    choices = [row["name"] for row in representations(space)]
    raise FieldError(
        "`{argument}` must be one of {choices:list}, quotient(...), induced(...) or fourier(...) for {group}; "
        "got {name!r}.{hint}",
        "representation", choices=choices, group=str(group), name=name, hint=nearest(name, choices),
    )  # fmt: skip


def _by_subgroup(space: GSpace, group: Group, name: str, kind: str, subgroup: str, of: str | None) -> Representation:
    parts = tuple(None if part == "None" else _number(part) for part in re.split(r"\s*,\s*", subgroup.strip()))
    identity = parts if len(parts) > 1 else parts[0]
    try:
        if kind == "fourier":
            return _fourier(group, check_integer(identity, "L", minimum=0))
        if kind == "quotient":
            return canonical_representation(space.quotient_repr(identity), group)
        inner = group.subgroup(identity)[0]
        induced = space.induced_repr(identity, {irrep.name: irrep for irrep in inner.irreps()}[of or "irrep_0"])
        return canonical_representation(induced, group)
    except FieldError as error:
        raise FieldError("`{argument}` {name!r}: {reason}.", "representation", name=name, reason=str(error)) from None
    except Exception as error:  # escnn refuses arguments by assertions, often without a message
        reason = f"{type(error).__name__}{': ' + str(error) if str(error) else ''}"
        raise FieldError(
            "`{argument}` {name!r}: {group} has no such subgroup or representation ({reason}).",
            "representation", name=name, group=str(group), reason=reason,
        ) from error  # fmt: skip


def _fourier(group: Group, frequency: int) -> Representation:
    """Return functions on a continuous group with frequencies up to `frequency`, as escnn's FourierELU needs them."""
    if group.order() > 0:
        raise FieldError("{group} is finite: its functions are the regular fields", "representation", group=str(group))
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


def fields_matrix(fields: FieldType, element: GroupElement) -> np.ndarray:
    """Return the matrix by which an element acts on the channels of fields: block diagonal, one block per field."""
    return np.asarray(block_diag(*(matrix_of(representation, element) for representation in fields.representations)))


def representation_matrix(space: GSpace, representation: str, element: int) -> np.ndarray:
    """Compute the matrix rho(g) by which a group element acts on the channels of a field.

    Args:
        space: a gspace.
        representation: a name, as in `representations(space)` or `field_type()`.
        element: the element's number, as in `group_elements(space)`.

    Returns:
        float64 matrix (size, size); orthogonal, and rho(g h) = rho(g) rho(h).

    Raises:
        FieldError: an unknown representation.
        InputError: an element number that is out of range.

    Source:
        Weiler and Cesa 2019 (arXiv 1911.08251).

    Example:
        >>> import gequi
        >>> representation_matrix(gequi.gspace("rot2dOnR2", N=4), "irrep_1", 1).round(12).tolist()
        [[0.0, -1.0], [1.0, 0.0]]
    """
    rho = representation_of(space, representation)
    return matrix_of(rho, check_element(space, element)).copy()

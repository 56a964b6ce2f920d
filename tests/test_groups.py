"""groups: gspaces, elements, tables and representations."""

import re

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import gequi
from gequi.errors import FieldError, InputError
from gequi.groups.element import base_matrix

# Those that the blog post of seed 002 prints.
ON = """conicalOnR3 cylindricalOnR3 dihedralOnR3 flip2dOnR2 flipRot2dOnR2 flipRot3dOnR3 fullCylindricalOnR3 fullIcoOnR3
fullOctaOnR3 icoOnR3 invOnR3 mirOnR3 octaOnR3 rot2dOnR2 rot2dOnR3 rot3dOnR3 trivialOnR2 trivialOnR3""".split()
FINITE = [
    ("rot2dOnR2", {"N": 1}), ("rot2dOnR2", {"N": 4}), ("rot2dOnR2", {"N": 8}), ("flipRot2dOnR2", {"N": 4}),
    ("flip2dOnR2", {}), ("trivialOnR2", {}), ("octaOnR3", {}), ("rot2dOnR3", {"N": 4}), ("dihedralOnR3", {"N": 2}),
    ("conicalOnR3", {"N": 2}), ("mirOnR3", {}), ("invOnR3", {}), ("trivialOnR3", {}),
    ("no_base_space", {"group": "dihedral_group", "N": 3}),
]  # fmt: skip


def test_the_eighteen_gspaces_of_the_post_and_vectors_without_a_base_space_are_listed():
    assert [row["name"] for row in gequi.gspaces()] == [*ON, "no_base_space"]


@pytest.mark.parametrize("name", [name for name in ON if "Ico" not in name and "ico" not in name])
def test_every_gspace_can_be_made_by_its_name(name):
    space = gequi.gspace(name)
    row = next(row for row in gequi.gspaces() if row["name"] == name)
    assert space.dimensionality == row["dimension"]
    assert gequi.representations(space)[0]["name"] == "trivial"
    assert gequi.group_elements(space)


@pytest.mark.parametrize("name", ["icoOnR3", "fullIcoOnR3"])
def test_the_icosahedral_gspaces_can_be_made_too(name):
    assert gequi.gspace(name).fibergroup.order() == {"icoOnR3": 60, "fullIcoOnR3": 120}[name]


def test_a_gspace_without_n_is_continuous():
    space = gequi.gspace("rot2dOnR2", maximum_frequency=2)
    assert str(space.fibergroup) == "SO(2)"
    names = [row["name"] for row in gequi.representations(space)]
    assert names == ["trivial", "irrep_0", "irrep_1", "irrep_2"]


def test_a_higher_frequency_asked_for_elsewhere_does_not_show():
    gequi.gspace("rot2dOnR2", maximum_frequency=5)  # escnn's groups are singletons that only grow
    names = [row["name"] for row in gequi.representations(gequi.gspace("rot2dOnR2", maximum_frequency=1))]
    assert names == ["trivial", "irrep_0", "irrep_1"]


@pytest.mark.parametrize(("name", "options"), FINITE)
def test_matrices_multiply_as_the_cayley_table_says(name, options):
    space = gequi.gspace(name, **options)
    table = gequi.cayley_table(space)
    assert table.shape == (len(table), len(table)) == (len(gequi.group_elements(space)),) * 2
    for representation in (row["name"] for row in gequi.representations(space)):
        rho = [gequi.representation_matrix(space, representation, g) for g in range(len(table))]
        for g, h in [(0, 0), (1 % len(table), len(table) - 1), (len(table) - 1, 1 % len(table))]:
            np.testing.assert_allclose(rho[g] @ rho[h], rho[table[g, h]], atol=1e-12)
            np.testing.assert_allclose(rho[g] @ rho[g].T, np.eye(len(rho[g])), atol=1e-12)


@pytest.mark.parametrize(("name", "options"), FINITE)
def test_a_cayley_table_is_a_latin_square(name, options):
    table = gequi.cayley_table(gequi.gspace(name, **options))
    everyone = np.arange(len(table))
    for line in [*table, *table.T]:
        np.testing.assert_array_equal(np.sort(line), everyone)


def test_the_matrices_that_the_post_prints():
    space = gequi.gspace("rot2dOnR2", N=4)
    rows = [(row["name"], row["size"]) for row in gequi.representations(space)]
    assert rows == [("trivial", 1), ("irrep_0", 1), ("irrep_1", 2), ("irrep_2", 1), ("regular", 4)]
    irrep = [[6.123234e-17, -1.0], [1.0, 6.123234e-17]]
    np.testing.assert_allclose(gequi.representation_matrix(space, "irrep_1", 1), irrep, atol=1e-12)
    regular = [
        [5.551115e-17, -5.551115e-17, -8.326673e-17, 1.0],
        [1.0, 5.551115e-17, -5.551115e-17, -8.326673e-17],
        [5.551115e-17, 1.0, 5.551115e-17, -5.551115e-17],
        [-5.551115e-17, 5.551115e-17, 1.0, 5.551115e-17],
    ]
    np.testing.assert_allclose(gequi.representation_matrix(space, "regular", 1), regular, atol=1e-12)


def test_elements_are_named_by_what_they_do():
    def names(*arguments, **options):
        return [row["name"] for row in gequi.group_elements(gequi.gspace(*arguments, **options))]

    assert names("rot2dOnR2", N=8)[:3] == ["0°", "45°", "90°"]
    assert names("flipRot2dOnR2", N=2) == ["0°", "180°", "mirror 90°", "mirror 0°"]
    octahedral = names("octaOnR3")
    assert len(set(octahedral)) == 24
    assert {"0°", "90° about (0, 0, 1)", "120° about (1, 1, 1)", "180° about (0, 1, 1)"} <= set(octahedral)
    assert names("invOnR3") == ["0°", "inversion"]
    assert names("mirOnR3") == ["0°", "mirror across (1, 0, 0)"]


@pytest.mark.parametrize("name", ["octaOnR3", "fullOctaOnR3", "icoOnR3", "fullIcoOnR3", "dihedralOnR3"])
def test_the_name_of_an_element_in_space_says_which_one_it_is(name):
    """The matrix is built again from the angle and the axis in the name: the axis has a sign."""
    space = gequi.gspace(name, **({"N": 7} if name == "dihedralOnR3" else {}))
    for row, element in zip(gequi.group_elements(space), gequi.groups.elements(space), strict=True):
        numbers = [float(each) for each in re.findall(r"-?[0-9.]+", row["name"])]
        mirror = row["name"].startswith("mirror across")
        turn = 180.0 if mirror else numbers.pop(0) if numbers else 0.0
        axis = np.array(numbers or [0.0, 0.0, 1.0])
        matrix = Rotation.from_rotvec(np.deg2rad(turn) * axis / np.linalg.norm(axis)).as_matrix()
        inverted = mirror or "inver" in row["name"]
        np.testing.assert_allclose(-matrix if inverted else matrix, base_matrix(space, element), atol=0.02)
        assert row["reflection"] is inverted
        assert row["angle"] == pytest.approx(0 if mirror else np.deg2rad(turn), abs=1e-4)


def test_only_quarter_turns_and_mirrors_along_the_grid_or_its_diagonals_are_exact():
    rows = gequi.group_elements(gequi.gspace("flipRot2dOnR2", N=8))
    exact = [row["name"] for row in rows if row["exact"]]
    assert exact == ["0°", "90°", "180°", "270°", "mirror 90°", "mirror 135°", "mirror 0°", "mirror 45°"]
    assert [row["reflection"] for row in rows] == [False] * 8 + [True] * 8


def test_angles_are_radians():
    angles = [row["angle"] for row in gequi.group_elements(gequi.gspace("rot2dOnR2", N=4))]
    np.testing.assert_allclose(angles, np.arange(4) * np.pi / 2)


def test_quotient_induced_and_fourier_representations_go_by_name():
    def size(space, name):
        return len(gequi.representation_matrix(space, name, 1))

    c8, d4, so2 = gequi.gspace("rot2dOnR2", N=8), gequi.gspace("flipRot2dOnR2", N=4), gequi.gspace("rot2dOnR2")
    assert size(c8, "quotient(2)") == 4
    assert size(c8, "induced(2; irrep_1)") == 4
    assert size(d4, "quotient(None,2)") == 4
    assert size(so2, "fourier(2)") == 5


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: gequi.gspace("rot2dOnr2"), InputError, r"`name` must be one of .* Did you mean 'rot2dOnR2'\?"),
        (lambda: gequi.gspace(4), InputError, "`name` must be one of"),
        (lambda: gequi.gspace("rot2dOnR2", N=4.7), InputError, "`N` must be a whole number; got 4.7"),
        (lambda: gequi.gspace("rot2dOnR2", N=0), InputError, "`N` must be at least 1, or -1"),
        (lambda: gequi.gspace("rot2dOnR2", n=4), InputError, r"unknown option `n`; the options of rot2dOnR2 are 'N', .* Did you mean 'N'\?"),
        (lambda: gequi.gspace("octaOnR3", N=4), InputError, "unknown option `N`; octaOnR3 has no options"),
        (lambda: gequi.gspace("no_base_space"), InputError, "`group` must be one of"),
        (lambda: gequi.gspace("no_base_space", group="cyclic_group"), InputError, "cyclic_group needs `N`"),
        (lambda: gequi.cayley_table(gequi.gspace("rot2dOnR2")), InputError, "finite group"),
        (lambda: gequi.cayley_table("C4"), InputError, "`space` must be a gspace"),
        (lambda: gequi.representation_matrix(C4(), "regula", 0), FieldError, r"Did you mean 'regular'\?"),
        (lambda: gequi.representation_matrix(C4(), "quotient(3)", 0), FieldError, "C4 has no such subgroup"),
        (lambda: gequi.representation_matrix(C4(), "fourier(2)", 0), FieldError, "C4 is finite"),
        (lambda: gequi.representation_matrix(C4(), "regular", 4), InputError, "`element` must be from 0 to 3; got 4"),
        (lambda: gequi.representation_matrix(SO2(), "regular", 0), FieldError, "continuous"),
    ],
)  # fmt: skip
def test_what_does_not_exist_is_refused_with_what_does(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


@pytest.mark.parametrize(
    "call",
    [
        lambda: gequi.representation_matrix(C4(), "regular", 4),
        lambda: gequi.transform_field(np.ones((1, 1, 3, 3)), gequi.field_type(C4(), "trivial"), 4),
        lambda: gequi.equivariance_error(abs, np.ones((1, 1, 3, 3)), C4(), "trivial", "trivial", [4]),
    ],
)
def test_numbers_of_elements_are_marked_as_indexes_which_r_counts_from_1(call):
    with pytest.raises(InputError, match="must be from 0 to 3; got 4") as raised:
        call()
    assert [piece["value"] for piece in raised.value.pieces() if piece.get("kind") == "index"] == [0, 3, 4]


def C4():
    return gequi.gspace("rot2dOnR2", N=4)


def SO2():
    return gequi.gspace("rot2dOnR2")

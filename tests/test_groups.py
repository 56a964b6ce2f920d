"""groups: gspaces, elements, tables and representations."""

import itertools
import json
import re

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import gequi
from gequi._escnn import escnn
from gequi.errors import FieldError, InputError
from gequi.groups.element import base_matrix, keeps_grid

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


@pytest.mark.parametrize("name", ["flipRot2dOnR2", "conicalOnR3", "cylindricalOnR3", "fullCylindricalOnR3"])
def test_kernels_between_the_irreps_of_the_highest_frequency_are_found_and_leave_no_others(name, random):
    space = gequi.gspace(name, N=-1)
    names = [row["name"] for row in gequi.representations(space)]
    conv = {"layer": "conv", "fields": names[-1], "kernel_size": 3}
    net = gequi.equivariant_network(space, names[-1], [conv], seed=1, dtype="float64")
    x = random.normal(size=(1, net.in_type.size, *[4] * space.dimensionality))
    assert max(row["error"] for row in gequi.equivariance_error(net, x) if row["exact"]) < 1e-12
    assert [row["name"] for row in gequi.representations(space)] == names


def test_the_irreps_of_a_gspace_are_those_of_its_own_maximum_frequency():
    low = gequi.gspace("flipRot2dOnR2", N=-1, maximum_frequency=2)
    assert gequi.field_type(gequi.gspace("flipRot2dOnR2", N=-1, maximum_frequency=9), "irrep_1,9").size == 2
    with pytest.raises(FieldError, match="got 'irrep_1,9'"):
        gequi.field_type(low, "irrep_1,9")


@pytest.mark.parametrize("name", ["icoOnR3", "fullIcoOnR3"])
def test_the_icosahedral_gspaces_can_be_made_too(name):
    assert gequi.gspace(name).fibergroup.order() == {"icoOnR3": 60, "fullIcoOnR3": 120}[name]


@pytest.mark.parametrize(
    ("name", "options"),
    [*FINITE, ("rot2dOnR2", {"N": -1}), ("rot2dOnR2", {"N": None}), ("rot2dOnR2", {"N": np.int64(4)}), ("flip2dOnR2", {"axis": 0.25}),
     ("rot2dOnR2", {"N": 4.0}), ("no_base_space", {"group": "so2_group", "maximum_frequency": 2}),
     ("dihedralOnR3", {"N": 2, "axis": 0.5})],
)  # fmt: skip
def test_a_gspace_is_made_again_from_its_description_which_json_holds(name, options):
    space = gequi.gspace(name, **options)
    described = json.loads(json.dumps(gequi.groups.describe_gspace(space)))
    again = gequi.gspace(**described)
    assert again == space
    assert described == {"name": name, **{key: value for key, value in options.items() if value is not None}}
    assert all(type(value) in (int, float, str) for value in described.values())
    assert not isinstance(described.get("N", 1), float)


def test_the_table_of_gspaces_says_what_each_is():
    rows = {row["name"]: row for row in gequi.gspaces()}
    assert {name: row["dimension"] for name, row in rows.items()} == {
        name: int(name[-1]) if name[-1].isdigit() else 0 for name in rows
    }
    options = {name: row["options"] for name, row in rows.items()}
    assert options["rot2dOnR2"] == options["rot2dOnR3"].replace("adjoint", "") == "N, maximum_frequency"
    assert (options["octaOnR3"], options["flip2dOnR2"]) == ("", "axis")
    assert options["no_base_space"] == "group, N, maximum_frequency"
    for row in rows.values():
        assert "adjoint" not in row["options"]
        assert row["symmetry"]


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


@pytest.mark.parametrize(
    "name", ["octaOnR3", "fullOctaOnR3", "icoOnR3", "fullIcoOnR3", "dihedralOnR3", "rot3dOnR3", "conicalOnR3"]
)
def test_the_name_of_an_element_in_space_says_which_one_it_is(name):
    """The matrix is built again from the angle and the axis in the name: the axis has a sign."""
    space = gequi.gspace(name, **({"N": 7} if name in ("dihedralOnR3", "conicalOnR3") else {}))
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
        if turn == 180:  # both directions are right: the first of the largest components is positive
            assert axis[np.argmax(np.abs(axis) > 0.99)] > 0


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("flipRot2dOnR2", {"N": 12}),
        ("flipRot2dOnR2", {"N": 7}),
        *(("flip2dOnR2", {"axis": a}) for a in (0, 0.3, np.pi)),
    ],
)
def test_the_name_of_an_element_in_the_plane_says_which_one_it_is(name, options):
    """A rotation has its angle, a mirror the angle of the line that it leaves in place."""
    space = gequi.gspace(name, **options)
    for row, element in zip(gequi.group_elements(space), gequi.groups.elements(space), strict=True):
        matrix, degrees = base_matrix(space, element), float(re.search(r"-?[0-9.]+", row["name"]).group())
        along, across = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
        assert row["reflection"] is row["name"].startswith("mirror ")
        if row["reflection"]:
            np.testing.assert_allclose(matrix @ [along, across], [along, across], atol=1e-3)
            assert (0 <= degrees < 180, row["angle"]) == (True, 0)
        else:
            np.testing.assert_allclose(matrix, [[along, -across], [across, along]], atol=1e-3)
            assert row["angle"] == pytest.approx(np.deg2rad(degrees), abs=1e-4)
            assert 0 <= degrees < 360


def test_an_element_that_acts_on_no_space_is_exact_and_has_no_angle():
    space = gequi.gspace("no_base_space", group="dihedral_group", N=3)
    rows = gequi.group_elements(space)
    assert len({row["name"] for row in rows}) == 6
    assert all(np.isnan(row["angle"]) and row["exact"] and not row["reflection"] for row in rows)
    assert {base_matrix(space, element).shape for element in gequi.groups.elements(space)} == {(0, 0)}


def test_only_signed_permutations_of_the_axes_keep_the_grid():
    for matrix in itertools.product((-1, 0, 1), repeat=4):
        matrix = np.reshape(matrix, (2, 2)).astype(float)
        if np.linalg.det(matrix):
            turns = np.array_equal(matrix @ matrix.T, np.eye(2))
            assert keeps_grid(matrix) == keeps_grid(matrix + 1e-12) == turns
            assert not keeps_grid(matrix + 1e-3)
    for degrees in (5, 30, 45, 60):
        assert not keeps_grid(Rotation.from_rotvec([0, 0, np.deg2rad(degrees)]).as_matrix())


def test_only_quarter_turns_and_mirrors_along_the_grid_or_its_diagonals_are_exact():
    rows = gequi.group_elements(gequi.gspace("flipRot2dOnR2", N=8))
    exact = [row["name"] for row in rows if row["exact"]]
    assert exact == ["0°", "90°", "180°", "270°", "mirror 90°", "mirror 135°", "mirror 0°", "mirror 45°"]
    assert [row["reflection"] for row in rows] == [False] * 8 + [True] * 8


def test_angles_are_radians():
    angles = [row["angle"] for row in gequi.group_elements(gequi.gspace("rot2dOnR2", N=4))]
    np.testing.assert_allclose(angles, np.arange(4) * np.pi / 2)


@pytest.mark.parametrize(("name", "options"), [*FINITE, ("cylindricalOnR3", {"N": 2})])
def test_the_table_of_representations_says_of_each_what_its_matrices_do(name, options):
    space = gequi.gspace(name, **options)
    order = len(gequi.group_elements(space))
    rows = {row["name"]: row for row in gequi.representations(space)}
    assert (rows["trivial"]["size"], rows["regular"]["size"]) == (1, order)
    assert rows["regular"]["irreducible"] is (order == 1)
    assert all(row["irreducible"] for name, row in rows.items() if name != "regular")
    for name in ("trivial", "regular", *[name for name in rows if name.startswith("irrep")]):
        rho = np.array([gequi.representation_matrix(space, name, g) for g in range(order)])
        assert rho.shape == (order, rows[name]["size"], rows[name]["size"])
        permutes = np.isclose(rho, 0, atol=1e-9) | np.isclose(rho, 1, atol=1e-9)
        if name in ("trivial", "regular") or not permutes.all():  # the other irreps of size 1 are as good as trivial
            assert rows[name]["pointwise"] is bool(permutes.all())


@pytest.mark.parametrize(
    ("name", "options", "names"),
    [
        ("rot2dOnR2", {}, ["trivial", *(f"irrep_{k}" for k in range(7))]),
        ("rot2dOnR2", {"maximum_frequency": 0}, ["trivial", "irrep_0"]),
        ("flipRot2dOnR2", {"maximum_frequency": 1}, ["trivial", "irrep_0,0", "irrep_1,0", "irrep_1,1"]),
        ("no_base_space", {"group": "so3_group", "maximum_frequency": 1}, ["trivial", "irrep_0", "irrep_1"]),
        ("no_base_space", {"group": "so2_group", "maximum_frequency": 1}, ["trivial", "irrep_0", "irrep_1"]),
    ],
)
def test_a_continuous_group_has_the_irreps_up_to_the_frequency_asked_for(name, options, names):
    escnn.group.so2_group(9)  # escnn's groups are singletons that only grow
    escnn.group.o2_group(9)
    escnn.group.so3_group(2)
    assert [row["name"] for row in gequi.representations(gequi.gspace(name, **options))] == names


def test_a_gspace_that_escnn_made_has_the_irreps_that_escnn_gave_it():
    space = escnn.gspaces.rot2dOnR2(maximum_frequency=3)
    names = [row["name"] for row in gequi.representations(space)]
    assert names == ["trivial", *(irrep.name for irrep in space.irreps)]
    assert len(names) >= 5


@pytest.mark.parametrize(("name", "options"), [("octaOnR3", {}), ("icoOnR3", {}), ("rot3dOnR3", {})])
def test_the_standard_representation_moves_vectors_as_the_group_moves_points(name, options):
    space = gequi.gspace(name, **options)
    traces = [
        (np.trace(gequi.representation_matrix(space, "standard", g)), np.trace(base_matrix(space, element)))
        for g, element in enumerate(gequi.groups.elements(space))
    ]
    np.testing.assert_allclose(*zip(*traces, strict=True), atol=1e-9)


def test_a_representation_matrix_belongs_to_its_caller():
    space = gequi.gspace("rot2dOnR2", N=4)
    before = gequi.representation_matrix(space, "irrep_1", 1)
    before[:] = 7
    np.testing.assert_allclose(gequi.representation_matrix(space, "irrep_1", 1), [[0, -1], [1, 0]], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "options", "subgroup"),
    [("rot2dOnR2", {"N": 8}, "2"), ("flipRot2dOnR2", {"N": 4}, "None,2"), ("flipRot2dOnR2", {"N": 4}, "0, 1"),
     ("cylindricalOnR3", {"N": 2}, "True,2")],
)  # fmt: skip
def test_a_quotient_is_induced_from_the_trivial_representation(name, options, subgroup):
    space = gequi.gspace(name, **options)
    for g in range(len(gequi.group_elements(space))):
        rho = gequi.representation_matrix(space, f"quotient({subgroup})", g)
        np.testing.assert_allclose(np.sort(rho, axis=0)[-1], 1, atol=1e-12)  # it permutes the cosets
        if name == "rot2dOnR2":
            for induced in (f"induced({subgroup})", f"induced({subgroup}; irrep_0)"):
                trace = np.trace(gequi.representation_matrix(space, induced, g))
                assert trace == pytest.approx(np.trace(rho), abs=1e-9)


def test_quotient_induced_and_fourier_representations_go_by_name():
    def size(space, name):
        return len(gequi.representation_matrix(space, name, 1))

    c8, d4, so2 = gequi.gspace("rot2dOnR2", N=8), gequi.gspace("flipRot2dOnR2", N=4), gequi.gspace("rot2dOnR2")
    assert size(c8, "quotient(2)") == 4
    assert size(c8, "induced(2; irrep_1)") == 4
    assert size(d4, "quotient(None,2)") == 4
    assert (size(so2, "fourier(2)"), size(so2, "fourier(0)")) == (5, 1)


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
        (lambda: gequi.gspace("flip2dOnR2", axis="x"), InputError, "`axis` must be a finite number"),
        (lambda: gequi.gspace("rot2dOnR2", N=-2), InputError, "`N` must be at least -1; got -2"),
        (lambda: gequi.gspace("rot2dOnR2", maximum_frequency=-1), InputError, "`maximum_frequency` must be at least 0"),
        (lambda: gequi.gspace("no_base_space", group="so3_group", N=4), InputError, "unknown option `N`"),
        *((lambda call=call: call("C4"), InputError, "`space` must be a gspace")
          for call in (gequi.cayley_table, gequi.representations, gequi.group_elements, gequi.groups.describe_gspace)),
        (lambda: gequi.representation_matrix("C4", "trivial", 0), InputError, "`space` must be a gspace"),
        (lambda: gequi.representation_matrix(C4(), 3, 0), FieldError, "`representation` must be a name; got 3"),
        (lambda: gequi.representation_matrix(C4(), "standard", 0), FieldError, "`representation` must be one of"),
        (lambda: gequi.representation_matrix(SO2(), "fourier(-1)", 0), FieldError, "must be at least 0; got -1"),
        (lambda: gequi.representation_matrix(gequi.gspace("rot2dOnR2", N=1), "fourier(1)", 0), FieldError, "C1 is finite"),
        (lambda: gequi.groups.describe_gspace(escnn.gspaces.rot2dOnR2(4)), InputError, "must come from gequi.gspace"),
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

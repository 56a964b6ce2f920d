"""groups: the results of R and Python are equal."""

import pytest

import gequi

SPACES = [
    ("rot2dOnR2", {"N": 4}), ("rot2dOnR2", {"N": 8}), ("flipRot2dOnR2", {"N": 4}), ("flip2dOnR2", {"axis": 0.5}),
    ("rot2dOnR2", {"maximum_frequency": 2}), ("trivialOnR2", {}), ("octaOnR3", {}), ("dihedralOnR3", {"N": 2}),
    ("no_base_space", {"group": "dihedral_group", "N": 3}),
    ("no_base_space", {"group": "so3_group", "maximum_frequency": 2}),
]  # fmt: skip


def test_gspaces(r, same):
    same(r.value(r.gspaces()), [{**row, "options": row["options"]} for row in gequi.gspaces()])


@pytest.mark.parametrize(("name", "options"), SPACES)
def test_group_elements(r, same, counted_from_one, name, options):
    theirs = r.value(r.group_elements(r.gspace(name, **options)))
    same(theirs, counted_from_one(gequi.group_elements(gequi.gspace(name, **options))))


@pytest.mark.parametrize(("name", "options"), SPACES)
def test_representations_and_their_matrices(r, same, name, options):
    theirs, ours = r.gspace(name, **options), gequi.gspace(name, **options)
    rows = gequi.representations(ours)
    same(r.value(r.representations(theirs)), rows)
    for row in rows:
        for element in (0, len(gequi.group_elements(ours)) - 1):
            rho = r.value(r.representation_matrix(theirs, row["name"], element + 1))
            same(rho, gequi.representation_matrix(ours, row["name"], element))


@pytest.mark.parametrize("named", ["quotient(2)", "induced(2; irrep_1)"])
def test_representations_by_a_subgroup(r, same, named):
    rho = r.value(r.representation_matrix(r.gspace("rot2dOnR2", N=4), named, 2))
    same(rho, gequi.representation_matrix(gequi.gspace("rot2dOnR2", N=4), named, 1))


@pytest.mark.parametrize(("name", "options"), [space for space in SPACES if "maximum_frequency" not in space[1]])
def test_cayley_table(r, same, name, options):
    same(r.value(r.cayley_table(r.gspace(name, **options))), gequi.cayley_table(gequi.gspace(name, **options)) + 1)

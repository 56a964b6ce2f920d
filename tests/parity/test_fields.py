"""fields: the results of R and Python are equal."""

import numpy as np
import pytest

import gequi
from gequi.fields import describe_fields

FIELDS = [{"trivial": 1}, {"regular": 2, "irrep_1": 1}, {"quotient(2)": 1}, ["regular", "trivial"], "irrep_1"]


@pytest.mark.parametrize("fields", FIELDS)
def test_field_type(r, fields):
    theirs = r.field_type(r.gspace("rot2dOnR2", N=4), fields)
    ours = gequi.field_type(gequi.gspace("rot2dOnR2", N=4), fields)
    assert r.value(theirs.rx2("size")) == ours.size
    table = r.value(r.code("as.data.frame(type)", type=theirs))
    assert [(row["representation"], row["count"]) for row in table] == describe_fields(ours)
    assert table[-1]["last_channel"] == ours.size


@pytest.mark.parametrize(("name", "options", "size"), [
    ("rot2dOnR2", {"N": 8}, (5, 6)), ("flipRot2dOnR2", {"N": 4}, (5, 6)), ("octaOnR3", {}, (3, 4, 5)),
    ("no_base_space", {"group": "cyclic_group", "N": 4}, ()),
])  # fmt: skip
def test_transform_field(r, same, random, name, options, size):
    fields = {"regular": 1, "irrep_1": 1} if name != "flipRot2dOnR2" else {"regular": 1, "irrep_1,1": 1}
    space = gequi.gspace(name, **options)
    ours, theirs = gequi.field_type(space, fields), r.field_type(r.gspace(name, **options), fields)
    x = random.normal(size=(2, ours.size, *size))
    for element in range(len(gequi.group_elements(space))):
        same(r.value(r.transform_field(x, theirs, element + 1)), gequi.transform_field(x, ours, element))


def test_transform_field_of_a_single_image(r, same):
    x = np.arange(6.0).reshape(2, 3)
    theirs = r.transform_field(x, r.field_type(r.gspace("rot2dOnR2", N=4), "trivial"), 2)
    same(r.value(theirs), gequi.transform_field(x, gequi.field_type(gequi.gspace("rot2dOnR2", N=4), "trivial"), 1))

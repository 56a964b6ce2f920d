"""fields: types of features and how elements transform them."""

import numpy as np
import pytest
import torch

import gequi
from gequi._escnn import GeometricTensor
from gequi.errors import FieldError, InputError, ShapeError
from gequi.fields import act, describe_fields, show_fields, spectral_frequency

C4 = gequi.gspace("rot2dOnR2", N=4)


def test_a_type_has_its_channels_in_the_order_given():
    fields = gequi.field_type(C4, {"regular": 4, "irrep_1": 2})
    assert fields.size == 20
    assert show_fields(fields) == "4 regular + 2 irrep_1"


def test_fields_may_be_a_mapping_pairs_or_names():
    for fields in ({"trivial": 1, "regular": 2}, [("trivial", 1), ["regular", 2.0]], ["trivial", "regular", "regular"]):
        assert describe_fields(gequi.field_type(C4, fields)) == [("trivial", 1), ("regular", 2)]
    assert describe_fields(gequi.field_type(C4, "regular")) == [("regular", 1)]


def test_a_name_may_come_twice():
    fields = gequi.field_type(C4, [("trivial", 1), ("regular", 1), ("trivial", 1)])
    assert describe_fields(fields) == [("trivial", 1), ("regular", 1), ("trivial", 1)]


@pytest.mark.parametrize(
    ("name", "options", "fields", "size"),
    [
        ("rot2dOnR2", {"N": 4}, {"regular": 2, "irrep_1": 1}, (5, 7)),
        ("flipRot2dOnR2", {"N": 4}, {"regular": 1, "irrep_1,1": 1, "quotient(None,2)": 2}, (6, 5)),
        ("flip2dOnR2", {}, {"regular": 1, "irrep_1": 1}, (4, 5)),
        ("octaOnR3", {}, {"irrep_1": 1, "trivial": 2}, (4, 5, 6)),
        ("fullOctaOnR3", {}, {"trivial": 1, "irrep_[(1,),(1,)](0)": 1}, (4, 5, 6)),
        ("mirOnR3", {}, {"regular": 1}, (4, 5, 6)),
        ("no_base_space", {"group": "so3_group"}, {"irrep_1": 2, "irrep_2": 1}, ()),
    ],
)
def test_exact_elements_act_as_escnn_lets_them_act(name, options, fields, size, random, dtype):
    space = gequi.gspace(name, **options)
    type = gequi.field_type(space, fields)
    x = random.normal(size=(2, type.size, *size)).astype(dtype)
    group = space.fibergroup
    members = group.elements if group.order() > 0 else list(group.testing_elements())
    for number, element in enumerate(members):
        ours = gequi.transform_field(x, type, number)
        theirs = GeometricTensor(torch.tensor(x), type).transform(element).tensor.numpy()
        assert ours.dtype == x.dtype
        np.testing.assert_allclose(ours, theirs, atol={"float32": 1e-5, "float64": 1e-13}[dtype])


def test_element_one_of_c4_is_the_counter_clockwise_quarter_turn(random):
    x = random.normal(size=(5, 7))
    turned = gequi.transform_field(x, gequi.field_type(C4, "trivial"), 1)
    np.testing.assert_array_equal(turned, np.rot90(x))


def test_the_four_turns_of_the_vander_matrix_that_the_post_prints():
    x = np.vander(np.arange(4.0))
    type = gequi.field_type(C4, "trivial")
    printed = [
        [[1, 1, 1, 1], [0, 1, 2, 3], [0, 1, 4, 9], [0, 1, 8, 27]],
        [[1, 3, 9, 27], [1, 2, 4, 8], [1, 1, 1, 1], [1, 0, 0, 0]],
        [[27, 8, 1, 0], [9, 4, 1, 0], [3, 2, 1, 0], [1, 1, 1, 1]],
        [[0, 0, 0, 1], [1, 1, 1, 1], [8, 4, 2, 1], [27, 9, 3, 1]],
    ]
    for expected in printed:
        x = gequi.transform_field(x, type, 1)
        np.testing.assert_array_equal(x, expected)


@pytest.mark.parametrize("fields", ["regular", "irrep_1,1", "irrep_1,2"])
def test_exact_elements_compose_to_the_bit(fields, random):
    type = gequi.field_type(gequi.gspace("flipRot2dOnR2", N=4), fields)
    table = gequi.cayley_table(type.gspace)
    x = random.normal(size=(1, type.size, 5, 5))
    for g in range(8):
        for h in range(8):
            once = gequi.transform_field(x, type, table[g, h])
            twice = gequi.transform_field(gequi.transform_field(x, type, h), type, g)
            np.testing.assert_array_equal(once, twice)


def test_other_angles_turn_a_smooth_image_about_its_centre():
    type = gequi.field_type(gequi.gspace("rot2dOnR2", N=8), "trivial")
    row, column = np.mgrid[-10:11, -10:11]

    def blob(x, y):
        return np.exp(-((column - x) ** 2 + (-row - y) ** 2) / 6)

    turned = gequi.transform_field(blob(4, 0), type, 1)
    np.testing.assert_allclose(turned, blob(4 * np.cos(np.pi / 4), 4 * np.sin(np.pi / 4)), atol=2e-3)


@pytest.mark.parametrize("size", [(4, 7, 8), (5, 9, 9)])
def test_a_turn_about_an_axis_of_a_volume_turns_each_of_its_slices(size, random):
    volume = random.normal(size=size)
    about_z, in_plane = (gequi.field_type(gequi.gspace(f"rot2dOnR{n}", N=8), "trivial") for n in (3, 2))
    for element in range(8):
        expected = [gequi.transform_field(image, in_plane, element) for image in volume]
        np.testing.assert_allclose(gequi.transform_field(volume, about_z, element), expected, rtol=0, atol=1e-12)


def test_an_element_mixes_the_channels_of_turned_images_by_its_matrix(random):
    space = gequi.gspace("rot2dOnR2", N=8)
    type, trivial = gequi.field_type(space, {"irrep_1": 1, "irrep_3": 1}), gequi.field_type(space, {"trivial": 4})
    x = random.normal(size=(2, 4, 6, 7))
    for element in range(8):
        rho = np.asarray(type.representation(gequi.groups.elements(space)[element]))
        expected = np.einsum("ij, bjrc -> birc", rho, gequi.transform_field(x, trivial, element))
        np.testing.assert_allclose(gequi.transform_field(x, type, element), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 2e-6)])
def test_channels_turn_together_as_they_do_alone_in_either_type(dtype, tolerance, random):
    space = gequi.gspace("rot2dOnR2", N=8)
    one, three = (gequi.field_type(space, {"trivial": count}) for count in (1, 3))
    x = random.normal(size=(1, 3, 9, 8))
    together = gequi.transform_field(x.astype(dtype), three, 1)
    alone = [gequi.transform_field(x[:, [channel]], one, 1) for channel in range(3)]  # summed in another way
    assert together.dtype == dtype
    np.testing.assert_allclose(together, np.concatenate(alone, 1), rtol=0, atol=tolerance)


def test_the_input_is_left_as_it_was(random):
    x = random.normal(size=(1, 1, 5, 5))
    before = x.copy()
    gequi.transform_field(x, gequi.field_type(C4, "trivial"), 1)[:] = 0
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize(
    ("name", "options", "fields"),
    [
        ("rot2dOnR2", {"N": 8}, [("quotient(2)", 2), ("induced(2; irrep_1)", 1), ("irrep_2", 3), ("quotient(2)", 1)]),
        ("flipRot2dOnR2", {"N": 4}, [("quotient(None,2)", 1), ("irrep_1,1", 2), ("trivial", 1)]),
        ("rot2dOnR2", {}, [("fourier(2)", 2), ("fourier(1)", 1), ("irrep_1", 1)]),
    ],
)
def test_a_type_is_made_again_from_the_names_that_describe_it(name, options, fields):
    type = gequi.field_type(gequi.gspace(name, **options), fields)
    assert describe_fields(type) == fields
    assert gequi.field_type(type.gspace, describe_fields(type)).size == type.size


def test_the_frequency_of_fourier_fields_is_theirs_where_all_have_the_same():
    space = gequi.gspace("rot2dOnR2")

    def frequency(*fields):
        return spectral_frequency(gequi.field_type(space, fields))

    assert [frequency("fourier(2)"), frequency("fourier(3)", "fourier(3)")] == [2, 3]
    for fields in (["fourier(2)", "fourier(1)"], ["fourier(2)", "trivial"], ["trivial"], ["irrep_1"]):
        assert frequency(*fields) is None


def test_features_without_positions_are_transformed_by_their_matrix_alone(random):
    type = gequi.field_type(gequi.gspace("rot2dOnR2", N=8), {"irrep_1": 1, "regular": 1})
    x = random.normal(size=(3, 10))
    for element in range(8):
        turned = act(x, type, gequi.groups.elements(type.gspace)[element])
        np.testing.assert_allclose(
            turned, x @ np.asarray(type.representation(type.gspace.fibergroup.elements[element])).T
        )


@pytest.mark.parametrize("number", [np.uint8, np.int64, np.float16, bool])
def test_whole_numbers_and_short_ones_are_computed_with_in_float64(number):
    x, space = np.arange(49).reshape(1, 1, 7, 7).astype(number), gequi.gspace("rot2dOnR2", N=8)
    for element in (1, 2):
        ours = gequi.transform_field(x, gequi.field_type(space, "trivial"), element)
        expected = gequi.transform_field(x.astype(np.float64), gequi.field_type(space, "trivial"), element)
        assert ours.dtype == np.float64
        np.testing.assert_array_equal(ours, expected)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: gequi.transform_field(np.ones((3, 3)), gequi.field_type(C4, {"trivial": 2}), 1), ShapeError, "`x` must have 4 axes"),
        (lambda: gequi.transform_field(1.0, gequi.field_type(gequi.gspace("no_base_space", group="cyclic_group", N=2), "trivial"), 1),
         ShapeError, "`x` must have 2 axes"),
        (lambda: gequi.field_type(C4, {"regulr": 1}), FieldError, r"`fields` must be one of .* Did you mean 'regular'\?"),
        (lambda: gequi.field_type(C4, {}), FieldError, "`fields` is empty"),
        (lambda: gequi.field_type(C4, 4), FieldError, "`fields` must map names"),
        (lambda: gequi.field_type(C4, [("regular", 1, 2)]), FieldError, "`fields` must pair a name with a count"),
        (lambda: gequi.field_type(C4, {"regular": 4.7}), InputError, r"`fields\$regular` must be a whole number; got 4.7"),
        (lambda: gequi.field_type(C4, {"regular": 0}), InputError, r"`fields\$regular` must be at least 1"),
        (lambda: gequi.field_type("C4", {"regular": 1}), InputError, "`space` must be a gspace"),
        (lambda: gequi.field_type("C4", {}), InputError, "`space` must be a gspace"),
        (lambda: gequi.transform_field(np.ones((1, 2, 3, 3)), gequi.field_type(C4, "trivial"), 1), ShapeError,
         r"`x` must have 1 on its axis 'channel' \(1 trivial\); got 2"),
        (lambda: gequi.transform_field(np.ones((2, 3, 3)), gequi.field_type(C4, "trivial"), 1), ShapeError, "axes"),
        (lambda: gequi.transform_field(np.ones((3, 3)), {"trivial": 1}, 1), InputError, "`type` must be a field type"),
        (lambda: gequi.transform_field(np.ones((3, 3)), gequi.field_type(C4, "trivial"), 9), InputError, "`element`"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(call, kind, message):
    with pytest.raises(kind, match=message):
        call()

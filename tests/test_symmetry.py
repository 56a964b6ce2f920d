"""symmetry: measured equivariance errors of all operators."""

import numpy as np
import pytest
import torch
from scipy import ndimage

import gequi
from gequi.errors import ExactnessWarning, FieldError, InputError, ShapeError
from gequi.symmetry import equivariance_maps, interpolation
from gequi.symmetry.interpolation import error_and_floor, smooth_input
from gequi.symmetry.operators import make_operator

C4 = gequi.gspace("rot2dOnR2", N=4)


def conv(fields="regular", kernel_size=3, **options):
    return {"layer": "conv", "fields": fields, "kernel_size": kernel_size, **options}


def exact_errors(table):
    return [row["error"] for row in table if row["exact"]]


# ---- exact groups ---------------------------------------------------------------------------------------

EXACT = [("rot2dOnR2", {"N": n}) for n in (1, 2, 4)] + [("flipRot2dOnR2", {"N": n}) for n in (1, 2, 4)]
EXACT += [("flip2dOnR2", {}), ("trivialOnR2", {})]


@pytest.mark.parametrize("size", [(9, 9), (10, 10), (9, 12)])
@pytest.mark.parametrize(("name", "options"), EXACT)
def test_conv_relu_conv_is_equivariant_to_every_exact_group_of_the_plane(name, options, size, dtype, exactness, random):
    space = gequi.gspace(name, **options)
    net = gequi.equivariant_network(
        space, "trivial", [conv({"regular": 3}), {"layer": "relu"}, conv({"regular": 2}, 5)], seed=1
    )
    table = gequi.equivariance_error(net, random.normal(size=(2, 1, *size)), dtype=dtype)
    assert len(table) == space.fibergroup.order() == len(exact_errors(table))
    assert max(exact_errors(table)) <= exactness


@pytest.mark.parametrize("length", [6, 7])
def test_conv_relu_conv_is_equivariant_to_the_octahedral_group(length, dtype, exactness, random):
    space = gequi.gspace("octaOnR3")
    net = gequi.equivariant_network(space, "trivial", [conv(), {"layer": "relu"}, conv()], seed=1)
    table = gequi.equivariance_error(net, random.normal(size=(1, 1, length, length, length)), dtype=dtype)
    assert len(exact_errors(table)) == 24
    assert max(exact_errors(table)) <= exactness


def test_of_the_turns_of_c8_the_quarter_turns_are_exact_and_the_others_are_reported(dtype, exactness, random):
    net = gequi.equivariant_network(
        gequi.gspace("rot2dOnR2", N=8), "trivial", [conv(), {"layer": "relu"}, conv()], seed=1
    )
    table = gequi.equivariance_error(net, random.normal(size=(1, 1, 12, 12)), dtype=dtype)
    assert [row["exact"] for row in table] == [True, False] * 4
    assert max(exact_errors(table)) <= exactness
    assert min(row["error"] for row in table if not row["exact"]) > 1e-2


# ---- every kind of layer --------------------------------------------------------------------------------

VECTORS = {"trivial": 2, "irrep_1": 2}
KINDS = {
    "conv": ([conv(padding=1, stride=2, dilation=2, padding_mode="reflect")], "trivial"),
    "conv with groups": ([conv({"regular": 4}), conv({"regular": 4}, groups=2)], "trivial"),
    "conv_transposed": ([conv(), {"layer": "conv_transposed", "fields": VECTORS, "kernel_size": 3, "stride": 2}], "trivial"),
    "batch_norm": ([conv(), {"layer": "batch_norm"}], "trivial"),
    "batch_norm of vectors": ([conv(VECTORS), {"layer": "batch_norm"}], "trivial"),
    "relu": ([conv("quotient(2)"), {"layer": "relu"}], "trivial"),
    "elu": ([conv(), {"layer": "elu"}], "trivial"),
    "antialiased relu": ([conv("quotient(2)"), {"layer": "relu", "antialiased": True}], "trivial"),
    "enlarge": ([conv(VECTORS), {"layer": "enlarge"}], "trivial"),
    "leaky_relu": ([conv(), {"layer": "leaky_relu"}], "trivial"),
    "norm_nonlinearity": ([conv(VECTORS), {"layer": "norm_nonlinearity"}], "trivial"),
    "squash": ([conv(VECTORS), {"layer": "norm_nonlinearity", "function": "squash"}], "trivial"),
    "gated_nonlinearity": ([conv(VECTORS), {"layer": "gated_nonlinearity"}], "trivial"),
    "max_pool": ([conv(), {"layer": "max_pool", "kernel_size": 3, "stride": 2}], "trivial"),
    "antialiased max_pool": ([conv(), {"layer": "max_pool", "kernel_size": 3, "stride": 2, "antialiased": True}], "trivial"),
    "avg_pool": ([conv(VECTORS), {"layer": "avg_pool", "kernel_size": 3, "stride": 2}], "trivial"),
    "antialiased avg_pool": ([conv(), {"layer": "avg_pool", "stride": 2, "antialiased": True}], "trivial"),
    "global_avg_pool": ([conv(VECTORS), {"layer": "global_avg_pool"}], "trivial"),
    "upsample": ([conv(VECTORS), {"layer": "upsample", "scale_factor": 2}], "trivial"),
    "upsample by corners": ([conv(), {"layer": "upsample", "scale_factor": 3, "align_corners": True}], "trivial"),
    "dropout": ([conv(), {"layer": "dropout"}], "trivial"),
    "field_dropout": ([conv(VECTORS), {"layer": "field_dropout"}], "trivial"),
    "restrict": ([conv(), {"layer": "restrict", "subgroup": 2}, {"layer": "relu"}, conv("irrep_1")], "trivial"),
    "mask": ([{"layer": "mask"}, conv()], "trivial"),
    "flatten and linear": (
        [conv(VECTORS), {"layer": "global_avg_pool"}, {"layer": "flatten"}, {"layer": "linear", "fields": VECTORS}], "trivial"
    ),
    "group_pool and dense": (
        [conv({"regular": 3}), {"layer": "global_avg_pool"}, {"layer": "group_pool"}, {"layer": "dense", "units": 5}], "trivial"
    ),
    "group_pool by mean": ([conv(), {"layer": "group_pool", "reduction": "mean"}], "trivial"),
    "norm_pool": ([conv(VECTORS), {"layer": "norm_pool"}], "trivial"),
    "residual": (
        [conv(VECTORS), {"layer": "residual", "layers": [conv(VECTORS, padding=1), {"layer": "batch_norm"}],
                         "shortcut": [conv(VECTORS, 1)]}], "trivial"
    ),
    "skip": (
        [conv(VECTORS), {"layer": "skip", "layers": [conv({"regular": 2}, padding=1), {"layer": "relu"}]}], "trivial"
    ),
    "softmax": ([conv(), {"layer": "group_pool"}, conv({"trivial": 3}, 1), {"layer": "softmax"}], "trivial"),
    "oriented_gradients": ([{"layer": "oriented_gradients", "signed": False}, conv()], "trivial"),
    "ring_descriptor": ([{"layer": "oriented_gradients"}, {"layer": "ring_descriptor", "token": 3}], "trivial"),
    "local_normalization": ([{"layer": "local_normalization"}, conv()], "trivial"),
    "token_pool": ([conv(VECTORS), {"layer": "token_pool", "token": 2}], "trivial"),
    "token_norm": ([conv({"regular": 2}), {"layer": "token_norm"}], "trivial"),
    "vector input": ([conv(VECTORS, 5)], {"irrep_1": 1, "trivial": 1}),
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_layer_is_equivariant(name, dtype, exactness, random):
    layers, fields = KINDS[name]
    net = gequi.equivariant_network(C4, fields, layers, seed=1)
    x = random.normal(size=(2, net.in_type.size, 11, 13))
    assert max(exact_errors(gequi.equivariance_error(net, x, dtype=dtype))) <= exactness


def test_every_kind_that_exists_is_checked_here():
    checked = {layer["layer"] for layers, _ in KINDS.values() for layer in layers} | {"fourier_elu"}
    assert checked == {row["kind"] for row in gequi.layer_kinds() if row["kind"] not in ELSEWHERE}


# Kinds of layers with a law of their own, checked by the tests of their subject.
ELSEWHERE: set[str] = {
    "lifting_attention", "group_attention", "group_attention_block",  # test_group_attention.py
    "posewise_attention", "posewise_attention_block",  # test_posewise_attention.py
    "patch_embedding", "patch_expansion", "patch_merging",  # test_equivariant_vit.py
    "sphere_descriptor",  # test_encoders.py
}  # fmt: skip


def test_fourier_elu_keeps_the_quarter_turns_of_a_continuous_group(dtype, exactness, random):
    space = gequi.gspace("rot2dOnR2", maximum_frequency=3)
    net = gequi.equivariant_network(
        space, "trivial", [conv({"fourier(2)": 3}, 5), {"layer": "fourier_elu"}, conv("irrep_1", 5)], seed=1
    )
    table = gequi.equivariance_error(net, random.normal(size=(1, 1, 13, 13)), dtype=dtype)
    assert len(table) == 52
    assert len(exact_errors(table)) == 4
    assert max(exact_errors(table)) <= exactness


@pytest.mark.parametrize(
    ("group", "fields"),
    [
        ({"group": "so3_group", "maximum_frequency": 2}, {"irrep_0": 2, "irrep_1": 3, "irrep_2": 1}),
        ({"group": "o2_group"}, {"irrep_0,0": 1, "irrep_1,1": 2, "irrep_1,2": 1}),
        ({"group": "dihedral_group", "N": 5}, {"regular": 2}),
    ],
)
def test_networks_on_vectors_are_equivariant_to_every_element_of_any_group(group, fields, dtype, exactness, random):
    space = gequi.gspace("no_base_space", **group)
    layers = [{"layer": "linear", "fields": fields}, {"layer": "batch_norm"}, {"layer": "norm_nonlinearity"},
              {"layer": "linear", "fields": fields}]  # fmt: skip
    net = gequi.equivariant_network(space, fields, layers, seed=1)
    table = gequi.equivariance_error(net, random.normal(size=(5, net.in_type.size)), dtype=dtype)
    assert len(table) >= 10
    assert max(row["error"] for row in table) <= exactness


def test_the_networks_of_the_post_are_equivariant_and_invariant(random):
    block = [conv({"regular": 4}), {"layer": "batch_norm"}, {"layer": "relu"}]
    layers = [*block, *block, conv("regular")]
    x = random.normal(size=(1, 1, 17, 17))
    equivariant = gequi.equivariant_network(C4, "trivial", layers, seed=1)
    assert max(exact_errors(gequi.equivariance_error(equivariant, x))) <= 1e-6
    pooled = [*layers, {"layer": "avg_pool", "kernel_size": 11}, {"layer": "group_pool"}]
    invariant = gequi.equivariant_network(C4, "trivial", pooled, seed=1)
    turned = [gequi.predict(invariant, np.rot90(x, k, (2, 3))) for k in range(4)]
    assert np.ptp(turned) <= 1e-6


# ---- what is broken shows -------------------------------------------------------------------------------


def test_a_stride_that_does_not_fit_shows_as_an_error_and_is_warned_of(random):
    net = gequi.equivariant_network(C4, "trivial", [conv(stride=2)], seed=1)
    with pytest.warns(ExactnessWarning, match=r"layer 1 \(conv\)"):
        table = gequi.equivariance_error(net, random.normal(size=(1, 1, 10, 10)))
    assert max(exact_errors(table)) > 0.1


def test_elements_that_a_restriction_gave_up_are_left_out(random):
    net = gequi.equivariant_network(C4, "trivial", [conv(), {"layer": "restrict", "subgroup": 2}], seed=1)
    table = gequi.equivariance_error(net, random.normal(size=(1, 1, 9, 9)))
    assert [row["name"] for row in table] == ["0°", "180°"]


# ---- functions with declared fields ---------------------------------------------------------------------


def test_a_gradient_is_a_vector_field(random):
    def gradient(x):
        down, right = np.gradient(x[:, 0], axis=(1, 2))
        return np.stack([right, -down], axis=1)  # x to the right, y up

    x = random.normal(size=(2, 1, 8, 9))
    assert gequi.is_equivariant(gradient, x, C4, input="trivial", output="irrep_1")
    assert not gequi.is_equivariant(gradient, x, C4, input="trivial", output={"trivial": 2})


def test_an_error_is_relative_to_the_scale_of_the_output(random):
    x = random.normal(size=(1, 1, 6, 6))

    def rolled(scale):
        return gequi.equivariance_error(lambda x: scale * np.roll(x, 1, 2), x, C4, "trivial", "trivial", elements=[1])

    assert rolled(1.0)[0]["error"] == pytest.approx(rolled(1e6)[0]["error"])
    assert rolled(1.0)[0]["error"] == pytest.approx(rolled(-1e-3)[0]["error"])
    y = np.roll(x, 1, 2)
    by_hand = np.abs(np.roll(np.rot90(x, 1, (2, 3)), 1, 2) - np.rot90(y, 1, (2, 3))).max() / np.abs(y).max()
    assert rolled(1.0)[0]["error"] == pytest.approx(by_hand)


def test_a_result_without_spatial_axes_transforms_by_its_fields_alone(random):
    x = random.normal(size=(3, 2, 7, 7))
    assert gequi.is_equivariant(lambda x: x.mean((2, 3)), x, C4, {"irrep_1": 1}, {"irrep_1": 1})
    assert gequi.is_equivariant(
        lambda x: (x**2).sum((1, 2, 3), keepdims=True)[..., 0, 0], x, C4, {"irrep_1": 1}, "trivial"
    )


def test_the_check_prints_nothing(capsys, random):
    gequi.equivariance_error(np.square, random.normal(size=(1, 1, 5, 5)), C4, "trivial", "trivial")
    assert capsys.readouterr() == ("", "")


def test_tolerances_can_be_chosen(random):
    x = random.normal(size=(1, 1, 6, 6))

    def nearly(x):
        return x + 1e-3 * np.roll(x, 1, 2)

    assert not gequi.is_equivariant(nearly, x, C4, "trivial", "trivial")
    assert gequi.is_equivariant(nearly, x, C4, "trivial", "trivial", tolerance=0.1)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_error_counts_whatever_its_sign_and_that_of_the_output(sign):
    """The function treats one corner differently."""
    x = np.zeros((1, 1, 5, 5))
    x[0, 0, 0, 0] = 1

    def f(x):
        return sign * (x * [[3.0] * 5] + 4.0 * (x[:, :, :1, :1] - 1))

    table = gequi.equivariance_error(f, x, C4, "trivial", "trivial")
    value = f(x)
    by_hand = [
        np.abs(f(np.rot90(x, k, (2, 3))) - np.rot90(value, k, (2, 3))).max() / np.abs(value).max() for k in range(4)
    ]
    assert [row["error"] for row in table] == pytest.approx(by_hand)
    assert by_hand[1] > 1
    x = np.array([1.0, 0, 0])
    table = gequi.permutation_error(lambda a: sign * (a - 4 * a[0] - 1), x, 0, 0, permutations=2)
    assert [row["error"] for row in table] == pytest.approx([0.8, 0.8])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_function_gets_the_type_that_is_asked_for_and_is_judged_by_it(dtype, random):
    seen, x = [], random.normal(size=(1, 1, 6, 6))

    def nearly(x):
        seen.append(x.dtype)
        return x + 1e-3 * np.roll(x, 1, 2)

    assert not gequi.is_equivariant(nearly, x, C4, "trivial", "trivial", dtype=dtype)
    gequi.permutation_error(nearly, x, 2, dtype=dtype, seed=1)
    assert {str(each) for each in seen} == {dtype}
    seen.clear()
    gequi.equivariance_error(nearly, x, C4, "trivial", "trivial")
    gequi.permutation_error(nearly, x, 2, seed=1)
    assert {str(each) for each in seen} == {"float64"}


IMAGE = np.arange(25.0).reshape(1, 1, 5, 5)
C8 = gequi.gspace("rot2dOnR2", N=8)
GREY_OF_C4 = gequi.field_type(C4, "trivial")


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ((np.square, IMAGE), InputError, "`space` is missing"),
        ((np.square, IMAGE, C4, "trivial"), InputError, "`output` is missing"),
        ((np.square, IMAGE, "C4", "trivial", "trivial"), InputError, "`space` must be a gspace"),
        ((np.square, IMAGE, "C4", GREY_OF_C4, GREY_OF_C4), InputError, "`space` must be a gspace"),
        ((np.square, IMAGE, C8, GREY_OF_C4, "trivial"), InputError, "`input` must be of the gspace of `space`"),
        ((np.square, IMAGE, C8, "trivial", GREY_OF_C4), InputError, "`output` must be of the gspace of `space`"),
        ((np.square, IMAGE, C4, "trivial", "regulra"), FieldError, r"`output` must be one of .*'regular'\?"),
        ((np.square, IMAGE, C4, "trivial", "regular"), ShapeError, "`f` must return features with 4 channels"),
        ((np.square, IMAGE, C4, "regular", "regular"), ShapeError, "`x` must have 4 on its axis 'channel'"),
        ((np.square, IMAGE, C4, "trivial", "trivial", [4]), InputError, "`elements` must be from 0 to 3; got 4"),
        ((lambda x: x * 0, IMAGE, C4, "trivial", "trivial"), InputError, "zeros only"),
        ((lambda x: x[:, :, :4], IMAGE, C4, "trivial", "trivial"), ShapeError, "`f` gives shape"),
        ((lambda x: x * np.nan, IMAGE, C4, "trivial", "trivial"), InputError, r"`f\(x\)` must be finite"),
        (("f", IMAGE, C4, "trivial", "trivial"), InputError, "`f` must be a network or a function"),
    ],
)
def test_what_cannot_be_checked_is_refused(arguments, kind, message):
    with pytest.raises(kind, match=message):
        gequi.equivariance_error(*arguments)


def test_a_network_declares_its_own_fields():
    net = gequi.equivariant_network(C4, "trivial", [conv()], seed=1)
    for given in ((C4,), (None, "trivial"), (None, None, "regular"), (C4, "trivial", "regular")):
        with pytest.raises(InputError, match="are declared by the network"):
            gequi.equivariance_error(net, IMAGE, *given)


@pytest.mark.parametrize("tolerance", [-1e-9, np.nan, "small"])
def test_a_tolerance_is_a_number_of_at_least_0(tolerance):
    with pytest.raises(InputError, match="`tolerance` must be"):
        gequi.is_equivariant(np.square, IMAGE, C4, "trivial", "trivial", tolerance=tolerance)
    assert gequi.is_equivariant(np.square, IMAGE, C4, "trivial", "trivial", tolerance=0)


# ---- elements that have to interpolate ------------------------------------------------------------------

NOISE = {n: np.random.default_rng(n).normal(size=(1, 1, n, n)) for n in (7, 33)}
KERNEL = np.random.default_rng(1).normal(size=(1, 1, 3, 3))


def slope(x, axis):
    return np.gradient(x, axis=axis)


CONTINUOUS = {
    "nothing": lambda x: x,
    "square": np.square,
    "Laplacian": lambda x: ndimage.laplace(x, mode="constant"),
    "blur": lambda x: ndimage.gaussian_filter(x, [0, 0, 2, 2], mode="constant"),
    "length of the gradient": lambda x: np.hypot(slope(x, 2), slope(x, 3)),
    "mean": lambda x: x.mean((2, 3)),
}
BROKEN = {
    "shift": lambda x: np.roll(x, 1, 3),
    "mirror": lambda x: x[..., ::-1],
    "transposed": lambda x: x.swapaxes(2, 3),
    "kernel": lambda x: ndimage.convolve(x, KERNEL, mode="constant"),
    "blur along the rows": lambda x: ndimage.uniform_filter(x, [0, 0, 1, 3]),
    "slope along the rows": lambda x: slope(x, 3),
    "tenth of a shift": lambda x: x + 0.1 * np.roll(x, 1, 3),
    "ramp of a tenth": lambda x: x * np.linspace(1, 1.1, x.shape[3]),
    "center": lambda x: x + np.arange(x.shape[3]) / x.shape[3],
    "squared difference of curvatures": lambda x: (slope(slope(x, 3), 3) - slope(slope(x, 2), 2)) ** 2,
    "a corner": lambda x: x[:, :, 8, 20],
}
WITHOUT_QUARTER_TURNS = [
    ("rot2dOnR2", {"N": 3}),
    ("rot2dOnR2", {"N": 6}),
    ("flipRot2dOnR2", {"N": 5}),
    ("flip2dOnR2", {"axis": 0.8}),
]


@pytest.mark.parametrize(("group", "options"), WITHOUT_QUARTER_TURNS)
def test_where_no_quarter_turn_is_exact_the_others_are_judged_by_the_floor_of_interpolation(group, options):
    space = gequi.gspace(group, **options)
    fields = {"space": space, "input": "trivial", "output": "trivial"}
    for x in (NOISE[33], NOISE[33][..., :30] + 5):
        assert [name for name, f in CONTINUOUS.items() if not gequi.is_equivariant(f, x, **fields)] == []
        assert [name for name, f in BROKEN.items() if gequi.is_equivariant(f, x, **fields)] == []
    broken = [BROKEN[name] for name in ("shift", "mirror", "kernel", "tenth of a shift", "center")]
    assert not any(gequi.is_equivariant(f, np.ones((1, 1, 33, 40)), **fields) for f in broken)


def test_the_fields_count_under_elements_that_interpolate():
    def gradient(x):
        steps = [ndimage.gaussian_filter(x[:, 0], 2, order=order, axes=(1, 2)) for order in ((0, 1), (1, 0))]
        return np.stack([steps[0], -steps[1]], axis=1)

    space = gequi.gspace("rot2dOnR2", N=8)
    for elements in ([1], [1, 2, 5]):
        assert gequi.is_equivariant(gradient, NOISE[33], space, "trivial", "irrep_1", elements)
        assert not gequi.is_equivariant(gradient, NOISE[33], space, "trivial", {"trivial": 2}, elements)


def test_a_map_of_c4_alone_is_found_out_by_an_element_of_c8(random):
    space = gequi.gspace("rot2dOnR2", N=8)
    f = BROKEN["squared difference of curvatures"]
    assert gequi.is_equivariant(f, NOISE[33], space, "trivial", "trivial")
    assert not gequi.is_equivariant(f, NOISE[33], space, "trivial", "trivial", elements=[1])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_networks_of_three_and_five_rotations_are_judged(dtype):
    for n in (3, 5):
        space = gequi.gspace("rot2dOnR2", N=n)
        layers = [conv({"regular": 4}, 5, padding=2), {"layer": "relu"}, conv("trivial", 5, padding=2)]
        net = gequi.equivariant_network(space, "trivial", layers, seed=1, dtype=dtype)
        assert gequi.is_equivariant(net, NOISE[33])
        assert not gequi.is_equivariant(
            lambda x, net=net: np.roll(gequi.predict(net, x), 1, 3), NOISE[33], space, "trivial", "trivial"
        )


@pytest.mark.parametrize("size", [(21, 21), (21, 27), (27, 21), (9, 11, 9)])
def test_the_smooth_input_is_the_same_function_of_the_place_at_every_resolution(size):
    """Of each block of 3 pixels the middle lies where the pixel of the coarse grid lies."""
    coarse, fine = (smooth_input(np.ones((1, 1, *[n * k for n in size])))[0, 0] for k in (1, 3))
    same = fine[(slice(1, None, 3),) * len(size)]
    np.testing.assert_allclose(same / same.max(), coarse / coarse.max(), rtol=0, atol=1e-12)
    places = np.meshgrid(*[(np.arange(n) - (n - 1) / 2) / (min(size) / 2) for n in size], indexing="ij")
    radius = np.sqrt(sum(place**2 for place in places))
    assert coarse[radius > 0.8].max() < 1e-30  # it vanishes towards the border
    assert (coarse[radius < 0.75] > 0).all()
    assert 0.5 < coarse.max() <= 1
    peak = np.unravel_index(coarse.argmax(), coarse.shape)
    assert radius[peak] < 0.5


@pytest.mark.parametrize("factor", [3.0, -0.5])
def test_the_smooth_input_has_the_scale_of_the_input_and_its_pixels_are_smooth(factor, random):
    x = random.normal(size=(1, 2, 33, 33)) - 4
    smooth = smooth_input(x)
    np.testing.assert_allclose(smooth_input(factor * x), factor * smooth, rtol=1e-12)
    assert 0.4 < np.abs(smooth).max() / np.abs(x).max() <= 1
    rough = np.abs(np.diff(smooth, 2, axis=3)).max() / np.abs(smooth).max()
    assert rough < 0.1  # of the noise nothing is left that a pixel could not hold
    for moved in (smooth[..., ::-1], smooth.swapaxes(2, 3), np.rot90(smooth, 1, (2, 3)), np.rot90(smooth, 2, (2, 3))):
        assert np.abs(moved - smooth).max() > 0.05 * np.abs(smooth).max()  # it has no symmetry


@pytest.mark.parametrize("element", [1, 3, 5])
def test_the_error_of_an_element_that_interpolates_is_relative_and_a_root_mean_square(element):
    """For a vector that should rotate but does not, the error is the chord of the angle."""
    space, x = gequi.gspace("rot2dOnR2", N=8), smooth_input(NOISE[33])
    member = gequi.groups.elements(space)[element]
    operator = make_operator(lambda x: np.array([[3.0, 4.0]]), space, "trivial", "irrep_1", None)
    error, floor = error_and_floor(operator, x, member)
    assert error == pytest.approx(2 * np.sin(element * np.pi / 8))
    same = make_operator(lambda x: x, space, "trivial", "trivial", None)
    for scale in (1.0, 1e-3):
        np.testing.assert_allclose(error_and_floor(operator, scale * x, member), (error, floor), rtol=1e-9)
        np.testing.assert_allclose(error_and_floor(same, scale * x, member), (0, 2 * floor), rtol=1e-9, atol=1e-12)


def test_what_lies_in_the_corners_does_not_count_and_the_rim_of_the_disc_does():
    space, x = gequi.gspace("rot2dOnR2", N=8), smooth_input(NOISE[33][..., :31])
    member = gequi.groups.elements(space)[1]
    rows, columns = np.mgrid[:33, :31]
    away = np.hypot(rows - 16, columns - 15)

    def errors(where):
        f = make_operator(lambda x: x + np.where(where, 1e-2, 0.0) * np.arange(31), space, "trivial", "trivial", None)
        return error_and_floor(f, x, member)[0]

    rim = errors((away <= 15) & (away > 14.5))
    assert rim > 1e-3
    assert errors(away > 20) < 0.01 * rim  # interpolation carries a little of it into the disc


def test_the_largest_floor_decides_whether_the_input_is_too_small():
    x = np.random.default_rng(3).normal(size=(1, 1, 9, 9))
    for elements in ([1], [1, 3], [1, 2, 3]):
        with pytest.raises(InputError, match="`x` is too small for the test"):
            gequi.is_equivariant(np.square, x, gequi.gspace("rot2dOnR2", N=12), "trivial", "trivial", elements)


def test_volumes_are_judged_too():
    space = gequi.gspace("rot2dOnR3", N=3)
    x = np.random.default_rng(1).normal(size=(1, 1, 21, 21, 21))
    fields = {"space": space, "input": "trivial", "output": "trivial"}
    assert gequi.is_equivariant(lambda x: ndimage.gaussian_filter(x, [0, 0, 2, 2, 2]), x, **fields)
    assert gequi.is_equivariant(lambda x: x * np.linspace(1, 2, 21)[:, None, None], x, **fields)  # along the axis
    assert not gequi.is_equivariant(lambda x: x * np.linspace(1, 2, 21), x, **fields)
    assert not gequi.is_equivariant(lambda x: np.roll(x, 1, 3), x, **fields)
    twenty = gequi.gspace("icoOnR3")
    assert not gequi.is_equivariant(lambda x: np.roll(x, 1, 3), x, twenty, "trivial", "trivial", elements=[12])


def test_vectors_without_a_position_are_judged_by_rounding():
    space = gequi.gspace("no_base_space", group="cyclic_group", N=3)
    x = np.random.default_rng(1).normal(size=(4, 3))
    assert gequi.is_equivariant(np.square, x, space, "regular", "regular")
    assert not gequi.is_equivariant(lambda x: x * [1, 2, 3], x, space, "regular", "regular")


def test_a_tolerance_of_ones_own_is_that_of_the_table():
    space, x = gequi.gspace("rot2dOnR2", N=3), NOISE[33]
    table = gequi.equivariance_error(np.square, x, space, "trivial", "trivial")
    worst = max(row["error"] for row in table)
    assert gequi.is_equivariant(np.square, x, space, "trivial", "trivial", tolerance=worst)
    assert not gequi.is_equivariant(np.square, x, space, "trivial", "trivial", tolerance=0.9 * worst)


@pytest.mark.parametrize(
    ("f", "x", "space", "options", "message"),
    [
        (np.square, NOISE[7], {"N": 3}, {}, r"`x` is too small for the test: 120° .* at size \(7, 7\)"),
        (lambda x: x * (abs(x) == abs(NOISE[7])), NOISE[7], {"N": 3}, {}, "is 0 after smoothing, or its output is"),
        (np.square, NOISE[7], {"N": 4}, {"elements": []}, "`elements` is empty; None is the default"),
        (
            np.square,
            NOISE[7],
            {"N": 4},
            {"elements": [0]},
            "`elements` must contain an element other than the identity",
        ),
        (np.square, np.ones((1, 1, 7, 7)), {"N": 4}, {}, "`x` does not change under any of the elements"),
        (
            lambda x: x[:, :, ::-1],
            np.ones((1, 1, 7, 7)),
            {"N": 4},
            {"tolerance": 0.1},
            "does not change under any of the elements",
        ),
    ],
)
def test_where_nothing_can_be_said_there_is_no_answer(f, x, space, options, message):
    with pytest.raises(InputError, match=message):
        gequi.is_equivariant(f, x, gequi.gspace("rot2dOnR2", **space), "trivial", "trivial", **options)


def test_a_table_of_no_elements_and_a_law_of_no_axes_are_refused():
    for check in (
        lambda: gequi.equivariance_error(np.square, NOISE[7], C4, "trivial", "trivial", elements=[]),
        lambda: gequi.permutation_error(np.square, np.eye(3), []),
    ):
        with pytest.raises(InputError, match="is empty; None is the default"):
            check()


def test_only_the_given_elements_are_tested():
    ramp = np.abs(np.arange(33.0) - 16)[:, None]  # symmetric under half a turn, not under a quarter turn

    def answer(elements):
        return gequi.is_equivariant(lambda x: ramp * x, NOISE[33], C4, "trivial", "trivial", elements=elements)

    assert answer([0, 2])
    assert not answer([1])
    assert not answer([0, 1])


def test_elements_that_a_restriction_gave_up_tell_nothing(random):
    net = gequi.equivariant_network(C4, "trivial", [conv(), {"layer": "restrict", "subgroup": 2}], seed=1)
    x = random.normal(size=(1, 1, 9, 9))
    assert gequi.is_equivariant(net, x)
    assert gequi.is_equivariant(net, x, elements=[1, 2])
    for elements in ([1], [0, 1, 3]):
        with pytest.raises(InputError, match="a restriction in the network has removed"):
            gequi.is_equivariant(net, x, elements=elements)


def test_under_the_identity_alone_every_map_is_equivariant():
    for space in (gequi.gspace("trivialOnR2"), gequi.gspace("rot2dOnR2", N=1)):
        assert gequi.is_equivariant(BROKEN["shift"], NOISE[7], space, "trivial", "trivial")


# ---- the picture ----------------------------------------------------------------------------------------


def test_the_picture_of_a_field_shows_where_its_channels_go_and_what_is_left_when_that_is_undone(random):
    net = gequi.equivariant_network(C4, "trivial", [conv({"regular": 2})], seed=1, dtype="float64")
    x = random.normal(size=(2, 1, 7, 7))
    maps = equivariance_maps(net, x, element=1, field=1)
    value, of_moved = gequi.predict(net, x)[0, 4:], gequi.predict(net, np.rot90(x, 1, (2, 3)))[0, 4:]
    np.testing.assert_array_equal(maps["maps"], value)
    np.testing.assert_array_equal(maps["moved"], np.rot90(x[0, 0]))
    assert maps["moves_to"] == [1, 2, 3, 0]
    assert (maps["name"], maps["names"]) == ("90°", ["0°", "90°", "180°", "270°"])
    for channel, target in enumerate(maps["moves_to"]):
        np.testing.assert_allclose(of_moved[target], np.rot90(value[channel]), atol=1e-12)
    assert np.abs(maps["difference"]).max() <= 1e-12
    assert maps["error"] <= 1e-12


def test_the_picture_of_a_map_that_is_not_equivariant_shows_its_error(random):
    x = random.normal(size=(1, 1, 6, 6))
    maps = equivariance_maps(lambda x: np.roll(x, 1, 2), x, 1, 0, C4, "trivial", "trivial")
    table = gequi.equivariance_error(lambda x: np.roll(x, 1, 2), x, C4, "trivial", "trivial", elements=[1])
    assert maps["error"] == pytest.approx(table[0]["error"])
    assert maps["error"] > 0.1
    assert maps["moves_to"] == [0]
    assert equivariance_maps(lambda x: x, np.ones((1, 2, 3, 3)), 1, 0, C4, "irrep_1", "irrep_1")["moves_to"] is None


def test_only_the_first_image_is_in_the_picture_and_every_field_has_its_own(random):
    net = gequi.equivariant_network(C4, "trivial", [conv({"regular": 1, "trivial": 1, "irrep_1": 1})], seed=1)
    x = random.normal(size=(3, 1, 7, 7))
    value = gequi.predict(net, x)
    for field, (channels, names) in enumerate(
        [(slice(0, 4), ["0°", "90°", "180°", "270°"]), (slice(4, 5), ["1"]), (slice(5, 7), ["1", "2"])]
    ):
        maps = equivariance_maps(net, x, field=field)
        np.testing.assert_allclose(maps["maps"], value[0, channels], rtol=1e-5, atol=1e-6)  # another batch size
        assert (maps["name"], maps["names"]) == ("90°", names)
    np.testing.assert_allclose(equivariance_maps(net, x)["maps"], value[0, :4], rtol=1e-5, atol=1e-6)

    def rolled(x):
        return -np.roll(x, 1, 2) * np.array([1.0, 50.0, 9.0])[: len(x), None, None, None]

    all_images, first = (equivariance_maps(rolled, each, 1, 0, C4, "trivial", "trivial") for each in (x, x[:1]))
    assert all_images["error"] == first["error"]
    plain = equivariance_maps(lambda x: -rolled(x), x, 1, 0, C4, "trivial", "trivial")
    assert plain["error"] == pytest.approx(first["error"])


def test_there_is_no_picture_of_volumes_or_of_an_element_that_was_given_up(random):
    restricted = gequi.equivariant_network(C4, "trivial", [conv(), {"layer": "restrict", "subgroup": 2}], seed=1)
    x = random.normal(size=(1, 1, 9, 9))
    assert equivariance_maps(restricted, x, element=2)["name"] == "180°"
    cubes = (lambda x: x, np.ones((1, 1, 3, 3, 3)), 1, 0, gequi.gspace("octaOnR3"), "trivial", "trivial")
    for arguments in ((restricted, x, 1), cubes):
        with pytest.raises(InputError, match="must map images to images"):
            equivariance_maps(*arguments)


def test_a_picture_needs_images_and_a_field_that_there_is():
    net = gequi.equivariant_network(C4, "trivial", [conv(), {"layer": "global_avg_pool"}, {"layer": "flatten"}], seed=1)
    with pytest.raises(InputError, match="must map images to images"):
        equivariance_maps(net, IMAGE)
    with pytest.raises(InputError, match="`field` must be from 0 to 0; got 1"):
        equivariance_maps(net, IMAGE, field=1)
    with pytest.raises(InputError, match="`x` gives an output of zeros only"):
        equivariance_maps(lambda x: x, np.zeros((1, 1, 3, 3)), 1, 0, C4, "trivial", "trivial")


# ---- permutations ---------------------------------------------------------------------------------------


def worst(table):
    return max(row["error"] for row in table)


def test_laws_of_permutations_are_measured_along_the_axes_that_declare_them(dtype, exactness, random):
    x = random.normal(size=(6, 5))
    options = {"dtype": dtype, "seed": 1}
    assert worst(gequi.permutation_error(lambda a: a.sum(axis=0), x, input=0, **options)) <= exactness
    assert worst(gequi.permutation_error(lambda a: a.sum(axis=0), x, input=1, output=0, **options)) == 0
    assert worst(gequi.permutation_error(lambda a: a.T @ a, x, input=0, **options)) <= exactness
    assert worst(gequi.permutation_error(lambda a: a.T @ a, x, input=1, output=(0, 1), **options)) <= exactness
    assert worst(gequi.permutation_error(lambda a: a.T @ a, x, input=1, output=1, **options)) > 0.1
    square = x[:5]
    assert worst(gequi.permutation_error(np.trace, square, input=(0, 1), **options)) <= exactness
    assert worst(gequi.permutation_error(np.trace, square, input=0, **options)) > 0.1


def test_the_error_of_a_permutation_law_is_relative_to_the_output():
    x = np.array([1.0, 2.0, 4.0])
    table = gequi.permutation_error(lambda a: a, x, input=0, permutations=2)
    # exchanged (2, 1, 4), cycled (4, 1, 2), against (1, 2, 4), over its largest value
    assert table == [
        {"element": 0, "name": "exchange", "exact": True, "error": 0.25},
        {"element": 1, "name": "cycle", "exact": True, "error": 0.75},
    ]


def test_the_permutations_are_those_of_the_seed_and_leave_the_global_numbers_alone(random):
    x, seen = random.normal(size=8), []
    state = torch.random.get_rng_state()
    for seed in (1, 1, 2):
        orders = []
        gequi.permutation_error(lambda a, orders=orders: orders.append(np.argsort(a)) or a, x, 0, 0, 4, seed=seed)
        seen.append(np.array(orders))
    assert torch.equal(torch.random.get_rng_state(), state)
    np.testing.assert_array_equal(seen[0], seen[1])
    assert (seen[0] != seen[2]).any()


@pytest.mark.parametrize(("count", "names"), [
    (None, ["exchange", "cycle", "random 1", "random 2", "random 3"]), (1, ["exchange"]), (3, ["exchange", "cycle", "random 1"]),
])  # fmt: skip
def test_the_exchange_and_the_cycle_come_first(count, names):
    seen = []
    options = {} if count is None else {"permutations": count}
    table = gequi.permutation_error(lambda a: seen.append(a) or a.sum(), np.arange(5.0) + 1, 0, seed=1, **options)
    assert ([row["name"] for row in table], [row["element"] for row in table]) == (names, list(range(len(names))))
    assert all(row["exact"] for row in table)
    for each, expected in zip(seen[1:], ([2, 1, 3, 4, 5], [5, 1, 2, 3, 4]), strict=False):
        assert each.tolist() == expected
    assert all(sorted(each) == [1, 2, 3, 4, 5] for each in seen)


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (("f", np.eye(3), 0), InputError, "`f` must be a function"),
        ((np.sort, np.eye(3), 2), InputError, "`input` must be from 0 to 1; got 2"),
        ((np.sort, 3.0, 0), ShapeError, "`x` must have at least one axis"),
        ((np.sum, np.eye(3), 0, 0), InputError, "`output`"),
        ((lambda a: a, np.eye(3, 4), (0, 1)), ShapeError, "`x` must have the size 3 along `input`, .*; got 4"),
        ((lambda a: a, np.eye(3, 4), 0, 1), ShapeError, r"`f\(x\)` must have the size 3 along `output`, .*; got 4"),
        ((lambda a: a * 0, np.eye(3), 0), InputError, "zeros only"),
        ((lambda a: a[: int(a[0, 0]) + 1], np.eye(3), 0), ShapeError, "`f` gives shape"),
        ((lambda a: a, np.eye(3), 0, 0, 0), InputError, "`permutations` must be at least 1"),
        ((lambda a: a, np.eye(3), 0, -1), InputError, "`output` must be from 0 to 1; got -1"),
        ((lambda a: a, [[np.nan]], 0), InputError, "`x` must be finite"),
    ],
)
def test_a_permutation_law_that_cannot_be_measured_is_refused(arguments, kind, message):
    with pytest.raises(kind, match=message):
        gequi.permutation_error(*arguments)


@pytest.mark.parametrize(("floor", "decided"), [(0.0199, True), (0.0201, False)])
def test_a_floor_that_would_let_16_percent_pass_decides_nothing(floor, decided, monkeypatch):
    space = gequi.gspace("rot2dOnR2", N=3)
    monkeypatch.setattr(interpolation, "error_and_floor", lambda operator, x, element, name: (0.0, floor))
    arguments = (np.square, np.ones((1, 1, 15, 15)), space, {"trivial": 1}, {"trivial": 1})
    if decided:
        assert gequi.is_equivariant(*arguments)
    else:
        with pytest.raises(InputError, match="`x` is too small for the test"):
            gequi.is_equivariant(*arguments)

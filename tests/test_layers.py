"""layers: fields and sizes after each kind of layer, and refused inputs. test_symmetry.py tests equivariance."""

import numpy as np
import pytest
import torch

import gequi
from gequi._escnn import GeometricTensor, escnn, float_type
from gequi.errors import FieldError, GequiError, InputError, ShapeError
from gequi.layers import plan_layers
from gequi.layers.plan import Window

C4 = gequi.gspace("rot2dOnR2", N=4)
OCTAHEDRAL = gequi.gspace("octaOnR3")


def network(layers, space=C4, input="trivial", **options):
    return gequi.equivariant_network(space, input, layers, **{"seed": 1, **options})


def conv(fields="regular", kernel_size=3, **options):
    return {"layer": "conv", "fields": fields, "kernel_size": kernel_size, **options}


# ---- the table ------------------------------------------------------------------------------------------


def test_the_table_names_every_kind_that_a_network_can_have():
    kinds = {row["kind"] for row in gequi.layer_kinds()}
    assert kinds >= {
        "avg_pool", "batch_norm", "conv", "conv_transposed", "dense", "dropout", "elu", "enlarge", "field_dropout", "flatten",
        "fourier_elu", "gated_nonlinearity", "global_avg_pool", "group_pool", "leaky_relu", "linear", "mask", "max_pool",
        "norm_nonlinearity", "norm_pool", "relu", "residual", "restrict", "skip", "softmax", "upsample",
        "patch_embedding", "patch_expansion", "patch_merging", "token_norm",
    }  # fmt: skip


def test_the_table_tells_options_their_defaults_and_which_must_be_given():
    rows = {row["option"]: row for row in gequi.layer_kinds() if row["kind"] == "conv"}
    assert list(rows)[:4] == ["fields", "kernel_size", "padding", "stride"]
    assert rows["fields"]["required"]
    assert (rows["padding"]["default"], rows["padding"]["required"]) == (0, False)
    assert [row["option"] for row in gequi.layer_kinds() if row["kind"] == "softmax"] == [None]


def test_every_kind_says_in_one_line_what_it_does():
    assert all(row["summary"].endswith(".") for row in gequi.layer_kinds())


# ---- sizes ----------------------------------------------------------------------------------------------

SIZED = [
    [conv(padding=1, stride=2)],
    [conv(kernel_size=5, dilation=2)],
    [conv(), {"layer": "conv_transposed", "fields": "regular", "kernel_size": 3, "stride": 2, "padding": 1}],
    [{"layer": "conv_transposed", "fields": "regular", "kernel_size": 5, "stride": 3, "output_padding": 2}],
    [conv(), {"layer": "max_pool", "kernel_size": 2}],
    [conv(), {"layer": "max_pool", "kernel_size": 3, "stride": 2, "padding": 1}],
    [conv(), {"layer": "max_pool", "kernel_size": 3, "stride": 2, "antialiased": True}],
    [{"layer": "avg_pool"}],
    [{"layer": "avg_pool", "kernel_size": 5, "stride": 3, "padding": 2}],
    [{"layer": "avg_pool", "stride": 2, "antialiased": True}],
    [{"layer": "upsample", "scale_factor": 3}],
    [{"layer": "enlarge"}, conv(), {"layer": "relu", "antialiased": True}],
    [{"layer": "mask"}, {"layer": "global_avg_pool"}],
    [{"layer": "global_avg_pool"}, {"layer": "flatten"}],
    [conv(), {"layer": "residual", "layers": [conv(padding=1)]}],
    [conv(), {"layer": "skip", "layers": [conv(padding=1), conv({"regular": 2}, padding=1)]}],
    [conv(), {"layer": "residual", "layers": [conv(padding=1, stride=2)], "shortcut": [conv(kernel_size=1, stride=2)]}],
]


@pytest.mark.filterwarnings("ignore::gequi.errors.ExactnessWarning")
@pytest.mark.parametrize("size", [(9, 9), (10, 13)])
@pytest.mark.parametrize("layers", SIZED, ids=lambda layers: "-".join(layer["layer"] for layer in layers))
def test_the_planned_shape_is_the_shape_that_comes_out(layers, size):
    net = network(layers)
    assert gequi.output_shape(net, (2, 1, *size)) == gequi.predict(net, np.zeros((2, 1, *size))).shape


@pytest.mark.parametrize("length", range(5, 14))
@pytest.mark.parametrize("window", [Window(3, 2), Window(3, 2, 1), Window(5, 3, 2, 2), Window(2, 2)])
def test_windows_lie_symmetrically_exactly_if_nothing_is_left_over(length, window):
    first = -window.padding
    last = first + (window.after(length) - 1) * window.stride + window.dilation * (window.kernel_size - 1)
    symmetric = -first == last - (length - 1)  # as far beyond the near end as beyond the far one
    assert (window.left_over(length) == 0) == symmetric


# ---- what single layers compute ------------------------------------------------------------------------


def _through(net, x, dtype=torch.float64):
    return gequi.predict(net, x, dtype=str(dtype).removeprefix("torch."))


def test_group_pool_is_the_maximum_over_the_group_as_escnn_takes_it(random):
    x = random.normal(size=(2, 9, 4, 4))
    net = network([{"layer": "group_pool"}], input={"regular": 1, "trivial": 1, "quotient(2)": 2})
    with float_type(torch.float64):
        theirs = escnn.nn.GroupPooling(net.in_type)(GeometricTensor(torch.tensor(x), net.in_type)).tensor.numpy()
    np.testing.assert_array_equal(_through(net, x), theirs)


def test_group_pool_can_take_the_mean(random):
    x = random.normal(size=(2, 8, 4, 4))
    net = network([{"layer": "group_pool", "reduction": "mean"}], input={"regular": 2})
    np.testing.assert_allclose(_through(net, x), x.reshape(2, 2, 4, 4, 4).mean(axis=2), atol=1e-14)


def test_norm_pool_is_the_length_of_each_field(random):
    x = random.normal(size=(2, 5, 4, 4))
    net = network([{"layer": "norm_pool"}], input={"irrep_1": 2, "trivial": 1})
    lengths = [np.hypot(x[:, 0], x[:, 1]), np.hypot(x[:, 2], x[:, 3]), np.abs(x[:, 4])]
    np.testing.assert_allclose(_through(net, x), np.stack(lengths, 1), atol=1e-14)


def test_the_gradient_of_norm_pool_is_0_where_a_field_is_0(random):
    net = network([{"layer": "norm_pool"}], input={"irrep_1": 2}, dtype="float64")
    x = torch.tensor(random.normal(size=(2, 4, 2, 3)), requires_grad=True)
    assert torch.autograd.gradcheck(net, x)
    zero = torch.zeros(1, 4, 2, 2, dtype=torch.float64, requires_grad=True)
    net(zero).sum().backward()
    assert (zero.grad == 0).all()


def test_a_gate_is_the_sigmoid_of_its_trivial_field(random):
    x = random.normal(size=(2, 6, 4, 4))
    net = network([{"layer": "gated_nonlinearity"}], input={"trivial": 2, "irrep_1": 2})
    gates = np.repeat(1 / (1 + np.exp(-x[:, :2])), 2, axis=1)
    np.testing.assert_allclose(_through(net, x), gates * x[:, 2:], atol=1e-14)


def test_norm_nonlinearity_keeps_directions_and_shrinks_norms_by_the_bias(random):
    x = random.normal(size=(2, 2, 4, 4)) * 3
    net = network([{"layer": "norm_nonlinearity"}], input={"irrep_1": 1})
    norm = np.hypot(x[:, :1], x[:, 1:])  # escnn's bias starts at exp(0)
    np.testing.assert_allclose(_through(net, x), x * np.maximum(norm - 1, 0) / norm, atol=1e-12)


def test_elu_and_leaky_relu_are_those_of_torch(random):
    x = random.normal(size=(1, 4, 3, 3))
    tensor = torch.tensor(x)
    elu = network([{"layer": "elu", "alpha": 0.5}], input="regular")
    np.testing.assert_array_equal(_through(elu, x), torch.nn.functional.elu(tensor, 0.5).numpy())
    leaky = network([{"layer": "leaky_relu", "negative_slope": 0.2}], input="regular")
    np.testing.assert_array_equal(_through(leaky, x), torch.nn.functional.leaky_relu(tensor, 0.2).numpy())


def test_mask_keeps_the_disc_and_empties_the_corners():
    masked = _through(network([{"layer": "mask", "sigma": 0}]), np.ones((11, 11)))[0, 0]
    row, column = np.mgrid[-5:6, -5:6]
    np.testing.assert_array_equal(masked, (row**2 + column**2 <= 25).astype(float))


def test_residual_adds_its_branches(random):
    x = random.normal(size=(1, 4, 5, 5))
    inner = [{"layer": "relu"}]
    both = network([{"layer": "residual", "layers": inner, "shortcut": [{"layer": "elu"}]}], input="regular")
    tensor = torch.tensor(x)
    np.testing.assert_allclose(_through(both, x), (tensor.relu() + torch.nn.functional.elu(tensor)).numpy())
    identity = network([{"layer": "residual", "layers": inner}], input="regular")
    np.testing.assert_allclose(_through(identity, x), (tensor.relu() + tensor).numpy())


def test_skip_puts_what_its_layers_make_in_front_of_the_features(random):
    x = random.normal(size=(1, 4, 5, 5))
    net = network([{"layer": "skip", "layers": [{"layer": "relu"}, {"layer": "group_pool"}]}], input="regular")
    expected = np.concatenate([np.maximum(x, 0).max(axis=1, keepdims=True), x], axis=1)
    np.testing.assert_allclose(_through(net, x), expected, rtol=1e-6)
    assert gequi.fields.describe_fields(net.out_type) == [("trivial", 1), ("regular", 1)]


def test_softmax_gives_probabilities_over_the_channels(random):
    x = random.normal(size=(2, 3, 4, 5))
    found = _through(network([{"layer": "softmax"}], input={"trivial": 3}), x)
    np.testing.assert_allclose(found, np.exp(x) / np.exp(x).sum(axis=1, keepdims=True), rtol=1e-5)


def test_dense_is_a_linear_layer_on_the_pooled_features(random):
    net = network([{"layer": "global_avg_pool"}, {"layer": "dense", "units": 3}], input={"trivial": 2}, dtype="float64")
    x = random.normal(size=(4, 2, 5, 5))
    weights = gequi.get_weights(net)
    expected = x.mean(axis=(2, 3)) @ weights["layers.1.weight"].T + weights["layers.1.bias"]
    np.testing.assert_allclose(gequi.predict(net, x), expected, atol=1e-14)


def test_dropout_drops_while_training_only(random):
    x = torch.tensor(random.normal(size=(64, 4, 5, 5)), dtype=torch.float32)
    for kind in ("dropout", "field_dropout"):
        net = network([{"layer": kind, "p": 0.5}], input="regular")
        assert 0.3 < (net(x) == 0).float().mean() < 0.7
        np.testing.assert_array_equal(gequi.predict(net, x.numpy()), x.numpy())
    dropped = net(x)  # by field_dropout, which drops whole fields
    assert ((dropped == 0).all(dim=1) == (dropped == 0).any(dim=1)).all()


def test_batch_norm_normalises_fields_not_channels(random):
    net = network([{"layer": "batch_norm", "affine": False}], input={"regular": 2}, dtype="float64")
    x = torch.tensor(random.normal(2, 3, size=(8, 8, 6, 6)))
    normal = net(x).unflatten(1, (2, 4))
    np.testing.assert_allclose(normal.mean(dim=(0, 2, 3, 4)), 0, atol=1e-12)
    np.testing.assert_allclose(normal.var(dim=(0, 2, 3, 4), unbiased=False), 1, atol=1e-4)


def test_restrict_goes_on_with_the_subgroup():
    net = network([conv(), {"layer": "restrict", "subgroup": 2}])
    assert net.out_type.gspace.fibergroup.order() == 2
    flips = network([{"layer": "restrict", "subgroup": [None, 4]}], space=gequi.gspace("flipRot2dOnR2", N=4))
    assert str(flips.out_type.gspace.fibergroup) == "C4"


# ---- what is refused ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layers", "input", "kind", "message"),
    [
        ([{"layer": "convolution"}], "trivial", InputError, r"layer 1 \(convolution\): `layer` must be one of .*'conv'.*; got 'convolution'"),
        ([conv(kernel=3)], "trivial", InputError, r"layer 1 \(conv\): unknown option `kernel`; the options of conv are .*'kernel_size'\?"),
        ([{"layer": "conv", "fields": "regular"}], "trivial", InputError, r"layer 1 \(conv\): `kernel_size` is missing"),
        ([conv(), conv(kernel_size=4)], "trivial", InputError, r"layer 2 \(conv\): `kernel_size` must be odd"),
        ([conv(kernel_size=3.5)], "trivial", InputError, r"layer 1 \(conv\): `kernel_size` must be a whole number"),
        ([conv(stride=0)], "trivial", InputError, r"layer 1 \(conv\): `stride` must be at least 1"),
        ([conv(padding_mode="mirror")], "trivial", InputError, "`padding_mode` must be one of"),
        ([conv(bias=1)], "trivial", InputError, "`bias` must be true or false"),
        ([conv(fields={"regular": 3}), conv(groups=2)], "trivial", FieldError, "`groups` = 2 must split"),
        ([conv(fields={"irep_1": 1})], "trivial", FieldError, r"layer 1 \(conv\): `fields` must be one of.*'irrep_1'\?"),
        ([{"layer": "relu"}], "irrep_1", FieldError, r"layer 1 \(relu\): .*1 irrep_1.*norm_nonlinearity"),
        ([{"layer": "max_pool", "kernel_size": 2}], "irrep_1", FieldError, "acts on each channel alone"),
        ([{"layer": "group_pool"}], "irrep_1", FieldError, "acts on each channel alone"),
        ([{"layer": "dense", "units": 2}], "regular", FieldError, "group_pool or norm_pool before it"),
        ([{"layer": "gated_nonlinearity"}], {"trivial": 1, "irrep_1": 2}, FieldError, "one trivial field for each field"),
        ([{"layer": "fourier_elu"}], "regular", FieldError, r"fourier\(L\)"),
        ([{"layer": "linear", "fields": "regular"}], "trivial", FieldError, "works on vectors"),
        ([{"layer": "restrict", "subgroup": 3}], "trivial", FieldError, "`subgroup` must be an id of a subgroup of C4"),
        ([{"layer": "dropout", "p": 2}], "trivial", InputError, "`p` must be from 0 to 1"),
        ([{"layer": "avg_pool", "kernel_size": 2, "padding": 2}], "trivial", InputError, "`padding` must be at most half"),
        ([{"layer": "conv_transposed", "fields": "regular", "kernel_size": 3, "output_padding": 1}], "trivial",
         InputError, "`output_padding` must be less than the stride"),
        ([{"layer": "residual", "layers": []}], "trivial", FieldError, "`layers` is empty"),
        ([{"layer": "residual", "layers": [conv()]}], "trivial", FieldError, "the sum needs equal fields"),
        ([{"layer": "residual", "layers": [{"layer": "relu"}, {"layer": "rilu"}]}], "regular", InputError,
         r"^layer 1\.2 \(rilu\): `layer` must be one of"),
        ([{"layer": "skip", "layers": []}], "trivial", FieldError, r"layer 1 \(skip\): `layers` is empty"),
        ([{"layer": "skip", "layers": [{"layer": "restrict", "subgroup": 2}]}], "trivial", FieldError, "`layers` must stay on"),
        ([{"layer": "softmax"}], "regular", FieldError, r"layer 1 \(softmax\): the layer compares channels, which only invariant"),
        ([{"kind": "relu"}], "trivial", InputError, "layer 1 must be"),
        ({"layer": "relu"}, "trivial", InputError, "`layers` must be a list of layers"),
    ],
)  # fmt: skip
def test_layers_that_do_not_fit_are_refused_by_name(layers, input, kind, message):
    with pytest.raises(kind, match=message):
        plan_layers(gequi.field_type(C4, input), layers)


def test_a_convolution_without_any_equivariant_kernel_is_refused_by_name():
    with pytest.raises(FieldError, match=r"layer 1 \(conv\): no equivariant kernel maps 1 trivial to 1 irrep_1"):
        network([conv(fields="irrep_1", kernel_size=1)])


def test_an_image_too_small_is_refused_by_the_layer_that_needs_more():
    net = network([conv(), conv(), conv()])
    with pytest.raises(
        ShapeError, match=r"layer 3 \(conv\): features of size \(2, 2\) are smaller than its window of 3"
    ):
        gequi.predict(net, np.ones((1, 1, 6, 6)))


def test_features_with_extent_do_not_enter_a_dense_layer():
    net = network([{"layer": "dense", "units": 2}])
    with pytest.raises(ShapeError, match=r"layer 1 \(dense\): .* global_avg_pool before it"):
        gequi.output_shape(net, (1, 1, 5, 5))


def test_branches_of_different_sizes_are_refused():
    net = network([conv(), {"layer": "residual", "layers": [conv()]}])
    with pytest.raises(ShapeError, match="branches end with different sizes"):
        gequi.predict(net, np.ones((1, 1, 9, 9)))


def test_a_skip_layer_names_sizes_that_its_strides_do_not_divide():
    layers = [{"layer": "max_pool", "kernel_size": 2}, {"layer": "upsample", "scale_factor": 2}]
    net = network([{"layer": "skip", "layers": layers}])
    assert gequi.output_shape(net, (1, 1, 6, 8)) == (1, 2, 6, 8)
    with pytest.raises(
        ShapeError, match=r"layer 1 \(skip\): the branches end with different sizes, \(6, 8\) and \(7, 8\)"
    ):
        gequi.predict(net, np.ones((1, 1, 7, 8)))
    with pytest.raises(
        ShapeError, match=r"a skip layer cannot concatenate features of the sizes \(6, 8\) and \(7, 8\)"
    ):
        net(torch.ones(1, 1, 7, 8))


def test_every_refusal_is_one_of_gequis_own():
    assert all(issubclass(kind, GequiError) for kind in (FieldError, InputError, ShapeError))


# ---- what makes a layer inexact -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layers", "exact", "inexact"),
    [
        ([conv(padding=1, stride=2)], 9, 10),
        ([conv(), {"layer": "max_pool", "kernel_size": 2}], 10, 11),
        ([conv(), {"layer": "residual", "layers": [conv(padding=1, stride=2)], "shortcut": [conv(kernel_size=1, stride=2)]}],
         11, 12),
        ([{"layer": "avg_pool", "stride": 2, "antialiased": True}], 9, 10),
    ],
)  # fmt: skip
def test_a_stride_that_breaks_exactness_is_named_with_its_layer_before_anything_runs(layers, exact, inexact, recwarn):
    net = network(layers)
    gequi.output_shape(net, (1, 1, exact, exact))
    assert not recwarn.list
    with pytest.warns(gequi.errors.ExactnessWarning, match=r"layer \d.* breaks exact equivariance on features of size"):
        gequi.output_shape(net, (1, 1, inexact, inexact))


def test_output_padding_breaks_exactness_at_every_size():
    net = network(
        [{"layer": "conv_transposed", "fields": "regular", "kernel_size": 3, "stride": 2, "output_padding": 1}]
    )
    with pytest.warns(gequi.errors.ExactnessWarning, match="on one side only"):
        gequi.output_shape(net, (1, 1, 9, 9))


def test_a_group_without_turns_has_nothing_to_break(recwarn):
    net = network([conv(stride=2)], space=gequi.gspace("trivialOnR2"))
    gequi.output_shape(net, (1, 1, 10, 10))
    assert not recwarn.list


def test_volumes_have_their_layers_too():
    net = network(
        [conv(padding=1), {"layer": "batch_norm"}, {"layer": "relu"}, {"layer": "max_pool", "kernel_size": 2},
         {"layer": "avg_pool"}, {"layer": "upsample", "scale_factor": 2},
         {"layer": "conv_transposed", "fields": "trivial", "kernel_size": 3}, {"layer": "mask"}],
        space=gequi.gspace("rot2dOnR3", N=4),
    )  # fmt: skip
    x = np.ones((1, 1, 8, 8, 8))
    assert gequi.predict(net, x).shape == gequi.output_shape(net, x.shape) == (1, 1, 6, 6, 6)

"""predict(): the compiled copy agrees with the network for every kind of layer and after every change of weights."""

import copy
import subprocess
import sys

import numpy as np
import pytest
import torch

import gequi
from gequi.errors import InputError
from gequi.layers.fast import plain_is_faster
from gequi.networks import batch_size_for, evaluating, plain_network, predicting, prediction

C4 = gequi.gspace("rot2dOnR2", N=4)
OCTA = gequi.gspace("octaOnR3")
SO3 = gequi.gspace("rot3dOnR3", maximum_frequency=3)
CONV = {"layer": "conv", "fields": {"regular": 2}, "kernel_size": 3, "padding": 1}
NORM = {"layer": "batch_norm"}
GATED = {**CONV, "fields": [["trivial", 5], ["irrep_1", 2], ["trivial", 1], ["irrep_2", 1], ["irrep_1", 1]]}
MIXED = {**CONV, "fields": [["regular", 1], ["trivial", 2], ["quotient(2)", 1], ["regular", 1]]}

NETWORKS = {
    "padding": (C4, [{**CONV, "padding_mode": "reflect"}, {**CONV, "groups": 2, "stride": 2, "bias": False}, NORM]),
    "transposed": (C4, [CONV, {"layer": "conv_transposed", "fields": {"regular": 1}, "kernel_size": 3, "stride": 2}, NORM]),
    "fields of several sizes": (C4, [MIXED, NORM, {"layer": "relu"}, {"layer": "group_pool", "reduction": "mean"}]),
    "pointwise": (C4, [
        CONV, {"layer": "elu", "alpha": 0.5}, CONV, {"layer": "leaky_relu", "negative_slope": 0.2}, {"layer": "dropout"},
        {"layer": "field_dropout"}, NORM, {"layer": "relu"}, CONV, {"layer": "relu"},
        {"layer": "enlarge"}, CONV, NORM, {"layer": "elu", "antialiased": True},
    ]),
    "gates": (C4, [GATED, NORM, {"layer": "gated_nonlinearity"}, {"layer": "norm_pool"}]),
    "norms": (C4, [GATED, NORM, {"layer": "norm_nonlinearity", "function": "n_sigmoid"}, {"layer": "norm_pool"}]),
    "norms without bias": (C4, [GATED, {"layer": "norm_nonlinearity", "function": "squash"}]),
    "spectral": (gequi.gspace("rot2dOnR2", N=-1), [{**CONV, "fields": {"fourier(2)": 2}}, NORM, {"layer": "fourier_elu"}]),
    "windows": (C4, [
        {"layer": "mask", "margin": 1}, CONV, {"layer": "max_pool", "kernel_size": 3, "stride": 2, "padding": 1},
        {"layer": "upsample", "scale_factor": 2}, {"layer": "avg_pool", "kernel_size": 2, "stride": 1},
        {"layer": "avg_pool", "antialiased": True, "stride": 1},
        {"layer": "max_pool", "kernel_size": 3, "antialiased": True, "stride": 2},
    ]),
    "vectors": (C4, [
        CONV, {"layer": "restrict", "subgroup": 2}, {"layer": "global_avg_pool"}, {"layer": "flatten"}, NORM,
        {"layer": "linear", "fields": {"irrep_1": 2, "trivial": 1}}, NORM,
    ]),
    "classes": (C4, [CONV, {"layer": "group_pool"}, {"layer": "global_avg_pool"}, {"layer": "dense", "units": 3},
                     {"layer": "softmax"}]),
    "branches": (C4, [
        {"layer": "residual", "layers": [{"layer": "dropout"}], "shortcut": [CONV, CONV][:0]},
        CONV, {"layer": "residual", "layers": [NORM, {"layer": "relu"}, CONV, NORM]}, {"layer": "relu"},
        {"layer": "residual", "layers": [{"layer": "dropout"}], "shortcut": [CONV, {"layer": "relu"}]},
        {"layer": "skip", "layers": [{"layer": "relu"}, CONV]}, {"layer": "relu"},
    ]),
    "volumes": (OCTA, [
        CONV, NORM, {"layer": "max_pool", "kernel_size": 3}, {**CONV, "fields": {"irrep_1": 1}, "padding_mode": "circular"},
        NORM, {"layer": "upsample", "scale_factor": 2}, {"layer": "avg_pool", "antialiased": True, "stride": 1},
    ]),
    "attention": (C4, [
        {"layer": "lifting_attention", "fields": {"regular": 2}, "dropout": 0.5},
        {"layer": "group_attention", "fields": {"regular": 2}, "window": 3}, {"layer": "group_attention_block"},
    ]),
    "posewise attention": (C4, [
        CONV, {"layer": "posewise_attention", "fields": {"regular": 2}, "window": 3}, {"layer": "posewise_attention_block"},
    ]),
    "patches": (C4, [
        {"layer": "patch_embedding", "fields": {"regular": 2}, "patch_size": 3}, {"layer": "token_norm"}, {"layer": "relu"},
        {"layer": "patch_expansion", "fields": {"irrep_1": 1, "trivial": 2}, "patch_size": 2},
    ]),
    "merging": (C4, [CONV, {"layer": "patch_merging", "patch_size": 3, "bias": True}, {"layer": "relu"}]),
    "edges": (C4, [{"layer": "oriented_gradients"}, {"layer": "ring_descriptor"}]),
    "tokens": (C4, [{"layer": "local_normalization"}, CONV, {"layer": "token_pool", "token": 2}]),
    "spheres": (SO3, [{"layer": "sphere_descriptor"}]),
}  # fmt: skip


def kinds(layers):
    inside = [each for layer in layers for part in ("layers", "shortcut") for each in layer.get(part, [])]
    return {layer["layer"] for layer in layers} | (kinds(inside) if inside else set())


def network(name, **options):
    """The network, with statistics and weights that are not those it was built with."""
    space, layers = NETWORKS[name] if isinstance(name, str) else (C4, name)
    net = gequi.equivariant_network(space, "trivial", layers, **{"seed": 1, **options})
    random = np.random.default_rng(1)
    names = ("running_mean", "running_var", "bias", "weight")
    return gequi.set_weights(net, {
        key: weight + 0.3 * random.random(weight.shape)
        for key, weight in gequi.get_weights(net).items() if key.endswith(names)
    })  # fmt: skip


def equivariant(net, x):
    """What the layers of escnn compute."""
    with evaluating(net), torch.no_grad():
        return net(torch.tensor(np.asarray(x), dtype=net.dtype)).numpy()


def differ(found, expected):
    assert found.shape == expected.shape
    return np.abs(found - expected).max() / np.abs(expected).max()


def test_the_networks_here_have_every_kind_of_layer():
    assert set().union(*(kinds(layers) for _, layers in NETWORKS.values())) == {
        row["kind"] for row in gequi.layer_kinds()
    }


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-12)])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_compiled_copy_is_the_network(random, name, dtype, tolerance):
    net = network(name, dtype=dtype)
    x = random.normal(size=(3, 1, *[9] * net.space.dimensionality))
    expected, before = equivariant(net, x), x.copy()
    for batch_size in (None, 1):
        found = gequi.predict(net, x, batch_size=batch_size)
        assert found.dtype == np.dtype(dtype)
        assert found.flags.c_contiguous
        assert differ(found, expected) < tolerance
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(found, gequi.predict(net, x, batch_size=1))


@pytest.mark.parametrize("name", NETWORKS)
def test_bfloat16_agrees_to_its_digits(random, name):
    net = network(name)
    x = random.normal(size=(3, 1, *[9] * net.space.dimensionality))
    found, expected = gequi.predict(net, x, precision="bfloat16"), gequi.predict(net, x)
    assert found.dtype == np.float32
    assert 0 < differ(found, expected) < 2**-4
    with predicting(net, precision=torch.bfloat16) as copied:
        weights = [part.weight for part in copied.branch.parts if getattr(part, "weight", None) is not None]
    assert all(weight.dtype == torch.bfloat16 for weight in weights)


@pytest.mark.parametrize("name", ["pointwise", "gates", "volumes", "branches"])
def test_a_torch_without_ordered_convolutions_computes_the_same(random, monkeypatch, name):
    monkeypatch.setattr("gequi.layers.fast._can_pack", lambda part: False)
    net = network(name)
    x = random.normal(size=(3, 1, *[9] * net.space.dimensionality))
    assert differ(gequi.predict(net, x), equivariant(net, x)) < 1e-5
    with predicting(net) as copied:
        assert not any(type(part).__name__ == "_Packed" for part in copied.modules())


@pytest.mark.parametrize("limits", [{"WEIGHTS_PER_COLUMN": 0}, {"WEIGHTS_PER_COLUMN": 1e9, "PRODUCTS_OF_ONE": 0},
                                    {"PRODUCTS_OF_ONE": 1e9}])  # fmt: skip
@pytest.mark.parametrize("name", ["pointwise", "gates", "volumes", "branches"])
def test_the_choice_of_the_convolution_changes_rounding_only(random, monkeypatch, name, limits):
    for limit, value in limits.items():
        monkeypatch.setattr(f"gequi.layers.fast.{limit}", value)
    net = network(name)
    x = random.normal(size=(3, 1, *[9] * net.space.dimensionality))
    expected = equivariant(net, x)
    for batch_size in (3, 1):
        assert differ(gequi.predict(net, x, batch_size=batch_size), expected) < 1e-5


def test_torch_convolves_where_weights_are_many_for_a_row_and_one_image_is_small():
    many, few = torch.empty(256, 256, 5, 5), torch.empty(64, 64, 3, 3)
    assert plain_is_faster(many, (8, 256, 7, 7))
    assert not plain_is_faster(many, (8, 256, 56, 56))
    assert not plain_is_faster(many, (1, 256, 7, 7))
    assert plain_is_faster(few, (1, 64, 3, 3))
    assert not plain_is_faster(few.bfloat16(), (1, 64, 3, 3))
    assert not plain_is_faster(few, (1, 64, 56, 56))
    assert not plain_is_faster(torch.empty(8, 8, 3, 3, 3), (1, 8, 3, 3, 3))  # torch's own one for volumes is slow


def test_other_precisions_and_modules_are_refused(random):
    with pytest.raises(InputError, match=r"`precision` must be one of 'bfloat16'; got 'float16'"):
        gequi.predict(network("classes"), np.ones((1, 1, 8, 8)), precision="float16")
    with pytest.raises(InputError, match=r"`precision` = 'bfloat16' is for networks from equivariant_network\(\)"):
        gequi.predict(torch.nn.Linear(2, 2), np.ones((1, 2)), precision="bfloat16")


# ---- what is out of date --------------------------------------------------------------------------------

BLOCK = [CONV, NORM, {"layer": "relu"}, CONV, {"layer": "group_pool"}]


def step(net):
    optimizer = torch.optim.Adam(net.parameters(), lr=0.1, fused=True)
    net(torch.ones(2, 1, 8, 8)).square().sum().backward()
    optimizer.step()


def edit(net):
    with torch.no_grad():
        net.layers[0].weights[0] += 1


def edit_data(net):
    net.layers[0].weights.data.neg_()


def replace_data(net):
    net.layers[0].weights.data = net.layers[0].weights.data + 1


def replace_parameter(net):
    net.layers[0].weights = torch.nn.Parameter(net.layers[0].weights.detach() + 1)


def replace_layer(net):
    net.layers[0] = network(BLOCK, seed=7).layers[0]


def gather_statistics(net):
    net.train()(torch.linspace(-3, 9, 128).reshape(2, 1, 8, 8))


def train(net):
    gequi.fit(
        net,
        np.random.default_rng(0).normal(size=(4, 1, 8, 8)),
        np.ones((4, 2, 8, 8)),
        epochs=1,
        learning_rate=0.1,
        device="cpu",
    )


WAYS = {
    "an optimizer's step": step,
    "set_weights": lambda net: gequi.set_weights(net, gequi.get_weights(network(BLOCK, seed=2))),
    "load_state_dict": lambda net: net.train().load_state_dict(network(BLOCK, seed=2).train().state_dict()),
    "assigned state": lambda net: net.train().load_state_dict(network(BLOCK, seed=2).train().state_dict(), assign=True),
    "an edit in place": edit,
    "an edit of .data": edit_data,
    "another .data": replace_data,
    "another parameter": replace_parameter,
    "another layer": replace_layer,
    "statistics of batches": gather_statistics,
    "training": train,
}


@pytest.mark.parametrize("way", WAYS)
def test_a_prediction_follows_every_change_of_weights(random, way):
    net = network(BLOCK)
    x = random.normal(size=(2, 1, 8, 8))
    before = gequi.predict(net, x)
    for precision in (None, "bfloat16"):
        gequi.predict(net, x, dtype="float64", precision=precision)
    WAYS[way](net)
    after = gequi.predict(net, x)
    assert differ(after, before) > 1e-3
    assert differ(after, equivariant(net, x)) < 1e-5
    assert differ(gequi.predict(net, x, dtype="float64"), after) < 1e-5
    WAYS[way](net)  # and once more, now that a copy was made of the changed network
    assert differ(gequi.predict(net, x), equivariant(net, x)) < 1e-5


def test_a_prediction_follows_the_type_of_the_weights(random):
    net, x = network(BLOCK), random.normal(size=(2, 1, 8, 8))
    single = gequi.predict(net, x)
    net.double()
    double = gequi.predict(net, x)
    assert double.dtype == np.float64
    assert 0 < differ(double, single) < 1e-5
    np.testing.assert_array_equal(gequi.predict(net.to(torch.float32), x), single)


def test_the_copy_is_made_once_and_leaves_the_network_as_it_is(random, monkeypatch):
    net, x = network(BLOCK), random.normal(size=(2, 1, 8, 8))
    made = []
    monkeypatch.setattr("gequi.networks.compiled.plain_network", lambda net: made.append(1) or plain_network(net))
    state = {name: value.clone() for name, value in net.state_dict().items()}
    modes = [part.training for part in net.modules()]
    results = [gequi.predict(net, x) for _ in range(3)]
    assert len(made) == 1
    assert all(np.array_equal(each, results[0]) for each in results)
    assert [part.training for part in net.modules()] == modes
    assert net.state_dict().keys() == state.keys()
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    net.eval()
    net.train()
    gequi.predict(net, x)
    assert len(made) == 1  # the filters that escnn keeps in evaluation mode are no change
    again = copy.deepcopy(net)
    edit(again)
    assert differ(gequi.predict(again, x), equivariant(again, x)) < 1e-5
    np.testing.assert_array_equal(gequi.predict(net, x), results[0])


def test_a_network_with_hooks_runs_them(random):
    net, x, seen = network(BLOCK), random.normal(size=(2, 1, 8, 8)), []
    plain = gequi.predict(net, x)
    hook = net.layers[2].register_forward_hook(lambda layer, args, output: seen.append(output.tensor.shape))
    assert differ(gequi.predict(net, x), plain) < 1e-5
    assert seen == [(2, 8, 8, 8)]
    hook.remove()
    np.testing.assert_array_equal(gequi.predict(net, x), plain)


def test_evaluate_measures_the_compiled_copy(random):
    net, x = network(BLOCK), random.normal(size=(5, 1, 8, 8))
    y = gequi.predict(net, x, batch_size=2)
    assert gequi.evaluate(net, x, y, loss="mse", batch_size=2)["mae"] < 1e-6
    edit(net)
    assert gequi.evaluate(net, x, y, loss="mse")["mae"] > 1e-3


# ---- batches --------------------------------------------------------------------------------------------


def test_a_batch_is_as_large_as_its_features_allow():
    net = network(BLOCK)  # 8 channels at most
    assert batch_size_for(net, (100, 1, 8, 8)) == 64
    assert batch_size_for(net, (100, 1, 128, 256)) == 12
    assert batch_size_for(net, (100, 1, 4096, 4096)) == 1
    assert batch_size_for(torch.nn.ReLU(), (100, 1, 4096, 4096)) == 64


@pytest.mark.parametrize("batch_size", [None, 1, 3, 7])
@pytest.mark.parametrize("part", [1, 200, 1000])
def test_an_array_of_r_gives_the_same_output_to_the_bit(random, monkeypatch, batch_size, part):
    monkeypatch.setattr(prediction, "VALUES_OF_A_PART", part)
    net, x = network(BLOCK), random.normal(size=(7, 1, 9, 9))
    expected = gequi.predict(net, x, batch_size=batch_size)
    np.testing.assert_array_equal(gequi.predict(net, np.asfortranarray(x), batch_size=batch_size), expected)


# In a process of its own, because the memory that other tests have left free does not count.
PEAK = """
import pathlib, sys, numpy, torch, gequi
def resident(name):
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))
torch.set_num_threads(1)
conv = {"layer": "conv", "fields": {"regular": 2}, "kernel_size": 3, "padding": 1}
layers = [conv, {"layer": "relu"}, conv]
network = gequi.equivariant_network(gequi.gspace("rot2dOnR2", N=4), "trivial", layers, seed=1)
x = numpy.full((64, 1, 192, 192), 0.5, order=sys.argv[1])
gequi.predict(network, x[:1])
before = resident("VmRSS")
y = gequi.predict(network, x)
print(y.nbytes, resident("VmHWM") - before)
"""


@pytest.mark.parametrize("order", ["C", "F"])
def test_predicting_needs_at_most_64_mb_beside_its_input_and_output(order):
    found = subprocess.run([sys.executable, "-c", PEAK, order], capture_output=True, text=True, check=True)
    output, growth = map(int, found.stdout.split())
    assert output > 75e6
    assert output < growth < output + 64e6  # the peak is that of this prediction, not of an import

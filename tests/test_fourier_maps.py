"""Linear maps of regular fields in the Fourier basis are the dense ones of escnn, in training and in prediction."""

import numpy as np
import pytest
import torch

import gequi
from gequi._escnn import GeometricTensor
from gequi.layers import fourier
from gequi.layers.fast import fast
from gequi.layers.plain import Branch, plain_layers

C4, D4 = gequi.gspace("rot2dOnR2", N=4), gequi.gspace("flipRot2dOnR2", N=4)
SPACES = {
    str(space): space
    for space in (C4, D4, gequi.gspace("rot2dOnR2", N=5), gequi.gspace("flipRot2dOnR2", N=3), gequi.gspace("octaOnR3"))
}
EQUAL = {"float32": 1e-6, "float64": 1e-13}  # relative to the largest value
CONV = {"layer": "conv", "kernel_size": 1}
VECTORS = [{"layer": "flatten"}, {"layer": "linear", "fields": {"regular": 3}}]


@pytest.fixture(autouse=True)
def _bands_for_every_size(monkeypatch):
    monkeypatch.setattr(fourier, "TRAINING", fourier.Threshold(0, 0))
    monkeypatch.setattr(fourier, "PREDICTION", fourier.Threshold(0, 0))


def network(space, layers, fields=2, **options):
    return gequi.equivariant_network(space, {"regular": fields}, layers, **{"seed": 1, **options})


def grown(net):
    """The network with other weights, biases too."""
    random = np.random.default_rng(2)
    return gequi.set_weights(
        net, {name: 5 * random.normal(size=each.shape) for name, each in gequi.get_weights(net).items()}
    )


def features(net, random, batch=3, length=4):
    size = [1 if net.steps[0].kind == "flatten" else length] * net.space.dimensionality
    return torch.tensor(random.normal(size=(batch, net.in_type.size, *size)), dtype=net.dtype)


def differ(found, expected):
    found, expected = found.detach(), expected.detach()
    return float((found - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("layers", [[{**CONV, "fields": {"regular": 3}}], VECTORS], ids=["conv", "linear"])
@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_outputs_and_gradients_in_training_are_those_of_escnn(space, layers, bias, dtype, random):
    net = grown(network(space, [*layers[:-1], {**layers[-1], "bias": bias}], dtype=dtype))
    layer = net.layers[-1]
    assert isinstance(layer, fourier._WithBands)
    x = features(net, random).flatten(2) if layers is VECTORS else features(net, random)
    x = x[..., 0].detach() if layers is VECTORS else x
    results = []
    for form in (layer.with_bands, lambda x: dense(layer, x)):
        given = x.clone().requires_grad_()
        out = form(given)
        weights = [each for each in (layer.weights, layer.bias) if each is not None]
        results.append(
            [out, *torch.autograd.grad((out * torch.arange(out.numel()).view(out.shape)).sum(), [given, *weights])]
        )
    for found, expected in zip(*results, strict=True):
        assert found.shape == expected.shape
        assert differ(found, expected) <= EQUAL[dtype]


def dense(layer, x):
    weight, bias = layer.expand_parameters()
    convolve = {2: torch.nn.functional.linear, 4: torch.conv2d, 5: torch.conv3d}[x.ndim]
    return convolve(x, weight, bias)


def test_the_network_in_training_computes_with_bands(random, monkeypatch):
    net = network(D4, [{**CONV, "fields": {"regular": 3}}])
    used = []
    monkeypatch.setattr(fourier, "to_bands", lambda *given, to=fourier.to_bands: used.append(1) or to(*given))
    net(features(net, random))
    assert used
    net.eval()
    net(features(net, random))
    assert len(used) == 1


def test_the_comparison_detects_a_wrong_transform(random):
    net = network(D4, [{**CONV, "fields": {"regular": 3}}], dtype="float64")
    layer, x = net.layers[0], features(net, random)
    layer.rows[4:] = layer.rows[[4, 6, 5, 7]]
    assert differ(layer.with_bands(x), dense(layer, x)) > 1e-2


CHAINS = {
    "conv": [{**CONV, "fields": {"regular": 3}}],
    "without bias": [{**CONV, "fields": {"regular": 3}, "bias": False}],
    "batch_norm, relu": [{**CONV, "fields": {"regular": 3}}, {"layer": "batch_norm"}, {"layer": "relu"},
                         {**CONV, "fields": {"regular": 1}}],
    "vectors": [*VECTORS, {"layer": "batch_norm"}, {"layer": "relu"}, VECTORS[1]],
}  # fmt: skip


@pytest.mark.parametrize("layers", CHAINS.values(), ids=CHAINS)
@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_prediction_with_bands_is_the_network(space, layers, dtype, random):
    net = grown(network(space, layers, dtype=dtype))
    for name, each in net.named_buffers():
        if name.endswith("running_var"):
            each.uniform_(0.5, 2)
    x = features(net, random)
    net.eval()
    expected = net(x).detach()
    with torch.no_grad():
        compiled = fast(Branch(plain_layers(net.steps, net.layers)), net.dtype)
        assert sum(isinstance(part, fourier.PointMap) for part in compiled.modules()) == sum(
            layer["layer"] in ("conv", "linear") for layer in layers
        )
        assert differ(compiled(x), expected) <= 10 * EQUAL[dtype]
    np.testing.assert_allclose(
        gequi.predict(net, x.numpy()), expected, atol=10 * EQUAL[dtype] * float(expected.abs().max())
    )


@pytest.mark.parametrize("space", [C4, D4, gequi.gspace("octaOnR3")], ids=str)
def test_networks_with_bands_are_equivariant_for_large_weights(space, dtype, random):
    layers = [{**CONV, "fields": {"regular": 3}}, {"layer": "elu"}, {**CONV, "fields": {"regular": 2}}]
    net = grown(network(space, layers, dtype=dtype))
    x = features(net, random, batch=1, length=5).numpy()
    table = gequi.equivariance_error(net, x)
    assert all(row["exact"] for row in table)
    assert max(row["error"] for row in table) <= {"float32": 1e-5, "float64": 1e-12}[dtype]


# ---- the choice -----------------------------------------------------------------------------------------


def test_only_wide_maps_between_regular_fields_have_bands(monkeypatch):
    monkeypatch.undo()
    wide = {"regular": 64}
    for layers, fields, chosen in (
        ([{**CONV, "fields": wide}], 64, True),
        ([{**CONV, "fields": {"regular": 8}}], 8, False),
        ([{**CONV, "fields": wide, "stride": 2}], 64, False),
        ([{**CONV, "fields": wide, "kernel_size": 3}], 64, False),
        ([{**CONV, "fields": wide, "groups": 2}], 64, False),
        ([{**CONV, "fields": {"trivial": 512}}], 64, False),
        ([{"layer": "flatten"}, {"layer": "linear", "fields": wide}], 64, True),
        ([{"layer": "flatten"}, {"layer": "linear", "fields": {"irrep_0,0": 512}}], 64, False),
    ):
        layer = network(D4, layers, fields).layers[-1]
        assert isinstance(layer, fourier._WithBands) == chosen, layers


def test_few_tokens_are_multiplied_densely_in_prediction(monkeypatch, random):
    monkeypatch.undo()
    limits = fourier.PREDICTION
    tokens = int(limits.products / 512**2)
    assert fourier.worth(limits, 512, 512, 12 / 64, tokens + 1)
    assert not fourier.worth(limits, 512, 512, 12 / 64, tokens - 1)
    assert not fourier.worth(limits, 128, 128, 12 / 64)


def test_weights_and_files_do_not_depend_on_the_form(tmp_path, monkeypatch, random):
    layers = [{**CONV, "fields": {"regular": 3}}]
    net = grown(network(D4, layers))
    gequi.save_model(net, tmp_path / "model")
    x = features(net, random).numpy()
    expected = gequi.predict(net, x)
    monkeypatch.undo()
    plain = network(D4, layers)
    assert not isinstance(plain.layers[0], fourier._WithBands)
    assert {name: each.shape for name, each in gequi.get_weights(plain).items()} == {
        name: each.shape for name, each in gequi.get_weights(net).items()
    }
    read = gequi.load_model(tmp_path / "model")
    np.testing.assert_allclose(gequi.predict(read, x), expected, atol=1e-5 * np.abs(expected).max())


def test_a_tensor_of_the_wrong_type_is_refused_as_by_escnn(random):
    net = network(D4, [{**CONV, "fields": {"regular": 3}}])
    other = gequi.field_type(D4, {"trivial": 16})
    with pytest.raises(AssertionError):
        net.layers[0](GeometricTensor(features(net, random), other))

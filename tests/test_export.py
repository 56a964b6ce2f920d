"""export: files that other programs run, with the results of predict(), for every kind of layer."""

import os
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import gequi
from gequi import errors
from gequi.errors import InputError, SetupError, ShapeError

C4 = gequi.gspace("rot2dOnR2", N=4)
CONV = {"layer": "conv", "fields": {"regular": 2}, "kernel_size": 3, "padding": 1}


def conv(*fields):
    return {**CONV, "fields": list(fields)}


# Networks that together contain every kind of layer. Layers that only act in training have no effect here.
NETWORKS = {
    "classifier": (C4, [
        {"layer": "mask", "margin": 1}, conv(("regular", 1), ("trivial", 2), ("regular", 1)), {"layer": "batch_norm"},
        {"layer": "relu"}, {"layer": "dropout"}, {"layer": "avg_pool", "antialiased": True, "stride": 2}, CONV,
        {"layer": "max_pool", "kernel_size": 3, "antialiased": True, "padding": 1, "stride": 1}, {"layer": "group_pool"},
        {"layer": "global_avg_pool"}, {"layer": "dense", "units": 3}, {"layer": "softmax"},
    ]),
    "irreps": (C4, [
        conv(("trivial", 4), ("irrep_1", 3), ("irrep_2", 1)), {"layer": "batch_norm"}, {"layer": "gated_nonlinearity"},
        {"layer": "norm_nonlinearity", "function": "n_softplus"}, {"layer": "field_dropout"}, {"layer": "norm_pool"},
    ]),
    "images to images": (C4, [
        CONV, {"layer": "residual", "layers": [{"layer": "elu"}, CONV]},
        {"layer": "skip", "layers": [{"layer": "max_pool", "kernel_size": 2}, CONV, {"layer": "upsample", "scale_factor": 2}]},
        {"layer": "leaky_relu", "antialiased": True}, {"layer": "enlarge"},
        {"layer": "conv_transposed", "fields": {"regular": 1}, "kernel_size": 3, "stride": 2},
    ]),
    "vectors": (C4, [
        CONV, {"layer": "restrict", "subgroup": 2}, {"layer": "global_avg_pool"}, {"layer": "flatten"},
        {"layer": "batch_norm"}, {"layer": "linear", "fields": {"irrep_1": 2}},
    ]),
    "spectral": (gequi.gspace("rot2dOnR2", N=-1), [conv(("fourier(2)", 2)), {"layer": "fourier_elu"}]),
    "volumes": (gequi.gspace("octaOnR3"), [
        conv(("regular", 1)), {"layer": "batch_norm"}, {"layer": "max_pool", "kernel_size": 2}, conv(("irrep_1", 1)),
        {"layer": "batch_norm"}, {"layer": "upsample", "scale_factor": 2},
    ]),
    "attention of all points": (gequi.gspace("flipRot2dOnR2", N=1), [
        {"layer": "lifting_attention", "fields": {"regular": 2}, "heads": 2}, {"layer": "group_attention_block", "heads": 2},
    ]),
    "posewise attention": (C4, [
        conv(("regular", 2)), {"layer": "posewise_attention", "fields": {"regular": 4}},
        {"layer": "posewise_attention_block", "heads": 2},
    ]),
    "patches": (C4, [
        {"layer": "patch_embedding", "fields": {"regular": 2}, "patch_size": 2}, {"layer": "token_norm"},
        {"layer": "patch_merging"}, {"layer": "patch_expansion", "fields": {"trivial": 2}, "patch_size": 2},
    ]),
    "attention in windows": (gequi.gspace("rot2dOnR2", N=2), [
        {"layer": "lifting_attention", "fields": {"regular": 2}, "window": 5},
        {"layer": "group_attention", "fields": {"regular": 2}, "positions": "rotary", "window": 3},
    ]),
}  # fmt: skip


def network(name, **options):
    """The network, with statistics that are not those it was built with."""
    space, layers = NETWORKS[name]
    net = gequi.equivariant_network(space, "trivial", layers, **{"seed": 1, **options})
    random = np.random.default_rng(1)
    changed = {
        key: weight + 0.3 * random.random(weight.shape)
        for key, weight in gequi.get_weights(net).items()
        if key.endswith(("running_mean", "running_var", "bias"))
    }
    return gequi.set_weights(net, changed)


def kinds(layers):
    return {layer["layer"] for layer in layers} | {
        kind
        for layer in layers
        for inside in (layer.get("layers", []), layer.get("shortcut", []))
        for kind in kinds(inside)
    }


NOT_EXPORTED = {"oriented_gradients", "ring_descriptor", "local_normalization", "sphere_descriptor", "token_pool"}


def test_the_networks_here_have_every_kind_of_layer():
    exported = set().union(*(kinds(layers) for _, layers in NETWORKS.values()))
    assert exported | NOT_EXPORTED == {row["kind"] for row in gequi.layer_kinds()}
    assert not exported & NOT_EXPORTED


@pytest.mark.parametrize("format", ["onnx", "torchscript"])
@pytest.mark.parametrize("layer", sorted(NOT_EXPORTED))
def test_layers_made_for_each_size_of_image_are_refused_by_name(tmp_path, layer, format):
    before = [{"layer": "oriented_gradients"}] if layer == "ring_descriptor" else []
    space = gequi.gspace("rot3dOnR3") if layer == "sphere_descriptor" else C4
    net = gequi.equivariant_network(space, "trivial", [*before, {"layer": layer}], seed=1)
    first = (before or [{"layer": layer}])[0]["layer"]
    with pytest.raises(InputError, match=f"`model` has a layer {first}, which is not exported"):
        gequi.export_model(net, tmp_path / "net", (1, 1, *[32] * space.dimensionality), format=format)
    assert list(tmp_path.iterdir()) == []


def ran(path, format, *arrays):
    """What another program makes of arrays."""
    arrays = [array.astype(np.float32) for array in arrays]
    if format == "torchscript":
        with torch.no_grad():
            return torch.jit.load(path)(*map(torch.from_numpy, arrays)).numpy()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options)
    return session.run(None, dict(zip([each.name for each in session.get_inputs()], arrays, strict=True)))[0]


def same(path, format, model, random, *shapes):
    """Asserts that a file gives what predict() gives, to 1e-5, on arrays of these shapes."""
    arrays = [random.normal(size=shape) for shape in shapes]
    expected = gequi.predict(model, *arrays)
    found = ran(path, format, *arrays)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * max(1, np.abs(expected).max()))
    assert np.abs(expected).max() > 1e-3


FORMATS = ["onnx", "torchscript"]

# Other modules: how each is created, the shapes of its export, and other shapes that the file accepts. Each has a seed:
# with some initial weights the output of a small network of ReLUs is 0 everywhere.
MODULES = {
    "mlp": (lambda: gequi.image_classifier_mlp((1, 8, 8), (4,), seed=1), [(1, 1, 8, 8)], [(3, 1, 8, 8)]),
    "resnet": (lambda: gequi.identity_resnet(1, components=2, widths=(4, 8, 16), seed=1), [(1, 1, 8, 8)], [(3, 1, 11, 8)]),
    "unet": (lambda: gequi.unet(levels=2, width=4, seed=1), [(1, 1, 8, 8)], [(3, 1, 12, 8)]),
    "equivariant unet": (
        lambda: gequi.unet(levels=2, width=4, space=C4, variant="circuit", seed=1), [(1, 1, 8, 8)], [(3, 1, 12, 8)]),
    "attention": (lambda: gequi.multi_head_attention(6, 2, bias=True, seed=1), [(1, 5, 6), (1, 7, 6)], [(3, 9, 6), (3, 4, 6)]),
    "visual attention": (
        lambda: gequi.visual_attention(2, heads=2, kernel_size=3, stride=2, bias=True, seed=1), [(1, 2, 8, 8), (1, 2, 9, 9)],
        [(3, 2, 11, 8), (3, 2, 9, 12)]),
    "any angle": (lambda: gequi.equivariant_resnet(C4, widths=(4, 8), enlarge=True, seed=1), [(1, 1, 9, 9)], [(3, 1, 12, 8)]),
    "vit": (lambda: gequi.equivariant_vit(C4, 8, width=16, blocks=1, seed=1), [(1, 1, 8, 8)], [(3, 1, 12, 8)]),
    "gsa": (lambda: gequi.gsa_network(C4, fields=4, blocks=1, patch_size=3, size=9, seed=1), [(1, 1, 9, 9)], [(3, 1, 12, 9)]),
}  # fmt: skip


# Their ONNX files take 5 to 30 s each, most of it in torch's exporter. Their TorchScript files take less than 2 s.
SLOW = {
    "attention in windows", "attention of all points", "posewise attention", "images to images", "visual attention", "vit",
    "gsa", "resnet", "any angle",
}  # fmt: skip


def each_format(names):
    return [
        pytest.param(name, format, marks=pytest.mark.slow if name in SLOW and format == "onnx" else ())
        for format in FORMATS
        for name in names
    ]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """exported(name, format): a network or another module, and its file, which is written once: it takes up to 20 s."""
    folder = tmp_path_factory.mktemp("exported")

    @cache
    def export(name, format="onnx"):
        if name in NETWORKS:
            model = network(name)
            shapes = (1, 1, *size_of(model, name))
        else:
            make, shapes, _ = MODULES[name]
            model = make()
        return model, gequi.export_model(model, folder / f"{name}.{format}", shapes, format=format)

    return export


def size_of(net, name):
    return [9 if name == "classifier" else 8] * net.space.dimensionality  # such that strides keep it exact


@pytest.mark.parametrize(("name", "format"), each_format(NETWORKS))
def test_every_network_runs_elsewhere_as_here_on_any_batch_and_any_size(exported, random, name, format):
    net, path = exported(name, format)
    size = size_of(net, name)
    for batch, more in ((1, 0), (5, 0), (2, 4)):
        same(path, format, net, random, (batch, 1, size[0] + more, *size[1:]))
        same(path, format, net, random, (batch, 1, *size[1:], size[0] + more))


@pytest.mark.parametrize(("name", "format"), each_format(MODULES))
def test_every_other_module_runs_elsewhere_as_here(exported, random, name, format):
    model, path = exported(name, format)
    for given in MODULES[name][1:]:
        same(path, format, model, random, *given)


def test_a_network_keeps_its_symmetry_in_another_program(exported, random):
    _, path = exported("classifier")
    x = random.normal(size=(2, 1, 9, 9))
    np.testing.assert_allclose(ran(path, "onnx", np.rot90(x, axes=(2, 3))), ran(path, "onnx", x), atol=1e-5)


# ---- what the file says ---------------------------------------------------------------------------------


def sizes(path):
    graph = onnx.load(path).graph
    shapes = {each.name: each.type.tensor_type.shape.dim for each in (*graph.input, *graph.output)}
    return {name: [size.dim_param or size.dim_value for size in shape] for name, shape in shapes.items()}


def test_free_axes_have_names_and_others_their_sizes(exported):
    _, path = exported("irreps")
    assert sizes(path) == {"x": ["batch", 1, "row", "column"], "output": ["batch", 4, "row", "column"]}
    _, path = exported("mlp")
    assert sizes(path) == {"x": ["batch", 1, 8, 8], "output": ["batch", 10]}
    _, path = exported("attention")
    assert sizes(path)["query"] == ["batch", "query_token", 6]
    assert sizes(path)["context"] == ["batch", "context_token", 6]


def test_a_file_is_valid_and_tells_nothing_of_the_program_that_wrote_it(exported):
    _, path = exported("irreps")
    onnx.checker.check_model(onnx.load(path), full_check=True)
    assert b".py" not in Path(path).read_bytes()


def test_a_network_of_float64_is_written_in_float32_unless_told(tmp_path, random):
    net = network("vectors", dtype="float64")
    path = gequi.export_model(net, tmp_path / "a", (1, 1, 8, 8))
    same(path, "onnx", net, random, (2, 1, 8, 8))
    x = random.normal(size=(2, 1, 8, 8))
    double = torch.jit.load(gequi.export_model(net, path, (1, 1, 8, 8), "torchscript", dtype="float64"))
    np.testing.assert_allclose(double(torch.from_numpy(x)).detach(), gequi.predict(net, x), rtol=0, atol=1e-12)
    module = gequi.unet(levels=1, width=2, seed=1, dtype="float64")
    same(gequi.export_model(module, path, (1, 1, 8, 8)), "onnx", module, random, (2, 1, 8, 8))
    assert next(module.parameters()).dtype == torch.float64


# ---- manners --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", FORMATS)
def test_exporting_says_nothing_and_leaves_the_network_as_it_was(tmp_path, capfd, recwarn, format):
    net = network("vectors").train()
    before = gequi.get_weights(net)
    gequi.export_model(net, tmp_path / "a", (1, 1, 8, 8), format=format)
    told = capfd.readouterr()
    assert told.out + told.err == ""
    assert not recwarn.list
    assert all(module.training for module in net.modules())
    assert all(
        parameter.requires_grad
        for parameter in net.parameters()
        if parameter.is_floating_point() and parameter.numel() > 1
    )
    for name, weight in gequi.get_weights(net).items():
        np.testing.assert_array_equal(weight, before[name])
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


def test_a_crash_while_writing_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.pt"
    gequi.export_model(network("vectors"), path, (1, 1, 8, 8), format="torchscript")
    before = path.read_bytes()

    def crash(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(InputError, match="cannot be written"):
        gequi.export_model(network("vectors", seed=2), path, (1, 1, 8, 8), format="torchscript")
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.pt"]


# ---- what is refused ------------------------------------------------------------------------------------


class Branches(torch.nn.Module):
    """What it does depends on the values."""

    def forward(self, x):
        return 2 * x if float(x.sum()) > 0 else x


class Sizes(torch.nn.Module):
    """What it does depends on the size, in a way that no recording follows."""

    def forward(self, x):
        return x * min(x.shape[2], x.shape[3])


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda path: gequi.export_model(Sizes(), path, (1, 1, 8, 8), "torchscript"), InputError, "`model` computes differently for other inputs"),
        (lambda path: gequi.export_model("net", path, (1, 1, 8, 8)), InputError, "`model` must be a network"),
        (lambda path: gequi.export_model(network("irreps"), path, (1, 2, 8, 8)), ShapeError, r"`input_shape` must be \(batch, channel = 1"),
        (lambda path: gequi.export_model(network("irreps"), path, "big"), InputError, "`input_shape` must be"),
        (lambda path: gequi.export_model(network("volumes"), path, (1, 1, 1, 8, 8)), ShapeError, r"layer 3 \(max_pool\)"),
        (lambda path: gequi.export_model(network("irreps"), path, (1, 1, 8, 8), "onxn"), InputError, "`format` must be one of 'onnx', 'torchscript'.*Did you mean 'onnx'"),
        (lambda path: gequi.export_model(network("irreps"), path, (1, 1, 8, 8), dtype="half"), InputError, "`dtype` must be"),
        (lambda path: gequi.export_model(network("vectors"), path / "no" / "folder", (1, 1, 8, 8), "torchscript"), InputError, "cannot be written"),
        (lambda path: gequi.export_model(Branches(), path, (1, 3)), InputError, "`model` cannot be exported .*data-dependent"),
        (lambda path: gequi.export_model(Branches(), path, (1, 3), "torchscript"), InputError, "`model` computes differently for other inputs"),
        (lambda path: gequi.export_model(torch.nn.Linear(2, 2), path, (1, 3)), InputError, r"`input_shape` \(1, 3\) is not accepted by the model: RuntimeError: mat1"),
    ],
)  # fmt: skip
def test_what_cannot_be_exported_is_refused(tmp_path, capfd, call, kind, message):
    with pytest.raises(kind, match=message):
        call(tmp_path / "a" if "folder" not in message else tmp_path)
    told = capfd.readouterr()
    assert told.out + told.err == ""
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_installed_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(errors.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SetupError, match=r"needs onnx and onnxscript: install gequi\[export\]"):
        gequi.export_model(network("vectors"), tmp_path / "a", (1, 1, 8, 8))
    gequi.export_model(network("vectors"), tmp_path / "a", (1, 1, 8, 8), format="torchscript")

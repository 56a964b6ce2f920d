"""layers: the same kinds, options and defaults in both languages, and every kind gives the same numbers."""

import json
import re

import pytest

import gequi

VECTORS = {"trivial": 2, "irrep_1": 2}
CONV = {"layer": "conv", "fields": {"regular": 4}, "kernel_size": 3}
ON_VECTORS = {"layer": "conv", "fields": VECTORS, "kernel_size": 3}
C4 = ("rot2dOnR2", {"N": 4})

# For each kind: a gspace and layers in which it occurs.
NETWORKS = {
    "conv": (C4, [{**CONV, "padding": 1, "stride": 2, "dilation": 2, "padding_mode": "reflect", "bias": False},
                  {**CONV, "groups": 2}]),
    "conv_transposed": (C4, [{"layer": "conv_transposed", "fields": VECTORS, "kernel_size": 3, "stride": 2}]),
    "batch_norm": (C4, [CONV, {"layer": "batch_norm", "eps": 1e-4, "momentum": 0.2}]),
    "relu": (C4, [CONV, {"layer": "relu", "antialiased": True}]),
    "elu": (C4, [CONV, {"layer": "elu", "alpha": 0.5}]),
    "leaky_relu": (C4, [CONV, {"layer": "leaky_relu", "negative_slope": 0.1}]),
    "norm_nonlinearity": (C4, [ON_VECTORS, {"layer": "norm_nonlinearity", "function": "squash"}]),
    "gated_nonlinearity": (C4, [ON_VECTORS, {"layer": "gated_nonlinearity"}]),
    "fourier_elu": (("rot2dOnR2", {"maximum_frequency": 2}),
                    [{**CONV, "fields": {"fourier(2)": 2}, "kernel_size": 5}, {"layer": "fourier_elu", "samples": 8}]),
    "max_pool": (C4, [CONV, {"layer": "max_pool", "kernel_size": 3, "stride": 2, "antialiased": True}]),
    "avg_pool": (C4, [ON_VECTORS, {"layer": "avg_pool", "kernel_size": 3, "stride": 2}]),
    "global_avg_pool": (C4, [ON_VECTORS, {"layer": "global_avg_pool"}]),
    "enlarge": (C4, [ON_VECTORS, {"layer": "enlarge"}]),
    "upsample": (C4, [CONV, {"layer": "upsample", "scale_factor": 2, "align_corners": True}]),
    "dropout": (C4, [CONV, {"layer": "dropout", "p": 0.2}]),
    "field_dropout": (C4, [ON_VECTORS, {"layer": "field_dropout"}]),
    "restrict": (("flipRot2dOnR2", {"N": 4}), [CONV, {"layer": "restrict", "subgroup": [None, 4]}, CONV]),
    "mask": (C4, [{"layer": "mask", "margin": 1.5}]),
    "linear": (C4, [ON_VECTORS, {"layer": "global_avg_pool"}, {"layer": "flatten"}, {"layer": "linear", "fields": VECTORS}]),
    "flatten": (C4, [ON_VECTORS, {"layer": "global_avg_pool"}, {"layer": "flatten"}]),
    "group_pool": (C4, [CONV, {"layer": "group_pool", "reduction": "mean"}]),
    "norm_pool": (C4, [ON_VECTORS, {"layer": "norm_pool"}]),
    "residual": (C4, [{"layer": "residual", "layers": [{**CONV, "padding": 1}, {"layer": "relu"}],
                       "shortcut": [{**CONV, "kernel_size": 1}]}]),
    "skip": (C4, [CONV, {"layer": "skip", "layers": [{**CONV, "padding": 1}, {"layer": "relu"}]}]),
    "softmax": (C4, [CONV, {"layer": "group_pool"}, {"layer": "softmax"}]),
    "oriented_gradients": (C4, [{"layer": "oriented_gradients", "sigma": 0.8, "signed": False}]),
    "ring_descriptor": (C4, [{"layer": "oriented_gradients"}, {"layer": "ring_descriptor", "rings": [[0, 1], [2.5, 1]]}]),
    "local_normalization": (C4, [{"layer": "local_normalization", "window": 3, "sigma": 0.5, "signed": False}]),
    "sphere_descriptor": (("rot3dOnR3", {"maximum_frequency": 3}),
                          [{"layer": "local_normalization"}, {"layer": "sphere_descriptor", "spheres": [[2, 1], [3, 1]]}]),
    "token_pool": (C4, [CONV, {"layer": "token_pool", "token": 2}]),
    "token_norm": (C4, [CONV, {"layer": "token_norm", "eps": 1e-4}]),
    "patch_embedding": (C4, [CONV, {"layer": "patch_embedding", "fields": {"regular": 2}, "patch_size": 3, "bias": False}]),
    "patch_expansion": (C4, [CONV, {"layer": "patch_expansion", "fields": VECTORS, "patch_size": 2}]),
    "patch_merging": (C4, [CONV, {"layer": "patch_merging", "patch_size": 3, "bias": True}]),
    "dense": (C4, [CONV, {"layer": "global_avg_pool"}, {"layer": "group_pool"}, {"layer": "dense", "units": 3}]),
}  # fmt: skip

# Kinds whose parity is tested with their own subject.
ELSEWHERE = {
    "lifting_attention", "group_attention", "group_attention_block", "posewise_attention", "posewise_attention_block",
}  # fmt: skip


def test_every_kind_of_layer_is_tested_here():
    assert set(NETWORKS) == {row["kind"] for row in gequi.layer_kinds()} - ELSEWHERE


def test_layer_kinds(r):
    rows = r.value(r.layer_kinds())
    for theirs, ours in zip(rows, gequi.layer_kinds(), strict=True):
        default = theirs.pop("default")
        value = r.code(default) if default is not None else None
        empty = ours["default"] == ()
        assert (r.value(value) if value is not None else None) == (
            r.value(r.code("list()")) if empty else ours["default"]
        )
        wanted = {key: ours[key] for key in ("kind", "summary", "option", "required")}
        wanted["summary"] = re.sub(r"\[None, (\d+)\]", r"list(NULL, \1)", wanted["summary"])  # as one writes it in R
        assert theirs == wanted


@pytest.mark.parametrize("kind", NETWORKS)
def test_piped_layers_make_the_same_recipe_and_the_same_numbers(r, same, random, kind):
    space, layers = NETWORKS[kind]
    ours = gequi.equivariant_network(
        gequi.gspace(space[0], **space[1]), {"trivial": 1}, layers, seed=3, dtype="float64"
    )
    theirs = r.piped(r.gspace(space[0], **space[1]), layers, seed=3, dtype="float64")
    recipe = r.code('reticulate::import("json")$dumps(reticulate::r_to_py(network)$recipe)', network=theirs)
    assert json.loads(recipe[0]) == json.loads(json.dumps(ours.recipe))
    x = random.normal(size=(2, 1, *[11] * ours.space.dimensionality))
    same(r.value(r.predict(theirs, x)), gequi.predict(ours, x))

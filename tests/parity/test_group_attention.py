"""Group self-attention in R is that of Python: the same networks, weights and numbers."""

import numpy as np
import pytest

import gequi

C4 = gequi.gspace("rot2dOnR2", N=4)


@pytest.mark.parametrize("positions", ["additive", "rotary"])
def test_the_layers_give_the_same_numbers(r, both, same, random, positions):
    options = {"heads": 2, "dropout": 0.1, "qk_norm": False, "positions": positions}
    layers = [
        {"layer": "lifting_attention", "fields": {"regular": 8}, "frequencies": 3, "window": 3, **options},
        {"layer": "group_attention", "fields": {"regular": 16}, "key_dim": 4, **options},
        {"layer": "group_attention_block", "mlp_ratio": 1.5, **options},
    ]
    theirs, ours = both(layers)
    x = random.normal(size=(2, 1, 6, 5))
    same(r.value(r.predict(theirs, x)), gequi.predict(ours, x))


def test_attention_within_each_pose_gives_the_same_numbers(r, both, same, random):
    layers = [
        {"layer": "conv", "fields": {"regular": 4}, "kernel_size": 3},
        {
            "layer": "posewise_attention",
            "fields": {"regular": 8},
            "heads": 2,
            "key_dim": 6,
            "window": 3,
            "dropout": 0.1,
        },
        {"layer": "posewise_attention_block", "qk_norm": False, "learn_frequencies": False, "mlp_ratio": 1.5},
    ]
    theirs, ours = both(layers)
    x = random.normal(size=(2, 1, 7, 6))
    same(r.value(r.predict(theirs, x)), gequi.predict(ours, x))


@pytest.mark.parametrize("attention", ["posewise", "pairwise"])
def test_a_ready_network_is_the_same_network(r, same, random, attention):
    options = {
        "attention": attention,
        "units": 3,
        "fields": 6,
        "blocks": 1,
        "heads": 3,
        "patch_size": 3,
        "size": [9, 12],
        "pool": "max",
        "seed": 5,
    }
    theirs, ours = r.gsa_network(r.gspace("rot2dOnR2", N=4), **options), gequi.gsa_network(C4, **options)
    x = random.normal(size=(2, 1, 9, 12))
    same(r.value(r.predict(theirs, x)), gequi.predict(ours, x))
    same(r.value(r.get_weights(theirs)), gequi.get_weights(ours))


@pytest.mark.parametrize("shape", [(5, 2), (3, 5, 2)])
def test_points_give_the_same_numbers(r, same, random, shape):
    theirs, ours = r.gsa_network(r.gspace("rot2dOnR2", N=4), seed=2), gequi.gsa_network(C4, seed=2)
    x, points = random.normal(size=(3, 1, 5)), random.normal(size=shape)
    same(r.value(r.predict_points(theirs, x, points)), gequi.predict_points(ours, x, points))


def test_sets_of_different_numbers_of_points_give_the_same_numbers(r, same, random):
    theirs, ours = r.gsa_network(r.gspace("rot2dOnR2", N=4), seed=2), gequi.gsa_network(C4, seed=2)
    x, points = random.normal(size=(3, 1, 5)), random.normal(size=(3, 5, 2))
    mask = np.array([[1, 1, 1, 1, 1], [1, 0, 1, 0, 0], [0, 0, 1, 1, 1]]) > 0
    given = r.code("array(as.logical(m), dim(m))", m=mask.astype(float))
    same(r.value(r.predict_points(theirs, x, points, mask=given)), gequi.predict_points(ours, x, points, mask))


@pytest.mark.parametrize(
    ("name", "size", "options"),
    [
        ("flipRot2dOnR2", 6, {"output": {"trivial": 3}, "pool": "mean", "heads": 2, "key_dim": 4, "blocks": 2}),
        ("rot2dOnR2", [8, 12], {"stem": "convolutions", "patch_size": 4, "dense": True, "window": 3, "input": {"trivial": 2}}),
        ("rot2dOnR2", 6, {"output": {"irrep_1": 1, "trivial": 1}, "qk_norm": False, "learn_frequencies": False, "mlp_ratio": 1}),
    ],
)  # fmt: skip
def test_a_vision_transformer_is_the_same_network(r, same, random, name, size, options):
    options = {"patch_size": 2, "width": 16, "blocks": 1, "dropout": 0.1, "seed": 5, "dtype": "float64", **options}
    theirs = r.equivariant_vit(r.gspace(name, N=4), size, **options)
    ours = gequi.equivariant_vit(gequi.gspace(name, N=4), size, **options)
    x = random.normal(size=(2, ours.in_type.size, *(size if isinstance(size, list) else [size] * 2)))
    same(r.value(r.predict(theirs, x)), gequi.predict(ours, x))
    weights = [
        {name: weight for name, weight in found.items() if not name.endswith("tracked")}  # a count: a vector in R
        for found in (r.value(r.get_weights(theirs)), gequi.get_weights(ours))
    ]
    same(*weights)

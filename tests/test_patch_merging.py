"""patch_merging: each patch of tokens becomes one token, and commutes with the group."""

import numpy as np
import pytest
import torch

import gequi
from gequi.errors import ExactnessWarning, FieldError, InputError

C4, D4, C8 = gequi.gspace("rot2dOnR2", N=4), gequi.gspace("flipRot2dOnR2", N=4), gequi.gspace("rot2dOnR2", N=8)
OCTA, PLANE = gequi.gspace("octaOnR3"), gequi.gspace("trivialOnR2")
BOUNDS = {"float32": 1e-5, "float64": 1e-12}  # of the law, relative to the largest output
BLOCK = {"layer": "posewise_attention_block"}


def merging(**options):
    return {"layer": "patch_merging", **options}


def network(space, layers, fields=2, **options):
    net = gequi.equivariant_network(space, {"regular": fields}, layers, **{"seed": 1, **options})
    random = np.random.default_rng(1)
    return gequi.set_weights(
        net, {name: 5 * (w + 0.2 * random.normal(size=w.shape)) for name, w in gequi.get_weights(net).items()}
    )


CASES = {
    "twice": (D4, 8, [merging(), BLOCK, merging()]),
    "patches of three, not square": (C4, (9, 6), [merging(patch_size=3, fields={"regular": 3}, bias=True)]),
    "between blocks": (D4, 4, [BLOCK, merging(), BLOCK]),
    "odd patches of eight turns": (C8, 9, [merging(patch_size=3)]),
    "volumes": (OCTA, 4, [merging()]),
}


@pytest.mark.parametrize("name", CASES)
def test_every_exact_element_commutes_although_all_weights_have_grown(name, dtype, random):
    space, size, layers = CASES[name]
    net = network(space, layers, dtype=dtype)
    lengths = size if isinstance(size, tuple) else (size,) * space.dimensionality
    table = gequi.equivariance_error(net, random.normal(size=(1, net.in_type.size, *lengths)))
    exact = [row["error"] for row in table if row["exact"]]
    assert len(exact) == {D4: 8, OCTA: 24}.get(space, 4)
    assert max(exact) <= BOUNDS[dtype]


def test_tokens_that_the_patches_do_not_cover_are_warned_of_and_break_the_law(random):
    net = network(D4, [merging()], dtype="float64")
    with pytest.warns(ExactnessWarning, match=r"layer 1 \(patch_merging\) breaks exact equivariance"):
        table = gequi.equivariance_error(net, random.normal(size=(1, 16, 7, 7)))
    assert max(row["error"] for row in table) > 1e-3


def test_it_is_a_token_norm_and_an_embedding(random):
    net = network(D4, [merging(bias=True)], dtype="float64")
    embedding = {"layer": "patch_embedding", "fields": {"regular": 4}, "patch_size": 2}
    other = network(D4, [{"layer": "token_norm"}, embedding], dtype="float64")
    weights = gequi.get_weights(net)
    names = {"layers.0.norm.norm": "layers.0.norm", "layers.0.linear": "layers.1"}
    renamed = {}
    for name, weight in weights.items():
        before, _, last = name.rpartition(".")
        renamed[f"{names[before]}.{last}"] = weight
    gequi.set_weights(other, renamed)
    x = random.normal(size=(2, 16, 6, 4))
    assert gequi.output_shape(net, x.shape) == (2, 32, 3, 2)
    expected = gequi.predict(other, x)
    np.testing.assert_allclose(gequi.predict(net, x), expected, atol=1e-12)
    np.testing.assert_allclose(net(torch.tensor(x)).detach(), expected, atol=1e-12)  # as in training


def test_without_a_group_it_is_a_linear_map_of_four_normalized_tokens(random):
    net = network(PLANE, [merging()], 3, dtype="float64")
    norm, linear = net.layers[0].norm.norm, net.layers[0].linear
    x = torch.tensor(random.normal(size=(1, 3, 4, 4)))
    tokens = torch.nn.functional.layer_norm(x.movedim(1, -1), (3,), norm.weight, norm.bias)
    patches = tokens.view(1, 2, 2, 2, 2, 3).permute(0, 1, 3, 5, 2, 4).flatten(3)  # (channel, row, column) of a patch
    expected = patches @ linear.expand_parameters()[0].flatten(1).T
    np.testing.assert_allclose(gequi.predict(net, x), expected.movedim(-1, 1).detach(), atol=1e-12)


def test_it_doubles_the_fields_without_bias_by_default():
    net = network(D4, [merging()], 3)
    assert len(net.out_type) == 6
    assert {name.rpartition(".")[2] for name in gequi.get_weights(net)} == {"weight", "bias"}
    assert net.layers[0].linear.bias is None


@pytest.mark.parametrize(
    ("space", "layers", "kind", "message"),
    [
        (C8, [merging()], InputError, r"layer 1 \(patch_merging\): `patch_size` must be odd"),
        (D4, [merging(patch_size=0)], InputError, "`patch_size` must be at least 1"),
        (D4, [merging(fields={"trivial": 2})], FieldError, "`fields` must be regular"),
        (
            D4,
            [{"layer": "group_pool"}, merging()],
            FieldError,
            r"layer 2 \(patch_merging\): the layer works on regular fields",
        ),
    ],
)
def test_what_does_not_fit_is_refused_by_name(space, layers, kind, message):
    with pytest.raises(kind, match=message):
        gequi.equivariant_network(space, {"regular": 2}, layers)

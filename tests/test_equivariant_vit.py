"""equivariant_vit: patches, a vision transformer and its heads commute with their group."""

import numpy as np
import pytest
import torch

import gequi
from gequi import groups
from gequi.errors import ExactnessWarning, FieldError, InputError

C4, D4, C8 = gequi.gspace("rot2dOnR2", N=4), gequi.gspace("flipRot2dOnR2", N=4), gequi.gspace("rot2dOnR2", N=8)
OCTA, PLANE = gequi.gspace("octaOnR3"), gequi.gspace("trivialOnR2")

# The bounds of the laws with all weights five times their initial ones, relative to the largest output.
BOUNDS = {"float32": 1e-5, "float64": 1e-12}


def vit(space=C4, size=6, **options):
    return gequi.equivariant_vit(space, size, **{"width": 8 * groups.cayley_table(space).shape[0] // 4, "blocks": 1,
                                                 "patch_size": 2, "stem": "patches", "seed": 1, **options})  # fmt: skip


def embedding(patch_size=2, fields=2, **options):
    return {"layer": "patch_embedding", "fields": {"regular": fields}, "patch_size": patch_size, **options}


def expansion(fields="trivial", patch_size=2, **options):
    return {"layer": "patch_expansion", "fields": fields, "patch_size": patch_size, **options}


def network(space, layers, input="trivial", **options):
    return gequi.equivariant_network(space, input, layers, **{"seed": 1, **options})


def grown(net):
    """The network with all its weights, learned frequencies and biases too, multiplied by 5."""
    weights = gequi.get_weights(net)
    random = np.random.default_rng(1)
    noise = {
        name: random.normal(size=w.shape) if name.endswith(("norm.bias", "norm.weight")) else 0
        for name, w in weights.items()
    }
    return gequi.set_weights(net, {name: w if "running" in name or "tracked" in name else 5 * (w + noise[name])
                                   for name, w in weights.items()})  # fmt: skip


def worst(table):
    return max(row["error"] for row in table if row["exact"])


# ---- the law --------------------------------------------------------------------------------------------

VECTOR = {"irrep_1,1": 1, "trivial": 1}
CASES = {
    "classes": (D4, 6, {"blocks": 2}),
    "odd patches, not square": (D4, (9, 6), {"patch_size": 3, "pool": "mean"}),
    "a vector that turns": (D4, 6, {"output": VECTOR}),
    "each pixel": (D4, 6, {"dense": True, "output": {"trivial": 2}}),
    "vectors at each pixel": (D4, 6, {"dense": True, "output": VECTOR}),
    "convolutions": (C4, 8, {"stem": "convolutions", "patch_size": 4}),
    "convolutions, each pixel": (C4, 8, {"stem": "convolutions", "patch_size": 4, "dense": True, "output": "irrep_1"}),
    "color vectors in, windows": (C4, 8, {"input": {"trivial": 3, "irrep_1": 1}, "window": 3}),
    "one pixel a patch": (C4, None, {"patch_size": 1, "stem": "convolutions"}),
    "volumes": (OCTA, 4, {"output": "irrep_1"}),
    "volumes, each voxel": (OCTA, 2, {"dense": True}),
}


@pytest.mark.parametrize("name", CASES)
def test_every_exact_element_commutes_although_all_weights_have_grown(name, dtype, random):
    space, size, options = CASES[name]
    net = grown(vit(space, size, **options))
    lengths = (5, 5) if size is None else size if isinstance(size, tuple) else (size,) * space.dimensionality
    x = random.normal(size=(1, net.in_type.size, *lengths))
    table = gequi.equivariance_error(net, x, dtype=dtype)
    assert all(row["exact"] for row in table)
    assert worst(table) <= BOUNDS[dtype]
    out = gequi.predict(net, x)
    assert out.std() > 1e-3
    assert out.shape[2:] == (lengths if options.get("dense") else ())


@pytest.mark.parametrize("part", ["embedding", "expansion", "heads"])
def test_the_same_check_fails_where_one_part_is_not_equivariant(part, random):
    net = grown(vit(D4, dense=True, dtype="float64"))
    if part == "heads":  # the waves of all heads are those of the identity
        net.layers[1].attention.matrices[:] = torch.eye(2)
    else:  # the filters of all poses are those of the identity
        layer = net.layers[0 if part == "embedding" else -1]
        layer.source[:] = layer.source[groups.elements(D4).index(D4.fibergroup.identity)]
    assert worst(gequi.equivariance_error(net, random.normal(size=(1, 1, 6, 6)))) > 1e-3


@pytest.mark.filterwarnings("ignore::gequi.errors.ExactnessWarning")
def test_patches_that_do_not_cover_another_image_are_warned_of_and_break_the_law(random):
    net = grown(vit(C4, dtype="float64"))
    x = random.normal(size=(1, 1, 7, 7))
    with pytest.warns(ExactnessWarning, match=r"layer 1 \(patch_embedding\)"):
        gequi.predict(net, x)
    assert worst(gequi.equivariance_error(net, x)) > 1e-3


def test_of_eight_turns_the_exact_ones_commute(dtype, random):
    net = grown(vit(C8, 9, patch_size=3, dense=True, width=16))
    assert net.recipe["layers"][0]["layer"] == "patch_embedding"
    table = gequi.equivariance_error(net, random.normal(size=(1, 1, 9, 9)), dtype=dtype)
    assert sum(row["exact"] for row in table) == 4
    assert worst(table) <= BOUNDS[dtype]


@pytest.mark.parametrize(("space", "output"), [(C8, "irrep_1"), (OCTA, "irrep_1"), (D4, {"trivial": 3})], ids=str)
def test_on_points_every_element_is_exact(space, output, dtype, random):
    """Points need no patches: embedding and head act on each point, or on the mean."""
    ready = vit(space, None, patch_size=1, dense=True, output=output)
    layers = [expansion({"regular": 2}, 1), *ready.recipe["layers"][1:]]
    net = grown(network(space, layers, {"regular": 1}, dtype=dtype))
    x, points = random.normal(size=(2, net.in_type.size, 9)), random.normal(size=(9, space.dimensionality)) * 4
    out = gequi.predict_points(net, x, points, dtype=dtype)
    for element in groups.elements(space):
        moved = np.einsum("ab,nbp->nap", net.in_type.representation(element), x)
        found = gequi.predict_points(net, moved, points @ groups.base_matrix(space, element).T, dtype=dtype)
        expected = np.einsum("ab,nbp->nap", net.out_type.representation(element), out)
        assert np.abs(found - expected).max() <= BOUNDS[dtype] * np.abs(out).max()


def test_a_ready_network_takes_points_where_a_patch_is_one_pixel(random):
    net = vit(C4, None, patch_size=1, dtype="float64")
    x = random.normal(size=(1, 1, 3, 4))
    row, column = np.mgrid[:3, :4]
    points = np.stack([column, -row], -1).reshape(-1, 2)
    np.testing.assert_allclose(
        gequi.predict_points(net, x.reshape(1, 1, -1), points), gequi.predict(net, x), atol=1e-12
    )
    with pytest.raises(InputError, match=r"layer 1 \(patch_embedding\): `patch_embedding` needs the grid"):
        gequi.predict_points(vit(C4), x.reshape(1, 1, -1), points)


# ---- what is computed -----------------------------------------------------------------------------------


@pytest.mark.parametrize("input", ["trivial", {"irrep_1,1": 1, "trivial": 1, "regular": 2}])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_token_holds_the_products_of_its_patch_with_the_turned_filter(size, input, random):
    """The pose g of a token is the pose of the identity of the token that the inverse of g moves there."""
    net = network(D4, [embedding(size)], input, dtype="float64")
    x = random.normal(size=(1, net.in_type.size, size, size))
    filters, bias = (each.detach().numpy() for each in net.layers[0].expand_parameters())
    identity = groups.elements(D4).index(D4.fibergroup.identity)
    out = gequi.predict(net, x)[0, :, 0, 0].reshape(2, 8)
    for number, element in enumerate(groups.elements(D4)):
        back = groups.elements(D4).index(~element)
        moved = gequi.transform_field(x, net.in_type, back)
        expected = np.einsum("fcij,cij->f", filters.reshape(2, 8, *filters.shape[1:])[:, identity], moved[0])
        np.testing.assert_allclose(out[:, number], expected + bias[::8], atol=1e-12)


def test_the_filters_of_the_identity_are_the_weights_and_without_a_group_they_are_a_convolution_of_torch(random):
    net = network(PLANE, [embedding(3, 4), expansion({"trivial": 2}, 3)], {"trivial": 2}, dtype="float64")
    x = random.normal(size=(2, 2, 6, 9))
    w = {name: torch.tensor(each) for name, each in gequi.get_weights(net).items()}
    tokens = torch.conv2d(torch.tensor(x), w["layers.0.weight"].view(4, 2, 3, 3), w["layers.0.bias"], 3)
    expected = torch.conv_transpose2d(tokens, w["layers.1.weight"].view(4, 2, 3, 3), w["layers.1.bias"], 3)
    np.testing.assert_allclose(gequi.predict(net, x), expected, atol=1e-14)


def test_an_expansion_is_the_transpose_of_an_embedding(random):
    """<embedding(x), y> = <x, expansion(y)> for the same weights."""
    fields = {"irrep_1,1": 1, "trivial": 2}
    there = network(D4, [embedding(2, 3, bias=False)], fields, dtype="float64")
    back = network(D4, [expansion(fields, 2, bias=False)], {"regular": 3}, dtype="float64")
    gequi.set_weights(back, gequi.get_weights(there))
    x, y = random.normal(size=(1, 4, 6, 6)), random.normal(size=(1, 24, 3, 3))
    assert np.isclose((gequi.predict(there, x) * y).sum(), (x * gequi.predict(back, y)).sum(), rtol=1e-12)


def test_biases_are_invariant_and_only_fields_that_have_one_get_one():
    net = network(C4, [embedding(), expansion({"irrep_1": 1, "trivial": 1, "regular": 1}, 2)])
    shapes = {name: weight.shape for name, weight in gequi.get_weights(net).items()}
    assert (shapes["layers.0.bias"], shapes["layers.1.bias"]) == ((2,), (2,))
    assert "layers.1.bias" not in gequi.get_weights(network(C4, [embedding(), expansion("irrep_1")]))


def test_a_token_norm_is_that_of_torch_and_scales_whole_fields(random):
    net = network(C4, [{"layer": "token_norm", "eps": 0.1}], {"regular": 2, "trivial": 1}, dtype="float64")
    x = random.normal(size=(2, 9, 3, 4)) + 2
    weight, bias = random.normal(size=3), random.normal(size=3)
    gequi.set_weights(net, {"layers.0.norm.weight": weight, "layers.0.norm.bias": bias})
    spread = [torch.tensor(np.repeat(each, [4, 4, 1])) for each in (weight, bias)]
    expected = torch.nn.functional.layer_norm(torch.tensor(x).movedim(1, -1), (9,), *spread, eps=0.1).movedim(-1, 1)
    np.testing.assert_allclose(gequi.predict(net, x), expected, atol=1e-13)


# ---- the recipe -----------------------------------------------------------------------------------------


def kinds(net):
    return [layer["layer"] for layer in net.recipe["layers"]]


def test_the_recipe_has_the_parts_that_were_asked_for():
    head = ["token_norm", "global_avg_pool", "group_pool", "dense"]
    assert kinds(vit(blocks=2)) == ["patch_embedding", *["posewise_attention_block"] * 2, *head]
    assert kinds(vit(output="irrep_1"))[-3:] == ["global_avg_pool", "flatten", "linear"]
    assert kinds(vit(dense=True))[-2:] == ["token_norm", "patch_expansion"]
    conv = ["conv", "batch_norm", "relu"]
    assert kinds(vit(stem="convolutions", patch_size=4, size=8))[:-5] == [*conv, "avg_pool", *conv, "avg_pool", "conv"]
    assert kinds(vit(stem=None)) == kinds(vit(stem="convolutions"))  # as small data needs
    assert kinds(vit(stem=None, patch_size=3))[0] == kinds(vit(stem=None, patch_size=1))[0] == "patch_embedding"
    assert kinds(vit(OCTA, 4, stem=None))[0] == "patch_embedding"
    assert kinds(vit(stem="convolutions", dense=True)) == [*conv, "skip", *conv, "conv"]


@pytest.mark.parametrize(("variant", "width", "heads"), [("tiny", 192, 1), ("small", 384, 1), ("base", 768, 3)])
def test_the_variants_have_the_widths_and_depths_of_plain_vision_transformers(variant, width, heads):
    from gequi.architectures import vit_layers

    rest = [None] * 5, 0.0, True, True, 4.0
    layers = vit_layers(C4, 32, {"trivial": 10}, variant, 4, "patches", False, "mean", *rest[0], *rest[1:])
    assert layers[0]["fields"] == {"regular": width // 4}
    assert [layer["layer"] for layer in layers].count("posewise_attention_block") == 12
    assert layers[1]["heads"] == heads


def test_a_width_that_the_group_does_not_divide_is_rounded_for_a_variant():
    net = gequi.equivariant_vit(gequi.gspace("rot2dOnR2", N=5), 3, patch_size=3, blocks=0, seed=1)
    assert net.steps[0].out_type.size == 190  # 38 fields, an even number


def test_a_block_has_one_eighth_of_the_parameters_of_a_plain_one():
    ours, plain = (
        sum(p.numel() for p in gequi.equivariant_vit(space, 4, width=64, blocks=1, seed=1).layers[1].parameters())
        for space in (D4, PLANE)
    )
    assert abs(8 * ours / plain - 1) < 0.02


def test_gradients_reach_every_weight(random):
    net = vit(C4, 8, stem="convolutions", dense=True, output={"irrep_1": 1, "trivial": 1})
    net(torch.tensor(random.normal(size=(2, 1, 8, 8)), dtype=torch.float32)).pow(3).sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert (parameter.grad != 0).any(), name


def test_it_learns_and_stays_invariant(random):
    """Two textures, of rows and of pixels, in any direction."""
    x = random.normal(size=(32, 1, 8, 8))
    y = np.arange(32) % 2
    x[y == 1] = np.sign(x[y == 1, :, :, :1]) + 0 * x[y == 1]
    net = vit(C4, 8, width=16, output={"trivial": 2})
    gequi.fit(net, x, y, epochs=10, batch_size=8, learning_rate=0.01, seed=1)
    turned = np.rot90(x, axes=(2, 3))
    assert (gequi.predict(net, turned).argmax(1) == y).mean() > 0.9
    np.testing.assert_allclose(gequi.predict(net, turned), gequi.predict(net, x), atol=1e-4)


def test_the_seed_sets_the_weights_in_both_types():
    single, double = (gequi.get_weights(vit(seed=3, dense=True, dtype=t)) for t in ("float32", "float64"))
    other = gequi.get_weights(vit(seed=4, dense=True))
    for name, weight in double.items():
        np.testing.assert_array_equal(single[name], weight.astype(np.float32))
        if not name.endswith(("norm.weight", "norm.bias", "log_gain", "frequencies")):
            assert (other[name] != single[name]).all(), name


# ---- what is refused ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("space", "size", "options", "kind", "message"),
    [
        (C4, 7, {}, InputError, "`size` must be divisible by patch_size = 2, .* got 7"),
        (C4, (6, 7), {}, InputError, "`size` must be divisible by patch_size = 2, .* got 7"),
        (C4, (6, 6, 6), {}, InputError, "`size` must have 1 or 2 numbers"),
        (C4, None, {}, InputError, "`size` is missing"),
        (C4, 6, {"patch_size": 3, "stem": "convolutions"}, InputError, "`patch_size` must be a power of 2"),
        (C4, 6, {"stem": "conv"}, InputError, "`stem` must be one of 'patches', 'convolutions'"),
        (C4, 6, {"variant": "huge"}, InputError, "`variant` must be one of 'tiny', 'small', 'base'"),
        (C4, 6, {"pool": "sum"}, InputError, "`pool` must be one of 'mean', 'max'"),
        (C4, 6, {"width": 10}, InputError, "`width` must be divisible by the order of the group, 4; got 10"),
        (C4, 6, {"width": 12}, InputError, "`key_dim` .* must be even"),
        (C4, 6, {"blocks": -1}, InputError, "`blocks` must be at least 0"),
        (C4, 6, {"dense": 1}, InputError, "`dense` must be true or false"),
        (C4, 6, {"output": "irrep_7"}, FieldError, "`output`.*irrep_7"),
        (C8, 8, {"patch_size": 4, "stem": "patches"}, InputError, "`patch_size` must be odd"),
        (gequi.gspace("rot2dOnR2"), 6, {}, FieldError, "`space` must be a gspace of the plane or of space with a finite group"),
        (gequi.gspace("no_base_space", group="cyclic_group", N=4), 6, {}, FieldError, "`space` must be a gspace"),
    ],
)  # fmt: skip
def test_a_network_that_cannot_be_is_refused(space, size, options, kind, message):
    with pytest.raises(kind, match=message):
        gequi.equivariant_vit(space, size, **{"width": 16, "blocks": 1, "patch_size": 2, "seed": 1, **options})


@pytest.mark.parametrize(
    ("space", "layers", "input", "kind", "message"),
    [
        (C4, [embedding(0)], "trivial", InputError, "`patch_size` must be at least 1"),
        (C4, [{**embedding(), "fields": "irrep_1"}], "trivial", FieldError, "`fields` must be regular.* 1 irrep_1"),
        (C4, [expansion()], "trivial", FieldError, r"layer 1 \(patch_expansion\): the layer works on regular fields.* 1 trivial"),
        (C4, [expansion(bias=1)], "regular", InputError, "`bias` must be true or false"),
        (gequi.gspace("rot2dOnR2"), [expansion()], "trivial", FieldError, r"requires a finite group; SO\(2\) is continuous"),
        (gequi.gspace("rot3dOnR3"), [embedding()], "trivial", FieldError, r"requires a finite group; SO\(3\) is continuous"),
        (gequi.gspace("no_base_space", group="cyclic_group", N=4), [embedding()], "trivial", FieldError, "images and volumes"),
        (C4, [{"layer": "token_norm"}], "irrep_1", FieldError, "acts on each channel alone"),
        (C4, [{"layer": "token_norm", "eps": -1}], "regular", InputError, "`eps` must be at least 0"),
    ],
)  # fmt: skip
def test_layers_that_do_not_fit_are_refused_by_name(space, layers, input, kind, message):
    with pytest.raises(kind, match=message):
        network(space, layers, input)

"""group_attention: attention between poses is equivariant for all weights and at all positions."""

import math

import numpy as np
import pytest
import torch

import gequi
from gequi import groups
from gequi.errors import ExactnessWarning, FieldError, InputError, ShapeError
from gequi.networks import draw_weights

C4, D4, C8 = gequi.gspace("rot2dOnR2", N=4), gequi.gspace("flipRot2dOnR2", N=4), gequi.gspace("rot2dOnR2", N=8)
PLANE = gequi.gspace("trivialOnR2")
SPACES = {"C4": C4, "D4": D4, "C8": C8}

# The bounds of the laws with all weights five times their initial ones, relative to the largest output.
BOUNDS = {"float32": 1e-5, "float64": 1e-12}


def lifting(fields=8, **options):
    return {"layer": "lifting_attention", "fields": {"regular": fields}, "heads": 2, **options}


def attention(fields=8, **options):
    return {"layer": "group_attention", "fields": {"regular": fields}, "heads": 2, **options}


def block(**options):
    return {"layer": "group_attention_block", "heads": 2, **options}


def grown(network):
    """Return the network with all weights multiplied by 5, where faults that initial weights hide become visible."""
    return gequi.set_weights(network, {name: 5 * weight for name, weight in gequi.get_weights(network).items()})


def network(space, layers, input="trivial", **options):
    return gequi.equivariant_network(space, input, layers, **{"seed": 1, **options})


def worst(table):
    return max(row["error"] for row in table if row["exact"])


# ---- the law on images ----------------------------------------------------------------------------------

NETWORKS = {
    "lifting": [lifting()],
    "lifting and group attention": [lifting(), attention()],
    "a block": [lifting(), block()],
    "rotary": [lifting(16, positions="rotary"), attention(16, positions="rotary"), block(positions="rotary", window=3)],
    "windows": [lifting(window=5), attention(window=3)],
}


@pytest.mark.parametrize(("group", "length"), [
    *((group, 9) for group in SPACES), ("C4", 14), *(pytest.param(group, 14, marks=pytest.mark.slow) for group in ("D4", "C8")),
])  # fmt: skip
@pytest.mark.parametrize("layers", NETWORKS.values(), ids=NETWORKS)
def test_attention_commutes_with_every_exact_element_although_all_weights_have_grown(
    layers, group, length, dtype, random
):
    net = grown(network(SPACES[group], layers))
    table = gequi.equivariance_error(net, random.normal(size=(2, 1, length, length)), dtype=dtype)
    assert sum(row["exact"] for row in table) == {"C4": 4, "D4": 8, "C8": 4}[group]
    assert worst(table) <= BOUNDS[dtype]


@pytest.mark.parametrize("space", [gequi.gspace("flip2dOnR2"), gequi.gspace("flipRot2dOnR2", N=2)], ids=str)
def test_reflections_alone_and_images_that_are_not_square_keep_the_law(space, dtype, random):
    net = grown(network(space, [lifting(), attention(window=3)], input={"trivial": 2}))
    assert worst(gequi.equivariance_error(net, random.normal(size=(1, 2, 6, 9)), dtype=dtype)) <= BOUNDS[dtype]


def test_attention_mixes_with_steerable_convolutions(dtype, exactness, random):
    layers = [
        {"layer": "conv", "fields": {"regular": 8}, "kernel_size": 3, "padding": 1}, {"layer": "relu"},
        attention(), {"layer": "conv", "fields": {"regular": 8}, "kernel_size": 3}, {"layer": "elu"}, block(),
        {"layer": "conv", "fields": {"irrep_1": 2}, "kernel_size": 3},
    ]  # fmt: skip
    net = grown(network(C4, layers))
    assert worst(gequi.equivariance_error(net, random.normal(size=(1, 1, 11, 11)), dtype=dtype)) <= exactness


@pytest.mark.parametrize("space", [C4, D4], ids=str)
def test_with_the_permutation_of_poses_left_out_the_same_check_fails(space, random):
    net = grown(network(space, [lifting(), attention()]))
    table = gequi.equivariance_error(
        lambda x: gequi.predict(net, x, dtype="float64"),
        random.normal(size=(1, 1, 9, 9)),
        space,
        input="trivial",
        output={"trivial": net.out_type.size},  # the maps turn, the poses stay
    )
    assert min(row["error"] for row in table[1:]) > 0.1


def test_a_position_that_the_group_does_not_act_on_breaks_the_law(random):
    net = grown(network(PLANE, [lifting(), attention()]))  # the positions of a group without turns
    table = gequi.equivariance_error(
        lambda x: gequi.predict(net, x, dtype="float64"),
        random.normal(size=(1, 1, 9, 9)),
        C4,
        "trivial",
        {"trivial": 8},
    )
    assert min(row["error"] for row in table[1:]) > 0.1


@pytest.mark.parametrize(("attention", "pool"), [("pairwise", "mean"), ("pairwise", "max"), ("posewise", "max")])
@pytest.mark.parametrize("space", [C4, D4], ids=str)
def test_the_pooled_output_is_invariant(space, attention, pool, random):
    net = grown(gequi.gsa_network(space, pool=pool, attention=attention, seed=1, dtype="float64"))
    x = random.normal(size=(2, 1, 9, 9))
    out = gequi.predict(net, x)
    for element in range(space.fibergroup.order()):
        moved = gequi.predict(net, gequi.transform_field(x, net.in_type, element))
        assert np.abs(moved - out).max() <= 1e-12 * np.abs(out).max()


# ---- the law on points ----------------------------------------------------------------------------------


@pytest.mark.parametrize("space", [C8, gequi.gspace("rot2dOnR2", N=6), gequi.gspace("rot2dOnR2", N=3),
                                   gequi.gspace("flipRot2dOnR2", N=8), gequi.gspace("flipRot2dOnR2", N=5)], ids=str)  # fmt: skip
@pytest.mark.parametrize("positions", ["additive", "rotary"])
def test_on_points_every_turn_is_exact(positions, space, dtype, random):
    rotary = {"key_dim": 2 * space.fibergroup.order(), "positions": "rotary"}
    layers = [lifting(), attention(), block(), lifting(**rotary), attention(**rotary)]
    net = grown(network(space, layers[:3] if positions == "additive" else layers[3:]))
    x, points = random.normal(size=(2, 1, 23)), random.normal(size=(23, 2)) * 4
    out = gequi.predict_points(net, x, points, dtype=dtype)
    assert out.shape == (2, net.out_type.size, 23)
    for element in groups.elements(space):
        moved = gequi.predict_points(net, x, points @ groups.base_matrix(space, element).T, dtype=dtype)
        expected = np.einsum("ab,nbp->nap", net.out_type.representation(element), out)
        assert np.abs(moved - expected).max() <= BOUNDS[dtype] * np.abs(out).max()


def test_points_may_be_shifted_and_renumbered(random):
    net = network(C4, [lifting(), attention()], dtype="float64")
    x, points = random.normal(size=(2, 1, 12)), random.normal(size=(2, 12, 2))
    out = gequi.predict_points(net, x, points)
    np.testing.assert_allclose(gequi.predict_points(net, x, points + np.array([3, -7])), out, atol=1e-12)
    order = random.permutation(12)
    np.testing.assert_allclose(gequi.predict_points(net, x[..., order], points[:, order]), out[..., order], atol=1e-12)


def test_an_image_is_the_set_of_its_pixels(random):
    net = gequi.gsa_network(D4, seed=1, dtype="float64")
    x = random.normal(size=(1, 1, 5, 4))
    row, column = np.mgrid[:5, :4]
    points = np.stack([column - 1.5, 2 - row], -1).reshape(-1, 2)  # x to the right, y up
    np.testing.assert_allclose(
        gequi.predict_points(net, x.reshape(1, 1, -1), points), gequi.predict(net, x), atol=1e-12
    )


# ---- what is computed -----------------------------------------------------------------------------------


def by_definition(module, space, x, points, form="exact"):
    """The layer's formula, pair by pair: features (field, element or 1, point) to (field, element, point).

    "published" is the form of the published code: a query at each pose u, and h^-1 acting on u^-1 w once more.
    """
    w = {name: p.detach().numpy() for name, p in module.named_parameters()}
    table = gequi.cayley_table(space)
    inverse = np.argmin(table, axis=1)
    matrices = [groups.base_matrix(space, element) for element in groups.elements(space)]
    heads, d, order = module.heads, module.key_dim, len(table)
    poses = x.shape[1]

    def maps(name):  # (head, feature, pose, point)
        out = np.einsum("ec,cpn->epn", w[name], x) + w[f"{name}_bias"][:, None, None]
        return out.reshape(heads, d, poses, -1)

    query, key, value = maps("query"), maps("key"), maps("value")
    orbit = module.scores.matrices.numpy()

    def rho(head, z):
        waves = np.einsum("wab,fb->wfa", orbit, w["scores.frequencies"][head])
        even, odd = w["scores.waves"][:, head]
        return np.einsum("wf,wfd->d", np.cos(waves @ z), even) + np.einsum("wf,wfd->d", np.sin(waves @ z), odd)

    count = points.shape[0]
    out = np.zeros((order, count, heads, d))
    for head in range(heads):
        for h in range(order):
            for i in range(count):
                moved = [rho(head, matrices[h].T @ (points[j] - points[i])) for j in range(count)]
                for u in range(poses) if form == "published" else [h if poses > 1 else 0]:
                    scores = np.zeros((poses, count))
                    for v in range(poses):
                        relative = table[inverse[u], v]
                        element = table[inverse[h], relative] if form == "published" else table[inverse[h], v]
                        pose = w["scores.poses"][head, element] if poses > 1 else 0
                        for j in range(count):
                            scores[v, j] = query[head, :, u, i] @ (key[head, :, v, j] + moved[j] + pose) / math.sqrt(d)
                    weights = np.exp(scores - scores.max())
                    weights /= weights.sum()
                    out[h, i, head] += np.einsum("vj,dvj->d", weights, value[head])
    return (out.reshape(order, count, -1) @ w["output"].T + w["output_bias"]).transpose(2, 0, 1)


@pytest.mark.parametrize("space", [C4, gequi.gspace("flipRot2dOnR2", N=3)], ids=str)
def test_the_layers_compute_their_formula(space, random):
    net = network(space, [lifting(4, qk_norm=False), attention(6, key_dim=3, qk_norm=False)], dtype="float64")
    points = random.normal(size=(5, 2)) * 3
    x = random.normal(size=(1, 1, 5))
    first, second = (layer.attention for layer in net.layers)
    poses = by_definition(first, space, x[0][:, None], points)
    expected = by_definition(second, space, poses, points)
    np.testing.assert_allclose(gequi.predict_points(net, x, points)[0], expected.reshape(-1, 5), atol=1e-12)


def test_the_published_form_is_not_equivariant_and_hides_it_at_initialisation(random):
    net = grown(network(C4, [attention(4, qk_norm=False)], input={"regular": 4}, dtype="float64"))
    x, points = random.normal(size=(4, 4, 5)), random.normal(size=(5, 2)) * 3
    turn = groups.base_matrix(C4, groups.elements(C4)[1])
    back = gequi.cayley_table(C4)[3]  # the pose h - 1 takes the place of h
    errors = {}
    for form in ("exact", "published"):
        out, moved = (by_definition(net.layers[0].attention, C4, *given, form)
                      for given in ((x, points), (x[:, back], points @ turn.T)))  # fmt: skip
        errors[form] = np.abs(moved - out[:, back]).max() / np.abs(out).max()
    assert errors["exact"] <= 1e-12
    assert errors["published"] > 1e-2


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_without_positions_and_with_the_trivial_group_it_is_the_attention_of_torch(heads, random):
    options = {"heads": heads, "frequencies": 0, "qk_norm": False}
    net = network(PLANE, [attention(8, **options)], input={"regular": 8}, dtype="float64")
    w = {name.rpartition(".")[2]: torch.tensor(weight) for name, weight in gequi.get_weights(net).items()}
    theirs = torch.nn.MultiheadAttention(8, heads, batch_first=True, dtype=torch.float64)
    theirs.in_proj_weight.data = torch.cat([w["query"], w["key"], w["value"]])
    theirs.in_proj_bias.data = torch.cat([w["query_bias"], w["key_bias"], w["value_bias"]])
    theirs.out_proj.weight.data, theirs.out_proj.bias.data = w["output"], w["output_bias"]
    x = random.normal(size=(2, 8, 4, 5))
    tokens = torch.tensor(x).flatten(2).mT
    expected = theirs(tokens, tokens, tokens)[0].detach().mT.reshape(2, 8, 4, 5)
    np.testing.assert_allclose(gequi.predict(net, x), expected, atol=1e-13)


@pytest.mark.parametrize(
    "layers", [[lifting(window=11)], [lifting(), attention(window=11)]], ids=["lifting", "attention"]
)
def test_a_window_that_reaches_from_every_pixel_to_all_is_the_whole_image(layers, random):
    x = random.normal(size=(2, 1, 6, 5))
    whole = [{**layer, "window": None} for layer in layers]
    local, everywhere = (network(C4, each, dtype="float64") for each in (layers, whole))
    np.testing.assert_allclose(gequi.predict(local, x), gequi.predict(everywhere, x), atol=1e-13)


def test_a_pixel_sees_its_window_only(random):
    net = network(C4, [lifting(window=3)], dtype="float64")
    x = random.normal(size=(1, 1, 7, 7))
    other = x.copy()
    other[0, 0, 2, 3] += 1
    changed = (gequi.predict(net, x) != gequi.predict(net, other)).any(axis=(0, 1))
    expected = np.zeros((7, 7), bool)
    expected[1:4, 2:5] = True
    np.testing.assert_array_equal(changed, expected)


def test_the_mean_of_a_constant_image_is_that_constant_at_the_border_too():
    net = network(C4, [lifting(window=3)], dtype="float64")
    out = gequi.predict(net, np.ones((1, 1, 5, 5)))
    np.testing.assert_allclose(out, out[:, :, 2:3, 2:3] * np.ones((5, 5)), atol=1e-13)


def test_features_of_the_group_cost_no_array_of_tokens_by_tokens():
    class Largest(torch.utils._python_dispatch.TorchDispatchMode):
        numel = 0

        def __torch_dispatch__(self, function, types, arguments=(), options=None):
            out = function(*arguments, **(options or {}))
            for each in out if isinstance(out, tuple) else (out,):
                if isinstance(each, torch.Tensor):
                    self.numel = max(self.numel, each.numel())
            return out

    net = network(C4, [attention()], input={"regular": 8})
    x = torch.zeros(1, 32, 16, 16)
    with Largest() as forward:
        out = net(x)
        out.sum().backward()
    tokens = 4 * 16 * 16
    assert 0 < forward.numel < tokens**2 / 4


def test_dropout_drops_while_training_only_and_leaves_the_fused_kernel_alone(random):
    net = network(C4, [lifting(dropout=0.5)])
    x = random.normal(size=(8, 1, 5, 5))
    assert 0.3 < (net(torch.tensor(x, dtype=torch.float32)) == 0).float().mean() < 0.7
    assert (gequi.predict(net, x) != 0).all()


def test_a_block_adds_to_its_input_and_normalises_over_the_fields_of_a_pose(random):
    net = network(C4, [block()], input={"regular": 6}, dtype="float64")
    x = random.normal(size=(1, 24, 5, 5))
    silent = {name: 0 * w for name, w in gequi.get_weights(net).items() if ".output" in name or ".outer" in name}
    np.testing.assert_array_equal(gequi.predict(gequi.set_weights(net, silent), x), x)
    from gequi._escnn import GeometricTensor

    normal = (
        net.layers[0].norm(GeometricTensor(torch.tensor(x), net.in_type)).tensor.detach().numpy().reshape(6, 4, 5, 5)
    )
    np.testing.assert_allclose(normal.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(normal.var(axis=0), 1, atol=1e-3)


def test_gradients_reach_every_weight(random):
    net = gequi.gsa_network(C4, fields=4, blocks=1, attention="pairwise", seed=1)
    net(torch.tensor(random.normal(size=(2, 1, 5, 5)), dtype=torch.float32)).square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert (parameter.grad != 0).any(), name


def test_the_seed_sets_the_weights_in_both_types():
    single, double = (
        gequi.get_weights(gequi.gsa_network(C4, attention="pairwise", seed=3, dtype=t)) for t in ("float32", "float64")
    )
    other = gequi.get_weights(gequi.gsa_network(C4, attention="pairwise", seed=4))
    for name, weight in double.items():
        np.testing.assert_array_equal(single[name], weight.astype(np.float32))
        if not name.endswith(("norm.weight", "norm.bias", "log_gain")):
            assert (other[name] != single[name]).all(), name


# ---- the ready network ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "block"),
    [({}, "posewise_attention_block"), ({"attention": "posewise"}, "posewise_attention_block"),
     ({"attention": "pairwise"}, "group_attention_block")],
)  # fmt: skip
def test_the_ready_network_is_a_recipe(options, block):
    net = gequi.gsa_network(C4, units=3, blocks=2, seed=1, **options)
    assert [layer["layer"] for layer in net.recipe["layers"]] == [
        "lifting_attention", block, block, "global_avg_pool", "group_pool", "dense",
    ]  # fmt: skip
    assert gequi.output_shape(net, (5, 1, 9, 9)) == gequi.predict(net, np.zeros((5, 1, 9, 9))).shape == (5, 3)


@pytest.mark.parametrize("attention", ["posewise", "pairwise"])
def test_patches_that_cover_the_image_keep_exactness(attention, random):
    net = grown(gequi.gsa_network(C4, patch_size=3, size=15, attention=attention, seed=1, dtype="float64"))
    assert worst(gequi.equivariance_error(net, random.normal(size=(1, 1, 15, 15)))) <= 1e-12
    assert net.recipe["layers"][0]["layer"] == "conv"


def test_patches_that_do_not_cover_another_image_are_warned_of():
    net = gequi.gsa_network(C4, patch_size=3, size=15, seed=1)
    with pytest.warns(ExactnessWarning, match=r"layer 1 \(conv\)"):
        gequi.predict(net, np.zeros((1, 1, 16, 16)))


# ---- what is refused ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("space", "layers", "input", "kind", "message"),
    [
        (C4, [lifting()], "regular", FieldError, r"layer 1 \(lifting_attention\): the layer requires trivial fields; .* 1 regular"),
        (C4, [attention()], "trivial", FieldError, r"layer 1 \(group_attention\): the layer works on poses .* 1 trivial"),
        (C4, [block()], "irrep_1", FieldError, r"layer 1 \(group_attention_block\): the layer works on poses .* 1 irrep_1"),
        (C4, [{**lifting(), "fields": {"irrep_1": 2}}], "trivial", FieldError, "`fields` must be regular.* 2 irrep_1"),
        (C4, [lifting(3)], "trivial", InputError, "`heads` must divide the number of fields, 3, .*got 2"),
        (C4, [lifting(window=4)], "trivial", InputError, "`window` must be odd"),
        (C4, [lifting(frequencies=-1)], "trivial", InputError, "`frequencies` must be at least 0"),
        (C4, [lifting(key_dim=0)], "trivial", InputError, "`key_dim` must be at least 1"),
        (C4, [lifting(dropout=2)], "trivial", InputError, "`dropout` must be from 0 to 1"),
        (C4, [lifting(positions="none")], "trivial", InputError, "`positions` must be one of 'additive', 'rotary'"),
        (D4, [lifting(8, positions="rotary")], "trivial", InputError, "`key_dim` .* must be divisible by 8 .* D4; got 4"),
        (C4, [lifting(qk_norm=1)], "trivial", InputError, "`qk_norm` must be true or false"),
        (C4, [lifting(), block(mlp_ratio=-1)], "trivial", InputError, "`mlp_ratio` must be from 0 to 1024"),
        (gequi.gspace("rot2dOnR2"), [lifting()], "trivial", FieldError, r"finite group.*SO\(2\) is continuous"),
        (gequi.gspace("octaOnR3"), [lifting()], "trivial", FieldError, "works on images; .* volumes"),
    ],
)  # fmt: skip
def test_attention_that_does_not_fit_is_refused_by_name(space, layers, input, kind, message):
    with pytest.raises(kind, match=message):
        network(space, layers, input)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patch_size": 2, "size": 8}, "`patch_size` must be odd"),
        ({"patch_size": 3}, "`size` is missing"),
        ({"patch_size": 3, "size": (9, 10)}, "`size` must be divisible by patch_size = 3.* got 10"),
        ({"attention": "both"}, "`attention` must be one of 'posewise', 'pairwise'"),
        ({"pool": "median"}, "`pool` must be one of 'mean', 'max'"),
        ({"blocks": -1}, "`blocks` must be at least 0"),
        ({"fields": 2.5}, "`fields` must be a whole number"),
    ],
)
def test_a_ready_network_that_cannot_be_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        gequi.gsa_network(C4, **options)


@pytest.mark.parametrize(
    ("layers", "shapes", "kind", "message"),
    [
        ([{"layer": "conv", "fields": "regular", "kernel_size": 3}], ((1, 1, 4), (4, 2)), InputError, r"layer 1 \(conv\): `conv` needs the grid"),
        ([lifting(), {"layer": "residual", "layers": [{"layer": "mask"}]}], ((1, 1, 4), (4, 2)), InputError, r"layer 2\.1 \(mask\)"),
        ([lifting(window=3)], ((1, 1, 4), (4, 2)), InputError, "with a window needs the grid"),
        ([lifting()], ((1, 2, 4), (4, 2)), ShapeError, "`x` must have 1 on its axis 'channel'"),
        ([lifting()], ((1, 1, 4), (5, 2)), ShapeError, r"`points` must have the shape \(4, 2\)"),
        ([lifting()], ((2, 1, 4), (3, 4, 2)), ShapeError, r"or \(2, 4, 2\)"),
    ],
)  # fmt: skip
def test_points_that_do_not_fit_are_refused(layers, shapes, kind, message):
    with pytest.raises(kind, match=message):
        gequi.predict_points(network(C4, layers), *(np.ones(shape) for shape in shapes))


def test_weights_are_drawn_by_the_network_alone():
    net = gequi.gsa_network(C4, seed=5)
    before = gequi.get_weights(net)
    draw_weights(net, 5)
    for name, weight in gequi.get_weights(net).items():
        np.testing.assert_array_equal(weight, before[name])

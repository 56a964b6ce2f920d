"""posewise_attention: attention within each pose is equivariant, in the plane and in space."""

import math

import numpy as np
import pytest
import torch

import gequi
from gequi import groups
from gequi._escnn import float_type
from gequi.errors import FieldError, InputError, ShapeError
from gequi.group_attention import PoseLinear
from gequi.group_attention.fourier import GroupFourier, TokenNorm
from gequi.group_attention.posewise import rotate
from gequi.networks import draw_weights

C4, D4, C8 = gequi.gspace("rot2dOnR2", N=4), gequi.gspace("flipRot2dOnR2", N=4), gequi.gspace("rot2dOnR2", N=8)
D3, OCTA = gequi.gspace("flipRot2dOnR2", N=3), gequi.gspace("octaOnR3")
PLANE = gequi.gspace("trivialOnR2")

# The bounds of the laws with all weights five times their initial ones, relative to the largest output.
BOUNDS = {"float32": 1e-5, "float64": 1e-12}


def attention(fields=4, **options):
    return {"layer": "posewise_attention", "fields": {"regular": fields}, **options}


def block(**options):
    return {"layer": "posewise_attention_block", **options}


def grown(network):
    """The network with all its weights, learned frequencies too, multiplied by 5."""
    return gequi.set_weights(network, {name: 5 * weight for name, weight in gequi.get_weights(network).items()})


def network(space, layers, input=None, **options):
    return gequi.equivariant_network(space, input or {"regular": 4}, layers, **{"seed": 1, **options})


def worst(table):
    return max(row["error"] for row in table if row["exact"])


# ---- the law on images and volumes ----------------------------------------------------------------------

NETWORKS = {
    "attention, then a block": [attention(8, heads=2), block()],
    "fixed frequencies": [attention(2, key_dim=4, learn_frequencies=False)],
}


@pytest.mark.parametrize("length", [9, 14])
@pytest.mark.parametrize("space", [C4, D4], ids=str)
@pytest.mark.parametrize("layers", NETWORKS.values(), ids=NETWORKS)
def test_every_exact_element_commutes_although_all_weights_have_grown(layers, space, length, dtype, random):
    net = grown(network(space, layers))
    table = gequi.equivariance_error(net, random.normal(size=(1, net.in_type.size, length, length)), dtype=dtype)
    assert all(row["exact"] for row in table)
    assert worst(table) <= BOUNDS[dtype]


def test_windows_keep_the_law_on_images_that_are_not_square(dtype, random):
    net = grown(network(gequi.gspace("flipRot2dOnR2", N=2), [attention(window=5), block(window=3)]))
    table = gequi.equivariance_error(net, random.normal(size=(1, 16, 6, 9)), dtype=dtype)
    assert worst(table) <= BOUNDS[dtype]


def test_every_rotation_of_the_cube_commutes_on_volumes(dtype, random):
    net = grown(network(OCTA, [attention(2), block()], {"regular": 2}))
    table = gequi.equivariance_error(net, random.normal(size=(1, 48, 4, 4, 4)), dtype=dtype)
    assert sum(row["exact"] for row in table) == 24
    assert worst(table) <= BOUNDS[dtype]


@pytest.mark.parametrize("name", ["mirOnR3", "fullOctaOnR3"])
def test_reflections_of_space_commute_on_volumes_that_are_not_cubes(name, dtype, random):
    net = grown(network(gequi.gspace(name), [block()], {"regular": 2}))
    shape = (1, net.in_type.size, *((3, 4, 5) if name == "mirOnR3" else (3, 3, 3)))
    assert worst(gequi.equivariance_error(net, random.normal(size=shape), dtype=dtype)) <= BOUNDS[dtype]


def test_it_mixes_with_convolutions_and_pairwise_attention(dtype, exactness, random):
    conv = {"layer": "conv", "fields": {"regular": 4}, "kernel_size": 3, "padding": 1}
    layers = [
        conv, {"layer": "relu"}, attention(), conv, {"layer": "elu"}, block(), {"layer": "group_attention_block"},
        {"layer": "residual", "layers": [block(), conv]}, {"layer": "conv", "fields": {"irrep_1": 2}, "kernel_size": 3},
    ]  # fmt: skip
    net = grown(network(C4, layers, "trivial"))
    assert worst(gequi.equivariance_error(net, random.normal(size=(1, 1, 9, 9)), dtype=dtype)) <= exactness


@pytest.mark.parametrize("fault", ["heads", "linear", "norm"])
def test_the_same_check_fails_where_one_part_is_not_equivariant(fault, random):
    net = grown(network(D4, [block()], dtype="float64"))
    layer = net.layers[0]
    if fault == "heads":  # the waves of all heads are those of the identity
        layer.attention.matrices[:] = torch.eye(2)
    elif fault == "linear":  # the runs of the irrep of size 2 are not its runs
        layer.fourier.rows[4:] = layer.fourier.rows[[4, 6, 5, 7]]
    else:  # each run has its own scale
        layer.norm.forward = lambda bands: [band * torch.arange(1.0, len(band) + 1)[:, None, None] for band in bands]
    table = gequi.equivariance_error(net, random.normal(size=(1, 32, 7, 7)))
    assert worst(table) > 1e-3


# ---- the law on points ----------------------------------------------------------------------------------


def moved_by(space, element, fields, x):
    return np.einsum("ab,nbp->nap", fields.representation(element), x)


@pytest.mark.parametrize("space", [C8, D3, gequi.gspace("flipRot2dOnR2", N=8), OCTA, gequi.gspace("rot2dOnR3", N=5),
                                   gequi.gspace("dihedralOnR3", N=3)], ids=str)  # fmt: skip
def test_on_points_every_element_is_exact(space, dtype, random):
    layers = [attention(4, heads=2), block(learn_frequencies=False)]
    net = grown(network(space, layers, {"regular": 2}))
    axes = space.dimensionality
    x, points = random.normal(size=(2, net.in_type.size, 11)), random.normal(size=(11, axes)) * 4
    out = gequi.predict_points(net, x, points, dtype=dtype)
    assert out.shape == (2, net.out_type.size, 11)
    for element in groups.elements(space):
        moved_points = points @ groups.base_matrix(space, element).T
        moved = gequi.predict_points(net, moved_by(space, element, net.in_type, x), moved_points, dtype=dtype)
        expected = moved_by(space, element, net.out_type, out)
        assert np.abs(moved - expected).max() <= BOUNDS[dtype] * np.abs(out).max()


@pytest.mark.parametrize("space", [C4, OCTA], ids=str)
def test_points_may_be_shifted_and_renumbered(space, random):
    net = network(space, [attention(), block()], {"regular": 2}, dtype="float64")
    axes = space.dimensionality
    x, points = random.normal(size=(2, net.in_type.size, 12)), random.normal(size=(2, 12, axes))
    out = gequi.predict_points(net, x, points)
    shift = np.array([3, -7, 2])[:axes]
    np.testing.assert_allclose(gequi.predict_points(net, x, points + shift), out, atol=1e-12)
    order = random.permutation(12)
    np.testing.assert_allclose(gequi.predict_points(net, x[..., order], points[:, order]), out[..., order], atol=1e-12)


def test_a_volume_is_the_set_of_its_pixels(random):
    net = network(OCTA, [attention(2)], {"regular": 1}, dtype="float64")
    x = random.normal(size=(1, 24, 3, 4, 2))
    depth, row, column = np.mgrid[:3, :4, :2]
    points = np.stack([column, -row, -depth], -1).reshape(-1, 3)
    expected = gequi.predict(net, x)
    np.testing.assert_allclose(
        gequi.predict_points(net, x.reshape(1, 24, -1), points), expected.reshape(1, 48, -1), atol=1e-12
    )


# ---- what is computed -----------------------------------------------------------------------------------


def by_definition(module, space, x, points):
    """The layer's formula, element by element: features (field, pose, point) to (field, pose, point)."""
    members = groups.elements(space)
    number = {element: i for i, element in enumerate(members)}

    def linear(layer, x, parts):
        weight, bias = (each.detach().numpy() for each in (layer.weight, layer.bias))
        out = [sum(weight[number[~g @ h]] @ x[:, j] for j, h in enumerate(members)) + bias[:, None] for g in members]
        return np.stack(out, 1).reshape(parts, -1, *x.shape[1:])

    query, key, value = linear(module.maps, x, 3)  # (head * feature, pose, point)
    waves = module.frequencies.detach().numpy()
    d, result = module.key_dim, np.zeros_like(value)
    for i, g in enumerate(members):
        angles = np.einsum("hva,pa->hvp", waves, points @ groups.base_matrix(space, g))  # <v, g^-1 x>
        for head in range(module.heads):
            features = slice(head * d, (head + 1) * d)
            turned = []
            for each in (query, key):
                real, imaginary = np.split(each[features, i], 2)
                turned.append((real + 1j * imaginary) * np.exp(1j * angles[head]))
            scores = (turned[0].conj().T @ turned[1]).real / math.sqrt(d)
            weights = np.exp(scores - scores.max(1, keepdims=True))
            result[features, i] = value[features, i] @ (weights / weights.sum(1, keepdims=True)).T
    return linear(module.output, result, 1)[0]


@pytest.mark.parametrize("space", [D3, gequi.gspace("rot2dOnR3", N=3), OCTA], ids=str)
def test_the_layer_computes_its_formula(space, random):
    net = grown(network(space, [attention(3, heads=2, key_dim=4, qk_norm=False)], {"regular": 2}, dtype="float64"))
    order, axes = space.fibergroup.order(), space.dimensionality
    x, points = random.normal(size=(2, order, 5)), random.normal(size=(5, axes))
    expected = by_definition(net.layers[0].attention, space, x, points)
    out = gequi.predict_points(net, x.reshape(1, -1, 5), points)[0]
    np.testing.assert_allclose(out, expected.reshape(-1, 5), atol=1e-11 * np.abs(expected).max())


GROUPS = [
    PLANE, C4, C8, gequi.gspace("rot2dOnR2", N=5), D3, D4, OCTA, gequi.gspace("fullOctaOnR3"), gequi.gspace("icoOnR3"),
    gequi.gspace("dihedralOnR3", N=5), gequi.gspace("mirOnR3"),
]  # fmt: skip


@pytest.mark.parametrize("space", GROUPS, ids=str)
def test_linear_maps_in_the_fourier_basis_are_the_dense_ones(space, dtype, random):
    kind = getattr(torch, dtype)
    with float_type(kind):
        fourier, layer, norm = GroupFourier(space), PoseLinear(space, 2, 3), TokenNorm(2, space.fibergroup.order())
    draw_weights(layer, 1)
    norm.weight.data, norm.bias.data = (torch.tensor(random.normal(size=2), dtype=kind) for _ in range(2))
    x = torch.tensor(random.normal(size=(fourier.order, 2, 5)), dtype=kind)
    products = groups.cayley_table(space)
    identity = groups.elements(space).index(space.fibergroup.identity)
    inverse = np.argmax(products == identity, 1)
    relative = torch.tensor(products[inverse])  # the number of g^-1 h
    dense = layer.weight.double()[relative]  # (g, h, output, input)
    inner = x.double() * norm.weight[:, None] + norm.bias[:, None]
    for expected, out in (
        (torch.einsum("ghoi,hin->gon", dense, x.double()), layer(fourier(x))),
        (torch.einsum("ghoi,hin->gon", dense, inner), layer(fourier(x), norm)),
        (torch.einsum("ghoi,hin->gon", dense, inner), layer.ready(norm)(fourier(x))),
    ):
        found = fourier.inverse(out).double()
        error = (found - expected - layer.bias[:, None]).abs().max() / expected.abs().max()
        assert error <= {"float32": 1e-6, "float64": 1e-13}[dtype]


@pytest.mark.parametrize("space", [C4, D4, D3, OCTA], ids=str)
def test_linear_maps_are_those_of_escnn(space, random):
    """A map of escnn, with its own basis, is the map whose weights are those of its matrix to the identity."""
    fields = [gequi.field_type(space, {"regular": n}) for n in (2, 3)]
    conv = {"layer": "conv", "fields": {"regular": 3}, "kernel_size": 1, "bias": False}
    net = network(space, [conv], {"regular": 2}, dtype="float64")
    with float_type(torch.float64):
        layer, fourier = PoseLinear(space, 2, 3), GroupFourier(space)
    assert layer.weight.numel() == sum(weight.size for weight in gequi.get_weights(net).values())
    order = fourier.order
    matrix = net.layers[0].expand_parameters()[0].flatten(1).view(3, order, 2, order)
    identity = groups.elements(space).index(space.fibergroup.identity)
    layer.weight.data, layer.bias.data = (
        matrix[:, identity].permute(2, 0, 1).contiguous().detach(),
        torch.zeros(3).double(),
    )
    x = random.normal(size=(1, fields[0].size, *[2] * space.dimensionality))
    tokens = torch.tensor(x).flatten(2)[0].view(2, order, -1).transpose(0, 1)
    out = fourier.inverse(layer(fourier(tokens))).transpose(0, 1).flatten(0, 1).detach()
    expected = gequi.predict(net, x).reshape(fields[1].size, -1)
    np.testing.assert_allclose(out, expected, atol=1e-13 * np.abs(expected).max())


def test_with_the_trivial_group_a_block_is_that_of_torch(random):
    net = network(PLANE, [block(heads=2, qk_norm=False, learn_frequencies=False)], {"regular": 8}, dtype="float64")
    net.layers[0].attention.frequencies.zero_()  # no positions
    w = {name.removeprefix("layers.0."): torch.tensor(weight) for name, weight in gequi.get_weights(net).items()}
    theirs = torch.nn.TransformerEncoderLayer(
        8, 2, 32, dropout=0, activation="gelu", batch_first=True, norm_first=True, dtype=torch.float64
    )
    names = {"self_attn.in_proj_": "attention.maps.", "self_attn.out_proj.": "attention.output.", "linear1.": "mlp.inner.",
             "linear2.": "mlp.outer.", "norm1.": "norm.", "norm2.": "mlp_norm."}  # fmt: skip
    state = {f"{a}{kind}": w[f"{b}{kind}"] for a, b in names.items() for kind in ("weight", "bias")}
    theirs.load_state_dict({name: each.reshape(theirs.state_dict()[name].shape) for name, each in state.items()})
    x = random.normal(size=(2, 8, 4, 5))
    expected = theirs.train()(torch.tensor(x).flatten(2).mT).detach().mT.reshape(2, 8, 4, 5)
    np.testing.assert_allclose(gequi.predict(net, x), expected, atol=1e-13)


def test_a_window_that_reaches_all_pixels_is_the_whole_image_and_a_small_one_is_local(random):
    x = random.normal(size=(2, 16, 6, 5))
    local, everywhere = (network(C4, [attention(window=side)], dtype="float64") for side in (11, None))
    np.testing.assert_allclose(gequi.predict(local, x), gequi.predict(everywhere, x), atol=1e-13)
    net, other = network(C4, [attention(window=3)], dtype="float64"), x.copy()
    other[:, :, 2, 1] += 1
    changed = (gequi.predict(net, x) != gequi.predict(net, other)).any(axis=(0, 1))
    expected = np.zeros((6, 5), bool)
    expected[1:4, :3] = True
    np.testing.assert_array_equal(changed, expected)


@pytest.mark.parametrize("normalized", [False, True])
def test_first_and_second_derivatives_of_rotations_are_those_of_differences(normalized, random):
    sizes = ((2, 2, 1, 4, 2, 3), (2, 1, 1, 2, 1, 3), (2, 1, 1, 1, 1))
    inputs = [torch.tensor(random.uniform(0.5, 2, size=size), requires_grad=True) for size in sizes[: 2 + normalized]]
    assert torch.autograd.gradcheck(rotate, inputs)
    assert torch.autograd.gradgradcheck(rotate, inputs)


def test_rotations_are_products_with_complex_numbers_of_bounded_vectors(random):
    x, angles, gain = (torch.tensor(random.normal(size=size) * 3)
                       for size in ((2, 2, 3, 4, 2, 5), (2, 1, 3, 2, 1, 5), (2, 3, 1, 1, 1)))  # fmt: skip
    numbers = torch.complex(*x.chunk(2, 3)) * torch.polar(torch.ones_like(angles), angles)
    expected = torch.cat([numbers.real, numbers.imag], 3)
    bounded = expected * gain / (1 + x.square().mean(3, keepdim=True)).sqrt()
    for found, wanted in ((rotate(x, angles), expected), (rotate(x, angles, gain), bounded),
                          (rotate(x.requires_grad_(), angles, gain), bounded)):  # fmt: skip
        torch.testing.assert_close(found.detach(), wanted.detach().permute(1, 4, 0, 2, 5, 3), rtol=1e-12, atol=1e-12)


def test_positions_matter_and_every_head_has_its_own(random):
    net = network(C4, [attention()], dtype="float64")
    x, points = random.normal(size=(1, 16, 9)), random.normal(size=(9, 2)) * 3
    stretched = points * [1, 1.5]
    assert np.abs(gequi.predict_points(net, x, stretched) - gequi.predict_points(net, x, points)).max() > 1e-4


def test_dropout_drops_while_training_only(random):
    x = random.normal(size=(2, 16, 5, 5))
    net = network(C4, [attention(dropout=0.5)])
    assert 0.3 < (net(torch.tensor(x, dtype=torch.float32)) == 0).float().mean() < 0.7
    assert (gequi.predict(net, x) != 0).all()
    whole = network(C4, [block(dropout=1)])
    dropped = whole(torch.tensor(x, dtype=torch.float32)).detach().numpy()
    np.testing.assert_allclose(dropped, x, rtol=0, atol=2e-6)  # to the Fourier basis and back


def test_norms_use_all_channels_of_a_token(random):
    x = torch.tensor(random.normal(size=(8, 6, 5)) + 3)
    norm = TokenNorm(6, 8)
    with float_type(torch.float64):
        fourier = GroupFourier(D4)
    expected = torch.nn.functional.layer_norm(x.flatten(0, 1).T, (48,)).T.view(8, 6, 5)
    np.testing.assert_allclose(fourier.inverse(norm(fourier(x))), expected, atol=1e-14)


@pytest.mark.parametrize("learn", [True, False], ids=["learned", "fixed"])
def test_gradients_reach_every_weight_and_only_learned_frequencies_are_weights(learn, random):
    net = network(C4, [attention(learn_frequencies=learn), block(learn_frequencies=learn)])
    net(torch.tensor(random.normal(size=(2, 16, 5, 5)), dtype=torch.float32)).pow(3).sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert (parameter.grad != 0).any(), name
    assert any("frequencies" in name for name in gequi.get_weights(net)) == learn


def test_the_seed_sets_the_weights_in_both_types():
    single, double = (gequi.get_weights(network(C4, [block()], seed=3, dtype=t)) for t in ("float32", "float64"))
    other = gequi.get_weights(network(C4, [block()], seed=4))
    for name, weight in double.items():
        np.testing.assert_array_equal(single[name], weight.astype(np.float32))
        if not name.endswith(("norm.weight", "norm.bias", "log_gain", "frequencies")):
            assert (other[name] != single[name]).all(), name


# ---- what is refused ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("space", "layers", "input", "kind", "message"),
    [
        (C4, [attention()], "trivial", FieldError, r"layer 1 \(posewise_attention\): the layer works on poses .* 1 trivial"),
        (C4, [block()], "irrep_1", FieldError, r"layer 1 \(posewise_attention_block\): the layer works on poses .* 1 irrep_1"),
        (C4, [{**attention(), "fields": {"irrep_1": 2}}], None, FieldError, "`fields` must be regular.* 2 irrep_1"),
        (C4, [attention(3, heads=2)], None, InputError, "`heads` must divide the number of fields, 3, .*got 2"),
        (C4, [attention(3)], None, InputError, "`key_dim` .* must be even.*got 3"),
        (C4, [block(key_dim=5)], None, InputError, "`key_dim` .* must be even.*got 5"),
        (C4, [block(window=4)], None, InputError, "`window` must be odd"),
        (C4, [block(dropout=2)], None, InputError, "`dropout` must be from 0 to 1"),
        (C4, [block(qk_norm=1)], None, InputError, "`qk_norm` must be true or false"),
        (C4, [block(learn_frequencies="yes")], None, InputError, "`learn_frequencies` must be true or false"),
        (C4, [block(mlp_ratio=-1)], None, InputError, "`mlp_ratio` must be from 0 to 1024"),
        (OCTA, [block(heads=2**12, key_dim=2**16)], None, InputError, "`key_dim` is too large"),
        (OCTA, [block(window=3)], None, FieldError, "`window` needs images.* volumes"),
        (gequi.gspace("rot2dOnR2"), [block()], "trivial", FieldError, r"SO\(2\) is continuous. Use rot2dOnR2"),
        (gequi.gspace("rot3dOnR3"), [block()], "trivial", FieldError, r"SO\(3\) is continuous. Use octaOnR3"),
        (gequi.gspace("no_base_space", group="cyclic_group", N=4), [block()], None, FieldError, "images and volumes; .* vectors"),
    ],
)  # fmt: skip
def test_attention_that_does_not_fit_is_refused_by_name(space, layers, input, kind, message):
    with pytest.raises(kind, match=message):
        network(space, layers, input)


def test_points_that_do_not_fit_are_refused():
    x = np.ones((1, 48, 4))
    with pytest.raises(ShapeError, match=r"`points` must have the shape \(4, 3\)"):
        gequi.predict_points(network(OCTA, [block()], {"regular": 2}), x, np.ones((4, 2)))
    with pytest.raises(InputError, match="a window needs the grid"):
        gequi.predict_points(network(C4, [block(window=3)]), x[:, :16], np.ones((4, 2)))
    vectors = network(gequi.gspace("no_base_space", group="cyclic_group", N=4), [{"layer": "relu"}])
    with pytest.raises(InputError, match="`network` works on vectors"):
        gequi.predict_points(vectors, x[:, :16], np.ones((4, 2)))

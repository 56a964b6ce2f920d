"""networks: recipes, shapes, prediction and weights."""

import dataclasses
import json

import numpy as np
import pytest
import torch

import gequi
from gequi.errors import ExactnessWarning, FieldError, InputError, ShapeError
from gequi.layers.plan import _kinds
from gequi.networks import (
    EquivariantNetwork,
    copy_network,
    describe_network,
    describe_plan,
    evaluating,
    make_recipe,
    network_from_recipe,
    plan_network,
    start_plan,
)

C4 = gequi.gspace("rot2dOnR2", N=4)
CONV = {"layer": "conv", "fields": {"regular": 4}, "kernel_size": 3}
BLOG = [CONV, {"layer": "batch_norm"}, {"layer": "relu"}] * 2 + [{**CONV, "fields": {"regular": 1}}]
CLASSIFIER = [
    CONV,
    {"layer": "relu"},
    {"layer": "global_avg_pool"},
    {"layer": "group_pool"},
    {"layer": "dense", "units": 10},
]


def network(layers=BLOG, input="trivial", **options):
    return gequi.equivariant_network(C4, input, layers, **{"seed": 1, **options})


# ---- the numbers of seed 002 ----------------------------------------------------------------------------


def test_the_shapes_that_the_post_prints():
    assert gequi.output_shape(network([{**CONV, "fields": {"regular": 3}}]), (2, 1, 32, 32)) == (2, 12, 30, 30)
    assert gequi.output_shape(network(), (1, 1, 17, 17)) == (1, 4, 11, 11)
    pooled = network([*BLOG, {"layer": "avg_pool", "kernel_size": 11}])
    assert gequi.predict(pooled, np.ones((17, 17))).shape == (1, 4, 1, 1)
    assert gequi.predict(network([*BLOG, {"layer": "global_avg_pool"}, {"layer": "group_pool"}]), np.ones((17, 17))).shape == (
        1, 1, 1, 1,
    )  # fmt: skip


def test_the_sixteen_values_that_the_post_prints():
    net = network([{"layer": "conv", "fields": "regular", "kernel_size": 3}])
    gequi.set_weights(net, {"layers.0.weights": np.ones(6)})
    image = np.vander(np.arange(4.0))
    convolved = gequi.predict(net, image)
    turned = gequi.predict(net, np.rot90(image))
    printed = [
        [[1.1955, 1.7110], [-0.5166, 1.0665]],
        [[-0.0905, 2.6568], [-0.3743, 2.8144]],
        [[5.0640, 11.7395], [8.6488, 31.7169]],
        [[2.3499, 1.7937], [4.5065, 5.9689]],
    ]
    np.testing.assert_allclose(turned[0], printed, atol=1e-4)
    np.testing.assert_allclose(turned, gequi.transform_field(convolved, net.out_type, 1), atol=1e-5)


# ---- the recipe -----------------------------------------------------------------------------------------


def test_a_recipe_is_json_and_makes_the_same_network_again(random):
    net = network(CLASSIFIER)
    again = network_from_recipe(json.loads(json.dumps(net.recipe)))
    x = random.normal(size=(3, 1, 9, 9))
    np.testing.assert_array_equal(gequi.predict(net, x), gequi.predict(again, x))


def test_whole_numbers_and_pairs_make_the_same_recipe_as_integers_and_mappings():
    as_r_sends_it = [{**CONV, "fields": [["regular", 4.0]], "kernel_size": 3.0, "padding": None}]
    assert network(as_r_sends_it, input=[["trivial", 1.0]]).recipe == network([CONV]).recipe


def test_the_same_seed_gives_the_same_weights_and_another_seed_others():
    same = [gequi.get_weights(network(seed=seed))["layers.0.weights"] for seed in (1, 1, 2)]
    np.testing.assert_array_equal(same[0], same[1])
    assert (same[0] != same[2]).all()


def test_without_a_seed_the_recipe_keeps_the_one_that_was_drawn():
    net = network(seed=None)
    assert net.recipe["seed"] != network(seed=None).recipe["seed"]
    again = network_from_recipe(net.recipe)
    np.testing.assert_array_equal(
        gequi.get_weights(net)["layers.0.weights"], gequi.get_weights(again)["layers.0.weights"]
    )


def test_building_a_network_leaves_the_users_random_numbers_alone():
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    network([{**CONV, "fields": {"trivial": 2, "irrep_1": 2}}, {"layer": "gated_nonlinearity"}])
    assert torch.equal(torch.rand(3), expected)


def test_initial_weights_have_the_spread_of_he_initialisation():
    net = network([CONV, {**CONV, "fields": {"regular": 16}}, {**CONV, "fields": {"regular": 16}}])
    x = np.random.default_rng(0).normal(size=(8, 1, 21, 21))
    assert 0.3 < gequi.predict(net, x).std() < 3


def test_a_network_in_float64_has_the_same_weights(random):
    single, double = network(CLASSIFIER), network(CLASSIFIER, dtype="float64")
    for name, weight in gequi.get_weights(single).items():
        np.testing.assert_array_equal(weight, gequi.get_weights(double)[name].astype(np.float32))
    x = random.normal(size=(2, 1, 9, 9))
    assert gequi.predict(double, x).dtype == np.float64
    np.testing.assert_allclose(gequi.predict(single, x), gequi.predict(double, x), rtol=1e-4)


# ---- tables ---------------------------------------------------------------------------------------------


def test_a_plan_is_described_without_building_it():
    rows = describe_plan(C4, "trivial", CLASSIFIER)
    assert [(row["kind"], row["fields"], row["channels"]) for row in rows] == [
        ("", "1 trivial", 1), ("conv", "4 regular", 16), ("relu", "4 regular", 16),
        ("global_avg_pool", "4 regular", 16), ("group_pool", "4 trivial", 4), ("dense", "10 trivial", 10),
    ]  # fmt: skip


@pytest.fixture
def planned(monkeypatch):
    """The kinds of the layers that are planned, in order."""
    kinds = []

    def counting(kind, plan):
        def planning(before, **options):
            kinds.append(kind)
            return plan(before, **options)

        return planning

    for name, kind in _kinds.items():
        monkeypatch.setitem(_kinds, name, dataclasses.replace(kind, plan=counting(name, kind.plan)))
    return kinds


def test_six_extensions_of_a_plan_plan_six_layers(planned):
    layers = [CONV, {"layer": "relu"}, *CLASSIFIER[2:], {"layer": "dense", "units": 3}]
    plan = start_plan(C4, "trivial")
    for layer in layers:
        plan = plan.extend(layer)
    assert planned == [layer["layer"] for layer in layers]
    assert len(plan.steps) == 6
    assert plan.rows() == describe_plan(C4, "trivial", layers)


def test_a_network_takes_a_plan_that_is_made_already(planned, random):
    plan = plan_network(C4, "trivial", CLASSIFIER)
    recipe = make_recipe(C4, "trivial", CLASSIFIER, seed=1, dtype="float32")
    planned.clear()
    net = EquivariantNetwork(C4, recipe, plan)
    twin = copy_network(net)
    assert planned == []
    x = random.normal(size=(2, 1, 9, 9))
    np.testing.assert_array_equal(gequi.predict(net, x), gequi.predict(network(CLASSIFIER), x))
    np.testing.assert_array_equal(gequi.predict(twin, x), gequi.predict(net, x))


def test_extending_a_plan_leaves_it_as_it_was():
    short = start_plan(C4, "trivial").extend(CONV)
    longer = short.extend({"layer": "group_pool"})
    assert len(short.steps) == 1
    assert (short.out_type.size, longer.out_type.size, longer.in_type.size) == (16, 4, 1)
    with pytest.raises(FieldError, match=r"^layer 2 \(linear\): the layer works on vectors"):
        short.extend({"layer": "linear", "fields": "trivial"})
    with pytest.raises(InputError, match=r"^layer 3 \(rilu\): `layer` must be one of .* Did you mean 'relu'\?"):
        longer.extend({"layer": "rilu"})
    with pytest.raises(dataclasses.FrozenInstanceError):
        short.steps = ()


def test_a_network_is_described_with_its_parameters_and_sizes():
    rows = describe_network(network(CLASSIFIER), (1, 1, 9, 9))
    assert [row["parameters"] for row in rows] == [0, 28, 0, 0, 0, 50]
    assert [row["size"] for row in rows] == ["9 x 9", "7 x 7", "7 x 7", "1 x 1", "1 x 1", ""]


# ---- prediction -----------------------------------------------------------------------------------------


def test_predictions_do_not_depend_on_the_batch_size(random):
    net = network(CLASSIFIER, dtype="float64")
    x = random.normal(size=(7, 1, 9, 9))
    np.testing.assert_allclose(gequi.predict(net, x, batch_size=2), gequi.predict(net, x), rtol=1e-12)


def test_a_single_image_is_a_batch_of_one(random):
    net = network()
    x = random.normal(size=(17, 17))
    np.testing.assert_array_equal(gequi.predict(net, x), gequi.predict(net, x[None, None]))


def test_prediction_tells_how_many_are_done(random):
    net, told = network(), []
    x = random.normal(size=(5, 1, 9, 9))
    seen = gequi.predict(net, x, batch_size=2, progress=told.append)
    np.testing.assert_array_equal(seen, gequi.predict(net, x, batch_size=2))
    assert [(info["done"], info["total"]) for info in told] == [(2, 5), (4, 5), (5, 5)]
    assert [info["seconds_left"] > 0 for info in told] == [True, True, False]
    with pytest.raises(InputError, match="`progress` must be a function; got 3"):
        gequi.predict(net, x, progress=3)


def test_prediction_leaves_the_input_and_the_mode_alone(random):
    net = network()
    x = random.normal(size=(1, 1, 17, 17))
    before = x.copy()
    gequi.predict(net, x)
    np.testing.assert_array_equal(x, before)
    assert net.training
    with evaluating(net):
        assert not net.training


def test_prediction_does_not_gather_statistics(random):
    net = network()
    before = gequi.get_weights(net)
    gequi.predict(net, random.normal(size=(4, 1, 17, 17)))
    for name, weight in gequi.get_weights(net).items():
        np.testing.assert_array_equal(weight, before[name])


def test_any_torch_module_predicts_on_one_array_or_several(random):
    x, y = random.normal(size=(2, 5, 4, 3))
    module = torch.nn.Bilinear(3, 3, 2).double()

    def flat(array):
        return array.reshape(-1, 3)

    expected = module(torch.tensor(flat(x)), torch.tensor(flat(y))).detach().numpy()
    np.testing.assert_allclose(gequi.predict(module, flat(x), flat(y), batch_size=3), expected, atol=1e-14)


def test_inexact_sizes_are_warned_of_once_each():
    net = network([{**CONV, "stride": 2}])
    with pytest.warns(
        ExactnessWarning, match=r"layer 1 \(conv\) breaks exact equivariance on features of size \(10, 10\)"
    ):
        gequi.predict(net, np.ones((1, 1, 10, 10)))
    gequi.predict(net, np.ones((1, 1, 10, 10)))  # warnings are errors here: a second one would fail


# ---- weights --------------------------------------------------------------------------------------------


def test_weights_go_out_and_in(random):
    net, other = network(CLASSIFIER), network(CLASSIFIER, seed=2)
    x = random.normal(size=(2, 1, 9, 9))
    gequi.set_weights(other, gequi.get_weights(net))
    np.testing.assert_array_equal(gequi.predict(net, x), gequi.predict(other, x))


def test_weights_are_parameters_and_statistics_and_no_constants():
    assert list(gequi.get_weights(network([CONV, {"layer": "batch_norm"}]))) == [
        "layers.0.bias", "layers.0.weights",
        "layers.1.batch_norm_[4].weight", "layers.1.batch_norm_[4].bias",
        "layers.1.batch_norm_[4].running_mean", "layers.1.batch_norm_[4].running_var",
        "layers.1.batch_norm_[4].num_batches_tracked",
    ]  # fmt: skip


def test_weights_that_came_out_are_copies():
    net = network()
    gequi.get_weights(net)["layers.0.weights"][:] = 0
    assert (gequi.get_weights(net)["layers.0.weights"] != 0).all()


def test_new_weights_take_effect_in_evaluation_mode_too(random):
    net = network()
    net.eval()
    x = torch.tensor(random.normal(size=(1, 1, 17, 17)), dtype=torch.float32)
    before = net(x).detach()
    gequi.set_weights(net, {"layers.0.weights": np.zeros(24)})
    assert not torch.equal(net(x), before)


def test_a_copy_has_weights_of_its_own(random):
    net = network()
    twin = copy_network(net)
    gequi.set_weights(twin, {"layers.0.weights": np.zeros(24)})
    assert (gequi.get_weights(net)["layers.0.weights"] != 0).all()


def test_two_backward_passes_work():
    net = network()
    for _ in range(2):
        net(torch.ones(1, 1, 17, 17)).sum().backward()


@pytest.mark.parametrize(
    ("weights", "kind", "message"),
    [
        (
            {"layers.0.weight": [1.0]},
            InputError,
            r"`weights` holds an unknown weight, 'layers.0.weight'.*'layers.0.weights'\?",
        ),
        (
            {"layers.0.weights": np.ones(3)},
            ShapeError,
            r"`weights\$layers.0.weights` must have the shape \(24,\); got \(3,\)",
        ),
        ({"layers.0.weights": np.full(24, np.nan)}, InputError, "must be finite"),
        ([1, 2], InputError, "`weights` must map names to arrays"),
    ],
)
def test_weights_that_do_not_fit_are_refused_and_nothing_changes(weights, kind, message):
    net = network()
    before = gequi.get_weights(net)
    if isinstance(weights, dict):
        weights = {"layers.0.bias": np.ones(4), **weights}
    with pytest.raises(kind, match=message):
        gequi.set_weights(net, weights)
    np.testing.assert_array_equal(gequi.get_weights(net)["layers.0.bias"], before["layers.0.bias"])


# ---- what is refused ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (
            lambda: gequi.predict(network(), np.ones((1, 2, 17, 17))),
            ShapeError,
            r"`x` must have 1 on its axis 'channel' .* got 2",
        ),
        (lambda: gequi.predict(network(), np.ones((1, 17, 17))), ShapeError, "`x` must have 4 or 2 axes"),
        (lambda: gequi.predict(network(), np.full((17, 17), np.nan)), InputError, "`x` must be finite"),
        (lambda: gequi.predict(network(), np.ones((0, 1, 17, 17))), ShapeError, "`x` is empty"),
        (lambda: gequi.predict(network(), [["a"]]), InputError, "`x` must be an array of numbers; got text"),
        (
            lambda: gequi.predict(network(), np.ones((17, 17)), batch_size=2.5),
            InputError,
            "`batch_size` must be a whole",
        ),
        (lambda: gequi.predict(network(), np.ones((17, 17)), dtype="float16"), InputError, "`dtype` must be one of"),
        (lambda: gequi.predict("net", np.ones((17, 17))), InputError, "`model` must be a network"),
        (lambda: gequi.output_shape(network(), (1, 17, 17)), ShapeError, r"`input_shape` must be \(batch, channel = 1"),
        (lambda: gequi.output_shape(torch.nn.Linear(1, 1), (1, 1)), InputError, "`network` must be a network"),
        (lambda: network(seed=-1), InputError, "`seed` must be from 0"),
        (lambda: network(seed=1.5), InputError, "`seed` must be a whole number"),
        (lambda: network(input={"trivail": 1}), FieldError, r"`input` must be one of .*'trivial'\?"),
        (lambda: gequi.equivariant_network("C4", "trivial", BLOG), InputError, "`space` must be a gspace"),
    ],
)
def test_what_does_not_fit_is_refused(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_number_of_threads_changes_rounding_only_and_the_same_number_nothing(dtype, count, random):
    net = gequi.equivariant_network(gequi.gspace("rot2dOnR2", N=8), "trivial", seed=1, dtype=dtype, layers=[
        {"layer": "conv", "fields": {"regular": 4}, "kernel_size": 5}, {"layer": "relu"},
        {"layer": "conv", "fields": {"regular": 4}, "kernel_size": 5}, {"layer": "global_avg_pool"},
        {"layer": "group_pool"}, {"layer": "dense", "units": 3}])  # fmt: skip
    x, before = random.normal(size=(4, 1, 41, 41)), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        expected = gequi.predict(net, x)
        torch.set_num_threads(count)
        found, again = gequi.predict(net, x), gequi.predict(net, x)
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(found, again)
    bound = {"float32": 1e-6, "float64": 1e-12}[dtype] * np.abs(expected).max()
    assert np.abs(found - expected).max() <= bound

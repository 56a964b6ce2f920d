"""networks: the results of R and Python are equal."""

import sys

import numpy as np
import pytest

import gequi

CONV = {"layer": "conv", "fields": {"regular": 4}, "kernel_size": 3}


def test_equivariant_network_from_a_list_of_layers(r, both, same, random):
    layers = [CONV, {"layer": "residual", "layers": [{**CONV, "padding": 1}, {"layer": "relu"}]}]
    theirs = r.equivariant_network(r.gspace("rot2dOnR2", N=4), {"trivial": 1}, layers=layers, seed=1, dtype="float64")
    x = random.normal(size=(2, 1, 9, 9))
    same(r.value(r.predict(theirs, x)), gequi.predict(both(layers, dtype="float64")[1], x))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_predict(r, both, same, random, dtype):
    theirs, ours = both(dtype=dtype)
    x = random.normal(size=(5, 1, 9, 9))
    same(r.value(r.predict(theirs, x)), gequi.predict(ours, x).astype(np.float64))
    same(r.value(r.predict(theirs, x, batch_size=2)), gequi.predict(ours, x, batch_size=2).astype(np.float64))
    same(r.value(r.predict(theirs, x[0, 0], dtype="float64")), gequi.predict(ours, x[0, 0], dtype="float64"))


def test_output_shape(r, both):
    theirs, ours = both([CONV])
    assert tuple(r.value(r.output_shape(theirs, [2, 1, 32, 32]))) == gequi.output_shape(ours, (2, 1, 32, 32))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_get_weights(r, both, same, dtype):
    theirs, ours = both(dtype=dtype)
    weights = {name: np.atleast_1d(weight).astype(np.float64) for name, weight in gequi.get_weights(ours).items()}
    same(r.value(r.get_weights(theirs)), weights)


def test_set_weights(r, both, same, random):
    theirs, ours = both(dtype="float64")
    weights = {
        name: random.normal(size=weight.shape) for name, weight in gequi.get_weights(ours).items() if weight.ndim
    }
    x = random.normal(size=(2, 1, 9, 9))
    before = r.value(r.predict(theirs, x))
    changed = r.set_weights(theirs, {name: np.abs(weight) for name, weight in weights.items()})
    gequi.set_weights(ours, {name: np.abs(weight) for name, weight in weights.items()})
    same(r.value(r.predict(changed, x)), gequi.predict(ours, x))
    same(r.value(r.predict(theirs, x)), before)  # in R, a network is a value


def test_summary_has_the_same_sizes_parameters_and_flops(r, both):
    theirs, ours = both()
    table = r.code("as.data.frame(summary(network, c(1, 1, 28, 28))$table)", network=theirs)
    assert r.value(table) == gequi.networks.describe_network(ours, (1, 1, 28, 28))


def test_the_same_errors_with_the_same_sentences(r, both):
    theirs, ours = both()
    with pytest.raises(gequi.errors.ShapeError) as raised:
        gequi.predict(ours, np.ones((1, 2, 9, 9)))
    condition = r.code("tryCatch(predict(network, x), error = identity)", network=theirs, x=np.ones((1, 2, 9, 9)))
    assert list(r.code("class(e)[1:3]", e=condition)) == ["gequi_shape_error", "gequi_input_error", "gequi_error"]
    assert r.code("conditionMessage(e)", e=condition)[0] == str(raised.value)


def test_the_same_warnings_with_the_same_sentences(r, both):
    theirs, ours = both([{**CONV, "stride": 2}])
    with pytest.warns(gequi.errors.ExactnessWarning) as caught:
        gequi.output_shape(ours, (1, 1, 10, 10))
    condition = r.code("tryCatch(output_shape(network, c(1, 1, 10, 10)), warning = identity)", network=theirs)
    assert r.code("class(w)[1]", w=condition)[0] == "gequi_exactness_warning"
    assert r.code("conditionMessage(w)", w=condition)[0] == str(caught[0].message)


def test_r_plans_each_layer_once(r):
    space = r.gspace("rot2dOnR2", N=4)
    layers = [
        CONV, {"layer": "batch_norm"}, {"layer": "relu"}, {"layer": "global_avg_pool"}, {"layer": "group_pool"},
        {"layer": "dense", "units": 10},
    ]  # fmt: skip
    planners = {f"plan_{row['kind']}" for row in gequi.layer_kinds()}
    planned = []

    def notice(frame, event, _):
        if event == "call" and frame.f_code.co_name in planners:
            planned.append(frame.f_code.co_name.removeprefix("plan_"))

    sys.setprofile(notice)
    try:
        r.piped(space, layers, seed=1)
    finally:
        sys.setprofile(None)
    assert planned == [layer["layer"] for layer in layers]

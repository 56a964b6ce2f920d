"""saving: each language loads the models of the other, with predictions equal to the bit."""

import numpy as np
import pytest

import gequi
from gequi.saving import describe_model_file

LAYERS = [
    {"layer": "conv", "fields": {"regular": 2, "irrep_1": 1}, "kernel_size": 3},
    {"layer": "conv", "fields": {"regular": 2}, "kernel_size": 3},
    {"layer": "batch_norm"},
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_save_model_in_r_and_load_it_in_python(r, both, same, tmp_path, random, dtype):
    theirs, ours = both(LAYERS, dtype=dtype)
    weights = {
        name: random.random(weight.shape).astype(dtype)
        for name, weight in gequi.get_weights(ours).items()
        if weight.ndim
    }
    theirs = r.set_weights(theirs, weights)
    r.save_model(theirs, str(tmp_path / "net.gequi"), metadata={"by": "R"})
    x = random.normal(size=(2, 1, 9, 9))
    again = gequi.load_model(tmp_path / "net.gequi")
    same(r.value(r.predict(theirs, x)), gequi.predict(again, x).astype(np.float64))
    assert describe_model_file(tmp_path / "net.gequi")["metadata"] == {"by": "R"}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_load_model_in_r_what_python_saved(r, both, same, tmp_path, random, dtype):
    _, ours = both(LAYERS, dtype=dtype)
    gequi.set_weights(ours, {"layers.1.weights": random.random(gequi.get_weights(ours)["layers.1.weights"].shape)})
    gequi.save_model(ours, tmp_path / "net.gequi")
    theirs = r.load_model(str(tmp_path / "net.gequi"))
    x = random.normal(size=(2, 1, 9, 9))
    same(r.value(r.predict(theirs, x)), gequi.predict(ours, x).astype(np.float64))
    longer = r.layer_relu(theirs)
    relu = gequi.equivariant_network(
        gequi.gspace("rot2dOnR2", N=4), "trivial", [*LAYERS, {"layer": "relu"}], dtype=dtype
    )
    gequi.set_weights(relu, gequi.get_weights(ours))
    same(r.value(r.predict(longer, x)), gequi.predict(relu, x).astype(np.float64))


def test_modules_of_other_factories_go_both_ways(r, same, tmp_path, random):
    options = {"levels": 1, "width": 3, "dtype": "float64", "seed": 4}
    theirs, ours = r.unet(**options), gequi.unet(**options)
    weight = random.random((3, 1, 3, 3))
    theirs = r.set_weights(theirs, {"down.0.0.weight": weight})
    gequi.set_weights(ours, {"down.0.0.weight": weight})
    r.save_model(theirs, str(tmp_path / "r.gequi"))
    gequi.save_model(ours, tmp_path / "python.gequi", metadata={})
    assert describe_model_file(tmp_path / "r.gequi")["recipe"] == ours.recipe
    x = random.normal(size=(2, 1, 6, 8))
    np.testing.assert_array_equal(gequi.predict(gequi.load_model(tmp_path / "r.gequi"), x), gequi.predict(ours, x))
    same(r.value(r.predict(r.load_model(str(tmp_path / "python.gequi")), x)), gequi.predict(ours, x))


def test_the_bytes_of_marshal_are_a_file(r, both, same, tmp_path, random):
    theirs, ours = both(LAYERS)
    (tmp_path / "net.gequi").write_bytes(bytes(r.marshal(theirs)))
    x = random.normal(size=(2, 1, 9, 9))
    np.testing.assert_array_equal(gequi.predict(gequi.load_model(tmp_path / "net.gequi"), x), gequi.predict(ours, x))
    data = r.code("as.raw(x)", x=list(gequi.saving.model_to_bytes(ours)))
    same(r.value(r.predict(r.unmarshal(data), x)), gequi.predict(ours, x).astype(np.float64))


def test_the_same_refusals_of_a_damaged_file(r, both, tmp_path):
    path = tmp_path / "net.gequi"
    data = bytearray(gequi.saving.model_to_bytes(both()[1]))
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(gequi.errors.ModelFileError) as raised:
        gequi.load_model(str(path))
    condition = r.code("tryCatch(load_model(path), error = identity)", path=str(path))
    assert r.code("class(e)[1]", e=condition)[0] == "gequi_model_file_error"
    assert r.code("conditionMessage(e)", e=condition)[0] == str(raised.value)

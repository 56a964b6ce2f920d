"""saving: a model in one file, which is written completely or not at all, and executes no code when it is read."""

import errno
import hashlib
import json
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch

import gequi
from gequi import _files as files, saving
from gequi.errors import InputError, ModelFileError
from gequi.networks import network_from_recipe
from gequi.saving import describe_model_file, model_from_bytes, model_to_bytes, pack, unpack

C4 = gequi.gspace("rot2dOnR2", N=4)
LAYERS = [
    {"layer": "conv", "fields": {"regular": 2, "irrep_1": 1}, "kernel_size": 3},
    {"layer": "conv", "fields": {"regular": 2}, "kernel_size": 3},
    {"layer": "batch_norm"},
    {"layer": "relu"},
    {"layer": "global_avg_pool"},
    {"layer": "group_pool"},
    {"layer": "dense", "units": 3},
]


def network(dtype="float32", seed=1):
    """A network whose weights and statistics are not those that it was built with."""
    net = gequi.equivariant_network(C4, "trivial", LAYERS, seed=seed, dtype=dtype)
    generator = np.random.default_rng(seed)
    changed = {name: weight + generator.random(weight.shape) for name, weight in gequi.get_weights(net).items()}
    return gequi.set_weights(net, changed)


@pytest.fixture
def data():
    return model_to_bytes(network())


def refused(data, message="."):
    """The sentence with which bytes are refused."""
    with pytest.raises(ModelFileError, match=message) as caught:
        model_from_bytes(data, "'net.gequi'")
    text = str(caught.value)
    assert text.startswith("'net.gequi' ")
    assert text.endswith(".")
    return text


# ---- there and back -------------------------------------------------------------------------------------


def test_a_loaded_model_predicts_what_the_saved_one_did_to_the_bit(tmp_path, dtype, random):
    net = network(dtype)
    again = gequi.load_model(gequi.save_model(net, tmp_path / "net.gequi"))
    x = random.normal(size=(3, 1, 9, 9))
    np.testing.assert_array_equal(gequi.predict(net, x), gequi.predict(again, x))
    assert json.dumps(again.recipe) == json.dumps(net.recipe)


def test_models_are_saved_alike_in_training_and_in_evaluation_mode():
    net = network()
    training = model_to_bytes(net)
    assert model_to_bytes(net.eval()) == training


@pytest.mark.parametrize(
    ("space", "fields"),
    [
        (("flipRot2dOnR2", {"N": 3}), {"regular": 1}),
        (("rot2dOnR2", {"N": -1}), {"irrep_1": 2}),
        (("octaOnR3", {}), {"trivial": 1, "irrep_1": 1}),
    ],
)
def test_models_of_other_groups_are_saved_too(space, fields):
    made = gequi.gspace(space[0], **space[1])
    layers = [{"layer": "conv", "fields": fields, "kernel_size": 3}]
    net = gequi.equivariant_network(made, "trivial", layers, seed=1)
    x = np.random.default_rng(1).normal(size=(1, 1, *[5] * made.dimensionality))
    np.testing.assert_array_equal(gequi.predict(net, x), gequi.predict(model_from_bytes(model_to_bytes(net)), x))


MAKERS = [
    (lambda **o: gequi.image_classifier_mlp((1, 4, 4), (3,), 2, "probabilities", **o), [(2, 1, 4, 4)]),
    (lambda **o: gequi.identity_resnet(1, 2, 1, (4, 8, 8), **o), [(2, 1, 7, 6)]),
    (lambda **o: gequi.unet(levels=1, width=2, variant="circuit", **o), [(1, 1, 4, 6)]),
    (lambda **o: gequi.unet(levels=1, width=4, space=C4, **o), [(1, 1, 4, 6)]),
    (lambda **o: gequi.equivariant_resnet(C4, widths=(4, 8), enlarge=True, antialiased=True, **o), [(2, 1, 6, 6)]),
    (lambda **o: gequi.equivariant_vit(C4, 6, width=8, blocks=1, patch_size=3, **o), [(2, 1, 6, 6)]),
    (lambda **o: gequi.gsa_network(C4, fields=4, blocks=1, **o), [(1, 1, 5, 5)]),
    (lambda **o: gequi.gsa_network(C4, fields=2, blocks=1, attention="pairwise", **o), [(1, 1, 5, 5)]),
    (lambda **o: gequi.multi_head_attention(6, heads=2, key_dim=5, bias=True, **o), [(2, 3, 6), (2, 5, 6)]),
    (lambda **o: gequi.visual_attention(2, heads=2, kernel_size=3, stride=2, **o), [(2, 2, 7, 8), (2, 2, 5, 5)]),
]


@pytest.mark.parametrize(("make", "shapes"), MAKERS)
def test_what_other_factories_made_comes_back_too(tmp_path, random, dtype, make, shapes):
    model = make(dtype=dtype)  # with a random seed
    random_weights = {name: random.random(weight.shape) for name, weight in gequi.get_weights(model).items()}
    arrays = [random.normal(size=shape) for shape in shapes]
    seeded = json.loads(json.dumps(model.recipe))
    np.testing.assert_array_equal(gequi.predict(network_from_recipe(seeded), *arrays), gequi.predict(model, *arrays))
    gequi.set_weights(model, random_weights)
    again = gequi.load_model(gequi.save_model(model, tmp_path / "model.gequi"))
    np.testing.assert_array_equal(gequi.predict(again, *arrays), gequi.predict(model, *arrays))
    assert json.loads(json.dumps(again.recipe)) == seeded
    assert type(again) is type(model)


def test_a_recipe_is_the_same_whichever_way_the_arguments_came():
    given = gequi.unet(2, 3, width=np.int64(4), levels=1.0, seed=1)
    assert given.recipe == {"factory": "unet", "arguments": {
        "channels": 2, "classes": 3, "levels": 1, "width": 4, "variant": "ronneberger", "seed": 1, "dtype": "float32",
    }}  # fmt: skip


def test_a_factory_or_an_argument_of_the_future_is_named():
    data = model_to_bytes(gequi.unet(levels=1, width=2, seed=1))
    recipe = unpack(data, "")[0]["recipe"]
    with pytest.raises(ModelFileError, match="cannot build: unknown factory 'vnet'. Did you mean 'unet'?"):
        model_from_bytes(rewritten(data, recipe={**recipe, "factory": "vnet"}))
    more = {**recipe, "arguments": {**recipe["arguments"], "depth": 3}}
    refused(rewritten(data, recipe=more), r"cannot build: unet\(\) has other arguments: got an unexpected .*'depth'")
    for call in ("exec", "os.system", "gequi.saving.write_file"):
        refused(rewritten(data, recipe={"factory": call, "arguments": {}}), f"cannot build: unknown factory '{call}'")
    wider = {**recipe, "arguments": {**recipe["arguments"], "width": 4}}
    refused(rewritten(data, recipe=wider), "must be float32 of shape")


def test_a_file_says_what_it_is_without_building_the_model(tmp_path):
    net = network()
    path = gequi.save_model(net, tmp_path / "net.gequi", metadata={"classes": ["ä", "b"]})
    told = describe_model_file(path)
    assert told["metadata"] == {"classes": ["ä", "b"]}
    assert (told["format"], told["version"]) == (1, gequi.__version__)
    assert told["weights"] == sum(weight.size for weight in gequi.get_weights(net).values())
    assert told["recipe"]["layers"][0]["kernel_size"] == 3


def test_any_safetensors_reader_reads_the_weights(tmp_path):
    net = network()
    tensors = safetensors.numpy.load_file(gequi.save_model(net, tmp_path / "net.gequi"))
    for name, weight in gequi.get_weights(net).items():
        np.testing.assert_array_equal(tensors[name], weight)


# ---- whole or not at all --------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_crash_while_writing_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, step):
    path = tmp_path / "net.gequi"
    gequi.save_model(network(), path)
    before = path.read_bytes()

    def crash(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, crash)
    with pytest.raises(InputError, match=r"cannot be written \(No space left on device\)"):
        gequi.save_model(network(seed=2), path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["net.gequi"]


def test_a_file_takes_the_place_of_an_older_one(tmp_path):
    path = tmp_path / "net.gequi"
    for seed in (1, 2):
        gequi.save_model(network(seed=seed), path)
    assert path.read_bytes() == model_to_bytes(network(seed=2))


# ---- two hundred damaged files --------------------------------------------------------------------------


class Bomb:
    """Run code when it is unpickled."""

    def __reduce__(self):
        return (exec, ("import gequi.saving; gequi.saving.exploded = True",))


def damaged_files(data):
    """200 damaged files: 120 with one byte changed, 50 cut, 30 pickles in disguise."""
    generator = np.random.default_rng(7)
    header = 8 + int.from_bytes(data[:8], "little")
    for place in [*range(0, 16), *generator.integers(16, header, 64), *generator.integers(header, len(data), 40)]:
        yield data[:place] + bytes([data[place] ^ int(generator.integers(1, 256))]) + data[place + 1 :]
    for end in [0, 1, 7, 8, 9, header - 1, header, len(data) - 1, *generator.integers(0, len(data), 42)]:
        yield data[:end]
    for protocol in range(6):
        pickled = pickle.dumps(Bomb(), protocol)
        yield pickled
        yield pickled + data
        yield data + pickled
        yield data[:8] + pickled + data[8 + len(pickled) :]
        yield data[:header] + pickled + data[header + len(pickled) :]


def test_two_hundred_damaged_files_are_two_hundred_clear_errors_and_run_no_code(data):
    files = list(damaged_files(data))
    assert len(files) == 200
    for damaged in files:
        assert not re.search(r"Traceback|object at 0x", refused(damaged))
    assert not hasattr(saving, "exploded")
    pickle.loads(pickle.dumps(Bomb()))  # the bomb is a real one
    assert saving.__dict__.pop("exploded")


# ---- each damage in a sentence of its own ---------------------------------------------------------------


def rewritten(data, tensors=None, **changes):
    """The file with other contents, and a checksum that agrees with them."""
    metadata, found = unpack(data, "")
    metadata.pop("checksum")
    return pack(found if tensors is None else tensors(found), {**metadata, **changes})


def test_a_pickle_is_refused_as_one(tmp_path):
    torch.save({"weights": torch.ones(3)}, tmp_path / "net.pt")
    assert "is a pickle" in refused((tmp_path / "net.pt").read_bytes())
    assert "is a pickle" in refused(pickle.dumps({"a": 1}))


def test_a_header_whose_length_begins_like_a_pickle_is_no_pickle():
    """0x0480 bytes of header are the first bytes of a pickle of protocol 4."""
    net = gequi.equivariant_network(C4, "trivial", LAYERS[:1], seed=1)
    saved = (model_to_bytes(net, {"": "x" * size}) for size in range(0, 1000, 8))
    padded = next(data for data in saved if data[:2] == b"\x80\x04")
    assert isinstance(model_from_bytes(padded), gequi.networks.EquivariantNetwork)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:-1], r"is cut off: it has \d+ of \d+ bytes\.$"),
        (lambda data: data[:100], r"is cut off: it has 100 bytes of at least \d+\.$"),
        (lambda data: b"", r"is cut off: it has 0 bytes\.$"),
        (lambda data: data + b"x", r"is damaged: it has \d+ bytes where its header describes \d+\.$"),
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "is damaged: its checksum"),
        (lambda data: data[:9] + b"'" + data[10:], "is damaged: its header cannot be read"),
        (lambda data: b"\x1f\x8b" + data, r"is a compressed file: in R, readRDS\(\) may read it"),
        (lambda data: b"#!/bin/sh\nexit", "is no gequi model file"),
        (lambda data: safetensors.numpy.save({"a": np.ones(3)}), "is a safetensors file of another program"),
        (lambda data: rewritten(data, format=2, version="9.0"), r"has format 2, written by gequi 9\.0; .* Install a newer"),
        (lambda data: rewritten(data, format="x"), "its format must be a whole number from 1; got 'x'"),
        (lambda data: rewritten(data, format=0), "its format must be a whole number from 1; got 0"),
        (lambda data: rewritten(data, format=-1), "its format must be a whole number from 1; got -1"),
        (lambda data: rewritten(data, format="1"), "its format must be a whole number from 1; got '1'"),
        (lambda data: rewritten(data, format=True), "its format must be a whole number from 1; got True"),
        (lambda data: rewritten(data, recipe={"layers": []}), "holds a recipe that this gequi cannot build: KeyError"),
        (lambda data: rewritten(data, basis=[1.0, 2.0]), "was saved with other filter bases"),
        (lambda data: rewritten(data, basis=None), "was saved with other filter bases"),
        (lambda data: rewritten(data, lambda t: {**t, "more": np.ones(1)}), "there is no place for 'more'"),
        (lambda data: rewritten(data, lambda t: {k: v for k, v in t.items() if "bias" not in k}), "'layers.0.bias' is missing"),
        (
            lambda data: rewritten(data, lambda t: {**t, "layers.0.bias": np.ones(7)}),
            r"'layers.0.bias' must be float32 of shape \(\d,\); got float64 of shape \(7,\)",
        ),
        (
            lambda data: rewritten(data, lambda t: {**t, "layers.0.bias": t["layers.0.bias"] * np.float32("nan")}),
            "holds weights that are not numbers",
        ),
    ],
)  # fmt: skip
def test_every_damage_has_a_sentence_of_its_own(data, change, message):
    refused(change(data), message)


def test_the_state_of_a_training_is_no_part_of_the_model(data):
    more = rewritten(data, lambda t: {**t, "training/step": np.ones(5), "training/layers.0.bias": np.zeros(3)})
    x = np.random.default_rng(1).normal(size=(1, 1, 9, 9))
    np.testing.assert_array_equal(gequi.predict(model_from_bytes(more), x), gequi.predict(model_from_bytes(data), x))
    assert saving.describe_model_bytes(more) == saving.describe_model_bytes(data)


def test_the_order_of_the_bases_does_not_matter_and_their_number_does(data):
    basis = unpack(data, "")[0]["basis"]
    assert len(set(basis)) > 1
    model_from_bytes(rewritten(data, basis=basis[::-1]))
    for other in (basis[:1], [*basis, basis[0]], [], "text", 3, [None, None]):
        refused(rewritten(data, basis=other), "was saved with other filter bases")


def test_a_weight_of_another_type_or_shape_alone_is_refused(data):
    for change in (lambda w: w.astype(np.float64), lambda w: w[:1], lambda w: w[None]):
        changed = rewritten(data, lambda t, change=change: {**t, "layers.0.bias": change(t["layers.0.bias"])})
        refused(changed, r"'layers.0.bias' must be float32 of shape \(\d,\); got float(32|64) of shape")


def test_a_file_without_weights_is_described_as_one():
    empty = pack({}, {"recipe": None})
    assert saving.describe_model_bytes(empty)["weights"] == 0
    refused(safetensors.numpy.save({}), "is a safetensors file of another program")
    refused(safetensors.numpy.save({}, {"author": "x"}), "is a safetensors file of another program")


@pytest.mark.parametrize("size", range(12))
def test_a_few_bytes_are_cut_off_or_no_model(size):
    wanted = rf"is cut off: it has {size} bytes\.$" if size < 9 else r"is no gequi model file\.$"
    refused(b"x" * size, wanted)


def test_a_file_that_ends_with_its_header_lacks_its_weights(data):
    header = 8 + int.from_bytes(data[:8], "little")
    refused(data[:header], rf"is cut off: it has {header} of {len(data)} bytes\.$")
    refused(data[: header - 1], rf"is cut off: it has {header - 1} bytes of at least {header}\.$")
    refused((2**40).to_bytes(8, "little") + data[8:], r"is no gequi model file\.$")
    refused((2**20).to_bytes(8, "little") + data[8:], "is cut off")


def test_a_recipe_with_a_layer_of_the_future_names_it(data):
    recipe = unpack(data, "")[0]["recipe"]
    recipe["layers"][3] = {"layer": "hyper"}
    refused(rewritten(data, recipe=recipe), r"cannot build: layer 4 \(hyper\): `layer` must be one of")


def test_a_basis_with_one_sign_turned_has_another_fingerprint(monkeypatch):
    net = network()
    bases = [basis.clone() for basis in gequi._escnn.basis_samples(net)]
    monkeypatch.setattr(saving, "basis_samples", lambda network: bases)
    before = saving.basis_fingerprint(net)
    bases[0] *= 1 + 1e-13
    np.testing.assert_allclose(saving.basis_fingerprint(net), before, atol=1e-8)
    bases[0][0] *= -1
    assert abs(saving.basis_fingerprint(net)[0] - before[0]) > 1e-4


@pytest.mark.parametrize(("space", "options", "number"), [
    ("rot2dOnR2", {"N": 4}, 0.573933664), ("flipRot2dOnR2", {"N": 3}, 0.390174599),
])  # fmt: skip
def test_fingerprints_stay_as_the_files_of_format_1_have_them(space, options, number):
    """Numbers of version 0.1.0: another rule would make every file on disk foreign."""
    layer = {"layer": "conv", "fields": {"regular": 1}, "kernel_size": 3}
    net = gequi.equivariant_network(gequi.gspace(space, **options), "trivial", [layer])
    np.testing.assert_allclose(saving.basis_fingerprint(net), [number], rtol=0, atol=1e-8)


@pytest.mark.parametrize(("change", "same"), [(1e-8, True), (1e-4, False)])
def test_bases_are_the_same_up_to_rounding_only(monkeypatch, change, same):
    data = model_to_bytes(network())
    before = saving.basis_fingerprint
    monkeypatch.setattr(saving, "basis_fingerprint", lambda net: [number + change for number in before(net)])
    if same:
        model_from_bytes(data)
    else:
        refused(data, "was saved with other filter bases")


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_weights_that_are_not_finite_are_not_saved(tmp_path, value):
    net = network()
    with torch.no_grad():
        next(net.parameters()).view(-1)[0] = value
    with pytest.raises(InputError, match="has weights that are not finite"):
        gequi.save_model(net, tmp_path / "net")
    assert list(tmp_path.iterdir()) == []


# ---- what is refused ------------------------------------------------------------------------------------


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ModelFileError, match=r"`path`: there is no file '.*none\.gequi'"):
        gequi.load_model(tmp_path / "none.gequi")
    with pytest.raises(ModelFileError, match="cannot be read"):
        gequi.load_model(tmp_path)


def diverged():
    return gequi.set_weights(network(), {}).apply(
        lambda module: [parameter.data.fill_(np.nan) for parameter in module.parameters(recurse=False)] and None
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda path: gequi.save_model(torch.nn.Linear(1, 1), path), "`model` must have a recipe.*a Linear has none"),
        (lambda path: gequi.save_model("net", path), "`model` must be a network"),
        (lambda path: gequi.save_model(diverged(), path), "`model` has weights that are not finite"),
        (lambda path: gequi.save_model(network(), path / "no" / "folder"), "cannot be written"),
        (lambda path: gequi.save_model(network(), 3), "`path` must be the path of a file; got 3"),
        (lambda path: gequi.save_model(network(), path / "a", metadata={"f": print}), "`metadata` must be plain data"),
        (lambda path: gequi.save_model(network(), path / "a", metadata={"a": np.nan}), "`metadata` must be plain data"),
        (lambda path: gequi.load_model(None), "`path` must be the path of a file; got None"),
    ],
)
def test_what_cannot_be_saved_is_refused(tmp_path, call, message):
    with pytest.raises(InputError, match=message):
        call(tmp_path)
    assert list(tmp_path.iterdir()) == []


# ---- what no file should hold, and what is no file --------------------------------------------------------


def with_text(data, change):
    """The file with another description, as text, under a checksum that agrees."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"]["gequi"] = re.sub(
        r'"[0-9a-f]{64}"', f'"{"0" * 64}"', change(header["__metadata__"]["gequi"])
    )
    text = json.dumps(header, separators=(",", ":")).encode()
    blank = len(text).to_bytes(8, "little") + text + data[8 + length :]
    found = saving._CHECKSUM.search(blank)
    return blank[: found.start(1)] + hashlib.sha256(blank).hexdigest().encode() + blank[found.end(1) :]


def test_a_name_that_comes_twice_is_refused(data):
    twice = with_text(data, lambda text: text.replace('"format": 1', '"format": 1, "format": 1'))
    assert "its description cannot be read" in refused(twice)
    model_from_bytes(with_text(data, lambda text: text))  # the change alone is refused


def test_a_key_of_a_recipe_that_is_not_known_is_named(data):
    recipe = unpack(data, "")[0]["recipe"]
    assert "unknown option `surprise`" in refused(rewritten(data, recipe={**recipe, "surprise": 1}))


def test_a_description_that_is_nested_without_end_is_refused(data):
    deep = with_text(data, lambda text: text.replace('"metadata": {}', '"metadata": ' + "[" * 10**5 + "]" * 10**5))
    assert "its description cannot be read" in refused(deep)


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: os.symlink("/dev/zero", path), os.mkdir])
def test_pipes_devices_and_folders_are_refused_at_once(tmp_path, make):
    make(tmp_path / "net.gequi")
    with pytest.raises(
        ModelFileError, match=r"`path`: '.*' cannot be read \(it is a (pipe|device|folder), not a file\)"
    ):
        gequi.load_model(tmp_path / "net.gequi")
    with pytest.raises(
        InputError, match=r"`path`: '.*' cannot be written \(it is a (pipe|device|folder), not a file\)"
    ):
        gequi.save_model(network(), tmp_path / "net.gequi")


@pytest.mark.parametrize("path", [".", "/", ".."])
def test_a_path_without_a_name_is_refused(path):
    with pytest.raises(InputError, match="it is a folder, not a file"):
        gequi.save_model(network(), path)


@pytest.mark.parametrize("path", ["a\0b", "\ud800", "~no one has this name/net", b"bytes"])
def test_a_path_that_no_system_has_is_refused(path):
    for action in (gequi.load_model, lambda path: gequi.save_model(network(), path)):
        with pytest.raises(InputError, match="`path` must be the path of a file"):
            action(path)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666])
def test_a_file_that_is_replaced_keeps_its_permissions(tmp_path, mode):
    path = tmp_path / "net.gequi"
    gequi.save_model(network(), path)
    path.chmod(mode)
    gequi.save_model(network(), path)
    assert path.stat().st_mode & 0o777 == mode


def test_what_a_killed_writer_left_goes_at_the_next_write(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    machine, alive = files.this_writer()
    left = [f".net.{machine}-{dead.pid}-0123abcd.part", f".net.00000000-{alive}-0123abcd.part"]
    stay = [f".net.{machine}-{alive}-0123abcd.part", f".other.{machine}-{dead.pid}-0123abcd.part", ".net.part"]
    for name in left + stay:
        (tmp_path / name).touch()
    os.utime(tmp_path / left[1], (0, 0))  # of another machine, long ago
    gequi.save_model(network(), tmp_path / "net")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*stay, "net"])


def test_a_full_disk_is_an_error_and_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "net"
    before = Path(gequi.save_model(network(), path)).read_bytes()

    def full(number):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=r"`path`: '.*net' cannot be written \(No space left on device\)"):
        gequi.save_model(network(seed=2), path)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["net"]


def test_numbers_of_numpy_are_numbers(tmp_path):
    metadata = {"a": np.float32(0.5), "b": np.int64(3), "c": np.arange(2), "d": np.bool_(True)}
    gequi.save_model(network(), tmp_path / "net", metadata)
    assert describe_model_file(tmp_path / "net")["metadata"] == {"a": 0.5, "b": 3, "c": [0, 1], "d": True}


def test_every_damaged_byte_and_every_cut_is_refused(data, capsys):
    """One bit of each byte of the header and of bytes throughout the weights; files cut at as many places."""
    places = sorted({*range(0, 300), *range(0, len(data), 7)})
    flipped = cut = 0
    for place in places:
        damaged = bytearray(data)
        damaged[place] ^= 1 << place % 8
        with pytest.raises(ModelFileError):
            unpack(bytes(damaged), "'net.gequi'")
        flipped += 1
        with pytest.raises(ModelFileError):
            unpack(data[:place], "'net.gequi'")
        cut += 1
    with capsys.disabled():
        print(f" {flipped} flipped and {cut} cut files refused", end="")

"""Filter bases are the same on every machine and span the same spaces as those of escnn."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

import gequi
from gequi._escnn import bases_as_found, basis_samples, escnn, he_standard_deviations
from gequi._escnn.canonical import canonical_basis
from gequi._escnn.layers import expansions
from gequi.errors import ModelFileError
from gequi.groups import representation_of
from gequi.saving import model_from_bytes, model_to_bytes


def conv(fields, kernel_size=3):
    return {"layer": "conv", "fields": fields, "kernel_size": kernel_size}


def on(name, *layers, dtype="float32", **options):
    return gequi.equivariant_network(gequi.gspace(name, **options), "trivial", list(layers), seed=1, dtype=dtype)


NETWORKS = {
    "C4": lambda **o: on("rot2dOnR2", conv({"regular": 1, "irrep_1": 1}), conv("regular"), N=4, **o),
    "SO(2)": lambda **o: on("rot2dOnR2", conv(["irrep_0", "irrep_1"]), conv("irrep_1"), maximum_frequency=1, **o),
    "D3": lambda **o: on("flipRot2dOnR2", conv(["regular", "irrep_1,1"]), conv("quotient(None,3)"), N=3, **o),
    "O(2)": lambda **o: on("flipRot2dOnR2", conv(["irrep_1,1", "irrep_1,2"], 5), conv("irrep_1,1", 5), **o),
    "D2 in space": lambda **o: on("dihedralOnR3", conv("regular"), {"layer": "relu"}, conv("regular"), N=2, **o),
    "octahedral": lambda **o: on("octaOnR3", conv(["irrep_1", "irrep_2"]), conv(["irrep_1", "irrep_2"]), **o),
    "cosets": lambda **o: on("octaOnR3", conv("quotient(False,4)"), {"layer": "relu"}, conv("trivial"), **o),
    "SO(3) to octahedral": lambda **o: on(
        "rot3dOnR3", conv(["irrep_1", "irrep_2"]), {"layer": "restrict", "subgroup": "octa"}, {"layer": "batch_norm"},
        conv(["trivial", "irrep_2"]), maximum_frequency=2, **o,
    ),
    "O(3)": lambda **o: on("flipRot3dOnR3", conv(["irrep_1,1", "irrep_0,2"]), conv("irrep_1,1"), **o),
    "icosahedral": lambda **o: on("icoOnR3", conv(["irrep_1", "irrep_3", "irrep_4"]), conv("irrep_2"), **o),
}  # fmt: skip
NAMES = [pytest.param(each, marks=pytest.mark.slow if each == "icosahedral" else ()) for each in NETWORKS]


# ---- a basis of a space ---------------------------------------------------------------------------------


def orthonormal(random, rows, columns):
    return np.linalg.qr(random.normal(size=(columns, rows)))[0].T


@pytest.mark.parametrize(("rows", "columns"), [(1, 5), (3, 7), (6, 6), (4, 300)])
def test_every_basis_of_a_space_becomes_the_same(rows, columns):
    random = np.random.default_rng(rows)
    basis = orthonormal(random, rows, columns)
    found = canonical_basis(basis)
    np.testing.assert_allclose(found @ found.T, np.eye(rows), atol=1e-12)
    np.testing.assert_allclose(found.T @ found, basis.T @ basis, atol=1e-12)
    for _ in range(5):
        other = 3 * orthonormal(random, rows, rows) @ basis
        np.testing.assert_allclose(canonical_basis(other), found, atol=1e-11)


def test_a_space_of_coordinates_has_the_coordinate_vectors_as_its_basis():
    basis = orthonormal(np.random.default_rng(0), 2, 2) @ np.eye(6)[[1, 4]]
    np.testing.assert_allclose(canonical_basis(basis), np.eye(6)[[1, 4]], atol=1e-14)


def test_one_vector_of_each_line_over_the_complex_numbers_is_taken():
    random = np.random.default_rng(1)
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])
    complex_basis = np.linalg.qr(random.normal(size=(9, 3)) + 1j * random.normal(size=(9, 3)))[0].T
    real = np.stack([complex_basis.real, complex_basis.imag], -1).reshape(3, 18)
    both = np.concatenate([real, (real.reshape(-1, 2) @ turn).reshape(3, 18)])
    multiples = np.stack([np.eye(2), turn])
    found = canonical_basis(both, multiples)
    assert found.shape == (3, 18)
    spanned = np.concatenate([found, (found.reshape(-1, 2) @ turn).reshape(3, 18)])
    np.testing.assert_allclose(spanned @ spanned.T, np.eye(6), atol=1e-12)
    np.testing.assert_allclose(spanned.T @ spanned, both.T @ both, atol=1e-12)
    np.testing.assert_allclose(canonical_basis(orthonormal(random, 6, 6) @ both, multiples), found, atol=1e-12)


def test_dependent_vectors_are_no_basis():
    with pytest.raises(ArithmeticError, match="dependent"):
        canonical_basis(np.ones((2, 4)))


# ---- the same network on every machine ------------------------------------------------------------------

FRESH = """
import json, sys
import numpy as np
import gequi
from escnn.group import _numerical
from gequi.saving import basis_fingerprint

null, random = _numerical.null, np.random.default_rng(int(sys.argv[1]))

def of_another_library(*arguments, **options):
    basis = null(*arguments, **options)
    size = basis.shape[1]
    return basis @ np.linalg.qr(random.normal(size=(size, size)))[0] if size else basis

_numerical.null = of_another_library
found = {}
for name, (space, options, layers) in json.loads(sys.argv[2]).items():
    net = gequi.equivariant_network(gequi.gspace(space, **options), "trivial", layers, seed=1)
    x = np.random.default_rng(0).normal(size=(1, 1) + (9,) * net.space.dimensionality)
    found[name] = [np.asarray(gequi.predict(net, x)).tolist(), sorted(basis_fingerprint(net))]
json.dump(found, open(sys.argv[3], "w"))
"""
SMALL = {
    "O(2)": ("flipRot2dOnR2", {}, [conv("irrep_1,1"), conv("irrep_1,1")]),
    "D2 in space": ("dihedralOnR3", {"N": 2}, [conv("regular"), {"layer": "relu"}, conv("regular")]),
}
LARGE = {
    "octahedral": ("octaOnR3", {}, [conv(["irrep_1", "irrep_2"]), conv("irrep_1")]),
    "cosets": ("octaOnR3", {}, [conv(["quotient(False,4)"]), {"layer": "relu"}, conv("irrep_1")]),
    "icosahedral": ("icoOnR3", {}, [conv(["irrep_1", "irrep_2", "irrep_3", "irrep_4"]), conv(["irrep_2", "irrep_3"])]),
    "cosets of an icosahedron": (
        "icoOnR3",
        {},
        [conv(["quotient(False,5)", "trivial"]), {"layer": "relu"}, conv("irrep_4")],
    ),
    "with reflections": ("fullIcoOnR3", {}, [conv(["trivial", "irrep_[(1,),(1,)](0)"]), conv("irrep_[(1,),(1,)](0)")]),
}


def computed_on_two_machines(networks, tmp_path_factory):
    """What networks compute in fresh processes with caches, threads, sets and linear algebra of their own."""
    folders, processes = [tmp_path_factory.mktemp("machine") for _ in range(2)], []
    for number, folder in enumerate(folders, start=1):
        environment = {
            **os.environ, "GEQUI_CACHE": str(folder), "OMP_NUM_THREADS": str(number), "PYTHONHASHSEED": str(number),
        }  # fmt: skip
        command = [sys.executable, "-c", FRESH, str(number), json.dumps(networks), str(folder / "found.json")]
        processes.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE))
    printed = [process.communicate() for process in processes]
    for process, (_, errors) in zip(processes, printed, strict=True):
        assert process.returncode == 0, errors
    return [
        (json.loads((folder / "found.json").read_text()), out)
        for folder, (out, _) in zip(folders, printed, strict=True)
    ]


@pytest.fixture(scope="module")
def on_two_machines(tmp_path_factory):
    return computed_on_two_machines(SMALL, tmp_path_factory)


def assert_equal(one, other):
    np.testing.assert_allclose(one[1], other[1], atol=1e-7)
    outputs, others = np.array(one[0]), np.array(other[0])
    np.testing.assert_allclose(outputs, others, atol=1e-6 * np.abs(outputs).max())
    assert np.abs(outputs).max() > 0.01


@pytest.mark.parametrize("name", SMALL)
def test_the_same_recipe_and_seed_are_the_same_network_on_two_machines(on_two_machines, name):
    (one, _), (other, _) = on_two_machines
    assert_equal(one[name], other[name])


@pytest.mark.slow
def test_networks_of_large_groups_are_the_same_on_two_machines(tmp_path_factory):
    (one, _), (other, _) = computed_on_two_machines(LARGE, tmp_path_factory)
    for name in LARGE:
        assert_equal(one[name], other[name])


def test_escnn_prints_nothing_while_it_solves(on_two_machines):
    assert [printed for _, printed in on_two_machines] == [b"", b""]


# ---- the spaces of escnn --------------------------------------------------------------------------------


def blocks(network):
    return {
        (name, pair): getattr(module, f"block_expansion_{module._escape_pair(pair)}")._sampled.sampled_basis
        for name, module in expansions(network)
        for pair in module._representations_pairs
    }


@pytest.fixture(scope="module", params=NAMES)
def both(request):
    """A network on canonical bases, and one of the same recipe on the bases that escnn finds."""
    make = NETWORKS[request.param]
    with bases_as_found():
        found = make()
    return make(), found


def projector(basis):
    u, s, _ = np.linalg.svd(basis.flatten(1).numpy().T, full_matrices=False)
    return (u * (s > 1e-8 * s.max())) @ u.T


def test_canonical_bases_span_the_spaces_that_escnn_finds(both):
    canonical, found = map(blocks, both)
    assert canonical.keys() == found.keys()
    for key, basis in canonical.items():
        assert basis.shape == found[key].shape
        if basis[0].numel() <= 5000:
            np.testing.assert_allclose(projector(basis), projector(found[key]), atol=1e-9)


def test_initial_weights_have_the_deviations_that_they_have_on_the_bases_of_escnn(both):
    of_each = [[he_standard_deviations(module).numpy() for _, module in expansions(network)] for network in both]
    for canonical, found in zip(*of_each, strict=True):
        np.testing.assert_array_equal(canonical, found)


def test_elements_of_canonical_bases_have_the_norms_of_those_of_escnn(both):
    """With equal deviations of the weights, the expected square of a filter is then the same."""
    for canonical, found in zip(
        *(map(lambda b: b.flatten(1).norm(dim=1), blocks(n).values()) for n in both), strict=True
    ):
        np.testing.assert_allclose(canonical.square().sum(), found.square().sum(), rtol=1e-9)


@pytest.mark.parametrize("name", ["C4", "SO(2)"])
def test_closed_forms_of_rotations_in_the_plane_stay(name):
    make = NETWORKS[name]
    with bases_as_found():
        found = make()
    for canonical, other in zip(basis_samples(make()), basis_samples(found), strict=True):
        assert torch.equal(canonical, other)


@pytest.mark.parametrize("name", ["quotient(False,4)", "quotient(False,3)", "induced(False,4; irrep_1)"])
def test_representations_of_cosets_keep_their_matrices(name):
    space = gequi.gspace("octaOnR3")
    with bases_as_found():
        found = representation_of(space, name)
    canonical = representation_of(space, name)
    assert canonical.irreps == found.irreps
    irreps = escnn.group.directsum([space.irrep(*irrep) for irrep in canonical.irreps], name="sum")
    for element in space.testing_elements:
        np.testing.assert_allclose(canonical(element), found(element), atol=1e-12)
        turned = canonical.change_of_basis @ irreps(element) @ canonical.change_of_basis_inv
        np.testing.assert_allclose(turned, found(element), atol=1e-9)


# ---- files of before ------------------------------------------------------------------------------------


def images(network):
    return np.random.default_rng(3).normal(size=(2, 1) + (9,) * network.space.dimensionality)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_on_the_bases_of_escnn_is_converted(name):
    with bases_as_found():
        before = NETWORKS[name](dtype="float64")
    for number, parameter in enumerate(before.parameters()):  # biases too
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(number))
    after = model_from_bytes(model_to_bytes(before))
    expected = gequi.predict(before, images(before))
    np.testing.assert_allclose(gequi.predict(after, images(before)), expected, atol=1e-9 * np.abs(expected).max())
    again = model_from_bytes(model_to_bytes(after))
    for key, value in gequi.get_weights(after).items():
        np.testing.assert_array_equal(gequi.get_weights(again)[key], value)


def test_a_file_on_bases_that_this_machine_does_not_find_is_refused_with_the_way_out(monkeypatch):
    with bases_as_found():
        before = NETWORKS["octahedral"]()
    data = model_to_bytes(before)
    monkeypatch.setattr("gequi.saving.bases_as_found", lambda: torch.no_grad())  # another machine finds others
    with pytest.raises(ModelFileError, match="load the file there with this version and save it again"):
        model_from_bytes(data)


def test_training_is_not_resumed_from_a_checkpoint_on_other_bases(tmp_path):
    x, y = np.random.default_rng(4).normal(size=(4, 1, 7, 7)), [0, 1, 0, 1]
    head = [{"layer": "global_avg_pool"}, {"layer": "group_pool"}, {"layer": "dense", "units": 2}]
    options = {"batch_size": 2, "seed": 1, "checkpoint": tmp_path / "run.gequi"}

    def make():
        return on("flipRot2dOnR2", conv("regular"), conv("regular"), *head, N=3)

    with bases_as_found():
        gequi.fit(make(), x, y, epochs=1, **options)
    with pytest.raises(ModelFileError, match="training cannot be resumed. Train the network that load_model"):
        gequi.fit(make(), x, y, epochs=2, **options)
    assert gequi.load_model(tmp_path / "run.gequi").recipe == make().recipe

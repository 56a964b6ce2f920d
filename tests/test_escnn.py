"""gequi._escnn: functions that it provides to escnn, and faults of escnn that it works around."""

import importlib.util
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

import gequi
from gequi._escnn import escnn, float_type, he_standard_deviations, importing, wigner_d_matrix
from gequi._escnn.regular import quick_regular_representations, regular_representation

ANGLES = [(0.3, 0.7, 1.1), (2.5, 1.9, -0.4), (1.0, np.pi, 2.0), (0.0, 0.0, 0.0)]

# ---- escnn is as it was for others ----------------------------------------------------------------------

ESCNN_ALONE = """
import sys, warnings
warnings.simplefilter("ignore")
how, file = sys.argv[1:]
if how == "gequi first":
    import gequi
import escnn, numpy as np, torch
from escnn import gspaces, group, kernels, nn
if how == "escnn first":
    import gequi
space = gspaces.rot2dOnR2(N=4)
if how != "alone":  # gequi builds layers on that very space
    gequi.equivariant_network(gequi.gspace("rot2dOnR2", N=4), "trivial", [
        {"layer": "conv", "fields": {"regular": 2}, "kernel_size": 3}, {"layer": "batch_norm"}], seed=1)
    gequi._escnn.escnn.nn.R2Conv(nn.FieldType(space, [space.regular_repr]), nn.FieldType(space, [space.regular_repr]), 3)
torch.manual_seed(0)
found = {}
points = torch.linspace(-1, 1, 10).reshape(5, 2)
solid = torch.linspace(-1, 1, 15).reshape(5, 3)
octa = group.octa_group()
for name, basis, where in [
    ("C4", kernels.kernels_CN_act_R2(space.regular_repr, space.regular_repr, [0.0, 1.0], [0.6, 0.6], maximum_frequency=4), points),
    ("space", space.build_kernel_basis(space.regular_repr, space.trivial_repr, 0.6, [0.0, 1.0], maximum_frequency=4), points),
    ("point", space.build_fiber_intertwiner_basis(space.regular_repr, space.irrep(1)), torch.zeros(1, 1)),
    ("octa", kernels.kernels_SO3_subgroup_act_R3(octa.irrep(1), octa.irrep(-1), "octa", [1.0], [0.6], maximum_frequency=2), solid),
]:
    found[name] = basis.sample(where)
fields = nn.FieldType(space, [space.regular_repr, space.irrep(1), space.regular_repr, space.irrep(1)])
both = nn.FieldType(space, [space.trivial_repr, space.trivial_repr, space.irrep(1), space.irrep(1)])
layers = {
    "conv": nn.R2Conv(fields, fields, 3),
    "up": nn.R2ConvTransposed(fields, fields, 3),
    "norm": nn.NormNonLinearity(fields),
    "gate": nn.GatedNonLinearity1(both),
    "pool": nn.GroupPooling(nn.FieldType(space, [space.regular_repr] * 2)),
    "iid": nn.IIDBatchNorm2d(fields),
    "inner": nn.InnerBatchNorm(nn.FieldType(space, [space.regular_repr, space.trivial_repr, space.regular_repr])),
    "drop": nn.FieldDropout(fields),
}
for name, layer in layers.items():
    for key, value in layer.state_dict().items():
        found[f"{name}/{key}"] = value
    image = torch.randn(2, layer.in_type.size, 5, 5)
    found[f"{name}()"] = layer.eval()(nn.GeometricTensor(image, layer.in_type)).tensor.detach()
sampler = nn.modules.basismanager.BlocksBasisSampler(  # the part of R2PointConv that needs no torch_geometric
    fields.representations, fields.representations,
    lambda a, b: space.build_kernel_basis(a, b, 0.6, [0.0, 1.0], maximum_frequency=2))
found["sampler"] = sampler(torch.randn(sampler.dimension()), points).detach()
if how == "alone":
    torch.save({"found": found, "state": {name: layer.train().state_dict() for name, layer in layers.items()}}, file)
else:
    before = torch.load(file, weights_only=True)
    assert before["found"].keys() == found.keys()
    for name, value in found.items():
        assert torch.equal(value, before["found"][name]), name
        assert value.dtype is before["found"][name].dtype, name
    for name, layer in layers.items():
        layer.train().load_state_dict(before["state"][name], strict=True)
"""


def _run_escnn(folder, how):
    # escnn imports one function of lie_learn, which gequi provides if it is not installed; here it exists in each process
    package = folder / "lie_learn" / "representations" / "SO3"
    package.mkdir(parents=True, exist_ok=True)
    source = (
        f"import math\nimport numpy as np\n{inspect.getsource(wigner_d_matrix)}\nwigner_D_matrix = wigner_d_matrix\n"
    )
    (package / "wigner_d.py").write_text(source)
    cache = folder / "cache"
    code = (  # escnn fails with scikit-learn (its issue 112)
        "import sys, joblib\nsys.modules['sklearn'] = None\nmemory = joblib.Memory\n"
        f"joblib.Memory = lambda *_, **__: memory({str(cache)!r}, verbose=0)\n"
    )
    paths = os.pathsep.join([str(folder), *filter(None, sys.path)])
    environment = {
        **os.environ,
        "PYTHONPATH": paths,
        "GEQUI_CACHE": str(cache),
        "OMP_NUM_THREADS": "1",
        "PYTHONHASHSEED": "0",
    }  # escnn iterates over sets, which determines the order of its random numbers
    command = [sys.executable, "-c", code + ESCNN_ALONE, how, str(folder / "found.pt")]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def escnn_alone(tmp_path_factory):
    """What escnn computes, and the state of its layers, in a process without gequi."""
    folder = tmp_path_factory.mktemp("escnn")
    done = _run_escnn(folder, "alone")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("how", ["gequi first", "escnn first"])
def test_escnn_computes_and_loads_beside_gequi_what_it_does_alone(escnn_alone, how):
    done = _run_escnn(escnn_alone, how)
    assert done.returncode == 0, done.stderr


def test_gequis_groups_spaces_and_types_are_those_of_escnn():
    import escnn as original

    space = gequi.gspace("rot2dOnR2", N=4)
    fields = gequi.field_type(space, {"regular": 1})
    assert isinstance(space, original.gspaces.GSpace2D)
    assert isinstance(fields, original.nn.FieldType)
    layer = original.nn.R2Conv(fields, fields, 3)  # escnn's own layer takes them
    network = gequi.equivariant_network(space, {"regular": 1}, [{"layer": "relu"}], seed=1)
    assert isinstance(layer(fields(torch.ones(1, 4, 5, 5))), original.nn.GeometricTensor)
    assert not any(type(module).__module__.startswith("gequi") for module in layer.modules())
    assert network.in_type == fields


IMPORTED = """
import json, sys, gequi
loaded = sorted(sys.modules)
from escnn.nn import init
assert init.stats.ortho_group.rvs(3).shape == (3, 3)
from scipy.stats import ortho_group, norm
assert init.stats.ortho_group is ortho_group and norm.cdf(0) == 0.5
from sklearn.utils.extmath import randomized_svd
from escnn.group import _numerical
assert _numerical.randomized_svd is None
with open(sys.argv[1], "w") as file:
    json.dump(loaded, file)
"""


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """What a process that imports gequi says, and the modules that it has then."""
    file = tmp_path_factory.mktemp("imported") / "modules.json"
    command = [sys.executable, "-W", "default", "-c", IMPORTED, str(file)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done, json.loads(file.read_text())


def test_lie_learn_is_supplied_to_escnn_alone(imported):
    _, loaded = imported
    assert "gequi" in loaded
    assert not any(name.startswith("lie_learn") for name in loaded)


# ---- Wigner matrices ------------------------------------------------------------------------------------


@pytest.mark.parametrize("degree", range(7))
@pytest.mark.parametrize("angles", ANGLES)
def test_wigner_matrices_are_orthogonal(degree, angles):
    d = wigner_d_matrix(degree, *angles)
    assert d.shape == (2 * degree + 1, 2 * degree + 1)
    np.testing.assert_allclose(d @ d.T, np.eye(len(d)), atol=1e-12)


@pytest.mark.parametrize("degree", range(7))
def test_wigner_matrices_multiply_as_the_rotations_do(degree):
    a, b = (Rotation.from_euler("ZYZ", angles) for angles in ANGLES[:2])
    product = (a * b).as_euler("ZYZ")
    np.testing.assert_allclose(
        wigner_d_matrix(degree, *ANGLES[0]) @ wigner_d_matrix(degree, *ANGLES[1]),
        wigner_d_matrix(degree, *product),
        atol=1e-12,
    )


@pytest.mark.parametrize("angles", ANGLES[:2])
def test_degree_one_is_the_rotation_itself_in_the_order_y_z_x(angles):
    rotation = Rotation.from_euler("ZYZ", angles).as_matrix()
    order = [1, 2, 0]
    np.testing.assert_allclose(wigner_d_matrix(1, *angles), rotation[np.ix_(order, order)], atol=1e-14)


def test_wigner_matrices_equal_those_of_lie_learn():
    # Printed by lie_learn 0.0.2 (field="real", normalization="quantum", order="centered", condon_shortley="cs").
    second = [
        [-0.7332737530927954, -0.006770664566483, 0.2029408447707957, 0.600047724226578, 0.2470253090287607],
        [0.479915157925129, 0.2866701528268422, 0.2522041847051621, 0.6739724192171995, -0.4118930589651316],
        [-0.2905855491152654, 0.7605781959441846, 0.3774753571751808, -0.3871100432758574, -0.2115159937690353],
        [0.2685353879921306, -0.2472351828040356, 0.8153075658718929, -0.1277832818188558, 0.4309391090391108],
        [-0.2746631177646538, -0.5274181963278359, 0.2966378102980783, -0.1397181236189022, -0.7340811081590826],
    ]
    third = [
        -0.1781152046658881, 0.3401919139591021, 0.1744353079594698, 0.6283903068966399, -0.3592128678055621,
        0.511451725848747, -0.1913782349389436,
    ]  # fmt: skip
    np.testing.assert_allclose(wigner_d_matrix(2, 0.3, 0.7, 1.1), second, atol=1e-14)
    np.testing.assert_allclose(wigner_d_matrix(3, 2.5, 1.9, -0.4)[0], third, atol=1e-14)


def test_escnn_runs_on_these_matrices_up_to_degree_three():
    space = gequi.gspace("rot3dOnR3", maximum_frequency=3)
    a, b = space.fibergroup.sample(), space.fibergroup.sample()
    rho = space.irrep(3)
    np.testing.assert_allclose(rho(a) @ rho(b), rho(a @ b), atol=1e-12)


# ---- the cache ------------------------------------------------------------------------------------------


COLD = """
import gequi
space = gequi.gspace('flipRot2dOnR2', N=3)
layers = [{'layer': 'conv', 'fields': {'regular': 1}, 'kernel_size': 3}] * 2
gequi.equivariant_network(space, {'trivial': 1}, layers, seed=1)
"""


@pytest.fixture(scope="module")
def cold(tmp_path_factory):
    """A process with an empty cache that builds a regular layer of a dihedral group, its cache, and what it left in escnn."""
    cache = tmp_path_factory.mktemp("cache")
    package = Path(importlib.util.find_spec("escnn").origin).parent
    before = set(package.rglob("_cache/**"))  # there may be one of an escnn that was imported without gequi
    environment = {**os.environ, "GEQUI_CACHE": str(cache)}
    done = subprocess.run([sys.executable, "-c", COLD], env=environment, capture_output=True, text=True)
    return done, cache, set(package.rglob("_cache/**")) - before


def test_the_cache_goes_where_it_is_told_and_not_into_the_installed_package(cold):
    _, cache, left = cold
    assert any((cache / "escnn").iterdir())
    assert left == set()


def test_importing_gequi_says_nothing(imported):
    done, _ = imported
    assert done.stdout == ""
    assert "py3nj" not in done.stderr


def test_escnn_prints_for_others_and_not_for_gequi(monkeypatch, capsys):
    solver = escnn.group._clebsh_gordan
    group = escnn.group.o2_group()
    draw, drawn = group.sample, []

    def too_few_at_first():
        drawn.append(group.identity if len(drawn) < 3 else draw())
        return drawn[-1]

    def solve():  # prints that three random elements did not suffice
        drawn.clear()
        solver._clebsh_gordan_tensor.func((1, 1), (1, 1), (1, 2), "O2", **group._keys)
        return capsys.readouterr().out

    monkeypatch.setattr(group, "sample", too_few_at_first)
    assert solve().startswith("O(2) (1, 1) (1, 1) (1, 2)")
    inside = {"__name__": "gequi.layers", "solve": solve}
    exec("def layer(): return solve()", inside)
    assert inside["layer"]() == ""


def test_escnn_says_nothing_of_an_empty_basis(capsys):
    space = gequi.gspace("flipRot2dOnR2", N=4)
    with pytest.raises(gequi.FieldError, match="no equivariant kernel"):
        gequi.equivariant_network(
            space, "trivial", [{"layer": "conv", "fields": "irrep_1,0", "kernel_size": 1}], seed=1
        )
    assert capsys.readouterr().out == ""


# ---- float64 and the basis ------------------------------------------------------------------------------


def _conv(space, dtype, kernel_size=3):
    fields = gequi.field_type(space, {"trivial": 1, "regular": 2})
    with float_type(dtype):
        return escnn.nn.R2Conv(fields, fields, kernel_size, initialize=False)


@pytest.mark.parametrize("name", ["rot2dOnR2", "flipRot2dOnR2"])
def test_filters_in_float64_are_equivariant_to_the_last_digits(name):
    space = gequi.gspace(name, N=4)
    conv = _conv(space, torch.float64, 5)
    torch.nn.init.normal_(conv.weights)
    filters = conv.expand_parameters()[0].detach().numpy()
    rho = conv.in_type.representation(space.fibergroup.elements[1])
    turned = np.einsum("oi,ijrc,jk->okrc", rho, filters, np.linalg.inv(rho))
    np.testing.assert_allclose(np.rot90(filters, -1, (-2, -1)), turned, atol=1e-13)


def test_layers_of_the_same_types_do_not_share_a_module_that_one_could_convert():
    space = gequi.gspace("rot2dOnR2", N=4)
    first, second = _conv(space, torch.float32), _conv(space, torch.float32)
    first.double()
    assert second.expand_parameters()[0].dtype is torch.float32


def test_a_basis_is_no_part_of_the_state():
    conv = _conv(gequi.gspace("rot2dOnR2", N=4), torch.float32)
    assert not [name for name in conv.state_dict() if "sampled_basis" in name]


@pytest.mark.parametrize(
    ("name", "options", "fields"),
    [
        ("rot2dOnR2", {"N": 8}, {"regular": 3, "trivial": 2}),
        ("flipRot2dOnR2", {"N": 4}, {"trivial": 1, "regular": 2, "irrep_1,1": 2}),
        ("rot2dOnR2", {"maximum_frequency": 3}, {"irrep_0": 2, "irrep_1": 3, "irrep_2": 1}),
    ],
)
def test_standard_deviations_of_initial_weights_are_those_of_escnn(name, options, fields):
    space = gequi.gspace(name, **options)
    out = gequi.field_type(space, fields)
    conv = escnn.nn.R2Conv(gequi.field_type(space, {"trivial": 1, **fields}), out, 3, initialize=False)
    expected = escnn.nn.init._generalized_he_init_variances(conv.basisexpansion)
    np.testing.assert_allclose(he_standard_deviations(conv.basisexpansion), expected, rtol=1e-6)


def test_a_regular_layer_of_a_dihedral_group_can_be_built_with_scikit_learn_installed(cold):
    import sklearn  # noqa: F401 - escnn uses it where it finds it, and fails (its issue 112), with a cold cache

    done, *_ = cold
    assert done.returncode == 0, done.stderr


def test_what_escnn_hardly_needs_is_loaded_when_it_is_used(imported):
    """The process has used both."""
    _, loaded = imported
    assert "sklearn" not in loaded
    assert "scipy.stats" not in loaded


def test_scipy_stats_that_is_loaded_later_bears_being_looked_at_and_used(monkeypatch):
    """torch looks at the file of every module when an operator is registered, as torch_geometric does at its import."""
    monkeypatch.delitem(sys.modules, "scipy.stats", raising=False)
    with importing._scipy_stats_later():
        later = sys.modules["scipy.stats"]
        assert not hasattr(later, "__file__")
        assert sys.modules["scipy.stats"] is later
        assert later.norm.cdf(0) == 0.5
    assert sys.modules["scipy.stats"].__file__


REGULAR = [escnn.group.cyclic_group(1), escnn.group.cyclic_group(5), escnn.group.cyclic_group(8),
           escnn.group.dihedral_group(4), escnn.group.octa_group(), escnn.group.full_octa_group(),
           escnn.group.direct_product(escnn.group.cyclic_group(3), escnn.group.cyclic_group(3))]  # fmt: skip


@pytest.mark.parametrize("group", REGULAR, ids=str)
def test_the_quick_regular_representation_is_that_of_escnn_to_the_bit(group):
    irreps, change, inverse = regular_representation(group)
    expected, theirs, back = escnn.group.representation.build_regular_representation(group)
    assert [irrep.id for irrep in irreps] == [irrep.id for irrep in expected]
    np.testing.assert_array_equal(change, theirs)
    np.testing.assert_array_equal(inverse, back)


def test_gequi_takes_the_quick_one_for_its_gspaces_only():
    own = escnn.group.representation.build_regular_representation
    with quick_regular_representations():
        assert escnn.group.representation.build_regular_representation is regular_representation
    assert escnn.group.representation.build_regular_representation is own
    with pytest.raises(ZeroDivisionError), quick_regular_representations():
        1 / 0  # noqa: B018
    assert escnn.group.representation.build_regular_representation is own
    gequi.gspace("rot2dOnR2", N=7)
    assert escnn.group.representation.build_regular_representation is own

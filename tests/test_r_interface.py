"""The interface to R: the functions that R may call, and their results."""

import inspect
import re
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import gequi
from gequi import _r_interface as door
from gequi._r_interface import call
from gequi.errors import GequiWarning, InputError

ROOT = Path(__file__).resolve().parents[1]
C4 = gequi.gspace("rot2dOnR2", N=4)
CONV = {"layer": "conv", "fields": "regular", "kernel_size": 3, "stride": 2}
SIX = [
    {"layer": "conv", "fields": {"regular": 4}, "kernel_size": 3}, {"layer": "batch_norm"}, {"layer": "relu"},
    {"layer": "global_avg_pool"}, {"layer": "group_pool"}, {"layer": "dense", "units": 10},
]  # fmt: skip


@pytest.fixture
def declare(monkeypatch):
    """Declare a function for the duration of a test."""

    def declare(function):
        monkeypatch.setitem(door.PRIVATE_FUNCTIONS, function.__name__, f"_r_interface:{function.__name__}()")
        monkeypatch.setattr(door, function.__name__, function, raising=False)

    door.function_of.cache_clear()
    yield declare
    door.function_of.cache_clear()


# ---- the table ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*door.PRIVATE_FUNCTIONS, *gequi.__all__])
def test_every_declared_function_is_there_with_its_arguments(name):
    stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    parameters = inspect.signature(door.function_of(name)).parameters.values()
    assert door.arguments_of(name) == [stars.get(each.kind, "") + each.name for each in parameters]


@pytest.mark.parametrize("name", ["errors.InputError", "networks.predict", "__import__", "os:system", "PUBLIC", ""])
def test_no_other_name_is_called(name):
    with pytest.raises(LookupError, match="no function that R may call"):
        call(name)


def calls_in_r():
    """(file, name, names of the arguments, where they are written out) of every call of the core in R's sources."""
    for file in sorted((ROOT / "rpkg/R").glob("*.R")):
        code = re.sub(r"#.*", "", file.read_text())
        for match in re.finditer(r'\b(call_core(?:_with)?|new_module|image_operation|door)\(\s*"([\w.]+)"', code):
            names = re.findall(r"[(,]\s*(\w+) = ", _until_closed(code, match))
            yield file.name, match.group(2), names if match.group(1).startswith("call_core") else []


def _until_closed(code, match):
    """The arguments of a call, without those of the calls within it."""
    depth, kept = 0, []
    for character in code[match.start() + len(match.group(1)) :]:
        depth += (character == "(") - (character == ")")
        kept.append(character if depth <= 1 else "")
        if depth == 0:
            return "".join(kept)
    return None


def test_r_calls_declared_functions_by_their_arguments():
    calls = list(calls_in_r())
    assert len(calls) > 70
    for file, name, arguments in calls:
        declared = door.arguments_of(name)
        if not any(each.startswith("**") for each in declared):
            assert set(arguments) <= set(declared), (file, name)


def test_every_private_function_is_called_by_r():
    assert set(door.PRIVATE_FUNCTIONS) <= {name for _, name, _ in calls_in_r()}


def test_r_reads_no_attribute_of_a_python_object_but_at_the_door():
    for file in (ROOT / "rpkg/R").glob("*.R"):
        code = re.sub(r"#.*", "", file.read_text())
        if file.name not in {"errors.R", "arrays.R", "python.R", "finding_python.R", "installing.R", "sitrep.R"}:
            assert "reticulate::" not in code, file.name
            assert not re.search(r"(?<!handle)(?<!made)\bpython\$", code.replace("$handle$python", "")), file.name


# ---- a call ---------------------------------------------------------------------------------------------


def test_a_call_returns_the_value_and_nothing_else():
    reply = call("cayley_table", gequi.gspace("rot2dOnR2", N=3))
    np.testing.assert_array_equal(reply.pop("value"), [[0, 1, 2], [1, 2, 0], [2, 0, 1]])
    assert reply == {"shape": None, "warnings": [], "error": None}


def test_a_large_array_of_floats_comes_with_its_shape_and_is_written_into_memory_of_r(declare):
    def large():
        return np.random.default_rng(0).random((3, 150, 200), dtype=np.float32)

    def table():
        return np.zeros((300, 300), np.int32)

    declare(large)
    declare(table)
    assert call("table")["shape"] is None
    reply = call("large")
    assert reply["shape"] == [3, 150, 200]
    target = np.zeros(reply["shape"], order="F")
    view = target.view()
    view.flags.writeable = False  # as reticulate shows an array of R
    assert call("write_to_r", reply["value"], view)["error"] is None
    np.testing.assert_array_equal(target, reply["value"])


def test_options_may_have_any_name():
    assert call("gspace", name="rot2dOnR2", N=4)["value"] == C4


def test_an_error_comes_back_as_data_with_its_classes_nearest_first():
    error = call("transform_field", np.ones((1, 2)), gequi.field_type(C4, "regular"), 0)["error"]
    assert error["kinds"] == ["ShapeError", "InputError", "GequiError"]
    assert error["argument"] == "x"
    assert "".join(piece.get("text", "") for piece in error["pieces"]).startswith("`")
    assert "must have 4 axes" in error["traceback"]


def test_the_message_comes_back_in_pieces(declare):
    def refuse():
        raise InputError("`{argument}` is {value!r:.9} at {place:index}", "x", value=(None, 2**40), place=3)

    declare(refuse)
    assert call("refuse")["error"]["pieces"] == [
        {"text": "`"}, {"kind": "name", "value": "x"}, {"text": "` is "},
        {"kind": "code", "value": [None, 2.0**40], "limit": 9}, {"text": " at "}, {"kind": "index", "value": 3},
    ]  # fmt: skip
    assert isinstance(call("refuse")["error"]["pieces"][3]["value"][1], float)  # R's integers have 32 bits


def test_small_arrays_in_messages_are_lists(declare):
    def refuse():
        raise InputError("got {value!r}", value=np.array([3.0, 4.0]))

    declare(refuse)
    assert call("refuse")["error"]["pieces"][1]["value"] == [3, 4]


def test_an_error_that_gequi_did_not_raise_on_purpose_is_raised():
    with pytest.raises(TypeError, match="unexpected keyword argument 'nothing'"):
        call("gspaces", nothing=1)


def test_warnings_of_gequi_come_back_as_data_and_are_not_shown():
    net = gequi.equivariant_network(C4, "trivial", [CONV], seed=1)
    for _ in range(2):  # "always": a warning from the same line is told again
        reply = call("output_shape", net, (1, 1, 10, 10))
        assert reply["value"] == (1, 4, 4, 4)
        assert [warning["kinds"] for warning in reply["warnings"]] == [["ExactnessWarning", "GequiWarning"]]
        assert reply["warnings"][0]["pieces"][0]["text"].startswith("layer 1")


def test_warnings_of_gequi_may_be_text_or_messages(declare):
    def warn_twice():
        warnings.warn("as text", GequiWarning, stacklevel=1)
        warnings.warn(GequiWarning("as {a!r}", a=None), stacklevel=1)

    declare(warn_twice)
    assert [warning["pieces"] for warning in call("warn_twice")["warnings"]] == [
        [{"text": "as text"}], [{"text": "as "}, {"kind": "code", "value": None, "limit": None}],
    ]  # fmt: skip


def test_other_warnings_are_passed_on(declare):
    def mind():
        warnings.warn("mind the step", FutureWarning, stacklevel=1)

    declare(mind)
    with pytest.warns(FutureWarning, match="mind the step"):
        assert call("mind")["warnings"] == []


# ---- what R keeps ---------------------------------------------------------------------------------------


def test_a_gspace_is_described_by_one_call():
    made = call("make_gspace", "rot2dOnR2", N=4)["value"]
    assert made.pop("handle") == C4
    assert made == {
        "group": "C4", "dimension": 2, "symmetry": "rotations of the plane", "finite": True, "elements": 4,
    }  # fmt: skip
    assert call("make_gspace", "rot3dOnR3")["value"]["finite"] is False


def test_a_field_type_is_described_by_one_call():
    made = call("make_field_type", C4, [("regular", 2), ("irrep_1", 1), ("regular", 1)])["value"]
    assert made["handle"].size == made["size"] == 14
    assert [tuple(row.values()) for row in made["rows"]] == [("regular", 2, 4), ("irrep_1", 1, 2), ("regular", 1, 4)]


def test_a_saved_model_is_read_with_what_is_kept_beside_it(tmp_path):
    net = gequi.equivariant_network(C4, "trivial", [CONV], seed=1)
    read = [call("read_model_bytes", call("model_to_bytes", net, {"note": "a"})["value"], "`data`")["value"]]
    gequi.save_model(net, tmp_path / "a.gequi", {"note": "a"})
    read.append(call("read_model_file", tmp_path / "a.gequi")["value"])
    for each in read:
        assert each["metadata"]["note"] == "a"
        assert call("recipe_of_model", each["handle"])["value"] == net.recipe


def planned_layers(action):
    """The kinds of layers that are planned while `action` runs, in order."""
    kinds = {f"plan_{row['kind']}" for row in gequi.layer_kinds()}
    found = []

    def notice(frame, event, _):
        if event == "call" and frame.f_code.co_name in kinds:
            found.append(frame.f_code.co_name.removeprefix("plan_"))

    sys.setprofile(notice)
    try:
        action()
    finally:
        sys.setprofile(None)
    return found


def test_a_network_that_grows_by_a_layer_at_a_time_plans_each_layer_once():
    rows = []

    def grow():
        made = call("start_plan", C4, "trivial")["value"]
        rows.extend(made["rows"])
        for layer in SIX:
            made = call("extend_plan", made["plan"], layer)["value"]
            rows.append(made["row"])

    assert planned_layers(grow) == [layer["layer"] for layer in SIX]
    assert rows == call("start_plan", C4, "trivial", SIX)["value"]["rows"]


def test_extending_a_plan_leaves_it_as_it_was():
    plan = call("start_plan", C4, "trivial", SIX[:1])["value"]["plan"]
    longer = [call("extend_plan", plan, layer)["value"] for layer in ({"layer": "relu"}, {"layer": "group_pool"})]
    assert [each["row"] for each in longer] == [
        {"layer": "2", "kind": "relu", "fields": "4 regular", "channels": 16},
        {"layer": "2", "kind": "group_pool", "fields": "4 trivial", "channels": 4},
    ]
    assert len(plan.steps) == 1


def test_the_layer_that_does_not_fit_is_named():
    plan = call("start_plan", C4, "trivial", SIX[:2])["value"]["plan"]
    error = call("extend_plan", plan, {"layer": "conv", "fields": "regular", "kernel_size": 4})["error"]
    assert "layer 3 (conv): " in error["traceback"]
    assert error["argument"] == "kernel_size"


def test_the_seed_of_a_plan_is_drawn_where_there_is_none():
    assert call("start_plan", C4, "trivial", seed=7)["value"]["seed"] == 7
    assert 0 <= call("start_plan", C4, "trivial")["value"]["seed"] < 2**31
    assert call("start_plan", C4, "trivial", dtype="float16")["error"]["argument"] == "dtype"


# ---- the speed of torch ---------------------------------------------------------------------------------


def test_the_speed_of_matrix_products_is_measured(monkeypatch):
    found = call("measure_products")["value"]
    assert found["gigaflops"] > 0
    assert found["slow"] is False
    seconds = iter([20e-3, 5e-6])  # a product in 20 ms, and 65,536 operations on elements in 5 microseconds
    monkeypatch.setattr(door, "_least_seconds", lambda action, repeats: next(seconds))
    assert call("measure_products")["value"] == {"gigaflops": 2 * 256**3 / 20e-3 / 1e9, "slow": True}

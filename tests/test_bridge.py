"""bridge: what a caller from another language gets back."""

import warnings

import numpy as np
import pytest

import gequi
from gequi._bridge import call

CONV = {"layer": "conv", "fields": "regular", "kernel_size": 3, "stride": 2}


def test_a_call_returns_the_value_and_nothing_else():
    reply = call("cayley_table", gequi.gspace("rot2dOnR2", N=3))
    np.testing.assert_array_equal(reply.pop("value"), [[0, 1, 2], [1, 2, 0], [2, 0, 1]])
    assert reply == {"warnings": [], "error": None}


def test_functions_of_a_module_are_called_by_their_dotted_name():
    rows = call("networks.describe_plan", gequi.gspace("rot2dOnR2", N=4), "trivial", [CONV])["value"]
    assert [row["channels"] for row in rows] == [1, 4]


def test_options_may_have_any_name():
    assert call("gspace", name="rot2dOnR2", N=4)["value"] == gequi.gspace("rot2dOnR2", N=4)


def test_an_error_comes_back_as_data_with_its_classes_nearest_first():
    reply = call("transform_field", np.ones((1, 2)), gequi.field_type(gequi.gspace("rot2dOnR2", N=4), "regular"), 0)
    error = reply["error"]
    assert reply["value"] is None
    assert error["kinds"] == ["ShapeError", "InputError", "GequiError"]
    assert error["argument"] == "x"
    assert error["message"].startswith("`x` must have 4 axes")
    assert error["traceback"].rstrip().endswith(error["message"])


def test_an_error_that_gequi_did_not_raise_on_purpose_is_raised():
    with pytest.raises(TypeError, match="unexpected keyword argument 'nothing'"):
        call("gspaces", nothing=1)


def test_warnings_of_gequi_come_back_as_data_and_are_not_shown():
    net = gequi.equivariant_network(gequi.gspace("rot2dOnR2", N=4), "trivial", [CONV], seed=1)
    for _ in range(2):  # "always": a warning from the same line is told again
        reply = call("output_shape", net, (1, 1, 10, 10))
        assert reply["value"] == (1, 4, 4, 4)
        assert [warning["kinds"] for warning in reply["warnings"]] == [["ExactnessWarning", "GequiWarning"]]
        assert reply["warnings"][0]["message"].startswith("layer 1 (conv) breaks exact equivariance")


def test_other_warnings_are_passed_on(monkeypatch):
    def warns():
        warnings.warn("mind the step", FutureWarning, stacklevel=1)

    monkeypatch.setattr(gequi, "gspaces", warns)
    with pytest.warns(FutureWarning, match="mind the step"):
        assert call("gspaces")["warnings"] == []

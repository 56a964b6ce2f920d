"""errors: a message names the argument and suggests the most similar valid value."""

import json
import pickle

import numpy as np
import pytest
import torch

from gequi import errors
from gequi.errors import GequiWarning, InputError, ModelFileError, ShapeError


@pytest.mark.parametrize("kind", [errors.InputError, errors.ShapeError, errors.FieldError])
def test_refusals_of_values_are_value_errors_and_know_their_argument(kind):
    error = kind("`x` must be small.", "x")
    assert isinstance(error, ValueError)
    assert isinstance(error, errors.GequiError)
    assert error.argument == "x"


@pytest.mark.parametrize("kind", [errors.ModelFileError, errors.SetupError, errors.TrainingError])
def test_other_refusals_are_no_value_errors(kind):
    assert issubclass(kind, errors.GequiError)
    assert not issubclass(kind, ValueError)


# ---- templates ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "fields", "text", "pieces"),
    [
        ("`{argument}` is wrong.", {}, "`x` is wrong.", [{"text": "`"}, {"kind": "name", "value": "x"}, {"text": "` is wrong."}]),
        ("at least {least}", {"least": 3}, "at least 3", [{"text": "at least "}, {"text": "3"}]),
        ("{number:.3g}", {"number": 0.12345}, "0.123", [{"text": "0.123"}]),
        ("{value!r}", {"value": None}, "None", [{"kind": "code", "value": None, "limit": None}]),
        ("{value!r}", {"value": {"a": 1}}, "{'a': 1}", [{"kind": "code", "value": {"a": 1}, "limit": None}]),
        ("{value!r:.5}", {"value": "a long text"}, "'a lo", [{"kind": "code", "value": "a long text", "limit": 5}]),
        ("{at:index}", {"at": 2}, "2", [{"kind": "index", "value": 2}]),
        ("{all:list}", {"all": ("a", "b")}, "'a', 'b'", [{"kind": "list", "value": ["a", "b"]}]),
        ("{other:name}", {"other": "y"}, "y", [{"kind": "name", "value": "y"}]),
        ("shape {shape}", {"shape": (3, 4)}, "shape (3, 4)", [{"text": "shape "}, {"text": "(3, 4)"}]),
        ("shape {shape}", {"shape": (3,)}, "shape (3,)", [{"text": "shape "}, {"text": "(3)"}]),
    ],
)  # fmt: skip
def test_a_message_is_text_in_python_and_pieces_for_others(template, fields, text, pieces):
    error = InputError(template, "x", **fields)
    assert str(error) == text
    assert error.pieces() == pieces


def test_a_message_without_fields_is_taken_as_it_is():
    error = InputError("a {brace} and 100%")
    assert str(error) == "a {brace} and 100%"
    assert error.pieces() == [{"text": "a {brace} and 100%"}]


def test_pieces_are_plain_data_whatever_the_value():
    value = [np.float64(0.5), np.int64(3), (1, None), {1: True}, print]
    piece = InputError("{value!r}", value=value).pieces()[0]
    assert piece["value"] == [0.5, 3, [1, None], {"1": True}, {"object": repr(print)}]
    assert type(piece["value"][1]) is int


def test_a_message_about_another_argument_names_it():
    error = ShapeError("`{argument}` must have {count} axes.", "y", count=2).about("a")
    assert (str(error), error.argument, type(error)) == ("`a` must have 2 axes.", "a", ShapeError)


def test_a_prefix_keeps_the_fields_of_both():
    error = InputError("`{argument}` is from {first:index}.", "element", first=0).within("{layer}: ", layer="layer 1")
    assert str(error) == "layer 1: `element` is from 0."
    assert {"kind": "index", "value": 0} in error.pieces()
    assert error.argument == "element"


def test_a_prefix_may_have_a_field_that_the_message_has_already():
    error = InputError("{layer!r} is unknown.", "layers", layer="cnv").within("{layer}, {{}}: ", layer="layer 2")
    assert str(error.within("{layer}: ", layer="net")) == "net: layer 2, {}: 'cnv' is unknown."
    assert str(InputError("a {brace}").within("{layer}: ", layer="net")) == "net: a {brace}"


def test_a_reason_follows_with_its_own_argument_and_fields():
    reason = InputError("`{argument}` must be from {low:index}; got {value!r}.", "element", low=0, value=None)
    error = ModelFileError("{value} cannot be built: ", "path", value="'net'").because(reason)
    assert str(error) == "'net' cannot be built: `element` must be from 0; got None."
    assert error.argument == "path"
    kinds = [piece.get("kind") for piece in error.pieces()]
    assert kinds == [None, None, "name", None, "index", None, "code", None]
    assert str(GequiWarning("Stopped. ").because(InputError("a {brace}"))) == "Stopped. a {brace}"


def test_errors_and_warnings_pass_to_another_process_with_their_fields():
    error = ShapeError("`{argument}` is {shape}; got {value!r}.", "x", shape=(3,), value=lambda: 1)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.argument) == (ShapeError, str(error), "x")
    assert again.pieces() == error.pieces()
    assert str(pickle.loads(pickle.dumps(GequiWarning("a {brace}")))) == "a {brace}"


# ---- what is near ---------------------------------------------------------------------------------------


def test_the_nearest_name_is_offered_whatever_its_case():
    assert errors.nearest("rot2dOnr2", ["rot2dOnR2", "octaOnR3"]) == " Did you mean 'rot2dOnR2'?"


def test_no_name_is_offered_where_none_is_near():
    assert errors.nearest("zebra", ["conv", "relu"]) == ""


@pytest.mark.parametrize("value", [np.zeros((50, 60)), torch.zeros(50, 60), [np.zeros((50, 60))] * 30, "a" * 3000,
                                   {"a": {"b": list(range(3000))}}])  # fmt: skip
def test_a_message_never_holds_an_array(value):
    error = InputError(
        "`{argument}` must be small; got {value!r}, {values:list}.", "x", value=value, values=[value] * 3
    )
    assert len(str(error)) < 900
    if not isinstance(value, str):  # R cuts text
        assert len(json.dumps(error.pieces())) < 1200
    assert len(str(pickle.loads(pickle.dumps(error)))) < 900
    if not isinstance(value, str | dict):
        assert "of shape (50, 60)" in str(error)
    assert (
        str(InputError("got {value!r}", value=[(1,), {"a": None}, np.arange(3)]))
        == "got [(1,), {'a': None}, array([0, 1, 2])]"
    )

"""errors: what is refused names the argument, and comes with the nearest thing that exists."""

import pytest

from gequi import errors


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


def test_the_nearest_name_is_offered_whatever_its_case():
    assert errors.nearest("rot2dOnr2", ["rot2dOnR2", "octaOnR3"]) == " Did you mean 'rot2dOnR2'?"


def test_no_name_is_offered_where_none_is_near():
    assert errors.nearest("zebra", ["conv", "relu"]) == ""

"""What gequi refuses, and how it says so: one sentence that names the argument, what came, what is needed."""

from __future__ import annotations

import difflib
import importlib.util
from collections.abc import Iterable


class GequiError(Exception):
    """Every error that gequi raises on purpose. `argument` names the argument at fault, where there is one."""

    def __init__(self, message: str, argument: str | None = None) -> None:
        super().__init__(message)
        self.argument = argument


class InputError(GequiError, ValueError):
    """A value that the function cannot take."""


class ShapeError(InputError):
    """An array with the wrong number of axes or the wrong sizes."""


class FieldError(InputError):
    """Fields, representations or layers that do not fit together."""


class ModelFileError(GequiError):
    """A model file that is damaged, foreign or from a newer gequi."""


class SetupError(GequiError):
    """Something gequi needs is not installed, or not in the version it needs."""


class UnrelatedImagesError(GequiError):
    """Two images that show nothing alike."""


class TrainingError(GequiError):
    """A training run that could not be finished."""


class GequiWarning(UserWarning):
    """Every warning that gequi gives on purpose."""


class ExactnessWarning(GequiWarning):
    """A layer that breaks exact equivariance on images of the given size."""


class AmbiguousRegistrationWarning(GequiWarning):
    """A second map, far from the one returned, under which the images look almost as much alike."""


def need_packages(names: Iterable[str], purpose: str, extra: str) -> None:
    """Refuses to go on without packages that only a part of gequi needs: its extra has them."""
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise SetupError(f"{purpose} needs {' and '.join(missing)}: install gequi[{extra}].")


def nearest(name: object, choices: Iterable[str]) -> str:
    """ " Did you mean 'conv'?", or an empty string where nothing is near."""
    known = {choice.lower(): choice for choice in choices}
    close = difflib.get_close_matches(str(name).lower(), list(known), n=1, cutoff=0.6)
    return f" Did you mean '{known[close[0]]}'?" if close else ""


def listing(choices: Iterable[object]) -> str:
    """'a', 'b', 'c': choices as a message lists them."""
    return ", ".join(repr(choice) for choice in choices)

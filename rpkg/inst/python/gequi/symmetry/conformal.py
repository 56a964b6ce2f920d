"""Conformal class sets: as many classes as it takes to contain the right one with a given probability, at every angle.

Split conformal prediction. s(x, y) is small if the class y is plausible for x. The threshold q is the k-th smallest of
the scores s(x_i, y_i) of n calibration examples, k = ceil((n + 1) level). The set {y : s(x, y) <= q} contains the class
of a further example with a probability of at least `level`, and below level + 1 / (n + 1) without ties, whatever the
model, if the examples are exchangeable. The probabilities p(y | x) are averaged over a group, so that the set hardly
depends on the pose of x, and the calibration examples are turned by random angles, as the further ones are.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import nn

from .. import groups
from .._escnn import FieldType, GSpace
from .._recipes import choose_seed
from ..arrays import as_array, as_numpy, check_choice, check_flag, check_number, own_tensor
from ..errors import InputError, ShapeError
from ..fields import check_features, parse_fields
from ..geometry.grids import turned_grid
from ..geometry.rotations import on_array_axes, rotation_matrix
from ..geometry.sampling import grid_sample
from ..networks import EquivariantNetwork, predict
from .averaging import SymmetrizedModel
from .foreign import as_module, with_type
from .symmetrizing import need_finite, symmetrize

METHODS = ("lac", "aps")
SUM_OF_PROBABILITIES = 1e-3  # by which the sum of the outputs may differ from 1 if they are probabilities
ROUNDING = 1e-6  # of scores in float32: those that differ by less are equal, as the sums that should be 1 for "aps"


class Probabilities(nn.Module):
    """A model whose output (batch, class) is made probabilities, by softmax unless it is that already."""

    def __init__(self, model: nn.Module, known: bool) -> None:
        super().__init__()
        self.model, self.known = model, known

    def with_type(self, dtype: torch.dtype) -> Probabilities:
        """Return the same model in another floating-point type."""
        model = with_type(self.model, dtype)
        return self if model is self.model else Probabilities(model, self.known)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.model(x)
        return output if self.known else output.softmax(1)


class ConformalModel(nn.Module):
    """The sets of a calibrated model: `forward()` returns a logical tensor (batch, class), True for members."""

    def __init__(self, averaged: SymmetrizedModel, method: str, level: float, threshold: float, count: int) -> None:
        super().__init__()
        self.averaged, self.method, self.level = averaged, method, level
        self.threshold, self.count, self.classes = threshold, count, int(averaged.out_type.size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        probabilities = self.averaged(x)
        members = scores_of_classes(probabilities, self.method) <= self.threshold + ROUNDING
        if self.method == "aps":  # the scores of confident predictions are large too: the first class always belongs
            members = members.scatter(1, probabilities.argmax(1, keepdim=True), True)
        return members

    def extra_repr(self) -> str:
        return f"{self.classes} classes, level {self.level:g}, {self.method}, threshold {self.threshold:.4g}"


def scores_of_classes(probabilities: torch.Tensor, method: str) -> torch.Tensor:
    """Compute s(x, y) for each class from the probabilities (batch, class).

    "lac": 1 - p(y | x). "aps": the sum of all p(k | x) that are at least p(y | x).
    """
    if method == "lac":
        return 1 - probabilities
    falling, order = probabilities.sort(1, descending=True)
    return torch.zeros_like(probabilities).scatter(1, order, falling.cumsum(1))


def conformal_sets(
    model: Any,
    x: Any,
    y: Any,
    space: GSpace | None = None,
    level: float = 0.9,
    method: str = "lac",
    input: Any = None,
    rotate: bool | None = None,
    probabilities: bool | None = None,
    seed: int | None = None,
) -> ConformalModel:
    """Calibrate a classifier so that it predicts sets of classes that contain the right one with a given probability.

    The probabilities of the classes are averaged over a finite group, p(y | x) = 1 / |G| sum over g of p(y | g x), so
    that they depend little on the pose of an image. s(x, y) is 1 - p(y | x) for `method` "lac", and the sum of all
    p(k | x) that are at least p(y | x) for "aps". With the scores s(x_i, y_i) of the n calibration examples, the set of
    an example x is all classes y whose s(x, y) is at most the k-th smallest of them, k = ceil((n + 1) level).

    Sets of "lac" have the smallest mean size. A set is empty if no class is probable enough. If the accuracy a of the
    model exceeds `level`, about a share a - level of the sets is empty. Sets of "aps" always contain the most probable
    class. Their coverage therefore exceeds `level` if the accuracy does.

    Args:
        model: a classifier of any kind that `symmetrize()` accepts, which returns scores (batch, class).
        x: array (batch, channel, row, column), (batch, channel, depth, row, column) or (batch, channel): examples with
            which the model was not trained.
        y: array (batch): their classes, 0, 1, ...
        space: GSpace, optional: a gspace with a finite group, created by `gspace()`. With `rot2dOnR2` and N = 24, sets
            are the same at all multiples of 15 degrees, up to interpolation. None uses that of a network from
            `equivariant_network()`, and is an error for others. `trivialOnR2` averages nothing.
        level: float: the probability with which a set contains the right class, between 0 and 1.
        method: str: "lac" (least ambiguous sets) or "aps" (adaptive sets, without randomization).
        input: dict, list or FieldType, optional: the fields of `x`. None takes all channels as trivial, or those of
            the network.
        rotate: bool, optional: whether to rotate each calibration example by a random angle (cubic spline, 0 outside).
            Use it if the images to predict have any angle. None rotates images in the plane with trivial fields, if the
            group has rotations.
        probabilities: bool, optional: whether the output of the model is probabilities. If not, softmax is applied to
            it. None decides by the output for `x`: values of at least 0 with a sum of 1 are probabilities.
        seed: int, optional: the seed of the angles. None draws one.

    Returns:
        torch.nn.Module: the calibrated model, for `predict()`, whose result is a logical array (batch, class), True for
        the members of the set. It has the attributes `threshold`, `level`, `method`, `classes` and `count` (the number
        of calibration examples).

    Raises:
        InputError: for fewer than level / (1 - level) examples, or for targets that are not classes of the model.
        ShapeError: if the model does not return (batch, class), or `x` and `y` differ in length.

    Source:
        "lac": Sadinle, Lei and Wasserman (2019), Least ambiguous set-valued classifiers with bounded error levels, JASA
        114. "aps": Romano, Sesia and Candes (2020), Classification with valid and adaptive coverage, arXiv 2006.02544.
        Split conformal prediction: Papadopoulos et al. (2002), Inductive confidence machines for regression.

    Example:
        >>> import gequi, numpy as np
        >>> random = np.random.default_rng(0)
        >>> y = random.integers(0, 2, 99)
        >>> x = random.normal(size=(99, 1, 5, 5)) + y[:, None, None, None]
        >>> model = lambda x: np.stack([0.5 - x.mean((1, 2, 3)), x.mean((1, 2, 3)) - 0.5], 1)
        >>> sets = conformal_sets(model, x, y, gequi.gspace("rot2dOnR2", N=4), seed=1)
        >>> gequi.predict(sets, x[:3]).shape
        (3, 2)
    """
    level = check_number(level, "level", 0, 1)
    check_choice(method, "method", METHODS)
    array = as_array(x, "x")
    if array.ndim < 2:
        template = "`{argument}` must have the axes (batch, channel, ...); got shape {shape}."
        raise ShapeError(template, "x", shape=array.shape)
    if space is None and isinstance(model, EquivariantNetwork):
        space = model.space
    if space is None:
        template = "`{argument}` is missing: it is required for a model that does not declare how it transforms."
        raise InputError(template, "space")
    need_finite(space)
    in_type = _input_type(model, space, array, input)
    array = check_features(array, in_type)
    rank = _check_level(level, len(array))
    if _rotates(in_type, rotate):
        array = turned_at_random(array, choose_seed(seed))
    averaged = _averaged(model, in_type, array, probabilities)
    found = predict(averaged, array)
    targets = _check_targets(y, found)
    scores = scores_of_classes(torch.as_tensor(found), method).numpy()[np.arange(len(targets)), targets]
    return ConformalModel(averaged, method, level, float(np.sort(scores)[rank - 1]), len(targets))


def restore_conformal(
    model: Any, space: GSpace, input: Any, classes: int, known: bool, method: str, level: float, threshold: float,
    count: int,
) -> ConformalModel:  # fmt: skip
    """Return the calibrated model that `conformal_sets()` made, from plain data."""
    averaged = symmetrize(Probabilities(as_module(model, "model"), known), space, input, {"trivial": classes})
    assert isinstance(averaged, SymmetrizedModel)
    return ConformalModel(averaged, method, level, threshold, count)


def turned_at_random(x: np.ndarray, seed: int) -> np.ndarray:
    """Turn images (batch, channel, row, column), each by a random angle, with a cubic spline and 0 outside."""
    generator = torch.Generator().manual_seed(seed)
    angles = 2 * torch.pi * torch.rand(len(x), generator=generator, dtype=torch.float64)
    points = turned_grid(x.shape[2:], torch.as_tensor(on_array_axes(rotation_matrix(angles).numpy())))
    return as_numpy(grid_sample(own_tensor(x, torch.float64), points, "cubic", "zeros")).astype(x.dtype)


def _input_type(model: Any, space: GSpace, x: np.ndarray, input: Any) -> FieldType:
    if isinstance(input, FieldType):
        return input
    if input is None and isinstance(model, EquivariantNetwork) and model.space == space:
        return model.in_type
    return parse_fields(space, {"trivial": x.shape[1]} if input is None else input, "input")


def _check_level(level: float, count: int) -> int:
    """Return the rank of the threshold among the scores of so many examples."""
    rank = math.ceil((count + 1) * level - 1e-9)
    if not 0 < rank <= count:
        raise InputError(
            "`{argument}` = {level:g} is not possible with {count} examples: it must be greater than 0 and at most n / (n "
            "+ 1).", "level", level=level, count=count,
        )  # fmt: skip
    return rank


def _rotates(in_type: FieldType, rotate: Any) -> bool:
    """Return whether the calibration examples are turned."""
    space = in_type.gspace
    plain = space.dimensionality == 2 and all(each.is_trivial() for each in in_type.representations)
    if rotate is None:
        matrices = [groups.base_matrix(space, element) for element in groups.elements(space)] if plain else []
        return sum(bool(np.linalg.det(matrix) > 0) for matrix in matrices) > 1
    if check_flag(rotate, "rotate") and not plain:
        raise InputError("`{argument}` is for images in the plane with trivial fields; leave it out.", "rotate")
    return bool(rotate)


def _averaged(model: Any, in_type: FieldType, x: np.ndarray, probabilities: Any) -> SymmetrizedModel:
    """Average the probabilities of a model over the group. What the output is, some of the examples tell."""
    module = as_module(model, "model")
    output = predict(module, x[:64])
    if output.ndim != 2 or output.shape[1] < 2:
        raise ShapeError(
            "`{argument}` must return scores (batch, class) of at least 2 classes; it returned shape {shape}.",
            "model", shape=output.shape,
        )  # fmt: skip
    known = bool((output >= 0).all() and (np.abs(output.sum(1) - 1) <= SUM_OF_PROBABILITIES).all())
    if probabilities is not None:
        asked = check_flag(probabilities, "probabilities")
        if asked and not known:
            template = "`{argument}` must be {no!r}: the output of the model is not probabilities with a sum of 1."
            raise InputError(template, "probabilities", no=False)
        known = asked
    averaged = symmetrize(Probabilities(module, known), in_type.gspace, in_type, {"trivial": output.shape[1]})
    assert isinstance(averaged, SymmetrizedModel)
    return averaged


def _check_targets(y: Any, found: np.ndarray) -> np.ndarray:
    targets = as_array(y, "y", ndim=1)
    if len(targets) != len(found):
        template = "`{argument}` must have one class for each of the {count} examples of `{x:name}`; got {found}."
        raise ShapeError(template, "y", count=len(found), x="x", found=len(targets))
    wrong = targets[(targets != np.floor(targets)) | (targets < 0) | (targets >= found.shape[1])]
    if wrong.size:
        value = float(wrong[0])
        raise InputError(
            "`{argument}` must hold classes, whole numbers from {least:index} to {most:index}, one for each output of "
            "the model; got {value:index}.",
            "y", least=0, most=found.shape[1] - 1, value=int(value) if value.is_integer() else value,
        )  # fmt: skip
    return targets.astype(np.int64)

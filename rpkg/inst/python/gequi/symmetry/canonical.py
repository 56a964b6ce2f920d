"""Canonicalization: a small equivariant network finds the pose of an input, which is undone before a model sees it.

F(x) = g f(g^-1 x), where g = c(x) is the pose that the canonicalizer c finds. F is equivariant for every model f if c
is, c(h x) = h c(x). Unlike the average over the group, it calls the model once per input, with an input in the pose
with which the model was trained.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import nn

from .. import groups
from .._escnn import FieldType, GroupElement, GSpace
from ..arrays import check_flag
from ..errors import InputError, ShapeError
from ..fields import describe_fields, parse_fields, show_fields
from ..geometry.grids import turned_grid
from ..geometry.rotations import on_array_axes, rotation_matrix
from ..geometry.sampling import grid_sample
from ..networks import EquivariantNetwork, check_network, predicting
from .foreign import as_module, with_type

SNAP = 1e-9  # pixels: a point this near to a pixel is the pixel, or rounding would move points at the border outside


class CanonicalizedModel(nn.Module):
    """A model that sees its inputs in one pose. `forward()` takes and returns plain tensors."""

    def __init__(
        self, model: nn.Module, canonicalizer: EquivariantNetwork, in_type: FieldType, out_type: FieldType, refine: bool
    ) -> None:
        super().__init__()
        self.model, self.canonicalizer, self.refine = model, canonicalizer, refine
        self.space, self.in_type, self.out_type = in_type.gspace, in_type, out_type
        members = groups.elements(self.space)
        self.matrices = torch.tensor(np.stack([groups.base_matrix(self.space, g) for g in members]))
        self.on_input = _channels(in_type, [~g for g in members])
        self.on_output = _channels(out_type, members)
        self.step = smallest_turn(self.space)
        self.beside = neighbors(self.space) if refine else None

    def with_type(self, dtype: torch.dtype) -> CanonicalizedModel:
        """Return the same model in another floating-point type."""
        model, network = with_type(self.model, dtype), with_type(self.canonicalizer, dtype)
        assert isinstance(network, EquivariantNetwork)
        same = model is self.model and network is self.canonicalizer
        return self if same else CanonicalizedModel(model, network, self.in_type, self.out_type, self.refine)

    def to_output(self, element: GroupElement) -> GroupElement:
        """Return the element that acts on the output, as `EquivariantNetwork.to_output()`."""
        return element

    def poses(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the number of the most probable element for each input, and the matrix of its pose on (x, y[, z])."""
        own = next(self.canonicalizer.parameters()).dtype
        with predicting(self.canonicalizer) as run:
            scores = scores_of(run(x.detach().to(own))).double()
        number = scores.argmax(1)
        matrices = self.matrices.to(x.device)[number]
        if self.beside is None:
            return number, matrices
        probabilities = scores.softmax(1)
        before, after = (probabilities.gather(1, each.to(x.device)[number][:, None])[:, 0] for each in self.beside)
        most = probabilities.gather(1, number[:, None])[:, 0]
        return number, rotation_matrix(self.step * (after - before) / (before + most + after)) @ matrices

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if len(set(x.shape[2:])) > 1:
            raise ShapeError(
                "`{argument}` must be square, so that it can be turned; got {size}.", "x", size=tuple(x.shape[2:])
            )
        number, matrices = self.poses(x)
        upright = moved(_mixed(x, self.on_input, number), matrices.transpose(1, 2))
        output = self.model(upright)
        if not isinstance(output, torch.Tensor):
            template = "`{argument}` must return one tensor; it returned {kind}."
            raise InputError(template, "model", kind=type(output).__name__)
        if output.ndim not in {2, 2 + self.space.dimensionality} or output.shape[1] != self.out_type.size:
            raise ShapeError(
                "`{model:name}` must return features with {size} channels on axis {axis:index}, as `{argument}` declares "
                "({fields}); it returned shape {shape}.",
                "output", model="model", size=self.out_type.size, axis=1, fields=show_fields(self.out_type),
                shape=tuple(output.shape),
            )  # fmt: skip
        return moved(_mixed(output, self.on_output, number), matrices)

    def extra_repr(self) -> str:
        return f"{show_fields(self.in_type)} -> {show_fields(self.out_type)} on {self.space}"


def canonicalize(
    model: Any, canonicalizer: EquivariantNetwork, input: Any = None, output: Any = None, refine: bool | None = None
) -> nn.Module:
    """Turn the inputs of any model into one pose, which an equivariant network finds, and its output back.

    F(x) = g f(g^-1 x), where g = c(x) is the pose that the canonicalizer c finds. F is equivariant for every model f,
    since c is. With trivial output fields and an output (batch, channel), F is invariant.

    c returns one score per element of a finite group. The pose is the element with the largest score. With `refine`,
    angles between those of the group are found by the probabilities p (softmax of the scores) of the elements before and
    after it: the pose is turned further by (p_after - p_before) / (p_before + p + p_after) times the smallest angle.

    Args:
        model: a model of any kind that `symmetrize()` accepts. It should have been trained with inputs in one pose, such
            as upright images.
        canonicalizer: EquivariantNetwork: a network of a finite group whose output is one regular field without
            positions, as `fit_canonicalizer()` trains it.
        input: dict, list or FieldType, optional: the fields of the input. None uses those of the canonicalizer.
        output: dict, list or FieldType: the fields of the output, such as `{"trivial": 10}` for the scores of 10
            classes. None uses the names of the fields of a network, and is an error for other models.
        refine: bool, optional: whether angles between those of the group are found. None does so for groups of at least
            3 rotations of the plane, if all fields are trivial.

    Returns:
        torch.nn.Module: the canonicalized model, for `predict()` and `equivariance_error()`. It contains `model`, not a
        copy, so `fit()` trains it further; the canonicalizer gets no gradients. Images are turned with a cubic spline
        and 0 outside, and must be square. Multiples of quarter turns are exact up to rounding.

    Raises:
        InputError, FieldError: if the canonicalizer does not have such an output, or fields are missing.
        ShapeError: when it is applied: for images that are not square, and if the model does not return the fields
            `output`.

    Source:
        Kaba et al. (2023), Equivariance with learned canonicalization functions, arXiv 2211.06489. Mondal et al. (2023),
        Equivariant adaptation of large pretrained models, arXiv 2310.01647.

    Example:
        >>> import gequi, numpy as np
        >>> layers = [{"layer": "conv", "fields": "regular", "kernel_size": 5}, {"layer": "global_avg_pool"}]
        >>> pose = gequi.equivariant_network(gequi.gspace("rot2dOnR2", N=4), "trivial", layers, seed=1)
        >>> model = canonicalize(lambda x: x[:, :, 0, 1:3].mean(2), pose, output="trivial")
        >>> x = np.random.default_rng(0).normal(size=(3, 1, 7, 7))
        >>> turned = gequi.predict(model, np.rot90(x, 1, (2, 3)).copy())
        >>> bool(abs(turned - gequi.predict(model, x)).max() < 1e-6)
        True
    """
    module = as_module(model, "model")
    check_canonicalizer(canonicalizer)
    space = canonicalizer.space
    in_type = canonicalizer.in_type if input is None else _fields_of(space, input, "input")
    if in_type.size != canonicalizer.in_type.size:
        raise ShapeError(
            "`{argument}` must have {wanted} channels, as the canonicalizer has ({fields}); got {size}.",
            "input", wanted=canonicalizer.in_type.size, fields=show_fields(canonicalizer.in_type), size=in_type.size,
        )  # fmt: skip
    if output is None and isinstance(model, EquivariantNetwork):
        output = describe_fields(model.out_type)
    if output is None:
        template = "`{argument}` is missing: it is required for a model that does not declare how it transforms."
        raise InputError(template, "output")
    out_type = _fields_of(space, output, "output")
    plain = all(each.is_trivial() for each in (*in_type.representations, *out_type.representations))
    possible = plain and smallest_turn(space) < math.pi - 1e-9
    if refine is not None and check_flag(refine, "refine") and not possible:
        raise InputError(
            "`{argument}` is for groups of at least 3 rotations of the plane and trivial fields; leave it out.",
            "refine",
        )
    return CanonicalizedModel(module, canonicalizer, in_type, out_type, possible if refine is None else bool(refine))


def scores_of(output: torch.Tensor) -> torch.Tensor:
    """Return the output of a canonicalizer as scores (batch, element)."""
    if math.prod(output.shape[2:]) != 1:
        raise ShapeError(
            "`{argument}` must return one score per element; end it with global_avg_pool. It returned shape {shape}.",
            "canonicalizer", shape=tuple(output.shape),
        )  # fmt: skip
    return output.flatten(1)


def check_canonicalizer(network: Any, argument: str = "canonicalizer") -> EquivariantNetwork:
    """Return a network whose output is one regular field of its finite group."""
    check_network(network, argument)
    space = network.space
    order = space.fibergroup.order()
    regular = order > 1 and network.out_type.gspace == space and network.out_type.representations == (
        space.fibergroup.regular_representation,
    )  # fmt: skip
    if not regular:
        raise InputError(
            "`{argument}` must be a network of a finite group whose output is one regular field; its output is {fields}.",
            argument, fields=show_fields(network.out_type),
        )  # fmt: skip
    found: EquivariantNetwork = network
    return found


def smallest_turn(space: GSpace) -> float:
    """Return the smallest angle by which a group turns the plane; 2 pi for a group without rotations of the plane."""
    if space.dimensionality != 2 or space.fibergroup.order() < 1:
        return 2 * math.pi
    matrices = [groups.base_matrix(space, element) for element in groups.elements(space)]
    return 2 * math.pi / sum(bool(np.linalg.det(matrix) > 0) for matrix in matrices)


def neighbors(space: GSpace) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the numbers of the elements that are each element turned by the smallest angle, backward and forward."""
    members = groups.elements(space)
    matrices = np.stack([groups.base_matrix(space, element) for element in members])
    angle = smallest_turn(space)
    found = []
    for turn in (-angle, angle):
        rotation = rotation_matrix(torch.tensor(turn, dtype=torch.float64)).numpy()
        distances = np.abs((rotation @ matrices)[:, None] - matrices[None]).sum((2, 3))
        found.append(torch.tensor(distances.argmin(1)))
    return found[0], found[1]


def moved(x: torch.Tensor, matrices: torch.Tensor) -> torch.Tensor:
    """Transform images or volumes about their center, each by its own matrix on (x, y[, z]), with a cubic spline."""
    if x.ndim != 2 + matrices.shape[-1] or x.ndim == 2:
        return x
    on_axes = torch.as_tensor(on_array_axes(matrices.cpu().numpy()), device=x.device)
    points = turned_grid(x.shape[2:], on_axes)
    pixels = points.round()
    points = torch.where((points - pixels).abs() < SNAP, pixels, points)
    return grid_sample(x.double(), points, "cubic", "zeros").to(x)


def _channels(fields: FieldType, members: list[GroupElement]) -> torch.Tensor | None:
    """Return the matrices of elements on the channels, or None if they are all the identity."""
    if all(each.is_trivial() for each in fields.representations):
        return None
    return torch.tensor(np.stack([groups.fields_matrix(fields, element) for element in members]))


def _mixed(x: torch.Tensor, matrices: torch.Tensor | None, number: torch.Tensor) -> torch.Tensor:
    return x if matrices is None else torch.einsum("bij,bj...->bi...", matrices.to(x)[number], x)


def _fields_of(space: GSpace, fields: Any, argument: str) -> FieldType:
    found = fields if isinstance(fields, FieldType) else parse_fields(space, fields, argument)
    if found.gspace != space:
        template = "`{argument}` must be of the gspace of `{canonicalizer:name}`; got a field type of another."
        raise InputError(template, argument, canonicalizer="canonicalizer")
    return found

"""Symmetrization: any model made equivariant by the average over a group.

(S f)(x) = 1 / |G| sum over g of g^-1 f(g x)

S f is equivariant for every f, since the sum runs over the same terms for x and for h x. It is invariant where the
output fields are trivial and have no position.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from .. import groups
from .._escnn import FieldType, GroupElement, GSpace
from ..errors import InputError, ShapeError
from ..fields import act_on_tensor, action_matrices, describe_fields, parse_fields, show_fields
from ..groups import check_gspace
from ..networks import EquivariantNetwork
from .foreign import as_module, check_output, with_type

Matrices = tuple[np.ndarray, np.ndarray]


class SymmetrizedModel(nn.Module):
    """The average of a model over a finite group. `forward()` takes and returns plain tensors."""

    def __init__(self, model: nn.Module, in_type: FieldType, out_type: FieldType) -> None:
        super().__init__()
        self.model, self.space, self.in_type, self.out_type = model, in_type.gspace, in_type, out_type
        members = groups.elements(self.space)
        self.forth = [action_matrices(in_type, element) for element in members]
        self.back = [action_matrices(out_type, ~element) for element in members]

    def with_type(self, dtype: torch.dtype) -> SymmetrizedModel:
        """Return the average of the same model in another floating-point type."""
        model = with_type(self.model, dtype)
        return self if model is self.model else SymmetrizedModel(model, self.in_type, self.out_type)

    def to_output(self, element: GroupElement) -> GroupElement:
        """Return the element that acts on the output, as `EquivariantNetwork.to_output()`."""
        return element

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        moved = [act_on_tensor(x, *matrices) for matrices in self.forth]
        total: torch.Tensor | None = None
        # One pass of the model; of images that are not square two, since quarter turns exchange height and width.
        for shape in dict.fromkeys(each.shape for each in moved):
            numbers = [number for number, each in enumerate(moved) if each.shape == shape]
            output = self._checked(self.model(torch.cat([moved[number] for number in numbers])))
            for number, part in zip(numbers, output.split(len(x)), strict=True):
                back = act_on_tensor(part, *self.back[number])
                if total is not None and back.shape != total.shape:
                    raise ShapeError(
                        "`{argument}` gives outputs of the shapes {first} and {other} for an image and the image turned, so "
                        "they have no average.", "model", first=tuple(total.shape), other=tuple(back.shape),
                    )  # fmt: skip
                total = back if total is None else total + back
        assert total is not None
        return total / len(moved)

    def _checked(self, output: Any) -> torch.Tensor:
        if not isinstance(output, torch.Tensor):
            template = "`{argument}` must return one tensor; it returned {kind}."
            raise InputError(template, "model", kind=type(output).__name__)
        check_output(output.shape, self.out_type, "model")
        return output

    def extra_repr(self) -> str:
        return f"{show_fields(self.in_type)} -> {show_fields(self.out_type)} on {self.space}"


def symmetrize(model: Any, space: GSpace, input: Any = None, output: Any = None) -> nn.Module:
    """Make any model equivariant to a finite group by the average over the group.

    (S f)(x) = 1 / |G| sum over g of g^-1 f(g x), where g acts on x by the fields `input` and on f(x) by the fields
    `output`. With trivial output fields and an output (batch, channel), the result is invariant. The model is called
    once with the inputs moved by all elements. The symmetry is exact (up to rounding) for the elements that map the
    pixel grid onto itself, also if the group has others: those interpolate with a cubic spline, as in
    `transform_field()`.

    Args:
        model: a torch module or gequi network; the path of a TorchScript file (.pt) or ONNX file (.onnx, which requires
            onnxruntime); a predictor with `predict_proba()` or `predict()` as in scikit-learn, whose features are the
            values of an input; a keras model, whose channels are last; or a function from an array (batch, channel,
            ...) to an array.
        space: GSpace: a gspace with a finite group, created by `gspace()`.
        input: dict, list or FieldType, optional: the fields of the input, such as `{"trivial": 3}` for a color image.
            None uses the names of the fields of a network from `equivariant_network()`, and is an error for others.
        output: dict, list or FieldType, optional: the fields of the output, such as `{"trivial": 10}` for the scores
            of 10 classes. None as for `input`.

    Returns:
        torch.nn.Module: the symmetrized model, for `predict()` and `equivariance_error()`. It contains `model`, not a
        copy. That of a torch module has its parameters and gradients, so `fit()` trains it. Functions, predictors and
        ONNX files have no gradients. Functions compute in float64.

    Raises:
        InputError, FieldError: if the group is continuous, or fields are missing or not those of the model.
        ShapeError: when it is applied: if the model does not return the fields `output`.

    Source:
        Reynolds operator; Puny et al. (2022), Frame averaging for invariant and equivariant network design, arXiv
        2110.03336. Basu et al. (2023), Equi-tuning, arXiv 2210.06475.

    Example:
        >>> import gequi, numpy as np
        >>> space, gray = gequi.gspace("flipRot2dOnR2", N=4), {"trivial": 1}
        >>> model = symmetrize(lambda x: np.roll(x, 1, axis=3) ** 2, space, gray, gray)
        >>> x = np.random.default_rng(0).normal(size=(2, 1, 5, 5))
        >>> max(row["error"] for row in gequi.equivariance_error(model, x)) < 1e-12
        True
        >>> gequi.predict(model, x).shape
        (2, 1, 5, 5)
    """
    module = as_module(model, "model")
    if check_gspace(space).fibergroup.order() < 1:
        raise InputError(
            "`{argument}` must have a finite group to average over; {group} is continuous: use {option} = 8 or 16 of its "
            "rotations.", "space", group=str(space.fibergroup), option="N",
        )  # fmt: skip
    types = []
    for name, fields in (("input", input), ("output", output)):
        own = getattr(model, "in_type" if name == "input" else "out_type", None)
        if fields is None and isinstance(model, EquivariantNetwork | SymmetrizedModel):
            fields = describe_fields(own)
        if fields is None:
            template = "`{argument}` is missing: it is required for a model that does not declare how it transforms."
            raise InputError(template, name)
        type_ = fields if isinstance(fields, FieldType) else parse_fields(space, fields, name)
        if isinstance(own, FieldType) and type_.size != own.size:
            raise ShapeError(
                "`{argument}` must have {wanted} channels, as the network has ({fields}); got {size}.",
                name, wanted=own.size, fields=show_fields(own), size=type_.size,
            )  # fmt: skip
        if type_.gspace != space:
            template = "`{argument}` must be of the gspace of `{space:name}`; got a field type of another."
            raise InputError(template, name, space="space")
        types.append(type_)
    return SymmetrizedModel(module, *types)

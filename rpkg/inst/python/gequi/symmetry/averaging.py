"""Symmetrization: any model made equivariant by the average over a finite group.

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
from .._escnn import FieldType, GroupElement
from ..errors import InputError, ShapeError
from ..fields import act_on_tensor, action_matrices, show_fields
from .foreign import check_output, with_type

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

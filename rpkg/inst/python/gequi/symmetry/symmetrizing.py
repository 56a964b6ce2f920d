"""Any model made equivariant: by the average over a finite group, or over the frame of each image."""

from __future__ import annotations

from typing import Any

from torch import nn

from .._escnn import FieldType, GSpace
from ..errors import InputError, ShapeError
from ..fields import describe_fields, parse_fields, show_fields
from ..groups import check_gspace
from ..networks import EquivariantNetwork
from .averaging import SymmetrizedModel
from .foreign import as_module
from .frames import FrameAveragedModel


def symmetrize(model: Any, space: GSpace, input: Any = None, output: Any = None) -> nn.Module:
    """Make any model equivariant by the average over a group, or over the frame of each image.

    (S f)(x) = 1 / |G| sum over g of g^-1 f(g x), where g acts on x by the fields `input` and on f(x) by the fields
    `output`. With trivial output fields and an output (batch, channel), the result is invariant. The model is called
    once with the inputs moved by all elements. The symmetry is exact (up to rounding) for the elements that map the
    pixel grid onto itself, also if the group has others: those interpolate with a cubic spline, as in
    `transform_field()`.

    For all rotations of the plane, SO(2), or with reflections, O(2), the average runs over the frame of each image: the
    two rotations (and two reflections) that turn the horizontal axis onto the main direction of its gradients. S f is
    exactly equivariant (up to rounding) to quarter turns and to the reflections across rows and columns. To other
    angles it is equivariant up to the interpolation of the image and up to the change of the main direction by this
    interpolation, which is small for images with a clear main direction.

    Args:
        model: a torch module or gequi network; the path of a TorchScript file (.pt) or ONNX file (.onnx, which requires
            onnxruntime); a predictor with `predict_proba()` or `predict()` as in scikit-learn, whose features are the
            values of an input; a keras model, whose channels are last; or a function from an array (batch, channel,
            ...) to an array.
        space: GSpace: a gspace with a finite group, or with all rotations of the plane, created by `gspace()`.
        input: dict, list or FieldType, optional: the fields of the input, such as `{"trivial": 3}` for a color image.
            None uses the names of the fields of a network from `equivariant_network()`, and is an error for others.
        output: dict, list or FieldType, optional: the fields of the output, such as `{"trivial": 10}` for the scores
            of 10 classes. None as for `input`.

    Returns:
        torch.nn.Module: the symmetrized model, for `predict()` and `equivariance_error()`. It contains `model`, not a
        copy. That of a torch module has its parameters and gradients, so `fit()` trains it. Functions, predictors and
        ONNX files have no gradients. Functions compute in float64.

    Raises:
        InputError, FieldError: if the group is continuous and not that of the plane, or fields are missing or not those
            of the model. When it is applied, for SO(2) and O(2): if an image has no main direction, as an image with the
            symmetry of a square.
        ShapeError: when it is applied: if the model does not return the fields `output`, or, for SO(2) and O(2), if
            images are not square.

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
    finite = check_gspace(space).fibergroup.order() > 0
    if space.dimensionality != 2:
        need_finite(space)
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
    return (SymmetrizedModel if finite else FrameAveragedModel)(module, *types)


def need_finite(space: GSpace) -> None:
    """Raise an InputError if the group of a gspace is continuous."""
    if check_gspace(space).fibergroup.order() < 1:
        raise InputError(
            "`{argument}` must have a finite group to average over; {group} is continuous: use {option} = 8 or 16 of its "
            "rotations.", "space", group=str(space.fibergroup), option="N",
        )  # fmt: skip

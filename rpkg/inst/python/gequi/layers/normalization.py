"""Normalisation and dropout."""

from __future__ import annotations

from .._escnn import FieldType, escnn
from ..arrays import check_flag, check_number
from .plan import Step, kind, need_pointwise


@kind
def plan_batch_norm(before: FieldType, *, eps: float = 1e-5, momentum: float = 0.1, affine: bool = True) -> Step:
    """Batch normalisation with one mean and one variance for each field.

    Fields whose channels the group permutes take escnn's InnerBatchNorm; others, and vectors without a base space,
    IIDBatchNorm, which takes the mean of the invariant part alone.
    """
    options = {
        "eps": check_number(eps, "eps", minimum=0),
        "momentum": check_number(momentum, "momentum", 0, 1),
        "affine": check_flag(affine, "affine"),
    }
    dimension = before.gspace.dimensionality
    if dimension and all("pointwise" in r.supported_nonlinearities for r in before.representations):
        return Step(before, lambda: escnn.nn.InnerBatchNorm(before, **options))
    by_dimension = {0: escnn.nn.IIDBatchNorm1d, 2: escnn.nn.IIDBatchNorm2d, 3: escnn.nn.IIDBatchNorm3d}
    layer = by_dimension[dimension]
    return Step(before, lambda: layer(before, **options))


@kind
def plan_dropout(before: FieldType, *, p: float = 0.5) -> Step:
    """Sets each value to 0 with probability `p` while training."""
    need_pointwise(before)
    p = check_number(p, "p", 0, 1)
    return Step(before, lambda: escnn.nn.PointwiseDropout(before, p=p))


@kind
def plan_field_dropout(before: FieldType, *, p: float = 0.5) -> Step:
    """Sets each field, with all its channels, to 0 with probability `p` while training."""
    p = check_number(p, "p", 0, 1)
    return Step(before, lambda: escnn.nn.FieldDropout(before, p=p))

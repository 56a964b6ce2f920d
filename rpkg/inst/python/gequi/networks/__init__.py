"""Equivariant networks: from a recipe to a torch module, and prediction for arrays.

A network is defined by a recipe of plain data: a gspace, the fields of the input, a list of layers and a seed. The
recipe is checked before the torch module is built. It has the same form in R and Python, and is stored together with
the weights.
"""

from .._recipes import choose_seed
from .compiled import evaluating, plain_network, predicting
from .module import EquivariantNetwork, check_model, check_network, draw_weights
from .plans import Plan, describe_plan, plan_network, start_plan
from .prediction import batch_size_for, check_output, predict
from .recipe import (
    copy_network,
    describe_network,
    equivariant_network,
    make_recipe,
    network_from_recipe,
    with_dtype,
)
from .shapes import output_shape, output_size
from .weights import get_weights, set_weights

__all__ = [
    "EquivariantNetwork",
    "Plan",
    "batch_size_for",
    "check_model",
    "check_network",
    "check_output",
    "choose_seed",
    "copy_network",
    "describe_network",
    "describe_plan",
    "draw_weights",
    "equivariant_network",
    "evaluating",
    "get_weights",
    "make_recipe",
    "network_from_recipe",
    "output_shape",
    "output_size",
    "plain_network",
    "plan_network",
    "predict",
    "predicting",
    "set_weights",
    "start_plan",
    "with_dtype",
]

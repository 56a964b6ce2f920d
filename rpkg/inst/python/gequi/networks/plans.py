"""Plans: the layers of a recipe as typed steps, which are checked before the network is built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from .._escnn import FieldType, GSpace
from ..fields import parse_fields, show_fields
from ..layers import Step, plan_layer
from ..layers.plan import check_layers


@dataclass(frozen=True)
class Plan:
    """The typed steps of a network: the type `in_type` of the input and one step per layer."""

    in_type: FieldType
    steps: tuple[Step, ...] = ()

    @property
    def out_type(self) -> FieldType:
        """The type of the features after the last layer."""
        return self.steps[-1].out_type if self.steps else self.in_type

    def extend(self, layer: Mapping[str, Any]) -> Plan:
        """Return a plan with one more layer. Only this layer is planned, and `self` is not modified."""
        return replace(self, steps=(*self.steps, plan_layer(self.out_type, layer, len(self.steps) + 1)))

    def rows(self) -> list[dict[str, Any]]:
        """Return a table with one dict for the input and one per layer: `layer`, `kind`, `fields`, `channels`.

        `fields` and `channels` are those of the output of the layer.
        """
        first = {"layer": "input", "kind": "", "fields": show_fields(self.in_type), "channels": self.in_type.size}
        return [first, *(self.row(number) for number in range(1, len(self.steps) + 1))]

    def row(self, number: int) -> dict[str, Any]:
        """Return the row of one layer. Layers are counted from 1."""
        step = self.steps[number - 1]
        return {
            "layer": str(number), "kind": step.kind, "fields": show_fields(step.out_type),
            "channels": step.out_type.size,
        }  # fmt: skip


def start_plan(space: GSpace, input: Any) -> Plan:
    """Create the plan of a network without layers, whose output type is that of the input."""
    return Plan(parse_fields(space, input, "input"))


def plan_network(space: GSpace, input: Any, layers: Any) -> Plan:
    """Create the plan of a recipe. The layers are checked but not built."""
    plan = start_plan(space, input)
    for layer in check_layers(layers):
        plan = plan.extend(layer)
    return plan


def describe_plan(space: GSpace, input: Any, layers: Any) -> list[dict[str, Any]]:
    """Return a table of the layers of a recipe without building them: `layer`, `kind`, `fields`, `channels` of each."""
    return plan_network(space, input, layers).rows()

"""Plans: a recipe's layers as typed steps, checked before anything is built."""

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
    """The typed steps of a network: `in_type`, the type of the input, and one step per layer."""

    in_type: FieldType
    steps: tuple[Step, ...] = ()

    @property
    def out_type(self) -> FieldType:
        """The type of the features after the last layer."""
        return self.steps[-1].out_type if self.steps else self.in_type

    def extend(self, layer: Mapping[str, Any]) -> Plan:
        """A plan with one more layer, numbered as the next one. Only this layer is planned; `self` does not change."""
        return replace(self, steps=(*self.steps, plan_layer(self.out_type, layer, len(self.steps) + 1)))

    def rows(self) -> list[dict[str, Any]]:
        """A table, one dict for the input and one per layer: `layer`, `kind`, and `fields` and `channels` after it."""
        first = {"layer": "input", "kind": "", "fields": show_fields(self.in_type), "channels": self.in_type.size}
        return [first, *(self.row(number) for number in range(1, len(self.steps) + 1))]

    def row(self, number: int) -> dict[str, Any]:
        """The row of one layer; layers are counted from 1."""
        step = self.steps[number - 1]
        return {
            "layer": str(number), "kind": step.kind, "fields": show_fields(step.out_type),
            "channels": step.out_type.size,
        }  # fmt: skip


def start_plan(space: GSpace, input: Any) -> Plan:
    """The plan of a network without layers: its type is that of the input."""
    return Plan(parse_fields(space, input, "input"))


def plan_network(space: GSpace, input: Any, layers: Any) -> Plan:
    """The plan of a recipe: its layers are checked and not built."""
    plan = start_plan(space, input)
    for layer in check_layers(layers):
        plan = plan.extend(layer)
    return plan


def describe_plan(space: GSpace, input: Any, layers: Any) -> list[dict[str, Any]]:
    """A table of a recipe's layers, without building them: `layer`, `kind`, `fields`, `channels` after each."""
    return plan_network(space, input, layers).rows()

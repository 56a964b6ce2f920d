"""A trace as a graph in the DOT language, for other programs."""

from __future__ import annotations

from ..arrays import check_choice
from .shapes import Trace, check_trace, input_shapes


def as_dot(trace: Trace, direction: str = "TB") -> str:
    """Convert a trace to a graph in the DOT language, for Graphviz or DiagrammeR.

    Args:
        trace: list of dicts: a trace from `trace_shapes()`.
        direction: str: the direction of the data flow: "TB" (top to bottom) or "LR" (left to right).

    Returns:
        str: a graph with a box for each leaf, containers as frames around them, and arrows labeled with axes and sizes
        (without the batch axis).

    Raises:
        InputError: `trace` is not a trace, or an unknown direction.

    Source:
        Gansner & North 2000 (graphviz).

    Example:
        >>> import gequi
        >>> from torch import nn
        >>> print(as_dot(gequi.trace_shapes(nn.Linear(4, 2), (1, 4))).splitlines()[-2].strip())
        "(model)" -> "output" [label="channel 2"];
    """
    check_choice(direction, "direction", ("TB", "LR"))
    rows = check_trace(trace)
    leaves = {row["name"]: row for row in rows if row["leaf"]}
    lines = [
        "digraph network {",
        f"  rankdir={direction};",
        '  node [shape=box, style=rounded, fontname="Helvetica"];',
        '  edge [fontname="Helvetica", fontsize=10];',
    ]
    inputs = input_shapes(rows)
    lines += [f"  {_quoted(name)} [shape=plaintext];" for name in inputs]
    open_frames: list[int] = []
    for row in rows:
        while open_frames and row["depth"] <= open_frames[-1]:
            open_frames.pop()
            lines.append("  " * (len(open_frames) + 1) + "}")
        indent = "  " * (len(open_frames) + 1)
        if row["leaf"]:
            count = f"{row['parameters']:,} parameters" if row["parameters"] else ""
            label = _escaped(row["kind"]) + (f"\\n{count}" if count else "")
            shape = ", shape=plaintext" if row["kind"] == "output" else ""
            lines.append(f'{indent}{_quoted(row["name"])} [label="{label}"{shape}];')
        elif row["depth"] > 0:
            lines.append(f"{indent}subgraph {_quoted('cluster ' + row['name'])} {{")
            lines.append(f"{indent}  label={_quoted(row['name'])}; style=dashed; color=gray50;")
            open_frames.append(row["depth"])
    lines += ["  " * (number + 1) + "}" for number in reversed(range(len(open_frames)))]
    for row in leaves.values():
        for source in filter(None, row["sources"].split(", ")):
            before = leaves.get(source)
            shape, axes = (before["output"], before["axes"]) if before else inputs[source]
            label = _wire_label(shape, axes)
            lines.append(f"  {_quoted(source)} -> {_quoted(row['name'])} [label={_quoted(label)}];")
    return "\n".join([*lines, "}"]) + "\n"


def _wire_label(shape: str, axes: str) -> str:
    """Return axes and sizes without the batch axis, such as 'channel 64, row 32, column 32'."""
    named = [
        ", ".join(f"{axis} {size}" for axis, size in list(zip(of_axes.split(), sizes.split(), strict=False))[1:])
        for sizes, of_axes in zip(shape.split(", "), axes.split(", "), strict=False)
    ]
    return "; ".join(filter(None, named)) or shape


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _quoted(text: str) -> str:
    return f'"{_escaped(text)}"'

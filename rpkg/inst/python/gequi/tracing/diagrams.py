"""The layout of the diagram of a network: positions of boxes, wires, frames and labels. The unit is about one box.

In the diagram, data flow from left to right. Smaller images are drawn at a lower level, so a U-Net has the shape of a
U. A wire has one line per axis of the tensor, without the batch axis. It is labeled where the shape changes. A wire
that would cross a box passes above it and enters its target from above; this is a residual or skip connection.

Source: after the neural circuit diagrams of Abbott 2024 (arXiv 2402.05424).
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable
from typing import Any

from ..arrays import check_integer
from .shapes import Trace, check_trace, input_shapes

WIDTH, HEIGHT = 0.7, 1.7  # of a box
LINE = 0.31  # between the lines of a bundle
TEXT = 0.21  # height of letters at most; a letter is about half as wide
NARROW, TURN, LABEL = 0.3, 0.9, 0.9  # gaps between columns: the least, and more where wires turn or have labels
LANE, LEVEL = 2.0, 0.5  # between boxes one above the other; more between levels
ARCH = 0.85  # between wires that go over boxes

SHORT = {"channel": "c", "row": "y", "column": "x", "depth": "z", "token": "n", "feature": "f"}

_ROLES = {
    "join": r"^(add|concat|mul|sub|matmul|stack)$",
    "normalizes": "Norm",
    "resizes": "Pool|Upsampl|Flatten|Unflatten|Pad|Interpol",
    "nonlinear": "ReLU|ELU|GELU|Sigmoid|Tanh|Softmax|NonLinearity|SiLU|Softplus",
}


def lay_out(trace: Trace, depth: int | None = None) -> dict[str, Trace]:
    """Compute the diagram of a trace as tables.

    Args:
        trace: list of dicts: a trace from `trace_shapes()`.
        depth: int: the nesting depth at which containers are drawn as one box. None chooses the largest depth that
            needs at most 34 boxes.

    Returns:
        a dict of tables. `boxes`: name, label, role ("learned", "normalizes", "nonlinear", "resizes", "join", "holds"
        (a container), "other", "end" (input or output)), parameters, x, y, width, height, letters (the height of the
        text).
        `wires`: wire (a number), axis, line (a number for each line), x, y: the points of polylines, in order. `dots`:
        x, y, where a wire branches from another. `labels`: x (left), y (bottom), text ("c 64": see `SHORT`), height.
        `frames`: label, left, right, bottom, top, letters, for the containers around boxes.
    """
    rows = check_trace(trace)
    deepest = max(row["depth"] for row in rows)
    if depth is None:
        fitting = [d for d in range(1, deepest + 1) if len(_Drawing(rows, d).nodes) <= 34]
        depth = max(fitting, default=1)
    drawing = _Drawing(rows, check_integer(depth, "depth", minimum=1))
    drawing.arrange()
    return {"boxes": drawing.boxes(), **drawing.wires(), "frames": drawing.frames()}


class _Node:
    """A box of the diagram."""

    def __init__(self, name: str, label: str, role: str, shape: str, axes: str, parameters: int) -> None:
        self.name, self.label, self.role, self.parameters = name, label, role, parameters
        self.shape, self.axes = shape, axes
        self.sources: list[_Node] = []
        self.rank = self.level = self.lane = 0
        self.x = self.y = 0.0

    @property
    def lines(self) -> list[str]:
        """The axes of the first output, without the batch axis."""
        return self.axes.split(", ")[0].split()[1:]

    @property
    def sizes(self) -> list[int]:
        return [int(size) for size in self.shape.split(", ")[0].split()]


class _Drawing:
    def __init__(self, rows: Trace, depth: int) -> None:
        self.nodes: dict[str, _Node] = {}
        self.holders: dict[str, list[str]] = {}  # of each node, the containers it is in, outermost first
        self.rows = rows
        for name, (shape, axes) in input_shapes(rows).items():
            self.nodes[name] = _Node(name, name, "end", shape, axes, 0)
            self.holders[name] = []
        shown: dict[str, str] = {}  # leaf -> the node that stands for it
        open_rows: list[dict[str, Any]] = []
        for row in rows:
            open_rows = [*open_rows[: row["depth"]], row]
            visible = open_rows[min(depth, row["depth"])]
            if row is visible and (row["leaf"] or row["depth"] == depth):
                holders = [each["name"] for each in open_rows[1:-1]]
                self.nodes[row["name"]] = _node_of(row, holders[-1] if holders else "")
                self.holders[row["name"]] = holders
            if row["leaf"]:
                shown[row["name"]] = visible["name"]
                target = self.nodes[visible["name"]]
                for source in filter(None, row["sources"].split(", ")):
                    before = self.nodes[shown.get(source, source)]
                    if before is not target and before not in target.sources:
                        target.sources.append(before)
        self.spots: dict[tuple[int, int], dict[int, _Node]] = {}  # (level, lane) -> rank -> node

    # ---- positions --------------------------------------------------------------------------------------

    def arrange(self) -> None:
        sizes = sorted({_extent(node) for node in self.nodes.values()}, reverse=True)
        for node in self.nodes.values():
            node.rank = 1 + max((source.rank for source in node.sources), default=-1)
            node.level = sizes.index(_extent(node))
            while node.rank in self.spots.setdefault((node.level, node.lane), {}):
                node.lane += 1
            self.spots[node.level, node.lane][node.rank] = node
        self.edges = [(source, node) for node in self.nodes.values() for source in node.sources]
        self._route()
        self._rows(len(sizes))
        self._columns()

    def _route(self) -> None:
        """Determine which wires must pass above boxes, and on which track above their level."""
        self.over: dict[tuple[_Node, _Node], int] = {}
        taken: dict[int, list[tuple[int, int, int]]] = {}
        longest_last = sorted(self.edges, key=lambda edge: edge[1].rank - edge[0].rank)
        for source, target in longest_last:
            if not (self._blocked(source, source, target) and self._blocked(target, source, target)):
                continue
            tracks = taken.setdefault(source.level, [])
            crossing = {track for first, last, track in tracks if first < target.rank and source.rank < last}
            track = next(number for number in itertools.count() if number not in crossing)
            tracks.append((source.rank, target.rank, track))
            self.over[source, target] = track
        self.tracks = {level: 1 + max(track for *_, track in tracks) for level, tracks in taken.items()}

    def _blocked(self, along: _Node, source: _Node, target: _Node) -> bool:
        """Return whether a box lies between source and target in the row of `along`."""
        ranks = self.spots[along.level, along.lane]
        return any(source.rank < rank < target.rank for rank in ranks)

    def _columns(self) -> None:
        """Place the columns. The gap after a column has room for labels and for wires that turn there."""
        count = 1 + max(node.rank for node in self.nodes.values())
        ways = [(self._way(source, target), source.rank, target.rank) for source, target in self.edges]
        self.leaving = {first for way, first, _ in ways if way in ("over", "early")}
        entering = {last - 1 for way, _, last in ways if way == "late"}
        labelled = {source.rank for source, _ in self.edges if _is_new(source)}
        x = 0.0
        for rank in range(count):
            for node in self.nodes.values():
                if node.rank == rank:
                    node.x = x
            x += WIDTH + NARROW + TURN * ((rank in self.leaving) + (rank in entering)) + LABEL * (rank in labelled)

    def _way(self, source: _Node, target: _Node) -> str:
        """Return the path of a wire: straight, above all boxes, into its target's side, or with an early or late turn."""
        if (source, target) in self.over:
            return "over"
        if source.y == target.y:
            return "straight"
        if self._blocked(source, source, target):
            return "early"
        return "late" if source is target.sources[0] else "side"

    def _rows(self, levels: int) -> None:
        y = 0.0
        self.tops = []
        for level in range(levels):
            lanes = 1 + max(lane for at, lane in self.spots if at == level)
            y -= ARCH * self.tracks.get(level, 0)
            self.tops.append(y)
            bottom = y - HEIGHT / 2 - LANE * (lanes - 1)
            for (at, lane), nodes in self.spots.items():
                if at == level:
                    for node in nodes.values():
                        node.y = bottom + LANE * lane
            y = bottom - HEIGHT / 2 - LEVEL

    # ---- tables -----------------------------------------------------------------------------------------

    def boxes(self) -> Trace:
        return [
            {
                "name": node.name, "label": node.label, "role": node.role, "parameters": node.parameters,
                "x": node.x, "y": node.y, "width": WIDTH, "height": HEIGHT,
                "letters": min(TEXT, (HEIGHT - 0.15) / (0.78 * len(node.label))),
            }
            for node in self.nodes.values()
        ]  # fmt: skip

    def wires(self) -> dict[str, Trace]:
        points: Trace = []
        labels: Trace = []
        dots: Trace = []
        line = itertools.count(1)
        for wire, (source, target) in enumerate(self.edges, start=1):
            offsets = [LINE * (position - (len(source.lines) - 1) / 2) for position in range(len(source.lines))] or [
                0.0
            ]
            for axis, offset in zip(source.lines or ["value"], reversed(offsets), strict=True):
                number = next(line)
                path = _shifted(self._path(source, target), offset)
                points += [{"wire": wire, "axis": axis, "line": number, "x": x, "y": y} for x, y in path]
                if self._way(source, target) in ("over", "early"):
                    dots.append({"x": path[1][0], "y": path[1][1]})
        for source in {id(source): source for source, _ in self.edges if _is_new(source)}.values():
            count = len(source.lines)
            for position, (axis, size) in enumerate(zip(source.lines, source.sizes[1:], strict=False)):
                y = source.y + LINE * ((count - 1) / 2 - position) + 0.04
                x = source.x + WIDTH / 2 + TURN * (source.rank in self.leaving) + 0.1
                labels.append({"x": x, "y": y, "text": f"{SHORT.get(axis, axis)} {size}", "height": TEXT})
        return {"wires": points, "dots": dots, "labels": labels}

    def _path(self, source: _Node, target: _Node) -> list[tuple[float, float]]:
        left, right = source.x + WIDTH / 2, target.x - WIDTH / 2
        start, end = (left, source.y), (right, target.y)
        way = self._way(source, target)
        if way == "straight":
            return [start, end]
        if way == "over":
            turn, top = left + TURN / 2, self.tops[source.level] + ARCH * (0.5 + self.over[source, target])
            return [start, (turn, source.y), (turn, top), (target.x, top), (target.x, target.y + HEIGHT / 2)]
        if way == "side":
            edge = target.y + math.copysign(HEIGHT / 2, source.y - target.y)
            return [start, (target.x, source.y), (target.x, edge)]
        turn = left + TURN / 2 if way == "early" else right - TURN / 2
        return [start, (turn, source.y), (turn, target.y), end]

    def frames(self) -> Trace:
        inside: dict[str, list[_Node]] = {}
        for name, holders in self.holders.items():
            for holder in holders:
                inside.setdefault(holder, []).append(self.nodes[name])
        nesting = {row["name"]: row["depth"] for row in self.rows}
        deepest = max((nesting[name] for name in inside), default=0)
        frames = []
        for name, nodes in inside.items():
            if len(nodes) < 2:
                continue
            margin = 0.1 + 0.06 * (deepest - nesting[name])
            within = {id(node) for node in nodes}
            tracks = [1 + track for (source, target), track in self.over.items() if {id(source), id(target)} <= within]
            top = max(node.y for node in nodes) + HEIGHT / 2 + ARCH * max(tracks, default=0)
            frames.append(
                {
                    "label": name,
                    "left": min(node.x for node in nodes) - WIDTH / 2 - margin,
                    "right": max(node.x for node in nodes) + WIDTH / 2 + margin,
                    "letters": TEXT,
                    "bottom": min(node.y for node in nodes) - HEIGHT / 2 - margin,
                    "top": top + margin,
                }
            )
        return frames


def _node_of(row: dict[str, Any], within: str) -> _Node:
    if row["kind"] == "output":
        return _Node(row["name"], "output", "end", row["output"], row["axes"], 0)
    if not row["leaf"]:
        label = row["kind"]
        if label in ("Sequential", "SequentialModule"):  # the name is more informative
            label = row["name"].removeprefix(f"{within}.")
        return _Node(row["name"], label, "holds", row["output"], row["axes"], row["parameters"])
    role = next((role for role, pattern in _ROLES.items() if re.search(pattern, row["kind"])), "other")
    if role == "other" and row["parameters"]:
        role = "learned"
    return _Node(row["name"], row["kind"], role, row["output"], row["axes"], row["parameters"])


def _extent(node: _Node) -> int:
    """Return the number of pixels, or 1 for a tensor that is not an image."""
    return math.prod(node.sizes[2:]) if len(node.sizes) > 3 else 1


def _is_new(node: _Node) -> bool:
    """Return whether the shape differs from that of the first input."""
    return not node.sources or node.shape != node.sources[0].shape


def _shifted(path: Iterable[tuple[float, float]], offset: float) -> list[tuple[float, float]]:
    """Shift a polyline of horizontal and vertical segments sideways, to its left for a positive offset."""
    points = list(path)
    moved = []
    for number, (x, y) in enumerate(points):
        for one, other in ((number - 1, number), (number, number + 1)):
            if one < 0 or other >= len(points):
                continue
            (x0, y0), (x1, y1) = points[one], points[other]
            if y0 == y1:
                y = points[number][1] + math.copysign(offset, offset * (x1 - x0))
            else:
                x = points[number][0] - math.copysign(offset, offset * (y1 - y0))
        moved.append((x, y))
    return moved

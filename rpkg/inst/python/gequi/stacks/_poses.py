"""The pose of each section: its side, its turn and its shift, from the pairs alone.

A position in a section is a complex number, row + column i from the center of the section. A section that shows the
other side than the reference is reflected left to right, which is the complex conjugate. Each pair then says
z_j = a z_i + b with |a| = 1, and the pose of a section, z_k = a_k z + b_k for a position z in the reference, follows
from a linear system over all pairs. It has no prior: a section may lie at any angle and at any place.

Source: Singer 2011 (angular synchronization by linear algebra).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, dijkstra

from ._pairs import Pair, nodes_of

ROUNDS = 20  # of reweighting, which stops to change anything after about ten; not tuned
OUTLIER = 3.0  # robust standard deviations, at which a pair has half its weight (Cauchy)
LEAST_RESIDUAL = 0.25  # pixels; pairs that agree to this are not told apart


@dataclass(frozen=True)
class Pose:
    """z_k = turn z + shift for a position z in the reference, reflected if `mirrored`.

    Attributes:
        turn, shift: complex numbers.
        mirrored: whether the section shows the other side than the reference.
        center, origin: the centers of the section and of the reference, (row, column).
    """

    turn: complex
    shift: complex
    mirrored: bool
    center: tuple[float, float]
    origin: tuple[float, float]

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        """Carry points (axis, ...) of the reference to the section."""
        carried = self.turn * as_complex(points, self.origin) + self.shift
        return as_points(carried.conj() if self.mirrored else carried, self.center)

    def backward(self, points: torch.Tensor) -> torch.Tensor:
        """Carry points (axis, ...) of the section to the reference."""
        given = as_complex(points, self.center)
        return as_points(((given.conj() if self.mirrored else given) - self.shift) / self.turn, self.origin)

    @property
    def degrees(self) -> float:
        """The turn of the section against the reference, counter-clockwise as displayed."""
        return float(np.degrees(np.angle(self.turn))) * (-1 if self.mirrored else 1)


def as_complex(points: torch.Tensor, center: tuple[float, float]) -> torch.Tensor:
    return torch.complex(points[0] - center[0], points[1] - center[1])


def as_points(numbers: torch.Tensor, center: tuple[float, float]) -> torch.Tensor:
    return torch.stack([numbers.real + center[0], numbers.imag + center[1]])


def center_of(size: Sequence[int]) -> tuple[float, float]:
    return (size[0] - 1) / 2, (size[1] - 1) / 2


def connected(sections: int, pairs: Sequence[Pair]) -> list[list[int]]:
    """The parts of a stack within which pairs connect all sections, the largest first."""
    labels = connected_components(_graph(sections, pairs), directed=False)[1]
    parts: list[list[int]] = [np.flatnonzero(labels == label).tolist() for label in range(labels.max() + 1)]
    return sorted(parts, key=lambda part: -len(part))


def best_connected(sections: int, pairs: Sequence[Pair]) -> int:
    """The section of the largest part from which the others are reached with the smallest variance."""
    part = connected(sections, pairs)[0]
    distances = dijkstra(_graph(sections, pairs), directed=False, indices=part)[:, part]
    return part[int(distances.sum(1).argmin())]


def _graph(sections: int, pairs: Sequence[Pair]) -> coo_array:
    ends = np.array([(pair.first, pair.second) for pair in pairs]).reshape(-1, 2).T
    return coo_array(([pair.deviation**2 for pair in pairs], (ends[0], ends[1])), (sections, sections))


def sides(sections: int, pairs: Sequence[Pair], reference: int) -> np.ndarray:
    """Whether each section shows the other side than the reference: along the best paths from it."""
    graph = _graph(sections, pairs)
    before = dijkstra(graph, directed=False, indices=reference, return_predecessors=True)
    distance, previous = before[0], before[1]
    turned_over = {frozenset((pair.first, pair.second)): pair.mirrored for pair in pairs}
    mirrored = np.zeros(sections, dtype=bool)
    for section in np.argsort(distance):
        if np.isfinite(distance[section]) and section != reference:
            step = frozenset((int(section), int(previous[section])))
            mirrored[section] = mirrored[previous[section]] ^ turned_over[step]
    return mirrored


def find_poses(shapes: Sequence[Sequence[int]], pairs: Sequence[Pair], reference: int) -> dict[int, Pose]:
    """The pose of each section that is connected with the reference; `shapes` are the sizes of the sections."""
    members = next(part for part in connected(len(shapes), pairs) if reference in part)
    if len(members) == 1:
        return {reference: Pose(1, 0, False, center_of(shapes[reference]), center_of(shapes[reference]))}
    mirrored = sides(len(shapes), pairs, reference)
    agreeing = [p for p in pairs if p.first in members and p.mirrored == mirrored[p.first] ^ mirrored[p.second]]
    fits = np.array([_rigid(pair, shapes, mirrored) for pair in agreeing])
    number = {section: at for at, section in enumerate(members)}
    i, j = (np.array([number[getattr(pair, end)] for pair in agreeing]) for end in ("first", "second"))
    weights = np.array([1 / pair.deviation**2 for pair in agreeing])
    radius = min(shapes[reference]) / 4
    turn, shift = _solved(i, j, fits, weights, number[reference], radius)
    origin = center_of(shapes[reference])
    return {
        section: Pose(
            complex(turn[at]), complex(shift[at]), bool(mirrored[section]), center_of(shapes[section]), origin
        )
        for section, at in number.items()
    }


def _rigid(pair: Pair, shapes: Sequence[Sequence[int]], mirrored: np.ndarray) -> tuple[complex, complex]:
    """Fit z_j = a z_i + b with |a| = 1 to the nodes of a pair, with both sections seen from the side of the reference."""
    first, second = shapes[pair.first], shapes[pair.second]
    at = as_complex(nodes_of(first), center_of(first))
    to = as_complex(pair.map, center_of(second))
    at = at.conj() if mirrored[pair.first] else at
    to = to.conj() if mirrored[pair.second] else to
    share = pair.weights / pair.weights.sum()
    x, y = (share * at).sum(), (share * to).sum()
    turn = (share * (to - y) * (at - x).conj()).sum()
    turn = turn / turn.abs()
    return complex(turn), complex(y - turn * x)


def _solved(
    i: np.ndarray, j: np.ndarray, fits: np.ndarray, weights: np.ndarray, reference: int, radius: float
) -> tuple[np.ndarray, np.ndarray]:
    """Solve for the turns and the shifts by least squares, reweighted so that pairs that contradict the others lose."""
    turns, shifts = fits.T
    own = weights
    for _ in range(ROUNDS):
        turn = _synchronized(i, j, turns, np.zeros_like(turns), own, reference, 1.0)
        turn = turn / np.abs(turn)
        shift = _synchronized(i, j, turns, shifts, own, reference, 0.0)
        miss = np.hypot(radius * np.abs(turn[j] - turns * turn[i]), np.abs(shift[j] - turns * shift[i] - shifts))
        scale = max(LEAST_RESIDUAL, 1.4826 * float(np.median(miss))) * OUTLIER
        own = weights / (1 + (miss / scale) ** 2)
    return turn, shift


def _synchronized(
    i: np.ndarray, j: np.ndarray, a: np.ndarray, b: np.ndarray, weights: np.ndarray, reference: int, value: complex
) -> np.ndarray:
    """Minimize the sum of weights |x_j - a x_i - b|^2, with the value of the reference given."""
    count = int(max(i.max(), j.max())) + 1
    rows = np.zeros((len(i), count), dtype=complex)
    each = np.arange(len(i))
    rows[each, j] += 1
    rows[each, i] -= a
    root = np.sqrt(weights)[:, None]
    free = np.arange(count) != reference
    right = (b - rows[:, reference] * value)[:, None] * root
    x = np.full(count, value, dtype=complex)
    x[free] = np.linalg.lstsq(rows[:, free] * root, right, rcond=None)[0][:, 0]
    return x

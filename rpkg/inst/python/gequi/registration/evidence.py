"""The evidence that a map is correct: searches in both directions and with several descriptors find it and its inverse.

A correct map from the fixed to the moving image has an inverse, which the search in the opposite direction finds
independently. The evidence for each map consists of its round trips (the map, followed by a map of each search in the
opposite direction), its score and the scores of these inverse maps, and the score of its linear part alone, which a
chance agreement of two smooth images lacks. The log-odds that the map is correct are linear in these values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch

from ..geometry.linalg import vector_norm
from ..geometry.sampling import grid_sample, inside
from .pyramid import Level, map_at_cells
from .score import score_maps
from .search import Found
from .transforms import apply_linear, flow

LEAST_TRIP = 0.003  # of the longer side: shorter round trips are not told apart; below the 0.004 that is usual
LEAST_SEEN = 4  # cells that both images show; not tuned
MARGIN = 0.1  # by which the score of a map back may be below the best one of its search; not tuned


class Weights(NamedTuple):
    """The log-odds: a constant for each search and multiples of the evidence. See `Evidence`."""

    constant: float
    any_contrast: float
    searches: float
    trips: float
    score: float
    plain: float


@dataclass(frozen=True, eq=False)
class Evidence:
    """The evidence for each map.

    Attributes:
        trips: (map, search), the logarithm of the round trip with the inverse maps of each search: of the median
            distance between back(there(x)) and x, as a fraction of the longer side of the image.
        score: (map), the mean of the score of the map and the scores of its partners, the inverse maps.
        plain: (map), the score of the linear part alone; 0 for a linear map.
        log_odds: (map), the log-odds that the map is correct.
    """

    trips: torch.Tensor
    score: torch.Tensor
    plain: torch.Tensor
    log_odds: torch.Tensor

    @property
    def best(self) -> int:
        """The index of the map with the highest probability of being correct."""
        return int(self.log_odds.argmax())

    @property
    def round_trip(self) -> torch.Tensor:
        """The round trip of each map, the geometric mean over the searches, as a fraction of the longer side: (map)."""
        return (self.trips.mean(1).exp() - LEAST_TRIP).clamp_min(0)


def weigh(there: Found, back: Sequence[Found], transform: str) -> Evidence:
    """Return the evidence for maps from the fixed to the moving image, given the maps back of each search."""
    level = there.level
    trips, scores = zip(*(_partners(round_trips(there, each), each.scores) for each in back), strict=True)
    trip = (torch.stack(trips, 1) + LEAST_TRIP).log()
    score = (there.scores + torch.stack(scores).mean(0)) / 2
    if transform == "deformable":
        plain = score_maps(level, there.linear, torch.zeros_like(there.velocity))
    else:
        plain = torch.zeros_like(score)
    weights = Weights(
        *(level.preset.evidence_deformable if transform == "deformable" else level.preset.evidence_linear)
    )
    odds = weights.constant + weights.searches * len(back) + weights.trips * trip.sum(1)
    odds = odds + weights.score * score + weights.plain * plain
    return Evidence(trip, score, plain, odds + weights.any_contrast * level.pair.any_contrast)


def _partners(trips: torch.Tensor, scores: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the round trip of each map with its partner, the nearest of the best maps back, and its score."""
    nearest = trips.where(scores >= scores.max() - MARGIN, torch.inf).min(1)
    return nearest.values, scores[nearest.indices]


def probability(log_odds: torch.Tensor | float) -> float:
    """Convert log-odds to a probability."""
    return 1 / (1 + math.exp(-max(float(log_odds), -700.0)))


def round_trips(there: Found, back: Found) -> torch.Tensor:
    """Return the median of |back(there(x)) - x| over the overlap as a fraction of the longer side: (map, map back)."""
    level, pixels = there.level, max(there.level.image)
    maps = map_at_cells(level, there.linear, there.velocity)
    shift = flow(back.velocity, back.level.image)
    return torch.stack([_round_trip(level, map, back, shift) for map in maps.split(1)]) / pixels


def _round_trip(level: Level, map: torch.Tensor, back: Found, shift: torch.Tensor) -> torch.Tensor:
    """Return the median distance in pixels for one map (1, axis, *size) and each inverse map."""
    shown = inside(map, level.moving_image)[0] & (level.mask[0, 0] > 0.5)
    if int(shown.sum()) < LEAST_SEEN:
        return torch.full_like(back.scores, max(level.image))
    places = map.expand(len(shift), *map.shape[1:])
    returned = apply_linear(back.linear, places + grid_sample(shift, places, size=back.level.image))
    away = vector_norm(returned - level.positions, 1)
    return away[:, shown].median(1).values

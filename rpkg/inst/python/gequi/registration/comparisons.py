"""Intensities that are compared for contrast "any": gray levels, structure, or gray levels transformed by a curve.

At the coarsest level the images are compared in several ways: as they are, with the structure of one image instead of
its gray levels, and with one image in the gray levels of the other. The registration continues with the way that agrees
best.
"""

from __future__ import annotations

from collections.abc import Iterator

from .gauss_newton import refine
from .preprocess import Pair
from .pyramid import coarsest_level, make_level
from .score import score_maps
from .search import Found
from .structure import structure_pairs
from .tones import TonedPair, toned_again, toned_pairs


def compared(found: Found, transform: str) -> Found:
    """Return the maps, on a pair whose images are compared in another way if they agree clearly better there.

    Without contrast "any" the maps are returned unchanged.
    """
    level = found.level
    preset = level.preset
    best, least = found, float(found.scores.max()) + preset.comparison_gain
    if not level.pair.any_contrast or least >= 1:
        return found
    for pair in _comparisons(found):
        there = _refined(found, pair, transform)
        if isinstance(pair, TonedPair):
            there = _refined(there, toned_again(pair, there.linear, there.velocity), transform)
        if float(there.scores.max()) > max(least, float(best.scores.max())):
            best = there
    return best


def _comparisons(found: Found) -> Iterator[Pair]:
    """Return the pairs with the structure of an image, or the gray levels of the other, instead of its gray levels."""
    pair = found.level.pair
    source = pair.source if isinstance(pair, TonedPair) else pair
    yield from structure_pairs(source)
    if source.axes == 2:  # intensity curves are measured on images only
        yield from toned_pairs(source, found.linear, found.velocity)


def _refined(found: Found, pair: Pair, transform: str) -> Found:
    """Refine the maps at the coarsest level of another pair, and score them there."""
    level = make_level(pair, coarsest_level(pair))
    refined = refine(level, found.linear, found.velocity, transform, level.stage.steps)
    return Found(*refined, score_maps(level, *refined), level)

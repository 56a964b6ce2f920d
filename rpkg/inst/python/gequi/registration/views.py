"""The views of the moving image in which a map is searched: unchanged, mirrored, with other gray levels, or scaled.

Descriptors are compared in every pose, but not at every scale and not mirrored. If no map of the unchanged images is
clearly correct, the moving image is resampled or mirrored, and the view with the most probable map is used. For
contrast "any", the gray levels of both images are also changed: see `structure` and `tones`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch

from ..geometry.grids import resample
from ..networks import EquivariantNetwork
from .detail import OutlineWeights, Weights, detail
from .evidence import Evidence, weigh
from .preprocess import SMALLEST, Frame, Pair
from .presets import Attempt, Preset, preset_for
from .search import Found, alternatives, descriptor_factory, search, with_repeats
from .structure import structure_pairs
from .tones import TonedPair, equalized_pair, shows_something, tone_scores, toned_pairs

MIRRORS: tuple[bool | str, ...] = (False, True, "search")


@dataclass(frozen=True, eq=False)
class View:
    """A pair with one view of its moving image, the frame of this view, and the maps found in it.

    Attributes:
        there: the maps from the fixed to the moving image, of all searches.
        back: the maps of each search in the opposite direction.
        given: whether the map was found near a given initial estimate, without a search.
    """

    pair: Pair
    frame: Frame
    there: Found
    back: tuple[Found, ...]
    evidence: Evidence
    given: bool = False

    @cached_property
    def log_odds(self) -> float:
        """The log-odds that the best map is correct, from the searches and from the details."""
        best, preset = self.evidence.best, preset_for(self.pair.axes)
        odds = float(self.evidence.log_odds[best])
        if preset.evidence_detail is None or preset.evidence_outline is None:
            return odds
        seen = detail(self.there, best)
        odds += seen.log_odds(Weights(*preset.evidence_detail))
        return odds + seen.outline_odds(OutlineWeights(*preset.evidence_outline))

    def rivals(self, transform: str) -> Found:
        """Return the best map, then a few others that may be correct: they score almost as well, and have an inverse or
        repeat.

        A rival that the search in the opposite direction has not found is not a separate map. This does not apply to
        the repeats of a texture, which are more numerous than the search considers.
        """
        preset, best = self.there.level.preset, self.evidence.best
        if self.given:
            return self.there.take([best])
        found = with_repeats(self.there, best, transform)
        repeats = len(found.scores) - len(self.there.scores)
        invertible = self.evidence.round_trip <= preset.most_round_trip
        possible = torch.cat([invertible, torch.ones(repeats, dtype=torch.bool, device=invertible.device)])
        return found.take(alternatives(found, preset.coarse_tolerance, best, possible))


def best_view(
    pair: Pair,
    frame: Frame,
    transform: str,
    mirror: bool | str = False,
    encoder: EquivariantNetwork | None = None,
    thorough: bool = True,
) -> View:
    """Return the view in which the best map is most probably correct; the search ends with the first clear view.

    For contrast "any", a clear view is followed by the view with the gray levels of the other image, if that is also
    clear.

    Args:
        frame: the frame of the moving image.
        mirror: whether the moving image is mirrored; "search" tries both.
        thorough: whether to also try other scales and equalized gray levels.
    """
    views: list[View] = []
    for more in views_of(pair, frame, transform, mirror, encoder, thorough):
        views += more
        best = max(views, key=lambda view: view.log_odds)
        if best.log_odds >= preset_for(pair.axes).clear:
            break
    toned = [view for view in toned_views(best, transform, encoder) if view.log_odds >= preset_for(pair.axes).clear]
    return max(toned or [best], key=lambda view: view.log_odds)


def views_of(
    pair: Pair, frame: Frame, transform: str, mirror: bool | str, encoder: EquivariantNetwork | None, thorough: bool
) -> Iterator[list[View]]:
    """Return the views in the order in which they are tried.

    The order is: the image unchanged and mirrored; these with other attempts; for contrast "any" other gray levels;
    other scales.
    """
    preset = preset_for(pair.axes)
    second = preset.second if encoder is None else preset.second[:1]  # the others differ in the descriptor
    mirrored = {False: [False], True: [True], "search": [False, True]}[mirror]
    views = []
    for flip in mirrored:
        views.append(look(*seen_as(pair, frame, 1.0, flip), transform, preset.first, encoder))
        yield views[-1:]
    views = [look_again(view, transform, second, encoder) for view in views]
    yield views
    if pair.any_contrast:
        yield [toned for view in views for toned in toned_views(view, transform, encoder)]
        yield [
            look(*seen_as(structure, frame, 1.0, flip), transform, preset.first, encoder)
            for structure in structure_pairs(pair) for flip in mirrored
        ]  # fmt: skip
    if pair.any_contrast and thorough and pair.axes == 2:
        even = equalized_pair(pair)
        views = [look(*seen_as(even, frame, 1.0, flip), transform, preset.first, encoder) for flip in mirrored]
        yield views
        views = [look_again(view, transform, second, encoder) for view in views]
        yield views
        yield [toned for view in views for toned in toned_views(view, transform, encoder)]
    scaled = [
        look(*seen_as(pair, frame, scale, flip), transform, preset.first, encoder)
        for scale in (scales_of(pair, transform, preset) if thorough else ()) for flip in mirrored
    ]  # fmt: skip
    if scaled:
        best = max(scaled, key=lambda view: view.log_odds)
        yield [look_again(best, transform, second, encoder)]


def scales_of(pair: Pair, transform: str, preset: Preset) -> list[float]:
    """Return the scales at which the moving image is tried: those that keep enough of it. A rigid map has none."""
    if transform in ("rigid", "translation"):
        return []
    return [scale for scale in preset.ladder if min(pair.moving_size) * scale >= 2 * SMALLEST]


def seen_as(pair: Pair, frame: Frame, scale: float, mirrored: bool) -> tuple[Pair, Frame]:
    """Return the pair with its moving image resampled by a factor and mirrored, and the frame of this image."""
    if scale == 1 and not mirrored:
        return pair, frame
    image, mask = pair.moving, pair.moving_mask
    if scale != 1:
        work = tuple(max(round(n * scale), SMALLEST) for n in pair.moving_size)
        steps = [1 / scale] * pair.axes
        image, mask = resample(image, work, steps), resample(mask, work, steps).clamp(0, 1)
        frame = replace(frame, work=work, steps=tuple(step / scale for step in frame.steps))
    if mirrored:
        image, mask = image.flip(-1), mask.flip(-1)
        frame = replace(frame, mirrored=not frame.mirrored)
    return replace(pair, moving=image, moving_mask=mask), frame


def look(pair: Pair, frame: Frame, transform: str, attempt: Attempt, encoder: EquivariantNetwork | None = None) -> View:
    """Return the maps that one search finds in a pair."""
    there, back = search(pair, transform, attempt, descriptor_factory(pair, encoder))
    return View(pair, frame, there, (back,), weigh(there, (back,), transform))


def toned_views(view: View, transform: str, encoder: EquivariantNetwork | None = None) -> list[View]:
    """Return the results of searches with each image in the gray levels of the other, if these agree clearly better.

    The map under which they agree best determines the curve of the gray levels. It is not included in the results.
    """
    there, preset = view.there, preset_for(view.pair.axes)
    least = float(there.scores.max()) + preset.comparison_gain
    if not view.pair.any_contrast or view.pair.axes != 2 or isinstance(view.pair, TonedPair) or least >= 1:
        return []
    scores = tone_scores(there.level, there.linear, there.velocity)
    if float(scores.max()) < least:
        return []
    best = there.take([int(scores.argmax())])
    pairs = [pair for pair in toned_pairs(view.pair, best.linear, best.velocity) if shows_something(pair)]
    return [look(pair, view.frame, transform, preset.first, encoder) for pair in pairs]


def look_again(
    view: View, transform: str, attempts: Sequence[Attempt], encoder: EquivariantNetwork | None = None
) -> View:
    """Add the results of other searches to those that are known."""
    there, back = view.there, view.back
    for attempt in attempts:
        more, more_back = search(view.pair, transform, attempt, descriptor_factory(view.pair, encoder))
        there, back = there.joined(more), (*back, more_back)
    return View(view.pair, view.frame, there, back, weigh(there, back, transform))

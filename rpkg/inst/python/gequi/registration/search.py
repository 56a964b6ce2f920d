"""The search of a registration: attention, candidates, verification, and Gauss-Newton steps from coarse to fine.

The functions use a pair of images, or of volumes, on pixels of one size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from .._progress import begin
from ..geometry.grids import Size, area_resample, cubic_resample, kind_of, masked_area_resample
from ..geometry.linalg import vector_norm
from ..networks import EquivariantNetwork
from .candidates import fit_candidates
from .descriptors import Descriptor, Tokens
from .gauss_newton import refine
from .preprocess import Pair
from .presets import Attempt, preset_for
from .pyramid import Level, coarser_size, coarsest_level, make_level, map_at_cells, zero_velocity
from .repeats import repeat_shifts
from .score import score_maps
from .tones import TonedPair, toned_again

DescriptorFactory = Callable[[Attempt], Descriptor]


@dataclass(frozen=True, eq=False)
class Found:
    """Linear maps (map, axis, axis + 1), velocities (map, axis, *field), scores (map), and their level."""

    linear: torch.Tensor
    velocity: torch.Tensor
    scores: torch.Tensor
    level: Level

    def take(self, numbers: Sequence[int]) -> Found:
        chosen = list(numbers)
        return Found(self.linear[chosen], self.velocity[chosen], self.scores[chosen], self.level)

    def without_images(self) -> Found:
        """Return the maps without the moving image of their level, which is refined and large, and its gradient."""
        none = self.level.fixed.new_empty(0)
        return replace(self, level=replace(self.level, moving=none, gradient=none, fixed=none, mask=none))

    def joined(self, other: Found) -> Found:
        """Combine these maps with those of another search of the same pair."""
        linear, velocity, scores = (
            torch.cat([one, two])
            for one, two in zip(
                (self.linear, self.velocity, self.scores), (other.linear, other.velocity, other.scores), strict=True
            )
        )
        return Found(linear, velocity, scores, self.level)


def descend(found: Found, transform: str) -> tuple[Found, torch.Tensor, list[float]]:
    """Return the best map at the finest level, the linear maps that are its alternatives, and the scores of all of
    these.

    The maps of the coarsest level are refined at every other level, down to pixels of the usual size, where details of
    a repeating texture can be distinguished. The best map is selected there. The curves of toned images are updated at
    each level.
    """
    pair, preset = found.level.pair, found.level.preset
    top = coarsest_level(pair)
    scores, others = found.scores, found.linear[:0]
    for number in reversed(range(top)):
        if isinstance(pair, TonedPair):
            pair = toned_again(pair, found.linear, found.velocity)
        begin("refinement", top)
        level = make_level(pair, number)
        velocity = cubic_resample(found.velocity, level.field)
        refined = refine(level, found.linear, velocity, transform, level.stage.steps)
        found = Found(*refined, found.scores, level)
        if number == top - preset.decided and len(found.linear) > 1:
            found = replace(found, scores=score_maps(level, found.linear, found.velocity))
            kept = alternatives(found, preset.fine_tolerance)
            scores, others = scores[kept], found.linear[kept[1:]]
            found = found.take(kept[:1])
    return found, others, scores.clamp_min(0).tolist()


# ---- candidates and their verification ------------------------------------------------------------------


def search(pair: Pair, transform: str, attempt: Attempt, describe: DescriptorFactory) -> tuple[Found, Found]:
    """Return the maps found from the fixed to the moving image, and those found in the opposite direction.

    Candidates come from the attention between the two images. Each is refined at the coarsest level and scored there.
    """
    begin("search")
    preset = preset_for(pair.axes)
    scale = preset.scale(pair.fixed_size, pair.moving_size)
    descriptor = describe(attempt)
    both = descriptor.match_both(*tokens_of(pair, descriptor), attempt.sharpness)
    # among many maps back, a wrong map has an inverse by chance; few may lack the inverse in a repeating texture
    repeats = all(repeats_itself(given) for given in (pair, pair.exchanged))
    back = preset.back_candidates_of_repeats if repeats else preset.back_candidates
    found = []
    for given, matches, most in zip((pair, pair.exchanged), both, (attempt.candidates, back), strict=True):
        count = min(most, attempt.candidates)
        candidates = fit_candidates(matches, given.fixed_size, transform, count, preset, scale)
        found.append(verify(given, transform, candidates.linear, attempt.steps))
    return found[0], found[1]


def repeats_itself(pair: Pair) -> bool:
    """Return whether the fixed image is similar to itself at some shift."""
    level = make_level(pair, coarsest_level(pair))
    least = level.preset.apart * level.unit
    return bool(repeat_shifts(level.fixed, level.mask, level.steps, least, level.preset))


def verify(pair: Pair, transform: str, linear: torch.Tensor, steps: int) -> Found:
    """Refine linear maps at the coarsest level, and score them there."""
    return _verified(make_level(pair, coarsest_level(pair)), transform, linear, steps)


def _verified(level: Level, transform: str, linear: torch.Tensor, steps: int) -> Found:
    linear, velocity = refine(level, linear, zero_velocity(level, len(linear)), transform, steps)
    return Found(linear, velocity, score_maps(level, linear, velocity), level)


def with_repeats(found: Found, number: int, transform: str) -> Found:
    """Return the maps and, if an image repeats itself, the map with this index, moved by each repeat, with scores."""
    best = found.linear[number]
    level = found.level
    pair, preset, least = level.pair, level.preset, level.preset.apart * level.unit
    shifts = repeat_shifts(level.fixed, level.mask, level.steps, least, preset)
    inner = [torch.cat([best[:, :-1], best[:, -1:] + best[:, :-1] @ shift[:, None]], 1) for shift in shifts]
    moving, mask = (area_resample(x, level.moving_size) for x in (pair.moving, pair.moving_mask))
    steps = [n / m for n, m in zip(level.moving_image, level.moving_size, strict=True)]
    shifts = repeat_shifts(moving, mask, steps, least, preset)
    outer = [torch.cat([best[:, :-1], best[:, -1:] + shift[:, None]], 1) for shift in shifts]
    if not inner + outer:
        return found
    return found.joined(_verified(level, transform, torch.stack(inner + outer), level.stage.steps))


def alternatives(
    found: Found, tolerance: tuple[float, float], best: int | None = None, possible: torch.Tensor | None = None
) -> list[int]:
    """Return the index of the best map, then those of a few distant maps that score almost as well.

    Distance is the mean over the edges of the fixed image. Two linear maps that the Gauss-Newton steps bring to one map
    there are not alternatives.

    Args:
        tolerance: the permitted difference of an alternative from a perfect score: a multiple of that of the best map,
            and a constant.
        best: the index of the best map; None is the one with the highest score.
        possible: (map), which maps may be alternatives; None is all.
    """
    ranked = found.scores.argsort(descending=True).tolist()
    best = ranked[0] if best is None else best
    least = 1 - tolerance[0] * (1 - float(found.scores[best])) - tolerance[1]
    level = found.level
    apart = level.preset.apart * level.unit
    maps = map_at_cells(level, found.linear, found.velocity).flatten(2)
    weight = (level.mask * vector_norm(level.gradient, 1, keepdim=True)).flatten()
    weight = weight / weight.sum()
    kept = [best]
    for number in ranked:
        if float(found.scores[number]) < least or (possible is not None and not bool(possible[number])):
            continue
        if not any(vector_norm(maps[number] - maps[other], 0) @ weight <= apart for other in kept):
            kept.append(number)
    return kept[: 1 + level.preset.most_alternatives]


# ---- tokens ---------------------------------------------------------------------------------------------


def descriptor_factory(pair: Pair, encoder: EquivariantNetwork | None = None) -> DescriptorFactory:
    """Return a function that creates the descriptor of an attempt: the designed one, or always that of an encoder."""
    preset, dtype = preset_for(pair.axes), str(pair.fixed.dtype).removeprefix("torch.")
    return lambda attempt: preset.descriptor(encoder or preset.encoder(attempt, pair.any_contrast, dtype))


def usual_sizes(pair: Pair) -> list[Size]:
    """Return the sizes of the fixed and of the moving image, scaled to the usual size."""
    preset = preset_for(pair.axes)
    scale = preset.scale(pair.fixed_size, pair.moving_size)
    return [coarser_size(size, scale, preset) for size in (pair.fixed_size, pair.moving_size)]


def averaged(pair: Pair, sizes: Sequence[Size]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return the fixed and the moving image and their masks, averaged to these sizes."""
    return [
        (masked_area_resample(image, mask, size), area_resample(mask, size))
        for image, mask, size in zip((pair.fixed, pair.moving), (pair.fixed_mask, pair.moving_mask), sizes, strict=True)
    ]


def tokens_of(pair: Pair, descriptor: Descriptor) -> tuple[Tokens, Tokens]:
    """Return the tokens of the fixed and of the moving image, with positions in pixels of the images."""
    sizes = [descriptor.fitting_size(size) for size in usual_sizes(pair)]
    fixed, moving = (descriptor.describe(*part) for part in averaged(pair, sizes))
    fixed.positions = _in_pixels(fixed.positions, pair.fixed_size, sizes[0])
    moving.positions = _in_pixels(moving.positions, pair.moving_size, sizes[1])
    return fixed, moving


def _in_pixels(positions: torch.Tensor, image: Size, size: Size) -> torch.Tensor:
    """Convert positions (token, axis) in an image averaged to `size` to pixels of the image."""
    ratio = torch.tensor([n / m for n, m in zip(image, size, strict=True)], **kind_of(positions))
    return (positions + 0.5) * ratio - 0.5

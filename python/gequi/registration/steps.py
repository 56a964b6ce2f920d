"""The steps of a registration, one by one, to look at."""

from __future__ import annotations

from typing import Any

import torch

from ..arrays import as_numpy, check_choice, check_dtype, check_integer
from ..errors import ShapeError
from ..geometry.grids import Kind
from .dense import coarser
from .descriptors import PlanarDescriptor, Tokens
from .descriptors.planar import lift, pose_score
from .frames import prepare_pair
from .register import CONTRASTS, TRANSFORMS
from .search import PLANS, averaged, check, descriptor_of, propose, tokens_of


def registration_steps(
    moving: Any,
    fixed: Any,
    token: int | None = None,
    transform: str = "deformable",
    contrast: str = "same",
    dtype: str = "float32",
) -> dict[str, Any]:
    """What `register_images()` makes of a pair on its way: features, attention, matches, hypotheses.

    The functions that do it are those that `register_images()` calls, in its first attempt.

    Args:
        moving, fixed: grey images (row, column), as in `register_images()`.
        token: the number of the token of `fixed` whose attention is shown, from 0, row by row; None is the one whose
            match has the largest weight.
        transform, contrast, dtype: as in `register_images()`.

    Returns:
        a dict:
        `fixed` and `moving`, for each image a dict of `lifted` (channel, row, column), the answers to edges in 16
        directions (in 8, blind to the sign, with contrast "any"); `tokens`, how many (row, column); `positions`
        (token, axis), in pixels from 0; `strength` (token);
        `attention`, of one token, a dict of `token`; `position` (axis); `scores` (pose, row, column), how alike it is to
        each token of `moving` in each pose, between -1 and 1; `weights` (row, column), the softmax of the best
        scores over the poses, times a sharpness;
        `matches`, a dict of `fixed` and `moving` (token, axis), the positions of each token and of its match;
        `rotation` (token), the angle between them in radians, from rows to columns; `weight` (token);
        `hypotheses`, a list of dicts, the most voted first: `similarity` (2, 3), on which matches agree; `votes`, the
        sum of their weights; `affine` (2, 3), the linear map that is fitted from there (for "similarity" and "rigid"
        one of that kind); `confidence`, the correlation of the images under it after a few steps.

    Raises:
        ShapeError, InputError: as `register_images()`; volumes; no such token.

    Source:
        as `register_images()`.

    Example:
        >>> from gequi import sample_image
        >>> image = sample_image("cat")[50:178, 150:278]
        >>> steps = registration_steps(image.T[::-1], image)  # turned by a quarter
        >>> steps["attention"]["scores"].shape, int(steps["attention"]["scores"].max((1, 2)).argmax())
        ((16, 32, 32), 4)
        >>> [round(hypothesis["confidence"], 2) for hypothesis in steps["hypotheses"]][:1]
        [1.0]
    """
    check_choice(transform, "transform", TRANSFORMS)
    check_choice(contrast, "contrast", CONTRASTS)
    kind = Kind(dtype=check_dtype(dtype), device=torch.device("cpu"))
    pair, _, _, _ = prepare_pair(moving, fixed, None, None, None, None, contrast, kind)
    if len(pair.fixed_size) != 2:
        raise ShapeError("`fixed` must be an image (row, column): the steps of volumes are not shown.", "fixed")
    plan = PLANS[2]
    attempt, scale = plan.first, plan.scale(pair)
    descriptor = descriptor_of(pair, attempt)
    assert isinstance(descriptor, PlanarDescriptor)
    sizes = [coarser(size, scale) for size in (pair.fixed_size, pair.moving_size)]
    tokens = tokens_of(pair, scale, descriptor)
    matches = descriptor.match(*tokens, attempt.sharpness)
    # the name that the search has for a deformable map
    kind_of_map = "dense" if transform == "deformable" else transform
    linear, voted, votes = propose(pair, plan, scale, kind_of_map, attempt, matches)
    found = check(pair, plan, scale, kind_of_map, attempt, linear)
    shown = int(matches.weight.argmax()) if token is None else check_integer(token, "token", 0, len(matches.weight) - 1)
    return {
        **{
            name: {
                "lifted": as_numpy(lift(descriptor.encoder, *part)[0]),
                "tokens": list(each.size),
                "positions": as_numpy(each.positions),
                "strength": as_numpy(each.strength),
            }
            for name, part, each in zip(("fixed", "moving"), averaged(pair, sizes), tokens, strict=True)
        },
        "attention": _attention(*tokens, shown, attempt.sharpness),
        "matches": {
            "fixed": as_numpy(matches.fixed),
            "moving": as_numpy(matches.moving),
            "rotation": as_numpy(torch.atan2(matches.rotation[:, 1, 0], matches.rotation[:, 0, 0])),
            "weight": as_numpy(matches.weight),
        },
        "hypotheses": [
            {
                "similarity": as_numpy(similarity.double()),
                "votes": float(vote),
                "affine": as_numpy(affine.double()),
                "confidence": float(score),
            }
            for similarity, vote, affine, score in zip(voted, votes, linear, found.scores, strict=True)
        ],
    }


def _attention(fixed: Tokens, moving: Tokens, token: int, sharpness: float) -> dict[str, Any]:
    query = fixed.features[token : token + 1, 0]
    scores = torch.cat([pose_score(query, moving, pose) for pose in range(moving.features.shape[1])])
    weights = torch.softmax(sharpness * scores.amax(0), 0)
    return {
        "token": token,
        "position": as_numpy(fixed.positions[token]),
        "scores": as_numpy(scores.unflatten(1, tuple(moving.size))),
        "weights": as_numpy(weights.reshape(tuple(moving.size))),
    }

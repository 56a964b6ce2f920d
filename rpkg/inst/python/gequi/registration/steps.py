"""The intermediate results of a registration, for inspection."""

from __future__ import annotations

from typing import Any

import torch

from ..arrays import as_numpy, check_choice, check_dtype, check_index
from ..geometry.grids import Kind
from .candidates import fit_candidates
from .descriptors import CONTRASTS, Descriptor, Matches, Tokens, lift
from .preprocess import Pair, prepare_pair
from .presets import preset_for
from .register import TRANSFORMS
from .search import Found, averaged, descriptor_factory, tokens_of, usual_sizes, verify


def registration_steps(
    moving: Any,
    fixed: Any,
    token: int | None = None,
    transform: str = "deformable",
    contrast: str = "same",
    dtype: str = "float32",
) -> dict[str, Any]:
    """Return the features, attention, matches and hypotheses that `register_images()` computes in its first attempt.

    Args:
        moving, fixed: array (row, column) or (depth, row, column): two grayscale images or volumes, as in
            `register_images()`.
        token: int: the token of `fixed` whose attention is returned, from 0, in row-major order. None uses the token
            whose match has the largest weight.
        transform, contrast, dtype: as in `register_images()`.

    Returns:
        a dict. Below, `*size` is (row, column) for images and (depth, row, column) for volumes.

        `fixed` and `moving`: for each image, a dict of `lifted` (channel, *size), the output of the first layer of the
        encoder (for an image the edge responses in 16 directions, or 8 unsigned directions for contrast "any"; for a
        volume one channel, the locally normalized volume, or its absolute value for contrast "any"); `tokens`, the
        number of tokens per axis; `positions` (token, axis), in pixels from 0; and `strength` (token).

        `attention`: for one token of `fixed`, a dict of its number `token`; its `position` (axis); `scores` (pose,
        *size), the similarity to each token of `moving` in each pose, from -1 to 1, with 16 poses for an image and 216
        for a volume; and `weights` (*size), the softmax of the scaled maximum of the scores over the poses.

        `matches`: a dict of `token` (match), the numbers of the matched tokens of `fixed` (for a volume, the 500
        strongest); `fixed` and `moving` (match, axis), the positions of the token and of its match; `rotation`, for
        images (match) the angle in radians from rows to columns, for volumes (match, axis, axis) the rotation matrix on
        the axes (depth, row, column); and `weight` (match).

        `hypotheses`: a list of dicts in decreasing order of votes: `similarity` (axis, axis + 1), on which matches
        agree; `votes`, the sum of their weights; `affine` (axis, axis + 1), the fitted linear map (restricted to the
        kind of "similarity" and "rigid"); and `score`, the correlation of the images under the map after a few steps.

    Raises:
        ShapeError, InputError: the errors of `register_images()`, or a token that does not exist.

    Source:
        see `register_images()`.

    Example:
        >>> from gequi import sample_image
        >>> image = sample_image("cat")[50:178, 150:278]
        >>> steps = registration_steps(image.T[::-1], image)  # turned by a quarter
        >>> steps["attention"]["scores"].shape, int(steps["attention"]["scores"].max((1, 2)).argmax())
        ((16, 32, 32), 4)
        >>> [round(hypothesis["score"], 2) for hypothesis in steps["hypotheses"]][:1]
        [1.0]
    """
    check_choice(transform, "transform", TRANSFORMS)
    check_choice(contrast, "contrast", CONTRASTS)
    kind = Kind(dtype=check_dtype(dtype), device=torch.device("cpu"))
    pair, _, _, _ = prepare_pair(moving, fixed, None, None, None, None, contrast, kind)
    preset = preset_for(pair.axes)
    attempt, scale = preset.first, preset.scale(pair.fixed_size, pair.moving_size)
    descriptor = descriptor_factory(pair)(attempt)
    tokens = tokens_of(pair, descriptor)
    if token is not None:
        token = check_index(token, "token", len(tokens[0].positions))
    matches = descriptor.match(*tokens, attempt.sharpness)
    linear, voted, votes = fit_candidates(matches, pair.fixed_size, transform, attempt.candidates, preset, scale)
    found = verify(pair, transform, linear, attempt.steps)
    shown = int(matches.token[matches.weight.argmax()]) if token is None else token
    return {
        **_images(pair, descriptor, tokens),
        "attention": _attention(descriptor, tokens, shown, attempt.sharpness),
        "matches": _matches(matches),
        "hypotheses": _hypotheses(voted, votes, linear, found),
    }


def _images(pair: Pair, descriptor: Descriptor, tokens: tuple[Tokens, Tokens]) -> dict[str, dict[str, Any]]:
    """Return the output of the first layer and the tokens of the fixed and the moving image."""
    parts = averaged(pair, usual_sizes(pair))
    return {
        name: {
            "lifted": as_numpy(lift(descriptor.encoder, *part)[0]),
            "tokens": list(each.size),
            "positions": as_numpy(each.positions),
            "strength": as_numpy(each.strength),
        }
        for name, part, each in zip(("fixed", "moving"), parts, tokens, strict=True)
    }


def _attention(descriptor: Descriptor, tokens: tuple[Tokens, Tokens], token: int, sharpness: float) -> dict[str, Any]:
    fixed, moving = tokens
    scores = descriptor.scores(fixed, token, moving)
    weights = torch.softmax(sharpness * scores.amax(0), 0)
    return {
        "token": token,
        "position": as_numpy(fixed.positions[token]),
        "scores": as_numpy(scores.unflatten(1, tuple(moving.size))),
        "weights": as_numpy(weights.reshape(tuple(moving.size))),
    }


def _matches(matches: Matches) -> dict[str, Any]:
    rotation = matches.rotation
    if rotation.shape[-1] == 2:
        rotation = torch.atan2(rotation[:, 1, 0], rotation[:, 0, 0])
    return {
        "token": as_numpy(matches.token),
        "fixed": as_numpy(matches.fixed),
        "moving": as_numpy(matches.moving),
        "rotation": as_numpy(rotation),
        "weight": as_numpy(matches.weight),
    }


def _hypotheses(voted: torch.Tensor, votes: torch.Tensor, linear: torch.Tensor, found: Found) -> list[dict[str, Any]]:
    return [
        {
            "similarity": as_numpy(similarity.double()),
            "votes": float(vote),
            "affine": as_numpy(affine.double()),
            "score": float(score),
        }
        for similarity, vote, affine, score in zip(voted, votes, linear, found.scores, strict=True)
    ]

"""Encoders for registration: the designed one, and one that is trained on a user's own images."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from typing import Any, cast

import numpy as np

from ..arrays import as_array, check_choice, check_integer, check_number
from ..errors import InputError, ShapeError
from ..groups import gspace
from ..networks import (
    EquivariantNetwork,
    choose_seed,
    copy_network,
    equivariant_network,
    get_weights,
    plan_network,
    set_weights,
)
from .descriptors.designed import POSES, designed, designed_layers

CONTRASTS = ("same", "any")
READY = {"multimodal": "registration_multimodal.safetensors"}  # made by tests/benchmarks/encoder.py

SMALLEST = 48  # pixels along a side of an image to learn from
EPOCH = 50  # steps to a row of the history
LEARNED_RINGS = ((0.0, 2.0), (4.0, 2.0), (8.0, 3.0), (14.0, 4.5), (20.0, 6.0))
HIDDEN = 32  # regular fields inside the learned part


def registration_encoder(
    images: Any = None,
    contrast: str = "same",
    steps: int = 600,
    minutes: float = 10.0,
    learning_rate: float = 1e-3,
    seed: int | None = None,
    device: str = "auto",
    progress: Callable[[dict[str, Any]], Any] | None = None,
) -> EquivariantNetwork:
    """What describes an image at each token in each pose: the designed encoder, a trained one, or one that you train.

    An encoder is an equivariant network from one trivial field to regular fields of the rotations C_16 of the plane, a
    token every 4 pixels, in escnn's order: the features of a token in pose g are its regular fields rolled by g. It
    takes images between 0 and 1, of about 128 pixels along a side.

    The designed one is what `register_images()` uses by itself. Its first layer, `oriented_gradients`, lifts the image
    to the directions of its edges; its second, `ring_descriptor`, reads these on rings about each token. In the trained
    one, on more rings, two pointwise convolutions are learned on top, from pairs that are made of `images`: parts of an
    image, the same parts turned by any angle and warped, each with brightness, contrast, noise and sharpness of its
    own, for contrast "any" also through random intensity curves, as edges, and as a few labels.

    The law holds up to rounding for quarter turns; for the turns between, as far as a turned grid of tokens can be
    interpolated.

    Args:
        images: a list of at least one image (row, column) or (row, column, channel), whose channels show the same thing
            in several kinds of image, pixel on pixel; of at least 48 pixels along a side. None gives the designed
            encoder; "multimodal" one that was trained on pictures with contrast "any", and comes with gequi.
        contrast: "same", or "any" for images of another contrast, or another kind: see `register_images()`.
        steps: of training, 4 pairs each.
        minutes: after which the training ends early.
        learning_rate: the peak of its one-cycle schedule.
        seed: of the initial weights and of the pairs; None draws one.
        device: "cpu", "cuda", or "auto".
        progress: a function that is called with a dict about ten times a second; the training stops where it returns
            False.

    Returns:
        a network, as `equivariant_network()` makes it, that `register_images()` takes as its `encoder`. A trained one
        has a `history`, a dict for every 50 steps, as `fit()` returns it.

    Raises:
        ShapeError: images that are no images, or too small.
        InputError: a constant image; an option out of range; options of training without `images`.
        SetupError: lightning is not installed, which training needs.

    Source:
        SIFT (Lowe 2004) and DAISY (Tola, Lepetit and Fua 2010); InfoNCE (van den Oord, Li and Vinyals 2018).

    Example:
        >>> from gequi import equivariance_error, sample_image
        >>> encoder = registration_encoder()
        >>> [(len(fields), fields.gspace.fibergroup.name) for fields in (encoder.in_type, encoder.out_type)]
        [(1, 'C16'), (17, 'C16')]
        >>> image = sample_image("cat")[None, None, 100:164, 200:264]
        >>> rows = equivariance_error(encoder, image)
        >>> max(row["error"] for row in rows if row["exact"]) < 1e-4
        True
    """
    any_contrast = check_choice(contrast, "contrast", CONTRASTS) == "any"
    steps = check_integer(steps, "steps", minimum=1)
    minutes = check_number(minutes, "minutes", minimum=0)
    if images is None:
        return copy_network(designed(any_contrast))
    if isinstance(images, str):
        return _ready_encoder(images)
    return train(
        _check_images(images), any_contrast, steps, minutes, learning_rate, choose_seed(seed), device, progress
    )


def _ready_encoder(name: str) -> EquivariantNetwork:
    """An encoder that comes with gequi."""
    from ..saving import model_from_bytes

    file = READY[check_choice(name, "images", READY)]
    model = model_from_bytes((resources.files("gequi") / "data" / file).read_bytes(), f"the encoder {name!r}")
    return cast(EquivariantNetwork, model)


def _check_images(images: Any) -> list[np.ndarray]:
    """Images (row, column, channel)."""
    given = images if isinstance(images, list | tuple) else [images]
    checked = []
    for number, image in enumerate(given, start=1):
        array = as_array(image, "images", ndim=(2, 3), axes="(row, column) or (row, column, channel)")
        array = array[..., None] if array.ndim == 2 else array
        if min(array.shape[:2]) < SMALLEST:
            raise ShapeError(
                f"`images` must have at least {SMALLEST} pixels along each side; number {number} has the shape "
                f"{array.shape[:2]}.",
                "images",
            )
        if (array.min((0, 1)) == array.max((0, 1))).any():
            raise InputError(f"`images` must show something; number {number} is constant.", "images")
        checked.append(array)
    if not checked:
        raise InputError("`images` holds no image to learn from.", "images")
    return checked


def train(
    images: list[np.ndarray],
    any_contrast: bool,
    steps: int,
    minutes: float,
    learning_rate: float,
    seed: int,
    device: str,
    progress: Callable[[dict[str, Any]], Any] | None,
) -> EquivariantNetwork:
    """An encoder that has learned from images (row, column, channel), with its `history`."""
    from ..training import fit  # lightning and all, for those who train
    from .learning import AttentionLoss, Deadline, PairMaker

    layers = learned_layers(any_contrast)
    network = equivariant_network(gspace("rot2dOnR2", N=POSES), "trivial", layers, seed=seed)
    last = [name for name in get_weights(network) if name.endswith("weights")][-1]
    set_weights(network, {last: 0.1 * get_weights(network)[last]})  # it starts near the designed descriptor
    batches = min(steps, EPOCH)
    network.history = fit(
        network,
        PairMaker(images, network, any_contrast, seed),
        loss=AttentionLoss(network, seed),
        epochs=-(-steps // batches),
        batches=batches,
        learning_rate=learning_rate,
        schedule="one_cycle",
        seed=seed,
        device=device,
        progress=Deadline(minutes, progress),
    )
    return network


def history(network: EquivariantNetwork) -> list[dict[str, Any]]:
    """How the training of an encoder went."""
    return list(getattr(network, "history", []))


def learned_layers(any_contrast: bool) -> list[dict[str, Any]]:
    """The layers of an encoder to be trained: the designed ones, on more rings, and what is learned added to them."""
    before = designed_layers(any_contrast, LEARNED_RINGS)
    fields = len(plan_network(gspace("rot2dOnR2", N=POSES), "trivial", before).out_type)
    learned = [
        {"layer": "conv", "fields": {"regular": HIDDEN}, "kernel_size": 1},
        {"layer": "relu"},
        {"layer": "conv", "fields": {"regular": fields}, "kernel_size": 1},
    ]
    return [*before, {"layer": "residual", "layers": learned}]

"""Training of canonicalizers: networks that find the pose of an image, from images in one pose and nothing else.

A canonicalizer c returns one score per element of a finite group. Its prior is that an image of the training is in the
pose of the identity, so that g x is in the pose g. The prior regularizer is the cross-entropy of softmax(c(g x)) to it,
with random g. Angles between those of the group are shared by the two elements beside them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from .. import groups
from .._escnn import GSpace
from .._recipes import choose_seed
from ..arrays import as_array, as_numpy, check_integer, own_tensor
from ..errors import InputError, ShapeError
from ..fields import act, check_features
from ..geometry.rotations import rotation_matrix
from ..groups import check_gspace, gspace
from ..networks import EquivariantNetwork, copy_network, equivariant_network
from ..symmetry import check_canonicalizer, moved, neighbors, scores_of, smallest_turn
from ._seeds import generator_for
from .fitting import fit

ROTATIONS = 16  # of the default group: set by tests/benchmarks/any_angle.py, which compares 8 and 16
CHANNELS = (64, 80, 112)  # of the regular fields of the three convolutions of the default network
OPTIMIZER = {"optimizer": "adam", "weight_decay": 1e-3}


def fit_canonicalizer(
    x: Any,
    space: GSpace | None = None,
    network: EquivariantNetwork | None = None,
    epochs: int = 20,
    batch_size: int = 64,
    learning_rate: float = 8e-3,
    seed: int | None = None,
    device: str = "auto",
    progress: Callable[[dict[str, Any]], Any] | None = None,
) -> EquivariantNetwork:
    """Train a network that finds the pose of an image, from upright images.

    The network c returns one score per element of a finite group. It is trained with the prior regularizer: images are
    transformed by random elements g, in the plane also by angles between those of the group, and the loss is the
    cross-entropy of softmax(c(g x)) to g. No classes are required. `canonicalize()` uses the result.

    Args:
        x: array (batch, channel, row, column) or (batch, channel, depth, row, column): images in one pose, with sides of
            equal length.
        space: GSpace, optional: a gspace with a finite group, created by `gspace()`. None is that of `network`, or
            `rot2dOnR2` with N = 16 for images and `octaOnR3` for volumes.
        network: EquivariantNetwork, optional: a network whose output is one regular field without positions. A trained
            copy is returned. None creates three steerable convolutions.
        epochs: int: the number of passes over the images.
        batch_size: int: the number of images per batch.
        learning_rate: float: the maximum of the one-cycle schedule.
        seed: int, optional: the seed of the weights and transformations. None draws one.
        device: str: "cpu", "cuda" or "auto".
        progress: callable, optional: as in `fit()`.

    Returns:
        EquivariantNetwork: the trained network, with a `history` as from `fit()`.

    Raises:
        InputError: for a continuous group, or a network with another output.
        ShapeError: for images that do not match the network or whose sides differ.
        SetupError: if lightning or torchmetrics is not installed.

    Source:
        Mondal et al. (2023), Equivariant adaptation of large pretrained models, arXiv 2310.01647.

    Example:
        >>> import gequi, numpy as np
        >>> x = np.random.default_rng(0).normal(size=(8, 1, 9, 9)) + np.linspace(-1, 1, 9)
        >>> pose = fit_canonicalizer(x, gequi.gspace("rot2dOnR2", N=4), epochs=1, batch_size=4, seed=1)
        >>> gequi.predict(pose, x).shape
        (8, 4, 1, 1)
    """
    seed = choose_seed(seed)
    size = check_integer(batch_size, "batch_size", minimum=1)
    if network is None:
        array = as_array(x, "x", ndim=(4, 5), axes="(batch, channel, row, column)")
        network = _default_network(array.shape, space, seed)
    else:
        network = copy_network(check_canonicalizer(network, "network"))
        if space is not None and check_gspace(space) != network.space:
            raise InputError("`{argument}` is declared by the network; leave it out.", "space")
        array = check_features(x, network.in_type)
    if len(set(array.shape[2:])) > 1:
        raise ShapeError(
            "`{argument}` must be square, so that it can be turned; got {size}.", "x", size=array.shape[2:]
        )
    makes = _Batches(array, network, min(size, len(array)), seed)
    network.history = fit(
        network, makes, loss=prior_loss, epochs=epochs, batch_size=makes.size, batches=makes.count,
        learning_rate=learning_rate, optimizer=OPTIMIZER, schedule="one_cycle", seed=seed, device=device, progress=progress,
    )  # fmt: skip
    return network.eval()


def prior_loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Compute the cross-entropy of scores (batch, element) to the probabilities of the prior."""
    return -(target.to(output) * scores_of(output).log_softmax(1)).sum(1).mean()


class _Batches:
    """The batches of a training by their number: images moved by random elements, and the probabilities of elements."""

    def __init__(self, x: np.ndarray, network: EquivariantNetwork, size: int, seed: int) -> None:
        self.x, self.size, self.count, self.seed = x, size, len(x) // size, seed
        self.fields, self.members = network.in_type, groups.elements(network.space)
        self.step = smallest_turn(network.space)
        plain = all(each.is_trivial() for each in self.fields.representations)
        self.between = plain and self.step < math.pi - 1e-9
        if self.between:
            self.after = neighbors(network.space)[1]
            self.matrices = torch.tensor(np.stack([groups.base_matrix(network.space, g) for g in self.members]))

    def __call__(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        epoch, place = divmod(number, self.count)
        order = torch.randperm(len(self.x), generator=generator_for(self.seed, "order", epoch)).numpy()
        x = self.x[order[place * self.size : (place + 1) * self.size]]
        generator = generator_for(self.seed, "augment", number)
        drawn = torch.randint(len(self.members), (len(x),), generator=generator)
        target = torch.zeros(len(x), len(self.members), dtype=torch.float64)
        if not self.between:
            parts = [act(one[None], self.fields, self.members[int(k)]) for one, k in zip(x, drawn, strict=True)]
            return np.concatenate(parts), as_numpy(target.scatter(1, drawn[:, None], 1.0))
        part = torch.rand(len(x), generator=generator, dtype=torch.float64)
        target.scatter_(1, drawn[:, None], (1 - part)[:, None])
        target.scatter_(1, self.after[drawn][:, None], part[:, None])
        turned = moved(own_tensor(x, torch.float64), rotation_matrix(self.step * part) @ self.matrices[drawn])
        return as_numpy(turned), as_numpy(target)


def _default_network(shape: tuple[int, ...], space: GSpace | None, seed: int) -> EquivariantNetwork:
    """Create three steerable convolutions with pooling between them, which is symmetric for every size."""
    if space is None:
        space = gspace("rot2dOnR2", N=ROTATIONS) if len(shape) == 4 else gspace("octaOnR3")
    order = check_gspace(space).fibergroup.order()
    if order < 2:
        raise InputError(
            "`{argument}` must have a finite group, of at least 2 elements; {group} has not.", "space", group=str(space)
        )
    kernel, side = (5, shape[2]) if space.dimensionality == 2 else (3, shape[2])
    layers: list[dict[str, Any]] = [{"layer": "mask", "margin": 1}] if side > kernel + 4 else []
    for channels in CHANNELS:
        fields = {"regular": max(1, channels // order)}
        layers.append({"layer": "conv", "fields": fields, "kernel_size": kernel, "padding": kernel // 2, "bias": False})
        layers += [{"layer": "batch_norm"}, {"layer": "relu"}]
        if side > 2 * kernel:
            layers.append(
                {"layer": "avg_pool", **({"antialiased": True} if side % 2 else {"kernel_size": 2}), "stride": 2}
            )
            side = (side + 1) // 2
    layers += [{"layer": "conv", "fields": {"regular": 1}, "kernel_size": 1}, {"layer": "global_avg_pool"}]
    return equivariant_network(space, {"trivial": shape[1]}, layers, seed=seed)

"""Networks of attention layers on point clouds instead of pixel grids."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from .. import group_attention  # noqa: F401  its kinds of layers become known
from ..arrays import as_array, as_numpy, own_tensor
from ..errors import InputError, ShapeError
from ..fields import show_fields
from ..layers import Step, Window
from ..layers.points import existing_points, points_in_place_of_pixels
from ..networks import EquivariantNetwork, check_network, check_output, evaluating, with_dtype

# Layers that need no grid: they act on each point, or average over all points.
_WITHOUT_GRID = {
    "batch_norm", "dense", "dropout", "elu", "field_dropout", "flatten", "fourier_elu", "gated_nonlinearity",
    "global_avg_pool", "group_attention", "group_attention_block", "group_pool", "leaky_relu", "lifting_attention",
    "linear", "norm_nonlinearity", "norm_pool", "posewise_attention", "posewise_attention_block", "relu", "residual", "restrict",
    "token_norm",
}  # fmt: skip
_LINEAR = {"conv", "patch_embedding", "patch_expansion", "patch_merging"}  # without a grid if their window is one pixel


def predict_points(
    network: EquivariantNetwork, x: Any, points: Any, mask: Any = None, dtype: str | None = None
) -> np.ndarray:
    """Predict with a network of attention layers on points with coordinates.

    Points can be rotated by any angle without interpolation, so equivariance is exact for every group element. For
    trivial input fields, predict(x, g points) = rho(g) predict(x, points).

    Args:
        network: a network from `equivariant_network()` or `gsa_network()`, of attention layers without a window and of
            layers that act on each point or average over all points.
        x: array (batch, channel, point): the features.
        points: array (point, axis) or (batch, point, axis): the coordinates (x, y), or (x, y, z) in space: x to the
            right, y up, z towards the viewer, in units of the pixel distance.
        mask: array (batch, point) of bool: True where a point exists, for examples with different numbers of points. The
            others are filled up, with any values. They change neither the existing points nor the mean over all points,
            and their own output is 0. None is all points.
        dtype: str: "float32" or "float64". None uses the type of the network.

    Returns:
        an array (batch, channel, point), or (batch, channel) if the network averages over all points.

    Raises:
        InputError: a layer that requires a grid; the message names it.
        ShapeError: channels, points or a mask that do not match.

    Source:
        Romero and Cordonnier (2021), Group equivariant stand-alone self-attention for vision, arXiv 2010.00977.

    Example:
        >>> import gequi
        >>> net = gequi.equivariant_network(gequi.gspace("rot2dOnR2", N=8), "trivial", seed=1, layers=[
        ...     {"layer": "lifting_attention", "fields": {"regular": 2}}])
        >>> predict_points(net, np.ones((1, 1, 5)), np.eye(5, 2)).shape
        (1, 16, 5)
    """
    network = check_network(network)
    network = network if dtype is None else with_dtype(network, dtype)
    _need_no_grid(network.steps)
    features = as_array(x, "x", ndim=3, axes="(batch, channel, point)", finite=mask is None)
    if features.shape[1] != network.in_type.size:
        raise ShapeError(
            "`{argument}` must have {size} on its axis 'channel' ({fields}); got {channels}, shape {shape}.",
            "x", size=network.in_type.size, fields=show_fields(network.in_type), channels=features.shape[1],
            shape=features.shape,
        )  # fmt: skip
    exists = None if mask is None else _check_mask(mask, features)
    if exists is not None:
        features = as_array(np.where(exists[:, None], features, 0), "x")
    coordinates = _check_points(points, network.space.dimensionality, features, exists)
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    given = None if exists is None else torch.from_numpy(exists).to(device)
    tokens = (
        points_in_place_of_pixels.set(own_tensor(coordinates, torch.float64, argument="points").to(device)),
        existing_points.set(given),
    )
    try:
        with evaluating(network), torch.no_grad():
            tensor = own_tensor(features, network.dtype, argument="x").to(device)
            out = network(tensor.reshape(*features.shape, *[1] * (network.space.dimensionality - 1)))
    finally:
        points_in_place_of_pixels.reset(tokens[0])
        existing_points.reset(tokens[1])
    if given is not None and out.ndim > 2 and out.shape[2] == given.shape[1]:
        out = torch.where(given.view(len(given), 1, -1, *[1] * (out.ndim - 3)), out, 0)
    return check_output(as_numpy(out.flatten(2) if out.ndim > 2 else out), network)


def _check_mask(mask: Any, features: np.ndarray) -> np.ndarray:
    """Return the mask as an array (batch, point) of bool. Each example needs a point."""
    exists = as_array(mask, "mask", ndim=2, axes="(batch, point)", flags=True)
    batch, _, count = features.shape
    if exists.shape != (batch, count):
        raise ShapeError(
            "`{argument}` must have the shape (batch, point) = {wanted}, as `{x:name}` has; got {shape}.",
            "mask", wanted=(batch, count), x="x", shape=exists.shape,
        )  # fmt: skip
    if not np.isin(exists, (0, 1)).all():
        raise InputError("`{argument}` must have the values {true!r} and {false!r}.", "mask", true=True, false=False)
    exists = np.array(exists, bool)
    if not exists.any(1).all():
        first = int(np.flatnonzero(~exists.any(1))[0])
        raise InputError("`{argument}` leaves no point of example {first:index}.", "mask", first=first)
    return exists


def _check_points(points: Any, axes: int, features: np.ndarray, exists: np.ndarray | None) -> np.ndarray:
    """Return the coordinates (batch or 1, point, axis); those of points that do not exist are 0."""
    if axes == 0:
        raise InputError(
            "`{argument}` works on vectors, which have no position: points need a plane or space.", "network"
        )
    wanted = f"(point, {axes}) or (batch, point, {axes})"
    coordinates = as_array(points, "points", ndim=(2, 3), axes=wanted, finite=exists is None)
    coordinates = coordinates[None] if coordinates.ndim == 2 else coordinates
    batch, _, count = features.shape
    if coordinates.shape not in ((1, count, axes), (batch, count, axes)):
        raise ShapeError(
            "`{argument}` must have the shape {one} or {several}, as `{x:name}` has {count} points in a batch of "
            "{batch}; got {shape}.",
            "points", one=(count, axes), several=(batch, count, axes), x="x", count=count, batch=batch, shape=np.shape(points),
        )  # fmt: skip
    if exists is None:
        return coordinates
    used = exists if len(coordinates) == batch else np.any(exists, axis=0, keepdims=True)
    return as_array(np.where(used[..., None], coordinates, 0), "points")


def _need_no_grid(steps: list[Step]) -> None:
    for step in steps:
        on_points = step.kind in _WITHOUT_GRID and step.window is None
        if not on_points and not (step.kind in _LINEAR and step.window == Window(1)):
            raise InputError(
                "{layer}: `{kind}` needs the grid of an image; points have none.",
                "network", layer=step.name, kind=step.kind,
            )  # fmt: skip
        for branch in step.branches:
            _need_no_grid(branch)

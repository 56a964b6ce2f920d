"""Inversion of a sampled function by attention, and registration of two curves.

A function f is given by samples (x_j, y_j = f(x_j)). Attention with the y_j as keys, the x_j as values and a new y as
query estimates f^-1(y). Two curves a and b are registered by the map Xi with a(Xi(t)) = b(t), the composition of a^-1
and b: attention with a as keys, the positions x as values and b as queries.

Equivariance: for deformations U and V of the two curves, Xi[a o U, b o V] = U^-1 o Xi[a, b] o V. This holds up to the
sampling for all U and V, and exactly if they permute the samples. An affine map of x transforms the result exactly.

Source: Greer 2023 (hgreer.com/Reports/Sep142023), the beginning of CARL (Greer et al. 2024, arXiv 2405.16738).
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.interpolate import CubicSpline

from ..arrays import (
    as_array,
    as_numpy,
    check_choice,
    check_dtype,
    check_flag,
    check_integer,
    check_magnitude,
    check_positive,
    check_result,
    own_tensor,
)
from ..attention import attend, attention_weights, check_products, generator_of
from ..errors import InputError, ShapeError

KERNELS = ("gaussian", "fourier")
PHASES = ("uniform", "conv")
_PUBLISHED = 59  # the standard deviation of the source's frequencies, for values between 0 and 1


def fourier_features(
    x: Any,
    features: int = 100,
    bandwidth: float = 1 / _PUBLISHED,
    phase: str = "uniform",
    seed: int | None = None,
    dtype: str = "float64",
) -> np.ndarray:
    """Compute random Fourier features sin(w . x + b) with normally distributed frequencies w and random phases b.

    With uniform phases, the inner product of the features of two points, divided by `features / 2`, approximates a
    Gaussian kernel, exp(-|x - y|^2 / (2 bandwidth^2)).

    Args:
        x: array (point) or (point, axis): the points.
        features: int: the number of features.
        bandwidth: float: the standard deviation of the kernel in the units of `x`. The frequencies have the standard
            deviation 1 / bandwidth. The default, 1/59, is the value of the source for points between 0 and 1.
        phase: str: "uniform" (on a full turn), or "conv", uniform on (-1, 1) / sqrt(axes), which the source obtained
            from the initialization of a torch convolution. With "conv", points near 0 are less well separated.
        seed: int: the seed of the frequencies and phases. The same seed gives the same features for every `x`. None
            uses a new seed.
        dtype: str: "float32" or "float64".

    Returns:
        an array (point, feature) with values from -1 to 1.

    Raises:
        InputError: an option out of range.

    Source:
        Rahimi & Recht 2007; Greer 2023 (hgreer.com/Reports/Sep142023).

    Example:
        >>> fourier_features([0.0, 0.5, 1.0], features=4, seed=1).shape
        (3, 4)
    """
    kind = check_dtype(dtype)
    points = _points(x, "x")
    wave = _waves(points.shape[1], features, bandwidth, phase, seed)
    return check_result(as_numpy(wave(own_tensor(points, torch.float64)).to(kind)), "x")


class _Waves:
    """Sine functions with random frequencies and phases."""

    def __init__(self, frequencies: torch.Tensor, phases: torch.Tensor) -> None:
        self.frequencies, self.phases = frequencies, phases

    def __call__(self, points: torch.Tensor) -> torch.Tensor:
        return torch.sin(points @ self.frequencies + self.phases)


def _waves(axes: int, features: object, bandwidth: object, phase: object, seed: object) -> _Waves:
    count = check_integer(features, "features", minimum=1)
    width = check_positive(bandwidth, "bandwidth")
    check_choice(phase, "phase", PHASES)
    generator = generator_of(seed)
    frequencies = torch.randn(axes, count, generator=generator, dtype=torch.float64) / width
    drawn = torch.rand(count, generator=generator, dtype=torch.float64)
    return _Waves(frequencies, 2 * math.pi * drawn if phase == "uniform" else (2 * drawn - 1) / math.sqrt(axes))


def invert_function(
    x: Any,
    y: Any,
    query: Any,
    kernel: str = "gaussian",
    bandwidth: float | None = None,
    temperature: float = 1.0,
    phase: str = "uniform",
    refine: int = 0,
    features: int = 100,
    seed: int | None = None,
    weights: bool = False,
    dtype: str = "float64",
) -> Any:
    """Invert a sampled function by attention: softmax(similarity(query, y)) x.

    If the function takes a value at several points, the result is their mean.

    Args:
        x: array (sample) or (sample, axis): the sample points.
        y: array (sample) or (sample, channel): the function values at `x`.
        query: array (query) or (query, channel): the values to invert.
        kernel: str: "gaussian", with the similarity -|query - y|^2 / (2 bandwidth^2), which uses no random numbers, or
            "fourier", with the dot product of `fourier_features()` as similarity, as in the source.
        bandwidth: float: for "gaussian", the standard deviation of the kernel in the units of `y`; None is 3/4 of the
            mean distance between neighboring samples. For "fourier", the bandwidth of `fourier_features()`; None is
            1/59 of the range of `y`, the value of the source for values between 0 and 1.
        temperature: float: the divisor of the similarity before the softmax.
        phase: str: the phase of the "fourier" features: "uniform" or "conv".
        refine: int: the number of Newton steps on the cubic spline through the samples, for one axis only. With one
            channel, a step uses the second derivative (Cauchy's form) and also converges at an extremum of the
            function, where a Newton step only halves the error. With several channels, it is a Gauss-Newton step.
            Results are limited to the range of `x`, extended by one step on each side, where the spline is
            extrapolated.
        features: int: the number of "fourier" features.
        seed: int: the seed of the "fourier" kernel. None uses a new seed.
        weights: bool: whether to also return the attention weights.
        dtype: str: "float32" or "float64".

    Returns:
        an array (query), or (query, axis) if `x` has axes. With `weights`, a dict of `output` and `weights` (query,
        sample), whose rows sum to 1.

    Raises:
        ShapeError: arrays that do not match.
        InputError: a constant function, or a refinement with several axes or repeated sample points.

    Source:
        Greer 2023 (hgreer.com/Reports/Sep142023). The Gaussian kernel is the limit for many features.

    Example:
        >>> x = np.linspace(0, 1, 101)
        >>> invert_function(x, x**2, [0.25, 0.49], refine=3).round(9).tolist()
        [0.5, 0.7]
    """
    samples = _check_samples({"x": x, "y": y, "query": query})
    return _invert(samples, kernel, bandwidth, temperature, phase, refine, features, seed, weights, dtype)


def register_curves(a: Any, b: Any, x: Any = None, **options: Any) -> Any:
    """Estimate the map Xi with a(Xi(t)) = b(t) that aligns two curves, by inverting `a` at the values `b`.

    Args:
        a: array (sample) or (sample, channel): the moving curve at `x`.
        b: array (point) or (point, channel): the fixed curve at any points.
        x: array (sample) or (sample, axis): the sample points of `a`. None is an equidistant grid from 0 to 1, both
            ends included.
        **options: the options of `invert_function()`: kernel, bandwidth, temperature, phase, refine, features, seed,
            weights, dtype.

    Returns:
        an array (point) or (point, axis): the position in `a` for each point of `b`. With `weights`, a dict as from
        `invert_function()`.

    Raises:
        ShapeError, InputError: the errors of `invert_function()`, for `a`, `b` and `x`.

    Source:
        Greer 2023 (hgreer.com/Reports/Sep142023).

    Example:
        >>> x = np.linspace(0, 1, 101)
        >>> register_curves(np.cos(x), np.cos(x**2), refine=3)[[25, 50]].round(9).tolist()
        [0.0625, 0.25]
    """
    if x is None:
        x = np.linspace(0, 1, len(_points(a, "a")))
    given = inspect.signature(invert_function).bind(x, a, b, **options)
    given.apply_defaults()
    kept = {name: value for name, value in given.arguments.items() if name not in ("x", "y", "query")}
    return _invert(_check_samples({"x": x, "a": a, "b": b}), **kept)


# ---- what they are made of ------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Samples:
    """A sampled function and the values to invert, as float64 points (point, axis)."""

    positions: np.ndarray
    values: np.ndarray
    asked: np.ndarray
    names: tuple[str, str, str]  # of the three, in messages
    step: float  # the mean distance of neighbouring values
    flat: bool  # whether the positions came as numbers, not as points


def _check_samples(arrays: Mapping[str, Any]) -> _Samples:
    """Check sample points, values and queries, in this order, under the argument names that messages use."""
    x, y, query = arrays
    positions, values, asked = (_points(array, name) for name, array in arrays.items())
    if len(values) != len(positions):
        template = "`{argument}` must have one value for each of the {wanted} samples `{x:name}`; got {given}."
        raise ShapeError(template, y, wanted=len(positions), x=x, given=len(values))
    if asked.shape[1] != values.shape[1]:
        template = "`{argument}` must have the channels of `{y:name}`, {wanted}; got {given}."
        raise ShapeError(template, query, y=y, wanted=values.shape[1], given=asked.shape[1])
    step = _mean_step(values, positions.shape[1], y)
    return _Samples(positions, values, asked, (x, y, query), step, np.ndim(arrays[x]) == 1)


def _invert(
    samples: _Samples, kernel: str, bandwidth: float | None, temperature: float, phase: str, refine: int, features: int,
    seed: int | None, weights: bool, dtype: str,
) -> Any:  # fmt: skip
    """Invert checked samples, see `invert_function()`."""
    kind = check_dtype(dtype)
    check_choice(kernel, "kernel", KERNELS)
    check_choice(phase, "phase", PHASES)
    steps = check_integer(refine, "refine", minimum=0)
    scale = 1 / check_positive(temperature, "temperature")
    positions, values, asked = samples.positions, samples.values, samples.asked
    x, y, query = samples.names
    if steps:
        _check_spline(positions, x)
    width = None if bandwidth is None else check_positive(bandwidth, "bandwidth")
    if kernel == "gaussian":
        tokens = _gaussian_tokens(samples, width or 0.75 * samples.step, kind)
    else:
        extent = float(np.linalg.norm(np.ptp(values, axis=0)))
        waves = _waves(values.shape[1], features, width or extent / _PUBLISHED, phase, seed)
        tokens = (waves(own_tensor(asked, torch.float64)).to(kind), waves(own_tensor(values, torch.float64)).to(kind))
    check_products(*tokens, scale, query, y)
    found = check_result(as_numpy(attend(*tokens, own_tensor(positions, kind, argument=x), scale)), x)
    if steps:
        start = found[:, 0].astype(np.float64)
        refined = _newton(positions[:, 0], values, asked, start, steps, x)
        found = check_result(refined[:, None].astype(found.dtype), query)
    output = found[:, 0] if samples.flat else found
    if not check_flag(weights, "weights"):
        return output
    return {"output": output, "weights": as_numpy(attention_weights(*tokens, scale))}


def _points(x: Any, argument: str) -> np.ndarray:
    """Convert numbers to float64 points (point, axis) in one memory order, so that sums are always rounded equally."""
    array = as_array(x, argument, ndim=(1, 2), axes="(point) or (point, axis)")
    return np.array(array[:, None] if array.ndim == 1 else array, dtype=np.float64, order="C")


def _mean_step(values: np.ndarray, axes: int, argument: str) -> float:
    """Return the mean distance between neighboring values, as if the samples were a grid with this number of axes."""
    check_magnitude(values, argument, torch.float64)
    extent = float(np.linalg.norm(np.ptp(values, axis=0)))
    if extent == 0:
        template = "`{argument}` must take at least two different values: a constant function has no inverse."
        raise InputError(template, argument)
    return extent / math.sqrt(axes) / max(len(values) ** (1 / axes) - 1, 1)


def _gaussian_tokens(samples: _Samples, bandwidth: float, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Return queries and keys whose dot products are -|q - y|^2 / (2 bandwidth^2), up to a term of the query only.

    The softmax does not depend on that term, so |q|^2 is omitted: (q, 1) . (y, -|y|^2 / 2) suffices, and no distance
    matrix is stored.
    """
    _, y_name, query_name = samples.names
    centre = samples.values.mean(axis=0)
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused by its name
        q, y = ((points - centre) / bandwidth for points in (samples.asked, samples.values))
        keys = np.concatenate([y, -0.5 * (y**2).sum(axis=1, keepdims=True)], axis=1)
    queries = np.concatenate([q, np.ones((len(q), 1))], axis=1)
    of_keys = own_tensor(keys, dtype, argument=y_name)  # first: values that are too large make the queries so
    return own_tensor(queries, dtype, argument=query_name), of_keys


def _check_spline(positions: np.ndarray, argument: str) -> None:
    """Raise an error if no cubic spline runs through the sample points."""
    if positions.shape[1] != 1:
        template = "`{argument}` works along one axis, where a cubic spline runs through the samples; `x` has {axes}."
        raise InputError(template, "refine", axes=positions.shape[1])
    if len(np.unique(positions)) < len(positions):
        raise InputError("`{argument}` needs distinct positions in `x`; some occur twice.", "refine")
    check_magnitude(positions, argument, torch.float64)


def _newton(
    positions: np.ndarray, values: np.ndarray, asked: np.ndarray, start: np.ndarray, steps: int, argument: str
) -> np.ndarray:
    """Find the points where the cubic spline through the samples takes the values `asked`, by steps from `start`."""
    order = np.argsort(positions)
    knots = positions[order]
    try:
        with np.errstate(all="ignore"):
            spline = CubicSpline(knots, values[order])
    except ValueError:  # its slopes
        spline = None
    if spline is None or not np.isfinite(spline.c).all():
        template = "`{argument}` has positions too near each other: the spline through the samples is not finite."
        raise InputError(template, argument)
    low, high = 2 * knots[0] - knots[1], 2 * knots[-1] - knots[-2]  # a grid 0, 0.01, ..., 0.99 stands for 0 to 1
    at = np.clip(start, low, high)
    for _ in range(steps):
        residual, slope = spline(at) - asked, spline(at, 1)
        if values.shape[1] == 1:  # the nearest root of residual + slope t + curvature t^2 / 2
            residual, slope, curvature = residual[:, 0], slope[:, 0], spline(at, 2)[:, 0]
            root = np.sqrt(np.maximum(slope**2 - 2 * curvature * residual, 0))
            top, bottom = -2 * residual, slope + np.copysign(root, slope)
        else:
            top, bottom = -(slope * residual).sum(axis=1), (slope**2).sum(axis=1)
        at = np.clip(at + np.divide(top, bottom, out=np.zeros_like(at), where=bottom != 0), low, high)
    return at

"""Inverting a sampled function by attention, and registering two curves with that.

A function is known by its samples (x_j, y_j = f(x_j)). Attention with the y_j as keys and the x_j as values, asked
with a new y as the query, answers f^-1(y). Two curves a and b are registered by the map Xi with a(Xi(t)) = b(t),
which is a^-1 after b: attention with a as keys, the positions x as values and b as queries.

The law. For deformations U and V of the two curves, Xi[a o U, b o V] = U^-1 o Xi[a, b] o V: up to the sampling for
any U and V, and exactly where they permute the samples; an affine map of x goes through unchanged.

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
    check_positive,
    own_tensor,
)
from ..attention import attend, attention_weights, generator_of
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
    """Random sines: sin(w . x + b) with normal frequencies w and random phases b.

    The products of two points' features, summed and divided by features / 2, are in the mean a Gaussian kernel,
    exp(-|x - y|^2 / (2 bandwidth^2)), where the phases are uniform.

    Args:
        x: points (point) or (point, axis).
        features: how many.
        bandwidth: standard deviation of the kernel, in the units of `x`; the frequencies have the standard deviation
            1 / bandwidth. The default, 1/59, is the source's, for values between 0 and 1.
        phase: "uniform" on a whole turn, or "conv": uniform on (-1, 1) / sqrt(axes), as the source had it from
            torch's convolution; then points near 0 are told apart less well.
        seed: of frequencies and phases; None is fresh. The same seed gives the same features for every `x`.
        dtype: "float32" or "float64".

    Returns:
        (point, feature), between -1 and 1.

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
    return as_numpy(wave(own_tensor(points, torch.float64)).to(kind))


class _Waves:
    """Sines of drawn frequencies and phases."""

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
    """The inverse of a sampled function, by attention: softmax(similarity(query, y)) x.

    Where the function takes a value at several positions, the answer is the mean of them.

    Args:
        x: where the function was sampled: (sample) or (sample, axis).
        y: its values there: (sample) or (sample, channel).
        query: values whose positions are asked for: (query) or (query, channel).
        kernel: "gaussian": the similarity is -|query - y|^2 / (2 bandwidth^2), without any random number.
            "fourier": the dot product of `fourier_features()`, the source's own.
        bandwidth: for "gaussian" the standard deviation of the kernel in the units of `y`; None is 3/4 of the mean
            step between neighbouring samples. For "fourier" that of `fourier_features()`; None is 1/59 of the
            range of `y`, the source's for values between 0 and 1.
        temperature: what the similarity is divided by before the softmax.
        phase: of the "fourier" features: "uniform" or the source's "conv".
        refine: number of Newton steps that follow, on the cubic spline through the samples (one axis only). With one
            channel a step keeps the second derivative (Cauchy's form), so that it converges at an extremum of the
            function too, where Newton's own only halves the error; with several it is Gauss-Newton's. Answers stay
            within the range of `x` and one step of it beyond, where the spline is continued.
        features: of the "fourier" kernel, how many.
        seed: of the "fourier" kernel; None is fresh.
        weights: also return the attention weights.
        dtype: "float32" or "float64".

    Returns:
        (query) or (query, axis), as `x` has axes; with `weights`, a dict: `output` and `weights` (query, sample),
        whose rows sum to 1.

    Raises:
        ShapeError: arrays that do not fit each other.
        InputError: a function that is constant, or a refinement on several axes or of positions given twice.

    Source:
        Greer 2023 (hgreer.com/Reports/Sep142023). The Gaussian kernel is the limit of its features in number.

    Example:
        >>> x = np.linspace(0, 1, 101)
        >>> invert_function(x, x**2, [0.25, 0.49], refine=3).round(9).tolist()
        [0.5, 0.7]
    """
    samples = _check_samples({"x": x, "y": y, "query": query})
    return _invert(samples, kernel, bandwidth, temperature, phase, refine, features, seed, weights, dtype)


def register_curves(a: Any, b: Any, x: Any = None, **options: Any) -> Any:
    """The map Xi that registers two curves, a(Xi(t)) = b(t), by attention: the inverse of `a`, asked with `b`.

    Args:
        a: the moving curve at `x`: (sample) or (sample, channel).
        b: the fixed curve, wherever it was sampled: (point) or (point, channel).
        x: positions of the samples of `a`: (sample) or (sample, axis); None is from 0 to 1 in equal steps, both ends
            included.
        **options: those of `invert_function()`: kernel, bandwidth, temperature, phase, refine, features, seed,
            weights, dtype.

    Returns:
        the position in `a` of each point of `b`: (point) or (point, axis); with `weights`, a dict as
        `invert_function()` gives it.

    Raises:
        ShapeError, InputError: as `invert_function()`, of `a`, `b` and `x`.

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
    """A sampled function and the values whose positions are asked for, as float64 points (point, axis)."""

    positions: np.ndarray
    values: np.ndarray
    asked: np.ndarray
    step: float  # the mean distance of neighbouring values
    flat: bool  # whether the positions came as numbers, not as points


def _check_samples(arrays: Mapping[str, Any]) -> _Samples:
    """Positions, values and queries, in this order, under the names that messages use."""
    x, y, query = arrays
    positions, values, asked = (_points(array, name) for name, array in arrays.items())
    if len(values) != len(positions):
        template = "`{argument}` must have one value for each of the {wanted} samples `{x:name}`; got {given}."
        raise ShapeError(template, y, wanted=len(positions), x=x, given=len(values))
    if asked.shape[1] != values.shape[1]:
        template = "`{argument}` must have the channels of `{y:name}`, {wanted}; got {given}."
        raise ShapeError(template, query, y=y, wanted=values.shape[1], given=asked.shape[1])
    step = _mean_step(values, positions.shape[1], y)
    return _Samples(positions, values, asked, step, np.ndim(arrays[x]) == 1)


def _invert(
    samples: _Samples, kernel: str, bandwidth: float | None, temperature: float, phase: str, refine: int, features: int,
    seed: int | None, weights: bool, dtype: str,
) -> Any:  # fmt: skip
    """`invert_function()` of samples that are checked."""
    kind = check_dtype(dtype)
    check_choice(kernel, "kernel", KERNELS)
    check_choice(phase, "phase", PHASES)
    steps = check_integer(refine, "refine", minimum=0)
    scale = 1 / check_positive(temperature, "temperature")
    positions, values, asked = samples.positions, samples.values, samples.asked
    if steps:
        _check_spline(positions)
    width = None if bandwidth is None else check_positive(bandwidth, "bandwidth")
    if kernel == "gaussian":
        tokens = _gaussian_tokens(asked, values, width or 0.75 * samples.step, kind)
    else:
        extent = float(np.linalg.norm(np.ptp(values, axis=0)))
        waves = _waves(values.shape[1], features, width or extent / _PUBLISHED, phase, seed)
        tokens = (waves(own_tensor(asked, torch.float64)).to(kind), waves(own_tensor(values, torch.float64)).to(kind))
    found = as_numpy(attend(*tokens, own_tensor(positions, kind), scale))
    if steps:
        start = found[:, 0].astype(np.float64)
        found = _newton(positions[:, 0], values, asked, start, steps)[:, None].astype(found.dtype)
    output = found[:, 0] if samples.flat else found
    if not check_flag(weights, "weights"):
        return output
    return {"output": output, "weights": as_numpy(attention_weights(*tokens, scale))}


def _points(x: Any, argument: str) -> np.ndarray:
    """Numbers as float64 points (point, axis), in one order in memory: sums in another round otherwise."""
    array = as_array(x, argument, ndim=(1, 2), axes="(point) or (point, axis)")
    return np.array(array[:, None] if array.ndim == 1 else array, dtype=np.float64, order="C")


def _mean_step(values: np.ndarray, axes: int, argument: str) -> float:
    """The mean distance of neighbouring values, as if the samples lay on a grid with so many axes."""
    extent = float(np.linalg.norm(np.ptp(values, axis=0)))
    if extent == 0:
        template = "`{argument}` must take at least two different values: a constant function has no inverse."
        raise InputError(template, argument)
    return extent / math.sqrt(axes) / max(len(values) ** (1 / axes) - 1, 1)


def _gaussian_tokens(
    asked: np.ndarray, values: np.ndarray, bandwidth: float, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    """Queries and keys whose dot products are -|q - y|^2 / (2 bandwidth^2), up to a term of the query alone.

    The softmax does not see that term, so |q|^2 is left out: (q, 1) . (y, -|y|^2 / 2) is all that is needed, and no
    matrix of distances is ever held.
    """
    centre = values.mean(axis=0)
    q, y = ((points - centre) / bandwidth for points in (asked, values))
    keys = np.concatenate([y, -0.5 * (y**2).sum(axis=1, keepdims=True)], axis=1)
    queries = np.concatenate([q, np.ones((len(q), 1))], axis=1)
    return own_tensor(queries, dtype), own_tensor(keys, dtype)


def _check_spline(positions: np.ndarray) -> None:
    """Refuses positions through which no cubic spline runs."""
    if positions.shape[1] != 1:
        template = "`{argument}` works along one axis, where a cubic spline runs through the samples; `x` has {axes}."
        raise InputError(template, "refine", axes=positions.shape[1])
    if len(np.unique(positions)) < len(positions):
        raise InputError("`{argument}` needs each position in `x` once; some are given twice.", "refine")


def _newton(positions: np.ndarray, values: np.ndarray, asked: np.ndarray, start: np.ndarray, steps: int) -> np.ndarray:
    """The position where the cubic spline through the samples takes the value asked for, by steps from `start`."""
    order = np.argsort(positions)
    knots = positions[order]
    spline = CubicSpline(knots, values[order])
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

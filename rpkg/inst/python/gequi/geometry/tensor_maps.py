"""Dense maps as tensors: values between pixels, derivatives and inverses."""

from __future__ import annotations

import torch

from .linalg import solve, vector_norm
from .sampling import POINTS_AT_ONCE, grid_sample, sample_with_slopes


def sample_map(map: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Sample a map (1 or batch, axis, *shape) at points (batch, axis, *out), or extrapolate it linearly.

    Quarter turns agree up to rounding; `warp_image()` samples images so that they agree in every bit.
    """
    shape = map.shape[2:]
    nearest = torch.stack([p.clamp(0, size - 1) for p, size in zip(points.unbind(1), shape, strict=True)], 1)
    beyond = points - nearest
    if not bool(beyond.any()):
        return grid_sample(map, points)
    onward = torch.einsum("bij,bj...->bi...", mean_linear(map).expand(len(points), -1, -1), beyond)
    return grid_sample(map, nearest) + onward


def mean_linear(map: torch.Tensor) -> torch.Tensor:
    """Return the mean derivative (batch, axis, axis) of maps (batch, axis, *shape); along 1 pixel, the identity."""
    axes = map.shape[1]
    columns = []
    for j, size in enumerate(map.shape[2:]):
        ends = map.select(j + 2, size - 1) - map.select(j + 2, 0)
        unit = torch.eye(axes, dtype=map.dtype, device=map.device)[j].expand(len(map), -1)
        columns.append(ends.flatten(2).mean(-1) / (size - 1) if size > 1 else unit)
    return torch.stack(columns, -1)


def jacobian_matrix(map: torch.Tensor) -> torch.Tensor:
    """Return the derivatives (axis, axis, *shape) of a map (axis, *shape)."""
    return torch.stack([torch.stack(torch.gradient(part)) for part in map])


def inverse_points(map: torch.Tensor, points: torch.Tensor, steps: int = 50) -> tuple[torch.Tensor, torch.Tensor]:
    """Find where a map (axis, *shape) takes the values `points` (axis, point), and the remaining distances (point).

    The method is Newton's, starting from the mean linear map. A step that does not reduce the distance of a point is
    halved. The map has at least 2 pixels along each axis.
    """
    axes = len(map)
    linear = mean_linear(map[None])[0]
    centre = (torch.tensor(map.shape[1:], dtype=map.dtype, device=map.device) - 1) / 2
    middle = map.reshape(axes, -1).mean(1)
    singular = bool(torch.linalg.matrix_rank(linear, rtol=1e-6) < axes)  # a mean of 0 is 0 up to rounding only
    start = torch.eye(axes, dtype=map.dtype, device=map.device) if singular else linear
    x = torch.linalg.solve(start, points - middle[:, None]) + centre[:, None]
    blocks = [
        _newton(map, *part, linear, steps)
        for part in zip(points.split(POINTS_AT_ONCE, 1), x.split(POINTS_AT_ONCE, 1), strict=True)
    ]
    found, distance = zip(*blocks, strict=True)
    return torch.cat(found, 1), torch.cat(distance)


def _newton(
    map: torch.Tensor, points: torch.Tensor, x: torch.Tensor, linear: torch.Tensor, steps: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the result of `inverse_points()` for a few points, with Newton's method from `x`.

    The derivative is that of the interpolated map itself. A point that is found takes no part in further steps.
    """
    rest, slope = _rest_and_slope(map, points, x, linear)
    distance, stride = vector_norm(rest, 0), torch.ones_like(x[0])
    found, remaining = x.clone(), distance.clone()
    active = torch.arange(points.shape[1])
    for _ in range(steps):
        going = distance >= 1e-10
        if not bool(going.all()):
            active, distance, stride = active[going], distance[going], stride[going]
            points, x, rest, slope = points[:, going], x[:, going], rest[:, going], slope[..., going]
        if not len(active):
            break
        trial = x + stride * solve(slope, rest)
        left, onward = _rest_and_slope(map, points, trial, linear)
        away = vector_norm(left, 0)
        better = away < distance
        x, rest, slope = (torch.where(better, new, old) for new, old in ((trial, x), (left, rest), (onward, slope)))
        distance = torch.where(better, away, distance)
        stride = torch.where(better, 1.0, stride / 2)
        found[:, active], remaining[active] = x, distance
    return found, remaining


def _rest_and_slope(
    map: torch.Tensor, points: torch.Tensor, x: torch.Tensor, linear: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return points - map(x), (axis, point), and the derivative of the map (axis, axis, point), also beyond its border."""
    within = torch.stack([p.clamp(0, size - 1) for p, size in zip(x, map.shape[1:], strict=True)])
    values, slope = sample_with_slopes(map, within)
    beyond = x - within
    outside = beyond != 0
    if bool(outside.any()):
        values = values + linear @ beyond
        slope = torch.where(outside, linear[:, :, None], slope)
    return points - values, slope

"""The linear equations of a deformable step: a symmetric matrix per cell, and a prior diagonal in cosines."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import torch

from ..geometry.grids import dct, dct_products

JITTER = 1e-4  # of a diagonal of 1, so that rounding leaves the matrix positive


@dataclass
class Equations:
    """(tensor + prior) x = right: a symmetric matrix at each cell, and a precision of each cosine coefficient."""

    tensor: torch.Tensor
    prior: torch.Tensor

    def solve(self, right: torch.Tensor, modes: int, steps: int) -> torch.Tensor:
        """Solve the equations with a number of conjugate gradient steps from 0, on the cosine coefficients.

        The preconditioner is the matrix itself for the `modes` lowest frequencies along each axis, and its diagonal for
        the others. A flat part of the image depends on its surroundings through the lowest frequencies. With the
        diagonal alone, several times as many steps are needed.
        """
        lowest = (slice(None), slice(None), *[slice(modes)] * right.shape[1])
        diagonal = [number for number, (i, j) in enumerate(upper_entries(right.shape[1])) if i == j]
        mean = self.tensor[:, diagonal].flatten(1).mean(1).reshape(-1, *[1] * (right.shape[1] + 1))
        inverse = 1 / (mean + self.prior)
        factor, scale = self.cholesky(modes)

        def precondition(x: torch.Tensor) -> torch.Tensor:
            low = torch.cholesky_solve(x[lowest].flatten(1)[..., None] * scale, factor) * scale
            x = inverse * x
            x[lowest] = low.reshape(x[lowest].shape)
            return x

        def operator(x: torch.Tensor) -> torch.Tensor:
            return dct(symmetric_product(self.tensor, dct(x, inverse=True))) + self.prior * x

        return dct(conjugate_gradients(operator, precondition, dct(right), steps), inverse=True)

    def cholesky(self, modes: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the Cholesky factor of the matrix for the lowest frequencies, with unit diagonal, and the scale."""
        batch, _, *size = self.tensor.shape
        axes, count = len(size), modes ** len(size)
        numbers = dct_products(self.tensor, [modes] * axes).reshape(batch, -1, count, count)
        matrix = numbers.new_zeros(batch, axes, count, axes, count)
        for number, (i, j) in enumerate(upper_entries(axes)):
            matrix[:, i, :, j] = matrix[:, j, :, i] = numbers[:, number]
        matrix = matrix.reshape(batch, axes * count, axes * count)
        lowest = self.prior[(slice(modes),) * axes].flatten().repeat(axes)
        diagonal = matrix.diagonal(dim1=1, dim2=2)
        diagonal.add_(lowest)
        scale = diagonal.rsqrt()[..., None]
        matrix = scale * matrix * scale.mT
        matrix.diagonal(dim1=1, dim2=2).add_(JITTER)
        return torch.linalg.cholesky(matrix), scale


def symmetric_product(tensor: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Multiply symmetric matrices (batch, entry, *size) of 3 or 6 entries and vectors x (batch, axis, *size)."""
    axes = x.shape[1]
    number = {entry: n for n, entry in enumerate(upper_entries(axes))}
    columns = x.unbind(1)
    numbers = tensor.unbind(1)
    rows = [[numbers[number[min(i, j), max(i, j)]] * columns[j] for j in range(axes)] for i in range(axes)]
    return torch.stack([sum(row[1:], row[0]) for row in rows], 1)


def apply_spectrum(spectrum: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Multiply each cosine coefficient of x."""
    return dct(spectrum * dct(x), inverse=True)


def upper_entries(axes: int) -> list[tuple[int, int]]:
    """Return the rows and columns of the 3 or 6 entries that determine a symmetric matrix."""
    return list(itertools.combinations_with_replacement(range(axes), 2))


def project_positive_semidefinite(entries: torch.Tensor, axes: int) -> torch.Tensor:
    """Remove the negative eigenvalues of symmetric matrices, given by their entries (entry, cell)."""
    position = torch.zeros(axes, axes, dtype=torch.long, device=entries.device)
    for number, (i, j) in enumerate(upper_entries(axes)):
        position[i, j] = position[j, i] = number
    values, vectors = torch.linalg.eigh(entries[position].movedim(2, 0))
    matrices = (vectors * values.clamp_min(0)[:, None]) @ vectors.mT
    return torch.stack([matrices[:, i, j] for i, j in upper_entries(axes)])


def conjugate_gradients(
    operator: Callable[[torch.Tensor], torch.Tensor],
    precondition: Callable[[torch.Tensor], torch.Tensor],
    right: torch.Tensor,
    steps: int,
) -> torch.Tensor:
    """Compute operator^-1 right for each row of a batch, with a number of preconditioned steps from 0."""

    def dot(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return (a * b).flatten(1).sum(1).reshape(-1, *[1] * (a.ndim - 1))

    x, rest = torch.zeros_like(right), right
    direction = scaled = precondition(rest)
    size = dot(rest, scaled)
    for _ in range(steps):
        image = operator(direction)
        stride = size / (dot(direction, image) + 1e-20)
        x, rest = x + stride * direction, rest - stride * image
        scaled = precondition(rest)
        next_size = dot(rest, scaled)
        direction = scaled + next_size / (size + 1e-20) * direction
        size = next_size
    return x

"""escnn's sampled filter bases in fewer operations: the numbers are those of escnn, up to rounding.

escnn normalizes a basis by products of all its matrices with their transposes, of which it needs only the traces, which
are sums of squares. It changes the basis of representations by products with matrices that are zero but for one block. It
reads Clebsch-Gordan coefficients from disk for each row of a table of attributes, of which only the shape enters.
For the icosahedral group, whose regular representation has 60 channels, these were 9 of the 11 seconds of a network.

The functions replace those of gequi's copies of escnn (copies.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from .copies import own

_single = own("nn.modules.basismanager.basisexpansion_singleblock")
_steerable = own("kernels.steerable_basis")
_sample_irreps = _steerable.SteerableKernelBasis.sample_harmonics
_Empty = own("kernels").EmptyBasisException


def _sample(self: Any, basis: Any, points: np.ndarray, mask: np.ndarray | None = None) -> None:
    """Sample and normalize a basis, in float64: `SingleBlockBasisExpansion.__init__`."""
    torch.nn.Module.__init__(self)
    object.__setattr__(self, "basis", basis)  # no submodule: escnn keeps it out the same way
    samples = basis.sample(torch.tensor(points, dtype=torch.float64))  # (point, element, output, input)
    squares = torch.zeros(samples.shape[1], dtype=samples.dtype)
    for at_point in samples:
        squares += at_point.flatten(1).square().sum(1)
    # The number of channels without the change of basis: samples are multiples of orthogonal matrices of this size.
    sizes = torch.tensor([attributes["shape"][0] for attributes in basis], dtype=samples.dtype)
    variances = squares / sizes
    norms = torch.where(variances < 1e-15, 0.0, variances).sqrt()
    norms = torch.where(norms < 1e-6, 1.0, norms)
    kept = squares / norms**2 > 1e-2  # elements that are zero at all points are left out
    if mask is not None:
        kept &= torch.from_numpy(mask)
    if not kept.any():
        raise _Empty
    self._mask = kept
    samples.div_(norms.view(1, -1, 1, 1))
    samples = samples if kept.all() else samples[:, kept]
    # (element, output, input, point), contiguous, so that filters are one matrix product with the weights.
    moved = samples.flatten(1).t().contiguous()
    self.register_buffer("sampled_basis", moved.view(*samples.shape[1:], len(samples)))


def _sample_harmonics(self: Any, points: dict[Any, torch.Tensor], out: dict[Any, torch.Tensor] | None = None) -> Any:
    """Sample a basis for each frequency j as (point, element, output, input): `sample_harmonics`.

    An element maps one irrep of the input to one irrep of the output. Only the rows and columns of these two irreps in
    the changes of basis contribute to it.
    """
    if self.A_inv is None and self.B is None:
        return _sample_irreps(self, points, out)
    count, kind = len(next(iter(points.values()))), next(iter(points.values())).dtype
    if out is None:
        out = {j: torch.zeros((count, self.dim_harmonic(j), *self.shape), dtype=kind) for j in self.js}
    into = torch.eye(self.shape[1], dtype=kind) if self.A_inv is None else self.A_inv.to(kind)
    out_of = torch.eye(self.shape[0], dtype=kind) if self.B is None else self.B.to(kind)
    sampled: dict[Any, dict[Any, torch.Tensor]] = {}  # of each pair of irreps
    for (ii, oo), slices in self._slices.items():
        basis = self.bases[ii][oo]
        if id(basis) not in sampled:
            sampled[id(basis)] = basis.sample_harmonics(points)
        for j, (o_from, o_to, i_from, i_to, start, stop) in slices.items():
            if j in out:
                changed = out_of[:, o_from:o_to] @ (sampled[id(basis)][j] @ into[i_from:i_to])
                out[j][:, start:stop] = changed
    return out


# ---- tables of attributes -------------------------------------------------------------------------------


def _rows_once(original: Callable[[Any, Any], Iterator[dict[str, Any]]]) -> Callable[[Any, Any], Iterator[Any]]:
    """Compute the attributes of the elements of frequency j of a basis once: `attrs_j_iter`."""

    def attrs_j_iter(self: Any, j: Any) -> Iterator[dict[str, Any]]:
        rows = self.__dict__.setdefault("_rows", {})
        if j not in rows:
            rows[j] = list(original(self, j))
        for row in rows[j]:
            yield dict(row)

    return attrs_j_iter


_single.SingleBlockBasisExpansion.__init__ = _sample
_steerable.SteerableKernelBasis.sample_harmonics = _sample_harmonics
for _basis in ("WignerEckartBasis", "RestrictedWignerEckartBasis"):
    _class = getattr(own("kernels.wignereckart_solver"), _basis)
    _class.attrs_j_iter = _rows_once(_class.attrs_j_iter)

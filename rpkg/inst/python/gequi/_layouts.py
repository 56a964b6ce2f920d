"""Copies of arrays between memory layouts and types, at the speed of the memory.

R stores the first axis of an array contiguously, torch the last one. A copy between the two in the order of either
reads or writes a few bytes at a time in places that are far apart. `copy_array()` copies blocks instead: a block is
read in the order of the source into a small buffer, and written in the order of the target.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch

# The values of a block, and the largest size of its axis that is contiguous in the source or the target. The buffer
# must stay in the cache of a core. tests/benchmarks/border.py compares these with other sizes.
BLOCK = 2**16
SIDE = 2**8
_ALIGNMENT = 64  # bytes: that of torch's own memory
_LARGE = 2**22  # bytes, from which numpy asks for huge pages; torch does not


# numpy's type of each type of torch that has one. bfloat16 has none.
OF_NUMPY = {
    each: torch.empty(0, dtype=each, device="cpu").numpy().dtype
    for each in (torch.float64, torch.float32, torch.float16, torch.int64, torch.int32, torch.uint8, torch.bool)
}


def empty_tensor(shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
    """Return a new tensor on the CPU. A large one has huge pages if the system provides them, as arrays of numpy do."""
    kind = OF_NUMPY.get(dtype)
    if kind is None or math.prod(shape) * kind.itemsize < _LARGE:
        return torch.empty(shape, dtype=dtype, device="cpu")
    memory = np.empty(math.prod(shape) * kind.itemsize + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    return torch.from_numpy(memory[start : len(memory) - _ALIGNMENT + start].view(kind).reshape(shape))


def copy_array(source: np.ndarray, target: np.ndarray) -> None:
    """Copy the values of `source` to `target`, an array of the same shape with any strides and type.

    Values outside the range of the type of `target` become infinite.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        order = _order(source)
        if source.size <= BLOCK or order[:1] == _order(target)[:1]:
            np.copyto(target, source, casting="unsafe")
            return
        sizes = _block_sizes(source.shape, order, _order(target)[0])
        buffer = np.empty([sizes[axis] for axis in order[::-1]], target.dtype).transpose(np.argsort(order[::-1]))
        for block in _blocks(source.shape, sizes):
            part = source[block]
            held = buffer[tuple(slice(n) for n in part.shape)]
            np.copyto(held, part, casting="unsafe")
            np.copyto(target[block], held)


def is_row_major(array: np.ndarray) -> bool:
    """Return whether each item along the first axis is in one piece of memory, apart from the others."""
    return array.ndim < 2 or array.size < 2 or _order(array)[0] != 0


def _order(array: np.ndarray) -> list[int]:
    """Return the axes from the most to the least contiguous in memory. Axes of size 1 are last."""
    return sorted(range(array.ndim), key=lambda axis: (array.shape[axis] == 1, abs(array.strides[axis])))


def _block_sizes(shape: Sequence[int], order: Sequence[int], last: int) -> list[int]:
    """Return the sizes of a block: long in the contiguous axes of the source and the target, then in those nearest."""
    sizes = [1] * len(shape)
    for axis in (order[0], last):
        sizes[axis] = min(shape[axis], SIDE)
    for axis in order[1:]:
        if axis != last:
            sizes[axis] = max(1, min(shape[axis], BLOCK // math.prod(sizes)))
    return sizes


def _blocks(shape: Sequence[int], sizes: Sequence[int]) -> Iterator[tuple[slice, ...]]:
    """Yield the blocks of an array."""
    starts = (range(0, n, size) for n, size in zip(shape, sizes, strict=True))
    for start in itertools.product(*starts):
        yield tuple(slice(first, first + size) for first, size in zip(start, sizes, strict=True))


def all_finite(array: np.ndarray) -> bool:
    """Return whether no value is NaN or infinite."""
    if array.size > BLOCK and array.dtype.kind == "f":
        with np.errstate(over="ignore", invalid="ignore"):
            if math.isfinite(array.sum()):  # reads the memory once, and writes nothing
                return True
    return bool(np.isfinite(array).all())

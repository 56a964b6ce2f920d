"""Limits: the largest value of each count, and an estimate of the memory before a computation.

A count that is a typing error, or that is read from a damaged file, could occupy a machine without end.
`check_integer()` in `arrays.py` looks its argument up here, so every function, recipe and file has the same limits.
`check_memory()` refuses a computation within these limits that needs more memory than the machine has.
"""

from __future__ import annotations

import os

from .errors import InputError

_MANY, _LONG = 65_536, 10_000_000

# The largest value of a count, by the name of its argument: far above useful values.
LARGEST = {
    "N": 128,  # the table of a group is cubic in its order
    "maximum_frequency": 64,
    "L": 64,
    "fields": 16_384,  # of one representation
    "input": 16_384,
    "output": 16_384,
    "units": _MANY,
    "channels": _MANY,
    "classes": _MANY,
    "width": 8192,
    "widths": 8192,
    "hidden": _MANY,
    "levels": 12,
    "blocks": 1024,
    "components": 256,
    "heads": 4096,
    "dim": _MANY,
    "key_dim": _MANY,
    "frequencies": 1024,
    "features": _LONG,
    "samples": _MANY,
    "kernel_size": 4096,
    "stride": 1024,
    "padding": 1024,
    "output_padding": 1024,
    "dilation": 1024,
    "scale_factor": 64,
    "token": 4096,
    "size": _MANY,
    "patch_size": 4096,
    "epochs": _LONG,
    "batches": _LONG,
    "patience": _LONG,
    "accumulate": _LONG,
    "steps": _LONG,
    "refine": _LONG,
    "permutations": _LONG,
    "squares": 4096,
    "depth": 1024,
    "devices": 1024,
    "nodes": 10_000,
}
LARGEST_STEERABLE_KERNEL = 63  # the basis of steerable kernels grows with the fourth power of the size
_UNITS = ("bytes", "KB", "MB", "GB", "TB", "PB", "EB", "ZB")


def largest(argument: str) -> int | None:
    """Return the largest value of a count. An entry such as `fields$regular` has the limit of its argument."""
    return LARGEST.get(argument.split("$", 1)[0])


def check_memory(size: int, argument: str) -> None:
    """Raise an error for `argument` if `size` bytes are needed at once and the machine has fewer."""
    there = machine_memory()
    if size > there:
        raise InputError(
            "`{argument}` is too large: it needs {needed} of memory; this machine has {there}.",
            argument, needed=_readable(size), there=_readable(there),
        )  # fmt: skip


def machine_memory() -> int:
    """Return the memory of this machine in bytes; 64 GB if it is unknown."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf()
        return 64 * 10**9


def _readable(size: int) -> str:
    size = min(size, 10**30)
    power = min(max(len(str(size)) - 1, 0) // 3, len(_UNITS) - 1)
    return f"{size / 1000**power:.3g} {_UNITS[power]}"

"""Limits: the largest value of each count, and an estimate of memory before the work.

A count that is a slip, or that a file of a few bytes asks for, would keep a machine busy without end. `check_integer()`
in `arrays.py` looks its argument up here, so that every function, recipe and file has the same limits. What is below
them and still needs more memory than the machine has is refused by `check_memory()`.
"""

from __future__ import annotations

import os

from .errors import InputError

_MANY, _LONG = 65_536, 10_000_000

# The largest value of a count, by the name of its argument; far above what is of use, and below what takes for ever.
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
    """The largest value of a count; an entry of an argument, `fields$regular`, has that of the argument."""
    return LARGEST.get(argument.split("$", 1)[0])


def check_memory(size: int, argument: str) -> None:
    """Refuses an `argument` for which `size` bytes are needed at once, where this machine has fewer."""
    there = machine_memory()
    if size > there:
        raise InputError(
            "`{argument}` is too large: it needs {needed} of memory; this machine has {there}.",
            argument, needed=_readable(size), there=_readable(there),
        )  # fmt: skip


def machine_memory() -> int:
    """The bytes of memory of this machine; 64 GB where it does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf()
        return 64 * 10**9


def _readable(size: int) -> str:
    size = min(size, 10**30)
    power = min(max(len(str(size)) - 1, 0) // 3, len(_UNITS) - 1)
    return f"{size / 1000**power:.3g} {_UNITS[power]}"

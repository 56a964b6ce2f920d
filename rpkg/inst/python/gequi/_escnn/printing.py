"""Suppression of the output of escnn when gequi has called it. For other callers escnn prints as usual.

escnn reports the progress of its numerical solvers with `print()`. The modules of escnn use a `print` that looks for a
function of gequi among its callers. It has no state, so it works in every thread.
"""

from __future__ import annotations

import builtins
import sys
from types import FrameType
from typing import Any

_PACKAGE = __name__.partition(".")[0]


def _print_for_others(*values: Any, **options: Any) -> None:
    """Print as the built-in function does, unless a function of gequi is among the callers."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if str(frame.f_globals.get("__name__")).partition(".")[0] == _PACKAGE:
            return
        frame = frame.f_back
    builtins.print(*values, **options)


for _name, _module in list(sys.modules.items()):
    if _name.partition(".")[0] == "escnn" and _module is not None:
        vars(_module).setdefault("print", _print_for_others)

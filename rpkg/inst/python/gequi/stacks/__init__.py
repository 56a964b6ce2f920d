"""Many images of one block or of one kind: serial sections aligned to a volume.

Pairs of near sections are registered (`_pairs.py`). The pairs give the turn, the shift and the side of each section
(`_poses.py`) and then its deformation (`_bends.py`). `_quality.py` finds the sections that do not fit.
"""

from .aligning import register_stack
from .plotting import plot_stack
from .result import Stack, describe_stack, make_stack, shown_stack, warp_stack

__all__ = ["Stack", "describe_stack", "make_stack", "plot_stack", "register_stack", "shown_stack", "warp_stack"]

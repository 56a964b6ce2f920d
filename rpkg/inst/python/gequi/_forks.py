"""Forked processes: the threads of torch stay behind, and what waits for one of them waits for ever.

Each process that Python forks from this one computes on one thread, as the workers of torch's own data loaders do. Forks
of R do not pass here: gequiR refuses to compute in them (rpkg/R/python.R).
"""

from __future__ import annotations

import os

import torch

if hasattr(os, "register_at_fork"):  # not on Windows, where nothing is forked
    os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))

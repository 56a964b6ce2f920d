"""Forked processes compute on one thread.

The threads of torch do not exist in a forked process, so a computation on several threads would wait for them forever.
The workers of torch's data loaders use one thread for the same reason. Forks by R are not handled here: gequiR refuses
to compute in them (rpkg/R/python.R).
"""

from __future__ import annotations

import os

import torch

if hasattr(os, "register_at_fork"):  # does not exist on Windows, which has no fork
    os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))

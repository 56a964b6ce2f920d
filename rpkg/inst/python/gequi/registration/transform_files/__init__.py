"""Transforms in the files of other programs: linear ones and displacement fields, in physical points."""

from .files import read_transform, write_transform
from .transform import Transform

__all__ = ["Transform", "read_transform", "write_transform"]

"""Transforms in the file formats of other programs: linear transforms and displacement fields in physical points."""

from .files import read_transform, write_transform
from .transform import Transform

__all__ = ["Transform", "read_transform", "write_transform"]

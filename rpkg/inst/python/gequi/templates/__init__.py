"""Unbiased templates: the mean of the shapes and of the gray values of many images.

`averaging.py` registers the images with the template and improves it round by round. `_frames.py` computes the mean of
linear maps, and `_shapes.py` the mean of whole maps.
"""

from .averaging import group_mean
from .plotting import plot_group_mean
from .result import GroupMean, describe_group_mean, make_group_mean

__all__ = ["GroupMean", "describe_group_mean", "group_mean", "make_group_mean", "plot_group_mean"]

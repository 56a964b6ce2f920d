"""Grids of pixels and cells in the plane and in space: sampling, filters, resampling, rotations, small matrices.

Everything here works on torch tensors (batch, channel, *size), where size is (row, column) or (depth, row, column), and
treats all axes alike. Points are (batch, axis, ...), in pixels from 0, with the axes in the order of the image's.
"""

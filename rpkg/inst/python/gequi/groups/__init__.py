"""Groups that act on images, volumes and vectors: gspaces, their elements and their representations.

A *gspace* is a base space (the plane R2, space R3, or a single point for vectors) with a group that acts on it. Its
*fibre group* acts on the features at each point by a representation. Both are objects of escnn.

Convention. Elements are numbered from 0 in the order of escnn. Matrices of the base space act on coordinates (x, y) or
(x, y, z), with x to the right and y upwards. Element 1 of `rot2dOnR2` with N = 4 is the counter-clockwise quarter turn
of an image (`numpy.rot90`).
"""

from .element import base_matrix, cayley_table, check_element, elements, group_elements, keeps_grid
from .fourier import Band, fourier_bands
from .representation import fields_matrix, representation_matrix, representation_of, representations, trivial
from .space import check_gspace, describe_gspace, gspace, gspaces

__all__ = [
    "Band",
    "base_matrix",
    "cayley_table",
    "check_element",
    "check_gspace",
    "describe_gspace",
    "elements",
    "fields_matrix",
    "fourier_bands",
    "group_elements",
    "gspace",
    "gspaces",
    "keeps_grid",
    "representation_matrix",
    "representation_of",
    "representations",
    "trivial",
]

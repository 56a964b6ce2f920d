"""Images as matrices: normalization, products, warps and compositions, and sample images.

Convention. An image is a matrix (row, column); row 0 is the top. Every operation accepts what `numpy.asarray` accepts
and returns a numpy array: float32 if all its images are float32, otherwise float64. For a torch tensor, the result is a
tensor on the graph of torch, so a function composed of these operations is differentiable.

The operations are those of Mishka (Michael Bukatin), "Multiplying monochrome images as matrices: A * B and
softmax", JuliaCon 2021 (virtual poster).
"""

from .composition import OPERATIONS, image_composition
from .normalize import normalize_columns, normalize_image, normalize_rows, signed_image
from .products import gram_image, image_product, image_value
from .samples import sample_image
from .warp import oscillatory_warp

__all__ = [
    "OPERATIONS",
    "gram_image",
    "image_composition",
    "image_product",
    "image_value",
    "normalize_columns",
    "normalize_image",
    "normalize_rows",
    "oscillatory_warp",
    "sample_image",
    "signed_image",
]

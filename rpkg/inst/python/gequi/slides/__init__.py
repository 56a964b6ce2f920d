"""Large images, such as whole-slide images: reading at a lower resolution, and warping at full resolution, tile by tile."""

from .slides import read_slide, transform_slide_points, warp_slide

__all__ = ["read_slide", "transform_slide_points", "warp_slide"]

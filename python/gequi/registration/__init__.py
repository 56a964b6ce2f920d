"""Registration by attention: the map that carries one image onto another."""

from .images import register_images

__all__ = ["register_images"]

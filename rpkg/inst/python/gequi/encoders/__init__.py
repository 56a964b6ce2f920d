"""Encoders for registration: designed and trained networks that describe images and volumes."""

from .making import history, registration_encoder

__all__ = ["history", "registration_encoder"]

"""Encoders for registration: networks that describe images and volumes, designed ones and trained ones."""

from .making import history, registration_encoder

__all__ = ["history", "registration_encoder"]

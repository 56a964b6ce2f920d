"""Registrations with a known map, for tests of results that are computed from a map."""

from __future__ import annotations

import dataclasses
from functools import cache

import numpy as np
import pytest

from gequi import invert_map, map_jacobian, register_images, sample_image

CAT = sample_image("cat")


@cache
def found_of(axes):
    """Any registration of two images, or of two volumes."""
    if axes == 2:
        return register_images(CAT[50:114, 150:210], CAT[50:114, 150:210], transform="rigid")
    depth, row, column = np.indices((18, 20, 22))
    volume = np.sin(depth * row / 30) + np.cos(column / 3) * np.sin(depth / 4) + 0.2 * np.sin(row + column / 2)
    return register_images(volume, volume, transform="rigid")


@pytest.fixture
def known(random):
    """known(size, moving_size, affine, bend, ...): the registration whose map is an affine one after small waves."""

    def make(size, moving_size=None, affine=None, bend=0.0, spacing=1.0, moving_spacing=None, **replaced):
        axes = len(size)
        moving_size = size if moving_size is None else moving_size
        matrix = np.eye(axes, axes + 1) if affine is None else np.asarray(affine, float)
        pixels = np.indices(size).astype(float)
        waves = bend * np.sin(np.roll(pixels, 1, axis=0) / 3)
        map = np.einsum("ij,j...->i...", matrix[:, :-1], pixels + waves) + matrix[:, -1].reshape(-1, *[1] * axes)
        lengths = np.broadcast_to(np.asarray(spacing, float), axes)
        others = lengths if moving_spacing is None else np.broadcast_to(np.asarray(moving_spacing, float), axes)
        mirrored = np.linalg.det(matrix[:, :-1]) < 0
        parts = {
            "map": map,
            "affine": matrix,
            "jacobian": map_jacobian(map, lengths, others) * (-1 if mirrored else 1),
            "moving": random.normal(size=moving_size),
            "fixed": random.normal(size=size),
            "spacing": lengths,
            "moving_spacing": others,
            "transform": "deformable" if bend else "affine",
            **replaced,
        }
        if "inverse_map" not in parts:
            parts["inverse_map"] = np.full((axes, *moving_size), np.nan) if mirrored else invert_map(map, moving_size)
        return dataclasses.replace(found_of(axes), **parts)

    return make

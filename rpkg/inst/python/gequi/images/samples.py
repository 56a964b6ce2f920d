"""The images that come with the package."""

from __future__ import annotations

from importlib import resources
from typing import Any

import numpy as np

from ..arrays import check_choice

_SAMPLES: list[dict[str, Any]] = [
    {"name": "volcano", "rows": 87, "columns": 61, "shows": "heights in metres on Maunga Whau, Auckland",
     "licence": "GPL-2 | GPL-3", "source": "R: datasets::volcano"},
    {"name": "camera", "rows": 512, "columns": 512, "shows": "a photographer and his camera",
     "licence": "CC0", "source": "scikit-image: camera(), by Lav Varshney"},
    {"name": "cat", "rows": 300, "columns": 451, "shows": "a cat",
     "licence": "CC0", "source": "scikit-image: chelsea() in gray, by Stefan van der Walt"},
    {"name": "retina", "rows": 352, "columns": 352, "shows": "a human retina, round on black",
     "licence": "CC0", "source": "scikit-image: retina(), green, a quarter of the size, by Mikael Häggström"},
    {"name": "cell", "rows": 240, "columns": 240, "shows": "a cell in saline, its optical phase",
     "licence": "CC0", "source": "scikit-image: cell(), a part, by Paul Müller et al."},
]  # fmt: skip


def sample_image(name: str | None = None) -> Any:
    """Return a sample image that is included in the package, or the table of them.

    Args:
        name: "volcano", "camera", "cat", "retina" or "cell"; None for the table.

    Returns:
        float64 matrix (row, column): the photographs and micrographs in [0, 1] (the stored whole numbers divided by
        255), and "volcano", R's `datasets::volcano`, in metres (94 to 195), as R has it. For None, a list of
        dicts: name, rows, columns, shows, licence, source.

    Raises:
        InputError: no image of that name.

    Source:
        gequi/data/README.md says where each image comes from and how it was cut.

    Example:
        >>> sample_image("camera").shape
        (512, 512)
        >>> [row["name"] for row in sample_image()]
        ['volcano', 'camera', 'cat', 'retina', 'cell']
    """
    if name is None:
        return [dict(row) for row in _SAMPLES]
    check_choice(name, "name", [row["name"] for row in _SAMPLES])
    with (
        resources.as_file(resources.files("gequi") / "data" / "sample_images.npz") as path,
        np.load(path, allow_pickle=False) as samples,
    ):
        image = samples[name].astype(np.float64)
    return image if name == "volcano" else image / 255

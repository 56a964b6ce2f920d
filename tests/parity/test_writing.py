"""writing: both languages write the same bytes."""

from pathlib import Path

import pytest

import gequi


@pytest.mark.parametrize("ending, bits, shape", [
    ("png", 8, (5, 4)), ("png", 16, (5, 4)), ("tif", 16, (6, 5, 7)), ("png", 8, (5, 4, 3)), ("jpg", 8, (16, 8)),
    ("png", 16, (5, 4, 3)), ("png", 16, (5, 4, 4)), ("tif", 16, (5, 4, 3)), ("tiff", 16, (5, 4, 4)),
])  # fmt: skip
def test_write_image(r, random, tmp_path, ending, bits, shape):
    image = random.random(shape)
    files = [str(tmp_path / f"{name}.{ending}") for name in ("r", "python")]
    r.write_image(image, files[0], bits=bits, quality=80)
    gequi.write_image(image, files[1], bits=bits, quality=80)
    assert Path(files[0]).read_bytes() == Path(files[1]).read_bytes()

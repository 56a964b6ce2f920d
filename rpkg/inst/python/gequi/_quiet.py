"""Messages of other packages: they are kept back while gequi uses these packages."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator, Sequence


@contextlib.contextmanager
def quiet(loggers: Sequence[str], modules: str, level: int = logging.ERROR) -> Iterator[None]:
    """Within it, these loggers pass on what is of `level` and above only, and warnings of these modules nothing.

    Args:
        loggers: their names.
        modules: names of packages, apart by "|".
        level: as `logging` counts.
    """
    speakers = [logging.getLogger(name) for name in loggers]
    levels = [speaker.level for speaker in speakers]
    for speaker in speakers:
        speaker.setLevel(level)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=rf"({modules})(\.|$)")
            yield
    finally:
        for speaker, before in zip(speakers, levels, strict=True):
            speaker.setLevel(before)

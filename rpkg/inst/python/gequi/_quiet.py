"""Messages of other packages, which are suppressed while gequi uses them."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator, Sequence


@contextlib.contextmanager
def quiet(loggers: Sequence[str], modules: str, level: int = logging.ERROR) -> Iterator[None]:
    """Suppress messages of these loggers below `level`, and all warnings of these modules, inside the context.

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

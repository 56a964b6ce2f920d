"""Text whose letters have a height in units of the axes, so that a diagram looks alike at every size."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.text import Text

CAPITALS = 0.75  # the height of capitals is about this part of the size of a font


class DiagramText(Text):
    """Text in data coordinates with letters of a height in data coordinates."""

    def __init__(self, axes: Axes, x: float, y: float, text: str, height: float, **options: Any) -> None:
        super().__init__(x, y, text, **{"ha": "center", "va": "center", **options})
        self.height = height
        axes.add_artist(self)

    def draw(self, renderer: Any) -> None:
        self._set_size()
        super().draw(renderer)

    def get_window_extent(self, *arguments: Any, **options: Any) -> Any:
        self._set_size()
        return super().get_window_extent(*arguments, **options)

    def _set_size(self) -> None:
        """Convert the height to points."""
        figure = self.get_figure(root=True)
        if self.axes is None or figure is None:
            return
        (_, low), (_, high) = self.axes.transData.transform([(0, 0), (0, self.height)])
        self.set_fontsize(abs(high - low) * 72 / figure.dpi / CAPITALS)

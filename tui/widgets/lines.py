"""Several lines of pieces, of which only those that changed are repainted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from .line import Line, Piece, strip_of

Row = tuple[Piece, ...]


class Lines(Widget):
    """A fixed area of lines. Nothing is laid out when its text changes."""

    DEFAULT_CSS = Line.DEFAULT_CSS.replace("Line", "Lines").replace(
        "Lines { height: 1; }", "Lines { height: 1fr; }"
    )
    COMPONENT_CLASSES: ClassVar[set[str]] = Line.COMPONENT_CLASSES

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002 - Textual's
        super().__init__(id=id, classes=classes)
        self._rows: list[Row] = []
        self._base = Style.null()

    @property
    def rows(self) -> Sequence[Row]:
        """What is shown."""
        return self._rows

    def show_rows(self, rows: Sequence[Row]) -> None:
        """Show these lines from now on."""
        before, self._rows = self._rows, list(rows)
        width = self.size.width
        changed = [
            Region(0, y, width, 1)
            for y in range(min(self.size.height, max(len(before), len(self._rows))))
            if (before[y] if y < len(before) else None) != (self._rows[y] if y < len(self._rows) else None)
        ]
        if changed:
            self.refresh(*changed)

    def render_lines(self, crop: Region) -> list[Strip]:
        """Several lines; the style under them, which walks the whole tree, is looked up once."""
        self._base = self.rich_style
        return super().render_lines(crop)

    def render_line(self, y: int) -> Strip:
        """One of the lines."""
        base, width = self._base, self.size.width
        if y >= len(self._rows):
            return Strip.blank(width, base)
        return strip_of(self._rows[y], width, base, self)


def plain(rows: Sequence[Row]) -> str:
    """The text of lines, for tests and logs."""
    return "\n".join("".join(piece.text for piece in row).rstrip() for row in rows)

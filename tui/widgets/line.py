"""A line of styled pieces that repaints only when it changes, and whose pieces can be clicked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.strip import Strip
from textual.widget import Widget


class Piece(NamedTuple):
    """Safe text in one style ("" is plain); `action` is run by a click."""

    text: str
    style: str = ""
    action: str = ""


class Line(Widget):
    """One line. The owner gives pieces for a width; what the terminal shows is never laid out again for them."""

    DEFAULT_CSS = """
    Line { height: 1; }
    Line > .line--strong { text-style: bold; }
    Line > .line--quiet { color: $text-muted; }
    Line > .line--accent { color: $accent; }
    Line > .line--here { color: $accent; text-style: bold; }
    Line > .line--good { color: $success; }
    Line > .line--bad { color: $error; }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "line--strong",
        "line--quiet",
        "line--accent",
        "line--here",
        "line--good",
        "line--bad",
    }

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002 - Textual's
        super().__init__(id=id, classes=classes)
        self._pieces: tuple[Piece, ...] = ()

    def pieces(self, width: int) -> Sequence[Piece]:
        """What the line shows at this width."""
        return self._pieces

    def show(self, *pieces: Piece) -> None:
        """Show these pieces from now on."""
        if pieces != self._pieces:
            self._pieces = pieces
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """The line itself, whatever is below it empty."""
        base = self.rich_style
        if y:
            return Strip.blank(self.size.width, base)
        return strip_of(self.pieces(self.size.width), self.size.width, base, self)

    async def on_click(self, event: events.Click) -> None:
        """Run the action of the piece under the mouse."""
        place = 0
        for piece in self.pieces(self.size.width):
            place += cell_len(piece.text)
            if event.x < place:
                if piece.action:
                    event.stop()
                    await self.app.run_action(piece.action, self.screen)
                return


def strip_of(pieces: Sequence[Piece], width: int, base: Style, widget: Widget) -> Strip:
    """Pieces as a strip of exactly this width."""
    segments = [
        Segment(
            piece.text,
            base + widget.get_component_rich_style(f"line--{piece.style}", partial=True)
            if piece.style
            else base,
        )
        for piece in pieces
    ]
    return Strip(segments).adjust_cell_length(width, base)


def spread(width: int, *groups: Sequence[Piece]) -> list[Piece]:
    """Groups with the spare room between them, the first at the left and the last at the right edge."""
    sizes = [sum(cell_len(piece.text) for piece in group) for group in groups]
    spare = max(len(groups) - 1, width - sum(sizes))
    gap, more = divmod(spare, max(1, len(groups) - 1))
    found: list[Piece] = []
    for number, group in enumerate(groups):
        found += group
        if number < len(groups) - 1:
            found.append(Piece(" " * (gap + (number < more))))
    return found

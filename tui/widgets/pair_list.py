"""The list beside the pair: positions of a snapshot of ids, drawn line by line. What is not read yet is drawn empty.

It never holds more than the screen shows, so a million pairs scroll like ten.
"""

from __future__ import annotations

from typing import ClassVar, Protocol

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region
from textual.message import Message
from textual.reactive import var
from textual.strip import Strip
from textual.widget import Widget

from ..text import fill, line

MARKS = {"undecided": "·", "accepted": "✓", "rejected": "✗"}
STYLES = {"undecided": "quiet", "accepted": "good", "rejected": "bad"}
PENDING = "…"
"""In the place of a verdict that is not on the disk yet."""


class ListRow(Protocol):
    """What a line needs to know."""

    @property
    def instruction(self) -> str: ...
    @property
    def verdict(self) -> str: ...
    @property
    def edited(self) -> bool: ...


class ListSource(Protocol):
    """Where the lines come from."""

    def __len__(self) -> int: ...
    def at(self, position: int) -> ListRow | None: ...
    def waiting_at(self, position: int) -> bool: ...


class PairList(Widget):
    """Shows a `ListSource` around `cursor`, which the owner moves with `go`."""

    DEFAULT_CSS = """
    PairList > .pairs--quiet { color: $text-muted; }
    PairList > .pairs--good { color: $success; }
    PairList > .pairs--bad { color: $error; }
    PairList > .pairs--here { text-style: bold; color: $accent; }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {"pairs--quiet", "pairs--good", "pairs--bad", "pairs--here"}
    cursor: var[int] = var(0)

    class Picked(Message):
        """A line was clicked; twice means that it should be opened."""

        def __init__(self, position: int, twice: bool) -> None:
            super().__init__()
            self.position = position
            self.twice = twice

    def __init__(self, source: ListSource) -> None:
        super().__init__()
        self._source = source
        self._top = 0
        self._base = Style.null()

    @property
    def shown(self) -> range:
        """The positions on the screen; where the list is hidden, the cursor's."""
        if not self.size.height:
            return range(self.cursor, min(len(self._source), self.cursor + 1))
        return range(self._top, min(len(self._source), self._top + self.size.height))

    def go(self, position: int) -> None:
        """Move the cursor. One step repaints two lines; past the edge the list jumps so that the cursor is amid it."""
        before, self.cursor = self.cursor, position
        if self._keep_in_view():
            self.refresh()
        elif before != position:
            self.repaint(before)
            self.repaint(position)

    def repaint(self, position: int) -> None:
        """Draw one line anew, if it is on the screen."""
        y = position - self._top
        if 0 <= y < self.size.height:
            self.refresh(Region(0, y, self.size.width, 1))

    def shift(self, lines: int) -> None:
        """So many lines came in before the first: what is on the screen stays there."""
        self._top += lines
        self.cursor += lines

    def reset(self, position: int) -> None:
        """Draw all of another list."""
        self.cursor = position
        self._top = 0
        self._keep_in_view()
        self.refresh()

    def on_resize(self) -> None:
        """Keep the cursor on the screen."""
        self._keep_in_view()

    def _keep_in_view(self) -> bool:
        height, total = self.size.height, len(self._source)
        if not height:
            return False
        last = max(0, total - height)
        if self._top <= self.cursor < self._top + height and self._top <= last:
            return False
        top = min(last, max(0, self.cursor - height // 2))
        changed, self._top = top != self._top, top
        return changed

    def render_lines(self, crop: Region) -> list[Strip]:
        """Several lines; the style under them, which walks the whole tree, is looked up once."""
        self._base = self.rich_style
        return super().render_lines(crop)

    def render_line(self, y: int) -> Strip:
        """One pair."""
        width, base = self.size.width, self._base
        position = self._top + y
        if position >= len(self._source) or width < 8:
            return Strip.blank(width, base)
        row = self._source.at(position)
        here = position == self.cursor
        pointer = "▸" if here else " "
        if row is None:
            return Strip([Segment(f"{pointer}…", base)]).adjust_cell_length(width, base)
        strong = base + self._style("here") if here else base
        waiting = self._source.waiting_at(position)
        mark = PENDING if waiting else MARKS[row.verdict]
        style = strong if here else base + self._style("quiet" if waiting else STYLES[row.verdict])
        text = fill(line(row.instruction, width - 6), width - 6)
        end = " ~ " if row.edited else "   "
        return Strip(
            [Segment(pointer, strong), Segment(f"{mark} ", style), Segment(text, strong), Segment(end, base)],
            width,
        )

    def _style(self, name: str) -> Style:
        return self.get_component_rich_style(f"pairs--{name}", partial=True)

    def on_click(self, event: events.Click) -> None:
        """Tell which line was clicked."""
        position = self._top + event.y
        if position < len(self._source):
            self.post_message(self.Picked(position, event.chain > 1))

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Scroll without moving the cursor."""
        event.stop()
        self._scroll(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Scroll without moving the cursor."""
        event.stop()
        self._scroll(-3)

    def _scroll(self, lines: int) -> None:
        top = min(max(0, len(self._source) - self.size.height), max(0, self._top + lines))
        if top != self._top:
            self._top = top
            self.refresh()
            self.post_message(self.Scrolled())

    class Scrolled(Message):
        """Other lines are on the screen now."""

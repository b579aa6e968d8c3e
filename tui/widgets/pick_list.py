"""A list one moves a cursor in: entries of one or more lines, drawn line by line; the mouse picks too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.message import Message
from textual.reactive import var
from textual.strip import Strip
from textual.widget import Widget

from .line import Line, Piece, strip_of

Row = tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry: `id` is what the owner knows it by, `rows` its lines. What is not `pickable` is only shown."""

    id: str
    rows: tuple[Row, ...]
    pickable: bool = True


class PickList(Widget):
    """Entries with a cursor that stays on its entry when the list changes."""

    DEFAULT_CSS = Line.DEFAULT_CSS.replace("Line", "PickList").replace(
        "PickList { height: 1; }", "PickList { height: 1fr; }"
    )
    COMPONENT_CLASSES: ClassVar[set[str]] = Line.COMPONENT_CLASSES
    cursor: var[int] = var(0)

    class Picked(Message):
        """An entry was clicked; a second click opens it."""

        def __init__(self, entry: str, twice: bool) -> None:
            super().__init__()
            self.entry = entry
            self.twice = twice

    class Moved(Message):
        """The cursor is on another entry."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002 - Textual's
        super().__init__(id=id, classes=classes)
        self.entries: list[Entry] = []
        self._top = 0
        self._moved = False

    @property
    def current(self) -> str | None:
        """Id of the entry under the cursor; None where nothing can be picked."""
        if 0 <= self.cursor < len(self.entries) and self.entries[self.cursor].pickable:
            return self.entries[self.cursor].id
        return None

    @property
    def text(self) -> str:
        """What all entries say."""
        return "\n".join(
            "".join(piece.text for piece in row).rstrip() for entry in self.entries for row in entry.rows
        )

    def show_entries(self, entries: Sequence[Entry]) -> None:
        """Show these from now on. The cursor stays on its entry where that is still there; one that was never moved
        stays on the first."""
        if list(entries) == self.entries:
            return
        here = self.current
        self.entries = list(entries)
        places = {entry.id: place for place, entry in enumerate(self.entries) if entry.pickable}
        if not self._moved:
            self.cursor = self._nearest(0)
        elif here in places:
            self.cursor = places[here]
        else:
            self.cursor = self._nearest(min(self.cursor, len(self.entries) - 1))
        self._keep_in_view()
        self.refresh()

    def go_to(self, entry: str) -> None:
        """Put the cursor on an entry of this id, if there is one."""
        for place, found in enumerate(self.entries):
            if found.id == entry and found.pickable:
                self._go(place)

    def move(self, steps: int) -> None:
        """Move over what can be picked."""
        places = [place for place, entry in enumerate(self.entries) if entry.pickable]
        if not places:
            self._scroll(steps)
            return
        at = min(range(len(places)), key=lambda number: abs(places[number] - self.cursor))
        to = places[max(0, min(len(places) - 1, at + steps))]
        if to == self.cursor:
            self._scroll(steps)
        self._go(to)

    def _scroll(self, lines: int) -> None:
        """Past the last entry that can be picked, what is only shown comes into view."""
        top = max(0, min(self._top + lines, self._lines_before(len(self.entries)) - self.size.height))
        if top != self._top:
            self._top = top
            self.refresh()

    def page(self, pages: int) -> None:
        """Move by a screenful."""
        self.move(pages * max(1, self.size.height - 1))

    def ends(self, last: bool) -> None:
        """To the first or the last entry."""
        self.move(len(self.entries) if last else -len(self.entries))

    def _go(self, place: int) -> None:
        self._moved = True
        if place != self.cursor:
            self.cursor = place
            self._keep_in_view()
            self.refresh()
            self.post_message(self.Moved())

    def _nearest(self, place: int) -> int:
        places = [number for number, entry in enumerate(self.entries) if entry.pickable]
        return min(places, key=lambda number: abs(number - place)) if places else 0

    def on_resize(self) -> None:
        """Keep the cursor on the screen."""
        self._keep_in_view()

    def _lines_before(self, place: int) -> int:
        return sum(len(entry.rows) for entry in self.entries[:place])

    def _keep_in_view(self) -> None:
        height = self.size.height
        if not height or not self.entries:
            self._top = 0
            return
        first = self._lines_before(self.cursor)
        last = first + len(self.entries[self.cursor].rows)
        if first < self._top:
            # What is only shown above the first entry that can be picked comes back with it.
            self._top = 0 if not any(entry.pickable for entry in self.entries[: self.cursor]) else first
        elif last > self._top + height:
            self._top = last - height
        self._top = max(0, min(self._top, self._lines_before(len(self.entries)) - height))

    def _at(self, line: int) -> tuple[int, int] | None:
        for place, entry in enumerate(self.entries):
            if line < len(entry.rows):
                return place, line
            line -= len(entry.rows)
        return None

    def render_line(self, y: int) -> Strip:
        """One line of an entry; the pointer stands before the first line of the one under the cursor."""
        width, base = self.size.width, self.rich_style
        found = self._at(self._top + y)
        if found is None or width < 4:
            return Strip.blank(width, base)
        place, row = found
        entry = self.entries[place]
        here = place == self.cursor and entry.pickable
        pointer = Piece(
            " ▸ " if here and row == 0 else "   " if entry.pickable else " ", "here" if here else ""
        )
        pieces = entry.rows[row]
        if here:
            pieces = tuple(piece._replace(style=piece.style or "strong") for piece in pieces)
        return strip_of([pointer, *pieces], width, base, self)

    def on_click(self, event: events.Click) -> None:
        """Put the cursor there; twice opens."""
        found = self._at(self._top + event.y)
        if found is not None and self.entries[found[0]].pickable:
            self._go(found[0])
            self.post_message(self.Picked(self.entries[found[0]].id, event.chain > 1))

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Move on."""
        self.move(1)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Move back."""
        self.move(-1)

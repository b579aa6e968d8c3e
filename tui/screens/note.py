"""Why a pair was accepted or rejected: a reason, tags, a note."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from textual.app import ComposeResult
from textual.binding import Binding
from textual.widgets import Input, Static

from pairsmith.pairs.store.review_rows import ReviewRow

from ..text import Mask
from ..widgets.dialog import Dialog
from ..widgets.fields import SafeArea, SafeInput

Given = Literal["accepted", "rejected"]


@dataclass(frozen=True, slots=True)
class Noted:
    """A verdict with its words."""

    verdict: Given
    reason: str
    tags: tuple[str, ...]
    note: str


class NoteScreen(Dialog[Noted | None]):
    """Words belong to a verdict: for an undecided pair one is chosen here. Gives them once `keep` has stored them."""

    DEFAULT_CSS = """
    NoteScreen SafeInput { margin-bottom: 1; }
    NoteScreen SafeArea { height: 5; border: none; padding: 0; background: $background; }
    """
    BINDINGS = [  # noqa: RUF012 - Textual's own declaration
        Binding("f2,ctrl+s", "save", "save", id="note.save", priority=True, tooltip="Save"),
        Binding("f3", "turn", "accept or reject", id="note.turn", priority=True, tooltip="Accept or reject"),
    ]
    hint = "f2 or ctrl+s saves   f3 accepted or rejected   tab next field   esc leaves"

    def __init__(self, row: ReviewRow, keep: Callable[[Noted], Awaitable[object]]) -> None:
        super().__init__()
        self.heading = f"Words on #{row.id:03}"
        self._row = row
        self._keep = keep
        self._verdict: Given = "rejected" if row.verdict == "rejected" else "accepted"
        known = row.decision
        self._reason = known.reason if known and known.by == "human" else ""
        self._tags = " ".join(known.tags) if known else ""
        self._note = known.note if known else ""
        self._mask = Mask(self._reason, self._tags, self._note)

    def parts(self) -> ComposeResult:
        """Verdict, reason, tags, note."""
        yield Static("", id="verdict", markup=False)
        yield Static("reason", classes="quiet")
        yield SafeInput(self._mask.mask(self._reason), id="reason")
        yield Static("tags, with spaces or commas between them", classes="quiet")
        yield SafeInput(self._mask.mask(self._tags), id="tags")
        yield Static("note", classes="quiet")
        yield SafeArea(self._note, self._mask, id="note")

    def on_mount(self) -> None:
        """Show the verdict."""
        self._show()

    def _show(self) -> None:
        marks = {"accepted": "✓ accepted", "rejected": "✗ rejected"}
        self.query_one("#verdict", Static).update(f"verdict: {marks[self._verdict]}")

    def action_turn(self) -> None:
        """The other verdict."""
        self._verdict = "rejected" if self._verdict == "accepted" else "accepted"
        self._show()

    def action_save(self) -> None:
        """Store what was typed."""
        tags = self._typed("tags").replace(",", " ").replace("#", " ").split()
        note = self.query_one("#note", SafeArea).stored.strip()
        noted = Noted(self._verdict, self._typed("reason").strip(), tuple(tags), note)
        self.leave_when(lambda: self._keep(noted), noted)

    def _typed(self, field: str) -> str:
        """What a line holds, with what was hidden put back."""
        return self._mask.unmask(self.query_one(f"#{field}", Input).value)

    def on_input_submitted(self) -> None:
        """Enter in a line goes on to the next field."""
        self.focus_next()

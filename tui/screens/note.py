"""Why a pair was accepted or rejected: a reason, tags, a note."""

from __future__ import annotations

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
    """Words belong to a verdict: for an undecided pair one is chosen here."""

    DEFAULT_CSS = """
    NoteScreen SafeInput { margin-bottom: 1; }
    NoteScreen SafeArea { height: 5; border: none; padding: 0; background: $background; }
    """
    BINDINGS = [  # noqa: RUF012 - Textual's own declaration
        Binding("f2,ctrl+s", "save", "save", id="note.save", priority=True, tooltip="Save"),
        Binding("f3", "turn", "accept or reject", id="note.turn", priority=True, tooltip="Accept or reject"),
    ]
    hint = "f2 or ctrl+s saves   f3 accepted or rejected   tab next field   esc leaves"

    def __init__(self, row: ReviewRow) -> None:
        super().__init__()
        self.heading = f"Words on #{row.id:03}"
        self._row = row
        self._verdict: Given = "rejected" if row.verdict == "rejected" else "accepted"
        self._mask = Mask(row.decision.note if row.decision else "")

    def parts(self) -> ComposeResult:
        """Verdict, reason, tags, note."""
        known = self._row.decision
        yield Static("", id="verdict", markup=False)
        yield Static("reason", classes="quiet")
        yield SafeInput(known.reason if known and known.by == "human" else "", id="reason")
        yield Static("tags, with spaces or commas between them", classes="quiet")
        yield SafeInput(" ".join(known.tags) if known else "", id="tags")
        yield Static("note", classes="quiet")
        yield SafeArea(known.note if known else "", self._mask, id="note")

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
        """Give back what was typed."""
        tags = self.query_one("#tags", Input).value.replace(",", " ").replace("#", " ").split()
        note = self.query_one("#note", SafeArea).stored.strip()
        self.dismiss(Noted(self._verdict, self.query_one("#reason", Input).value.strip(), tuple(tags), note))

    def on_input_submitted(self) -> None:
        """Enter in a line goes on to the next field."""
        self.focus_next()

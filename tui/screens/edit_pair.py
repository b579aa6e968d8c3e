"""Editing a pair in place. What is typed here is never a command of the review behind it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from textual.app import ComposeResult
from textual.binding import Binding
from textual.widgets import Static

from ..text import Mask
from ..widgets.dialog import Dialog
from ..widgets.fields import SafeArea

MOST_CHARACTERS = 60_000
MOST_LINES = 3_000
"""Beyond these a text area would take seconds to open: such a text goes to $EDITOR."""


@dataclass(frozen=True, slots=True)
class Texts:
    """The three texts of a pair, as stored."""

    instruction: str
    input: str
    output: str

    @property
    def small(self) -> bool:
        """Whether a text area can hold them."""
        every = (self.instruction, self.input, self.output)
        return sum(map(len, every)) <= MOST_CHARACTERS and sum(t.count("\n") for t in every) <= MOST_LINES


class EditScreen(Dialog[Texts | None]):
    """Three text areas; gives the new texts once `keep` has stored them, or None where nothing was changed or it was
    left."""

    DEFAULT_CSS = """
    EditScreen { align: center bottom; }
    EditScreen > Vertical { width: 100%; height: 1fr; margin-top: 3; }
    EditScreen SafeArea { height: 1fr; min-height: 3; border: none; padding: 0 1; background: $background; }
    EditScreen SafeArea:focus { border: none; background: $surface; }
    EditScreen #output { height: 3fr; }
    """
    BINDINGS = [  # noqa: RUF012 - Textual's own declaration
        Binding("f2,ctrl+s", "save", "save", id="edit.save", priority=True, tooltip="Save as a new version"),
        Binding("escape", "cancel", "leave", id="edit.cancel", priority=True, tooltip="Leave without saving"),
    ]
    hint = "f2 or ctrl+s saves as a new version   tab next field   esc leaves"
    AUTO_FOCUS = "#output"

    def __init__(self, pair_id: int, texts: Texts, keep: Callable[[Texts], Awaitable[object]]) -> None:
        super().__init__()
        self.heading = f"Edit #{pair_id:03}"
        self._texts = texts
        self._keep = keep
        self._warned = False

    def parts(self) -> ComposeResult:
        """One area for each text."""
        mask = Mask(self._texts.instruction, self._texts.input, self._texts.output)
        yield Static("instruction", classes="quiet")
        yield SafeArea(self._texts.instruction, mask, id="instruction")
        yield Static("input", classes="quiet")
        yield SafeArea(self._texts.input, mask, id="input")
        yield Static("response", classes="quiet")
        yield SafeArea(self._texts.output, mask, id="output")

    @property
    def typed(self) -> Texts:
        """What stands in the areas."""
        return Texts(
            *(self.query_one(f"#{name}", SafeArea).stored for name in ("instruction", "input", "output"))
        )

    def action_save(self) -> None:
        """Store what was typed."""
        typed = self.typed
        if not typed.instruction.strip():
            self.problem("the instruction is empty")
        elif typed == self._texts:
            self.dismiss(None)
        else:
            self.leave_when(lambda: self._keep(typed), typed)

    def action_cancel(self) -> None:
        """Leave; where something was typed, only when asked twice."""
        if self.typed != self._texts and not self._warned:
            self._warned = True
            self.problem("Not saved. f2 saves; esc once more throws it away")
            return
        self.dismiss(None)

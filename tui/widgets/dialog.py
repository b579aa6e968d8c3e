"""A box over a place. Nothing behind it hears a key; `escape` always leaves it without doing anything."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from pairsmith.pairs.errors import PairsmithError

from ..text import content, safe
from ..working import begin
from .once import LeavesOnce

Result = TypeVar("Result")


class Dialog(LeavesOnce, ModalScreen[Result]):
    """Give `heading` and `hint`, and compose the rest in `parts`."""

    DEFAULT_CSS = """
    Dialog { align: center middle; background: $background 60%; }
    Dialog > Vertical { width: 76; max-width: 100%; height: auto; max-height: 100%; padding: 0 1; background: $panel; }
    Dialog Static { height: auto; }
    Dialog .quiet { color: $text-muted; }
    Dialog #problem { color: $error; display: none; }
    Dialog #problem.-shown { display: block; }
    """
    BINDINGS = [  # noqa: RUF012 - Textual's own declaration
        Binding("escape", "cancel", "leave", id="dialog.cancel", tooltip="Leave without doing anything"),
    ]
    AUTO_FOCUS = "*"
    _storing = False
    heading = ""
    hint = "esc leaves"

    def compose(self) -> ComposeResult:
        """Heading, parts, problem, hint."""
        from textual.containers import Vertical

        with Vertical():
            yield Static(Content.styled(safe(self.heading, 200), "bold"))
            yield from self.parts()
            yield Static("", id="problem", markup=False)
            yield Static(content(self.hint, 300), classes="quiet", markup=False)

    def parts(self) -> ComposeResult:
        """The inside."""
        yield from ()

    def problem(self, text: str) -> None:
        """Say inside the box what does not work; empty text takes it away."""
        shown = self.query_one("#problem", Static)
        shown.update(content(text, 400))
        shown.set_class(bool(text), "-shown")

    def leave_when(self, stored: Callable[[], Awaitable[object]], result: Result) -> None:
        """Leave with this result once it is stored. Where that is refused the box says so and stays: what was typed in
        it is nowhere else."""
        if not self._storing:
            self._storing = True
            begin(self, self._leave_when, stored, result, group="storing")

    async def _leave_when(self, stored: Callable[[], Awaitable[object]], result: Result) -> None:
        try:
            await stored()
        except PairsmithError as error:
            self.problem(str(error))
        else:
            self.dismiss(result)
        finally:
            self._storing = False

    def action_cancel(self) -> None:
        """Leave."""
        self.dismiss(None)

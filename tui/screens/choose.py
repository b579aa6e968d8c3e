"""A small form of choices: filter, order and bulk actions. A line below it says what the choices come to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from textual.app import ComposeResult
from textual.binding import Binding

from ..text import fill, line
from ..widgets.dialog import Dialog
from ..widgets.line import Piece
from ..widgets.lines import Lines, Row

Values = Mapping[str, Any]
Summary = Callable[[Values], Awaitable[Sequence[Row]]]


@dataclass(frozen=True, slots=True)
class Field:
    """One question: `options` are (what stands there, what it means)."""

    name: str
    label: str
    options: Sequence[tuple[str, Any]]
    start: int = 0


def field(name: str, label: str, options: Sequence[tuple[str, Any]], present: object) -> Field:
    """A field that starts at the present value."""
    start = next((number for number, (_, value) in enumerate(options) if value == present), 0)
    return Field(name, label, options, start)


class ChooseScreen(Dialog[Values | None]):
    """Gives the chosen values by name, or None."""

    DEFAULT_CSS = """
    ChooseScreen Lines { margin: 1 0; }
    """
    BINDINGS = [  # noqa: RUF012 - Textual's own declaration
        Binding("enter", "apply", "apply", id="choose.apply", tooltip="Do it"),
        Binding("down,j,tab", "move(1)", "next", id="choose.next", tooltip="The next line"),
        Binding("up,k,shift+tab", "move(-1)", "previous", id="choose.previous", tooltip="The line before"),
        Binding("right,l,space", "turn(1)", "other", id="choose.other", tooltip="Another value"),
        Binding("left,h", "turn(-1)", "back", id="choose.back", tooltip="The value before"),
    ]
    AUTO_FOCUS = ""

    def __init__(
        self,
        heading: str,
        fields: Sequence[Field],
        summary: Summary,
        *,
        hint: str = "↑ ↓ line   ← → value   enter does it   esc leaves",
        needs_summary: bool = False,
    ) -> None:
        super().__init__()
        self.heading = heading
        self.hint = hint
        self._fields = fields
        self._chosen = [one.start for one in fields]
        self._line = 0
        self._summary = summary
        self._said: Sequence[Row] = ()
        self._needs_summary = needs_summary
        self._asked = 0

    def parts(self) -> ComposeResult:
        """One block of lines."""
        self._lines = Lines()
        self._lines.styles.height = len(self._fields) + 5
        yield self._lines

    def on_mount(self) -> None:
        """Say what the first choices come to."""
        self._ask()

    def on_resize(self) -> None:
        """Draw for the new width."""
        self.call_after_refresh(self._paint)

    @property
    def values(self) -> Values:
        """What is chosen now."""
        return {one.name: one.options[at][1] for one, at in zip(self._fields, self._chosen, strict=True)}

    def _paint(self) -> None:
        width = self._lines.size.width
        rows: list[Row] = []
        for number, (one, at) in enumerate(zip(self._fields, self._chosen, strict=True)):
            here = number == self._line
            text = line(one.options[at][0], max(8, width - 26))
            rows.append(
                (
                    Piece("▸ " if here else "  ", "accent"),
                    Piece(fill(line(one.label, 16), 18), "quiet"),
                    Piece(f"‹ {text} ›" if here else f"  {text}", "strong" if here else ""),
                )
            )
        self._lines.show_rows([*rows, (), *self._said])

    def _ask(self) -> None:
        self._asked += 1
        self._said = [(Piece("  …", "quiet"),)]
        self._paint()
        self.run_worker(
            self._answer(self._asked, self.values), group="summary", exclusive=True, exit_on_error=False
        )

    async def _answer(self, asked: int, values: Values) -> None:
        await asyncio.sleep(0.05)
        said = await self._summary(values)
        if asked == self._asked:
            self._said = said
            self._paint()

    def action_move(self, steps: int) -> None:
        """To another line."""
        self._line = (self._line + steps) % len(self._fields)
        self._paint()

    def action_turn(self, steps: int) -> None:
        """Another value on this line."""
        self._chosen[self._line] = (self._chosen[self._line] + steps) % len(self._fields[self._line].options)
        self._ask()

    def action_apply(self) -> None:
        """Give the values back; what says how many it is about is waited for."""
        if self._needs_summary and self._said and self._said[0] and self._said[0][0].text == "  …":
            return
        self.dismiss(self.values)

"""A pair and its near-duplicates side by side, with the words in which they differ marked."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.binding import Binding

from pairsmith.pairs.near_pairs import NearPair
from pairsmith.pairs.store.review_rows import ReviewRow

from ..text import fill, line, wrap
from ..widgets.bars import WIDE
from ..widgets.dialog import Dialog
from ..widgets.line import Piece
from ..widgets.lines import Lines, Row
from ..widgets.pair_list import MARKS
from .review_versions import diff_rows


class NearScreen(Dialog[int | None]):
    """Gives the id of the pair to go to, or None."""

    DEFAULT_CSS = """
    NearScreen > Vertical { width: 100%; height: 100%; margin: 2 0 0 0; }
    NearScreen Lines { height: 1fr; margin-top: 1; }
    """
    BINDINGS = [  # noqa: RUF012 - Textual's own declaration
        Binding("j,down", "move(1)", "next", id="near.next", tooltip="The next neighbour"),
        Binding("k,up", "move(-1)", "previous", id="near.previous", tooltip="The neighbour before"),
        Binding("enter", "go", "go there", id="near.go", tooltip="Go to this neighbour in the review"),
        Binding("d,q", "cancel", "close", id="near.close", tooltip="Back to the review"),
    ]
    AUTO_FOCUS = ""
    hint = "j k neighbour   enter goes to it   d or esc back"

    def __init__(self, row: ReviewRow, near: list[tuple[NearPair, ReviewRow]]) -> None:
        super().__init__()
        self.heading = f"#{row.id:03} and what is like it"
        self._row = row
        self._near = near
        self._at = 0

    def parts(self) -> ComposeResult:
        """One area of lines."""
        self._lines = Lines()
        yield self._lines

    def on_resize(self) -> None:
        """Draw for the new size."""
        self.call_after_refresh(self._paint)

    def _paint(self) -> None:
        width, height = self._lines.size
        shown = [self._line(number, width) for number in range(len(self._near))][: max(1, height // 3)]
        other = self._near[self._at][1]
        self._lines.show_rows([*shown, (), *self._pair_rows(other, width, max(1, height - len(shown) - 1))])

    def _line(self, number: int, width: int) -> Row:
        near, row = self._near[number]
        here = number == self._at
        return (
            Piece("▸ " if here else "  ", "accent"),
            Piece(f"{near.score:.2f}  #{row.id:03} {MARKS[row.verdict]}  ", "quiet"),
            Piece(line(row.instruction, width - 22), "strong" if here else ""),
        )

    def _pair_rows(self, other: ReviewRow, width: int, height: int) -> list[Row]:
        if width >= WIDE - 4:
            half = width // 2 - 2
            left = [fill(part, half) for part in _text_lines(self._row, half)]
            right = _text_lines(other, half)
            count = max(len(left), len(right))
            left += [" " * half] * (count - len(left))
            right += [""] * (count - len(right))
            beside: list[Row] = []
            beside += ((Piece(a), Piece(" │ ", "quiet"), Piece(b)) for a, b in zip(left, right, strict=True))
            return beside[:height]
        rows: list[Row] = [(Piece("instruction, compared: {+only there+} [-only here-]", "quiet"),)]
        rows += diff_rows(self._row.instruction[:2000], other.instruction[:2000], width - 4)
        rows += [(), (Piece("its response", "quiet"),)]
        rows += [(Piece(f"  {part}"),) for part in wrap(other.output, width - 4, lines=60)]
        return rows[:height]

    def action_move(self, steps: int) -> None:
        """Another neighbour."""
        self._at = (self._at + steps) % len(self._near)
        self._paint()

    def action_go(self) -> None:
        """To this neighbour."""
        self.dismiss(self._near[self._at][1].id)


def _text_lines(row: ReviewRow, width: int) -> list[str]:
    found = [
        f"#{row.id:03} {MARKS[row.verdict]} {row.verdict}",
        "",
        *wrap(row.instruction, width, lines=40),
        "",
    ]
    if row.input:
        found += [*wrap(row.input, width, lines=40), ""]
    return found + wrap(row.output, width, lines=100)

"""Thresholds by looking: histograms, the line moved by key, and at once what it would keep and whom it agrees with."""

from __future__ import annotations

import asyncio
import contextlib
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from textual.app import ComposeResult
from textual.binding import Binding

from pairsmith.pairs.errors import PairsmithError
from pairsmith.pairs.store.paging import Threshold
from pairsmith.pairs.store.review_rows import ReviewRow, review_rows
from pairsmith.pairs.thresholds import Line as Outcome
from pairsmith.pairs.thresholds import Suggestion, histogram, suggest, weigh, where_of

from ..text import cut, fill, line
from ..widgets.dialog import Dialog
from ..widgets.line import Piece
from ..widgets.lines import Lines, Row
from ..widgets.scores import bar, in_order

if TYPE_CHECKING:
    from pairsmith.pairs.store.score_columns import Scored
    from pairsmith.pairs.store.workspace import Workspace

AT_MOST = frozenset({"verbosity", "complexity"})
"""Of these less is usually wanted; `c` turns any of them around."""
BUCKETS = 9
PRECISIONS = (0.8, 0.9, 0.95, 0.99)


@dataclass(frozen=True, slots=True)
class Axis:
    """An attribute on the screen; without a `value` it draws no line."""

    attribute: str
    low: float
    step: float
    counts: tuple[int, ...]
    operator: Literal[">=", "<="]
    value: float | None = None

    @property
    def threshold(self) -> Threshold | None:
        """Its line."""
        if self.value is None:
            return None
        return Threshold(self.attribute, self.operator, self.value)


@dataclass(frozen=True, slots=True)
class Chosen:
    """What was decided here: to reject what falls below, or only to keep the line for the order."""

    thresholds: tuple[Threshold, ...]
    reject: bool

    @property
    def where(self) -> str:
        """The line as an expression."""
        return where_of(self.thresholds)


class ThresholdScreen(Dialog[Chosen | None]):
    """Two axes at a time; `tab` goes through all of them."""

    DEFAULT_CSS = """
    ThresholdScreen > Vertical { width: 100%; height: 1fr; margin: 2 0 0 0; }
    ThresholdScreen Lines { height: 1fr; }
    """
    BINDINGS = [  # noqa: RUF012 - Textual's own declaration
        Binding("right,l", "line(1)", "line up", id="thresholds.up", tooltip="Move the line up by a tenth"),
        Binding(
            "left,h", "line(-1)", "line down", id="thresholds.down", tooltip="Move the line down by a tenth"
        ),
        Binding("tab,down,j", "axis(1)", "next axis", id="thresholds.axis", tooltip="The next attribute"),
        Binding(
            "shift+tab,up,k", "axis(-1)", "axis before", id="thresholds.axis_back", tooltip="The one before"
        ),
        Binding("c", "turn", "turn around", id="thresholds.turn", tooltip="At least, at most, or no line"),
        Binding("p", "precision", "precision", id="thresholds.precision", tooltip="Another wanted precision"),
        Binding("y", "take", "take suggestion", id="thresholds.take", tooltip="Take the suggested line"),
        Binding(
            "w",
            "keep",
            "keep line",
            id="thresholds.keep",
            tooltip="Keep the line for the order, reject nothing",
        ),
        Binding(
            "enter", "apply", "reject", id="thresholds.apply", tooltip="Reject the undecided pairs that fall"
        ),
    ]
    AUTO_FOCUS = ""
    heading = "Thresholds"
    hint = "← → line  tab axis  c ≥ ≤ none  p precision  y take it  w keep  enter rejects  esc no"

    def __init__(self, workspace: Workspace, scored: Scored, kept: tuple[Threshold, ...]) -> None:
        super().__init__()
        self._workspace = workspace
        self._scored = scored
        self._axes = axes_of(scored, kept)
        self._at = 0
        self._precision = 1
        self._outcome: Outcome | None = None
        self._suggestion: Suggestion | None = None
        self._nearest: ReviewRow | None = None
        self._turn = self._answered = 0
        self._take_soon = False

    def parts(self) -> ComposeResult:
        """One area of lines."""
        self._lines = Lines()
        yield self._lines

    def on_mount(self) -> None:
        """Weigh the first line."""
        self._weigh()

    def on_resize(self) -> None:
        """Draw for the new size."""
        self.call_after_refresh(self._paint)

    @property
    def thresholds(self) -> tuple[Threshold, ...]:
        """The lines of every axis that draws one."""
        return tuple(found for axis in self._axes if (found := axis.threshold) is not None)

    def _weigh(self) -> None:
        self._turn += 1
        self._take_soon = False
        self._paint()
        self.run_worker(self._answer(self._turn), group="weigh", exclusive=True, exit_on_error=False)

    async def _answer(self, turn: int) -> None:
        lines, axis, scored = self.thresholds, self._axes[self._at], self._scored
        wanted = PRECISIONS[self._precision]

        def work() -> tuple[Outcome, Suggestion | None]:
            return weigh(scored, lines), suggest(scored, axis.attribute, axis.operator, wanted)

        outcome, suggestion = await asyncio.to_thread(work)
        nearest = None
        if lines and outcome.nearest is not None:
            with contextlib.suppress(PairsmithError):
                found = await self._workspace.aread(lambda conn: review_rows(conn, [outcome.nearest or 0]))
                nearest = found[0] if found else None
        if turn == self._turn:
            self._outcome, self._suggestion, self._nearest = outcome, suggestion, nearest
            self._answered = turn
            self._paint()
            if self._take_soon:
                self.action_take()

    def _paint(self) -> None:
        width = self._lines.size.width
        if width < 20:
            return
        pair = self._axes[self._at : self._at + 2] if width >= 64 else self._axes[self._at : self._at + 1]
        if len(pair) < 2 <= len(self._axes) and width >= 64:
            pair = self._axes[-2:]
        half = width // len(pair)
        columns = [axis_rows(axis, half - 2, here=axis is self._axes[self._at]) for axis in pair]
        rows: list[Row] = [
            tuple(piece for row in group for piece in row) for group in zip(*columns, strict=True)
        ]
        self._lines.show_rows([*rows, (), *self._words(width)])

    def _words(self, width: int) -> list[Row]:
        found, scored = self._outcome, self._scored
        if found is None:
            return [(Piece(" …", "quiet"),)]
        where = where_of(self.thresholds) or "no line: ← or → draws one"
        rows: list[Row] = [
            (Piece(f" {line(where, width - 2)}", "accent"),),
            (
                Piece(f" keeps {found.keeps:,} of {len(scored):,}", "strong"),
                Piece(f" · falls {found.falls:,} · not scored {found.unscored:,} (never rejected)"),
            ),
        ]
        if found.decided:
            share = found.agrees / found.decided
            text = (
                f" you decided {found.decided:,} by hand: the rule agrees with {found.agrees:,} ({share:.0%}),"
                f" keeps {found.keeps_rejected:,} you rejected, drops {found.drops_accepted:,} you accepted"
            )
            rows += [(Piece(part),) for part in _two(text, width)]
        else:
            rows.append(
                (Piece(" decide some pairs by hand to see how far the rule agrees with you", "quiet"),)
            )
        if self._nearest is not None:
            rows.append(
                (
                    Piece(" nearest to the line: ", "quiet"),
                    Piece(f"“{line(self._nearest.instruction, width - 26)}”"),
                )
            )
        rows.append((Piece(cut(f" {self._suggested()}", width), "quiet"),))
        rows.append(
            (Piece(f" enter rejects the {found.rejects:,} undecided of them, one step; your verdicts stay"),)
        )
        return rows

    def _suggested(self) -> str:
        wanted, found = PRECISIONS[self._precision], self._suggestion
        axis = self._axes[self._at]
        if found is None:
            return f"for {wanted:.0%} precision: no line on {line(axis.attribute, 20)} reaches it on your verdicts"
        line_of = f"{axis.operator} {found.threshold.value:.2f}"
        return (
            f"for {wanted:.0%} precision: {line(axis.attribute, 20)} {line_of} ({found.accepted} of {found.kept}"
            f" it keeps you accepted, 95 %: over {found.lower:.0%})"
        )

    def _change(self, axis: Axis) -> None:
        self._axes[self._at] = axis
        self._weigh()

    def action_line(self, steps: int) -> None:
        """Move the line by a fifth of a bucket."""
        axis = self._axes[self._at]
        if axis.value is None:
            start = axis.low + axis.step * (BUCKETS - 1) / 2
            self._change(replace(axis, value=round(start, 6)))
            return
        fine = axis.step / 5
        value = axis.low + round((axis.value - axis.low) / fine + steps) * fine
        low, high = axis.low, axis.low + axis.step * BUCKETS
        self._change(replace(axis, value=round(max(low, min(high, value)), 6)))

    def action_axis(self, steps: int) -> None:
        """Another attribute."""
        self._at = (self._at + steps) % len(self._axes)
        self._weigh()

    def action_turn(self) -> None:
        """At least, at most, none."""
        axis = self._axes[self._at]
        if axis.value is None:
            self._change(replace(axis, operator=">=", value=axis.low + axis.step * (BUCKETS - 1) / 2))
        elif axis.operator == ">=":
            self._change(replace(axis, operator="<="))
        else:
            self._change(replace(axis, operator=">=", value=None))

    def action_precision(self) -> None:
        """Another wanted precision."""
        self._precision = (self._precision + 1) % len(PRECISIONS)
        self._weigh()

    def action_take(self) -> None:
        """Take the suggested line; what is suggested for this axis is waited for."""
        if self._answered != self._turn:
            self._take_soon = True
        elif self._suggestion is not None:
            axis = self._axes[self._at]
            self._change(replace(axis, value=self._suggestion.threshold.value))

    def action_keep(self) -> None:
        """Keep the line."""
        if self.thresholds:
            self.dismiss(Chosen(self.thresholds, reject=False))
        else:
            self.problem("There is no line to keep: ← or → draws one")

    def action_apply(self) -> None:
        """Reject what falls below; what says how many these are is waited for."""
        if self._answered != self._turn:
            return
        if self.thresholds:
            self.dismiss(Chosen(self.thresholds, reject=True))
        else:
            self.problem("There is no line: ← or → draws one")


def axes_of(scored: Scored, kept: tuple[Threshold, ...]) -> list[Axis]:
    """An axis for every attribute, with the line that was kept; without one, at the first attribute's third bucket."""
    known = {one.attribute: one for one in kept}
    found: list[Axis] = []
    for attribute in in_order(list(scored.values)):
        column = [value for value in scored.values[attribute] if not math.isnan(value)]
        low, step = scale(min(column), max(column))
        line_of = known.get(attribute)
        down = line_of.operator.startswith("<") if line_of else attribute in AT_MOST
        operator: Literal[">=", "<="] = "<=" if down else ">="
        counts = tuple(histogram(column, low, step, BUCKETS))
        found.append(Axis(attribute, low, step, counts, operator, line_of.value if line_of else None))
    if not kept and found:
        found[0] = replace(found[0], value=found[0].low + found[0].step * 6)
    return found


def scale(low: float, high: float) -> tuple[float, float]:
    """Where buckets begin and how wide they are: 0 to 4.5 for HelpSteer's scale, round numbers for others."""
    if low >= 0 and high <= 4.5:
        return 0.0, 0.5
    span = max(high - low, 1e-9) / (BUCKETS - 1)
    power = 10.0 ** math.floor(math.log10(span))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= span * 0.999)
    return math.floor(low / step) * step, step


def axis_rows(axis: Axis, width: int, *, here: bool) -> list[Row]:
    """A histogram, one line for each bucket; `▸` stands at the bucket of the line."""
    most = max(axis.counts) or 1
    line_of = (
        f"{axis.operator.replace('>=', '≥').replace('<=', '≤')} {axis.value:.2f}"
        if axis.value is not None
        else "no line"
    )
    title = f"{'▸' if here else ' '}{line(axis.attribute, 20)} {line_of}"
    rows: list[Row] = [(Piece(fill(title, width + 2), "here" if here else "quiet"),)]
    for number, count in enumerate(axis.counts):
        start = axis.low + number * axis.step
        at = axis.value is not None and start <= axis.value < start + axis.step
        last = number == len(axis.counts) - 1 and axis.value is not None and axis.value >= start + axis.step
        drawn = bar(count, most, max(4, width - 16)) or ("▏" if count else "")
        rows.append(
            (
                Piece("▸" if at or last else " ", "accent"),
                Piece(f"{start:<5g}", "quiet"),
                Piece(fill(drawn, max(4, width - 14)), "accent" if here else ""),
                Piece(fill(f"{count:,}" if count else "", 10), "quiet"),
            )
        )
    return [_fitted(row, width + 2) for row in rows]


def _fitted(row: Row, width: int) -> Row:
    """A row padded or cut to a width."""
    found: list[Piece] = []
    left = width
    for piece in row:
        text = cut(piece.text, left)
        found.append(Piece(text, piece.style))
        left -= len(text)
        if left <= 0:
            break
    if left > 0:
        found.append(Piece(" " * left))
    return tuple(found)


def _two(text: str, width: int) -> list[str]:
    from ..text import wrap

    return [part if not number else f" {part}" for number, part in enumerate(wrap(text, width - 2))]

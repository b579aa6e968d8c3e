"""The review in numbers: pace, rates with their intervals, what is left, by topic and by judge."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.widgets import Static

from pairsmith.pairs.store.stats import Stats
from pairsmith.pairs.thresholds import wilson

from ..text import content, fill, line
from ..widgets.dialog import Dialog
from .review_status import Pace, duration


class StatisticsScreen(Dialog[None]):
    """Read only."""

    DEFAULT_CSS = """
    StatisticsScreen VerticalScroll { height: auto; max-height: 18; margin: 1 0; }
    """
    BINDINGS = [  # noqa: RUF012 - Textual's own declaration
        Binding("s,q,enter", "cancel", "close", id="statistics.close", tooltip="Back to the review"),
        Binding("j", "scroll(1)", show=False),
        Binding("k", "scroll(-1)", show=False),
    ]
    heading = "Statistics"

    def __init__(self, stats: Stats, pace: Pace, left: int) -> None:
        super().__init__()
        self._stats = stats
        self._pace = pace
        self._left = left

    def parts(self) -> ComposeResult:
        """A block of lines."""
        with VerticalScroll():
            yield Static(
                content("\n".join(statistics_lines(self._stats, self._pace, self._left))), id="numbers"
            )

    def action_scroll(self, lines: int) -> None:
        """Move the lines."""
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)


def statistics_lines(stats: Stats, pace: Pace, left: int) -> list[str]:
    """The numbers as text."""
    accepted, rejected = stats.verdicts["accepted"], stats.verdicts["rejected"]
    found = [_row("this sitting", f"{pace.total:,} decided: {pace.accepted:,} ✓  {pace.rejected:,} ✗")]
    if pace.worked_s:
        found[0] += f"  in {duration(pace.worked_s)}"
    rate, minutes = pace.per_minute(), pace.minutes_left(left)
    if rate is not None and minutes is not None:
        found.append(
            _row("pace", f"{rate:.1f} pairs a minute: {duration(60 * minutes)} for the {left:,} left here")
        )
    found += [
        _row(
            "all pairs", f"{stats.pairs:,}: {accepted:,} ✓  {rejected:,} ✗  {stats.verdicts['undecided']:,} ·"
        ),
        _row("decided by", f"{stats.decided_by['human']:,} hand, {stats.decided_by['rule']:,} rule"),
    ]
    if accepted + rejected:
        low, high = wilson(accepted, accepted + rejected)
        share = accepted / (accepted + rejected)
        found.append(
            _row("accept rate", f"{share:.0%}  (95 %: {low:.0%} to {high:.0%}, n {accepted + rejected:,})")
        )
    found.append(_row("edited", f"{stats.edited:,}"))
    for judge in stats.judges:
        text = f"{judge.scored:,} scored, {judge.failed:,} failed, {judge.not_scored:,} not scored"
        found.append(_row(line(judge.judge, 30), text))
    if len(stats.topics) > 1:
        found += ["", "by topic                          pairs      ✓      ✗"]
        found += [
            f"{fill(line(one.name or 'no topic', 32), 32)} {one.pairs:>6,} {one.accepted:>6,} {one.rejected:>6,}"
            for one in stats.topics[:200]
        ]
    return found


def _row(label: str, text: str) -> str:
    return f"{fill(label, 13)} {text}"

"""The numbers over the pair: how far, how fast, how long yet; and what is said when there is no pair to show."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from pairsmith.pairs.store.filters import PairFilter
from pairsmith.pairs.store.journal import Entry
from pairsmith.pairs.store.paging import Order

from ..text import cut, line
from ..widgets.line import Piece
from ..widgets.lines import Row
from ..widgets.scores import EIGHTHS, SHORT

_RECENT = 30
_PAUSE_S = 120.0


@dataclass(slots=True)
class Pace:
    """Decisions of this sitting that stand, and how fast they come. Breaks over two minutes are not counted as work."""

    clock: Callable[[], float] = time.monotonic
    accepted: int = 0
    rejected: int = 0
    worked_s: float = 0.0
    _recent: deque[float] = field(default_factory=lambda: deque(maxlen=_RECENT))
    _last: float | None = None
    _given: dict[int, str] = field(default_factory=dict)

    def decided(self, verdict: str, entry_id: int | None) -> None:
        """Count a verdict of now, which this entry of the journal holds (None: it changed nothing)."""
        now = self.clock()
        gap = None if self._last is None else now - self._last
        self._last = now
        if gap is not None and gap <= _PAUSE_S:
            self.worked_s += gap
            self._recent.append(gap)
        if entry_id is not None:
            self._given[entry_id] = verdict
            self._count(verdict, 1)

    def moved(self, entry: Entry) -> None:
        """A verdict of this sitting that was undone does not count; done again it does."""
        verdict = self._given.get(entry.id)
        if verdict is not None and entry.restored:
            self._count(verdict, -1 if entry.state == "undone" else 1)

    def _count(self, verdict: str, by: int) -> None:
        if verdict == "accepted":
            self.accepted += by
        elif verdict == "rejected":
            self.rejected += by

    @property
    def total(self) -> int:
        """Verdicts of this sitting."""
        return self.accepted + self.rejected

    def per_minute(self) -> float | None:
        """Verdicts a minute over the last of them; None before there is anything to say."""
        spent = sum(self._recent)
        return 60 * len(self._recent) / spent if len(self._recent) >= 3 and spent > 0 else None

    def minutes_left(self, pairs: int) -> float | None:
        """Minutes for so many pairs at this pace."""
        rate = self.per_minute()
        return None if rate is None else pairs / rate


def tally_row(position: int, total: int, tally: Mapping[str, int], width: int) -> Row:
    """Line 4: `61 of 335   ▐█████▌   ▌   ✓ 48   ✗ 12   · 275`."""
    accepted, rejected, undecided = (tally[name] for name in ("accepted", "rejected", "undecided"))
    every = accepted + rejected + undecided
    left = f" {min(position + 1, total):,} of {total:,}   "
    right = [
        Piece(f"   ✓ {accepted:,}", "good"),
        Piece(f"   ✗ {rejected:,}", "bad"),
        Piece(f"   · {undecided:,} ", "quiet"),
    ]
    room = min(60, width - len(left) - sum(len(piece.text) for piece in right) - 2)
    if room < 6:
        return (Piece(left, "strong"), *right)
    eighths = round(room * 8 * (accepted + rejected) / every) if every else 0
    whole, part = divmod(eighths, 8)
    full = "█" * whole + (EIGHTHS[part] if part else "")
    spare = " " * (room - len(full))
    return (Piece(left, "strong"), Piece("▐"), Piece(full, "accent"), Piece(f"{spare}▌"), *right)


def status_row(
    chosen: PairFilter,
    order: Order,
    pace: Pace,
    left: int,
    *,
    topic: str,
    reading: bool,
    width: int,
    asking: Collection[int] = (),
) -> Row:
    """Line 5: the filter, the order, the pace. `asking`: pairs for which another response is on its way."""
    parts = [filter_words(chosen, topic), order_words(order)]
    if asking:
        others = f" and {len(asking) - 1:,} more" if len(asking) > 1 else ""
        parts.insert(0, f"… another response to #{min(asking):03}{others}")
    rate, minutes = pace.per_minute(), pace.minutes_left(left)
    if reading:
        parts.append("reading…")
    elif rate is not None and minutes is not None:
        parts.append(f"{rate:.0f} a minute, {duration(minutes * 60)} left")
    return (Piece(cut(" " + " · ".join(parts), width - 1), "quiet"),)


def filter_words(chosen: PairFilter, topic: str = "") -> str:
    """A filter in words."""
    words = [chosen.verdict.replace("-", " ") if chosen.verdict else "all"]
    if chosen.decided_by:
        words.append(f"by {'hand' if chosen.decided_by == 'human' else 'rule'}")
    if chosen.topic_id is not None:
        words.append(f"in {line(topic, 30) or 'a topic'}")
    if chosen.origin:
        words.append(chosen.origin)
    if chosen.edited is not None:
        words.append("edited" if chosen.edited else "not edited")
    if chosen.scored:
        words.append({"failed": "judge failed"}.get(chosen.scored, chosen.scored))
    if chosen.tag is not None:
        words.append(f"#{line(chosen.tag, 20)}")
    if chosen.text:
        words.append(f"with “{line(chosen.text, 30)}”")
    return ", ".join(words)


def order_words(order: Order) -> str:
    """An order in words."""
    if order.by == "score":
        name = line(SHORT.get(order.attribute, order.attribute), 20)
        return f"{'lowest' if order.ascending else 'highest'} {name} first"
    return f"{order.by} first"


def duration(seconds: float) -> str:
    """Seconds as "40 s", "9 min" or "3 h 20 min"."""
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def empty_rows(chosen: PairFilter, every: int) -> list[Row]:
    """What to press where the filter finds nothing."""
    if not every:
        return [
            (Piece(" There are no pairs yet.", "strong"),),
            (),
            (Piece(" Generate makes them; import brings them: pairsmith import WORKSPACE FILE", "quiet"),),
        ]
    return [
        (Piece(" No pair here.", "strong"), Piece(f"  The filter is: {filter_words(chosen)}")),
        (),
        (Piece(" f", "accent"), Piece(" another filter   "), Piece("/", "accent"), Piece(" find   ")),
    ]


def finished_rows(
    pace: Pace, tally: Mapping[str, int], topics: list[tuple[str, int, int]], left: int
) -> list[Row]:
    """The end of a filter: what was done, what it changed, what comes next. Topics as (name, accepted, rejected)."""
    spent = f" in {duration(pace.worked_s)}" if pace.worked_s else ""
    rows: list[Row] = [
        (Piece(" That was the last pair of this filter.", "strong"),),
        (),
        (
            Piece(f" {pace.total:,} decided{spent}: {pace.accepted:,} "),
            Piece("✓", "good"),
            Piece(f" {pace.rejected:,} "),
            Piece("✗", "bad"),
        ),
        (
            Piece(
                f" Now {tally['accepted']:,} accepted, {tally['rejected']:,} rejected, {tally['undecided']:,} undecided"
            ),
        ),
    ]
    if topics:
        rows += [(), (Piece(" by topic", "quiet"),)]
        rows += [
            (Piece(f"   {line(name, 40):<42}{good:>6,} ✓ {bad:>6,} ✗"),) for name, good, bad in topics[:8]
        ]
        if len(topics) > 8:
            rows.append((Piece(f"   and {len(topics) - 8} more", "quiet"),))
    rows.append(())
    if left:
        rows.append(
            (Piece(f" {left:,} of this filter are still undecided: home goes to the first", "quiet"),)
        )
    next_keys = [(" f", "another filter"), ("k", "back"), ("u", "undo"), ("s", "statistics")]
    rows.append(
        tuple(piece for key, word in next_keys for piece in (Piece(key, "accent"), Piece(f" {word}   ")))
    )
    return rows

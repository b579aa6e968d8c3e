"""Thresholds on scores, looked at before they are used: histograms, what a line keeps, how far it agrees with the
verdicts that a person gave, and the line that would reach a wanted precision.

All scores of one judge are read once as columns; every question after that is arithmetic on them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from .expression_nodes import Name, operand_shown
from .store.meta import get_meta, set_meta
from .store.paging import Threshold
from .store.score_columns import Scored

if TYPE_CHECKING:
    from .store.driver import sqlite3

KEPT_AS = "thresholds"
_Z = 1.959963984540054
"""Of the normal distribution, for intervals of 95 %."""


@dataclass(frozen=True, slots=True)
class Line:
    """What a set of thresholds comes to: pairs = keeps + falls + unscored."""

    keeps: int
    falls: int
    unscored: int
    rejects: int
    """Undecided pairs among those that fall."""
    agrees: int
    keeps_rejected: int
    drops_accepted: int
    nearest: int | None
    """The scored pair nearest to the line."""

    @property
    def decided(self) -> int:
        """Verdicts by hand that the line can be compared with."""
        return self.agrees + self.keeps_rejected + self.drops_accepted


def weigh(scored: Scored, thresholds: Sequence[Threshold]) -> Line:
    """What these thresholds, all of them together, keep and reject. A pair with a missing score is unscored unless
    another score already falls."""
    keeps = falls = unscored = rejects = agrees = keeps_rejected = drops_accepted = 0
    nearest: tuple[float, int] | None = None
    columns = [
        (
            scored.values.get(one.attribute),
            one.value,
            1.0 if one.operator in (">", ">=") else -1.0,
            "=" in one.operator,
        )
        for one in thresholds
    ]
    for number, human in enumerate(scored.human):
        margin, missing, falling = math.inf, False, False
        for column, value, sign, inclusive in columns:
            score = math.nan if column is None else column[number]
            if score != score:
                missing = True
                continue
            distance = sign * (score - value)
            falling = falling or distance < 0 or (distance == 0 and not inclusive)
            margin = min(margin, distance)
        if missing and not falling:
            unscored += 1
            continue
        keeps += not falling
        falls += falling
        rejects += falling and scored.undecided[number]
        if human:
            agrees += (human > 0) != falling
            keeps_rejected += human < 0 and not falling
            drops_accepted += human > 0 and falling
        if not missing and (nearest is None or abs(margin) < nearest[0]):
            nearest = abs(margin), scored.ids[number]
    return Line(
        keeps,
        falls,
        unscored,
        rejects,
        agrees,
        keeps_rejected,
        drops_accepted,
        None if nearest is None else nearest[1],
    )


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A line on one attribute: of the pairs that a person decided and that it keeps, `accepted` were accepted.

    `lower` is the lower end of the 95 % interval (Wilson) of that share."""

    threshold: Threshold
    kept: int
    accepted: int
    lower: float

    @property
    def precision(self) -> float:
        """The share of accepted ones among the decided pairs that the line keeps."""
        return self.accepted / self.kept


def suggest(
    scored: Scored, attribute: str, operator: Literal[">=", "<="], precision: float, *, least: int = 5
) -> Suggestion | None:
    """The line that keeps most of the pairs decided by hand with at least this precision (0..1); None where no line
    that keeps at least `least` of them does."""
    column = scored.values.get(attribute)
    if column is None:
        return None
    decided = sorted(
        (
            (value, human)
            for value, human in zip(column, scored.human, strict=True)
            if human and value == value
        ),
        reverse=operator == ">=",
    )
    found: Suggestion | None = None
    accepted = 0
    for number, (value, human) in enumerate(decided, 1):
        accepted += human > 0
        last_of_its_value = number == len(decided) or decided[number][0] != value
        if last_of_its_value and number >= least and accepted / number >= precision:
            found = Suggestion(
                Threshold(attribute, operator, value), number, accepted, wilson(accepted, number)[0]
            )
    return found


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson's score interval); (0, 1) without trials."""
    if not trials:
        return 0.0, 1.0
    share = successes / trials
    middle = share + _Z * _Z / (2 * trials)
    spread = _Z * math.sqrt(share * (1 - share) / trials + _Z * _Z / (4 * trials * trials))
    below = 1 + _Z * _Z / trials
    return max(0.0, (middle - spread) / below), min(1.0, (middle + spread) / below)


def histogram(column: Sequence[float], low: float, step: float, count: int) -> list[int]:
    """How many values fall into each of `count` buckets from `low`; what lies outside is in the first or last."""
    found = [0] * count
    for value in column:
        if value == value:
            found[min(count - 1, max(0, math.floor((value - low) / step + 1e-9)))] += 1
    return found


def where_of(thresholds: Sequence[Threshold]) -> str:
    """The thresholds as an expression."""
    return " and ".join(
        f"{operand_shown(Name(one.attribute))} {one.operator} {_exactly(one.value)}" for one in thresholds
    )


def _exactly(value: float) -> str:
    """A number that reads back as itself: a rule with fewer digits would not reject what its preview counted."""
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def kept_thresholds(conn: sqlite3.Connection) -> tuple[str, tuple[Threshold, ...]]:
    """The judge and the line that were kept last; ("", ()) where there are none."""
    try:
        data = json.loads(get_meta(conn, KEPT_AS) or "{}")
        return str(data["judge"]), tuple(
            Threshold(a, o, float(v)) for a, o, v in data["line"] if o in ("<", "<=", ">", ">=")
        )
    except (ValueError, KeyError, TypeError):
        return "", ()


def keep_thresholds(conn: sqlite3.Connection, judge: str, thresholds: Sequence[Threshold]) -> None:
    """Remember the line that orders "least certain first"."""
    line = [[one.attribute, one.operator, one.value] for one in thresholds]
    set_meta(conn, KEPT_AS, json.dumps({"judge": judge, "line": line}, ensure_ascii=False))

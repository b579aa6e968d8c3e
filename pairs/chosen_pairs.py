"""Which pairs an export, a push or a training is about: by verdict, and by an expression."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from .expressions import parse_expression
from .store.driver import sqlite3
from .store.filters import PairFilter
from .store.paging import Order, snapshot_ids
from .store.where import matching_ids

VerdictChoice = Literal["not-rejected", "accepted", "any"]
NAMES = ("accepted", "undecided", "rejected")


@dataclass(frozen=True, slots=True)
class Chosen:
    """Ids in the order of their making. `left_out`: pairs of the verdict that the expression is not true of."""

    ids: Sequence[int]
    left_out: int = 0


def choose_pairs(
    conn: sqlite3.Connection,
    verdict: VerdictChoice = "not-rejected",
    where: str | None = None,
    judge: str | None = None,
) -> Chosen:
    """The chosen pairs; with `where`, only those of which it is true. Raises ExpressionError.

    `judge`: whose scores an attribute's bare name means; None: the newest of whichever judge.
    """
    chosen = PairFilter(verdict=None if verdict == "any" else verdict)
    ids = snapshot_ids(conn, chosen, Order("oldest"))
    if where is None:
        return Chosen(ids)
    passed = array("q", matching_ids(conn, parse_expression(where), judge=judge, chosen=chosen))
    return Chosen(passed, len(ids) - len(passed))


def count_verdicts_of(conn: sqlite3.Connection, ids: Sequence[int]) -> dict[str, int]:
    """How many of these pairs are accepted, undecided, rejected; zeros left out."""
    rows = conn.execute(
        "SELECT pair.verdict FROM json_each(?) AS given CROSS JOIN pair ON pair.id = given.value",
        ("[" + ",".join(map(str, ids)) + "]",),
    )
    counts = Counter(row[0] for row in rows)
    return {name: counts[name] for name in NAMES if counts[name]}


def verdicts_said(pairs: int, verdicts: Mapping[str, int]) -> str:
    """Such as "316 pairs: 48 accepted, 268 undecided"."""
    parts = [f"{verdicts[name]:,} {name}" for name in NAMES if verdicts.get(name)]
    counted = f"{pairs:,} pair" if pairs == 1 else f"{pairs:,} pairs"
    return f"{counted}: {', '.join(parts)}" if parts else counted

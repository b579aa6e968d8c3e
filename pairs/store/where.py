"""An expression over pairs: what it says of each one, read in batches. Missing scores make it unknown, not
false.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..expressions import Expression, evaluate, names
from .driver import sqlite3
from .filters import PairFilter
from .paging import page_ids
from .scores import Judged, scores_of

_BATCH = 2000
_OF_THE_PAIR = frozenset({"topic", "verdict"})


def evaluate_where(
    conn: sqlite3.Connection, expression: Expression, *, judge: str | None, chosen: PairFilter | None = None
) -> Iterator[tuple[int, bool | None]]:
    """What the expression says of every pair (of the filter), oldest first: (id, True, False or None for
    unknown).

    Attribute names are the newest scores of `judge` (None: of whichever judge judged last); "judge/attribute"
    are another's. `topic` is the name of the pair's own topic.
    """
    needs_scores = bool(set(names(expression)) - _OF_THE_PAIR)
    last: int | None = None
    while ids := page_ids(conn, chosen or PairFilter(), last, direction="newer", limit=_BATCH):
        ids.reverse()
        last = ids[-1]
        rows = conn.execute(
            "SELECT pair.id, pair.version_id, pair.verdict, topic.name FROM json_each(?) AS given"
            " CROSS JOIN pair ON pair.id = given.value LEFT JOIN topic ON topic.id = pair.topic_id",
            ("[" + ",".join(map(str, ids)) + "]",),
        ).fetchall()
        judged = scores_of(conn, [row[1] for row in rows]) if needs_scores else {}
        for pair_id, version_id, verdict, topic in rows:
            lookup = _Lookup(verdict, topic, judged.get(version_id, {}), judge)
            yield int(pair_id), evaluate(expression, lookup)


def matching_ids(
    conn: sqlite3.Connection,
    expression: Expression,
    *,
    judge: str | None,
    chosen: PairFilter | None = None,
    value: bool | None = True,
) -> list[int]:
    """Ids of the pairs for which the expression is true (or `value`), oldest first."""
    return [
        pair_id
        for pair_id, said in evaluate_where(conn, expression, judge=judge, chosen=chosen)
        if said is value
    ]


class _Lookup:
    """Values of names for one pair."""

    __slots__ = ("_judge", "_judged", "_topic", "_verdict")

    def __init__(
        self, verdict: str, topic: str | None, judged: Mapping[str, Judged], judge: str | None
    ) -> None:
        self._verdict = verdict
        self._topic = topic
        self._judged = judged
        self._judge = judge

    def __call__(self, name: str) -> float | str | None:
        if name == "verdict":
            return self._verdict
        if name == "topic":
            return self._topic
        # Names of judges hold slashes themselves ("nim:nvidia/nemotron").
        other, slash, attribute = name.rpartition("/")
        if slash:
            return self._score(other, attribute)
        if self._judge is not None:
            return self._score(self._judge, name)
        newest = max(self._judged.values(), key=lambda judged: judged.judgement_id, default=None)
        return None if newest is None else newest.scores.get(name)

    def _score(self, judge: str, attribute: str) -> float | None:
        judged = self._judged.get(judge)
        return None if judged is None else judged.scores.get(attribute)

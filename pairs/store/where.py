"""An expression over pairs: what it says of each one, read in batches. Missing scores make it unknown, not
false.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..expressions import Expression, evaluate, names, split_name
from .driver import sqlite3
from .filters import PairFilter
from .paging import page_ids
from .scores import Judged, scores_of

_BATCH = 2000


def evaluate_where(
    conn: sqlite3.Connection, expression: Expression, *, judge: str | None, chosen: PairFilter | None = None
) -> Iterator[tuple[int, bool | None]]:
    """What the expression says of every pair (of the filter), oldest first: (id, True, False or None for
    unknown).

    Attribute names are the newest scores of `judge` (None: of whichever judge judged last); "judge/attribute"
    are another's. `topic` is the name of the pair's own topic; `backend` and `model` made the chosen version.
    """
    needs_scores = bool(names(expression))
    last: int | None = None
    while ids := page_ids(conn, chosen or PairFilter(), last, direction="newer", limit=_BATCH):
        ids.reverse()
        if last is not None and ids[-1] <= last:
            raise RuntimeError("pairs come in no order: an index is damaged")  # or this would never end
        last = ids[-1]
        rows = conn.execute(
            "SELECT pair.id, pair.version_id, topic.name, pair.verdict, call.backend, call.model, pair.origin"
            " FROM json_each(?) AS given CROSS JOIN pair ON pair.id = given.value"
            " JOIN version ON version.id = pair.version_id LEFT JOIN call ON call.id = version.call_id"
            " LEFT JOIN topic ON topic.id = pair.topic_id",
            ("[" + ",".join(map(str, ids)) + "]",),
        ).fetchall()
        judged = scores_of(conn, [row[1] for row in rows]) if needs_scores else {}
        for pair_id, version_id, *texts in rows:
            fields = dict(zip(("topic", "verdict", "backend", "model", "origin"), texts, strict=True))
            yield int(pair_id), evaluate(expression, _Lookup(fields, judged.get(version_id, {}), judge))


def matching_ids(
    conn: sqlite3.Connection,
    expression: Expression,
    *,
    judge: str | None,
    chosen: PairFilter | None = None,
    value: bool | None = True,
) -> list[int]:
    """Ids of the pairs for which the expression is true (or `value`), oldest first."""
    said = evaluate_where(conn, expression, judge=judge, chosen=chosen)
    return [pair_id for pair_id, answer in said if answer is value]


class _Lookup:
    """Values of names for one pair."""

    __slots__ = ("_fields", "_judge", "_judged")

    def __init__(
        self, fields: Mapping[str, str | None], judged: Mapping[str, Judged], judge: str | None
    ) -> None:
        self._fields = fields
        self._judged = judged
        self._judge = judge

    def __call__(self, name: str) -> float | str | None:
        if name in self._fields:
            return self._fields[name]
        other, attribute = split_name(name)
        judge = other or self._judge
        if judge is not None:
            judged = self._judged.get(judge)
        else:
            judged = max(self._judged.values(), key=lambda one: one.judgement_id, default=None)
        return None if judged is None else judged.scores.get(attribute)

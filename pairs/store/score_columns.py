"""One judge's scores of every pair as columns, for arithmetic over all of them at once."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping
from dataclasses import dataclass

from .driver import sqlite3


@dataclass(frozen=True, slots=True)
class Scored:
    """One judge's scores of every pair, by column; a missing score is NaN. `human` is 1 accepted, -1 rejected by hand,
    0 neither; `undecided` 1 where nobody and no rule decided."""

    judge: str
    ids: array[int]
    human: array[int]
    undecided: array[int]
    values: Mapping[str, array[float]]

    def __len__(self) -> int:
        return len(self.ids)


def read_scored(conn: sqlite3.Connection, judge: str) -> Scored:
    """Every pair with this judge's newest scores of its chosen version."""
    ids, human, undecided = array("q"), array("b"), array("b")
    values: dict[str, array[float]] = {}
    place: dict[int, int] = {}
    for pair_id, verdict, by in conn.execute(
        "SELECT id, verdict, verdict_by FROM pair WHERE removed = 0 ORDER BY id"
    ):
        place[pair_id] = len(ids)
        ids.append(pair_id)
        human.append(0 if by != "human" else 1 if verdict == "accepted" else -1)
        undecided.append(verdict == "undecided")
    rows = conn.execute(
        """
        SELECT pair.id, score.attribute, score.value FROM pair
        CROSS JOIN judgement ON judgement.id = (
            SELECT newest.id FROM judgement AS newest
            WHERE newest.version_id = pair.version_id AND newest.judge = ? ORDER BY newest.id DESC LIMIT 1)
        JOIN score ON score.judgement_id = judgement.id
        WHERE pair.removed = 0
        """,
        (judge,),
    )
    for pair_id, attribute, value in rows:
        if attribute not in values:
            values[attribute] = array("d", [math.nan]) * len(ids)
        values[attribute][place[pair_id]] = value
    return Scored(judge, ids, human, undecided, values)

"""Reading scores beside a page of pairs: each judge's newest judgement of each version, failures with
their reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .driver import sqlite3


@dataclass(frozen=True, slots=True)
class Judged:
    """A judge's newest word on a version: scores by attribute, or the reason why there are none."""

    judgement_id: int
    version_id: int
    judge: str
    kind: str
    rubric: str
    reason: str | None
    rationale: str | None
    at: str
    scores: Mapping[str, float]


def scores_of(
    conn: sqlite3.Connection, version_ids: Iterable[int], judge: str | None = None
) -> dict[int, dict[str, Judged]]:
    """Version id -> judge -> its newest judgement; of one judge only where it is named. Unjudged ones are
    left out.
    """
    ids = "[" + ",".join(str(int(version_id)) for version_id in version_ids) + "]"
    rows = conn.execute(
        """
        SELECT judgement.id, judgement.version_id, judgement.judge, judgement.kind, judgement.rubric,
               judgement.reason, judgement.rationale, judgement.at, score.attribute, score.value
        FROM json_each(:ids) AS given
        CROSS JOIN judgement ON judgement.version_id = given.value AND (:judge IS NULL OR judgement.judge = :judge)
        LEFT JOIN score ON score.judgement_id = judgement.id
        WHERE NOT EXISTS (
            SELECT 1 FROM judgement AS later WHERE later.version_id = judgement.version_id
            AND later.judge = judgement.judge AND later.id > judgement.id
        )
        ORDER BY judgement.id
        """,
        {"ids": ids, "judge": judge},
    ).fetchall()
    found: dict[int, dict[str, Judged]] = {}
    for row in rows:
        judges = found.setdefault(row[1], {})
        if row[2] not in judges:
            judges[row[2]] = Judged(*(*row[:8], {}))
        if row[8] is not None:
            scores = judges[row[2]].scores
            assert isinstance(scores, dict)
            scores[row[8]] = row[9]
    return found


def judges(conn: sqlite3.Connection) -> list[str]:
    """Every judge that ever judged here, the latest first."""
    rows = conn.execute("SELECT judge FROM judgement GROUP BY judge ORDER BY max(id) DESC").fetchall()
    return [str(row[0]) for row in rows]


def attributes(conn: sqlite3.Connection, judge: str) -> list[str]:
    """Attributes of a judge's newest scored judgement, in alphabetical order."""
    rows = conn.execute(
        "SELECT attribute FROM score WHERE judgement_id ="
        " (SELECT max(id) FROM judgement WHERE judge = ? AND state = 'scored') ORDER BY attribute",
        (judge,),
    ).fetchall()
    return [str(row[0]) for row in rows]

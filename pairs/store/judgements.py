"""Judgements and their scores. A judge that failed leaves its reason here, never a number."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .clock import now
from .driver import sqlite3


@dataclass(frozen=True, slots=True)
class Score:
    """A judge's number for one attribute. `mass`: how much probability fell on the digits, where that is
    known.
    """

    value: float
    mass: float | None = None
    probabilities: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a judge said of one version, or why it said nothing."""

    judge: str
    kind: str
    rubric: str = ""
    scores: Mapping[str, Score] | None = None
    reason: str | None = None
    rationale: str | None = None


def add_judgement(
    conn: sqlite3.Connection,
    version_id: int,
    judgement: Judgement,
    *,
    run_id: int | None = None,
    call_ids: Sequence[int] = (),
) -> int:
    """Store a judgement. Exactly one of `scores` and `reason` is set; every score is finite."""
    scores = judgement.scores or {}
    if bool(scores) == bool(judgement.reason):
        raise ValueError("a judgement holds scores or the reason why there are none")
    if not all(math.isfinite(score.value) for score in scores.values()):
        raise ValueError("a score is a finite number")
    cursor = conn.execute(
        "INSERT INTO judgement (version_id, run_id, judge, kind, rubric, state, reason, rationale, at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            version_id,
            run_id,
            judgement.judge,
            judgement.kind,
            judgement.rubric,
            "failed" if judgement.reason else "scored",
            judgement.reason,
            judgement.rationale,
            now(),
        ),
    )
    assert cursor.lastrowid is not None
    judgement_id = int(cursor.lastrowid)
    conn.executemany(
        "INSERT INTO score (judgement_id, attribute, value, mass, probabilities) VALUES (?, ?, ?, ?, ?)",
        [
            (
                judgement_id,
                attribute,
                score.value,
                score.mass,
                None if score.probabilities is None else json.dumps(score.probabilities),
            )
            for attribute, score in scores.items()
        ],
    )
    conn.executemany(
        "INSERT INTO judgement_call (judgement_id, call_id) VALUES (?, ?)",
        [(judgement_id, call_id) for call_id in call_ids],
    )
    return judgement_id


def unjudged_pairs(
    conn: sqlite3.Connection, judge: str, kind: str, rubric: str, after: int, limit: int
) -> list[int]:
    """Ids above `after` of pairs whose chosen version this judge has not scored (a failure counts as not
    scored).
    """
    rows = conn.execute(
        """
        SELECT pair.id FROM pair
        WHERE pair.removed = 0 AND pair.id > ?1 AND NOT EXISTS (
            SELECT 1 FROM judgement
            WHERE judgement.version_id = pair.version_id AND judgement.judge = ?2 AND judgement.kind = ?3
              AND judgement.rubric = ?4 AND judgement.state = 'scored'
        )
        ORDER BY pair.id LIMIT ?5
        """,
        (after, judge, kind, rubric, limit),
    ).fetchall()
    return [int(row[0]) for row in rows]

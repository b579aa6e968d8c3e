"""What a screen shows of a generate run beside its ledger: what is asked right now, what came last, what calls cost."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .driver import sqlite3
from .scores import Judged, scores_of


@dataclass(frozen=True, slots=True)
class Newest:
    """A pair of a run with its present scores, by judge."""

    pair_id: int
    topic: str
    instruction: str
    created_at: str
    backend: str
    model: str
    judged: dict[str, Judged]


@dataclass(frozen=True, slots=True)
class Doing:
    """Calls in flight of one purpose on one topic (empty: of none)."""

    purpose: str
    topic: str
    count: int


@dataclass(frozen=True, slots=True)
class Spent:
    """What calls of one purpose cost so far; tokens and seconds are of the useful ones."""

    purpose: str
    made: int
    useful: int
    tokens_in: int
    tokens_out: int
    seconds: float


def newest_pairs(conn: sqlite3.Connection, run_id: int, limit: int) -> list[Newest]:
    """The last kept pairs of a run, newest first."""
    rows = conn.execute(
        "SELECT pair.id, coalesce(topic.name, ''), version.instruction, pair.created_at, coalesce(call.backend, ''),"
        " coalesce(call.model, ''), pair.version_id FROM pair JOIN version ON version.id = pair.version_id"
        " LEFT JOIN topic ON topic.id = pair.topic_id LEFT JOIN call ON call.id = version.call_id"
        " WHERE pair.run_id = ? AND pair.removed = 0 ORDER BY pair.id DESC LIMIT ?",
        (run_id, limit),
    ).fetchall()
    judged = scores_of(conn, [row[6] for row in rows])
    return [Newest(row[0], row[1], row[2], row[3], row[4], row[5], judged.get(row[6], {})) for row in rows]


def calls_in_flight(conn: sqlite3.Connection, run_id: int) -> list[Doing]:
    """What the run is asking for now, by topic in the order of the tree."""
    counts: dict[tuple[str, str], int] = {}
    for purpose, subject in conn.execute(
        "SELECT purpose, subject FROM call WHERE run_id = ? AND state = 'in flight' ORDER BY id", (run_id,)
    ).fetchall():
        key = (str(purpose), _topic_of(conn, purpose, subject))
        counts[key] = counts.get(key, 0) + 1
    return [Doing(purpose, topic, count) for (purpose, topic), count in counts.items()]


_TOPIC = {
    "instructions": "SELECT name FROM topic WHERE id = ?",
    "response": "SELECT topic.name FROM candidate JOIN topic ON topic.id = candidate.topic_id WHERE candidate.id = ?",
    "judge": "SELECT topic.name FROM version JOIN pair ON pair.id = version.pair_id"
    " JOIN topic ON topic.id = pair.topic_id WHERE version.id = ?",
}


def _topic_of(conn: sqlite3.Connection, purpose: str, subject: str) -> str:
    number = re.search(r"\d+", subject)
    if purpose not in _TOPIC or number is None:
        return ""
    row = conn.execute(_TOPIC[purpose], (int(number[0]),)).fetchone()
    return "" if row is None else str(row[0])


def spending(conn: sqlite3.Connection, makers: Sequence[str]) -> list[Spent]:
    """What calls of each purpose cost in this workspace so far. `makers`: BACKEND:MODEL, those that count."""
    found: list[Spent] = []
    for purpose, made, useful, tokens_in, tokens_out, milliseconds in conn.execute(
        "SELECT purpose, count(*), sum(state = 'useful'), sum(iif(state = 'useful', tokens_in, 0)),"
        " sum(iif(state = 'useful', tokens_out, 0)), sum(iif(state = 'useful', coalesce(latency_ms, 0), 0))"
        " FROM call WHERE state <> 'in flight' AND backend || ':' || model IN (SELECT value FROM json_each(?))"
        " GROUP BY purpose",
        (_json(makers),),
    ).fetchall():
        found.append(Spent(purpose, made, useful, tokens_in, tokens_out, milliseconds / 1000))
    return found


def survival(conn: sqlite3.Connection) -> tuple[int, int]:
    """(candidates that were sifted, those that were not lost in the sieve) of all runs."""
    row = conn.execute(
        "SELECT count(*), sum(state <> 'lost' OR loss IN ('cut off', 'refused', 'no answer', 'judged below',"
        " 'judge failed', 'surplus')) FROM candidate"
    ).fetchone()
    return int(row[0]), int(row[1] or 0)


def _json(texts: Sequence[str]) -> str:
    import json

    return json.dumps(list(texts), ensure_ascii=False)

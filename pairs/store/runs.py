"""Runs: generate, judge, train or evaluate jobs with their state, settings and topics' quotas."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from .clock import now
from .driver import sqlite3

RunKind = Literal["generate", "judge", "train", "evaluate"]
RunState = Literal["running", "paused", "unfinished", "done", "failed"]


@dataclass(frozen=True, slots=True)
class Run:
    """One job of the past or present."""

    id: int
    uid: str
    kind: RunKind
    state: RunState
    settings: Mapping[str, Any]
    asked: int | None
    started_at: str
    ended_at: str | None
    reason: str
    result: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class RunTopic:
    """What a generate run wants of one topic, and how far it is. `lost` counts candidates, all reasons
    together.
    """

    topic_id: int
    name: str
    path: str
    """Names from the root of the tree down to this topic, joined by " › "."""
    planned: int
    quota: int
    exhausted: bool
    kept: int
    waiting: int
    answered: int
    lost: int


def settings_key(settings: Mapping[str, Any]) -> str:
    """Hash of the settings that make two starts the same run (generator, judge and limits are not among
    them).
    """
    return hashlib.sha256(json.dumps(settings, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def start_run(
    conn: sqlite3.Connection, kind: RunKind, settings: Mapping[str, Any], asked: int | None = None
) -> int:
    """Insert a run in state running; returns its id."""
    cursor = conn.execute(
        "INSERT INTO run (uid, kind, state, settings, settings_key, asked, started_at)"
        " VALUES (?, ?, 'running', ?, ?, ?, ?)",
        (
            uuid.uuid4().hex,
            kind,
            json.dumps(settings, ensure_ascii=False),
            settings_key(settings),
            asked,
            now(),
        ),
    )
    assert cursor.lastrowid is not None
    return int(cursor.lastrowid)


def unfinished_run(conn: sqlite3.Connection, kind: RunKind, settings: Mapping[str, Any]) -> int | None:
    """The newest run with these settings that is not done: 'running' counts, since a killed process leaves
    it so.
    """
    row = conn.execute(
        "SELECT id FROM run WHERE kind = ? AND settings_key = ? AND state IN ('running', 'paused', 'unfinished')"
        " ORDER BY id DESC LIMIT 1",
        (kind, settings_key(settings)),
    ).fetchone()
    return None if row is None else int(row[0])


def set_state(conn: sqlite3.Connection, run_id: int, state: RunState, reason: str = "") -> None:
    """Change a run's state; an ending state also gets its time."""
    ended = None if state == "running" else now()
    conn.execute(
        "UPDATE run SET state = ?, reason = ?, ended_at = ? WHERE id = ?", (state, reason, ended, run_id)
    )


def set_result(conn: sqlite3.Connection, run_id: int, result: Mapping[str, Any]) -> None:
    """Store what a run produced, as JSON."""
    conn.execute("UPDATE run SET result = ? WHERE id = ?", (json.dumps(result, ensure_ascii=False), run_id))


_COLUMNS = "id, uid, kind, state, settings, asked, started_at, ended_at, reason, result"


def _run(row: Sequence[Any]) -> Run:
    return Run(
        row[0], row[1], row[2], row[3], json.loads(row[4]), row[5], row[6], row[7], row[8],
        None if row[9] is None else json.loads(row[9]),
    )  # fmt: skip


def get_run(conn: sqlite3.Connection, run_id: int) -> Run:
    """One run. Raises KeyError."""
    row = conn.execute(f"SELECT {_COLUMNS} FROM run WHERE id = ?", (run_id,)).fetchone()
    if row is None:
        raise KeyError(run_id)
    return _run(row)


def list_runs(conn: sqlite3.Connection, kind: RunKind | None = None) -> list[Run]:
    """All runs, newest first."""
    rows = conn.execute(
        f"SELECT {_COLUMNS} FROM run WHERE ?1 IS NULL OR kind = ?1 ORDER BY id DESC", (kind,)
    ).fetchall()
    return [_run(row) for row in rows]


def add_event(conn: sqlite3.Connection, run_id: int, kind: str, text: str) -> None:
    """Keep what a job told the user."""
    conn.execute(
        "INSERT INTO event (run_id, at, kind, text) VALUES (?, ?, ?, ?)", (run_id, now(), kind, text)
    )


def list_events(conn: sqlite3.Connection, run_id: int, limit: int = 100) -> list[tuple[str, str, str]]:
    """The newest (at, kind, text) of a run, oldest first."""
    rows = conn.execute(
        "SELECT at, kind, text FROM event WHERE run_id = ? ORDER BY id DESC LIMIT ?", (run_id, limit)
    ).fetchall()
    return [(row[0], row[1], row[2]) for row in reversed(rows)]


def plan_topics(conn: sqlite3.Connection, run_id: int, quotas: Mapping[int, int]) -> None:
    """Give a run its quota for each topic id."""
    conn.executemany(
        "INSERT INTO run_topic (run_id, topic_id, planned, quota) VALUES (?, ?, ?, ?)",
        [(run_id, topic, quota, quota) for topic, quota in quotas.items()],
    )


def set_quotas(conn: sqlite3.Connection, run_id: int, quotas: Mapping[int, int]) -> None:
    """Change quotas (what a topic that ran dry cannot give goes to others)."""
    conn.executemany(
        "UPDATE run_topic SET quota = ? WHERE run_id = ? AND topic_id = ?",
        [(quota, run_id, topic) for topic, quota in quotas.items()],
    )


def set_exhausted(conn: sqlite3.Connection, run_id: int, topic_id: int | None, exhausted: bool) -> None:
    """Mark one topic of a run (None: all of them) as having run dry, or as worth another try."""
    conn.execute(
        "UPDATE run_topic SET exhausted = ?1 WHERE run_id = ?2 AND (?3 IS NULL OR topic_id = ?3)",
        (int(exhausted), run_id, topic_id),
    )


def run_topics(conn: sqlite3.Connection, run_id: int) -> list[RunTopic]:
    """A run's topics in the order of the tree, with their candidates counted."""
    rows = conn.execute(
        """
        WITH RECURSIVE tree (id, path, sort) AS (
            SELECT id, name, printf('%08d', position) FROM topic WHERE parent_id IS NULL
            UNION ALL
            SELECT topic.id, tree.path || ' › ' || topic.name, tree.sort || printf('.%08d', topic.position)
            FROM topic JOIN tree ON topic.parent_id = tree.id
        ), counted (topic_id, kept, waiting, answered, lost) AS (
            SELECT topic_id, sum(state = 'kept'), sum(state = 'waiting'), sum(state = 'answered'),
                   sum(state = 'lost')
            FROM candidate WHERE run_id = ?1 GROUP BY topic_id
        )
        SELECT topic.id, topic.name, tree.path, run_topic.planned, run_topic.quota, run_topic.exhausted,
               coalesce(kept, 0), coalesce(waiting, 0), coalesce(answered, 0), coalesce(lost, 0)
        FROM run_topic
        JOIN topic ON topic.id = run_topic.topic_id
        JOIN tree ON tree.id = topic.id
        LEFT JOIN counted ON counted.topic_id = topic.id
        WHERE run_topic.run_id = ?1
        ORDER BY tree.sort
        """,
        (run_id,),
    ).fetchall()
    return [RunTopic(r[0], r[1], r[2], r[3], r[4], bool(r[5]), r[6], r[7], r[8], r[9]) for r in rows]

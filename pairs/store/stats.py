"""What a workspace holds, in numbers: the contents of `pairsmith stats` and of the Home screen."""

from __future__ import annotations

from dataclasses import dataclass

from .driver import sqlite3


@dataclass(frozen=True, slots=True)
class JudgeStats:
    """One judge's newest word on the chosen versions: scored + failed + not scored = all pairs."""

    judge: str
    scored: int
    failed: int
    not_scored: int


@dataclass(frozen=True, slots=True)
class TopicStats:
    """Pairs of one topic (None: of no topic), its subtopics' not counted."""

    topic_id: int | None
    name: str
    pairs: int
    accepted: int
    rejected: int


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts of pairs that are not undone."""

    pairs: int
    verdicts: dict[str, int]
    """undecided, accepted, rejected."""
    decided_by: dict[str, int]
    """human, rule."""
    origins: dict[str, int]
    """generated, imported, human."""
    edited: int
    topics: tuple[TopicStats, ...]
    judges: tuple[JudgeStats, ...]
    runs: dict[str, dict[str, int]]
    """kind -> state -> runs."""
    seed_tasks: int
    calls: int
    tokens_in: int
    tokens_out: int
    cost_micros: int
    """Millionths of the currency that prices are given in."""


def count_verdicts(conn: sqlite3.Connection) -> dict[str, int]:
    """Pairs by verdict, from an index alone."""
    counts = {"undecided": 0, "accepted": 0, "rejected": 0}
    counts.update(
        conn.execute("SELECT verdict, count(*) FROM pair WHERE removed = 0 GROUP BY verdict").fetchall()
    )
    return counts


def read_stats(conn: sqlite3.Connection) -> Stats:
    """All of it."""
    verdicts = count_verdicts(conn)
    origins = {"generated": 0, "imported": 0, "human": 0}
    by = {"human": 0, "rule": 0}
    for origin, decided_by, count in conn.execute(
        "SELECT origin, verdict_by, count(*) FROM pair WHERE removed = 0 GROUP BY origin, verdict_by"
    ).fetchall():
        origins[origin] += count
        if decided_by is not None:
            by[decided_by] += count
    calls = conn.execute(
        "SELECT count(*), coalesce(sum(tokens_in), 0), coalesce(sum(tokens_out), 0), coalesce(sum(cost_micros), 0)"
        " FROM call"
    ).fetchone()
    total = sum(verdicts.values())
    return Stats(
        pairs=total,
        verdicts=verdicts,
        decided_by=by,
        origins=origins,
        edited=_edited(conn),
        topics=_topics(conn),
        judges=_judges(conn, total),
        runs=_runs(conn),
        seed_tasks=int(conn.execute("SELECT count(*) FROM seed_task WHERE removed = 0").fetchone()[0]),
        calls=int(calls[0]),
        tokens_in=int(calls[1]),
        tokens_out=int(calls[2]),
        cost_micros=int(calls[3]),
    )


def _edited(conn: sqlite3.Connection) -> int:
    return int(
        conn.execute(
            "SELECT count(*) FROM pair JOIN version ON version.id = pair.version_id"
            " WHERE pair.versions > 1 AND pair.removed = 0 AND version.maker = 'human' AND version.number > 1"
        ).fetchone()[0]
    )


def _topics(conn: sqlite3.Connection) -> tuple[TopicStats, ...]:
    rows = conn.execute(
        "SELECT pair.topic_id, topic.name, count(*), sum(pair.verdict = 'accepted'), sum(pair.verdict = 'rejected')"
        " FROM pair LEFT JOIN topic ON topic.id = pair.topic_id WHERE pair.removed = 0"
        " GROUP BY pair.topic_id ORDER BY pair.topic_id IS NULL, topic.position, pair.topic_id"
    ).fetchall()
    return tuple(TopicStats(row[0], row[1] or "", *row[2:]) for row in rows)


def _judges(conn: sqlite3.Connection, total: int) -> tuple[JudgeStats, ...]:
    rows = conn.execute(
        """
        SELECT judge, sum(state = 'scored'), sum(state = 'failed')
        FROM (
            SELECT judgement.judge, judgement.state, max(judgement.id)
            FROM judgement JOIN pair ON pair.version_id = judgement.version_id AND pair.removed = 0
            GROUP BY judgement.version_id, judgement.judge
        )
        GROUP BY judge ORDER BY judge
        """
    ).fetchall()
    return tuple(JudgeStats(judge, scored, failed, total - scored - failed) for judge, scored, failed in rows)


def _runs(conn: sqlite3.Connection) -> dict[str, dict[str, int]]:
    runs: dict[str, dict[str, int]] = {}
    for kind, state, count in conn.execute(
        "SELECT kind, state, count(*) FROM run GROUP BY kind, state"
    ).fetchall():
        runs.setdefault(kind, {})[state] = count
    return runs

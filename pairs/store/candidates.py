"""Candidates: instructions read from model text, on their way to being pairs or named losses."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .driver import sqlite3


@dataclass(frozen=True, slots=True)
class NewCandidate:
    """What a list gave: an instruction that waits for its response, or one that is lost already, with why."""

    instruction: str
    input: str = ""
    loss: str | None = None
    detail: str | None = None
    extra: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A stored candidate."""

    id: int
    topic_id: int | None
    instruction: str
    input: str
    state: str
    attempts: int
    pair_id: int | None
    extra: Mapping[str, Any] | None


def add_candidates(
    conn: sqlite3.Connection,
    run_id: int,
    topic_id: int | None,
    call_id: int,
    candidates: Sequence[NewCandidate],
) -> list[int]:
    """Store what one list held, in its order. Returns the ids."""
    ids = []
    for position, candidate in enumerate(candidates):
        cursor = conn.execute(
            "INSERT INTO candidate"
            " (run_id, topic_id, call_id, position, instruction, input, state, loss, detail, extra)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                run_id,
                topic_id,
                call_id,
                position,
                candidate.instruction,
                candidate.input,
                "waiting" if candidate.loss is None else "lost",
                candidate.loss,
                candidate.detail,
                None if candidate.extra is None else json.dumps(candidate.extra, ensure_ascii=False),
            ),
        )
        assert cursor.lastrowid is not None
        ids.append(int(cursor.lastrowid))
    return ids


def lose(conn: sqlite3.Connection, candidate_id: int, loss: str, detail: str | None = None) -> None:
    """A candidate becomes a named loss; its pair, if it has one, stays stored."""
    conn.execute(
        "UPDATE candidate SET state = 'lost', loss = ?, detail = ? WHERE id = ?", (loss, detail, candidate_id)
    )


def answer(
    conn: sqlite3.Connection, candidate_id: int, pair_id: int, *, kept: bool, detail: str | None = None
) -> None:
    """A candidate got its response and is a pair now: kept, or waiting for the judge's word."""
    conn.execute(
        "UPDATE candidate SET state = ?, pair_id = ?, detail = ? WHERE id = ?",
        ("kept" if kept else "answered", pair_id, detail, candidate_id),
    )


def set_extra(conn: sqlite3.Connection, candidate_id: int, extra: Mapping[str, Any]) -> None:
    """Note what a method found out about a candidate, or, with `mend`, the rule for which it is to be rewritten."""
    conn.execute(
        "UPDATE candidate SET extra = ? WHERE id = ?", (json.dumps(extra, ensure_ascii=False), candidate_id)
    )


def rewritten(
    conn: sqlite3.Connection, candidate_id: int, instruction: str, extra: Mapping[str, Any]
) -> None:
    """A candidate was rewritten; it waits with its new text."""
    conn.execute(
        "UPDATE candidate SET instruction = ?, attempts = attempts + 1 WHERE id = ?",
        (instruction, candidate_id),
    )
    set_extra(conn, candidate_id, extra)


def sent_to_be_mended(conn: sqlite3.Connection) -> list[tuple[str, str]]:
    """(instruction as it was, input) of everything that was rewritten or is to be."""
    rows = conn.execute(
        "SELECT coalesce(json_extract(extra, '$.original'), instruction), input FROM candidate"
        " WHERE attempts > 0 OR json_extract(extra, '$.mend') IS NOT NULL"
    ).fetchall()
    return [(row[0], row[1]) for row in rows]


def lose_rewritten(conn: sqlite3.Connection, candidate_id: int, loss: str, detail: str | None) -> None:
    """A candidate was to be rewritten, and is lost all the same."""
    conn.execute("UPDATE candidate SET attempts = attempts + 1 WHERE id = ?", (candidate_id,))
    lose(conn, candidate_id, loss, detail)


def keep(conn: sqlite3.Connection, candidate_id: int) -> None:
    """The judge let it pass."""
    conn.execute("UPDATE candidate SET state = 'kept' WHERE id = ?", (candidate_id,))


def _candidate(row: Sequence[Any]) -> Candidate:
    return Candidate(
        row[0], row[1], row[2], row[3], row[4], row[5], row[6], None if row[7] is None else json.loads(row[7])
    )


def list_candidates(conn: sqlite3.Connection, run_id: int, state: str) -> list[Candidate]:
    """A run's candidates in one state, oldest first."""
    rows = conn.execute(
        "SELECT id, topic_id, instruction, input, state, attempts, pair_id, extra FROM candidate"
        " WHERE run_id = ? AND state = ? ORDER BY id",
        (run_id, state),
    ).fetchall()
    return [_candidate(row) for row in rows]


def lose_waiting(conn: sqlite3.Connection, run_id: int, loss: str) -> int:
    """Book what a finished run did not need; what was still to be rewritten is lost for its rule. Returns how many."""
    conn.execute(
        "UPDATE candidate SET state = 'lost', loss = 'filtered: ' || json_extract(extra, '$.mend')"
        " WHERE run_id = ? AND state = 'waiting' AND json_extract(extra, '$.mend') IS NOT NULL",
        (run_id,),
    )
    return int(
        conn.execute(
            "UPDATE candidate SET state = 'lost', loss = ? WHERE run_id = ? AND state = 'waiting'",
            (loss, run_id),
        ).rowcount
    )


def known_instructions(conn: sqlite3.Connection) -> Iterator[tuple[str, bytes, str]]:
    """Everything that a new instruction must not resemble: (key, instruction_key, instruction).

    Pairs (rejected ones too), seed tasks, and candidates that wait for their response. Keys are `p<id>`,
    `s<id>`, `c<id>`.
    """
    yield from conn.execute(
        "SELECT 'p' || pair.id, pair.instruction_key, version.instruction FROM pair"
        " JOIN version ON version.id = pair.version_id WHERE pair.removed = 0"
    )
    yield from conn.execute("SELECT 's' || id, instruction_key, instruction FROM seed_task WHERE removed = 0")


def topic_instructions(conn: sqlite3.Connection, topic_id: int, limit: int) -> list[str]:
    """The newest instructions of a topic: pairs and waiting candidates, oldest first."""
    rows = conn.execute(
        "SELECT instruction FROM candidate WHERE topic_id = ?1 AND state <> 'lost' ORDER BY id DESC LIMIT ?2",
        (topic_id, limit),
    ).fetchall()
    return [row[0] for row in reversed(rows)]


def pool_instructions(conn: sqlite3.Connection, topic_id: int, limit: int) -> list[str]:
    """The newest instructions of a pool: past the sieve, and not rejected since."""
    rows = conn.execute(
        "SELECT candidate.instruction FROM candidate LEFT JOIN pair ON pair.id = candidate.pair_id"
        " WHERE candidate.topic_id = ?1 AND candidate.state <> 'lost'"
        " AND (candidate.extra IS NULL OR json_extract(candidate.extra, '$.mend') IS NULL)"
        " AND (pair.id IS NULL OR (pair.removed = 0 AND pair.verdict <> 'rejected'))"
        " ORDER BY candidate.id DESC LIMIT ?2",
        (topic_id, limit),
    ).fetchall()
    return [row[0] for row in rows]


def surplus(conn: sqlite3.Connection, run_id: int, topic_ids: Sequence[int]) -> list[Candidate]:
    """Instructions that earlier runs paid for, did not need, and nobody has used since, oldest first."""
    marks = ",".join("?" * len(topic_ids))
    rows = conn.execute(
        "SELECT id, topic_id, instruction, input, state, attempts, NULL, extra FROM candidate"
        f" WHERE loss = 'surplus' AND detail IS NULL AND run_id <> ? AND topic_id IN ({marks}) ORDER BY id",
        (run_id, *topic_ids),
    ).fetchall()
    return [_candidate(row) for row in rows]


def revive(conn: sqlite3.Connection, candidate_id: int, run_id: int) -> int:
    """Let a run use what another one left over: a copy in the new run's books. Returns the copy's id."""
    cursor = conn.execute(
        "INSERT INTO candidate (run_id, topic_id, call_id, position, instruction, input, state, extra)"
        " SELECT ?, topic_id, call_id, position, instruction, input, 'waiting', extra FROM candidate WHERE id = ?",
        (run_id, candidate_id),
    )
    conn.execute("UPDATE candidate SET detail = ? WHERE id = ?", (f"used by run {run_id}", candidate_id))
    assert cursor.lastrowid is not None
    return int(cursor.lastrowid)

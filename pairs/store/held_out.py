"""Answers to the test pairs and what judges said of them, by evaluation run. No number stands for a failure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pairsmith.backends.text import clean

from .clock import now
from .driver import sqlite3

SUBJECT_TUNED, SUBJECT_BASE = "tuned", "base"
_LONGEST = 4_000_000


@dataclass(frozen=True, slots=True)
class HeldOutAnswer:
    """What `subject` answered to a pair; `measures` by name (rougeL, bleu, …) where they were taken."""

    pair_id: int
    text: str
    measures: Mapping[str, Any]
    call_id: int | None = None


@dataclass(frozen=True, slots=True)
class AnswerJudgement:
    """A judge's word on one answer: a value, or the reason why there is none.

    `unreadable`: answers of the judge that could not be read, the tried-again ones too. `explanation`: its own words.
    """

    pair_id: int
    value: float | None
    reason: str | None
    explanation: str | None
    unreadable: int = 0


def question_key(*parts: str) -> bytes:
    """The hash that stands for what was asked of whom."""
    return hashlib.sha256(json.dumps(parts).encode()).digest()


def add_answers(
    conn: sqlite3.Connection, run_id: int, subject: str, answers: Sequence[HeldOutAnswer]
) -> None:
    """Store answers; one that is there already is replaced."""
    conn.executemany(
        "INSERT OR REPLACE INTO test_answer (run_id, subject, pair_id, text, measures, call_id, at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (
                run_id,
                subject,
                answer.pair_id,
                clean(answer.text)[0][:_LONGEST],
                json.dumps(answer.measures),
                answer.call_id,
                now(),
            )
            for answer in answers
        ],
    )


def answers_of(conn: sqlite3.Connection, run_id: int, subject: str) -> dict[int, HeldOutAnswer]:
    """Pair id -> answer."""
    rows = conn.execute(
        "SELECT pair_id, text, measures, call_id FROM test_answer WHERE run_id = ? AND subject = ?"
        " ORDER BY pair_id",
        (run_id, subject),
    ).fetchall()
    return {row[0]: HeldOutAnswer(row[0], row[1], json.loads(row[2]), row[3]) for row in rows}


def add_answer_judgement(
    conn: sqlite3.Connection,
    run_id: int,
    *,
    subject: str,
    against: str,
    judge: str,
    kind: str,
    question: bytes,
    judgement: AnswerJudgement,
) -> None:
    """Store a judgement; an earlier one of the same run on the same answer is replaced."""
    if (judgement.value is None) == (judgement.reason is None):
        raise ValueError("a judgement holds a value or the reason why there is none")
    explanation = judgement.explanation
    conn.execute(
        "INSERT OR REPLACE INTO test_judgement (run_id, subject, against, pair_id, judge, kind, question, state, value,"
        " reason, explanation, unreadable, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            run_id,
            subject,
            against,
            judgement.pair_id,
            judge,
            kind,
            question,
            "failed" if judgement.value is None else "scored",
            judgement.value,
            judgement.reason,
            None if explanation is None else clean(explanation)[0],
            judgement.unreadable,
            now(),
        ),
    )


def asked_before(
    conn: sqlite3.Connection, run_id: int, question: bytes
) -> tuple[float, str | None, int] | None:
    """(value, explanation, unreadable) where this run has asked exactly this before and was told; else None."""
    row = conn.execute(
        "SELECT value, explanation, unreadable FROM test_judgement"
        " WHERE question = ? AND run_id = ? AND state = 'scored'",
        (question, run_id),
    ).fetchone()
    return None if row is None else (float(row[0]), row[1], int(row[2]))


def answer_judgements_of(
    conn: sqlite3.Connection, run_id: int, subject: str, against: str = ""
) -> list[AnswerJudgement]:
    """What was judged of a subject (compared with `against` where that is given), in the order of the pairs."""
    rows = conn.execute(
        "SELECT pair_id, value, reason, explanation, unreadable FROM test_judgement"
        " WHERE run_id = ? AND subject = ? AND against = ? ORDER BY pair_id",
        (run_id, subject, against),
    ).fetchall()
    return [AnswerJudgement(*row) for row in rows]


def pairs_by_uid(conn: sqlite3.Connection, uids: Sequence[str]) -> dict[str, int]:
    """Uid -> pair id; those that are not here are left out."""
    rows = conn.execute(
        "SELECT pair.uid, pair.id FROM json_each(?) AS given CROSS JOIN pair ON pair.uid = given.value",
        (json.dumps(list(uids)),),
    ).fetchall()
    return {str(row[0]): int(row[1]) for row in rows}

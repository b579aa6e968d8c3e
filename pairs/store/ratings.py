"""What people said of answers to test pairs without knowing whose they are; undo takes each rating back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pairsmith.backends.text import clean, one_line

from ..errors import UsageError
from . import journal
from .clock import now
from .driver import sqlite3

RatingKind = Literal["compare", "scale"]
LONGEST_RATER = 60


@dataclass(frozen=True, slots=True)
class Source:
    """Stored answers of one subject: those of an evaluation run. `train_run` was evaluated, `items` are answered."""

    run_id: int
    subject: str
    train_run: int
    items: int


@dataclass(frozen=True, slots=True)
class NewRating:
    """A rating as it is given; see the table for what the fields mean."""

    rater: str
    kind: RatingKind
    run_id: int
    pair_id: int
    answer: bytes
    other: bytes
    subject: str
    against: str
    first: bool
    value: float | None


@dataclass(frozen=True, slots=True)
class Rating:
    """A stored rating. `value` is None where the rater skipped."""

    id: int
    rater: str
    pair_id: int
    answer: bytes
    other: bytes
    first: bool
    value: float | None


def rater_name(text: str) -> str:
    """A rater's name as it is stored. Raises UsageError where it is empty or too long."""
    name = " ".join(one_line(clean(text)[0], 1000).split())
    if not 1 <= len(name) <= LONGEST_RATER:
        raise UsageError(f"a rater's name has 1 to {LONGEST_RATER} characters")
    return name


def answer_sources(conn: sqlite3.Connection) -> list[Source]:
    """Whose answers there are, by training run; of each subject those of its newest evaluation."""
    rows = conn.execute(
        """
        WITH answered (run_id, subject, train_run, items, place) AS (
            SELECT evaluation.id, answer.subject, trained.id, count(*), min(answer.id)
            FROM run AS evaluation
            JOIN run AS trained
                ON trained.kind = 'train' AND trained.uid = json_extract(evaluation.settings, '$.train_run')
            JOIN test_answer AS answer ON answer.run_id = evaluation.id
            WHERE evaluation.kind = 'evaluate'
            GROUP BY evaluation.id, answer.subject
        )
        SELECT max(run_id), subject, train_run, items FROM answered
        GROUP BY train_run, subject ORDER BY train_run DESC, place
        """
    ).fetchall()
    return [Source(*row) for row in rows]


def add_rating(conn: sqlite3.Connection, rating: NewRating) -> int | None:
    """Store a rating as an act; its journal entry, or None where the rater has rated exactly this before."""
    known = conn.execute(
        "SELECT 1 FROM rating WHERE removed = 0"
        " AND pair_id = ? AND kind = ? AND rater = ? AND answer = ? AND other = ?",
        (rating.pair_id, rating.kind, rating.rater, rating.answer, rating.other),
    ).fetchone()
    if known is not None:
        return None
    # The label is shown while other answers are still to be rated: it does not say what the rating was.
    entry = journal.begin(conn, "rating", f"rated answers to pair {rating.pair_id}", focus=rating.pair_id)
    cursor = conn.execute(
        "INSERT INTO rating (rater, kind, run_id, pair_id, answer, other, subject, against, first, value, at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            rating.rater,
            rating.kind,
            rating.run_id,
            rating.pair_id,
            rating.answer,
            rating.other,
            rating.subject,
            rating.against,
            int(rating.first),
            rating.value,
            now(),
        ),
    )
    assert cursor.lastrowid is not None
    journal.note_new(conn, entry, "rating.removed", [int(cursor.lastrowid)])
    return entry


def ratings_of(
    conn: sqlite3.Connection, kind: RatingKind, pair_ids: Sequence[int], rater: str | None = None
) -> list[Rating]:
    """Ratings of these pairs, by everybody or by one rater, in the order in which they were given."""
    rows = conn.execute(
        "SELECT rating.id, rater, pair_id, answer, other, first, rating.value"
        " FROM json_each(?1) AS given CROSS JOIN rating ON rating.pair_id = given.value"
        " WHERE kind = ?2 AND removed = 0 AND (?3 IS NULL OR rater = ?3) ORDER BY rating.id",
        ("[" + ",".join(map(str, pair_ids)) + "]", kind, rater),
    ).fetchall()
    return [Rating(row[0], row[1], row[2], row[3], row[4], bool(row[5]), row[6]) for row in rows]


def raters(conn: sqlite3.Connection) -> list[str]:
    """Everybody who rated here, by name."""
    rows = conn.execute("SELECT DISTINCT rater FROM rating WHERE removed = 0 ORDER BY rater").fetchall()
    return [str(row[0]) for row in rows]


def undo_rating(conn: sqlite3.Connection, rater: str, kind: RatingKind) -> journal.Entry | None:
    """Take the newest act back where it is a rating of this rater and kind; None where it is something else."""
    entry = journal.next_undo(conn)
    return journal.undo(conn) if entry is not None and _is_rating(conn, entry, rater, kind) else None


def redo_rating(conn: sqlite3.Connection, rater: str, kind: RatingKind) -> journal.Entry | None:
    """Do the act that was undone last again where it is a rating of this rater and kind; else None."""
    entry = journal.next_redo(conn)
    return journal.redo(conn) if entry is not None and _is_rating(conn, entry, rater, kind) else None


def _is_rating(conn: sqlite3.Connection, entry: journal.Entry, rater: str, kind: RatingKind) -> bool:
    found = conn.execute(
        "SELECT 1 FROM journal_change AS c JOIN rating ON rating.id = c.row_id"
        " WHERE c.journal_id = ? AND c.row_table = 'rating.removed' AND rater = ? AND kind = ?",
        (entry.id, rater, kind),
    ).fetchone()
    return found is not None

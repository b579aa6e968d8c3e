"""Is everything as it was written? The checks behind `verify` and `doctor`, each problem in a line of its
own.

SQLite's own checks see broken pages, not a changed letter in a text: for that every version has its hash.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pairsmith.backends.text import one_line

from .connection import connect_inspecting, connect_writing
from .driver import sqlite3, wal_bug
from .errors import DRIVER_ERRORS, result_code, translated
from .file_probe import check_connection, check_file
from .joblock import JobLock
from .pair_rows import content_hash, prepare_text

_BATCH = 1000
_CORRUPT = 11


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is not as it should be. `pair_id` where it is about a pair."""

    kind: str
    text: str
    pair_id: int | None = None


def check_workspace(
    path: Path, *, deep: bool = True, progress: Callable[[int, int], None] | None = None
) -> list[Problem]:
    """Everything that is wrong with a workspace; an empty list where nothing is.

    Reads only. Without `deep` the checks that read every row are left out (texts' hashes, keys, the search
    index). `progress` hears (versions checked, versions in all). Raises WorkspaceRefused where it cannot be
    opened at all.
    """
    check_file(path)
    conn = connect_inspecting(path)
    try:
        check_connection(path, conn)
        conn.execute("BEGIN")
        problems: list[Problem] = []
        for check in (_pages, _references, _mirrors, _ledgers, *((_search,) if deep else ())):
            problems += _guarded(check, conn)
        if deep:
            problems += _guarded(lambda c: _texts(c, progress), conn)
        return problems
    except DRIVER_ERRORS as error:
        raise translated(error, path) from error
    finally:
        conn.close()


def _guarded(
    check: Callable[[sqlite3.Connection], Iterator[Problem]], conn: sqlite3.Connection
) -> list[Problem]:
    found: list[Problem] = []
    try:
        for problem in check(conn):
            found.append(problem)
    except UnicodeDecodeError:
        found.append(Problem("damaged", "it holds text that is not UTF-8"))
    except sqlite3.DatabaseError as error:
        if result_code(error) & 0xFF != _CORRUPT:
            raise
        found.append(Problem("damaged", one_line(str(error))))
    return found


def _pages(conn: sqlite3.Connection) -> Iterator[Problem]:
    for row in conn.execute("PRAGMA integrity_check(100)"):
        if row[0] != "ok":
            yield Problem("damaged", one_line(str(row[0])))


def _references(conn: sqlite3.Connection) -> Iterator[Problem]:
    for table, rowid, parent, _ in conn.execute("PRAGMA foreign_key_check"):
        yield Problem("reference", f"row {rowid} of {table} refers to a missing row of {parent}")


def _search(conn: sqlite3.Connection) -> Iterator[Problem]:
    rows = conn.execute("SELECT count(*) FROM pair").fetchone()[0]
    indexed = conn.execute("SELECT count(*) FROM pair_fts_docsize").fetchone()[0]
    if rows != indexed:
        yield Problem("search", f"the search index holds {indexed} of {rows} pairs")


def _mirrors(conn: sqlite3.Connection) -> Iterator[Problem]:
    """What is stored twice to be fast must be the same twice."""
    for (pair_id,) in conn.execute(
        "SELECT pair.id FROM pair LEFT JOIN verdict ON verdict.version_id = pair.version_id"
        " WHERE pair.verdict <> coalesce(verdict.verdict, 'undecided') OR pair.verdict_by IS NOT verdict.by"
    ):
        yield Problem("verdict", f"pair {pair_id} shows another verdict than its version has", pair_id)
    for (pair_id,) in conn.execute(
        "SELECT pair.id FROM pair LEFT JOIN version ON version.id = pair.version_id"
        " WHERE version.pair_id IS NOT pair.id OR version.removed = 1"
    ):
        yield Problem("version", f"pair {pair_id} has chosen a version that is not its own", pair_id)


def _ledgers(conn: sqlite3.Connection) -> Iterator[Problem]:
    """Every candidate has one state and kept ones a pair; every call of an ended run is closed."""
    for run_id, count in conn.execute(
        "SELECT candidate.run_id, count(*) FROM candidate LEFT JOIN pair ON pair.id = candidate.pair_id"
        " WHERE candidate.state = 'kept' AND pair.id IS NULL GROUP BY candidate.run_id"
    ):
        yield Problem("ledger", f"run {run_id} has kept {count} candidates that are no pairs")
    for pair_id, count in conn.execute(
        "SELECT pair_id, count(*) FROM candidate WHERE state = 'kept' GROUP BY pair_id HAVING count(*) > 1"
    ):
        yield Problem("ledger", f"pair {pair_id} is counted {count} times", pair_id)
    for run_id, kept, asked in conn.execute(
        "SELECT run.id, sum(candidate.state = 'kept'), run.asked FROM run"
        " JOIN candidate ON candidate.run_id = run.id WHERE run.kind = 'generate' AND run.state = 'done'"
        " GROUP BY run.id HAVING sum(candidate.state = 'kept') <> run.asked"
    ):
        yield Problem("ledger", f"run {run_id} is done with {kept} pairs of {asked}")
    for run_id, count in conn.execute(
        "SELECT run.id, count(*) FROM run JOIN call ON call.run_id = run.id"
        " WHERE run.state IN ('done', 'failed') AND call.state = 'in flight' GROUP BY run.id"
    ):
        yield Problem("ledger", f"run {run_id} has ended with {count} calls in flight")


def _texts(conn: sqlite3.Connection, progress: Callable[[int, int], None] | None) -> Iterator[Problem]:
    # A changed byte may be no UTF-8 any more: it must be reported, not end the check.
    conn.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
    total = int(conn.execute("SELECT count(*) FROM version").fetchone()[0])
    last, done = 0, 0
    while rows := conn.execute(
        "SELECT version.id, version.pair_id, number, instruction, input, output, sha256, spaced, pair.version_id,"
        " pair.instruction_key, pair.text_key FROM version LEFT JOIN pair ON pair.id = version.pair_id"
        " WHERE version.id > ? ORDER BY version.id LIMIT ?",
        (last, _BATCH),
    ).fetchall():
        if rows[-1][0] <= last:
            # A broken page gave rows from elsewhere: going on from there would never end.
            yield Problem("damaged", f"rows of the table version come in no order after {last}")
            return
        last = rows[-1][0]
        done += len(rows)
        for row in rows:
            yield from _text_problems(*row)
        if progress is not None:
            progress(done, total)


def _text_problems(
    version_id: int,
    pair_id: int,
    number: int,
    instruction: str,
    given: str,
    output: str,
    sha256: bytes,
    spaced: str,
    chosen_id: int,
    instruction_key: bytes,
    stored_text_key: bytes,
) -> Iterator[Problem]:
    if content_hash(instruction, given, output) != sha256:
        changed = f"the text of pair {pair_id}, version {number}, is not the one stored"
        yield Problem("changed", changed, pair_id)
        return
    text = prepare_text(instruction, given, output)
    if chosen_id == version_id and (text.instruction_key, text.text_key) != (
        instruction_key,
        stored_text_key,
    ):
        yield Problem("key", f"pair {pair_id} has the key of another text", pair_id)
    elif text.spaced != spaced:
        yield Problem("search", f"pair {pair_id}, version {number}, is indexed with another text", pair_id)


def check_search_index(path: Path) -> list[Problem]:
    """Compare the whole search index with the texts. Needs a writable workspace and its write lock for a
    while.

    Raises WorkspaceBusy, WorkspaceReadOnly.
    """
    with JobLock(path).acquire("check") if wal_bug else contextlib.nullcontext():
        conn = connect_writing(path)
        try:
            conn.execute("INSERT INTO pair_fts (pair_fts, rank) VALUES ('integrity-check', 1)")
            return []
        except sqlite3.DatabaseError as error:
            if result_code(error) & 0xFF != _CORRUPT:
                raise translated(error, path) from error
            return [Problem("search", "the search index does not fit the texts")]
        finally:
            conn.close()


def rebuild_search_index(conn: sqlite3.Connection) -> None:
    """Make the search index anew from the texts."""
    conn.execute("INSERT INTO pair_fts (pair_fts) VALUES ('rebuild')")

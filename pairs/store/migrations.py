"""From no tables, or an older program's, to this program's: in one transaction, after a verified backup."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from .backup import backup_workspace
from .connection import connect_writing
from .driver import sqlite3
from .errors import DRIVER_ERRORS, damaged, translated
from .schema import APPLICATION_ID, MIGRATIONS
from .writer import transact


def create_schema(conn: sqlite3.Connection) -> None:
    """Make all tables in an empty database. Inside the caller's transaction."""
    for script in MIGRATIONS:
        _run_script(conn, script)
    conn.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    conn.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


def migrate(path: Path, migrations: Sequence[str] = MIGRATIONS) -> Path | None:
    """Bring an older file up to date; returns the backup made before, None where there was nothing to do.

    Two processes may do so at once: one migrates, the other waits and finds it done. A migration that fails
    leaves the file as it was. Raises DiskFull, WorkspaceBusy, WorkspaceRefused.
    """
    conn = connect_writing(path)
    try:
        if _version(conn) >= len(migrations):
            return None
        # Rebuilding a table under foreign keys would delete what refers to it; they are checked before the
        # commit.
        conn.execute("PRAGMA foreign_keys = 0")
        return transact(conn, lambda c: _apply(c, path, migrations))
    except DRIVER_ERRORS as error:
        raise translated(error, path, writing=True) from error
    finally:
        conn.close()


def _apply(conn: sqlite3.Connection, path: Path, migrations: Sequence[str]) -> Path | None:
    # With the write lock held: another process that migrates waits here and then finds it done.
    if _version(conn) >= len(migrations):
        return None
    backup = _free_name(path, f"before-v{len(migrations)}")
    backup_workspace(path, backup)
    for script in migrations[_version(conn) :]:
        _run_script(conn, script)
    if broken := conn.execute("PRAGMA foreign_key_check").fetchall():
        raise damaged(path, f"{len(broken)} rows refer to rows that are not there")
    conn.execute(f"PRAGMA user_version = {len(migrations)}")
    return backup


def _version(conn: sqlite3.Connection) -> int:
    return int(conn.execute("PRAGMA user_version").fetchone()[0])


def _run_script(conn: sqlite3.Connection, script: str) -> None:
    # `executescript` would commit first.
    for statement in _statements(script):
        conn.execute(statement)


def _statements(script: str) -> Iterator[str]:
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if statement.strip():
        raise ValueError("a migration ends in the middle of a statement")


def _free_name(path: Path, what: str) -> Path:
    candidate = path.with_name(f"{path.stem}.{what}{path.suffix}")
    number = 2
    while candidate.exists():
        candidate = path.with_name(f"{path.stem}.{what}-{number}{path.suffix}")
        number += 1
    return candidate

"""A verified copy of a living workspace: one consistent snapshot, checked before it gets its name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pairsmith.backends.text import one_line

from ..errors import PairsmithError
from .connection import connect_inspecting
from .driver import sqlite3
from .errors import DRIVER_ERRORS, WorkspaceExists, damaged, from_os, translated
from .file_probe import check_file
from .publish import discard, publish_new, temporary_name

_STEP_PAGES = 2000


@dataclass(frozen=True, slots=True)
class BackupReport:
    """What was copied: bytes of the new file, and rows of every table, equal on both sides."""

    path: Path
    size: int
    rows: dict[str, int]


def backup_workspace(
    source: Path, target: Path, progress: Callable[[int, int], None] | None = None
) -> BackupReport:
    """Copy a workspace, in use or not, to a new file; `progress` hears (pages done, pages in all).

    Writers go on meanwhile; the copy is the state at the start. Raises WorkspaceExists (nothing is
    overwritten), DiskFull, WorkspaceRefused where the source is damaged (then no copy is left).
    """
    check_file(source)
    if target.exists():
        raise WorkspaceExists(f"{one_line(str(target))} exists already", "Choose another name")
    if not target.parent.is_dir():
        raise PairsmithError(f"there is no folder {one_line(str(target.parent))}", "Make it first")
    temporary = temporary_name(target)
    try:
        rows = _copy(source, temporary, progress)
        _verify(temporary, rows, source)
        publish_new(temporary, target)
    except DRIVER_ERRORS as error:
        raise translated(error, target, writing=True) from error
    except OSError as error:
        raise from_os(error, target) from error
    finally:
        discard(temporary)
    return BackupReport(target, target.stat().st_size, rows)


def _copy(source: Path, temporary: Path, progress: Callable[[int, int], None] | None) -> dict[str, int]:
    reading = connect_inspecting(source)
    writing = sqlite3.connect(temporary, isolation_level=None)
    try:
        # An open read transaction pins the snapshot: rows counted in it are the rows copied.
        reading.execute("BEGIN")
        rows = count_rows(reading)
        writing.execute("PRAGMA synchronous = OFF")  # the finished file is flushed as a whole

        def report(_status: int, remaining: int, total: int) -> None:
            if progress is not None:
                progress(total - remaining, total)

        reading.backup(writing, pages=_STEP_PAGES, progress=report)
        # A file in rollback mode is complete in itself; opening it as a workspace turns the log on again.
        writing.execute("PRAGMA journal_mode = DELETE")
        reading.execute("ROLLBACK")
    finally:
        writing.close()
        reading.close()
    return rows


def _verify(copy: Path, rows: dict[str, int], source: Path) -> None:
    conn = connect_inspecting(copy)
    try:
        problems = [row[0] for row in conn.execute("PRAGMA integrity_check(3)").fetchall()]
        if problems != ["ok"]:
            raise damaged(source, f"its copy fails the integrity check: {problems[0]}")
        if (copied := count_rows(conn)) != rows:
            raise damaged(source, f"the copy holds {copied} rows instead of {rows}")
    finally:
        conn.close()


def count_rows(conn: sqlite3.Connection) -> dict[str, int]:
    """Rows of every table of ours, by name."""
    names = [
        row[0]
        for row in conn.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'pair\\_fts%' ESCAPE '\\'"
            " AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name"
        ).fetchall()
    ]
    return {name: int(conn.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]) for name in names}

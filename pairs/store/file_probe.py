"""Is this file a workspace that this program may open? Answered from its first bytes, before SQLite touches
it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from pairsmith.backends.text import one_line

from .driver import sqlite3
from .errors import DRIVER_ERRORS, WorkspaceMissing, WorkspaceRefused, damaged, from_os, translated
from .schema import APPLICATION_ID, SCHEMA_VERSION

_MAGIC = b"SQLite format 3\0"
_TABLES = {
    "meta",
    "topic",
    "run",
    "call",
    "candidate",
    "pair",
    "version",
    "verdict",
    "judgement",
    "score",
    "journal",
}


@dataclass(frozen=True, slots=True)
class Header:
    """What the first 100 bytes of a database file say (sqlite.org/fileformat.html §1.3)."""

    page_size: int
    pages: int
    user_version: int
    application_id: int


def check_file(path: Path) -> Header:
    """Refuse what is surely no workspace of this program, reading only.

    Raises WorkspaceMissing, WorkspaceRefused (a directory, an empty or foreign file, a newer schema, a
    truncated file), WorkspaceReadOnly and PairsmithError for what the operating system refuses.
    """
    name = one_line(str(path))
    if not path.exists():
        raise WorkspaceMissing(
            f"there is no workspace {name}", f"Make one: pairsmith new {name} --domain TEXT"
        )
    if not path.is_file():
        raise WorkspaceRefused(f"{name} is not a file", "Name the workspace file itself")
    try:
        with path.open("rb") as file:
            head = file.read(100)
        size = path.stat().st_size
    except OSError as error:
        raise from_os(error, path) from error
    if len(head) < 100 or not head.startswith(_MAGIC):
        raise WorkspaceRefused(
            f"{name} is not a Pairsmith workspace", "To import pairs from it, use pairsmith import"
        )
    header = _parse(head)
    _check_identity(path, header.application_id, header.user_version)
    if header.pages and size < header.pages * header.page_size and not _log_of(path):
        raise damaged(path, f"{size} bytes where {header.pages * header.page_size} belong")
    return header


def check_connection(path: Path, conn: sqlite3.Connection) -> int:
    """The same questions put to the opened database (its log may hold a newer header). Returns
    user_version."""
    try:
        application_id = conn.execute("PRAGMA application_id").fetchone()[0]
        version = int(conn.execute("PRAGMA user_version").fetchone()[0])
        _check_identity(path, application_id & 0xFFFFFFFF, version)
        tables = {row[0] for row in conn.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        conn.execute("SELECT value FROM meta WHERE key = 'id'").fetchone()
    except DRIVER_ERRORS as error:
        refused = translated(error, path)
        if refused is error:
            raise damaged(path, str(error)) from error
        raise refused from error
    if missing := _TABLES - tables:
        raise damaged(path, f"no table {', '.join(sorted(missing))}")
    return version


def _check_identity(path: Path, application_id: int, version: int) -> None:
    name = one_line(str(path))
    if application_id != APPLICATION_ID:
        raise WorkspaceRefused(f"{name} is a database of another program", "Name a Pairsmith workspace")
    if version > SCHEMA_VERSION:
        raise WorkspaceRefused(
            f"{name} was written by a newer Pairsmith (schema {version}; this one knows {SCHEMA_VERSION})",
            "Upgrade Pairsmith; the file was left as it is",
        )
    if version < 1:
        raise damaged(path, f"schema version {version}")


def _parse(head: bytes) -> Header:
    page_size = struct.unpack(">H", head[16:18])[0]
    changes, pages = struct.unpack(">I", head[24:28])[0], struct.unpack(">I", head[28:32])[0]
    valid_for = struct.unpack(">I", head[92:96])[0]
    return Header(
        page_size=65536 if page_size == 1 else page_size,
        pages=pages if changes == valid_for else 0,
        user_version=struct.unpack(">i", head[60:64])[0],
        application_id=struct.unpack(">I", head[68:72])[0],
    )


def _log_of(path: Path) -> bool:
    log = path.with_name(path.name + "-wal")
    return log.exists() and log.stat().st_size > 0

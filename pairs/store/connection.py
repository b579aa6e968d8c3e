"""Opening a connection the way the storage contract asks: every pragma set, and read back where it matters.

Nothing else in the store calls `sqlite3.connect`. A writing connection is WAL with `synchronous=FULL`; a
reading one is opened by the operating system for reading only, so that it can neither write nor checkpoint.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from .driver import sqlite3, wal_bug
from .errors import DRIVER_ERRORS, WorkspaceReadOnly, WorkspaceRefused, translated

BUSY_MS = 10_000
"""How long a connection waits for another process's lock before it gives up."""

_COMMON = (
    ("cell_size_check", 1),
    ("temp_store", 2),
    ("recursive_triggers", 1),
)
_WRITING = (
    ("synchronous", 2),
    ("foreign_keys", 1),
    ("wal_autocheckpoint", 1000),
    ("journal_size_limit", 64 * 1024 * 1024),
    ("cache_size", -32_000),  # KB
)
_ROOMY = -128_000
_MAC = (("fullfsync", 1), ("checkpoint_fullfsync", 1))


@contextlib.contextmanager
def roomy(conn: sqlite3.Connection) -> Iterator[None]:
    """More memory for one large transaction on the writing connection: the keys of a million new pairs come in no
    order, and pages of their indexes that do not fit are written over and over."""
    conn.execute(f"PRAGMA cache_size = {_ROOMY}")
    try:
        yield
    finally:
        conn.execute(f"PRAGMA cache_size = {dict(_WRITING)['cache_size']}")


def connect_writing(path: Path, *, busy_ms: int | None = None) -> sqlite3.Connection:
    """The writing connection: no implicit transactions, WAL, FULL, foreign keys on.

    Raises WorkspaceRefused where the file system cannot do WAL (network drives), and the errors of
    `translated`.
    """
    conn = _connect(path, "rw", busy_ms)
    try:
        mode = conn.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            raise WorkspaceRefused(
                f"{path} lies where SQLite cannot keep a write-ahead log", "Move it to a local disk"
            )
        for name, value in (*_WRITING, *(_MAC if sys.platform == "darwin" else ())):
            conn.execute(f"PRAGMA {name} = {value}")
        for name in ("synchronous", "foreign_keys"):
            expected = dict(_WRITING)[name]
            if conn.execute(f"PRAGMA {name}").fetchone()[0] != expected:
                raise WorkspaceRefused(f"{path}: this SQLite does not obey PRAGMA {name}")
    except DRIVER_ERRORS as error:
        conn.close()
        raise translated(error, path, writing=True) from error
    except BaseException:
        conn.close()
        raise
    return conn


def connect_reading(path: Path, *, busy_ms: int | None = None) -> sqlite3.Connection:
    """A connection that cannot write. Reads a living workspace, and one in a folder that allows no writing.

    Raises the errors of `translated`.
    """
    try:
        return _probed(path, "ro", busy_ms)
    except (WorkspaceRefused, WorkspaceReadOnly):
        # In a folder without write permission SQLite cannot make the -shm file; a file without a log needs
        # none.
        wal = path.with_name(path.name + "-wal")
        if wal.exists() and wal.stat().st_size:
            raise
        return _probed(path, "ro&immutable=1", busy_ms)


def connect_inspecting(path: Path) -> sqlite3.Connection:
    """A reading connection for whole-file work: checks and backups.

    Where the log is empty it is one that could write and is told not to: SQLite checks constraints only on
    such, and its close takes the empty log away. Otherwise (a killed writer's log, no permission) it is
    `connect_reading`'s.
    """
    wal = path.with_name(path.name + "-wal")
    if wal_bug or not may_write(path) or (wal.exists() and wal.stat().st_size):
        return connect_reading(path)
    return _probed(path, "rw", None)


def may_write(path: Path) -> bool:
    """Whether this process may write the file and make the log beside it."""
    effective = os.access in os.supports_effective_ids
    return all(os.access(p, os.W_OK, effective_ids=effective) for p in (path, path.absolute().parent))


def _probed(path: Path, mode: str, busy_ms: int | None) -> sqlite3.Connection:
    conn = _connect(path, mode, busy_ms)
    try:
        conn.execute("PRAGMA query_only = 1")
        conn.execute("PRAGMA cache_size = -8000")
        conn.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except DRIVER_ERRORS as error:
        conn.close()
        raise translated(error, path) from error
    return conn


def _connect(path: Path, mode: str, busy_ms: int | None) -> sqlite3.Connection:
    try:
        conn = sqlite3.connect(
            f"file:{quote(str(path.absolute()))}?mode={mode}",
            uri=True,
            timeout=(BUSY_MS if busy_ms is None else busy_ms) / 1000,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
        )
    except DRIVER_ERRORS as error:
        raise translated(error, path) from error
    try:
        for name, value in (*_COMMON, ("trusted_schema", int(not _knows_json_is_harmless()))):
            conn.execute(f"PRAGMA {name} = {value}")
        conn.create_function("pairsmith_unhex", 1, bytes.fromhex, deterministic=True)
    except DRIVER_ERRORS as error:
        conn.close()
        raise translated(error, path) from error
    return conn


@functools.cache
def _knows_json_is_harmless() -> bool:
    """Whether tables may be checked by json_valid while the schema is not trusted: not so in SQLite 3.40."""
    conn = sqlite3.connect(":memory:")
    try:
        conn.execute("PRAGMA trusted_schema = 0")
        conn.execute("CREATE TABLE t (a TEXT CHECK (json_valid(a)))")
        conn.execute("INSERT INTO t VALUES ('{}')")
    except sqlite3.OperationalError:
        return False
    finally:
        conn.close()
    return True

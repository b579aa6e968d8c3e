"""The one place that chooses the SQLite driver: pysqlite3 where it is installed, else the standard library's.

sqlite-utils makes the same choice, so its exceptions are the classes that everyone gets from here. Other
modules write `from .driver import sqlite3`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3
else:
    try:
        import pysqlite3 as sqlite3
    except ImportError:
        import sqlite3


def has_wal_bug(version: tuple[int, int, int]) -> bool:
    """Whether this SQLite can corrupt a WAL database with two writers.

    Present from 3.7.0, fixed in 3.51.3 and in the back-ports 3.44.6 and 3.50.7 (sqlite.org, "WAL-reset bug").
    """
    if version >= (3, 51, 3):
        return False
    return not any(version[:2] == fixed[:2] and version >= fixed for fixed in ((3, 44, 6), (3, 50, 7)))


wal_bug: bool = has_wal_bug(sqlite3.sqlite_version_info)
"""Where true, only the holder of the job lock may write."""

__all__ = ["has_wal_bug", "sqlite3", "wal_bug"]

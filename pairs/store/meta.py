"""The workspace's own settings: a small table of texts by key."""

from __future__ import annotations

from .driver import sqlite3


def get_meta(conn: sqlite3.Connection, key: str, default: str | None = None) -> str | None:
    """The value of a key, or the default."""
    row = conn.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return default if row is None else str(row[0])


def set_meta(conn: sqlite3.Connection, key: str, value: str | None) -> None:
    """Set a key; None removes it."""
    if value is None:
        conn.execute("DELETE FROM meta WHERE key = ?", (key,))
    else:
        conn.execute(
            "INSERT INTO meta (key, value) VALUES (?, ?)"
            " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            (key, value),
        )


def all_meta(conn: sqlite3.Connection) -> dict[str, str]:
    """Every key and its value."""
    return dict(conn.execute("SELECT key, value FROM meta ORDER BY key").fetchall())

"""Instructions with their inputs, page by page: what likeness is measured on."""

from __future__ import annotations

from .driver import sqlite3
from .filters import PairFilter
from .paging import page_ids

MOST = 20_000
"""Characters of each of the two; likeness does not look further."""


def instructions_page(
    conn: sqlite3.Connection, chosen: PairFilter, cursor: int | None, limit: int
) -> list[tuple[int, str]]:
    """Pairs older than the cursor (all without one), newest first: id, and instruction and input as one text."""
    ids = page_ids(conn, chosen, cursor, limit=limit)
    rows = conn.execute(
        f"SELECT pair.id, substr(version.instruction, 1, {MOST}), substr(version.input, 1, {MOST})"
        " FROM json_each(?) AS given CROSS JOIN pair ON pair.id = given.value"
        " JOIN version ON version.id = pair.version_id ORDER BY given.key",
        ("[" + ",".join(map(str, ids)) + "]",),
    ).fetchall()
    return [(int(row[0]), joined(row[1], row[2])) for row in rows]


def joined(instruction: str, given: str) -> str:
    """Instruction and input as the one text that likeness is measured on."""
    return f"{instruction}\n{given}" if given else instruction

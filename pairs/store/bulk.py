"""Which pairs a bulk action changes: counted for the preview and decided by the same query."""

from __future__ import annotations

from typing import Any

from .driver import sqlite3
from .filters import PairFilter, compile_filter
from .verdicts import Decided, VerdictName, decide


def count_bulk(
    conn: sqlite3.Connection, chosen: PairFilter, verdict: VerdictName, *, human: bool = False
) -> int:
    """How many pairs of the filter `decide_bulk` would change now."""
    sql, parameters = _query(conn, chosen, verdict, human, "count(*)")
    return int(conn.execute(sql, parameters).fetchone()[0])


def decide_bulk(
    conn: sqlite3.Connection, chosen: PairFilter, verdict: VerdictName, *, human: bool = False
) -> Decided:
    """Give the pairs of a filter a human's verdict, in one act. Those that have it by hand already keep their words;
    those that a human decided otherwise change only with `human`."""
    sql, parameters = _query(conn, chosen, verdict, human, "pair.id")
    return decide(conn, [row[0] for row in conn.execute(sql, parameters).fetchall()], verdict)


def _query(
    conn: sqlite3.Connection, chosen: PairFilter, verdict: VerdictName, human: bool, columns: str
) -> tuple[str, dict[str, Any]]:
    compiled = compile_filter(conn, chosen)
    sql = compiled.query(columns) + " AND (pair.verdict <> :bulk OR pair.verdict_by = 'rule')"
    if not human:
        sql += " AND pair.verdict_by IS NOT 'human'"
    return sql, {**compiled.parameters, "bulk": verdict}

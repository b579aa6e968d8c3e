"""Pages and whole orders of pairs, at a cost that does not grow with the number of rows before them.

`page` walks by key from a cursor; `snapshot_ids` reads a whole filter in any order as one array of ids, made
inside SQLite (the interpreter is free meanwhile), over which a list scrolls with `get_pairs`.
"""

from __future__ import annotations

import sys
from array import array
from dataclasses import dataclass
from typing import Any, Literal

from .driver import sqlite3
from .filters import Compiled, PairFilter, compile_filter
from .pair_rows import Pair, get_pairs

PAGE = 50
_ALL = PairFilter()


@dataclass(frozen=True, slots=True)
class Threshold:
    """One line that a score must pass: "helpfulness >= 3"."""

    attribute: str
    operator: Literal["<", "<=", ">", ">="]
    value: float


@dataclass(frozen=True, slots=True)
class Order:
    """How a list is ordered.

    "score" by the judge's newest score of an attribute, highest first unless `ascending`; "least certain" by
    the distance to the line that all thresholds together draw. Pairs without such a score come last, newest
    first.
    """

    by: Literal["newest", "oldest", "score", "least certain"] = "newest"
    judge: str = ""
    attribute: str = ""
    ascending: bool = False
    thresholds: tuple[Threshold, ...] = ()


NEWEST = Order()


def page_ids(
    conn: sqlite3.Connection,
    chosen: PairFilter = _ALL,
    cursor: int | None = None,
    *,
    direction: Literal["older", "newer"] = "older",
    limit: int = PAGE,
) -> list[int]:
    """Ids next to the cursor (a pair's id, not included), newest first; from the end of the list without
    one."""
    compiled = compile_filter(conn, chosen)
    older = direction == "older"
    sql = compiled.walk(older=older, cursor=cursor is not None)
    rows = conn.execute(sql, {**compiled.parameters, "cursor": cursor, "limit": limit}).fetchall()
    ids = [int(row[0]) for row in rows]
    return ids if older else ids[::-1]


def page(
    conn: sqlite3.Connection,
    chosen: PairFilter = _ALL,
    cursor: int | None = None,
    *,
    direction: Literal["older", "newer"] = "older",
    limit: int = PAGE,
) -> list[Pair]:
    """The pairs of `page_ids`."""
    return get_pairs(conn, page_ids(conn, chosen, cursor, direction=direction, limit=limit))


def snapshot_ids(
    conn: sqlite3.Connection, chosen: PairFilter = _ALL, order: Order = NEWEST, *, limit: int | None = None
) -> array[int]:
    """Ids of every pair of the filter in this order, as signed 64-bit numbers; the first `limit` where given.

    The order is that of this moment: it holds while pairs are edited, until the next snapshot.
    """
    compiled = compile_filter(conn, chosen)
    if limit is not None and order.by in ("newest", "oldest"):
        sql = compiled.walk(older=order.by == "newest", cursor=False)
    else:
        sql = _ordered(chosen, compiled, order) + " LIMIT :limit"
    parameters = {**compiled.parameters, **_order_parameters(order), "limit": -1 if limit is None else limit}
    # One string of fixed-width numbers instead of a million row objects.
    row = conn.execute(f"SELECT group_concat(printf('%016x', id), '') FROM ({sql})", parameters).fetchone()
    return _decode(row[0] or "")


def count_pairs(conn: sqlite3.Connection, chosen: PairFilter = _ALL) -> int:
    """How many pairs the filter finds."""
    compiled = compile_filter(conn, chosen)
    return int(conn.execute(compiled.query("count(*)"), compiled.parameters).fetchone()[0])


def ids_after(conn: sqlite3.Connection, chosen: PairFilter, newest_known: int) -> array[int]:
    """Ids of pairs that came since, oldest first: what a running job adds to a list on the screen."""
    return array("q", reversed(page_ids(conn, chosen, newest_known, direction="newer", limit=1_000_000)))


_CHUNK = 1 << 18


def _decode(digits: str) -> array[int]:
    ids = array("q")
    # In pieces, so that the interpreter is never held for long.
    for start in range(0, len(digits), _CHUNK):
        ids.frombytes(bytes.fromhex(digits[start : start + _CHUNK]))
    if sys.byteorder == "little":
        ids.byteswap()
    return ids


def _ordered(chosen: PairFilter, compiled: Compiled, order: Order) -> str:
    if order.by in ("newest", "oldest"):
        way = "DESC" if order.by == "newest" else "ASC"
        if chosen == _ALL:
            return f"SELECT id FROM pair WHERE removed = 0 ORDER BY id {way}"
        return compiled.query() + f" ORDER BY pair.id {way}"
    if order.by == "score":
        way = "ASC" if order.ascending else "DESC"
        joins = _score_join("own", "attribute")
        return compiled.query(joins=joins) + f" ORDER BY own.value IS NULL, own.value {way}, pair.id DESC"
    if not order.thresholds:
        return compiled.query() + " ORDER BY pair.id DESC"
    joins = " ".join(_score_join(f"s{i}", f"attribute{i}") for i in range(len(order.thresholds)))
    margins = [
        f"s{i}.value - :line{i}" if threshold.operator in (">", ">=") else f":line{i} - s{i}.value"
        for i, threshold in enumerate(order.thresholds)
    ]
    # A pair passes where every margin is positive: the smallest one is its signed distance to the line.
    joined = ", ".join(margins)
    joined = ", ".join(margins)
    distance = f"abs({joined})" if len(margins) == 1 else f"abs(min({joined}))"
    return compiled.query(joins=joins) + f" ORDER BY {distance} IS NULL, {distance}, pair.id DESC"


def _score_join(alias: str, parameter: str) -> str:
    return (
        f"LEFT JOIN score AS {alias} ON {alias}.attribute = :{parameter} AND {alias}.judgement_id ="
        " (SELECT judgement.id FROM judgement WHERE judgement.version_id = pair.version_id"
        " AND judgement.judge = :order_judge ORDER BY judgement.id DESC LIMIT 1)"
    )


def _order_parameters(order: Order) -> dict[str, Any]:
    parameters: dict[str, Any] = {"order_judge": order.judge, "attribute": order.attribute}
    for i, threshold in enumerate(order.thresholds):
        parameters[f"attribute{i}"] = threshold.attribute
        parameters[f"line{i}"] = threshold.value
    return parameters

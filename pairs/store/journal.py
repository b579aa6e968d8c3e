"""The journal: every act of a person with the rows it changed, before and after; endless undo and redo from
it.

An act opens an entry (`begin`), notes images of the rows it is about to change, changes them, and closes the
entry. Undo puts the images from before back, redo those from after; both work across restarts and from any
process. Rows are never deleted: what an undo takes back (an import, an edit's version) stays stored as
removed.

Where a row is no longer as the entry left it, or its text is another pair's by now, that pair as a whole is
left alone and counted (`left_alone`); the rest of the entry is undone all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pairsmith.backends.text import clean

from .clock import now
from .driver import sqlite3
from .identity import new_uid

SESSION = new_uid()
"""Names this process in the journal."""

Actor = Literal["human", "rule"]


@dataclass(frozen=True, slots=True)
class Shape:
    """Which columns of which table an image holds. `owner` is SQL for the pair that a row (c.row_id) belongs
    to."""

    table: str
    key: str
    columns: tuple[str, ...]
    owner: str
    blobs: frozenset[str] = frozenset()
    deletable: bool = False

    def image(self, alias: str) -> str:
        """SQL for the row's image as JSON; NULL where there is no row."""
        parts = []
        for column in self.columns:
            value = f"{alias}.{column}"
            parts.append(f"'{column}', {f'hex({value})' if column in self.blobs else value}")
        return f"CASE WHEN {alias}.{self.key} IS NOT NULL THEN json_object({', '.join(parts)}) END"

    def value(self, image: str, column: str) -> str:
        """SQL for one column's value in an image."""
        value = f"json_extract({image}, '$.{column}')"
        return f"pairsmith_unhex({value})" if column in self.blobs else value


_PAIR_OF_VERSION = "(SELECT pair_id FROM version WHERE version.id = c.row_id)"
_KEYS = frozenset({"instruction_key", "text_key"})
SHAPES: dict[str, Shape] = {
    "verdict": Shape(
        "verdict",
        "version_id",
        ("verdict", "by", "rule", "reason", "tags", "note", "at"),
        _PAIR_OF_VERSION,
        deletable=True,
    ),
    "pair.version": Shape("pair", "id", ("version_id", "instruction_key", "text_key"), "c.row_id", _KEYS),
    "pair.removed": Shape("pair", "id", ("removed",), "c.row_id"),
    "pair.topic": Shape("pair", "id", ("topic_id",), "c.row_id"),
    "version.removed": Shape("version", "id", ("removed",), _PAIR_OF_VERSION),
    "topic": Shape("topic", "id", ("parent_id", "name", "position", "quota", "pruned"), "-1"),
    "seed_task.removed": Shape("seed_task", "id", ("removed",), "-2"),
    "seed_task.text": Shape(
        "seed_task", "id", ("name", "instruction", "instances", "is_classification", "source"), "-2"
    ),
    "rating.removed": Shape("rating", "id", ("removed",), "-3"),
}
CHUNK = 20_000
"""Rows that one statement of a bulk act changes at most."""
PRESENT, ABSENT = '{"removed":0}', '{"removed":1}'
"""Images of rows that the act brings into being: before it they count as removed."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One act. `restored` and `left_alone` are set by undo and redo: rows put back, pairs left as they
    are."""

    id: int
    at: str
    kind: str
    label: str
    actor: Actor
    session: str
    focus_pair_id: int | None
    state: Literal["done", "undone", "dropped"]
    restored: int = 0
    left_alone: int = 0


def begin(
    conn: sqlite3.Connection, kind: str, label: str, *, actor: Actor = "human", focus: int | None = None
) -> int:
    """Open an entry; what was undone before can no longer be redone. Returns its id."""
    conn.execute("UPDATE journal SET state = 'dropped' WHERE state = 'undone'")
    cursor = conn.execute(
        "INSERT INTO journal (at, kind, label, actor, session, focus_pair_id) VALUES (?, ?, ?, ?, ?, ?)",
        (now(), kind, clean(label)[0], actor, SESSION, focus),
    )
    assert cursor.lastrowid is not None
    return int(cursor.lastrowid)


def note_before(conn: sqlite3.Connection, entry_id: int, shape_name: str, row_ids: Sequence[int]) -> None:
    """Note rows as they are now, before they are changed."""
    shape = SHAPES[shape_name]
    conn.executemany(
        "INSERT INTO journal_change (journal_id, row_table, row_id, before)"
        f" SELECT ?1, ?2, ?3, (SELECT {shape.image('x')} FROM {shape.table} AS x WHERE x.{shape.key} = ?3)",
        [(entry_id, shape_name, row_id) for row_id in row_ids],
    )


def note_new(conn: sqlite3.Connection, entry_id: int, shape_name: str, row_ids: Sequence[int]) -> None:
    """Note rows that the act has just inserted; only shapes of the one column `removed`."""
    conn.executemany(
        "INSERT INTO journal_change (journal_id, row_table, row_id, before, after) VALUES (?, ?, ?, ?, ?)",
        [(entry_id, shape_name, row_id, ABSENT, PRESENT) for row_id in row_ids],
    )


def note_after(conn: sqlite3.Connection, entry_id: int, shape_name: str) -> None:
    """Complete the rows of `note_before` once they are changed."""
    shape = SHAPES[shape_name]
    conn.execute(
        f"UPDATE journal_change SET after = (SELECT {shape.image('x')} FROM {shape.table} AS x"
        f" WHERE x.{shape.key} = journal_change.row_id) WHERE journal_id = ? AND row_table = ?",
        (entry_id, shape_name),
    )


def undo(conn: sqlite3.Connection) -> Entry | None:
    """Take the newest act back; None where there is nothing to undo."""
    entry = _newest(conn, "SELECT max(id) FROM journal WHERE state = 'done'")
    return None if entry is None else _move(conn, entry, "undo")


def redo(conn: sqlite3.Connection) -> Entry | None:
    """Do the act undone last again; None where there is nothing to redo."""
    entry = _newest(conn, "SELECT min(id) FROM journal WHERE state = 'undone'")
    return None if entry is None else _move(conn, entry, "redo")


def next_undo(conn: sqlite3.Connection) -> Entry | None:
    """The act that `undo` would take back."""
    return _newest(conn, "SELECT max(id) FROM journal WHERE state = 'done'")


def next_redo(conn: sqlite3.Connection) -> Entry | None:
    """The act that `redo` would do again."""
    return _newest(conn, "SELECT min(id) FROM journal WHERE state = 'undone'")


_COLUMNS = "id, at, kind, label, actor, session, focus_pair_id, state"


def history(conn: sqlite3.Connection, limit: int = 100) -> list[Entry]:
    """The newest acts first, undone and dropped ones too."""
    rows = conn.execute(f"SELECT {_COLUMNS} FROM journal ORDER BY id DESC LIMIT ?", (limit,)).fetchall()
    return [Entry(*row) for row in rows]


def _newest(conn: sqlite3.Connection, query: str) -> Entry | None:
    row = conn.execute(f"SELECT {_COLUMNS} FROM journal WHERE id = ({query})").fetchone()
    return None if row is None else Entry(*row)


def _move(conn: sqlite3.Connection, entry: Entry, direction: Literal["undo", "redo"]) -> Entry:
    have, want = ("after", "before") if direction == "undo" else ("before", "after")
    names = [
        row[0]
        for row in conn.execute(
            "SELECT DISTINCT row_table FROM journal_change WHERE journal_id = ?", (entry.id,)
        ).fetchall()
    ]
    conn.execute("CREATE TEMP TABLE IF NOT EXISTS journal_conflict (pair_id INTEGER PRIMARY KEY)")
    conn.execute("DELETE FROM temp.journal_conflict")
    for name in names:
        _find_changed_since(conn, entry.id, name, have)
    _find_taken_texts(conn, entry.id, want)
    left_alone = int(conn.execute("SELECT count(*) FROM temp.journal_conflict").fetchone()[0])
    restored = 0
    # A pair's version comes back before its verdict: the mirror of verdicts looks at the chosen version.
    for name in sorted(names, key=list(SHAPES).index, reverse=True):
        restored += _restore(conn, entry.id, name, want, spare=left_alone > 0)
    state: Literal["done", "undone"] = "undone" if direction == "undo" else "done"
    conn.execute("UPDATE journal SET state = ? WHERE id = ?", (state, entry.id))
    conn.execute(
        "INSERT INTO journal_move (journal_id, direction, at) VALUES (?, ?, ?)", (entry.id, direction, now())
    )
    return replace(entry, state=state, restored=restored, left_alone=left_alone)


def _find_changed_since(conn: sqlite3.Connection, entry_id: int, name: str, have: str) -> None:
    shape = SHAPES[name]
    conn.execute(
        f"INSERT OR IGNORE INTO temp.journal_conflict SELECT {shape.owner}"
        f" FROM journal_change AS c LEFT JOIN {shape.table} AS x ON x.{shape.key} = c.row_id"
        f" WHERE c.journal_id = ? AND c.row_table = ? AND {shape.image('x')} IS NOT c.{have}",
        (entry_id, name),
    )


def _find_taken_texts(conn: sqlite3.Connection, entry_id: int, want: str) -> None:
    """Pairs whose text, as it would be again, another pair has by now."""
    taken = (
        "EXISTS (SELECT 1 FROM pair AS o WHERE o.text_key = {text} AND o.removed = 0 AND o.id <> p.id)"
        " OR p.origin = 'generated' AND EXISTS (SELECT 1 FROM pair AS o WHERE o.instruction_key = {instruction}"
        " AND o.origin = 'generated' AND o.removed = 0 AND o.id <> p.id)"
    )
    shape = SHAPES["pair.version"]
    texts = (
        ("pair.removed", f"c.{want} = '{PRESENT}'", "p.text_key", "p.instruction_key"),
        (
            "pair.version",
            "p.removed = 0",
            shape.value(f"c.{want}", "text_key"),
            shape.value(f"c.{want}", "instruction_key"),
        ),
    )
    for name, condition, text, instruction in texts:
        conn.execute(
            "INSERT OR IGNORE INTO temp.journal_conflict SELECT p.id"
            " FROM journal_change AS c JOIN pair AS p ON p.id = c.row_id"
            f" WHERE c.journal_id = ? AND c.row_table = ? AND {condition}"
            f" AND ({taken.format(text=text, instruction=instruction)})",
            (entry_id, name),
        )


def _restore(conn: sqlite3.Connection, entry_id: int, name: str, want: str, *, spare: bool) -> int:
    shape = SHAPES[name]
    chosen = "c.journal_id = :entry AND c.row_table = :name AND c.id BETWEEN :first AND :last"
    if spare:
        chosen += f" AND {shape.owner} NOT IN (SELECT pair_id FROM temp.journal_conflict)"
    restored = 0
    for first, last in _chunks(conn, entry_id):
        parameters = {"entry": entry_id, "name": name, "first": first, "last": last}
        for statement in _restoring(shape, chosen, want):
            restored += int(conn.execute(statement, parameters).rowcount)
    return restored


def _restoring(shape: Shape, chosen: str, want: str) -> tuple[str, ...]:
    if not shape.deletable:
        values = ", ".join(f"{column} = {shape.value(f'c.{want}', column)}" for column in shape.columns)
        return (
            f"UPDATE {shape.table} SET {values} FROM journal_change AS c"
            f" WHERE {chosen} AND {shape.table}.{shape.key} = c.row_id",
        )
    columns = ", ".join(shape.columns)
    values = ", ".join(shape.value(f"c.{want}", column) for column in shape.columns)
    updates = ", ".join(f"{column} = excluded.{column}" for column in shape.columns)
    return (
        f"DELETE FROM {shape.table} WHERE {shape.key} IN"
        f" (SELECT c.row_id FROM journal_change AS c WHERE {chosen} AND c.{want} IS NULL)",
        f"INSERT INTO {shape.table} ({shape.key}, {columns}) SELECT c.row_id, {values} FROM journal_change AS c"
        f" WHERE {chosen} AND c.{want} IS NOT NULL ON CONFLICT ({shape.key}) DO UPDATE SET {updates}",
    )


def _chunks(conn: sqlite3.Connection, entry_id: int) -> list[tuple[int, int]]:
    """An entry's changes in stretches of ids: SQLite keeps what one statement changed in memory until it
    ends.
    """
    first, last = conn.execute(
        "SELECT min(id), max(id) FROM journal_change WHERE journal_id = ?", (entry_id,)
    ).fetchone()
    if first is None:
        return []
    return [(start, start + CHUNK - 1) for start in range(first, last + 1, CHUNK)]

"""Seed tasks: human-written instructions with instances, from which Self-Instruct starts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from pairsmith.backends.text import clean

from ..errors import UsageError
from ..instances import Instance
from ..normalise import pair_key
from . import journal
from .driver import sqlite3
from .identity import new_uid

LONGEST = 100_000
"""Characters of a seed task's instruction."""
_REMOVED, _TEXT = "seed_task.removed", "seed_task.text"


@dataclass(frozen=True, slots=True)
class SeedTask:
    """A task as a person wrote it. `source`: the file's name, or "by hand"."""

    instruction: str
    instances: tuple[Instance, ...] = ()
    is_classification: bool = False
    name: str = ""
    source: str = "by hand"


@dataclass(frozen=True, slots=True)
class StoredSeedTask:
    """A seed task of the workspace."""

    id: int
    task: SeedTask


def add_seed_tasks(conn: sqlite3.Connection, tasks: Sequence[SeedTask]) -> list[int]:
    """Store those that are not there yet, one that was removed comes back. Returns the ids of the new ones."""
    added = []
    for task in tasks:
        seed_id, new = _add(conn, task)
        if new:
            added.append(seed_id)
    return added


def write_seed_task(conn: sqlite3.Connection, task: SeedTask) -> int:
    """Store what a person has just written, as an act that can be undone; returns its id. Raises UsageError for an
    empty instruction, one that is too long, and one that is there already."""
    text = _checked(task)
    entry = journal.begin(conn, "seed task", f"added seed task {_short(text)}")
    seed_id = _put(conn, entry, task)
    _close(conn, entry)
    return seed_id


def change_seed_task(conn: sqlite3.Connection, seed_id: int, task: SeedTask) -> int:
    """Another text for a seed task, as one act that can be undone; returns the id under which it stands from now on.

    Raises UsageError where there is no such task, and for a text that `write_seed_task` would refuse.
    """
    text = _checked(task)
    row = conn.execute(
        "SELECT instruction_key FROM seed_task WHERE id = ? AND removed = 0", (seed_id,)
    ).fetchone()
    if row is None:
        raise UsageError(f"there is no seed task {seed_id}")
    entry = journal.begin(conn, "seed task", f"changed seed task {_short(text)}")
    if bytes(row[0]) == pair_key(text):
        _rewrite(conn, entry, seed_id, task)
    else:
        # Another instruction is another row: its key may not be there twice, not even as a removed one's.
        _remove(conn, entry, seed_id)
        seed_id = _put(conn, entry, task)
    _close(conn, entry)
    return seed_id


def import_seed_tasks(conn: sqlite3.Connection, tasks: Sequence[SeedTask], source: str) -> list[int]:
    """`add_seed_tasks` as an act of a person that can be undone. No act where all were there already."""
    known = {row[0] for row in conn.execute("SELECT instruction_key FROM seed_task WHERE removed = 0")}
    new = {pair_key(_text(task)): task for task in tasks if pair_key(_text(task)) not in known}
    if not new:
        return []
    entry = journal.begin(conn, "seed task", f"added {len(new):,} seed tasks from {source[:60]}")
    added = [_put(conn, entry, task) for task in new.values()]
    _close(conn, entry)
    return added


def remove_seed_task(conn: sqlite3.Connection, seed_id: int) -> None:
    """Take a seed task out of the pool, as an act that can be undone. Raises UsageError where there is none."""
    row = conn.execute(
        "SELECT instruction FROM seed_task WHERE id = ? AND removed = 0", (seed_id,)
    ).fetchone()
    if row is None:
        raise UsageError(f"there is no seed task {seed_id}")
    entry = journal.begin(conn, "seed task", f"removed seed task {_short(row[0])}")
    _remove(conn, entry, seed_id)
    _close(conn, entry)


def count_seed_tasks(conn: sqlite3.Connection) -> int:
    """How many are not removed."""
    return int(conn.execute("SELECT count(*) FROM seed_task WHERE removed = 0").fetchone()[0])


def list_seed_tasks(conn: sqlite3.Connection) -> list[StoredSeedTask]:
    """All that are not removed, in the order in which they came."""
    rows = conn.execute(
        "SELECT id, instruction, instances, is_classification, name, source FROM seed_task"
        " WHERE removed = 0 ORDER BY id"
    ).fetchall()
    return [
        StoredSeedTask(
            row[0],
            SeedTask(
                row[1],
                tuple(Instance(item["input"], item["output"]) for item in json.loads(row[2])),
                bool(row[3]),
                row[4],
                row[5],
            ),
        )
        for row in rows
    ]


def _text(task: SeedTask) -> str:
    return clean(task.instruction)[0].strip()


def _short(text: str) -> str:
    return " ".join(text.split())[:60]


def _checked(task: SeedTask) -> str:
    text = _text(task)
    if not text:
        raise UsageError("a seed task needs an instruction")
    if len(text) > LONGEST:
        raise UsageError(f"a seed task's instruction has at most {LONGEST:,} characters")
    return text


def _columns(task: SeedTask) -> tuple[str, str, str, int, str]:
    """name, instruction, instances, is_classification, source."""
    instances = json.dumps(
        [{"input": clean(one.input)[0], "output": clean(one.output)[0]} for one in task.instances],
        ensure_ascii=False,
    )
    return clean(task.name)[0], _text(task), instances, int(task.is_classification), clean(task.source)[0]


def _put(conn: sqlite3.Connection, entry: int, task: SeedTask) -> int:
    """Insert a task, or bring a removed one back with these texts; noted in the entry. Raises UsageError."""
    row = conn.execute(
        "SELECT id, removed FROM seed_task WHERE instruction_key = ?", (pair_key(_text(task)),)
    ).fetchone()
    if row is None:
        seed_id, _ = _add(conn, task)
        journal.note_new(conn, entry, _REMOVED, [seed_id])
        return seed_id
    if not row[1]:
        raise UsageError(f"seed task {row[0]} says the same")
    journal.note_before(conn, entry, _REMOVED, [row[0]])
    conn.execute("UPDATE seed_task SET removed = 0 WHERE id = ?", (row[0],))
    _rewrite(conn, entry, int(row[0]), task)
    return int(row[0])


def _rewrite(conn: sqlite3.Connection, entry: int, seed_id: int, task: SeedTask) -> None:
    journal.note_before(conn, entry, _TEXT, [seed_id])
    conn.execute(
        "UPDATE seed_task SET name = ?, instruction = ?, instances = ?, is_classification = ?, source = ?"
        " WHERE id = ?",
        (*_columns(task), seed_id),
    )


def _remove(conn: sqlite3.Connection, entry: int, seed_id: int) -> None:
    journal.note_before(conn, entry, _REMOVED, [seed_id])
    conn.execute("UPDATE seed_task SET removed = 1 WHERE id = ?", (seed_id,))


def _close(conn: sqlite3.Connection, entry: int) -> None:
    for shape in (_REMOVED, _TEXT):
        journal.note_after(conn, entry, shape)


def _add(conn: sqlite3.Connection, task: SeedTask) -> tuple[int, bool]:
    """The id under which a task stands, and whether it did not before."""
    name, text, instances, is_classification, source = _columns(task)
    key = pair_key(text)
    row = conn.execute("SELECT id, removed FROM seed_task WHERE instruction_key = ?", (key,)).fetchone()
    if row is not None and not row[1]:
        return int(row[0]), False
    if row is not None:
        conn.execute("UPDATE seed_task SET removed = 0, instances = ? WHERE id = ?", (instances, row[0]))
        return int(row[0]), True
    cursor = conn.execute(
        "INSERT INTO seed_task (uid, name, instruction, instances, is_classification, source, instruction_key)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (new_uid(), name, text, instances, is_classification, source, key),
    )
    assert cursor.lastrowid is not None
    return int(cursor.lastrowid), True

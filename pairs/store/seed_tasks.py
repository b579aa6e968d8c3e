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
    text = clean(task.instruction)[0].strip()
    if not text:
        raise UsageError("a seed task needs an instruction")
    if len(text) > LONGEST:
        raise UsageError(f"a seed task's instruction has at most {LONGEST:,} characters")
    seed_id, new = _add(conn, task)
    if not new:
        raise UsageError(f"seed task {seed_id} says the same")
    entry = journal.begin(conn, "seed task", f"added seed task {' '.join(text.split())[:60]}")
    journal.note_new(conn, entry, "seed_task.removed", [seed_id])
    return seed_id


def remove_seed_task(conn: sqlite3.Connection, seed_id: int) -> None:
    """Take a seed task out of the pool, as an act that can be undone. Raises UsageError where there is none."""
    row = conn.execute(
        "SELECT instruction FROM seed_task WHERE id = ? AND removed = 0", (seed_id,)
    ).fetchone()
    if row is None:
        raise UsageError(f"there is no seed task {seed_id}")
    entry = journal.begin(conn, "seed task", f"removed seed task {' '.join(row[0].split())[:60]}")
    journal.note_before(conn, entry, "seed_task.removed", [seed_id])
    conn.execute("UPDATE seed_task SET removed = 1 WHERE id = ?", (seed_id,))
    journal.note_after(conn, entry, "seed_task.removed")


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


def _add(conn: sqlite3.Connection, task: SeedTask) -> tuple[int, bool]:
    """The id under which a task stands, and whether it did not before."""
    text = clean(task.instruction)[0].strip()
    instances = json.dumps(
        [{"input": clean(one.input)[0], "output": clean(one.output)[0]} for one in task.instances],
        ensure_ascii=False,
    )
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
        (
            new_uid(),
            clean(task.name)[0],
            text,
            instances,
            int(task.is_classification),
            clean(task.source)[0],
            key,
        ),
    )
    assert cursor.lastrowid is not None
    return int(cursor.lastrowid), True

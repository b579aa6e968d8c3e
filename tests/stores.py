"""What the store's tests share: a fresh workspace, quick pairs, and the whole content of a workspace as
plain data.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from pairsmith.pairs.store.driver import sqlite3
from pairsmith.pairs.store.pair_rows import NewPair, add_pair
from pairsmith.pairs.store.workspace import Workspace, create_workspace


def new_workspace(folder: Path, name: str = "w.pairsmith", **settings: Any) -> Workspace:
    """An empty workspace."""
    return create_workspace(folder / name, domain="git", recipe_toml="", language="en", **settings)


def add_pairs(workspace: Workspace, count: int, start: int = 0, **fields: Any) -> list[int]:
    """Pairs that differ from each other, in one transaction; returns their ids."""
    return workspace.write(
        lambda conn: [
            add_pair(conn, NewPair(f"Question number {n}", f"Answer {n}", **fields))
            for n in range(start, start + count)
        ]
    )


def content(conn: sqlite3.Connection) -> dict[str, list[tuple[Any, ...]]]:
    """Everything a person sees, without ids, journal, calls and what was undone."""
    return {
        "pairs": conn.execute(
            "SELECT pair.uid, origin, v.instruction, v.input, v.output, pair.verdict, pair.verdict_by, versions, t.uid"
            " FROM pair JOIN version AS v ON v.id = version_id LEFT JOIN topic AS t ON t.id = topic_id"
            " WHERE pair.removed = 0 ORDER BY pair.uid"
        ).fetchall(),
        "versions": conn.execute(
            "SELECT pair.uid, v.number, v.maker, v.instruction, v.input, v.output, verdict.verdict, verdict.by,"
            " verdict.rule, verdict.reason, verdict.tags, verdict.note, verdict.at"
            " FROM version AS v JOIN pair ON pair.id = v.pair_id LEFT JOIN verdict ON verdict.version_id = v.id"
            " WHERE v.removed = 0 AND pair.removed = 0 ORDER BY pair.uid, v.number"
        ).fetchall(),
        "scores": conn.execute(
            "SELECT pair.uid, judge, attribute, value FROM score JOIN judgement AS j ON j.id = judgement_id"
            " JOIN version AS v ON v.id = j.version_id JOIN pair ON pair.id = v.pair_id"
            " WHERE v.removed = 0 AND pair.removed = 0 ORDER BY 1, 2, 3"
        ).fetchall(),
        "topics": conn.execute(
            "SELECT t.uid, above.uid, t.name, t.position, t.quota FROM topic AS t"
            " LEFT JOIN topic AS above ON above.id = t.parent_id WHERE t.pruned = 0 ORDER BY 1"
        ).fetchall(),
        "ratings": conn.execute(
            "SELECT pair.uid, rater, kind, hex(answer), hex(other), value FROM rating JOIN pair ON pair.id = pair_id"
            " WHERE rating.removed = 0 ORDER BY 1, 2, 3, 4, 5"
        ).fetchall(),
        "meta": conn.execute("SELECT key, value FROM meta ORDER BY key").fetchall(),
    }


def python(code: str, *arguments: object, **options: Any) -> subprocess.Popen[str]:
    """Start another Python process that runs this code."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )

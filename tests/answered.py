"""A workspace whose test pairs have stored answers of several models, as an evaluation leaves them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from pairsmith.pairs.store.driver import sqlite3
from pairsmith.pairs.store.held_out import HeldOutAnswer, add_answers
from pairsmith.pairs.store.runs import get_run, set_result, set_state, start_run
from pairsmith.pairs.store.workspace import Workspace

from .stores import add_pairs, new_workspace

Say = Callable[[int], str]


def answered_workspace(folder: Path, subjects: Mapping[str, Say], count: int = 12) -> Workspace:
    """Training run 1 and an evaluation of it with these subjects ("tuned", "base", ...) on `count` test pairs."""
    workspace = new_workspace(folder)
    add_pairs(workspace, count)
    workspace.write(lambda conn: evaluated(conn, subjects, count))
    return workspace


def evaluated(conn: sqlite3.Connection, subjects: Mapping[str, Say], count: int = 12) -> tuple[int, int]:
    """Another training run with its evaluation; the ids of both."""
    train = start_run(conn, "train", {"base": "scratch:tiny"})
    set_state(conn, train, "done")
    run = start_run(conn, "evaluate", {"train_run": get_run(conn, train).uid})
    for subject, say in subjects.items():
        add_answers(conn, run, subject, [HeldOutAnswer(n, say(n), {}) for n in range(1, count + 1)])
    set_result(conn, run, {"train_run": train, "n": count, "subjects": {name: {} for name in subjects}})
    set_state(conn, run, "done")
    return train, run


def good(number: int) -> str:
    """An answer."""
    return f"Use the command number {number}."


def bad(number: int) -> str:
    """Another one."""
    return f"I do not know about {number}, I do not know."

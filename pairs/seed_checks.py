"""What must be there before a method can begin, found out before a run is opened or anything is spent."""

from __future__ import annotations

from collections.abc import Sequence

from .errors import UsageError
from .examples import parse_examples
from .recipes import METHODS
from .store.driver import sqlite3
from .store.seed_tasks import SeedTask, add_seed_tasks, list_seed_tasks
from .store.workspace import Workspace


async def check_method(
    workspace: Workspace, method: str, examples: str | None, seed_tasks: Sequence[SeedTask]
) -> None:
    """Store the seed tasks that a start brings along, and see whether the method has what it needs.

    Raises UsageError for an unknown method, Self-Instruct without seed tasks, and options of the other method.
    """
    if method not in METHODS:
        raise UsageError(f"there is no method {method!r}", f"Methods are {', '.join(METHODS)}")
    if method != "self-instruct":
        if seed_tasks or examples is not None:
            raise UsageError(f"seed tasks are not for the method {method}", "Give --method self-instruct")
        return
    if examples is not None and parse_examples(examples) is None:
        raise UsageError(f"{examples!r} is no choice of examples", "It is paper, alpaca, mixed or like 6+2")

    def store(conn: sqlite3.Connection) -> int:
        add_seed_tasks(conn, seed_tasks)
        return len(list_seed_tasks(conn))

    if not await workspace.awrite(store):
        raise UsageError("Self-Instruct starts from seed tasks, and there are none", "Give --seed-tasks FILE")

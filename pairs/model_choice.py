"""Choosing who writes and who judges in a workspace: checked first, and agreed to once where it leaves the machine."""

from __future__ import annotations

import asyncio
import json

from pairsmith.backends.preflight import preflight
from pairsmith.backends.registry import Settings, open_backend, parse_spec

from .doors import DoorKind
from .store.driver import sqlite3
from .store.meta import get_meta, set_meta
from .store.workspace import Workspace

KEY = "remote_agreed"


async def check_model(spec: str, settings: Settings) -> tuple[str, str | None]:
    """(the spec in its usual spelling, the server that texts would be sent to or None where they stay here).

    Raises BackendError for what can be known before the first completion.
    """
    parsed = parse_spec(spec)
    await preflight(parsed, settings)
    if parsed.backend == "llama-cpp":
        return str(parsed), None
    backend = await asyncio.to_thread(open_backend, parsed, settings)
    try:
        if parsed.backend == "ollama":
            await backend.capabilities()
        return str(parsed), backend.origin if backend.remote else None
    finally:
        await backend.close()


def agreed(conn: sqlite3.Connection, origin: str) -> bool:
    """Whether somebody said yes to this workspace's texts going there."""
    try:
        return origin in json.loads(get_meta(conn, KEY) or "[]")
    except (ValueError, TypeError):
        return False


async def choose_model(
    workspace: Workspace, kind: DoorKind, spec: str | None, *, agree: str | None = None
) -> None:
    """Make it the workspace's from the next call on, also of a job that runs; None: none of its own.

    `agree`: the server that was agreed to.
    """

    def store(conn: sqlite3.Connection) -> None:
        set_meta(conn, kind, spec)
        if agree is not None and not agreed(conn, agree):
            try:
                known = list(json.loads(get_meta(conn, KEY) or "[]"))
            except (ValueError, TypeError):
                known = []
            set_meta(conn, KEY, json.dumps([*known, agree]))

    await workspace.awrite(store)

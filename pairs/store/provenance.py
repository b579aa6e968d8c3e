"""Where exported pairs come from: run, call and sampling of what a model wrote, file and line of what was imported."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any

from .driver import sqlite3
from .pair_rows import Pair

_PROMPT = ("messages", "prompt")


def provenance_of(conn: sqlite3.Connection, pairs: Sequence[Pair]) -> dict[int, dict[str, Any]]:
    """Pair id -> what is known of its chosen version's making, as JSON-able data without any text of a prompt.

    `prompt_sha256` is over the exact request's messages (or raw prompt) as JSON with sorted keys.
    """
    calls = _calls(conn, {pair.version.call_id for pair in pairs if pair.version.call_id is not None})
    runs = dict(
        _rows(
            conn,
            "SELECT id, uid FROM run WHERE id IN ({})",
            {p.run_id for p in pairs if p.run_id is not None},
        )
    )
    files = {
        row[0]: row[1:]
        for row in _rows(
            conn,
            "SELECT id, source, sha256 FROM import_batch WHERE id IN ({})",
            {pair.import_id for pair in pairs if pair.import_id is not None},
        )
    }
    found = {}
    for pair in pairs:
        made: dict[str, Any] = {
            "origin": pair.origin,
            "maker": pair.version.maker,
            "version": pair.version.number,
        }
        if pair.run_id in runs:
            made["run"] = runs[pair.run_id]
        if pair.version.call_id in calls:
            made["call"] = calls[pair.version.call_id]
        if pair.import_id in files:
            made["file"], made["file_sha256"] = files[pair.import_id]
            made["line"] = pair.import_line
        found[pair.id] = made
    return found


def _calls(conn: sqlite3.Connection, ids: set[int]) -> dict[int, dict[str, Any]]:
    found = {}
    for call_id, backend, model, request in _rows(
        conn, "SELECT id, backend, model, request FROM call WHERE id IN ({})", ids
    ):
        record = json.loads(request)
        prompt = {name: record[name] for name in _PROMPT if name in record}
        parameters = {
            name: value for name, value in sorted(record.items()) if isinstance(value, (bool, int, float))
        }
        digest = hashlib.sha256(json.dumps(prompt, sort_keys=True).encode()).hexdigest()
        found[call_id] = {"backend": backend, "model": model, **parameters, "prompt_sha256": digest}
    return found


def _rows(conn: sqlite3.Connection, sql: str, ids: Iterable[int]) -> list[Any]:
    chosen = sorted(ids)
    return conn.execute(sql.format(",".join("?" * len(chosen))), chosen).fetchall()

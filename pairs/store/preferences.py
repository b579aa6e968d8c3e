"""Which responses a person preferred to which: an edit to the model's text, an accepted response to a rejected one."""

from __future__ import annotations

from collections.abc import Sequence

from .driver import sqlite3

_REPLACED = """
    SELECT pair.id, other.id, other.output
    FROM json_each(:ids) AS given CROSS JOIN pair ON pair.id = given.value
    JOIN version AS chosen ON chosen.id = pair.version_id
    JOIN version AS other ON other.pair_id = pair.id AND other.removed = 0
    WHERE pair.versions > 1 AND chosen.maker = 'human'
    AND other.instruction = chosen.instruction AND other.input = chosen.input AND other.output <> chosen.output
    AND other.number = (
        SELECT max(number) FROM version
        WHERE pair_id = pair.id AND removed = 0 AND maker <> 'human' AND number < chosen.number
    )
"""
_EDITED = f"{_REPLACED} AND pair.verdict <> 'rejected'"
_OTHER_VERSION = """
    SELECT pair.id, other.id, other.output
    FROM json_each(:ids) AS given CROSS JOIN pair ON pair.id = given.value
    JOIN version AS chosen ON chosen.id = pair.version_id
    JOIN version AS other ON other.pair_id = pair.id AND other.removed = 0 AND other.id <> chosen.id
    JOIN verdict ON verdict.version_id = other.id AND verdict.verdict = 'rejected'
    WHERE pair.versions > 1 AND pair.verdict = 'accepted'
    AND other.instruction = chosen.instruction AND other.input = chosen.input AND other.output <> chosen.output
"""
_OTHER_PAIR = """
    SELECT pair.id, other.id, other.output
    FROM json_each(:ids) AS given CROSS JOIN pair ON pair.id = given.value
    JOIN version AS chosen ON chosen.id = pair.version_id
    JOIN pair AS worse ON worse.instruction_key = pair.instruction_key AND worse.removed = 0
        AND worse.verdict = 'rejected' AND worse.id <> pair.id
    JOIN version AS other ON other.id = worse.version_id AND other.output <> chosen.output
    WHERE pair.verdict = 'accepted'
"""


def rejected_responses(conn: sqlite3.Connection, pair_ids: Sequence[int]) -> dict[int, list[tuple[int, str]]]:
    """Pair id -> (version id, response) of what its chosen response is preferred to, by version id, no text twice.

    A human's edit is preferred to the last version before it that no human wrote, an accepted response to every
    rejected one of the same instruction and input. Pairs without any are left out; so are rejected pairs.
    """
    ids = {"ids": "[" + ",".join(map(str, pair_ids)) + "]"}
    found: dict[int, dict[int, str]] = {}
    for sql in (_EDITED, _OTHER_VERSION, _OTHER_PAIR):
        for pair_id, version_id, text in conn.execute(sql, ids).fetchall():
            found.setdefault(pair_id, {})[version_id] = text
    return {pair_id: _once(sorted(texts.items())) for pair_id, texts in found.items()}


def replaced_responses(conn: sqlite3.Connection, pair_ids: Sequence[int]) -> dict[int, str]:
    """Pair id -> the last response before a person's that no person wrote, to the same question; without the others."""
    ids = {"ids": "[" + ",".join(map(str, pair_ids)) + "]"}
    return {pair_id: text for pair_id, _, text in conn.execute(_REPLACED, ids).fetchall()}


def _once(texts: Sequence[tuple[int, str]]) -> list[tuple[int, str]]:
    seen: set[str] = set()
    return [item for item in texts if not (item[1] in seen or seen.add(item[1]))]  # type: ignore[func-returns-value]

"""Verdicts: a human's or a rule's, on the chosen version of each pair, one journal entry for each act.

A human's verdict replaces any; a rule's is only given where there is none. Set-based throughout: a million
pairs are decided by a handful of statements.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from pairsmith.backends.text import clean

from ..errors import UsageError
from . import journal
from .clock import now
from .driver import sqlite3
from .filters import PairFilter, compile_filter

VerdictName = Literal["accepted", "rejected", "undecided"]
By = Literal["human", "rule"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was decided about a version, by whom, and why."""

    version_id: int
    verdict: Literal["accepted", "rejected"]
    by: By
    rule: str | None
    reason: str
    tags: tuple[str, ...]
    note: str
    at: str


@dataclass(frozen=True, slots=True)
class Decided:
    """How many pairs the act changed, and its journal entry (None where it changed nothing or was not
    journalled)."""

    changed: int
    entry_id: int | None


def decide(
    conn: sqlite3.Connection,
    pairs: Sequence[int] | Iterable[int] | PairFilter,
    verdict: VerdictName,
    *,
    by: By = "human",
    rule: str | None = None,
    reason: str = "",
    tags: Iterable[str] = (),
    note: str = "",
    journalled: bool = True,
) -> Decided:
    """Give pairs (ids, or all that a filter finds) a verdict; "undecided" takes it back.

    Pairs that have exactly this already, and for a rule all that are decided, stay as they are. `rule` says
    which rule (only for by="rule"). A job that decides in the background passes journalled=False: its
    verdicts are its results, not acts that undo should meet. Raises UsageError.
    """
    if (by == "rule") != (rule is not None):
        raise UsageError("a rule's verdict names its rule, a human's has none")
    if by == "rule" and verdict == "undecided":
        raise UsageError("a rule takes no verdict back")
    image = None
    if verdict != "undecided":
        image = {
            "verdict": verdict,
            "by": by,
            "rule": None if rule is None else clean(rule)[0],
            "reason": clean(reason)[0],
            "tags": json.dumps(sorted({clean(tag)[0] for tag in tags}), ensure_ascii=False),
            "note": clean(note)[0],
            "at": now(),
        }
    _find_targets(conn, pairs, by, image)
    changed, focus = conn.execute("SELECT count(*), min(pair_id) FROM temp.target").fetchone()
    if not changed:
        return Decided(0, None)
    entry = None
    if journalled:
        label = f"{verdict} {f'pair {focus}' if changed == 1 else f'{changed:,} pairs'}"
        entry = journal.begin(conn, "verdict", label, actor=by, focus=focus if changed == 1 else None)
        _note(conn, entry, image)
    _apply(conn, image)
    conn.execute("DELETE FROM temp.target")
    return Decided(changed, entry)


def get_verdict(conn: sqlite3.Connection, version_id: int) -> Verdict | None:
    """The verdict of one version; None where it is undecided."""
    return get_verdicts(conn, [version_id]).get(version_id)


def get_verdicts(conn: sqlite3.Connection, version_ids: Sequence[int]) -> dict[int, Verdict]:
    """Verdicts by version id; undecided ones are left out."""
    found: dict[int, Verdict] = {}
    for start in range(0, len(version_ids), 500):
        chunk = list(version_ids[start : start + 500])
        for row in conn.execute(
            "SELECT version_id, verdict, by, rule, reason, tags, note, at FROM verdict"
            f" WHERE version_id IN ({','.join('?' * len(chunk))})",
            chunk,
        ).fetchall():
            found[row[0]] = Verdict(*(*row[:5], tuple(json.loads(row[5])), *row[6:]))
    return found


def all_tags(conn: sqlite3.Connection) -> list[str]:
    """Every tag in use on a chosen version, in alphabetical order."""
    rows = conn.execute(
        "SELECT DISTINCT tag.value FROM verdict JOIN pair ON pair.version_id = verdict.version_id,"
        " json_each(verdict.tags) AS tag WHERE verdict.tags <> '[]' AND pair.removed = 0 ORDER BY tag.value"
    ).fetchall()
    return [str(row[0]) for row in rows]


_CONTENT = ("verdict", "by", "rule", "reason", "tags", "note")


def _find_targets(
    conn: sqlite3.Connection,
    pairs: Iterable[int] | PairFilter,
    by: By,
    image: dict[str, str | None] | None,
) -> None:
    """Fill temp.target with the versions whose verdict the act changes."""
    conn.execute("CREATE TEMP TABLE IF NOT EXISTS target (version_id INTEGER PRIMARY KEY, pair_id INTEGER)")
    conn.execute("DELETE FROM temp.target")
    if isinstance(pairs, PairFilter):
        compiled = compile_filter(conn, pairs)
        source, parameters = compiled.query("pair.version_id, pair.id"), dict(compiled.parameters)
    else:
        parameters = {"ids": "[" + ",".join(str(int(pair_id)) for pair_id in pairs) + "]"}
        source = (
            "SELECT pair.version_id, pair.id FROM json_each(:ids) AS given"
            " CROSS JOIN pair ON pair.id = given.value WHERE pair.removed = 0"
        )
    if by == "rule":
        source += " AND pair.verdict = 'undecided'"
    elif image is None:
        source += " AND pair.verdict <> 'undecided'"
    else:
        same = " AND ".join(f"verdict.{column} IS :new_{column}" for column in _CONTENT)
        parameters.update({f"new_{column}": image[column] for column in _CONTENT})
        parameters["new_verdict"] = image["verdict"]
        source += (
            " AND (pair.verdict <> :new_verdict OR NOT EXISTS"
            f" (SELECT 1 FROM verdict WHERE verdict.version_id = pair.version_id AND {same}))"
        )
    conn.execute(f"INSERT OR IGNORE INTO temp.target (version_id, pair_id) {source}", parameters)


def _chunks(conn: sqlite3.Connection) -> Iterator[tuple[int, int]]:
    """The targets' version ids in stretches: SQLite keeps what one statement changed in memory until it
    ends.
    """
    last = 0
    while True:
        row = conn.execute(
            "SELECT min(version_id), max(version_id) FROM (SELECT version_id FROM temp.target"
            " WHERE version_id > ? ORDER BY version_id LIMIT ?)",
            (last, journal.CHUNK),
        ).fetchone()
        if row[0] is None:
            return
        yield row
        last = row[1]


def _note(conn: sqlite3.Connection, entry: int, image: dict[str, str | None] | None) -> None:
    after = None
    if image is not None:
        # SQLite's own spelling of JSON: images are compared as text.
        pairs = ", ".join(f"'{column}', :{column}" for column in image)
        after = conn.execute(f"SELECT json_object({pairs})", image).fetchone()[0]
    before = journal.SHAPES["verdict"].image("verdict")
    for first, last in _chunks(conn):
        conn.execute(
            "INSERT INTO journal_change (journal_id, row_table, row_id, before, after)"
            f" SELECT ?, 'verdict', target.version_id, {before}, ? FROM temp.target"
            " LEFT JOIN verdict ON verdict.version_id = target.version_id"
            " WHERE target.version_id BETWEEN ? AND ?",
            (entry, after, first, last),
        )


def _apply(conn: sqlite3.Connection, image: dict[str, str | None] | None) -> None:
    chosen = "FROM temp.target WHERE version_id BETWEEN :first AND :last"
    if image is None:
        sql = f"DELETE FROM verdict WHERE version_id IN (SELECT version_id {chosen})"
    else:
        columns = ", ".join(image)
        values = ", ".join(f":{column}" for column in image)
        updates = ", ".join(f"{column} = excluded.{column}" for column in image)
        sql = (
            f"INSERT INTO verdict (version_id, {columns}) SELECT version_id, {values} {chosen}"
            f" ON CONFLICT (version_id) DO UPDATE SET {updates}"
        )
    for first, last in _chunks(conn):
        conn.execute(sql, {**(image or {}), "first": first, "last": last})

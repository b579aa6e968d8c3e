"""What a reviewer looks at, many pairs at a time and at a bounded size: text, verdict, scores, maker."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .driver import sqlite3
from .scores import Judged, scores_of
from .verdicts import Verdict, get_verdicts

MOST_CHARACTERS = 20_001
"""Of each text: one more than a screen shows, so that it can be told that there is more."""


@dataclass(frozen=True, slots=True)
class ReviewRow:
    """A pair as a list and a reading pane show it. Texts are cut at MOST_CHARACTERS; `model` is BACKEND:MODEL of the
    call that wrote the chosen version, empty where none did. `judged` holds each judge's newest word on it."""

    id: int
    version_id: int
    verdict: str
    verdict_by: str | None
    versions: int
    topic_id: int | None
    origin: str
    number: int
    maker: str
    instruction: str
    input: str
    output: str
    model: str
    created_at: str
    decision: Verdict | None
    judged: Mapping[str, Judged]

    @property
    def edited(self) -> bool:
        """Whether the chosen version is a human's edit."""
        return self.maker == "human" and self.number > 1


def review_rows(conn: sqlite3.Connection, pair_ids: Iterable[int]) -> list[ReviewRow]:
    """The rows of these pairs, in the order asked for; pairs that are gone are left out."""
    rows = conn.execute(
        f"""
        SELECT pair.id, pair.version_id, pair.verdict, pair.verdict_by, pair.versions, pair.topic_id, pair.origin,
               version.number, version.maker, substr(version.instruction, 1, {MOST_CHARACTERS}),
               substr(version.input, 1, {MOST_CHARACTERS}), substr(version.output, 1, {MOST_CHARACTERS}),
               coalesce(call.backend || ':' || call.model, ''), version.created_at
        FROM json_each(?) AS given
        CROSS JOIN pair ON pair.id = given.value
        JOIN version ON version.id = pair.version_id
        LEFT JOIN call ON call.id = version.call_id
        WHERE pair.removed = 0 ORDER BY given.key
        """,
        ("[" + ",".join(str(int(pair_id)) for pair_id in pair_ids) + "]",),
    ).fetchall()
    decisions = get_verdicts(conn, [row[1] for row in rows if row[2] != "undecided"])
    judged = scores_of(conn, [row[1] for row in rows])
    return [ReviewRow(*(*row, decisions.get(row[1]), judged.get(row[1], {}))) for row in rows]


def topic_paths(conn: sqlite3.Connection) -> dict[int, tuple[str, ...]]:
    """Names from the root for every topic, pruned ones too: pairs keep theirs."""
    rows = {row[0]: row for row in conn.execute("SELECT id, parent_id, name FROM topic").fetchall()}
    paths: dict[int, tuple[str, ...]] = {}
    for topic_id in rows:
        path: list[str] = []
        above: int | None = topic_id
        while above is not None and above in rows and len(path) <= len(rows):
            path.append(rows[above][2])
            above = rows[above][1]
        paths[topic_id] = tuple(reversed(path))
    return paths


def data_version(conn: sqlite3.Connection) -> int:
    """A number that changes when another connection has committed; ask the same connection each time."""
    return int(conn.execute("PRAGMA data_version").fetchone()[0])


def newest_id(conn: sqlite3.Connection) -> int:
    """The highest id of any pair, undone ones too; 0 where there is none."""
    return int(conn.execute("SELECT coalesce(max(id), 0) FROM pair").fetchone()[0])

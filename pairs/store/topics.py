"""The topic tree: listing, adding, renaming, pruning, quotas. What a person changes is journalled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pairsmith.backends.text import clean

from . import journal
from .driver import sqlite3
from .errors import TopicError
from .identity import new_uid

TopicMaker = Literal["human", "model", "import"]
MAX_NAME = 500
_Row = tuple[int, str, int | None, str, int, int | None, TopicMaker, int]


@dataclass(frozen=True, slots=True)
class Topic:
    """A node of the tree. `path` holds the names from the root; `pairs` counts its own, not its subtree's."""

    id: int
    uid: str
    parent_id: int | None
    name: str
    depth: int
    path: tuple[str, ...]
    position: int
    quota: int | None
    maker: TopicMaker
    pruned: bool
    pairs: int


def list_topics(conn: sqlite3.Connection, *, pruned: bool = False) -> list[Topic]:
    """The tree, parents before children, in the order of their positions; pruned ones only if asked for."""
    counts = dict(
        conn.execute(
            "SELECT topic_id, count(*) FROM pair WHERE removed = 0 AND topic_id IS NOT NULL GROUP BY topic_id"
        ).fetchall()
    )
    children: dict[int | None, list[_Row]] = {}
    for row in conn.execute(
        "SELECT id, uid, parent_id, name, position, quota, maker, pruned FROM topic ORDER BY position, id"
    ).fetchall():
        children.setdefault(row[2], []).append(row)
    found: list[Topic] = []
    pending: list[tuple[_Row, tuple[str, ...]]] = [(row, ()) for row in reversed(children.get(None, []))]
    while pending:
        row, above = pending.pop()
        topic_id, uid, parent_id, name, position, quota, maker, is_pruned = row
        if is_pruned and not pruned:
            continue
        path: tuple[str, ...] = (*above, name)
        found.append(
            Topic(
                topic_id,
                uid,
                parent_id,
                name,
                len(above),
                path,
                position,
                quota,
                maker,
                bool(is_pruned),
                counts.get(topic_id, 0),
            )
        )
        pending.extend((child, path) for child in reversed(children.get(topic_id, [])))
    return found


def active_leaves(conn: sqlite3.Connection) -> list[Topic]:
    """Topics that pairs are generated for: not pruned, with nothing unpruned below them."""
    topics = list_topics(conn)
    parents = {topic.parent_id for topic in topics}
    return [topic for topic in topics if topic.id not in parents]


def get_topic(conn: sqlite3.Connection, topic_id: int) -> Topic:
    """One topic that is not pruned. Raises TopicError."""
    for topic in list_topics(conn):
        if topic.id == topic_id:
            return topic
    raise TopicError(f"there is no topic {topic_id}", "List them: pairsmith topics WORKSPACE")


def add_topic(
    conn: sqlite3.Connection,
    name: str,
    *,
    parent_id: int | None = None,
    quota: int | None = None,
    maker: TopicMaker = "human",
    call_id: int | None = None,
    entry_id: int | None = None,
) -> int:
    """Add a topic at the end of its siblings; returns its id. A human's is journalled (or part of
    `entry_id`).

    A pruned sibling of that name stays pruned: the new one is another topic. What a model or a file names
    again is the topic that exists. Raises TopicError for an empty, too long or (by a human) repeated name, an
    unknown parent, a negative quota.
    """
    if maker != "human" and (found := _sibling(conn, name, parent_id)) is not None:
        return found
    name = _checked_name(conn, name, parent_id)
    _check_quota(quota)
    if parent_id is not None:
        get_topic(conn, parent_id)
    position = conn.execute(
        "SELECT coalesce(max(position) + 1, 0) FROM topic WHERE parent_id IS ?", (parent_id,)
    ).fetchone()[0]
    cursor = conn.execute(
        "INSERT INTO topic (uid, parent_id, name, position, quota, maker, call_id, pruned)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, 1)",
        (new_uid(), parent_id, name, position, quota, maker, call_id),
    )
    assert cursor.lastrowid is not None
    topic_id = int(cursor.lastrowid)
    if maker == "human" and entry_id is None:
        entry_id = journal.begin(conn, "topic", f"added topic {name}")
    # Before the act the row counts as pruned: that is what undo puts back.
    _change(conn, entry_id, [topic_id], "pruned = 0", ())
    return topic_id


def rename_topic(conn: sqlite3.Connection, topic_id: int, name: str) -> None:
    """Give a topic another name. Raises TopicError."""
    topic = get_topic(conn, topic_id)
    name = _checked_name(conn, name, topic.parent_id, but=topic_id)
    if name == topic.name:
        return
    entry = journal.begin(conn, "topic", f"renamed topic {topic.name} to {name}")
    _change(conn, entry, [topic_id], "name = ?", (name,))


def set_quota(conn: sqlite3.Connection, topic_id: int, quota: int | None) -> None:
    """Say how many pairs of each run a topic gets; None leaves it to an even share. Raises TopicError."""
    topic = get_topic(conn, topic_id)
    _check_quota(quota)
    if quota == topic.quota:
        return
    share = "an even share" if quota is None else str(quota)
    entry = journal.begin(conn, "topic", f"quota of topic {topic.name}: {share}")
    _change(conn, entry, [topic_id], "quota = ?", (quota,))


def share_out(conn: sqlite3.Connection, quotas: Mapping[int, int | None]) -> None:
    """`set_quota` for many topics, as one act. Raises TopicError."""
    changed: dict[int | None, list[int]] = {}
    present = {topic.id: topic.quota for topic in list_topics(conn)}
    for topic_id, quota in quotas.items():
        _check_quota(quota)
        if topic_id not in present:
            raise TopicError(f"there is no topic {topic_id}", "List them: pairsmith topics WORKSPACE")
        if present[topic_id] != quota:
            changed.setdefault(quota, []).append(topic_id)
    if not changed:
        return
    entry = journal.begin(conn, "topic", f"quotas of {sum(map(len, changed.values()))} topics")
    journal.note_before(conn, entry, "topic", [topic for ids in changed.values() for topic in ids])
    for quota, ids in changed.items():
        conn.executemany("UPDATE topic SET quota = ? WHERE id = ?", [(quota, topic_id) for topic_id in ids])
    journal.note_after(conn, entry, "topic")


def prune_topic(conn: sqlite3.Connection, topic_id: int) -> list[int]:
    """Take a topic and all below it out of the tree; its pairs stay. Returns the pruned ids. Raises
    TopicError."""
    topic = get_topic(conn, topic_id)
    ids = [i for i in subtree(conn, topic_id) if not _is_pruned(conn, i)]
    entry = journal.begin(conn, "prune", f"pruned topic {topic.name}")
    _change(conn, entry, ids, "pruned = 1", ())
    return ids


def subtree(conn: sqlite3.Connection, topic_id: int) -> list[int]:
    """Ids of a topic and of all below it, pruned ones too."""
    rows = conn.execute(
        "WITH RECURSIVE below (id) AS (SELECT ?1 UNION"
        " SELECT topic.id FROM topic JOIN below ON topic.parent_id = below.id) SELECT id FROM below",
        (topic_id,),
    ).fetchall()
    return [int(row[0]) for row in rows]


def topic_by_path(conn: sqlite3.Connection, path: Sequence[str]) -> int | None:
    """The topic of these names from the root, compared without regard to case; None where there is none."""
    parent: int | None = None
    for name in path:
        found = _sibling(conn, name, parent)
        if found is None:
            return None
        parent = found
    return parent


def _change(
    conn: sqlite3.Connection, entry: int | None, ids: Sequence[int], change: str, values: tuple[object, ...]
) -> None:
    if entry is not None:
        journal.note_before(conn, entry, "topic", ids)
    conn.executemany(f"UPDATE topic SET {change} WHERE id = ?", [(*values, topic_id) for topic_id in ids])
    if entry is not None:
        journal.note_after(conn, entry, "topic")


def _checked_name(conn: sqlite3.Connection, name: str, parent_id: int | None, but: int | None = None) -> str:
    name = " ".join(clean(name)[0].split())
    if not name:
        raise TopicError("a topic needs a name")
    if len(name) > MAX_NAME:
        raise TopicError(f"a topic's name has at most {MAX_NAME} characters")
    found = _sibling(conn, name, parent_id)
    if found is not None and found != but:
        raise TopicError(f"topic {found} has that name already", "Choose another name")
    return name


def _sibling(conn: sqlite3.Connection, name: str, parent_id: int | None) -> int | None:
    wanted = " ".join(clean(name)[0].split()).casefold()
    for topic_id, other in conn.execute(
        "SELECT id, name FROM topic WHERE parent_id IS ? AND pruned = 0", (parent_id,)
    ).fetchall():
        if other.casefold() == wanted:
            return int(topic_id)
    return None


def _check_quota(quota: int | None) -> None:
    if quota is not None and not 0 <= quota <= 1_000_000_000:
        raise TopicError("a quota is a number from 0")


def _is_pruned(conn: sqlite3.Connection, topic_id: int) -> bool:
    return bool(conn.execute("SELECT pruned FROM topic WHERE id = ?", (topic_id,)).fetchone()[0])

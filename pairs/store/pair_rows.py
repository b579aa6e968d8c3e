"""Pairs and their versions: adding, reading, editing, choosing. A text never changes; an edit is a new
version.

Functions take the writing connection inside a transaction (`Workspace.write`), or any connection for reading.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pairsmith.backends.text import clean

from ..errors import UsageError
from ..normalise import pair_key, text_key
from .clock import now
from .driver import sqlite3
from .errors import DuplicatePair, NoSuchPair
from .identity import new_uid
from .search import spaced

Origin = Literal["generated", "imported", "human"]
Maker = Literal["model", "human", "import"]
_MAKER: Mapping[str, Maker] = {"generated": "model", "imported": "import", "human": "human"}
MAX_TEXT = 4_000_000


@dataclass(frozen=True, slots=True)
class NewPair:
    """A pair to store. `maker` of its first version follows from the origin where it is not given."""

    instruction: str
    output: str
    input: str = ""
    origin: Origin = "generated"
    run_id: int | None = None
    topic_id: int | None = None
    call_id: int | None = None
    import_id: int | None = None
    import_line: int | None = None
    maker: Maker | None = None
    extra: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Version:
    """One text of a pair. `number` counts from 1 within the pair."""

    id: int
    pair_id: int
    number: int
    maker: Maker
    instruction: str
    input: str
    output: str
    call_id: int | None
    created_at: str
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Pair:
    """A pair with its chosen version's text and verdict. `versions` counts those that are not undone."""

    id: int
    uid: str
    origin: Origin
    run_id: int | None
    topic_id: int | None
    import_id: int | None
    import_line: int | None
    verdict: str
    verdict_by: str | None
    versions: int
    created_at: str
    removed: bool
    extra: Mapping[str, Any] | None
    version: Version

    @property
    def instruction(self) -> str:
        """Of the chosen version."""
        return self.version.instruction

    @property
    def input(self) -> str:
        """Of the chosen version; empty where there is none."""
        return self.version.input

    @property
    def output(self) -> str:
        """The response of the chosen version."""
        return self.version.output


@dataclass(frozen=True, slots=True)
class Text:
    """A cleaned text with all that is derived from it; `replaced` tells whether cleaning changed it."""

    instruction: str
    input: str
    output: str
    replaced: bool
    instruction_key: bytes
    text_key: bytes
    sha256: bytes
    spaced: str


def prepare_text(instruction: str, input: str, output: str) -> Text:  # noqa: A002 - the field's name
    """Clean a text and derive its keys. Raises UsageError for an empty instruction or a text that is too
    long.
    """
    (instruction, a), (given, b), (output, c) = clean(instruction), clean(input), clean(output)
    if not instruction.strip():
        raise UsageError("the instruction is empty")
    for name, text in (("instruction", instruction), ("input", given), ("response", output)):
        if len(text) > MAX_TEXT:
            raise UsageError(f"the {name} is longer than {MAX_TEXT} characters")
    return Text(
        instruction,
        given,
        output,
        a or b or c,
        pair_key(instruction, given),
        text_key(instruction, given, output),
        content_hash(instruction, given, output),
        spaced(instruction, given, output),
    )


def content_hash(instruction: str, input: str, output: str) -> bytes:  # noqa: A002 - the field's name
    """SHA-256 over the three texts, each behind its length in bytes (8, big-endian)."""
    digest = hashlib.sha256()
    for text in (instruction, input, output):
        data = text.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8))
        digest.update(data)
    return digest.digest()


def add_pair(conn: sqlite3.Connection, pair: NewPair) -> int:
    """Store a pair with its first version, undecided; returns its id.

    Raises DuplicatePair (a generated pair: same instruction and input as another generated one; any pair:
    same instruction, input and response as any other), UsageError for a text that cannot be stored.
    """
    text = prepare_text(pair.instruction, pair.input, pair.output)
    refuse_duplicate(conn, text, generated=pair.origin == "generated")
    return insert_pair(conn, pair, text)


def insert_pair(conn: sqlite3.Connection, pair: NewPair, text: Text, at: str | None = None) -> int:
    """Store a prepared pair that is known to be no duplicate."""
    at = at or now()
    version_id = int(conn.execute("SELECT coalesce(max(id), 0) + 1 FROM version").fetchone()[0])
    pair_id = conn.execute(
        "INSERT INTO pair (uid, origin, run_id, topic_id, import_id, import_line, version_id,"
        " instruction_key, text_key, created_at, extra) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            new_uid(),
            pair.origin,
            pair.run_id,
            pair.topic_id,
            pair.import_id,
            pair.import_line,
            version_id,
            text.instruction_key,
            text.text_key,
            at,
            None if pair.extra is None else clean(json.dumps(pair.extra, ensure_ascii=False))[0],
        ),
    ).lastrowid
    assert pair_id is not None
    _insert_version(conn, version_id, pair_id, 1, pair.maker or _MAKER[pair.origin], text, pair.call_id, at)
    return int(pair_id)


def find_duplicate(
    conn: sqlite3.Connection, text: Text, *, generated: bool, but: int | None = None
) -> tuple[int, str] | None:
    """The pair (id) that this text would repeat, other than pair `but`, and in what; None where it is new."""
    row = conn.execute(
        "SELECT id FROM pair WHERE text_key = ? AND removed = 0 AND id IS NOT ?", (text.text_key, but)
    ).fetchone()
    if row is not None:
        return int(row[0]), "instruction, input and response"
    if generated:
        row = conn.execute(
            "SELECT id FROM pair"
            " WHERE instruction_key = ? AND origin = 'generated' AND removed = 0 AND id IS NOT ?",
            (text.instruction_key, but),
        ).fetchone()
        if row is not None:
            return int(row[0]), "instruction and input"
    return None


def refuse_duplicate(
    conn: sqlite3.Connection, text: Text, *, generated: bool, but: int | None = None
) -> None:
    """Raises DuplicatePair where `find_duplicate` finds one."""
    found = find_duplicate(conn, text, generated=generated, but=but)
    if found is not None:
        raise DuplicatePair(*found)


def add_version(
    conn: sqlite3.Connection, pair_id: int, maker: Maker, text: Text, call_id: int | None = None
) -> int:
    """Store a further version of a pair, not chosen; returns its id."""
    number = conn.execute("SELECT max(number) + 1 FROM version WHERE pair_id = ?", (pair_id,)).fetchone()[0]
    version_id = int(conn.execute("SELECT max(id) + 1 FROM version").fetchone()[0])
    _insert_version(conn, version_id, pair_id, number, maker, text, call_id, now())
    return version_id


def _insert_version(
    conn: sqlite3.Connection,
    version_id: int,
    pair_id: int,
    number: int,
    maker: Maker,
    text: Text,
    call_id: int | None,
    at: str,
) -> None:
    conn.execute(
        "INSERT INTO version (id, pair_id, number, maker, instruction, input, output, spaced, call_id,"
        " created_at, sha256) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            version_id,
            pair_id,
            number,
            maker,
            text.instruction,
            text.input,
            text.output,
            text.spaced,
            call_id,
            at,
            text.sha256,
        ),
    )


PAIR_COLUMNS = (
    "pair.id, pair.uid, pair.origin, pair.run_id, pair.topic_id, pair.import_id, pair.import_line,"
    " pair.verdict, pair.verdict_by, pair.versions, pair.created_at, pair.removed, pair.extra,"
    " version.id, version.pair_id, version.number, version.maker, version.instruction, version.input,"
    " version.output, version.call_id, version.created_at, version.sha256"
)
PAIR_TABLES = "pair JOIN version ON version.id = pair.version_id"
_VERSION_COLUMNS = "id, pair_id, number, maker, instruction, input, output, call_id, created_at, sha256"


def pair_of_row(row: Sequence[Any]) -> Pair:
    """A pair from a row of PAIR_COLUMNS."""
    extra = None if row[12] is None else json.loads(row[12])
    return Pair(*(*row[:11], bool(row[11]), extra, Version(*row[13:])))


def get_pair(conn: sqlite3.Connection, pair_id: int) -> Pair:
    """One pair, undone ones (`removed`) too. Raises NoSuchPair."""
    row = conn.execute(f"SELECT {PAIR_COLUMNS} FROM {PAIR_TABLES} WHERE pair.id = ?", (pair_id,)).fetchone()
    if row is None:
        raise NoSuchPair(pair_id)
    return pair_of_row(row)


def get_pairs(conn: sqlite3.Connection, pair_ids: Iterable[int]) -> list[Pair]:
    """Several pairs in the order asked for; ids that do not exist are left out."""
    ids = list(pair_ids)
    found: dict[int, Pair] = {}
    for start in range(0, len(ids), 500):
        chunk = ids[start : start + 500]
        marks = ",".join("?" * len(chunk))
        for row in conn.execute(
            f"SELECT {PAIR_COLUMNS} FROM {PAIR_TABLES} WHERE pair.id IN ({marks})", chunk
        ).fetchall():
            found[row[0]] = pair_of_row(row)
    return [found[pair_id] for pair_id in ids if pair_id in found]


def pair_by_uid(conn: sqlite3.Connection, uid: str) -> Pair | None:
    """A pair by the identifier that it keeps across workspaces."""
    row = conn.execute(f"SELECT {PAIR_COLUMNS} FROM {PAIR_TABLES} WHERE pair.uid = ?", (uid,)).fetchone()
    return None if row is None else pair_of_row(row)


def get_versions(conn: sqlite3.Connection, pair_id: int) -> list[Version]:
    """A pair's versions, oldest first, without undone ones."""
    rows = conn.execute(
        f"SELECT {_VERSION_COLUMNS} FROM version WHERE pair_id = ? AND removed = 0 ORDER BY number",
        (pair_id,),
    ).fetchall()
    return [Version(*row) for row in rows]


def get_version(conn: sqlite3.Connection, version_id: int) -> Version:
    """One version. Raises KeyError."""
    row = conn.execute(f"SELECT {_VERSION_COLUMNS} FROM version WHERE id = ?", (version_id,)).fetchone()
    if row is None:
        raise KeyError(version_id)
    return Version(*row)

"""Storing imported pairs: one transaction, file order, duplicates counted, one journal entry that undo
takes back.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal

from pairsmith.backends.text import clean

from ..errors import UsageError
from . import journal
from .clock import now
from .connection import roomy
from .driver import sqlite3
from .identity import new_uid
from .judgements import Judgement, Score, add_judgement
from .pair_rows import Text, prepare_text
from .topics import add_topic, topic_by_path

_BATCH = 500
_SHOWN = 100


@dataclass(frozen=True, slots=True)
class ImportRow:
    """A pair of a file. `line` is where it stands there; `scores` are judge -> attribute -> value, `rationales` what
    those judges said to them, `earlier` responses that a person replaced by this one, the oldest first.
    """

    instruction: str
    output: str
    input: str = ""
    line: int | None = None
    topic: tuple[str, ...] = ()
    verdict: Literal["accepted", "rejected"] | None = None
    rule: str | None = None
    reason: str = ""
    tags: tuple[str, ...] = ()
    note: str = ""
    scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    maker: Literal["model", "human", "import"] = "import"
    extra: Mapping[str, Any] | None = None
    rationales: Mapping[str, str] = field(default_factory=dict)
    earlier: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BatchInfo:
    """Where the rows come from: a name to show, its format, and the hex SHA-256 of the file."""

    source: str
    format: str
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What became of a file's rows: read = added + duplicates + refused. Lists hold the first hundred of
    each.
    """

    batch_id: int | None
    entry_id: int | None
    read: int
    added: int
    duplicates: int
    refused: int
    cleaned: int
    """Added rows of which NUL or lone surrogates were replaced."""
    duplicate_lines: tuple[tuple[int | None, int], ...]
    """(line, the pair that has this text)."""
    refused_lines: tuple[tuple[int | None, str], ...]
    """(line, why)."""


def import_pairs(conn: sqlite3.Connection, rows: Iterable[ImportRow], batch: BatchInfo) -> ImportReport:
    """Store the rows in their order, in the caller's transaction, as one act that can be undone.

    A row whose instruction, input and response are those of a stored pair or of an earlier row is a
    duplicate. A row that cannot be stored is refused with its reason; the others go on. Whatever `rows`
    raises undoes the import.
    """
    storing = _Import(conn, batch)
    waiting = iter(rows)
    with roomy(conn):
        while chunk := list(islice(waiting, _BATCH)):
            storing.store(chunk)
    return storing.finish()


class _Import:
    """One import under way."""

    def __init__(self, conn: sqlite3.Connection, batch: BatchInfo) -> None:
        self._conn = conn
        self._batch = batch
        self._at = now()
        self._read = self._added = self._duplicates = self._refused = self._cleaned = 0
        self._duplicate_lines: list[tuple[int | None, int]] = []
        self._refused_lines: list[tuple[int | None, str]] = []
        self._topics: dict[tuple[str, ...], int | None] = {}
        self._batch_id = 0
        self._entry_id = 0
        self._next_pair = int(conn.execute("SELECT coalesce(max(id), 0) + 1 FROM pair").fetchone()[0])
        self._next_version = int(conn.execute("SELECT coalesce(max(id), 0) + 1 FROM version").fetchone()[0])

    def store(self, rows: Sequence[ImportRow]) -> None:
        self._read += len(rows)
        texts = list(self._prepared(rows))
        known = self._known([text.text_key for _, text in texts])
        fresh: list[tuple[ImportRow, Text, int, int]] = []
        for row, text in texts:
            if (other := known.get(text.text_key)) is not None:
                self._duplicates += 1
                if len(self._duplicate_lines) < _SHOWN:
                    self._duplicate_lines.append((row.line, other))
                continue
            known[text.text_key] = self._next_pair
            fresh.append((row, text, self._next_pair, self._next_version))
            self._cleaned += text.replaced
            self._next_pair += 1
            self._next_version += 1
        if fresh:
            self._insert(fresh)

    def finish(self) -> ImportReport:
        if self._added:
            label = f"imported {self._added:,} pairs from {self._batch.source}"
            self._conn.execute("UPDATE journal SET label = ? WHERE id = ?", (clean(label)[0], self._entry_id))
            report = {"added": self._added, "duplicates": self._duplicates, "refused": self._refused}
            self._conn.execute(
                "UPDATE import_batch SET report = ? WHERE id = ?", (json.dumps(report), self._batch_id)
            )
        return ImportReport(
            self._batch_id or None,
            self._entry_id or None,
            self._read,
            self._added,
            self._duplicates,
            self._refused,
            self._cleaned,
            tuple(self._duplicate_lines),
            tuple(self._refused_lines),
        )

    def _prepared(self, rows: Sequence[ImportRow]) -> Iterator[tuple[ImportRow, Text]]:
        for row in rows:
            try:
                text = prepare_text(row.instruction, row.input, row.output)
                _earlier(row)
            except UsageError as error:
                self._refused += 1
                if len(self._refused_lines) < _SHOWN:
                    self._refused_lines.append((row.line, error.message))
            else:
                yield row, text

    def _known(self, keys: Sequence[bytes]) -> dict[bytes, int]:
        marks = ",".join("?" * len(keys))
        return dict(
            self._conn.execute(
                f"SELECT text_key, id FROM pair WHERE removed = 0 AND text_key IN ({marks})", keys
            ).fetchall()
        )

    def _insert(self, fresh: Sequence[tuple[ImportRow, Text, int, int]]) -> None:
        if not self._batch_id:
            self._open()
        self._added += len(fresh)
        self._conn.executemany(
            "INSERT INTO pair (id, uid, origin, topic_id, import_id, import_line, version_id, instruction_key,"
            " text_key, created_at, extra) VALUES (?, ?, 'imported', ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    pair_id,
                    new_uid(),
                    self._topic(row.topic),
                    self._batch_id,
                    row.line,
                    version_id,
                    text.instruction_key,
                    text.text_key,
                    self._at,
                    None if row.extra is None else clean(json.dumps(row.extra, ensure_ascii=False))[0],
                )
                for row, text, pair_id, version_id in fresh
            ],
        )
        self._insert_versions(fresh)
        journal.note_new(self._conn, self._entry_id, "pair.removed", [pair_id for _, _, pair_id, _ in fresh])
        self._insert_opinions(fresh)

    def _insert_versions(self, fresh: Sequence[tuple[ImportRow, Text, int, int]]) -> None:
        rows = []
        for row, text, pair_id, version_id in fresh:
            before = _earlier(row)
            for number, old in enumerate(before, 1):
                rows.append(self._version(self._next_version, pair_id, number, "import", old))
                self._next_version += 1
            rows.append(self._version(version_id, pair_id, len(before) + 1, row.maker, text))
        self._conn.executemany(
            "INSERT INTO version (id, pair_id, number, maker, instruction, input, output, spaced, created_at, sha256)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            rows,
        )

    def _version(self, version_id: int, pair_id: int, number: int, maker: str, text: Text) -> tuple[Any, ...]:
        texts = (text.instruction, text.input, text.output, text.spaced)
        return version_id, pair_id, number, maker, *texts, self._at, text.sha256

    def _insert_opinions(self, fresh: Sequence[tuple[ImportRow, Text, int, int]]) -> None:
        self._conn.executemany(
            "INSERT INTO verdict (version_id, verdict, by, rule, reason, tags, note, at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    version_id,
                    row.verdict,
                    "human" if row.rule is None else "rule",
                    None if row.rule is None else clean(row.rule)[0],
                    clean(row.reason)[0],
                    json.dumps(sorted({clean(tag)[0] for tag in row.tags}), ensure_ascii=False),
                    clean(row.note)[0],
                    self._at,
                )
                for row, _, _, version_id in fresh
                if row.verdict is not None
            ],
        )
        for row, _, _, version_id in fresh:
            for judge, scores in row.scores.items():
                if scores:
                    values = {clean(name)[0]: Score(float(value)) for name, value in scores.items()}
                    said = clean(row.rationales[judge])[0] if judge in row.rationales else None
                    judgement = Judgement(clean(judge)[0], "import", scores=values, rationale=said)
                    add_judgement(self._conn, version_id, judgement)

    def _open(self) -> None:
        cursor = self._conn.execute(
            "INSERT INTO import_batch (uid, source, format, sha256, report, at) VALUES (?, ?, ?, ?, '{}', ?)",
            (new_uid(), clean(self._batch.source)[0], self._batch.format, self._batch.sha256, self._at),
        )
        self._batch_id = int(cursor.lastrowid or 0)
        self._entry_id = journal.begin(self._conn, "import", f"imported from {self._batch.source}")

    def _topic(self, path: tuple[str, ...]) -> int | None:
        if path not in self._topics:
            self._topics[path] = self._made_topic(path)
        return self._topics[path]

    def _made_topic(self, path: tuple[str, ...]) -> int | None:
        path = tuple(
            name for name in (" ".join(clean(part)[0].split())[:500].strip() for part in path) if name
        )
        if not path:
            return None
        if (found := topic_by_path(self._conn, path)) is not None:
            return found
        above = self._made_topic(path[:-1])
        return add_topic(self._conn, path[-1], parent_id=above, maker="import", entry_id=self._entry_id)


def _earlier(row: ImportRow) -> list[Text]:
    """The responses before this one, each once. Raises UsageError for one that is too long."""
    if not row.earlier:
        return []
    texts = [prepare_text(row.instruction, row.input, old) for old in dict.fromkeys(row.earlier)]
    return [text for text in texts if text.output != clean(row.output)[0]]

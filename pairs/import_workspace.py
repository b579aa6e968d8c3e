"""Another workspace as a source of pairs, with topics, verdicts and scores; and other people's databases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from .chosen_pairs import choose_pairs
from .export_formats import own
from .export_rows import pairs_of
from .json_stream import BadPiece, Piece
from .store.foreign import foreign_rows
from .store.schema import APPLICATION_ID
from .store.workspace import open_workspace

_MAGIC = b"SQLite format 3\0"
_WANTED = tuple(
    map(
        frozenset,
        (
            ("instruction", "output"),
            ("instruction", "response"),
            ("instruction", "responses"),
            ("prompt", "completion"),
            ("prompt", "chosen", "rejected"),
        ),
    )
)


def is_database(path: Path) -> bool:
    """Whether a file is a SQLite database. Raises OSError."""
    with path.open("rb") as file:
        return file.read(16) == _MAGIC


def is_ours(path: Path) -> bool:
    """Whether a database is a workspace. Raises OSError."""
    with path.open("rb") as file:
        head = file.read(72)
    return head[68:72] == APPLICATION_ID.to_bytes(4)


def read_workspace(path: Path) -> Iterator[Piece | BadPiece]:
    """The pairs of a workspace as rows of our own export; `line` is the pair's number there.

    Their history stays behind: the chosen version comes, with its verdict and scores. Raises WorkspaceRefused.
    """
    with open_workspace(path, readonly=True) as workspace:
        conn = workspace.connect()
        try:
            conn.execute("BEGIN")
            ids = choose_pairs(conn, "any").ids
            size = path.stat().st_size
            for done, pair in enumerate(pairs_of(conn, ids), 1):
                yield Piece(own(pair), pair.pair_id, None, size * done // len(ids))
        finally:
            conn.close()


def read_database(
    path: Path, wanted: Sequence[frozenset[str]] | None = None, table: str | None = None
) -> Iterator[Piece | BadPiece]:
    """The rows of a table of any SQLite database; `line` counts them from 1. Raises UsageError, PairsmithError."""
    row: dict[str, Any]
    for number, row in enumerate(foreign_rows(path, _WANTED if wanted is None else wanted, table), 1):
        yield Piece({name: value for name, value in row.items() if value is not None}, number, None, 0)

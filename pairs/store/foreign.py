"""Other people's SQLite databases (Datasette, llm, anything made with sqlite-utils): their tables' rows, read only."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pairsmith.backends.text import one_line

from ..errors import PairsmithError, UsageError
from .driver import sqlite3


def foreign_rows(
    path: Path, wanted: Sequence[frozenset[str]], table: str | None = None
) -> Iterator[dict[str, Any]]:
    """The rows of a table as objects; without a name, of the first table that has all columns of one of `wanted`.

    Views and virtual tables are never read: their definitions are somebody else's program. Blobs and infinite numbers
    become null; text that is not UTF-8 comes with lone surrogates, which the store replaces. Raises UsageError,
    PairsmithError.
    """
    from sqlite_utils import Database

    conn = sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True, check_same_thread=False)
    try:
        conn.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
        for pragma in ("trusted_schema = OFF", "query_only = ON", "cell_size_check = ON"):
            conn.execute(f"PRAGMA {pragma}")
        database = Database(conn, execute_plugins=False)
        for row in database[_chosen(database, wanted, table, one_line(path.name))].rows:
            yield {name: None if _is_no_json(value) else value for name, value in row.items()}
    except sqlite3.Error as error:
        raise PairsmithError(f"{one_line(path.name)} cannot be read: {one_line(str(error))}") from error
    finally:
        conn.close()


def _is_no_json(value: Any) -> bool:
    return isinstance(value, bytes) or (isinstance(value, float) and not math.isfinite(value))


def _chosen(database: Any, wanted: Sequence[frozenset[str]], table: str | None, shown: str) -> str:
    tables = {
        name: frozenset(database[name].columns_dict)
        for name in database.table_names()
        if not database[name].schema.upper().startswith("CREATE VIRTUAL")
    }
    if table is not None and table not in tables:
        raise UsageError(f"{shown} has no table {one_line(table, 60)}", f"Tables: {_named(tables)}")
    found = [name for name, columns in tables.items() if any(names <= columns for names in wanted)]
    if table is None and not found:
        raise UsageError(
            f"no table of {shown} has instruction and output",
            f"Tables: {_named(tables)}; give --column instruction=NAME --column output=NAME",
        )
    return table if table is not None else found[0]


def _named(tables: dict[str, frozenset[str]]) -> str:
    said = [
        f"{one_line(name, 40)} ({', '.join(one_line(c, 30) for c in sorted(columns))})"
        for name, columns in tables.items()
    ]
    return "; ".join(said[:5])

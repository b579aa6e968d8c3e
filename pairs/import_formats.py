"""Which format a file is in, and how its rows are read: every format is an entry of `FORMATS`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from pairsmith.backends.text import one_line

from .errors import UsageError
from .import_csv import looks_like_csv, read_csv
from .import_shapes import Unusable, alpaca_row
from .import_signs import SHAPES, Shape, any_rows
from .import_tables import is_datasets, read_datasets, read_parquet
from .import_workspace import is_database, is_ours, read_database, read_workspace
from .json_stream import BadPiece, MalformedFile, Piece, first_byte, read_array, read_lines

__all__ = [
    "FORMATS",
    "MAPPED",
    "NAMES",
    "Format",
    "Unusable",
    "alpaca_row",
    "find_format",
    "joined",
    "mapped",
]

Pieces = Callable[[Path], Iterator[Piece | BadPiece]]
MAPPED = ("instruction", "input", "output")
"""What a column can be taken for."""


@dataclass(frozen=True, slots=True)
class Format:
    """A way to read a file. `pieces` may raise PairsmithError and OSError, `rows` Unusable. `unit`: what is counted."""

    name: str
    pieces: Pieces
    rows: Shape = any_rows
    unit: str = "line"


FORMATS: dict[str, Format] = {
    "json": Format("json", read_array),
    "jsonl": Format("jsonl", read_lines),
    "csv": Format("csv", read_csv),
    "tsv": Format("tsv", partial(read_csv, delimiter="\t")),
    "parquet": Format("parquet", read_parquet, unit="row"),
    "hf": Format("hf", read_datasets, unit="row"),
    "workspace": Format("workspace", read_workspace, unit="pair"),
    "sqlite": Format("sqlite", read_database, unit="row"),
}
NAMES = ("auto", *SHAPES, *FORMATS)
"""What `--format` takes: a shape of rows (in whichever kind of file), or a kind of file (with whichever shape)."""


def find_format(
    path: Path, name: str = "auto", columns: Mapping[str, str] | None = None, table: str | None = None
) -> Format:
    """The format of this name, or with "auto" the one that the file's beginning shows.

    `columns`: what a pair's field is called in the file; `table`: which one of a database. Raises MalformedFile for an
    empty file and for what is none of ours; UsageError; OSError.
    """
    found = _container(path) if name == "auto" or name in SHAPES else FORMATS[name]
    if name in SHAPES:
        found = replace(found, rows=SHAPES[name])
    if found.name in ("json", "jsonl") and not path.is_dir() and not first_byte(path):
        raise MalformedFile(f"{one_line(path.name)} is empty", "Nothing was imported", line=1)
    if found.name == "sqlite":
        wanted = [frozenset(columns.values())] if columns else None
        found = replace(found, pieces=partial(read_database, wanted=wanted, table=table))
    elif table is not None:
        raise UsageError("only a database has tables", "Leave --table out")
    if columns:
        found = replace(found, rows=partial(mapped, columns=columns))
    return found


def joined(files: Sequence[Path], formats: Sequence[Format]) -> Format:
    """Several files read one after another, as one; their rows are counted through, from 1."""
    names = list(dict.fromkeys(form.name for form in formats))

    def pieces(_first: Path) -> Iterator[Piece | BadPiece]:
        row = before = 0
        for path, form in zip(files, formats, strict=True):
            for piece in form.pieces(path):
                row += 1
                yield replace(piece, line=row, element=None, end=before + piece.end)
            before += path.stat().st_size

    return Format("+".join(names), pieces, formats[0].rows, "row")


def mapped(value: Mapping[str, Any], line: int, *, columns: Mapping[str, str]) -> Sequence[Any]:
    """A row whose fields have other names. Raises Unusable."""
    row = dict(value)
    given = {}
    for field, column in columns.items():
        name = column if column in row else column.lower()  # as `read_csv` has the names that it knows
        if name not in row:
            names = ", ".join(one_line(other, 40) for other in list(value)[:12])
            raise Unusable(f"there is no column {one_line(column, 60)!r} (there are: {names})")
        item = row.pop(name)
        # A number is a fine answer; what it looked like in the file is lost there already.
        given[field] = str(item) if isinstance(item, (int, float)) and not isinstance(item, bool) else item
    return [alpaca_row({**row, **given}, line)]


def _container(path: Path) -> Format:
    """What kind of file (or folder) this is, by what it begins with."""
    shown = one_line(path.name)
    if path.is_dir():
        if not is_datasets(path):
            raise MalformedFile(f"{shown} is a folder, and none that datasets saved", "Name a file in it")
        return FORMATS["hf"]
    if is_database(path):
        return FORMATS["workspace" if is_ours(path) else "sqlite"]
    with path.open("rb") as file:
        if file.read(4) == b"PAR1":
            return FORMATS["parquet"]
    byte = first_byte(path)
    if not byte:
        raise MalformedFile(f"{shown} is empty", "Nothing was imported", line=1)
    if path.suffix.lower() not in (".csv", ".tsv"):
        if byte == b"[":
            return FORMATS["json"]
        if byte == b"{":
            return FORMATS["jsonl"]
    if looks_like_csv(path):
        return FORMATS["tsv" if path.suffix.lower() == ".tsv" else "csv"]
    raise MalformedFile(
        f"{shown}, line {_first_line(path)}: this is neither a JSON array nor JSON lines, nor anything else known",
        "Give JSON, JSONL, CSV, TSV, Parquet, a folder of datasets or a workspace; --format says which",
        line=1,
    )


def _first_line(path: Path) -> int:
    with path.open("rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(1 << 20), b""), 1):
            if line.strip():
                return number
    return 1

"""Reading CSV and TSV row by row in bounded memory, every character of a cell kept.

Not with sqlite-utils' `rows_from_file`: it opens the text with universal line ends, which turns CR LF within a cell
into LF, and guesses the dialect from the first 2 KB, texts included.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path

from pairsmith.backends.text import one_line

from .export_formats import DEFUSED, undefused
from .json_stream import MAX_PIECE, BadPiece, MalformedFile, Piece

_DELIMITERS = (",", "\t", ";", "|")
_KNOWN = frozenset(
    (
        "instruction",
        "input",
        "output",
        "response",
        "responses",
        "context",
        "prompt",
        "completion",
        "chosen",
        "rejected",
    )
)
_NOT_UTF8 = re.compile("[\udc80-\udcff]")
_HEAD = 1 << 16


def read_csv(path: Path, delimiter: str | None = None) -> Iterator[Piece | BadPiece]:
    """The rows as objects by the names in the first line. Without a delimiter the first line shows it.

    A row with broken quotes is a BadPiece (`syntax`). Raises OSError, MalformedFile (no first line).
    """
    shown = one_line(path.name)
    csv.field_size_limit(MAX_PIECE)
    with path.open("rb") as raw:
        text = io.TextIOWrapper(raw, encoding="utf-8-sig", errors="surrogateescape", newline="")
        if delimiter is None:
            delimiter = _delimiter(text.read(_HEAD))
            text.seek(0)
        reader = csv.reader(_lines(text, shown), delimiter=delimiter, strict=True)
        try:
            names = _header(next(reader, []), shown)
        except csv.Error as error:
            raise MalformedFile(f"{shown}, line 1: {error}", "Is this a CSV file?", line=1) from None
        while True:
            line = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield BadPiece(f"not CSV: {error}", line, None, raw.tell(), syntax=True)
                continue
            if cells:
                yield _row(names, cells, line, raw.tell())


def looks_like_csv(path: Path) -> bool:
    """Whether the first line holds names that we know, or the file's name says what it is. Raises OSError."""
    if path.suffix.lower() in (".csv", ".tsv"):
        return True
    with path.open("rb") as file:
        head = file.read(_HEAD).decode("utf-8-sig", "replace")
    return any(len(_names(head, mark)) > 1 and _known(head, mark) > 1 for mark in _DELIMITERS)


def _delimiter(head: str) -> str:
    return max(_DELIMITERS, key=lambda mark: (_known(head, mark), len(_names(head, mark))))


def _known(head: str, delimiter: str) -> int:
    return len(_KNOWN & {name.strip().lower() for name in _names(head, delimiter)})


def _names(head: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader(io.StringIO(head, newline=""), delimiter=delimiter), [])
    except csv.Error:
        return []


def _lines(text: io.TextIOWrapper, shown: str) -> Iterator[str]:
    """Lines, none longer than one piece may be."""
    number = 0
    while line := text.readline(MAX_PIECE):
        number += 1
        if len(line) == MAX_PIECE:
            raise MalformedFile(
                f"{shown}, line {number}: longer than {MAX_PIECE >> 20} MB",
                "Is this a CSV file?",
                line=number,
            )
        yield line


def _header(cells: list[str], shown: str) -> list[str]:
    names = [cell.strip().lower() if cell.strip().lower() in _KNOWN else cell.strip() for cell in cells]
    if _NOT_UTF8.search("".join(names)):
        raise MalformedFile(f"{shown}, line 1: not UTF-8", "Save it as UTF-8", line=1)
    for name in names:
        if names.count(name) > 1:
            raise MalformedFile(
                f"{shown}, line 1: the column {one_line(name, 60)!r} occurs twice",
                "Rename one of them",
                line=1,
            )
    return names


def _row(names: list[str], cells: list[str], line: int, end: int) -> Piece | BadPiece:
    if len(cells) != len(names):
        return BadPiece(f"{len(cells)} cells under {len(names)} columns", line, None, end)
    if any(_NOT_UTF8.search(cell) for cell in cells):
        return BadPiece("not UTF-8", line, None, end)
    row = dict(zip(names, cells, strict=True))
    if row.pop(DEFUSED, "") == "1":
        row = {name: undefused(cell) for name, cell in row.items()}
    return Piece(row, line, None, end)

"""Importing a file: one transaction, file order, and a report of every row that was refused, by line number.

A file that is broken as a whole changes nothing. A row that cannot be a pair is left out and reported, or with
`strict` stops the import; so is, only if `skip_malformed` allows it, a line that is not JSON.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pairsmith.backends.text import one_line

from .errors import PairsmithError
from .import_formats import Format, Unusable, find_format
from .json_stream import BadPiece, MalformedFile, Piece
from .store.driver import sqlite3
from .store.import_rows import BatchInfo, ImportReport, ImportRow, import_pairs
from .store.workspace import Workspace

_SHOWN = 100


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row that was not imported. `element` counts an array's elements; None in files of lines."""

    line: int | None
    element: int | None
    reason: str

    def __str__(self) -> str:
        where = f"line {self.line}" + (f" (element {self.element})" if self.element else "")
        return f"{where}: {self.reason}"


@dataclass(frozen=True, slots=True)
class FileImport:
    """What became of a file: rows = added + duplicates + refused. `refusals` are the first hundred of them."""

    format: str
    rows: int
    added: int
    duplicates: int
    refused: int
    refusals: tuple[Refusal, ...]
    cleaned: int
    """Added rows in which NUL or lone surrogates were replaced."""
    without_response: int
    """Added or duplicate rows whose response is empty."""
    duplicate_lines: tuple[tuple[int | None, int], ...]
    preview: bool = False


class _PreviewOnly(Exception):
    def __init__(self, report: ImportReport) -> None:
        self.report = report


@dataclass
class _Reading:
    """The rows of a file on their way into the store."""

    path: Path
    format: Format
    strict: bool
    skip_malformed: bool
    progress: Callable[[int, int], None]
    check: Callable[[], None]
    refused: int = 0
    without_response: int = 0
    refusals: list[Refusal] = field(default_factory=list)

    def rows(self) -> Iterator[ImportRow]:
        size = self.path.stat().st_size
        for number, piece in enumerate(self.format.pieces(self.path), 1):
            if number % 500 == 0:
                self.check()
                self.progress(piece.end, size)
            if isinstance(piece, BadPiece):
                self._refuse(piece, piece.reason, malformed=piece.syntax)
                continue
            row = self._row(piece)
            if row is not None:
                self.without_response += not row.output.strip()
                yield row
        self.check()

    def _row(self, piece: Piece) -> ImportRow | None:
        if not isinstance(piece.value, dict):
            self._refuse(piece, "not an object with instruction and response")
            return None
        try:
            return self.format.row(piece.value, piece.line)
        except Unusable as error:
            self._refuse(piece, str(error))
            return None

    def _refuse(self, piece: Piece | BadPiece, reason: str, *, malformed: bool = False) -> None:
        refusal = Refusal(piece.line, piece.element, reason)
        if self.strict or (malformed and not self.skip_malformed):
            advice = "Nothing was imported" + (
                "; --skip-malformed leaves such lines out" if malformed and not self.strict else ""
            )
            raise MalformedFile(f"{one_line(self.path.name)}, {refusal}", advice, line=piece.line)
        self.refused += 1
        if len(self.refusals) < _SHOWN:
            self.refusals.append(refusal)


def import_file(
    workspace: Workspace,
    path: Path,
    *,
    format: str = "auto",  # noqa: A002 - the flag's name
    strict: bool = False,
    skip_malformed: bool = False,
    preview: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
    check: Callable[[], None] = lambda: None,
) -> FileImport:
    """Import a file into a workspace (blocking). `progress` hears bytes done and in all; what `check` raises undoes
    the import.

    Raises PairsmithError for a file that is missing, empty or malformed, and for one that holds no usable row.
    """
    shown = one_line(str(path))
    if not path.is_file():
        raise PairsmithError(f"{shown} is not a file" if path.exists() else f"there is no file {shown}")
    try:
        reading = _Reading(path, find_format(path, format), strict, skip_malformed, progress, check)
        batch = BatchInfo(one_line(path.name), reading.format.name, _sha256(path, check))

        def work(conn: sqlite3.Connection) -> ImportReport:
            report = import_pairs(conn, reading.rows(), batch)
            if strict and report.refused:
                line, why = report.refused_lines[0]
                raise MalformedFile(
                    f"{one_line(path.name)}, line {line}: {why}", "Nothing was imported", line=line
                )
            if preview:
                raise _PreviewOnly(report)
            return report

        try:
            report = workspace.write(work)
        except _PreviewOnly as ending:
            report = ending.report
    except OSError as error:
        raise PairsmithError(f"{shown} cannot be read: {one_line(error.strerror or str(error))}") from error
    return _checked(_result(reading, report, preview), shown)


def _checked(found: FileImport, shown: str) -> FileImport:
    if found.rows == 0:
        raise MalformedFile(f"{shown} holds no pairs", "Nothing was imported", line=1)
    if found.refused == found.rows:
        first = found.refusals[0]
        raise MalformedFile(
            f"no row of {shown} can be imported ({found.refused:,} refused); {first}",
            "A row needs 'instruction' and 'output'",
            line=first.line,
        )
    return found


def _result(reading: _Reading, report: ImportReport, preview: bool) -> FileImport:
    late = [Refusal(line, None, why) for line, why in report.refused_lines]
    refusals = sorted([*reading.refusals, *late], key=lambda refusal: refusal.line or 0)
    return FileImport(
        format=reading.format.name,
        rows=report.read + reading.refused,
        added=report.added,
        duplicates=report.duplicates,
        refused=report.refused + reading.refused,
        refusals=tuple(refusals[:_SHOWN]),
        cleaned=report.cleaned,
        without_response=reading.without_response,
        duplicate_lines=report.duplicate_lines,
        preview=preview,
    )


def _sha256(path: Path, check: Callable[[], None]) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 22):
            check()
            digest.update(chunk)
    return digest.hexdigest()

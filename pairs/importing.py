"""Importing a file: one transaction, file order, and a report of every row that was refused, by line number.

A file that is broken as a whole changes nothing. A row that cannot be a pair is left out and reported, or with
`strict` stops the import; so is, only if `skip_malformed` allows it, a line that is not JSON.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pairsmith.backends.text import one_line

from .errors import PairsmithError, UsageError
from .export_formats import is_formula
from .import_formats import MAPPED, Format, Unusable, find_format, joined
from .import_tables import datasets_files
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
    unit: str = "line"
    """What `line` counts: lines of text, rows of columns, pairs of a workspace."""

    def __str__(self) -> str:
        where = f"{self.unit} {self.line}" + (f" (element {self.element})" if self.element else "")
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
    notes: tuple[str, ...] = ()
    """What was noticed: conversations of which only the first exchange was taken, cells like formulas."""


class _PreviewOnly(Exception):
    def __init__(self, report: ImportReport) -> None:
        self.report = report


@dataclass
class _Reading:
    """The rows of a file (or several) on their way into the store."""

    files: Sequence[Path]
    shown: str
    format: Format
    strict: bool
    skip_malformed: bool
    progress: Callable[[int, int], None]
    check: Callable[[], None]
    refused: int = 0
    without_response: int = 0
    shortened: int = 0
    formulas: int = 0
    refusals: list[Refusal] = field(default_factory=list)

    def rows(self) -> Iterator[ImportRow]:
        size = sum(path.stat().st_size for path in self.files)
        for number, piece in enumerate(self.format.pieces(self.files[0]), 1):
            if number % 500 == 0:
                self.check()
                self.progress(piece.end, size)
            if isinstance(piece, BadPiece):
                self._refuse(piece, piece.reason, malformed=piece.syntax)
                continue
            for row in self._rows(piece):
                self._look_at(row)
                yield row
        self.check()

    def _rows(self, piece: Piece) -> Sequence[ImportRow]:
        if not isinstance(piece.value, dict):
            self._refuse(piece, "not an object with instruction and response")
            return ()
        try:
            return self.format.rows(piece.value, piece.line)
        except Unusable as error:
            self._refuse(piece, str(error))
            return ()

    def _look_at(self, row: ImportRow) -> None:
        self.without_response += not row.output.strip()
        self.shortened += row.extra is not None and "more_turns" in row.extra
        if self.format.name in ("csv", "tsv"):
            self.formulas += any(map(is_formula, (row.instruction, row.input, row.output)))

    def notes(self) -> tuple[str, ...]:
        """What was noticed on the way."""
        found = []
        if self.shortened:
            found.append(
                f"{self.shortened:,} of the conversations are longer: their first exchange was taken, "
                "the other turns are kept beside it"
            )
        if self.formulas:
            found.append(
                f"{self.formulas:,} of the rows have cells like formulas: kept as texts, computed by nothing"
            )
        return tuple(found)

    def _refuse(self, piece: Piece | BadPiece, reason: str, *, malformed: bool = False) -> None:
        refusal = Refusal(piece.line, piece.element, reason, self.format.unit)
        if self.strict or (malformed and not self.skip_malformed):
            advice = "Nothing was imported" + (
                "; --skip-malformed leaves such lines out" if malformed and not self.strict else ""
            )
            raise MalformedFile(f"{self.shown}, {refusal}", advice, line=piece.line)
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
    columns: Mapping[str, str] | None = None,
    table: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    check: Callable[[], None] = lambda: None,
) -> FileImport:
    """Import a file into a workspace (blocking). `progress` hears bytes done and in all; what `check` raises undoes
    the import. `columns`: what "instruction", "input" and "output" are called there; `table`: which one of a database.

    Raises PairsmithError for a file that is missing, empty or malformed, and for one that holds no usable row.
    """
    shown = one_line(str(path))
    if not path.is_file() and not path.is_dir():
        raise PairsmithError(f"{shown} is not a file" if path.exists() else f"there is no file {shown}")
    return import_files(
        workspace,
        [path],
        one_line(path.name),
        shown=shown,
        format=format,
        strict=strict,
        skip_malformed=skip_malformed,
        preview=preview,
        columns=columns,
        table=table,
        progress=progress,
        check=check,
    )


def import_files(
    workspace: Workspace,
    files: Sequence[Path],
    source: str,
    *,
    shown: str = "",
    kinds: Collection[str] | None = None,
    format: str = "auto",  # noqa: A002 - the flag's name
    strict: bool = False,
    skip_malformed: bool = False,
    preview: bool = False,
    columns: Mapping[str, str] | None = None,
    table: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    check: Callable[[], None] = lambda: None,
) -> FileImport:
    """Import one or more files as one act (blocking), as `import_file` does. `source`: what provenance calls them;
    `shown`: what messages call them; `kinds`: the kinds of files (of FORMATS) that may be read, whatever their names
    say; None: all. The rows of several are counted through all of them."""
    shown = shown or source
    _check_columns(columns)
    try:
        formats = [find_format(path, format, columns, table) for path in files]
        for path, found in zip(files, formats, strict=True):
            if kinds is not None and found.name not in kinds:
                raise MalformedFile(
                    f"{one_line(path.name)} of {shown} is of the kind {found.name}, which is not read from there",
                    "Nothing was imported",
                )
        form = formats[0] if len(files) == 1 else joined(files, formats)
        reading = _Reading(files, source, form, strict, skip_malformed, progress, check)
        batch = BatchInfo(source, form.name, _sha256(files, check))

        def work(conn: sqlite3.Connection) -> ImportReport:
            report = import_pairs(conn, reading.rows(), batch)
            if strict and report.refused:
                line, why = report.refused_lines[0]
                raise MalformedFile(f"{source}, {form.unit} {line}: {why}", "Nothing was imported", line=line)
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


def _check_columns(columns: Mapping[str, str] | None) -> None:
    if columns:
        if unknown := set(columns) - set(MAPPED):
            raise UsageError(
                f"no column can be taken for {one_line(min(unknown))}", f"Only for {', '.join(MAPPED)}"
            )
        if missing := {"instruction", "output"} - set(columns):
            raise UsageError(
                f"which column is the {min(missing)}?", "Give --column instruction=NAME --column output=NAME"
            )
        if len(set(columns.values())) < len(columns):
            raise UsageError("one column is taken for two things", "Every --column needs a NAME of its own")


def _checked(found: FileImport, shown: str) -> FileImport:
    if found.rows == 0:
        raise MalformedFile(f"{shown} holds no pairs", "Nothing was imported", line=1)
    if found.refused == found.rows:
        first = found.refusals[0]
        raise MalformedFile(
            f"no row of {shown} can be imported ({found.refused:,} refused); {first}",
            "A row needs 'instruction' and 'output'; --column instruction=NAME says what it is called in the file",
            line=first.line,
        )
    return found


def _result(reading: _Reading, report: ImportReport, preview: bool) -> FileImport:
    late = [Refusal(line, None, why, reading.format.unit) for line, why in report.refused_lines]
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
        notes=reading.notes(),
    )


def _sha256(files: Sequence[Path], check: Callable[[], None]) -> str:
    """Of the files (of a folder its data files) one after another."""
    digest = hashlib.sha256()
    for part in [part for path in files for part in (datasets_files(path) if path.is_dir() else [path])]:
        with part.open("rb") as file:
            while chunk := file.read(1 << 22):
                check()
                digest.update(chunk)
    return digest.hexdigest()

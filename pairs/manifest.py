"""The manifest beside an export: every row's hash, place and provenance, so that a change of any row can be named.

A JSON document with one row on each line; its last line holds the hashes of the files and of the manifest itself.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, NoReturn

from pairsmith.backends.text import one_line

from .errors import PairsmithError
from .export_formats import ExportPair, json_text

NAME = "manifest.json"
"""In the folder of an export that is a folder."""
_KIND = "export of Pairsmith"
_VERSION = 1
BEGINS = f'{{"manifest": "{_KIND}"'
"""How every manifest begins, and no file of another program that has its name."""
_LONGEST_LINE = 1 << 20


@dataclass(frozen=True, slots=True)
class SealedFile:
    """A file of the export: its path in the folder (its name, where it is the only one), bytes, hex SHA-256, rows."""

    name: str
    bytes: int
    sha256: str
    rows: int


def manifest_path(path: Path) -> Path:
    """Where the manifest of an export lies: beside a file, in a folder."""
    return path / NAME if path.is_dir() else path.with_name(f"{path.name}.manifest.json")


def row_hash(row: Mapping[str, Any]) -> str:
    """Hex SHA-256 of a row of columns: of its JSON with sorted keys, without white space, in UTF-8."""
    text = json.dumps(row, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class Seal:
    """Writes a manifest while the rows are written."""

    def __init__(self, file: IO[bytes], head: Mapping[str, Any]) -> None:
        """`head`: what was exported and how; JSON-able."""
        self._file = file
        self._hash = hashlib.sha256()
        self.files: list[SealedFile] = []
        self.rows = 0
        about = json_text({"manifest": _KIND, "version": _VERSION, **head})
        self._put(about[:-1] + ', "rows": [')

    def row(self, pair: ExportPair, digest: str, **place: Any) -> None:
        """Book the next row: `digest` of its bytes (text) or columns, `place` where it lies."""
        self._put(",\n" if self.rows else "\n")
        self.rows += 1
        verdict = {"verdict": pair.verdict, "by": pair.decided_by}
        self._put(
            json_text(
                {
                    "row": self.rows,
                    **place,
                    "sha256": digest,
                    "id": pair.uid,
                    **verdict,
                    "made": dict(pair.provenance),
                }
            )
        )

    def file(self, sealed: SealedFile) -> None:
        """Book a finished file."""
        self.files.append(sealed)

    def finish(self) -> None:
        """Write the end, with the manifest's own hash over everything before it."""
        self._put(f'\n], "files": {json_text([asdict(file) for file in self.files])}')
        self._file.write(f', "sha256": "{self._hash.hexdigest()}"}}\n'.encode())

    def _put(self, text: str) -> None:
        data = text.encode()
        self._hash.update(data)
        self._file.write(data)


class ManifestBroken(PairsmithError):
    """The manifest is not as it was written; nothing can be said of the rows behind this place."""


class Manifest:
    """Reads a manifest in constant memory. Raises ManifestBroken, OSError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.head: Mapping[str, Any] = {}
        self.files: Sequence[SealedFile] = ()
        self._hash = hashlib.sha256()
        with path.open("rb") as file:
            line = file.readline(_LONGEST_LINE)
        self.head = self._value(line.rstrip() + b"]}")
        if self.head.get("manifest") != _KIND:
            self._refuse("it is no manifest of an export")
        if self.head.get("version") != _VERSION:
            self._refuse("a newer Pairsmith wrote it")

    def rows(self) -> Iterator[Mapping[str, Any]]:
        """Every row's entry; after the last one `files` is known, and that the manifest itself is whole."""
        with self.path.open("rb") as file:
            self._hash.update(file.readline(_LONGEST_LINE))
            while line := file.readline(_LONGEST_LINE):
                if line.startswith(b"]"):
                    self._end(line)
                    return
                self._hash.update(line)
                yield self._value(line.rstrip(b",\n"))
        self._refuse("it is cut off")

    def _end(self, line: bytes) -> None:
        body, mark, rest = line.rpartition(b', "sha256": "')
        self._hash.update(body)
        if not mark or rest != f'{self._hash.hexdigest()}"}}\n'.encode():
            self._refuse("it was changed itself")
        value = self._value(b'{"rows": [' + body + b"}")
        self.files = tuple(SealedFile(**file) for file in value["files"])

    def _value(self, data: bytes) -> Mapping[str, Any]:
        try:
            value = json.loads(data)
        except (ValueError, RecursionError):
            self._refuse("it was changed itself")
        if not isinstance(value, dict):
            self._refuse("it was changed itself")
        return value

    def _refuse(self, why: str) -> NoReturn:
        raise ManifestBroken(f"the manifest {one_line(self.path.name)} cannot be used: {why}", "Export again")

"""Parquet files and `datasets` folders: read by a child process of limited memory, passed on row by row."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from pairsmith.backends.text import one_line

from .json_stream import MAX_PIECE, BadPiece, MalformedFile, Piece, read_value

_PASSED_ON = (
    "PATH",
    "LD_LIBRARY_PATH",
    "PYTHONPATH",
    "SYSTEMROOT",
    "TEMP",
    "TMP",
    "TMPDIR",
    "LANG",
    "LC_ALL",
)
_MOST_JSON = 4_000_000
_MOST_FILES = 10_000


def read_parquet(path: Path) -> Iterator[Piece | BadPiece]:
    """The rows of a Parquet file; `line` counts them from 1. Raises OSError, MalformedFile."""
    return _read("parquet", [path], path)


def read_datasets(path: Path) -> Iterator[Piece | BadPiece]:
    """The rows of a folder that `datasets` saved, split after split. Raises OSError, MalformedFile."""
    return _read("arrow", datasets_files(path), path)


def is_datasets(path: Path) -> bool:
    """Whether a folder is what `save_to_disk` of `datasets` makes."""
    return (path / "dataset_dict.json").is_file() or (path / "state.json").is_file()


def datasets_files(path: Path) -> list[Path]:
    """The data files of such a folder, in their order. Raises MalformedFile, OSError."""
    if (path / "dataset_dict.json").is_file():
        splits = _described(path / "dataset_dict.json", "splits")
        return [file for split in splits for file in _data_files(_inside(path, split), path)]
    return _data_files(path, path)


def _data_files(folder: Path, root: Path) -> list[Path]:
    entries = _described(folder / "state.json", "_data_files")
    names = [entry.get("filename") if isinstance(entry, dict) else None for entry in entries]
    files = [_inside(folder, name) for name in names]
    for file in files:
        if not file.is_file() or file.is_symlink():
            raise MalformedFile(
                f"{one_line(root.name)}: {one_line(file.name)} is missing or no file",
                "Is the folder complete?",
            )
    return files


def _inside(folder: Path, name: Any) -> Path:
    if (
        not isinstance(name, str)
        or name in ("", ".", "..")
        or Path(name).name != name
        or "\\" in name
        or "\0" in name
    ):
        raise MalformedFile(f"{one_line(folder.name)} names a file outside of itself", "Nothing was read")
    return folder / name


def _described(path: Path, name: str) -> list[Any]:
    if not path.is_file() or path.stat().st_size > _MOST_JSON:
        raise MalformedFile(f"{one_line(str(path))} is missing or too large", "Is the folder complete?")
    try:
        value = read_value(path.read_bytes())
    except ValueError as error:
        raise MalformedFile(f"{one_line(str(path))}: {error}", "Is the folder complete?") from None
    items = value.get(name) if isinstance(value, dict) else None
    if not isinstance(items, list) or len(items) > _MOST_FILES:
        raise MalformedFile(f"{one_line(str(path))} has no list {name!r}", "Is the folder complete?")
    return items


def _read(kind: str, files: Sequence[Path], shown: Path) -> Iterator[Piece | BadPiece]:
    size = shown.stat().st_size
    with tempfile.TemporaryFile() as errors, _child(kind, files, errors) as child:
        assert child.stdout is not None
        total = row = 0
        while line := child.stdout.readline(MAX_PIECE + 1):
            if line.startswith(b"#rows "):
                total = int(line[6:])
            elif line.startswith(b"#end"):
                return
            elif line.startswith(b"#error "):
                why = one_line(line[7:].decode("utf-8", "replace"), 300)
                raise MalformedFile(f"{one_line(shown.name)} cannot be read: {why}", "Nothing was imported")
            else:
                row += 1
                yield _piece(line, child.stdout, row, size * row // max(total, row))
        child.wait()
        raise MalformedFile(
            f"{one_line(shown.name)} cannot be read: its reader ended after row {row} ({child.returncode})",
            "It may need more memory to unpack than is allowed (1 GB)",
        )


def _piece(line: bytes, stream: IO[bytes], row: int, end: int) -> Piece | BadPiece:
    if len(line) > MAX_PIECE:
        while not line.endswith(b"\n") and (line := stream.readline(1 << 20)):
            pass
        return BadPiece(f"longer than {MAX_PIECE >> 20} MB", row, None, end)
    try:
        return Piece(read_value(line), row, None, end)
    except ValueError as error:
        return BadPiece(str(error), row, None, end)


@contextlib.contextmanager
def _child(kind: str, files: Sequence[Path], errors: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    # Paths go through the command line: a folder of datasets may name many, so the system's limit is met by a file.
    if sum(len(str(file)) + 1 for file in files) > 100_000:
        raise MalformedFile("there are too many data files in this folder", "Save it again with fewer shards")
    child = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "pairsmith.pairs.table_child",
            kind,
            *(str(file.absolute()) for file in files),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=errors,
        env={name: os.environ[name] for name in _PASSED_ON if name in os.environ},
        start_new_session=True,
    )
    try:
        yield child
    finally:
        child.kill()
        child.wait()
        if child.stdout is not None:
            child.stdout.close()

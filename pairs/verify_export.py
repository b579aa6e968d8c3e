"""Is an export as it was written? Every row against its hash in the manifest, so that what was changed has a name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from pairsmith.backends.text import one_line

from .errors import PairsmithError
from .manifest import Manifest, ManifestBroken, manifest_path, row_hash
from .store.integrity import Problem

_CHUNK = 1 << 20
_MOST_ROW = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Verified:
    """What was found: rows that were looked at, and everything that is not as it was written."""

    rows: int
    problems: list[Problem]


def is_export(path: Path) -> bool:
    """Whether a manifest lies where an export of this name has it."""
    return manifest_path(path).is_file()


def verify_export(path: Path, progress: Callable[[int, int], None] = lambda done, total: None) -> Verified:
    """Compare an export with its manifest, reading only, in constant memory. `progress` hears rows done, and 0.

    Raises PairsmithError where there is no manifest or it was changed itself, and for what cannot be read.
    """
    sealed_at = manifest_path(path)
    shown = one_line(str(path))
    if not path.exists():
        raise PairsmithError(f"there is no export {shown}")
    if not sealed_at.is_file():
        raise PairsmithError(
            f"{shown} has no manifest ({one_line(sealed_at.name)})",
            "Only what was exported with one can be verified",
        )
    try:
        manifest = Manifest(sealed_at)
        check = _check_table if manifest.head.get("format") in ("parquet", "hf", "hub") else _check_text
        problems: list[Problem] = []
        rows = 0
        for problem in check(path, manifest):
            if problem is None:
                rows += 1
                if rows % 500 == 0:
                    progress(rows, 0)
            else:
                problems.append(problem)
        return Verified(rows, problems + _check_files(path, manifest, bool(problems)))
    except OSError as error:
        raise PairsmithError(f"{shown} cannot be read: {one_line(error.strerror or str(error))}") from error
    except (KeyError, TypeError) as error:
        raise ManifestBroken(
            f"the manifest {one_line(sealed_at.name)} was changed itself", "Export again"
        ) from error


def _changed(entry: Mapping[str, Any], why: str = "was changed") -> Problem:
    where = f" of {entry['split']}" if "split" in entry else ""
    number = entry["in_split"] if "split" in entry else entry["row"]
    return Problem("row", f"row {number:,}{where} (pair {one_line(str(entry['id']), 60)}) {why}")


def _check_text(path: Path, manifest: Manifest) -> Iterator[Problem | None]:
    """None for every row that was looked at, besides the problems."""
    shift = 0
    with path.open("rb") as file:
        size = file.seek(0, 2)
        for entry in manifest.rows():
            at, length = int(entry["at"]), int(entry["bytes"])
            yield None
            if _same(file, at + shift, length, entry["sha256"]):
                continue
            yield _changed(entry, "is missing" if at + shift >= size else "was changed")
            if not shift and manifest_size(manifest) not in (None, size):
                # The row became longer or shorter: what follows is looked for where it went.
                shift = size - (manifest_size(manifest) or size)


def _hash(row: Mapping[str, Any]) -> str:
    """The row's hash; none where a changed schema made values of it that no export has."""
    try:
        return row_hash(row)
    except (TypeError, ValueError):
        return ""


def manifest_size(manifest: Manifest) -> int | None:
    """Bytes of the only file, read from the manifest's end."""
    with manifest.path.open("rb") as file:
        end = file.seek(0, 2)
        file.seek(max(0, end - 4096))
        _, mark, rest = file.read().rpartition(b'], "files": [')
    if not mark:
        return None
    try:
        return int(json.loads(b"[" + rest.partition(b"]")[0] + b"]")[0]["bytes"])
    except (ValueError, KeyError, IndexError, TypeError):
        return None


def _same(file: IO[bytes], at: int, length: int, digest: str) -> bool:
    if at < 0 or length > _MOST_ROW:
        return False
    file.seek(at)
    return hashlib.sha256(file.read(length)).hexdigest() == digest


def _check_files(path: Path, manifest: Manifest, found: bool) -> list[Problem]:
    """The files as wholes: what lies between the rows, or is in no row's columns."""
    problems = []
    for sealed in manifest.files:
        place = path / sealed.name if path.is_dir() else path
        if ".." in Path(sealed.name).parts or Path(sealed.name).is_absolute():
            raise ManifestBroken("the manifest names a file outside of its folder")
        if not place.is_file():
            problems.append(Problem("file", f"{one_line(sealed.name)} is missing"))
            continue
        digest = hashlib.sha256()
        with place.open("rb") as file:
            while data := file.read(_CHUNK):
                digest.update(data)
        if digest.hexdigest() != sealed.sha256 and not (found and sealed.rows):
            where = ", outside of its rows" if sealed.rows else ""
            problems.append(Problem("file", f"{one_line(sealed.name)} was changed{where}"))
    return problems


def _check_table(path: Path, manifest: Manifest) -> Iterator[Problem | None]:
    """Rows of columns, split by split. What no reader can decode any more is named as the rows that it held."""
    readers: dict[str, Iterator[str | None]] = {}
    for entry in manifest.rows():
        split = str(entry.get("split", ""))
        if split not in readers:
            if Path(split).name != split:
                raise ManifestBroken("the manifest names a file outside of its folder")
            readers[split] = _split_hashes(path, split, str(manifest.head.get("format")))
        yield None
        digest = next(readers[split], "")
        if digest is None:
            yield _changed(entry, "cannot be read any more")
        elif not digest:
            yield _changed(entry, "is missing")
        elif digest != entry["sha256"]:
            yield _changed(entry)
    for split, reader in readers.items():
        if next(reader, "") != "":
            yield Problem("file", f"there are more rows{f' in {split}' if split else ''} than were exported")


def _split_hashes(path: Path, split: str, form: str) -> Iterator[str | None]:
    if form == "hub":
        from .export_tables import shard_of

        return _hashes(path / shard_of(split), parquet=True)
    return _hashes(path / split / "data-00000-of-00001.arrow" if split else path, parquet=not split)


def _hashes(path: Path, *, parquet: bool) -> Iterator[str | None]:
    """The hash of every row; None for each row of a piece that cannot be read."""
    import pyarrow as pa

    read = _parquet_batches if parquet else _arrow_batches
    try:
        for rows in read(path):
            if isinstance(rows, int):
                yield from (None for _ in range(rows))
            else:
                yield from map(_hash, rows)
    except (pa.ArrowException, OSError, ValueError):
        while True:
            yield None


def _parquet_batches(path: Path) -> Iterator[list[dict[str, Any]] | int]:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    # Opened here: pyarrow takes no name that is not UTF-8.
    with path.open("rb") as opened, parquet.ParquetFile(opened) as file:
        for group in range(file.num_row_groups):
            try:
                table = file.read_row_group(group, use_threads=False)
                table.validate(full=True)
                yield table.to_pylist()
            except (pa.ArrowException, OSError, ValueError):
                yield file.metadata.row_group(group).num_rows


def _arrow_batches(path: Path) -> Iterator[list[dict[str, Any]] | int]:
    import pyarrow as pa

    with path.open("rb") as file, pa.ipc.open_stream(file) as reader:
        for batch in reader:
            try:
                batch.validate(full=True)
                yield batch.to_pylist()
            except (pa.ArrowException, ValueError):
                yield batch.num_rows

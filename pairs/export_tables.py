"""Columns: Parquet, and folders that `datasets.load_from_disk` reads. Written in pieces of bounded size."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any

from .export_formats import ExportPair, own
from .manifest import Seal, SealedFile, row_hash

_MOST_ROWS = 1000
_MOST_CHARACTERS = 8_000_000
_TEXT = {"dtype": "string", "_type": "Value"}
_FEATURES: dict[str, Any] = {
    "instruction": _TEXT,
    "input": _TEXT,
    "output": _TEXT,
    "id": _TEXT,
    "topic": {"feature": _TEXT, "_type": "List"},
    "verdict": _TEXT,
    "decided_by": _TEXT,
    "rule": _TEXT,
    "reason": _TEXT,
    "tags": {"feature": _TEXT, "_type": "List"},
    "note": _TEXT,
    "model": _TEXT,
    "scores": {
        "feature": {"judge": _TEXT, "attribute": _TEXT, "score": {"dtype": "float64", "_type": "Value"}},
        "_type": "List",
    },
}
"""What `datasets` calls these columns, as it writes it into a file's metadata."""


def columns(pair: ExportPair) -> dict[str, Any]:
    """The fields of our JSON lines; scores as a list, because judges differ from file to file."""
    row = own(pair)
    row["scores"] = [
        {"judge": judge, "attribute": name, "score": float(value)}
        for judge, given in row["scores"].items()
        for name, value in given.items()
    ]
    return row


def write_parquet(path: Path, pairs: Iterator[ExportPair], seal: Seal, name: str) -> None:
    """One Parquet file, flushed to the disk; `name`: what it will be called. Raises OSError."""
    _write_parquet(path, pairs, seal, name)


def _write_parquet(path: Path, pairs: Iterator[ExportPair], seal: Seal, name: str, **place: Any) -> None:
    import pyarrow.parquet as parquet

    schema, before = _schema(), seal.rows
    with path.open("wb") as file:
        with parquet.ParquetWriter(
            file, schema, compression="zstd", write_page_checksum=True, store_schema=True
        ) as writer:
            for batch in _batches(pairs, seal, schema, **place):
                writer.write_batch(batch)
        file.flush()
        os.fsync(file.fileno())
    seal.file(sealed_file(path, name, seal.rows - before))


def shard_of(split: str) -> str:
    """Where a split lies in a repository of the Hub: the name that `datasets` gives it too."""
    return f"data/{split}-00000-of-00001.parquet"


def write_shards(folder: Path, pairs: Iterator[ExportPair], seal: Seal) -> None:
    """A Parquet file for each value of the pairs' `split`, in their order, as the Hub has them. Raises OSError."""
    (folder / "data").mkdir()
    for split, members in groupby(pairs, key=lambda pair: pair.split):
        _write_parquet(folder / shard_of(split), members, seal, shard_of(split), split=split)


def write_datasets(folder: Path, pairs: Iterator[ExportPair], seal: Seal) -> None:
    """A DatasetDict, one split for each value of the pairs' `split`, in their order. Raises OSError."""
    import pyarrow

    schema = _schema()
    splits = []
    for split, members in groupby(pairs, key=lambda pair: pair.split):
        before = seal.rows
        (folder / split).mkdir()
        path = folder / split / "data-00000-of-00001.arrow"
        with path.open("wb") as file:
            with pyarrow.ipc.new_stream(file, schema) as writer:
                for batch in _batches(members, seal, schema, split=split):
                    writer.write_batch(batch)
            file.flush()
            os.fsync(file.fileno())
        sealed = sealed_file(path, f"{split}/{path.name}", seal.rows - before)
        seal.file(sealed)
        _describe(folder / split, split, sealed)
        splits.append(split)
    write_json(folder / "dataset_dict.json", {"splits": splits})


def write_json(path: Path, value: Any) -> None:
    """A small JSON file, flushed to the disk."""
    write_bytes(path, json.dumps(value, indent=2).encode())


def write_bytes(path: Path, data: bytes) -> None:
    """A small file, flushed to the disk."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sealed_file(path: Path, name: str, rows: int) -> SealedFile:
    """What the manifest says of a file that is written."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while data := file.read(1 << 20):
            digest.update(data)
        return SealedFile(name, file.tell(), digest.hexdigest(), rows)


def _describe(folder: Path, split: str, data: SealedFile) -> None:
    """The two files beside a split's data: what `Dataset.save_to_disk` writes, with nothing of the time in it."""
    from datasets import DatasetInfo, Features

    info = asdict(DatasetInfo(features=Features.from_dict(_FEATURES)))
    state: dict[str, Any] = {
        "_data_files": [{"filename": Path(data.name).name}],
        "_fingerprint": data.sha256[:16],
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": split,
    }
    write_json(folder / "state.json", state)
    write_json(folder / "dataset_info.json", dict(sorted(info.items())))


def _schema() -> Any:
    import pyarrow as pa

    text = pa.string()
    score = pa.struct([("judge", text), ("attribute", text), ("score", pa.float64())])
    special = {"topic": pa.list_(text), "tags": pa.list_(text), "scores": pa.list_(score)}
    fields = [(name, special.get(name, text)) for name in _FEATURES]
    return pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": _FEATURES}})})


def _batches(pairs: Iterator[ExportPair], seal: Seal, schema: Any, **place: Any) -> Iterator[Any]:
    import pyarrow as pa

    waiting: list[dict[str, Any]] = []
    characters = 0
    for number, pair in enumerate(pairs, 1):
        row = columns(pair)
        seal.row(pair, row_hash(row), **place, **({"in_split": number} if place else {}))
        waiting.append(row)
        characters += len(pair.instruction) + len(pair.input) + len(pair.output)
        if len(waiting) >= _MOST_ROWS or characters >= _MOST_CHARACTERS:
            yield pa.RecordBatch.from_pylist(waiting, schema=schema)
            waiting, characters = [], 0
    if waiting:
        yield pa.RecordBatch.from_pylist(waiting, schema=schema)

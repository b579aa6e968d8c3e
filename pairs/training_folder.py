"""A run's folder: what the training child reads (docs/training.md), written whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .splits import Side
from .store.driver import sqlite3
from .store.errors import from_os
from .store.pair_rows import get_pairs
from .store.publish import sync_folder, temporary_name

SIDES: tuple[Side, ...] = ("train", "validation", "test")
_PAGE = 500


def folder_of(home: Path, workspace_id: str, run_uid: str) -> Path:
    """Where a run lies: PAIRSMITH_HOME/runs/<workspace id>/<run uid>."""
    return home / "runs" / workspace_id / run_uid


def write_run_folder(
    conn: sqlite3.Connection, folder: Path, config: Mapping[str, Any], sides: Mapping[int, Side]
) -> dict[Side, int]:
    """Publish `config.json` and the three files of pairs; how many pairs each side has (blocking).

    Pairs stand in the order of their making. Raises PairsmithError for what the disk refuses.
    """
    temporary = temporary_name(folder)
    try:
        temporary.mkdir(parents=True)
        counts = {}
        for side in SIDES:
            ids = [pair for pair in sorted(sides) if sides[pair] == side]
            counts[side] = _write(temporary / f"{side}.jsonl", _lines(conn, ids))
        _write(temporary / "config.json", [_config_text(config)])
        sync_folder(temporary)
        temporary.rename(folder)
        sync_folder(folder.parent)
    except OSError as error:
        raise from_os(error, folder) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return counts


def read_config(folder: Path) -> dict[str, Any]:
    """The folder's `config.json`. Raises OSError and ValueError where it is not there or cannot be read."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if not isinstance(config, dict):
        raise ValueError("config.json holds no object")
    return config


def replace_config(folder: Path, config: Mapping[str, Any]) -> None:
    """Publish another `config.json` in place of the old one. Raises PairsmithError."""
    path = folder / "config.json"
    temporary = temporary_name(path)
    try:
        _write(temporary, [_config_text(config)])
        temporary.replace(path)
        sync_folder(folder)
    except OSError as error:
        raise from_os(error, folder) from error
    finally:
        temporary.unlink(missing_ok=True)


def read_items(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSONL file; [] where there is none. Raises ValueError naming the line that is no object."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    items = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                item = json.loads(line)
            except ValueError:
                item = None
            if not isinstance(item, dict):
                raise ValueError(f"{path.name}, line {number}: not a JSON object")
            items.append(item)
    return items


def _config_text(config: Mapping[str, Any]) -> str:
    return json.dumps({"version": 1, **config}, indent=1, ensure_ascii=False) + "\n"


def _lines(conn: sqlite3.Connection, ids: Sequence[int]) -> Iterator[str]:
    for start in range(0, len(ids), _PAGE):
        for pair in get_pairs(conn, ids[start : start + _PAGE]):
            if pair.removed:  # undone since it was chosen
                continue
            row = {
                "id": pair.uid,
                "instruction": pair.instruction,
                "input": pair.input,
                "output": pair.output,
            }
            yield json.dumps(row, ensure_ascii=False) + "\n"


def _write(path: Path, lines: Iterable[str]) -> int:
    count = 0
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for count, line in enumerate(lines, 1):  # noqa: B007 - the number of lines is the result
            file.write(line)
        file.flush()
        os.fsync(file.fileno())
    return count

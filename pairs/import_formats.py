"""The shapes of rows that can be imported, and which format a file is in.

A format is an entry of `FORMATS`: how its pieces are read, and how a piece becomes an `ImportRow`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pairsmith.backends.text import one_line

from .json_stream import BadPiece, MalformedFile, Piece, first_byte, read_array, read_lines
from .store.import_rows import ImportRow

RESPONSE_NAMES = ("output", "response", "responses")
"""What the response is called in files: the first that a row has counts."""
_OWN = frozenset({"instruction", "input", *RESPONSE_NAMES})
_MAX_EXTRA = 1_000_000


class Unusable(ValueError):
    """A row that cannot be a pair; the message says why."""


@dataclass(frozen=True, slots=True)
class Format:
    """A way to read a file. `pieces` may raise MalformedFile and OSError, `row` Unusable."""

    name: str
    pieces: Callable[[Path], Iterator[Piece | BadPiece]]
    row: Callable[[Mapping[str, Any], int], ImportRow]


def find_format(path: Path, name: str = "auto") -> Format:
    """The format of this name, or with "auto" the one that the file's beginning shows.

    Raises MalformedFile for an empty file and for what is none of ours; OSError.
    """
    shown = one_line(path.name)
    byte = first_byte(path)
    if not byte:
        raise MalformedFile(f"{shown} is empty", "Nothing was imported", line=1)
    if name == "auto":
        if byte not in (b"[", b"{"):
            raise MalformedFile(
                f"{shown}, line {_first_line(path)}: this is neither a JSON array nor JSON lines",
                "Give an Alpaca JSON or JSONL file, or an export of Pairsmith",
                line=1,
            )
        return FORMATS["json" if byte == b"[" else "jsonl"]
    if name == "alpaca":
        return FORMATS["json" if byte == b"[" else "jsonl"]
    return FORMATS[name]


def alpaca_row(value: Mapping[str, Any], line: int) -> ImportRow:
    """Instruction, optional input and a response under any of its names; of our own export also topic, verdict and
    scores. Everything else is kept beside the pair."""
    instruction = _text(value, "instruction")
    if instruction is None:
        raise Unusable("there is no 'instruction'")
    if not instruction.strip():
        raise Unusable("the instruction is empty")
    name = next((n for n in RESPONSE_NAMES if value.get(n) is not None), None)
    if name is None:
        raise Unusable("there is no 'output' (or 'response', 'responses')")
    own = _own_fields(value)
    used = {"instruction", "input", name, *own}
    extra = {key: item for key, item in value.items() if key not in used}
    if len(json.dumps(extra)) > _MAX_EXTRA:
        raise Unusable(f"the other fields hold more than {_MAX_EXTRA // 1_000_000} MB")
    return ImportRow(
        instruction=instruction,
        output=_response(value, name),
        input=_text(value, "input") or "",
        line=line,
        extra=extra or None,
        **{field: item for field, item in own.items() if field != "decided_by" and field != "id"},
    )


def _first_line(path: Path) -> int:
    with path.open("rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(1 << 20), b""), 1):
            if line.strip():
                return number
    return 1


def _text(value: Mapping[str, Any], name: str) -> str | None:
    item = value.get(name)
    if item is not None and not isinstance(item, str):
        raise Unusable(f"'{name}' is {_kind(item)}, not a text")
    return item


def _response(value: Mapping[str, Any], name: str) -> str:
    item = value[name]
    if isinstance(item, list) and name == "responses":
        if len(item) != 1:
            raise Unusable(f"'{name}' holds {len(item)} texts, not one")
        item = item[0]
    if not isinstance(item, str):
        raise Unusable(f"'{name}' is {_kind(item)}, not a text")
    return item


def _own_fields(value: Mapping[str, Any]) -> dict[str, Any]:
    """What only our own export says; nothing where a file of somebody else uses the same names differently."""
    if not (
        isinstance(value.get("id"), str) and "decided_by" in value and isinstance(value.get("topic"), list)
    ):
        return {}
    found: dict[str, Any] = {"id": value["id"], "decided_by": value["decided_by"]}
    if all(isinstance(name, str) for name in value["topic"]):
        found["topic"] = tuple(value["topic"])
    verdict, by = value.get("verdict"), value["decided_by"]
    if verdict in ("accepted", "rejected") and by in ("human", "rule"):
        found["verdict"] = verdict
        if by == "rule":
            rule = value.get("rule")
            found["rule"] = rule if isinstance(rule, str) and rule else "imported"
    elif verdict == "undecided":
        found["verdict"] = None
    scores = value.get("scores")
    if isinstance(scores, dict):
        found["scores"] = {
            judge: {name: float(score) for name, score in given.items() if _is_score(score)}
            for judge, given in scores.items()
            if isinstance(given, dict)
        }
    return found


def _is_score(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= 1e300


def _kind(value: Any) -> str:
    names = {bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return "null" if value is None else names.get(type(value), "something else")


FORMATS: dict[str, Format] = {
    "json": Format("json", read_array, alpaca_row),
    "jsonl": Format("jsonl", read_lines, alpaca_row),
}
NAMES = ("auto", "alpaca", *FORMATS)
"""What `--format` takes."""

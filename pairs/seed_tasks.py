"""Reading seed tasks from a file: the paper's `seed_tasks.jsonl`, or plain lines with one instruction each.

A line of the paper's file is {"id", "name", "instruction", "instances": [{"input", "output"}], "is_classification"};
only `instruction` is needed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn

from pairsmith.backends.text import clean, one_line

from .errors import UsageError
from .instances import Instance
from .normalise import normal_form
from .store.seed_tasks import LONGEST, SeedTask

_MOST_BYTES = 64 * 1024 * 1024
_ADVICE = "A seed file is JSON lines with an 'instruction' in each, or plain lines with one instruction each"


def read_seed_tasks(path: Path) -> list[SeedTask]:
    """The tasks of a file in its order, repeated instructions left out.

    Raises UsageError, naming the file and the line, for a file that cannot be read, is empty, or has a line that is no
    seed task.
    """
    shown = one_line(path.name)
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise UsageError(f"{shown} is larger than 64 MB", _ADVICE)
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"cannot read the seed tasks {shown}: it is not UTF-8 text", _ADVICE) from error
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"cannot read the seed tasks {shown}: {one_line(why)}") from None
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not lines:
        raise UsageError(f"{shown} holds no seed tasks", _ADVICE)
    if lines[0][1].lstrip().startswith("["):
        raise UsageError(f"{shown}, line {lines[0][0]}: a JSON array, not JSON lines", _ADVICE)
    as_json = lines[0][1].lstrip().startswith("{")
    tasks: dict[str, SeedTask] = {}
    for number, line in lines:
        where = f"{shown}, line {number}"
        task = _from_json(line, where, shown) if as_json else _from_line(line, where, shown)
        tasks.setdefault(normal_form(task.instruction), task)
    return list(tasks.values())


def _from_line(line: str, where: str, source: str) -> SeedTask:
    return SeedTask(_instruction(line, where), source=source)


def _from_json(line: str, where: str, source: str) -> SeedTask:
    try:
        value: Any = json.loads(line)
    except (ValueError, RecursionError):
        _refuse(where, "not JSON")
    if not isinstance(value, dict):
        _refuse(where, "not a JSON object")
    if "instruction" not in value:
        _refuse(where, "has no 'instruction'")
    is_classification = value.get("is_classification", False)
    if not isinstance(is_classification, bool):
        _refuse(where, "'is_classification' is neither true nor false")
    name = value.get("name", value.get("id", ""))
    return SeedTask(
        _instruction(value["instruction"], where),
        _instances(value.get("instances", []), where),
        is_classification,
        name[:500] if isinstance(name, str) else "",
        source,
    )


def _instruction(value: Any, where: str) -> str:
    if not isinstance(value, str):
        _refuse(where, "'instruction' is not a text")
    text = clean(value)[0].strip()
    if not text:
        _refuse(where, "the instruction is empty")
    if len(text) > LONGEST:
        _refuse(where, f"the instruction has more than {LONGEST:,} characters")
    return text


def _instances(value: Any, where: str) -> tuple[Instance, ...]:
    if not isinstance(value, list):
        _refuse(where, "'instances' is not a list")
    found = []
    for item in value:
        if not (
            isinstance(item, dict)
            and isinstance(item.get("input", ""), str)
            and isinstance(item.get("output"), str)
        ):
            _refuse(where, "an instance is not {'input': text, 'output': text}")
        found.append(Instance(clean(item.get("input", ""))[0], clean(item["output"])[0]))
    return tuple(found)


def _refuse(where: str, why: str) -> NoReturn:
    raise UsageError(f"{where}: {why}", _ADVICE)

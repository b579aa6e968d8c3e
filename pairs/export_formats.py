"""The shapes of exported files. A format is an entry of `FORMATS`: how a file begins, how a pair is written, its end.

Text is UTF-8 with line feeds. JSON is readable (no \\u for ordinary letters), but what some readers
take for a line's end or a terminal for a command is escaped.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

DEFUSED = "apostrophes_before_formulas"
"""The column that tells our import to take them away."""
PERSON = "9f1d0c52-7c2e-5a4e-8f0a-70a1751f3a11"
"""Whose answers the verdicts and edits of persons are in Argilla's records, which ask for a UUID."""
_NOT_IN_NAMES = re.compile("[^a-z0-9_-]+")
_FORMULA = re.compile('[\\s"\ufeff\u200b]*[=+\\-@\t\r\uff1d\uff0b\uff0d\uff20]')
_ESCAPED = re.compile("[\u007f-\u009f\u2028\u2029\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class ExportPair:
    """A pair as a format sees it. `scores`: judge -> attribute -> value."""

    uid: str
    instruction: str
    input: str
    output: str
    topic: tuple[str, ...]
    verdict: str
    decided_by: str
    rule: str
    model: str
    scores: Mapping[str, Mapping[str, float]]
    pair_id: int = 0
    rejected: str = ""
    """The response that this one is preferred to (only in preference data)."""
    split: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""
    tags: tuple[str, ...] = ()
    note: str = ""
    """Why the verdict is what it is, as its person said; empty where nobody did."""
    replaced: str | None = None
    """The model's response that a person replaced by this one (only in Argilla's records)."""


@dataclass(frozen=True, slots=True)
class TextFormat:
    """A text file: `head`, then each pair's text with `between` between them, then `tail`."""

    name: str
    write: Callable[[ExportPair], str]
    head: str = ""
    between: str = ""
    tail: str = ""
    suffix: str = ".jsonl"


def json_text(value: Any) -> str:
    """One line of JSON that survives every reader: U+2028, U+2029, U+0085, DEL and C1 are escaped,
    and lone surrogates, as which names of files that are not UTF-8 come."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return _ESCAPED.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def alpaca(pair: ExportPair) -> dict[str, Any]:
    """The three fields of Stanford Alpaca; `input` is always there."""
    return {"instruction": pair.instruction, "input": pair.input, "output": pair.output}


def own(pair: ExportPair) -> dict[str, Any]:
    """Alpaca's fields first, then what Pairsmith knows besides; every row has every field."""
    return {
        **alpaca(pair),
        "id": pair.uid,
        "topic": list(pair.topic),
        "verdict": pair.verdict,
        "decided_by": pair.decided_by,
        "rule": pair.rule,
        "reason": pair.reason,
        "tags": list(pair.tags),
        "note": pair.note,
        "model": pair.model,
        "scores": {judge: dict(sorted(given.items())) for judge, given in sorted(pair.scores.items())},
    }


def asked(pair: ExportPair) -> str:
    """Instruction and input as one user's turn."""
    return f"{pair.instruction}\n\n{pair.input}" if pair.input else pair.instruction


def messages(pair: ExportPair) -> dict[str, Any]:
    """OpenAI's chat layout, which TRL, Axolotl, LLaMA-Factory and torchtune read."""
    return {
        "messages": [{"role": "user", "content": asked(pair)}, {"role": "assistant", "content": pair.output}]
    }


def sharegpt(pair: ExportPair) -> dict[str, Any]:
    """ShareGPT's layout."""
    return {"conversations": [{"from": "human", "value": asked(pair)}, {"from": "gpt", "value": pair.output}]}


def prompt_completion(pair: ExportPair) -> dict[str, Any]:
    """TRL's conversational prompt and completion: loss on the completion only."""
    return {
        "prompt": [{"role": "user", "content": asked(pair)}],
        "completion": [{"role": "assistant", "content": pair.output}],
    }


def dpo(pair: ExportPair) -> dict[str, Any]:
    """TRL's conversational preferences: what is preferred, and to what."""
    return {
        "prompt": [{"role": "user", "content": asked(pair)}],
        "chosen": [{"role": "assistant", "content": pair.output}],
        "rejected": [{"role": "assistant", "content": pair.rejected}],
    }


def argilla(pair: ExportPair) -> dict[str, Any]:
    """A record as Argilla's `Record.from_dict` takes it: the response as a suggestion, a person's verdict and text as
    a person's answers, scores as suggested ratings, and in the metadata what Argilla has no place for."""
    edited = pair.replaced is not None
    decided = pair.decided_by == "human"
    answers: dict[str, str] = {}
    if decided:
        answers["verdict"] = pair.verdict
    if decided or edited:
        answers["output"] = pair.output
    status = {"accepted": "submitted", "rejected": "discarded"}.get(pair.verdict if decided else "", "draft")
    suggestions = {"output": _suggestion(pair.replaced if edited else pair.output, pair.model or None)}
    if pair.decided_by == "rule":
        suggestions["verdict"] = _suggestion(pair.verdict, pair.rule or None)
    for judge, given in sorted(pair.scores.items()):
        for name, value in sorted(given.items()):
            question = _NOT_IN_NAMES.sub("-", name.lower()).strip("-_")
            # Argilla's ratings are whole numbers; the exact ones are in the metadata.
            if question and 0 <= value <= 10:
                suggestions.setdefault(question, _suggestion(round(value), judge))
    told = {name: item for name, item in own(pair).items() if name not in ("instruction", "input", "output")}
    return {
        "id": pair.uid,
        "fields": {"instruction": pair.instruction, "input": pair.input},
        "metadata": {"topic": " › ".join(pair.topic), "model": pair.model, "pairsmith": json_text(told)},
        "suggestions": suggestions,
        "responses": {
            question: [{"value": answer, "user_id": PERSON, "status": status}]
            for question, answer in answers.items()
        },
        "vectors": {},
        "status": "completed" if status == "submitted" else "pending",
        "_server_id": None,
    }


def _suggestion(value: Any, agent: str | None) -> dict[str, Any]:
    return {"value": value, "score": None, "agent": agent}


def csv_row(pair: ExportPair) -> str:
    """RFC 4180, every field quoted, every text as it is."""
    return _csv([pair.instruction, pair.input, pair.output])


def is_formula(text: str) -> bool:
    """Whether a spreadsheet may compute this cell instead of showing it."""
    return _FORMULA.match(text) is not None


def spreadsheet_row(pair: ExportPair) -> str:
    """The same with an apostrophe before what a spreadsheet would compute; the last column says so to our import."""
    return _csv([*map(_defused, (pair.instruction, pair.input, pair.output)), "1"])


def _defused(text: str) -> str:
    # A text that looks defused already gets one more, so that taking one away is always right.
    return f"'{text}" if is_formula(text.lstrip("'")) else text


def undefused(text: str) -> str:
    """The text of a cell that `spreadsheet_row` wrote."""
    return text[1:] if text.startswith("'") and is_formula(text.lstrip("'")) else text


def _csv(fields: list[str]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, quoting=csv.QUOTE_ALL, lineterminator="\r\n").writerow(fields)
    return buffer.getvalue()


def _lines(name: str, shape: Callable[[ExportPair], dict[str, Any]]) -> TextFormat:
    return TextFormat(name, lambda pair: json_text(shape(pair)) + "\n")


@dataclass(frozen=True, slots=True)
class TableFormat:
    """One binary file of columns."""

    name: str
    suffix: str


@dataclass(frozen=True, slots=True)
class FolderFormat:
    """A folder of files."""

    name: str
    suffix: str = ""


FORMATS: dict[str, TextFormat | TableFormat | FolderFormat] = {
    "jsonl": _lines("jsonl", own),
    "alpaca": TextFormat(
        "alpaca",
        lambda pair: json_text(alpaca(pair)),
        head="[\n",
        between=",\n",
        tail="\n]\n",
        suffix=".json",
    ),
    "messages": _lines("messages", messages),
    "sharegpt": _lines("sharegpt", sharegpt),
    "prompt-completion": _lines("prompt-completion", prompt_completion),
    "dpo": _lines("dpo", dpo),
    "csv": TextFormat("csv", csv_row, head=_csv(["instruction", "input", "output"]), suffix=".csv"),
    "argilla": TextFormat(
        "argilla",
        lambda pair: json_text(argilla(pair)),
        head="[\n",
        between=",\n",
        tail="\n]\n",
        suffix=".json",
    ),
    "parquet": TableFormat("parquet", ".parquet"),
    "hf": FolderFormat("hf"),
}
HUB = FolderFormat("hub")
"""What `push` uploads: a Parquet file for each split, card and manifest. Not offered as a format of files."""
SPREADSHEET = TextFormat(
    "csv",
    spreadsheet_row,
    head="\ufeff" + _csv(["instruction", "input", "output", DEFUSED]),
    suffix=".csv",
)
"""CSV that a spreadsheet opens without computing any of it; the mark at its beginning tells it that this is UTF-8."""

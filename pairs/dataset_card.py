"""The dataset card of an export: YAML that the Hub and `datasets` read, and the true numbers in plain words.

Every number is counted from the rows that were written, or read from the workspace's books; nothing is estimated.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pairsmith.backends.text import visible

from .export_formats import json_text
from .export_notes import Spread
from .ledger import read_ledger
from .manifest import SealedFile
from .store.driver import sqlite3
from .store.meta import get_meta

_SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
)
_VERDICT_SAID = {
    "not-rejected": "all pairs that are not rejected",
    "accepted": "accepted pairs only",
    "any": "all pairs, rejected ones too",
}
_MOST_TOPICS = 200
_LIMITS = """\
- Texts marked with a model were written by that model. They can be wrong, and carry its biases.
- A score is a judge's opinion of one response, not a measurement of its truth.
- An *undecided* pair was read by no human and decided by no rule.
- Near-duplicates are searched among instructions as they were made; edited and imported texts may be alike.
"""


@dataclass(frozen=True, slots=True)
class CardFacts:
    """What was written. `scores`: by (judge, attribute); `models`: rows by model."""

    name: str
    format: str
    verdict: str
    where: str | None
    balanced: bool
    pairs: int
    verdicts: Mapping[str, int]
    topics: Mapping[tuple[str, ...], int]
    splits: Mapping[str, int]
    files: Sequence[SealedFile]
    scores: Mapping[tuple[str, str], Spread]
    models: Mapping[str, int]
    licence: str = ""
    """Its identifier on the Hub; empty: not stated."""


def write_card(conn: sqlite3.Connection, facts: CardFacts) -> str:
    """The card as Markdown with YAML front matter; the same for the same workspace and export."""
    title = " ".join((get_meta(conn, "domain") or facts.name).split())[:200]
    parts = [
        _front_matter(facts, title, get_meta(conn, "language") or "en"),
        f"# {_plain(title)}\n\nMade with Pairsmith: {facts.pairs:,} rows, {_VERDICT_SAID[facts.verdict]}"
        + (f", of which `{_code(facts.where)}` is true" if facts.where else "")
        + (", equally many of every topic" if facts.balanced else "")
        + ".\n",
        _table("Verdicts", ("verdict", "rows"), facts.verdicts.items()),
        _table("Splits", ("split", "rows"), facts.splits.items()) if facts.splits else "",
        _topics(facts),
        _table(
            "Written by",
            ("model", "rows"),
            ((name or "imported, or by a person", rows) for name, rows in sorted(facts.models.items())),
        ),
        _scores(facts),
        _ledgers(conn),
        f"## Licence\n\n{f'`{facts.licence}`' if facts.licence else 'Not stated'}. "
        "The texts come from the sources above; their terms apply to them.\n",
        f"## Known limits\n\n{_LIMITS}",
        _files(facts),
    ]
    return "\n".join(part for part in parts if part)


def _front_matter(facts: CardFacts, title: str, language: str) -> str:
    size = next((name for limit, name in _SIZES if facts.pairs < limit), "10M<n<100M")
    code = {"english": "en", "chinese": "zh"}.get(language.lower(), language)
    lines = ["---"]
    if code.isascii() and code.isalpha() and 2 <= len(code) <= 3:
        lines.append(f"language:\n- {json.dumps(code)}")
    lines += [
        f"license: {json_text(facts.licence or 'unknown')}",
        f"pretty_name: {json_text(title)}",
        "task_categories:\n- text-generation",
        f"size_categories:\n- {size}",
        "tags:\n- instruction-tuning\n- pairsmith",
    ]
    if any(facts.models):
        lines.append("- synthetic")
    lines.append("configs:\n- config_name: default\n  data_files:")
    splits = facts.splits or {"train": facts.pairs}
    for split in splits:
        place = f"{split}/*.arrow" if facts.splits else facts.name
        if facts.format == "hub":
            place = f"data/{split}-*.parquet"
        lines.append(f"  - split: {split}\n    path: {json_text(place)}")
    return "\n".join([*lines, "---", ""])


def _topics(facts: CardFacts) -> str:
    shown = list(facts.topics.items())[:_MOST_TOPICS]
    rows = [(" › ".join(path) or "no topic", count) for path, count in shown]
    if left := len(facts.topics) - len(shown):
        rows.append((f"{left:,} more topics", sum(list(facts.topics.values())[_MOST_TOPICS:])))
    return _table("Topics", ("topic", "rows"), rows)


def _scores(facts: CardFacts) -> str:
    if not facts.scores:
        return "## Scores\n\nNo row has a score.\n"
    text = "## Scores\n\n| judge | attribute | n | mean (95 % interval) | how many at each whole score |\n"
    text += "|---|---|---:|---|---|\n"
    for (judge, attribute), spread in sorted(facts.scores.items()):
        shown = ", ".join(f"{score}: {rows:,}" for score, rows in sorted(spread.whole.items())[:30])
        text += f"| {_plain(judge)} | {_plain(attribute)} | {spread.n:,} | {spread.said()} | {shown} |\n"
    return text + "\nRows without a score are in none of these.\n"


def _ledgers(conn: sqlite3.Connection) -> str:
    text = ""
    for run_id, uid, state in conn.execute(
        "SELECT id, uid, state FROM run WHERE kind = 'generate' ORDER BY id"
    ).fetchall():
        ledger = read_ledger(conn, run_id)
        losses = (
            ", ".join(f"{_plain(name)} {count:,}" for name, count in sorted(ledger.losses.items())) or "none"
        )
        failed = sum(ledger.calls.failed.values())
        text += (
            f"- Run `{uid}` ({state}): asked {ledger.asked:,}, kept {ledger.kept:,}, missing {ledger.missing:,}; "
            f"{ledger.candidates:,} candidates, {ledger.in_progress:,} in progress, losses: {losses}; "
            f"{ledger.calls.made:,} calls, {ledger.calls.useful:,} useful, {failed:,} failed\n"
        )
    return f"## Ledger of the whole workspace\n\n{text}" if text else ""


def _files(facts: CardFacts) -> str:
    rows = [(file.name, f"{file.bytes:,} bytes, SHA-256 `{file.sha256}`") for file in facts.files]
    return _table("Files", ("file", ""), rows) + "\n`pairsmith verify` names every row that was changed.\n"


def _table(title: str, head: tuple[str, str], rows: Iterable[tuple[str, object]]) -> str:
    lines = [f"## {title}", "", f"| {head[0]} | {head[1]} |", "|---|---:|"]
    for name, value in rows:
        shown = f"{value:,}" if isinstance(value, int) else str(value)
        lines.append(f"| {_plain(name)} | {shown} |")
    return "\n".join([*lines, ""])


def _plain(text: str) -> str:
    """Text of somebody else in Markdown: shown, never obeyed."""
    shown = visible(" ".join(text.split()), 300)
    return "".join(f"\\{char}" if char in "\\`*_[]<>#|!&~" else char for char in shown)


def _code(text: str) -> str:
    return visible(" ".join(text.split()), 500).replace("`", "'")

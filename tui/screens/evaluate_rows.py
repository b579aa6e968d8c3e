"""An evaluation as lines: the numbers with their intervals, then the answers, the worst first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pairsmith.pairs.store.driver import sqlite3
from pairsmith.pairs.training_events import Evaluating

from ..text import fill, line
from ..widgets.line import Piece
from ..widgets.lines import Row
from ..widgets.pick_list import Entry
from .form_rows import tail

if TYPE_CHECKING:
    from pairsmith.pairs.events import Event
    from pairsmith.pairs.store.runs import Run

SHOWN = 300


@dataclass(slots=True)
class EvaluateWatch:
    """The evaluation of this start of the application."""

    train_run: int
    last: Evaluating | None = None
    name: str = "Evaluate"
    place: str = "evaluate"
    pausing: str = "it stops before the next answer that a judge is asked for"
    stopping: str = "what was measured and judged is kept"

    @property
    def progress(self) -> tuple[int | None, int | None]:
        """Of the present part."""
        return (None, None) if self.last is None else (self.last.done, self.last.total)

    @property
    def minutes_left(self) -> float | None:
        """Nobody knows: parts differ too much."""
        return None

    def take(self, event: Event) -> None:
        """Remember it."""
        if isinstance(event, Evaluating):
            self.last = event


@dataclass(frozen=True, slots=True)
class Item:
    """A test pair with what was answered. `score`: what it is ordered by."""

    pair_id: int
    instruction: str
    wanted: str
    tuned: str
    base: str | None
    score: float | None
    base_score: float | None


def read_items(conn: sqlite3.Connection, run: Run) -> list[Item]:
    """The answers of an evaluation run, the worst of the tuned model first: by its judge, else by ROUGE-L."""
    from pairsmith.pairs.store.held_out import answer_judgements_of, answers_of
    from pairsmith.pairs.store.pair_rows import get_pairs

    tuned, base = (answers_of(conn, run.id, subject) for subject in ("tuned", "base"))
    judged: list[dict[int, float | None]] = [
        {one.pair_id: one.value for one in answer_judgements_of(conn, run.id, subject)}
        for subject in ("tuned", "base")
    ]
    if not judged[0]:
        judged = [
            {pair: one.measures.get("rougeL") for pair, one in answers.items()} for answers in (tuned, base)
        ]
    found = [
        Item(
            pair.id, pair.instruction, pair.output, tuned[pair.id].text,
            base[pair.id].text if pair.id in base else None, judged[0].get(pair.id), judged[1].get(pair.id),
        )
        for pair in get_pairs(conn, list(tuned))
    ]  # fmt: skip
    return sorted(found, key=lambda item: (item.score is None, item.score or 0.0))[:SHOWN]


def item_entries(items: Sequence[Item], width: int) -> list[Entry]:
    """Each with what was wanted and what was answered."""
    found = []
    room = width - 24
    for item in items:
        rows: list[Row] = [(Piece(f"“{line(item.instruction, width - 8)}”", "strong"),)]
        rows.append((Piece(fill("  wanted", 18), "quiet"), Piece(line(item.wanted, room))))
        rows.append(
            (Piece(fill(f"  tuned {_score(item.score)}", 18), "quiet"), Piece(line(item.tuned, room)))
        )
        if item.base is not None:
            head = fill(f"  base  {_score(item.base_score)}", 18)
            rows.append((Piece(head, "quiet"), Piece(line(item.base, room))))
        found.append(Entry(str(item.pair_id), tuple(rows)))
    return found


def _score(value: float | None) -> str:
    return "" if value is None else f"{value:6.2f}"


def number_rows(result: Mapping[str, Any], width: int) -> list[Row]:
    """The numbers: base, tuned, the difference with its interval, p and n."""
    subjects = result.get("subjects") or {}
    reports = [subjects.get(name) or {} for name in ("base", "tuned")]
    paired = (result.get("paired") or {}).get("base") or {}
    heading = f"{int(result.get('n') or 0):,} {'test pairs' if width >= 96 else 'tested'}"
    rows = [_cells((heading, "base", "tuned", "difference", "p", "n"), width, "strong")]
    judge = result.get("judge")
    if judge:
        known = [judge["subjects"].get(name) or {} for name in ("base", "tuned")]
        rows.append(_measure("judge 0–100", known, "mean", (judge.get("paired") or {}).get("base"), width))
    metrics = [report.get("metrics") or {} for report in reports]
    rows.append(
        _measure(
            "ROUGE-L", [found.get("rougeL") or {} for found in metrics], "value", paired.get("rougeL"), width
        )
    )
    # Of a corpus there is one BLEU, of which no paired difference is taken: that is of the BLEU of every answer.
    rows.append(_measure("BLEU, all", [found.get("bleu") or {} for found in metrics], "value", None, width))
    each = paired.get("bleu") or {}
    if each:
        rows.append(
            _measure("BLEU, each", [each.get("other") or {}, each.get("tuned") or {}], "mean", each, width)
        )
    shown = [number_said((report.get("perplexity") or {}).get("response")) for report in reports]
    rows.append(_cells(("perplexity", *shown, "", "", ""), width))
    # A perplexity is of all tokens together: interval and pairs are those of the log-likelihood of every response.
    each = paired.get("nll") or {}
    if each:
        rows.append(
            _measure("loss, each", [each.get("other") or {}, each.get("tuned") or {}], "mean", each, width)
        )
    return rows + _words(result, width)


def _measure(
    label: str, found: Sequence[Mapping[str, Any]], key: str, paired: Mapping[str, Any] | None, width: int
) -> Row:
    difference = (paired or {}).get("difference") or {}
    cells = [interval_said(one.get(key), one) for one in found]
    n = difference.get("n") or found[1].get("n")
    return _cells(
        (
            label,
            *cells,
            interval_said(difference.get("mean"), difference, signed=True),
            p_said((paired or {}).get("p")),
            str(n or ""),
        ),
        width,
    )


def _words(result: Mapping[str, Any], width: int) -> list[Row]:
    rows: list[Row] = []
    for name, found in ((result.get("judge") or {}).get("subjects") or {}).items():
        if found.get("failed"):
            text = f"the judge failed {found['failed']:,} of {found['n']:,} times on {name} (counted, not averaged)"
            end = "  y retries"
            rows.append((Piece(f" {line(text, width - 2 - len(end))}", "bad"), Piece(end, "accent")))
    pairwise = result.get("pairwise")
    if pairwise:
        text = (
            f"against {pairwise['against']}: {pairwise['wins']:,} wins, {pairwise['ties']:,} ties,"
            f" {pairwise['losses']:,} losses, {pairwise['failed']:,} failed, {p_said(pairwise.get('p'))}"
        )
        end = "  y retries" if pairwise["failed"] else ""
        rows.append((Piece(f" {line(text, width - 2 - len(end))}"), Piece(end, "accent")))
    from pathlib import Path

    files = [str(name) for name in result.get("files") or () if str(name).endswith(".md")]
    rows += [(Piece(" report  ", "quiet"), Piece(tail(Path(name), width - 12))) for name in files[:1]]
    return rows


def _cells(cells: Sequence[str], width: int, style: str = "") -> Row:
    widths = (21, 18, 18, 22, 9, 6) if width >= 96 else (12, 17, 17, 21, 8, 4)
    pieces = [Piece(" " + fill(cells[0], widths[0]), style or "quiet")]
    return (
        *pieces,
        *(Piece(fill(cell, size), style) for cell, size in zip(cells[1:], widths[1:], strict=True)),
    )


def interval_said(value: Any, found: Mapping[str, Any], *, signed: bool = False) -> str:
    """A value with its interval; `signed`: a plus before what is above zero."""
    if value is None:
        return "–"
    said = ("+" if signed and float(value) > 0 else "") + number_said(value)
    if found.get("low") is None or found.get("high") is None:
        return said
    return f"{said} ({number_said(found['low'])}–{number_said(found['high'])})"


def number_said(value: Any) -> str:
    """A number with as many digits as mean something; a dash where there is none."""
    if value is None:
        return "–"
    number = float(value)
    said = f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.{1 if abs(number) >= 10 else 2}f}"
    return said.replace("-", "−")


def p_said(value: Any) -> str:
    """A p; empty where there is none."""
    return "" if value is None else "p<0.001" if float(value) < 0.001 else f"p={float(value):.3f}"

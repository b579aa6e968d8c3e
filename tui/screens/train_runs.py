"""Past training runs as a table, so that they can be compared: how each was trained, and where its losses ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..places import place_named
from ..text import cut, fill, line
from ..widgets.bars import WIDE
from ..widgets.line import Piece
from ..widgets.pick_list import Entry
from .train_watch import loss_said

if TYPE_CHECKING:
    from pairsmith.pairs.store.runs import Run

MARKS = {"done": "✓", "failed": "✗", "running": "▶", "paused": "Ⅱ", "unfinished": "!"}


@dataclass(frozen=True, slots=True)
class Past:
    """A run with what it left."""

    run: Run
    result: Mapping[str, Any]
    running: bool = False


def run_entries(runs: Sequence[Past], width: int) -> list[Entry]:
    """A heading, and a line for each run, the newest first; the least validation loss is marked."""
    wide = width >= WIDE
    ends = [_end(past) for past in runs]
    known = [loss for loss in ends if loss is not None]
    least = min(known, default=None)
    heading = _cells(_HEADING, wide)
    entries = [Entry("heading", ((Piece("  " + heading, "quiet"),),), pickable=False)]
    for past, end in zip(runs, ends, strict=True):
        text = _cells(_row(past, end, best=end is not None and end == least and len(known) > 1), wide)
        entries.append(Entry(str(past.run.id), ((Piece(cut(text, width - 4)),),)))
    return entries


_WIDTHS = (5, 13, 18, 7, 6, 9, 12, 9, 9)
_HEADING = ("run", "state", "base", "epochs", "batch", "rate", "steps", "train", "valid.", "pairs", "style",
            "tokens/s", "minutes", "started")  # fmt: skip
_WIDE_WIDTHS = (8, 8, 10, 9, 17)


def _cells(cells: Sequence[str], wide: bool) -> str:
    """Text on the left of its column, numbers on the right."""
    widths = (*_WIDTHS, *_WIDE_WIDTHS) if wide else _NARROW
    found = []
    for number, (cell, width) in enumerate(zip(cells, widths, strict=False)):
        text = line(cell, width - 1)
        found.append(fill(text, width) if number < 3 or number in (10, 13) else f"{text:>{width - 1}} ")
    return "".join(found).rstrip()


_NARROW = (4, 13, 15, 7, 6, 8, 8, 7, 8)


def _row(past: Past, end: float | None, *, best: bool) -> tuple[str, ...]:
    run, result = past.run, past.result
    config = run.settings.get("config") or {}
    state = run.state if run.state != "running" or past.running else "unfinished"
    examples = result.get("examples") or {}
    style = str(config.get("prompt_style") or "alpaca")
    return (
        str(run.id),
        f"{MARKS[state]} {state}",
        str(run.settings.get("base") or "").rsplit("/", 1)[-1],
        str(config.get("epochs") or 2),
        str(config.get("batch_size") or 8),
        f"{float(config.get('learning_rate') or 5e-5):.0e}",
        f"{int(result.get('step') or 0):,}",
        loss_said(_train_end(result)),
        loss_said(end) + ("*" if best else ""),
        f"{sum(int(count) for count in examples.values()):,}" if examples else "–",
        f" {style}",
        f"{float(result['tokens_per_s']):,.0f}" if result.get("tokens_per_s") else "–",
        f"{float(result['minutes']):.2f}" if result.get("minutes") is not None else "–",
        f" {run.started_at[:16].replace('T', ' ')}",
    )


def _train_end(result: Mapping[str, Any]) -> float | None:
    if result.get("train_loss") is not None:
        return float(result["train_loss"])
    losses = [point[1] for point in result.get("losses") or () if point[1] is not None]
    return float(losses[-1]) if losses else None


def _end(past: Past) -> float | None:
    if past.result.get("validation_loss") is not None:
        return float(past.result["validation_loss"])
    found = [point[3] for point in past.result.get("validations") or () if point[3] is not None]
    return float(found[-1]) if found else None


def ended_said(state: str, reason: str) -> tuple[str, bool | None]:
    """How a run that is over is told, and what to press."""
    if state == "done":
        next_one = " · 7 measures it" if place_named("evaluate") else ""
        return "✓ done" + (f": {reason}" if reason else "") + next_one, True
    if state == "paused":
        return "Ⅱ stopped by you · o goes on with the same curve", None
    why = f": {reason}" if reason else ""
    if state == "failed":
        return f"✗ failed{why}", False
    return f"! not done{why} · o goes on from what was saved last", False

"""A blind question as lines: what was asked, and the answers, of which nothing says whose they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pairsmith.pairs.blind import Sheet

from ..text import fill, line, wrap
from ..widgets.bars import WIDE
from ..widgets.line import Piece
from ..widgets.lines import Row
from ..widgets.meters import bar
from .evaluate_rows import interval_said, number_said, p_said


class Question(NamedTuple):
    """All that may be seen before the rating."""

    instruction: str
    input: str
    wanted: str | None
    """The answer that the pair itself holds, where the rater asked to see it."""
    answers: tuple[str, ...]


class Drawn(NamedTuple):
    """Lines, and how far they can be scrolled."""

    rows: list[Row]
    most: int


def question_rows(question: Question, width: int, height: int, top: int) -> Drawn:
    """The question above; one answer below it, or two: side by side from 100 columns on, else one above the other."""
    if width < 12 or height < 6:
        return Drawn([], 0)
    asked: list[Row] = [
        (Piece(" ▎", "accent"), Piece(part, "strong")) for part in wrap(question.instruction, width - 4)
    ]
    # What was asked to be seen stands before what is there always, lest it fall below the lines that there is room for.
    for label, text in (("a correct answer", question.wanted or ""), ("input", question.input)):
        if text:
            asked += [(), (Piece(f"  {label}", "quiet"),)]
            asked += [(Piece(f"  {part}"),) for part in wrap(text, width - 4)]
    share = 3 if len(question.answers) > 1 and question.wanted is None else 2
    space = max(2, min(len(asked), height // share))
    head, most = _pane(asked, width, space, top)
    rows = [*head, ()]
    room = height - len(rows)
    if len(question.answers) == 1:
        body, deep = _pane(_answer(question.answers[0], width), width, room, top)
        return Drawn(rows + body, max(most, deep))
    drawn = _beside if width >= WIDE else _stacked
    below, deep = drawn(question.answers, width, room, top)
    return Drawn(rows + below, max(most, deep))


def _answer(text: str, width: int) -> list[Row]:
    if not text.strip():
        return [(Piece("  (the answer is empty)", "quiet"),)]
    return [(Piece(f"  {part}"),) for part in wrap(text, width - 4)]


def _pane(rows: Sequence[Row], width: int, room: int, top: int) -> tuple[list[Row], int]:
    """As many lines as there is room for, from `top` on; the last one says how many follow."""
    most = max(0, len(rows) - room)
    top = min(top, most)
    seen = list(rows[top : top + room])
    below = len(rows) - top - room
    if below > 0 and seen:
        seen[-1] = (Piece(fill(f"  ▾ {below + 1:,} more lines", max(4, width)), "quiet"),)
    return seen, most


def _stacked(answers: Sequence[str], width: int, room: int, top: int) -> tuple[list[Row], int]:
    left, right = (_answer(text, width) for text in answers)
    free = max(2, room - 3)
    half = free // 2
    first = max(min(len(left), half), min(len(left), free - len(right)))
    above, most = _pane(left, width, max(1, first), top)
    below, deep = _pane(right, width, max(1, free - first), top)
    return [_heading("← left", width), *above, (), _heading("→ right", width), *below], max(most, deep)


def _beside(answers: Sequence[str], width: int, room: int, top: int) -> tuple[list[Row], int]:
    half = (width - 3) // 2
    panes, most = [], 0
    for text in answers:
        pane, deep = _pane(_answer(text, half), half, max(1, room - 1), top)
        panes.append([*pane, *[()] * (max(1, room - 1) - len(pane))])
        most = max(most, deep)
    rows: list[Row] = [(*_heading("← left", half), Piece(" │ ", "quiet"), *_heading("→ right", half))]
    rows += [(*_cells(one, half), Piece(" │ ", "quiet"), *other) for one, other in zip(*panes, strict=True)]
    return rows, most


def _heading(text: str, width: int) -> Row:
    return (Piece(fill(f" {text} ", min(width, 12)), "accent"), Piece("─" * max(0, width - 12), "quiet"))


def _cells(row: Row, width: int) -> Row:
    """A row of exactly so many cells."""
    text = "".join(piece.text for piece in row)
    return (Piece(fill(text, width), row[0].style if row else ""),)


def progress_row(sheet: Sheet, width: int) -> Row:
    """How far the rater is."""
    total, done = len(sheet.items), sheet.done
    ties = f" · {sheet.ties:,} tie{'' if sheet.ties == 1 else 's'}" if sheet.kind == "compare" else ""
    same = f" · {sheet.same:,} answered alike, not asked" if sheet.same and width >= WIDE else ""
    said = f" {min(done + 1, total):,} of {total:,}  "
    counts = f"rated {done - sheet.skipped:,}{ties} · {sheet.skipped:,} skipped{same}"
    meter = bar(done, total, max(8, min(40, width - len(said) - len(counts) - 3)))
    return (Piece(said, "strong"), Piece(meter, "accent"), Piece(f"  {line(counts, width)}", "quiet"))


def result_rows(human: Mapping[str, Any], width: int) -> list[Row]:
    """What all ratings of a run come to, by rater and together."""
    rows: list[Row] = []
    for found in human.get("compare", ()):
        heading = f"{found['subject']} against {found['against']}"
        rows += [(Piece(f" {line(heading, width - 2)}", "strong"),), _table(_COMPARE, width, "quiet")]
        rows += [
            _table(
                (
                    name, str(one["wins"]), str(one["ties"]), str(one["losses"]), str(one["skipped"]),
                    interval_said(one["win_rate"]["mean"], one["win_rate"]), p_said(one["p"]),
                    str(one["win_rate"]["n"]),
                ),
                width,
            )
            for name, one in _raters(found)
        ]  # fmt: skip
        alike = f"{found['items']:,} test pairs, {found['same']:,} answered alike and not asked; a tie is half a win"
        rows += [(Piece(f"  {line(alike, width - 3)}", "quiet"),), ()]
    for found in human.get("scale", ()):
        rows += [
            (Piece(f" 1 to 5: {line(found['subject'], width - 12)}", "strong"),),
            _table(_SCALE, width, "quiet"),
        ]
        rows += [
            _table((name, interval_said(one["mean"], one), str(one["n"]), str(one["skipped"])), width)
            for name, one in _raters(found)
        ]
        rows.append(())
    for found in human.get("paired", ()):
        difference = found["difference"]
        text = (
            f"{found['subject']} less {found['against']}: "
            f"{interval_said(difference['mean'], difference)}, {p_said(found['p'])}, n {difference['n']:,}"
        )
        rows.append((Piece(f" {line(text, width - 2)}"),))
    return rows


_COMPARE = ("rater", "wins", "ties", "losses", "skipped", "win rate", "p", "n")
_SCALE = ("rater", "mean", "n", "skipped")
_WIDTHS = (20, 6, 6, 8, 9, 19, 9, 5)
_SCALE_WIDTHS = (20, 20, 6, 9)


def _raters(found: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    raters = list(found["raters"].items())
    return raters + ([("all, by pair", found["together"])] if len(raters) > 1 else [])


def _table(cells: Sequence[str], width: int, style: str = "") -> Row:
    widths = _WIDTHS if len(cells) == len(_WIDTHS) else _SCALE_WIDTHS
    shown = "".join(fill(line(cell, size - 1), size) for cell, size in zip(cells, widths, strict=True))
    return (Piece(f"  {line(shown.rstrip(), width) if width < 40 else shown}", style),)


def human_rows(human: Mapping[str, Any], width: int) -> list[Row]:
    """The same in a line or two, for beside the measured numbers."""
    rows: list[Row] = []
    for found in human.get("compare", ()):
        one, rate = found["together"], found["together"]["win_rate"]
        text = (
            f"by hand, blind: {found['subject']} against {found['against']}: {one['wins']:,} better,"
            f" {one['ties']:,} ties, {one['losses']:,} worse, {one['skipped']:,} skipped:"
            f" {interval_said(rate['mean'], rate)} {p_said(one['p'])}"
        )
        rows += [(Piece(f" {part}"),) for part in wrap(text, width - 2)[:2]]
    if "scale" in human:
        parts = [
            f"{found['subject']} {interval_said(found['together']['mean'], found['together'])}"
            for found in human["scale"]
        ]
        differences = [
            f"{number_said(one['difference']['mean'])} {p_said(one['p'])}" for one in human.get("paired", ())
        ]
        text = f"by hand, 1–5: {' · '.join(parts)}" + (
            f" · difference {', '.join(differences)}" if differences else ""
        )
        rows += [(Piece(f" {part}"),) for part in wrap(text, width - 2)[:2]]
    return rows

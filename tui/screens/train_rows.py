"""One training run as lines: where it stands, its curve with figures beside it, and what the model answers."""

from __future__ import annotations

from collections.abc import Sequence

from pairsmith.pairs.training_events import TrainingSample

from ..text import fill, line
from ..widgets.bars import WIDE
from ..widgets.curve import curve_rows
from ..widgets.line import Piece
from ..widgets.lines import Row
from ..widgets.meters import bar
from .train_watch import RunView

SPACE: Row = ()
FIGURES = 34
STYLES = {True: "good", False: "bad", None: "accent"}


def train_rows(view: RunView, width: int, height: int, left: str = "") -> list[Row]:
    """Exactly what fits. `left`: how long it takes yet, such as "3 s"."""
    device = line(view.device, 30)
    title = line(view.title, width - len(device) - 4)
    rows: list[Row] = [
        (Piece(f" {fill(title, width - len(device) - 3)} ", "strong"), Piece(device, "quiet")),
        _progress(view, width, left),
        (Piece(f" {line(view.status, width - 2)}", STYLES[view.good]),),
    ]
    rows += [(Piece(f" {line(text, width - 2)}", "quiet"),) for text in view.told[-2:]]
    samples = sample_rows(view.curves.samples, width, 3 if height < 20 else 5)
    figures = view.figures
    if width < WIDE:
        rows += _figure_lines(figures, width)
        figures = ()
    room = max(0, height - len(rows) - len(samples) - 2)
    rows += [SPACE, *_beside(view, figures, width, room), SPACE]
    return (rows + samples)[:height]


def _progress(view: RunView, width: int, left: str) -> Row:
    parts = [view.progress]
    after = f"   {left} left" if left else ""
    head = f" {line(view.progress, max(20, width - 40))}   "
    room = width - len(head) - len(after) - 1
    if not view.steps or room < 10:
        return (Piece(f" {line(' '.join(parts) + after, width - 2)}"),)
    return (Piece(head), Piece(bar(view.done, 1.0, room), "accent"), Piece(after))


def _figure_lines(figures: Sequence[tuple[str, str]], width: int) -> list[Row]:
    rows: list[list[Piece]] = [[]]
    used = 0
    for name, value in figures:
        size = len(name) + len(value) + 4
        if used + size > width and rows[-1]:
            rows.append([])
            used = 0
        rows[-1] += [Piece(f" {name} ", "quiet"), Piece(f"{value}  ")]
        used += size
    return [tuple(row) for row in rows[:2] if row]


def _beside(view: RunView, figures: Sequence[tuple[str, str]], width: int, height: int) -> list[Row]:
    beside = FIGURES if figures else 0
    curve = curve_rows(
        view.curves.losses, view.curves.validations, width - beside - 1, height, view.steps, "loss"
    )
    if not figures:
        return curve
    rows: list[Row] = []
    for number, row in enumerate(curve):
        shown = sum(len(piece.text) for piece in row)
        gap = Piece(" " * max(1, width - beside - shown))
        if number < len(figures):
            name, value = figures[number]
            rows.append((*row, gap, Piece(fill(name, 13), "quiet"), Piece(line(value, beside - 14))))
        else:
            rows.append(row)
    return rows


def sample_rows(samples: Sequence[TrainingSample], width: int, most: int) -> list[Row]:
    """The newest question, what was wanted, and what the model answered to it on the way, the newest last."""
    if not samples:
        return []
    newest = samples[-1]
    same = [one for one in samples if one.prompt == newest.prompt]
    shown = same[:1] + same[1:][-(most - 2) :] if len(same) > 1 else same
    rows: list[Row] = [
        (Piece(f" “{line(asked_in(newest.prompt), width // 2)}”", "strong"),
         Piece(f"   wanted: {line(newest.expected, max(8, width // 2 - 16))}", "quiet"))
    ]  # fmt: skip
    for one in shown[: most - 1]:
        head = f"   step {one.step:>6,}   "
        rows.append(
            (
                Piece(head, "quiet"),
                Piece(
                    line(one.text, width - len(head) - 1) or "(nothing)", "" if one.text.strip() else "quiet"
                ),
            )
        )
    return rows


def asked_in(prompt: str) -> str:
    """The instruction in a prompt of either style."""
    return prompt.rsplit("### Instruction:\n", 1)[-1].removeprefix("<|user|>\n")

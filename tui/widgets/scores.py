"""Scores as bars: one judge's newest word on a version, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from pairsmith.pairs.store.scores import Judged

from ..text import fill, line
from .line import Piece
from .lines import Row

ORDER = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")
SHORT = {
    "helpfulness": "helpful",
    "correctness": "correct",
    "coherence": "coherent",
    "complexity": "complex",
    "verbosity": "verbose",
}
EIGHTHS = " ▏▎▍▌▋▊▉█"
_TOPS = (1.0, 5.0, 10.0, 100.0)


def bar(value: float, top: float, cells: int) -> str:
    """A bar of at most so many cells for 0..top, in eighths of a cell."""
    eighths = round(max(0.0, min(1.0, value / top)) * cells * 8) if top > 0 else 0
    whole, part = divmod(eighths, 8)
    return "▇" * whole + (EIGHTHS[part] if part else "")


def in_order(attributes: Sequence[str]) -> list[str]:
    """The usual five in their usual order, others after them by name."""
    return sorted(attributes, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))


def chosen_judge(judged: Mapping[str, Judged], present: str | None) -> Judged | None:
    """The present judge's word where it has one, else the newest of anybody's."""
    if present is not None and present in judged:
        return judged[present]
    return max(judged.values(), key=lambda one: one.judgement_id, default=None)


def score_rows(
    judged: Mapping[str, Judged],
    present: str | None,
    width: int,
    *,
    edited: bool,
    now: datetime | None = None,
) -> list[Row]:
    """Lines for a width; never empty."""
    found = chosen_judge(judged, present)
    if found is None:
        why = "not scored: no judge has seen this version" if edited else "not scored"
        return [(Piece(f"  {why}", "quiet"),)]
    said = f"judge: {line(found.judge.rsplit('/', 1)[-1], 24)}, {age(found.at, now)}"
    if found.reason is not None:
        return [
            (
                Piece(
                    f"  judge failed: {line(found.reason, max(10, width - 20 - len(said)))}  {said}", "quiet"
                ),
            )
        ]
    values = [found.scores[name] for name in found.scores]
    top = next((top for top in _TOPS if max(values) <= top), max(values))
    top = 4.0 if set(found.scores) & set(ORDER) and max(values) <= 4.5 else top
    cells = [_cell(name, found.scores[name], top) for name in in_order(list(found.scores))]
    each = 24 if width >= 76 else max(16, (width - 2) // 2)
    columns = max(1, (width - 2) // each)
    rows: list[Row] = []
    for start in range(0, len(cells), columns):
        row: list[Piece] = [Piece("  ")]
        for label, drawn, number in cells[start : start + columns]:
            row += [
                Piece(fill(f"{label} ", 9), "quiet"),
                Piece(fill(drawn, each - 15), "accent"),
                Piece(f"{number:<6}"),
            ]
        rows.append(tuple(row))
    used = (len(cells) % columns) * each + 2
    if len(cells) % columns and used + len(said) <= width:
        rows[-1] = (*rows[-1], Piece(said, "quiet"))
    else:
        rows.append((Piece(f"  {said}", "quiet"),))
    return rows


def _cell(name: str, value: float, top: float) -> tuple[str, str, str]:
    drawn = bar(value, top, 9) if 0 <= value <= top else ""
    return line(SHORT.get(name, name), 8), drawn, f"{value:.1f}"


def age(at: str, now: datetime | None = None) -> str:
    """How long ago an instant of the store was, roughly."""
    try:
        then = datetime.fromisoformat(at)
    except ValueError:
        return line(at, 20)
    seconds = ((now or datetime.now(UTC)) - then).total_seconds()
    for size, name in ((86_400, "day"), (3_600, "hour"), (60, "min")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {name}{'s' if count > 1 and name != 'min' else ''} ago"
    return "just now"

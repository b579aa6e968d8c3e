"""The pair itself, laid out for a width and a height: the loudest thing on the screen."""

from __future__ import annotations

from dataclasses import dataclass

from pairsmith.pairs.store.review_rows import MOST_CHARACTERS, ReviewRow

from ..text import line, wrap
from ..widgets.line import Piece, spread
from ..widgets.lines import Row
from ..widgets.pair_list import MARKS, STYLES
from ..widgets.scores import score_rows

MOST_SCORE_LINES = 5


@dataclass(frozen=True, slots=True)
class NearLine:
    """The nearest other pair."""

    pair_id: int
    score: float
    verdict: str
    instruction: str


@dataclass(frozen=True, slots=True)
class Pane:
    """What is drawn, how far its text can be scrolled, and how many lines of text there are below."""

    rows: list[Row]
    most: int
    below: int


def pair_pane(
    row: ReviewRow,
    topic: tuple[str, ...],
    width: int,
    height: int,
    *,
    top: int = 0,
    judge: str | None = None,
    near: NearLine | None = None,
) -> Pane:
    """A pair with its scores at the bottom; `top` is the first line of its text that is shown."""
    if width < 12 or height < 4:
        return Pane([], 0, 0)
    foot = score_rows(row.judged, judge, width, edited=row.versions > 1)[:MOST_SCORE_LINES]
    foot += _decision(row, width)
    if near is not None:
        foot.append(_near(near, width))
    if height < len(foot) + 8:
        foot = foot[: max(0, height - 8)]
    body = _body(row, width)
    room = height - len(foot) - 2
    most = max(0, len(body) - room)
    top = min(top, most)
    below = len(body) - top - room
    seen = body[top : top + room]
    if below > 0 and seen:
        more = f"▾ {below:,} more line{'s' if below > 1 else ''}"
        seen[-1] = _with_end(seen[-1], more, width)
    seen += [()] * (room - len(seen))
    return Pane([_head(row, topic, width), *seen, (), *foot], most, max(0, below))


def _head(row: ReviewRow, topic: tuple[str, ...], width: int) -> Row:
    maker = row.model.partition(":")[0] or {"imported": "import", "human": "by hand"}.get(
        row.origin, row.origin
    )
    if row.edited:
        maker = "edited"
    right = [f"#{row.id:03}", line(maker, 14)]
    if row.versions > 1:
        right.append(
            f"v{row.number} of {row.versions} versions" if width >= 60 else f"{row.versions} versions"
        )
    mark = Piece(f"{MARKS[row.verdict]} " if row.verdict != "undecided" else "", STYLES[row.verdict])
    end = "   ".join(right) + " "
    path = line(" › ".join(topic) or "no topic", max(0, width - len(end) - 6))
    return tuple(spread(width, [Piece(" "), mark, Piece(path, "quiet")], [Piece(end, "quiet")]))


def _body(row: ReviewRow, width: int) -> list[Row]:
    rows: list[Row] = [
        (Piece(" ▎", "accent"), Piece(part, "strong")) for part in wrap(row.instruction, width - 4)
    ]
    if row.input:
        rows += [(), (Piece("  input", "quiet"),)]
        rows += [(Piece(f"  {part}"),) for part in wrap(row.input, width - 4)]
    rows.append(())
    if row.output.strip():
        rows += [(Piece(f"  {part}"),) for part in wrap(row.output, width - 4)]
    else:
        rows.append((Piece("  (the response is empty)", "quiet"),))
    if max(len(row.instruction), len(row.input), len(row.output)) >= MOST_CHARACTERS:
        rows.append((Piece("  … cut here: E shows the whole text in your editor", "quiet"),))
    return rows


def _decision(row: ReviewRow, width: int) -> list[Row]:
    found = row.decision
    if found is None:
        return []
    parts = [] if found.by == "human" else [f"by rule: {found.rule}"]
    parts += [found.reason] if found.reason and found.by == "human" else []
    parts += [f"#{tag}" for tag in found.tags]
    parts += [f"“{found.note}”"] if found.note else []
    if not parts:
        return []
    return [
        (
            Piece(f"  {MARKS[row.verdict]} ", STYLES[row.verdict]),
            Piece(line(" · ".join(parts), width - 6), "quiet"),
        )
    ]


def _near(near: NearLine, width: int) -> Row:
    end = f"  #{near.pair_id:03} {MARKS[near.verdict]}  d shows "
    text = line(near.instruction, max(8, width - len(end) - 14))
    return tuple(
        spread(width, [Piece(f"  ≈ {near.score:.2f}  ", "quiet"), Piece(f"“{text}”")], [Piece(end, "quiet")])
    )


def _with_end(row: Row, end: str, width: int) -> Row:
    """The row with a text over its right end."""
    from ..text import cut, fill

    text = "".join(piece.text for piece in row)
    style = row[-1].style if row else ""
    kept = fill(cut(text, width - len(end) - 3), width - len(end) - 2)
    return (Piece(kept, style), Piece(f"{end} ", "quiet"))

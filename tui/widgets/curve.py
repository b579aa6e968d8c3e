"""A curve in braille dots for a number that is measured at every step: a spike is always seen, however many steps
stand in one column, because a column shows the least and the most of its steps.

100,000 points are drawn in a few milliseconds: least and most of every 64 points are kept as the points come.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise

from .line import Piece
from .lines import Row

_BLOCK = 64
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
_BRAILLE = 0x2800
MARK = "∘"
Range = tuple[float, float]


class Series:
    """Points (step, value) in the order of their steps."""

    def __init__(self) -> None:
        self.steps = array("q")
        self.values = array("d")
        self._least = array("d")
        self._most = array("d")

    def __len__(self) -> int:
        return len(self.steps)

    def append(self, step: int, value: float | None) -> None:
        """Add a point. A step that was there already, and all behind it, are made again; no number is no point."""
        if self.steps and step <= self.steps[-1]:
            self.forget_after(step - 1)
        if value is None or not math.isfinite(value):
            return
        if len(self.steps) % _BLOCK == 0:
            self._least.append(value)
            self._most.append(value)
        else:
            self._least[-1] = min(self._least[-1], value)
            self._most[-1] = max(self._most[-1], value)
        self.steps.append(step)
        self.values.append(value)

    def forget_after(self, step: int) -> None:
        """Keep the points up to this step."""
        count = bisect_left(self.steps, step + 1)
        del self.steps[count:], self.values[count:]
        whole = count // _BLOCK
        del self._least[whole:], self._most[whole:]
        if count % _BLOCK:
            self._least.append(min(self.values[whole * _BLOCK :]))
            self._most.append(max(self.values[whole * _BLOCK :]))

    def range_of(self, first: int, end: int) -> Range:
        """Least and most of the points from number `first` to before `end`, of which there is at least one."""
        block, last = -(-first // _BLOCK), end // _BLOCK
        if block >= last:
            part = self.values[first:end]
            return min(part), max(part)
        least, most = min(self._least[block:last]), max(self._most[block:last])
        for part in (self.values[first : block * _BLOCK], self.values[last * _BLOCK : end]):
            if part:
                least, most = min(least, min(part)), max(most, max(part))
        return least, most


def envelope(series: Series, first: float, last: float, columns: int) -> list[Range | None]:
    """Least and most of each column; where there are fewer points than columns, of the line between them."""
    width = max(1e-9, (last - first) / columns)
    edges = [bisect_left(series.steps, first + width * column) for column in range(columns)]
    edges.append(len(series))
    found: list[Range | None] = [
        series.range_of(start, end) if end > start else None for start, end in pairwise(edges)
    ]
    full = [column for column in range(columns) if found[column] is not None]
    for left, right in pairwise(full):
        before, after = series.values[edges[left + 1] - 1], series.values[edges[right]]
        span = right - left
        for column in range(left, right + 1):
            here = (column - left) / span
            ends = [max(0.0, here - 0.5 / span), min(1.0, here + 0.5 / span)]
            bottom, top = min(before, after), max(before, after)
            low, high = sorted(min(top, max(bottom, before + (after - before) * end)) for end in ends)
            drawn = found[column]
            found[column] = (low, high) if drawn is None else (min(low, drawn[0]), max(high, drawn[1]))
    return found


def ticks(low: float, high: float, most: int) -> list[float]:
    """At most so many (at least 2) round numbers, 1, 2 or 5 times a power of ten apart, of which the first is at or
    under `low` and the last at or over `high`."""
    most = max(2, most)
    if not high > low:
        low, high = low - (abs(low) or 1.0) / 2, high + (abs(high) or 1.0) / 2
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    for factor in (1, 2, 5, 10, 20, 50, 100):
        step = factor * power
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        if last - first + 1 <= most:
            break
    return [number * step for number in range(first, last + 1)]


def curve_rows(
    series: Series,
    marks: Sequence[tuple[float, float]],
    width: int,
    height: int,
    last_step: float = 0,
    name: str = "",
) -> list[Row]:
    """The curve from step 0 to `last_step` (or to its last one), with axes, in exactly `height` lines of `width` cells.

    `marks`: (step, value) of a second series, each shown as one character over the curve.
    """
    inner = height - 2
    if width < 20 or inner < 2:
        return [(Piece(" " * max(0, width)),)] * max(0, height)
    marks = [(step, value) for step, value in marks if math.isfinite(value)]
    if not len(series) and not marks:
        empty = [(Piece(" " * width),)] * (height - 1)
        return [(Piece(f" {'no step yet':<{width - 1}}"[:width], "quiet"),), *empty]
    steps = [step for step, _ in marks]
    last = max([last_step, 1, *steps, *(series.steps[-1:])])
    low, high = _bounds(series, marks)
    levels = ticks(low, high, max(2, min(6, inner // 2 + 1)))
    low, high = levels[0], levels[-1]
    labels = {_row_of(level, low, high, inner): _short(level, levels) for level in levels}
    edge = len(name) + max(map(len, labels.values())) + (3 if name else 2)
    columns = max(4, width - edge - 1)
    cells = _drawn(envelope(series, 0, last, 2 * columns), low, high, columns, inner)
    rows: list[Row] = []
    points = _marked(marks, last, low, high, columns, inner)
    for y in range(inner):
        label = labels.get(y, "")
        title = f" {name}" if y == 0 else ""
        head = f"{title}{label:>{edge - len(title) - 1}} {'┤' if label else '│'}"
        rows.append((Piece(head, "quiet"), *_pieces(cells[y], points.get(y, set()))))
    return [*rows, *_axis(last, edge, columns)]


def _bounds(series: Series, marks: Sequence[tuple[float, float]]) -> Range:
    found = [series.range_of(0, len(series))] if len(series) else []
    found += [(value, value) for _, value in marks]
    low, high = min(pair[0] for pair in found), max(pair[1] for pair in found)
    return (0.0, high) if 0 <= low < high / 2 else (low, high)


def _row_of(value: float, low: float, high: float, rows: int) -> int:
    return min(rows - 1, max(0, round((high - value) / (high - low) * (rows - 1))))


def _drawn(
    columns: Sequence[Range | None], low: float, high: float, width: int, rows: int
) -> list[list[int]]:
    """Dots of every cell: 2 columns and 4 rows of them."""
    cells = [[0] * width for _ in range(rows)]
    most, scale = 4 * rows - 1, (4 * rows - 4) / (high - low)
    for number, drawn in enumerate(columns):
        if drawn is None:
            continue
        # A label stands beside the middle of its cell: the axis runs from the middle of the first to the last's.
        top = min(most, max(0, round((high - drawn[1]) * scale + 1.5)))
        bottom = min(most, max(0, round((high - drawn[0]) * scale + 1.5)))
        cell, dots = number // 2, _DOTS[number % 2]
        for y in range(top, bottom + 1):
            cells[y >> 2][cell] |= dots[y & 3]
    return cells


def _marked(
    marks: Sequence[tuple[float, float]], last: float, low: float, high: float, columns: int, rows: int
) -> dict[int, set[int]]:
    found: dict[int, set[int]] = {}
    every = max(1, -(-len(marks) // max(1, columns // 5)))  # so many that the curve is still seen below them
    for step, value in marks[::-1][::every]:
        at = min(columns - 1, int(step / last * columns))
        found.setdefault(_row_of(value, low, high, rows), set()).add(at)
    return found


def _pieces(cells: Sequence[int], marks: set[int]) -> list[Piece]:
    text = "".join(chr(_BRAILLE + dots) if dots else " " for dots in cells)
    found, start = [], 0
    for at in sorted(marks):
        found += [Piece(text[start:at], "accent"), Piece(MARK, "strong")]
        start = at + 1
    return [piece for piece in (*found, Piece(text[start:], "accent")) if piece.text]


def _axis(last: float, edge: int, columns: int) -> list[Row]:
    found = [tick for tick in ticks(0, last, max(2, columns // 12)) if tick <= last]
    line, labels = ["─"] * columns, [" "] * (edge + columns + 1)
    for tick in found:
        at = min(columns - 1, int(tick / last * columns))
        line[at] = "┬"
        text = f"{tick:,.0f}" if tick == int(tick) else f"{tick:g}"
        start = min(len(labels) - len(text), max(0, edge + at - len(text) // 2))
        if all(char == " " for char in labels[max(0, start - 1) : start + len(text) + 1]):
            labels[start : start + len(text)] = text
    axis = " " * edge + "┼" + "".join(line)
    return [(Piece(axis[: edge + columns + 1], "quiet"),), (Piece("".join(labels), "quiet"),)]


def _short(value: float, levels: Sequence[float]) -> str:
    step = levels[1] - levels[0]
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"{value:,.{digits}f}" if digits < 6 and abs(value) < 1e6 else f"{value:.2g}"

"""What an export notices while it writes: which models and scores there are, and what a reader may take wrongly."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from statistics import NormalDist

from .export_formats import ExportPair, is_formula

_DATE = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?")
_GUESSING = ("jsonl", "alpaca", "csv")
"""Formats whose readers guess the types of columns."""


@dataclass
class Spread:
    """What many numbers come to, in constant memory (Welford's running mean and squared deviations)."""

    n: int = 0
    mean: float = 0.0
    squares: float = 0.0
    whole: Counter[int] = field(default_factory=Counter)
    """Numbers by the whole one that is nearest; those above 1,000 count as 1,000."""

    def add(self, value: float) -> None:
        """Count one."""
        self.n += 1
        step = value - self.mean
        self.mean += step / self.n
        self.squares += step * (value - self.mean)
        self.whole[round(max(-1000.0, min(1000.0, value)))] += 1

    def said(self) -> str:
        """The mean with its 95 % interval."""
        if self.n < 2:
            return f"{self.mean:.2f}"
        half = NormalDist().inv_cdf(0.975) * (self.squares / (self.n - 1) / self.n) ** 0.5
        return f"{self.mean:.2f} ({self.mean - half:.2f} to {self.mean + half:.2f})"


class Notes:
    """Looks at every row once; holds counts only."""

    def __init__(self, format: str) -> None:  # noqa: A002 - what it is
        self._format = format
        self._formulas = 0
        self._dates = {"instruction": True, "input": True, "output": True}
        self.models: Counter[str] = Counter()
        """Rows by the model that wrote them; empty: imported or by hand."""
        self.scores: dict[tuple[str, str], Spread] = {}
        """By (judge, attribute)."""

    def look_at(self, pair: ExportPair) -> None:
        """Count one row."""
        texts = {"instruction": pair.instruction, "input": pair.input, "output": pair.output}
        if self._format == "csv" and any(is_formula(text) for text in texts.values()):
            self._formulas += 1
        for name, text in texts.items():
            if self._dates[name] and not (len(text) < 40 and _DATE.fullmatch(text)):
                self._dates[name] = False
        self.models[pair.model] += 1
        for judge, given in pair.scores.items():
            for name, value in given.items():
                self.scores.setdefault((judge, name), Spread()).add(value)

    def lines(self, *, spreadsheet: bool) -> tuple[str, ...]:
        """What the user should know of the file."""
        found = []
        if self._formulas and not spreadsheet:
            found.append(
                f"{self._formulas:,} of the rows have cells that a spreadsheet would compute as formulas: "
                "--spreadsheet writes a file that is safe to open in one"
            )
        elif self._formulas:
            found.append(f"{self._formulas:,} of the rows have an apostrophe before a cell like a formula")
        if self._format in _GUESSING:
            found += [
                f"every {name} looks like a date: datasets and pandas may read that column as dates"
                for name, dates in self._dates.items()
                if dates
            ]
        return tuple(found)

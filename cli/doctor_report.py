"""One line of the doctor's report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from pairsmith.backends.text import one_line

MARKS = {"good": "ok", "note": "--", "bad": "!!"}


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found about one thing. `note`: not usable now, and nobody needs it; `bad`: something needs it."""

    part: str
    name: str
    state: Literal["good", "note", "bad"]
    summary: str
    advice: str = ""

    def as_json(self) -> dict[str, Any]:
        """For --json."""
        return asdict(self)


def finding_lines(findings: Sequence[Finding]) -> list[str]:
    """The report, by part; what to do stands under what it is about."""
    width = max((len(finding.name) for finding in findings), default=0)
    lines: list[str] = []
    part = ""
    for finding in findings:
        if finding.part != part:
            part = finding.part
            lines += ["", part] if lines else [part]
        lines.append(f"  {MARKS[finding.state]}  {finding.name:<{width}}  {one_line(finding.summary, 300)}")
        if finding.advice:
            lines.append(f"      {'':<{width}}  {one_line(finding.advice, 300)}")
    return lines

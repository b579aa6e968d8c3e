"""The doctor's report as lines."""

from __future__ import annotations

from collections.abc import Sequence

from pairsmith.backends.text import one_line
from pairsmith.pairs.findings import Finding

MARKS = {"good": "ok", "note": "--", "bad": "!!"}


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

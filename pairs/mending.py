"""Marks on candidates: those that wait to be rewritten because they break a rule that can be mended (`--refine`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from .instruction_rules import FILTERED, MENDABLE
from .store.candidates import Candidate, NewCandidate

MEND = "mend"
"""In a candidate's `extra`: the rule for which it waits to be rewritten."""


def is_mendable(loss: str | None) -> bool:
    """Whether a loss is the breach of a rule that a rewriting can mend."""
    return loss is not None and loss.startswith(FILTERED) and loss.removeprefix(FILTERED) in MENDABLE


def to_be_mended(candidate: NewCandidate) -> NewCandidate:
    """The candidate, not lost but waiting to be rewritten, if its loss can be mended; else as it is."""
    if candidate.loss is None or not is_mendable(candidate.loss):
        return candidate
    rule = candidate.loss.removeprefix(FILTERED)
    return replace(
        candidate, loss=None, detail=candidate.detail, extra={**(candidate.extra or {}), MEND: rule}
    )


def mend_of(candidate: Candidate | NewCandidate) -> str | None:
    """The rule for which a candidate waits to be rewritten."""
    rule = (candidate.extra or {}).get(MEND)
    return rule if isinstance(rule, str) else None


def mended_extra(candidate: Candidate) -> Mapping[str, Any]:
    """What is noted about a rewritten candidate: why, and what it said before."""
    extra = {
        key: value for key, value in (candidate.extra or {}).items() if key not in (MEND, "classification")
    }
    return {**extra, "mended": mend_of(candidate), "original": candidate.instruction}

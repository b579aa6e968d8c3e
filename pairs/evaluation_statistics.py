"""Averages of an evaluation with their intervals and paired tests; the child computes them (docs/training.md)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from .store.held_out import AnswerJudgement
from .training_child import run_verb

PAIRED_MEASURES = ("rouge1", "rouge2", "rougeL", "bleu", "exact_match", "short_answer_match", "nll")
_SHOWN_FAILURES = 20


async def intervals(
    asked: Mapping[str, tuple[Sequence[float], Sequence[float] | None]],
) -> dict[str, dict[str, Any]]:
    """For each name: mean, 95 % interval and n of the first numbers (`a`), and with second ones `b` and `paired`."""
    many = {
        name: {"a": list(first), "b": None if second is None else list(second)}
        for name, (first, second) in asked.items()
    }
    if not many:
        return {}
    done = await run_verb(["interval"], given=json.dumps({"many": many}))
    found: dict[str, dict[str, Any]] = done["many"]
    return found


async def compare_measures(
    tuned: Sequence[Mapping[str, Any]], other: Sequence[Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Measure -> tuned and other mean, difference with interval, p; over the items that both answered."""
    by_id = {str(item["id"]): item for item in other}
    both = [(item, by_id[str(item["id"])]) for item in tuned if str(item["id"]) in by_id]
    asked = {}
    for name in PAIRED_MEASURES:
        values = [
            (float(one[name]), float(two[name]))
            for one, two in both
            if one.get(name) is not None and two.get(name) is not None
        ]
        if len(values) >= 2:
            asked[name] = ([a for a, _ in values], [b for _, b in values])
    found = await intervals(asked)
    return {name: _paired(values, "tuned", "other") for name, values in found.items()}


def _paired(values: Mapping[str, Any], first: str, second: str) -> dict[str, Any]:
    return {
        first: values["a"],
        second: values["b"],
        "difference": values["paired"]["difference"],
        "p": values["paired"]["p"],
    }


async def summarise_scores(
    judged: Mapping[str, Sequence[AnswerJudgement]], uids: Mapping[int, str]
) -> dict[str, Any]:
    """By subject: mean score with interval over what was scored, failures and unreadable answers counted and named.

    `paired`: the first subject against each other one, over the items that both have a score of.
    """
    subjects = list(judged)
    values = {
        subject: {one.pair_id: one.value for one in judged[subject] if one.value is not None}
        for subject in subjects
    }
    asked: dict[str, tuple[Sequence[float], Sequence[float] | None]] = {
        subject: (list(values[subject].values()), None) for subject in subjects
    }
    for other in subjects[1:]:
        shared = sorted(values[subjects[0]].keys() & values[other].keys())
        if len(shared) >= 2:
            asked[f"\n{other}"] = (
                [values[subjects[0]][pair] for pair in shared],
                [values[other][pair] for pair in shared],
            )
    found = await intervals(asked)
    return {
        "subjects": {
            subject: {**counted(judged[subject], uids), **_named(found[subject]["a"])} for subject in subjects
        },
        "paired": {
            other: _paired(found[f"\n{other}"], subjects[0], other)
            for other in subjects[1:]
            if f"\n{other}" in found
        },
    }


def counted(judgements: Sequence[AnswerJudgement], uids: Mapping[int, str]) -> dict[str, Any]:
    """What became of every item: n = scored + failed."""
    failures = [one for one in judgements if one.value is None]
    return {
        "n": len(judgements),
        "scored": len(judgements) - len(failures),
        "failed": len(failures),
        "unreadable_answers": sum(one.unreadable for one in judgements),
        "failures": [
            {"id": uids.get(one.pair_id, ""), "reason": one.reason} for one in failures[:_SHOWN_FAILURES]
        ],
    }


def _named(interval: Mapping[str, Any]) -> dict[str, Any]:
    return {"mean": interval["mean"], "low": interval["low"], "high": interval["high"]}


async def summarise_comparison(
    judgements: Sequence[AnswerJudgement], uids: Mapping[int, str]
) -> dict[str, Any]:
    """Wins, ties and losses, the win rate (a tie is half a win) with interval, and the p of "both are as good"."""
    values = [one.value for one in judgements if one.value is not None]
    found = await intervals({"rate": (values, [1.0 - value for value in values])})
    outcomes = Counter(values)
    return {
        **counted(judgements, uids),
        "wins": outcomes[1.0],
        "ties": outcomes[0.5],
        "losses": outcomes[0.0],
        "inconsistent": sum((one.explanation or "").startswith("inconsistent") for one in judgements),
        "win_rate": _named(found["rate"]["a"]),
        "p": found["rate"]["paired"]["p"] if values else None,
    }

"""How well the model judges: untouched responses against flawed ones, by the one-pass judge of the product."""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pairsmith.backends.protocol import Backend
from pairsmith.pairs.judging import JudgeFailed, expected_requests, read_expected

from .corruptions import HELD_OUT_KINDS, UNTOUCHED, Judged, kinds_of
from .judge_documents import draw_judged, judge
from .measured_answers import at_once
from .prepared import Case, draw_case, shipped


def judged_cases(count: int, seed: int) -> list[tuple[Case, Judged]]:
    """Held-out cases with a response each: every second one untouched, the rest spread over all kinds of flaws."""
    kinds = kinds_of("held-out")
    made: list[tuple[Case, Judged]] = []
    number = 0
    while len(made) < count:
        rng = random.Random(f"judged/{seed}/{number}")
        kind = UNTOUCHED if number % 2 else kinds[number // 2 % len(kinds)]
        number += 1
        case = draw_case(rng.choice(shipped().intents), rng, "held-out")
        try:
            made.append((case, draw_judged(case, rng, "held-out", kind)))
        except ValueError:
            continue
    return made


async def measure_judge(backend: Backend, count: int, seed: int) -> dict[str, Any]:
    """AUC of helpfulness + correctness, expected in one pass, between untouched and corrupted responses."""
    each = (await backend.capabilities()).suffixes_per_score
    by_kind: defaultdict[str, list[float]] = defaultdict(list)
    unread = 0

    async def grade(one: tuple[Case, Judged]) -> float | None:
        case, judged = one
        asked = replace(judge(), suffixes_per_score=each)
        requests = expected_requests(asked, case.instruction, "", judged.response)
        answers = [await backend.score(replace(request, deadline_s=600)) for request in requests]
        try:
            scores = read_expected(asked, answers)
        except JudgeFailed:
            return None
        return scores["helpfulness"].value + scores["correctness"].value

    cases = judged_cases(count, seed)
    started = time.monotonic()
    for (_, judged), score in zip(cases, await at_once(grade, cases), strict=True):
        if score is None:
            unread += 1
        else:
            by_kind[judged.kind].append(score)
    seconds = time.monotonic() - started
    good = by_kind.pop(UNTOUCHED)
    return {
        "judged": len(cases),
        "unread": unread,
        "judged_per_s": round(len(cases) / seconds, 2),
        "auc": auc(good, [score for scores in by_kind.values() for score in scores]),
        "auc_held_out_kinds": auc(
            good, [s for kind, scores in by_kind.items() if kind in HELD_OUT_KINDS for s in scores]
        ),
        "held_out_kinds": sorted(HELD_OUT_KINDS),
        "by_kind": {
            kind: {"auc": auc(good, scores), "mean": sum(scores) / len(scores), "n": len(scores)}
            for kind, scores in sorted(by_kind.items())
        },
        "mean_untouched": sum(good) / max(1, len(good)),
    }


def auc(good: Sequence[float], bad: Sequence[float]) -> float | None:
    """The share of pairs (good, bad) that the scores put in the right order; ties are half right."""
    if not good or not bad:
        return None
    right = sum((g > b) + 0.5 * (g == b) for g in good for b in bad)
    return right / (len(good) * len(bad))

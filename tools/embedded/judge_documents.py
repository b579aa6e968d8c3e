"""Documents in which a response is graded: five digits in one pass, or JSON with a rationale."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from functools import lru_cache

from pairsmith.backends.protocol import Request
from pairsmith.pairs.judging import Judge, expected_requests, json_request
from pairsmith.pairs.rubrics import load_rubric

from .corruptions import HELD_OUT_KINDS, UNTOUCHED, WEIGHTS, Judged, judge_case, kinds_of
from .documents import Document
from .prepared import Case, Split, draw_case, shipped

_UNTOUCHED_SHARE = 0.45
_TRIES = 40
_LEAST, _MOST = 2, 4
"""Responses to one instruction that are graded together."""


@lru_cache(maxsize=1)
def judge() -> Judge:
    """The rubric judge as the product makes it for llama.cpp."""
    rubric = load_rubric()
    return Judge("llama-cpp:embedded", "expected", rubric, len(rubric.attributes), begins_answer=True)


def draw_judged(case: Case, rng: random.Random, split: Split, kind: str | None = None) -> Judged:
    """A graded response to a case, of a kind, or of any kind of the split. Raises ValueError where none fits."""
    for _ in range(_TRIES):
        judged = judge_case(case, shipped(), split, rng, kind or draw_kind(rng, split))
        if judged is not None:
            return judged
    raise ValueError(f"{kind} does not fit {case.intent.name}")


def draw_kind(rng: random.Random, split: Split) -> str:
    """Untouched or one of the kinds of flaws. In evaluation every second flaw is of a kind that training lacks."""
    if rng.random() < _UNTOUCHED_SHARE:
        return UNTOUCHED
    kinds = kinds_of(split)
    if split == "held-out":
        unknown = rng.random() < 0.5
        return rng.choice([kind for kind in kinds if (kind in HELD_OUT_KINDS) == unknown])
    return rng.choices(kinds, [WEIGHTS.get(kind, 2) for kind in kinds])[0]


def one_pass(rng: random.Random, split: Split) -> Sequence[Document]:
    """A few responses to one instruction, each with one document for each attribute."""
    case = _case(rng, split)
    made: list[Document] = []
    for _ in range(rng.randint(_LEAST, _MOST)):
        made += graded(case, draw_judged(case, rng, split))
    return made


def graded(case: Case, judged: Judged) -> list[Document]:
    """The documents of one graded response, in the order of the rubric's attributes."""
    (request,) = expected_requests(judge(), case.instruction, "", judged.response)
    return [
        Document(
            "judge",
            request.messages,
            str(judged.grades.of(attribute.name)),
            case=case,
            judged=judged,
            attribute=attribute.name,
            begun=suffix,
        )
        for attribute, suffix in zip(judge().rubric.attributes, request.suffixes, strict=True)
    ]


def as_json(rng: random.Random, split: Split) -> Sequence[Document]:
    """One response, graded as JSON."""
    case = _case(rng, split)
    judged = draw_judged(case, rng, split)
    request = json_graded(case, judged)
    grades = {a.name: judged.grades.of(a.name) for a in judge().rubric.attributes}
    answer = json.dumps({"rationale": judged.rationale, **grades}, ensure_ascii=False)
    return (Document("judge json", request.messages, answer, case=case, judged=judged, constrained=True),)


def json_graded(case: Case, judged: Judged) -> Request:
    """The product's request for grades as JSON."""
    return json_request(judge(), case.instruction, "", judged.response, constrained=True)


def _case(rng: random.Random, split: Split) -> Case:
    return draw_case(rng.choice(shipped().intents), rng, split, rough=True)

"""Judges: a reward model, a rubric by expected score, a rubric by JSON. What is asked, and how answers are read.

A judge that cannot be understood raises `JudgeFailed`; it never becomes a number.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pairsmith.backends.protocol import Capabilities, Completion, Message, Request, Scored, ScoreRequest
from pairsmith.backends.text import clean, one_line

from .errors import UsageError
from .rubrics import Rubric
from .store.judgements import Judgement, Score
from .templates import fill

JudgeKind = Literal["reward", "expected", "json"]

LOW_MASS = 0.05
"""Under this share of probability on digits, a model does not answer with a digit, and there is no score."""

_MAX_RATIONALE = 600
_MAX_ANSWER = 20_000


class JudgeFailed(Exception):
    """The judge answered, but not with a score. The message says what came instead."""


@dataclass(frozen=True, slots=True)
class Judge:
    """A judge made ready for one model: `name` is BACKEND:MODEL, under which scores are stored."""

    name: str
    kind: JudgeKind
    rubric: Rubric
    suffixes_per_score: int = 0
    begins_answer: bool = False
    """Whether a question can be what the model's answer begins with; else it ends the prompt."""

    @property
    def rubric_key(self) -> str:
        """What the scores are comparable under; a reward model has its own standard."""
        return "" if self.kind == "reward" else self.rubric.key


def choose_kind(name: str, wanted: str, capabilities: Capabilities) -> JudgeKind:
    """The kind of judging for a model: the wanted one if it can, or for "auto" the best it can. Raises UsageError."""
    if capabilities.reward_attributes:
        if wanted not in ("auto", "reward"):
            raise UsageError(
                f"{name} is a reward model: it scores pairs but follows no rubric", "Use --kind reward"
            )
        return "reward"
    if wanted == "reward":
        raise UsageError(
            f"{name} is not a reward model",
            "Use --kind expected or --kind json: a rubric with the same five attributes",
        )
    if wanted == "expected" and not capabilities.suffixes_per_score:
        raise UsageError(f"{name} gives no token probabilities", "Use --kind json")
    if wanted == "auto":
        return "expected" if capabilities.suffixes_per_score else "json"
    if wanted not in ("expected", "json"):
        raise UsageError(
            f"{one_line(wanted)} is not a kind of judging", "Kinds: auto, reward, expected, json"
        )
    return "expected" if wanted == "expected" else "json"


def reward_request(instruction: str, input_text: str, output: str) -> Request:
    """The pair as a conversation: reward endpoints take model and messages and nothing else."""
    return Request(messages=(Message("user", _whole(instruction, input_text)), Message("assistant", output)))


def read_reward(completion: Completion) -> dict[str, Score]:
    """Scores as the reward model gave them, never clamped (values above 4 occur)."""
    if not completion.reward:
        raise JudgeFailed(f"no score in the answer: {one_line(completion.text, 100)!r}")
    return {name: Score(float(value)) for name, value in completion.reward.items()}


def expected_requests(judge: Judge, instruction: str, input_text: str, output: str) -> list[ScoreRequest]:
    """The fewest requests that ask for every attribute: all share everything but the question at the end, which the
    model's own answer begins with where that can be had: then the end of the prompt is shared as well."""
    rubric = judge.rubric
    size = max(1, judge.suffixes_per_score)
    system = fill(rubric.system, attributes=rubric.described())
    pair = rubric.pair_text(instruction, input_text, output)
    questions = [fill_question(rubric, attribute.name) for attribute in rubric.attributes]
    # A label can be what the model says itself; a sentence that asks it something cannot.
    begins = judge.begins_answer and rubric.question.strip() == "{attribute}:"
    if begins:
        pair, questions = pair.rstrip(), [question.lstrip() for question in questions]
    return [
        ScoreRequest(
            suffixes=tuple(questions[start : start + size]),
            choices=rubric.digits,
            messages=(Message("system", system), Message("user", pair)),
            begins_answer=begins,
        )
        for start in range(0, len(questions), size)
    ]


def fill_question(rubric: Rubric, attribute: str) -> str:
    """The last line of what is read before the digit, different for each attribute. Line feeds are part of it."""
    return rubric.question.replace("{attribute}", attribute)


def read_expected(judge: Judge, answers: Sequence[Scored]) -> dict[str, Score]:
    """Probability-weighted means over the digits. Raises JudgeFailed where a model hardly ever says a digit."""
    digits = [float(digit) for digit in judge.rubric.digits]
    rows = [row for scored in answers for row in scored.probabilities]
    scores = {}
    for attribute, row in zip(judge.rubric.attributes, rows, strict=True):
        mass = math.fsum(row)
        if not mass >= LOW_MASS:
            raise JudgeFailed(f"does not answer {attribute.name} with a digit (probability {mass:.3f})")
        value = math.fsum(digit * p for digit, p in zip(digits, row, strict=True)) / mass
        scores[attribute.name] = Score(value, min(mass, 1.0), tuple(row))
    return scores


def json_request(
    judge: Judge, instruction: str, input_text: str, output: str, *, constrained: bool
) -> Request:
    """Ask for a JSON object: a short rationale first, then one digit for each attribute."""
    rubric = judge.rubric
    properties: dict[str, Any] = {"rationale": {"type": "string", "maxLength": _MAX_RATIONALE}}
    # Servers ignore minimum and maximum; an enumeration is honoured by all of them.
    properties |= {a.name: {"enum": [int(d) for d in rubric.digits]} for a in rubric.attributes}
    names = ", ".join(f'"{a.name}": {rubric.digits[0]}-{rubric.digits[-1]}' for a in rubric.attributes)
    ask = f'{rubric.pair_text(instruction, input_text, output)}\nAnswer as JSON: {{"rationale": "...", {names}}}'
    return Request(
        messages=(
            Message("system", fill(rubric.json_system, attributes=rubric.described())),
            Message("user", ask),
        ),
        temperature=0.0,
        max_tokens=_MAX_RATIONALE // 2 + 16 * len(rubric.attributes),
        json_schema={
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }
        if constrained
        else None,
    )


def read_json(judge: Judge, completion: Completion) -> tuple[dict[str, Score], str | None]:
    """Scores and rationale from a JSON answer, talk around it allowed. Raises JudgeFailed on anything unclear."""
    text, _ = clean(completion.text)
    found = _object_with(text, [a.name for a in judge.rubric.attributes])
    if found is None:
        cut = " (cut off)" if completion.finish_reason == "length" else ""
        raise JudgeFailed(f"no readable score{cut}: {one_line(text, 100)!r}")
    allowed = {float(digit) for digit in judge.rubric.digits}
    low, high = min(allowed), max(allowed)
    scores = {}
    for attribute in judge.rubric.attributes:
        value = _number(found[attribute.name])
        if value is None or not low <= value <= high:
            raise JudgeFailed(
                f"{attribute.name} is {one_line(str(found[attribute.name]), 40)!r}, not {low:g} to {high:g}"
            )
        scores[attribute.name] = Score(value)
    rationale = found.get("rationale")
    return scores, rationale if isinstance(rationale, str) and rationale.strip() else None


def _object_with(text: str, names: Sequence[str]) -> dict[str, Any] | None:
    decoder = json.JSONDecoder()
    text = text[:_MAX_ANSWER]
    start = text.find("{")
    while start >= 0:
        try:
            value, _ = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict) and all(name in value for name in names):
            return value
        start = text.find("{", start + 1)
    return None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):  # no number, or digits without end
        return None
    return number if math.isfinite(number) else None


def _whole(instruction: str, input_text: str) -> str:
    return f"{instruction}\n\n{input_text}" if input_text else instruction


def scored(judge: Judge, scores: dict[str, Score], rationale: str | None = None) -> Judgement:
    """A judgement that holds scores."""
    return Judgement(judge.name, judge.kind, judge.rubric_key, scores=scores, rationale=rationale)


def failed(judge: Judge, reason: str) -> Judgement:
    """A judgement that holds the reason why there is no score."""
    return Judgement(judge.name, judge.kind, judge.rubric_key, reason=one_line(reason, 500))

"""What a generate run will cost, before anything is spent: calls, tokens, money, time. Arithmetic only.

Where the workspace has seen enough calls of the present models their averages count; where it has not, the recipe's
numbers and what such calls usually take do. It is an estimate, and says by `measured` which of the two it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .recipes import Recipe

ENOUGH = 5
"""Calls of a purpose from which their average counts."""
_CHARACTERS_A_TOKEN = 4.0
_INSTRUCTION_TOKENS = 16
_RESPONSE_TOKENS = 210
_LIST_YIELD = 0.85
_ANSWERED = 0.97
_SCORE_IN, _SCORE_OUT = 300, 1


@dataclass(frozen=True, slots=True)
class Average:
    """What one useful call of a purpose takes, and which share of the calls made is useful."""

    tokens_in: float
    tokens_out: float
    seconds: float
    useful: float = 1.0


@dataclass(frozen=True, slots=True)
class Basis:
    """What is known when an estimate is made."""

    averages: Mapping[str, Average]
    """By purpose: instructions, response, judge; only those that were measured."""
    list_yield: float | None = None
    """Share of listed instructions that survive the sieve; None: not measured."""
    price: tuple[float, float] | None = None
    """US dollars for a million tokens (prompt, completion) of the generator; None: unknown."""
    judge_price: tuple[float, float] | None = None
    requests_per_minute: float | None = None
    """The limit that the generator's server is known to have."""
    at_once: float = 1.0
    """Calls that run side by side."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """calls = topic calls + lists + classifications + responses + scores."""

    topic_calls: int
    lists: int
    responses: int
    scores: int
    tokens_in: int
    tokens_out: int
    cost: float | None
    """US dollars; None where a price is not known."""
    minutes: float | None
    """None where neither a rate nor the time of a call is known."""
    measured: bool
    """Whether the workspace's own calls are the basis."""
    per_minute: float | None = None
    """The requests a minute that the time goes by, where that is what bounds it."""

    classifications: int = 0
    """Self-Instruct: calls that ask whether a task is a classification."""

    @property
    def calls(self) -> int:
        return self.topic_calls + self.lists + self.classifications + self.responses + self.scores


def estimate(pairs: int, topics: Sequence[int], recipe: Recipe, judged: bool, basis: Basis) -> Estimate:
    """`topics`: how many pairs each topic is to give, none where they are still to be suggested."""
    pool = recipe.method == "self-instruct"
    spread = [pairs] if pool else list(topics) or _evenly(pairs, min(recipe.topics.count, pairs))
    answered = _share(basis, "response", _ANSWERED)
    survive = min(1.0, max(0.05, basis.list_yield if basis.list_yield is not None else _LIST_YIELD))
    per_call = (recipe.tasks if pool else recipe.instructions).per_call
    lists = sum(math.ceil(quota / answered / survive / per_call) for quota in spread if quota > 0)
    lists = math.ceil(lists / _share(basis, "instructions", 1.0))
    responses = math.ceil(pairs / answered)
    scores = math.ceil(pairs / _share(basis, "judge", 1.0)) if judged else 0
    topic_calls = 0 if topics or pool else 1
    classifications = responses if pool and _classifies(recipe) else 0
    writing = [(topic_calls, _topics_call(recipe)), (lists, _list_call(recipe, basis, spread)),
               (classifications, _classification_call(recipe, basis)),
               (responses, _response_call(recipe, basis))]  # fmt: skip
    judging = [(scores, basis.averages.get("judge") or Average(_SCORE_IN, _SCORE_OUT, 0.0))]
    used_in, used_out = _tokens(writing)
    judge_in, judge_out = _tokens(judging)
    return Estimate(
        topic_calls,
        lists,
        responses,
        scores,
        round(used_in + judge_in),
        round(used_out + judge_out),
        _cost(
            [(basis.price, used_in, used_out), (basis.judge_price if judged else (0, 0), judge_in, judge_out)]
        ),
        _minutes(writing + judging, basis),
        "response" in basis.averages,
        basis.requests_per_minute or None,
        classifications,
    )


def _evenly(pairs: int, topics: int) -> list[int]:
    return [pairs // topics + (number < pairs % topics) for number in range(topics)] if topics else []


def _share(basis: Basis, purpose: str, otherwise: float) -> float:
    known = basis.averages.get(purpose)
    return min(1.0, max(0.05, known.useful if known is not None else otherwise))


def _topics_call(recipe: Recipe) -> Average:
    stage = recipe.topics
    return Average(_written(stage.prompt + stage.system), stage.count * 6, 0.0)


def _list_call(recipe: Recipe, basis: Basis, spread: Sequence[int]) -> Average:
    known = basis.averages.get("instructions")
    if known is not None:
        return known
    stage = recipe.tasks if recipe.method == "self-instruct" else recipe.instructions
    most = max(spread, default=0)
    # The first list of a topic shows nothing, the last one all that fits: half of it on the average.
    shown = min(stage.shown, most) / 2 * _INSTRUCTION_TOKENS
    return Average(
        _written(stage.prompt + stage.system) + shown,
        min(stage.per_call, max(most, 3)) * _INSTRUCTION_TOKENS,
        0.0,
    )


def _classifies(recipe: Recipe) -> bool:
    settings = recipe.self_instruct
    return settings.detect_classification and settings.output_first == "classification"


def _classification_call(recipe: Recipe, basis: Basis) -> Average:
    known = basis.averages.get("classification")
    if known is not None:
        return known
    stage = recipe.classification
    return Average(_written(stage.prompt + stage.system) + _INSTRUCTION_TOKENS, 2, 0.0)


def _response_call(recipe: Recipe, basis: Basis) -> Average:
    known = basis.averages.get("response")
    if known is not None:
        return known
    stage = recipe.instances if recipe.method == "self-instruct" else recipe.responses
    prompt = _written(stage.prompt + stage.system) + _INSTRUCTION_TOKENS
    return Average(prompt, min(stage.max_tokens, _RESPONSE_TOKENS), 0.0)


def _written(prompt: str) -> float:
    wide = sum(ord(char) > 0x2E7F for char in prompt)
    return wide + (len(prompt) - wide) / _CHARACTERS_A_TOKEN


def _tokens(calls: Sequence[tuple[int, Average]]) -> tuple[float, float]:
    return (
        sum(count * average.tokens_in for count, average in calls),
        sum(count * average.tokens_out for count, average in calls),
    )


def _cost(parts: Sequence[tuple[tuple[float, float] | None, float, float]]) -> float | None:
    total = 0.0
    for price, tokens_in, tokens_out in parts:
        if price is None:
            return None
        total += (price[0] * tokens_in + price[1] * tokens_out) / 1e6
    return total


def _minutes(calls: Sequence[tuple[int, Average]], basis: Basis) -> float | None:
    count = sum(number for number, _ in calls)
    if basis.requests_per_minute:
        return count / basis.requests_per_minute
    seconds = sum(number * average.seconds for number, average in calls)
    return seconds / max(1.0, basis.at_once) / 60 if seconds else None

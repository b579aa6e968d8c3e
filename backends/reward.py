"""Scores of reward models, in every shape that their servers send. Nothing is clamped: 4.156 stays 4.156."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from .errors import MalformedReply
from .json_text import first, mapping, number
from .text import one_line

ATTRIBUTES = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")
"""Of HelpSteer2 and Nemotron-4-340B-Reward; typically 0 to 4, and sometimes above."""
SCALAR = "reward"
"""The one number of other reward models: unbounded, comparable only between answers to one prompt."""

_PAIR = re.compile(r"([a-z_]+)\s*:\s*(-?\d+(?:\.\d+)?(?:e[-+]?\d+)?)(?![\w.])", re.IGNORECASE)


def is_reward_model(model: str) -> bool:
    """Whether a model's name says that it scores instead of answering. No server tells it otherwise."""
    return "reward" in model.lower()


def attributes_of(model: str) -> tuple[str, ...]:
    """The attributes that a model of this name gives, until its first answer tells for sure; () for other models."""
    if not is_reward_model(model):
        return ()
    return ATTRIBUTES if re.search(r"nemotron-4|340b", model, re.IGNORECASE) else (SCALAR,)


def read_reward(choice: Mapping[str, Any], content: str) -> dict[str, float]:
    """The scores of one choice: all five attributes, or the one scalar. `content` is its message's text.

    Looks at log-probability entries that carry a score's name, then at `name:number` in the text. Raises
    `MalformedReply`, quoting the text, where attributes are missing or a number is none.
    """
    by_entry = _from_logprobs(choice)
    for found in (by_entry, _from_text(content)):
        if all(name in found for name in ATTRIBUTES):
            return _finite({name: found[name] for name in ATTRIBUTES}, content)
        if SCALAR in found and not any(name in found for name in ATTRIBUTES):
            return _finite({SCALAR: found[SCALAR]}, content)
    raise _unreadable(content)


def _from_logprobs(choice: Mapping[str, Any]) -> dict[str, float]:
    entries = mapping(first(choice.get("logprobs"))).get("content")
    found: dict[str, float] = {}
    for entry in entries if isinstance(entries, list) else ():
        token, value = mapping(entry).get("token"), mapping(entry).get("logprob")
        name = token.strip().lower() if isinstance(token, str) else ""
        if name in (*ATTRIBUTES, SCALAR) and value is not None:
            found.setdefault(name, math.nan if (n := number(value)) is None else n)
    return found


def _from_text(content: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, digits in _PAIR.findall(content[:2000]):
        found.setdefault(name.lower(), float(digits))
    return found


def _finite(scores: dict[str, float], content: str) -> dict[str, float]:
    if not all(math.isfinite(score) for score in scores.values()):
        raise _unreadable(content)
    return scores


def _unreadable(content: str) -> MalformedReply:
    return MalformedReply(f"the reward model gave no scores: {one_line(content, 120)!r}")

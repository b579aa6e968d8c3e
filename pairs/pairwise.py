"""Pairwise judging: which of two answers is better, asked in both orders so that the place decides nothing.

The form of the question and of the answer ([[A]], [[B]], [[C]] for a tie) is that of MT-Bench (Zheng et al. 2023).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import Literal

from pairsmith.backends.protocol import Message, Request
from pairsmith.backends.text import clean, one_line

from .reference_score import SEED, Unreadable

Place = Literal["A", "B", "tie"]
Outcome = Literal["win", "loss", "tie"]

_MAX_TOKENS = 1024
_MAX_ANSWER = 20_000
_SYSTEM = (
    "You are an impartial judge. Compare two responses to an instruction by correctness, helpfulness and how well they "
    "follow it. Their order, length and style of speech mean nothing."
)
_PLAIN = 'Answer with nothing but "[[A]]" if A is better, "[[B]]" if B is better, or "[[C]]" for a tie.'
_EXPLAINED = (
    'Explain in a few sentences, then end with your verdict: "[[A]]" if A is better, "[[B]]" if B is better, or '
    '"[[C]]" for a tie.'
)
_MARK = re.compile(r"\[\[\s*(A|B|C|tie)\s*\]\]", re.I)
_ALONE = re.compile(
    r"\W*(?:(?:the\s+)?(?:answer|response|assistant|winner|verdict)(?:\s+is)?\W*)?(A|B|C|tie)\W*", re.I
)


def compare_prompt(instruction: str, input_text: str, reference: str, first: str, second: str) -> str:
    """The question, without the line that says how to answer."""
    given = f"\n\nInput:\n{input_text}" if input_text else ""
    return (
        f"Instruction:\n{instruction}{given}\n\nA correct response:\n{reference}\n\n"
        f"Response A:\n{first}\n\nResponse B:\n{second}\n\n"
    )


def compare_request(prompt: str, *, explain: bool, attempt: int = 0) -> Request:
    """Greedy with seed 123; a further try is warmer, or it would give the same answer again."""
    request = Request(
        messages=(
            Message("system", _SYSTEM),
            Message("user", prompt + (_EXPLAINED if explain else _PLAIN)),
        ),
        max_tokens=_MAX_TOKENS,
        temperature=0.0,
        seed=SEED,
    )
    return replace(request, temperature=0.3 * attempt, seed=SEED + attempt) if attempt else request


def read_place(text: str) -> Place:
    """Which place the judge prefers. Raises Unreadable where it does not say so plainly."""
    whole, _ = clean(text)
    answer = whole[:_MAX_ANSWER].rsplit("</think>", 1)[-1]
    marks = {match[1].upper() for match in _MARK.finditer(answer)}
    if len(marks) == 1:
        return _place(marks.pop())
    if not marks:
        alone = _ALONE.fullmatch(answer.strip()) or _ALONE.fullmatch(_of_json(answer))
        if alone:
            return _place(alone[1].upper())
    elif _MARK.search(answer.rstrip()[-12:]):
        # The prompt's own words come first where a judge repeats them; the verdict stands at the end.
        return _place(_MARK.findall(answer)[-1].upper())
    raise Unreadable(f"no verdict in the answer: {one_line(whole, 100)!r}")


def _place(mark: str) -> Place:
    return "A" if mark == "A" else "B" if mark == "B" else "tie"


def _of_json(text: str) -> str:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return ""
    found = value.get("winner", value.get("verdict", "")) if isinstance(value, dict) else ""
    return found if isinstance(found, str) else ""


@dataclass(frozen=True, slots=True)
class Compared:
    """Both orders together. `value`: 1 win, 0.5 tie, 0 loss of the first subject; `consistent`: the orders agree."""

    outcome: Outcome
    value: float
    consistent: bool


def combine(as_first: Place, as_second: Place) -> Compared:
    """From the verdict with our answer as A, and the one with our answer as B.

    A win needs one order won and none lost. Where each order prefers the other answer, the place decided: a tie.
    """
    points = _points(as_first, "A") + _points(as_second, "B")
    consistent = (as_first, as_second) in (("A", "B"), ("B", "A"), ("tie", "tie"))
    outcome: Outcome = "win" if points > 0 else "loss" if points < 0 else "tie"
    return Compared(outcome, {"win": 1.0, "tie": 0.5, "loss": 0.0}[outcome], consistent)


def _points(verdict: Place, ours: str) -> int:
    return 0 if verdict == "tie" else 1 if verdict == ours else -1

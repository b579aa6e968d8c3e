"""Judging against a reference answer: the reference text's two prompts, and reading 0 to 100 out of what comes back.

The prompts are those of chapter 7 of "Build a Large Language Model (From Scratch)" (S. Raschka), byte for byte, and so
are seed and temperature. The text's own reader, `int(answer)`, drops every answer in words; this one reads what is
said plainly and raises `Unreadable` for anything else. It never guesses.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

from pairsmith.backends.protocol import Message, Request
from pairsmith.backends.text import clean, one_line

PromptKind = Literal["integer", "explained"]

SEED = 123
NUM_CTX = 2048
"""The window that the reference text gives its judge in Ollama."""
TRIES = 3
_MAX_TOKENS = 1024
_MAX_ANSWER = 20_000
_PREAMBLE = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request."
)


class Unreadable(Exception):
    """An answer that holds no clear score. The message says what came instead."""


def instruction_text(instruction: str, input_text: str) -> str:
    """The entry as the judge sees it: the text's `format_input`, whatever style the model was trained in."""
    given = f"\n\n### Input:\n{input_text}" if input_text else ""
    return f"{_PREAMBLE}\n\n### Instruction:\n{instruction}{given}"


def score_prompt(kind: PromptKind, instruction: str, input_text: str, reference: str, answer: str) -> str:
    """The question to the judge."""
    return (
        f"Given the input `{instruction_text(instruction, input_text)}` "
        f"and correct output `{reference}`, "
        f"score the model response `{answer}`"
        " on a scale from 0 to 100, where 100 is the best score. "
    ) + ("Respond with the integer number only." if kind == "integer" else "")


def score_request(prompt: str, attempt: int = 0) -> Request:
    """Greedy with seed 123, as the text asks; a further try is warmer, or it would give the same answer again."""
    request = Request(messages=(Message("user", prompt),), max_tokens=_MAX_TOKENS, temperature=0.0, seed=SEED)
    return replace(request, temperature=0.3 * attempt, seed=SEED + attempt) if attempt else request


_NUMBER = r"(?<![\d.,/–-])(\d{1,3}(?:\.\d{1,4})?)"
_ENDS = r"(?![\d/%]|[.,]\d|\s*(?:-|–|to\b|out of\b|of\s+\d))"
_OF_100 = r"\s*(?:/|out of(?: a (?:possible|total(?: of)?))?)\s*100(?![\d]|[.,]\d)(?:\s*(?:points|%))?"
_ALONE = re.compile(
    rf"(?:score|rating|grade)?\s*[:=]?\s*([+-]?\d+(?:\.\d+)?)\s*(?:{_OF_100}|%|points)?\s*\.?", re.I
)
_FRACTION = re.compile(rf"{_NUMBER}{_OF_100}", re.I)
_OTHER_SCALE = re.compile(r"\d\s*(?:/|out of)\s*(?:5|10|20|50|1000)(?![\d]|[.,]\d)", re.I)
_NOT_GIVEN = re.compile(
    r"\s*points?\s+(?:below|under|short|less|lower|off|away|deducted)\b"
    r"|(?:\s*(?:points|%))?,?\s+(?:if|had|were)\s+(?:it|the|this|that|they|there)\b",
    re.I,
)
"""After a number: points that are taken off, or a score on a condition."""
_RANGE = re.compile(
    r"(?:\d{1,3}\s*(?:-|–|to)\s*|between\s+\d{1,3}\s+and\s+)\d{1,3}\s*(?:/|out of)\s*100", re.I
)
_NAMED = re.compile(
    r"\b(?:scor(?:e|ed|ing)|rat(?:e|ed|ing)|grad(?:e|ed|ing)|giv(?:e|ing)|award(?:ed)?|assign(?:ed)?)\b"
    rf"[^.!?;\n\d]{{0,80}}?{_NUMBER}{_ENDS}",
    re.I,
)
_LABEL = re.compile(
    r"(?:^|\n)\W*(?:(?:the\s+)?(?:final|overall|total|my)\s+)?(?:score|rating|grade)\W{0,4}$", re.I
)
_FINAL = re.compile(r"\b(?:final|overall|total)\s+(?:score|rating|grade)\b[^.!?\n\d]{0,30}$", re.I)
_STATES = re.compile(
    r"\b(?:I|we)(?:['’]d|['’]ll|\s+would|\s+will|\s+must|\s+have\s+to)?\s+(?:\w+\s+)?"
    r"(?:scor|rat|grad|giv|award|assign|say)\w*\b[^.!?\n]*$"
    r"|\b(?:deserves|earns|gets|receives|scores)\b[^.!?\n]*$"
    r"|\b(?:score|rating|grade)\b[^.!?\n]*\b(?:is|be|of|as|at)\b[^.!?\n]*$",
    re.I,
)
_NEGATED = re.compile(
    r"\b(?:not|never|cannot|instead of|rather than|than|if|unless|perfect|best(?: possible)?|maximum|highest|lowest|"
    r"full|worst|possible|would have|could have|should have|might have)\b[^.!?;\n]*$|n['’]t\b[^.!?;\n]*$",
    re.I,
)
_CLAUSE = re.compile(r",\s+(?=(?:I|we|so|therefore|hence|this|it)\b)|\bbut\b", re.I)


@dataclass(frozen=True, slots=True)
class _Candidate:
    value: float
    rank: int
    start: int


def read_score(text: str) -> float:
    """0 to 100 as the judge said it. Raises Unreadable: none, another scale, a range, or two that contradict."""
    whole, _ = clean(text)
    plain = re.sub(r"[*_#`~]|\\boxed|[{}]", "", _without_thinking(whole)[:_MAX_ANSWER]).strip()
    alone = _ALONE.fullmatch(plain)
    if alone:
        return _in_range(float(alone[1]), whole)
    candidates = _candidates(plain)
    if not candidates:
        raise Unreadable(f"no score in the answer: {one_line(whole, 100)!r}")
    best = max(candidate.rank for candidate in candidates)
    said = [candidate for candidate in candidates if candidate.rank == best]
    if len({candidate.value for candidate in said}) > 1:
        first_line = _first_sentence(plain)
        leading = [candidate for candidate in said if candidate.start < first_line]
        if best >= _FINAL_RANK:
            said = said[-1:]
        elif len({candidate.value for candidate in leading}) == 1:
            said = leading
        else:
            values = ", ".join(f"{candidate.value:g}" for candidate in said[:4])
            raise Unreadable(f"several scores in the answer ({values}): {one_line(whole, 100)!r}")
    return _in_range(said[0].value, whole)


_FINAL_RANK, _LABEL_RANK, _STATED_RANK, _MENTIONED_RANK = 4, 3, 2, 1


def _candidates(text: str) -> list[_Candidate]:
    found: dict[int, _Candidate] = {}
    ranges = [match.span() for match in _RANGE.finditer(text)]
    for pattern in (_FRACTION, _NAMED):
        for match in pattern.finditer(text):
            start = match.start(1)
            if start in found or any(low <= start < high for low, high in ranges):
                continue
            if _OTHER_SCALE.match(text, match.end(1) - 1) or _NOT_GIVEN.match(text, match.end()):
                continue
            rank = _rank(text[max(0, start - 300) : start], fraction=pattern is _FRACTION)
            if rank:
                found[start] = _Candidate(float(match[1]), rank, start)
    return sorted(found.values(), key=lambda candidate: candidate.start)


def _rank(before: str, *, fraction: bool) -> int:
    """How plainly the words before a number say that it is the score; 0: they say that it is not."""
    if _FINAL.search(before):
        return _FINAL_RANK
    if _LABEL.search(before):
        return _LABEL_RANK
    sentence = re.split(r"[.!?]\s|[;\n]", before)[-1]
    quoted = re.sub(r"[\"“'‘]([^\"”\n]*)[\"”]", "", sentence)
    if _NEGATED.search(_CLAUSE.split(quoted)[-1]):
        return 0
    if _STATES.search(quoted):
        return _STATED_RANK
    return _MENTIONED_RANK if fraction else 0


def _in_range(value: float, whole: str) -> float:
    if not 0 <= value <= 100:
        raise Unreadable(f"{value:g} is not from 0 to 100: {one_line(whole, 100)!r}")
    return value


def _first_sentence(text: str) -> int:
    """Where the first sentence ends."""
    match = re.search(r"[.!?](?:\s|$)|\n", text)
    return match.end() if match else len(text)


def _without_thinking(text: str) -> str:
    """What a reasoning model said after it had thought."""
    answer = text.rsplit("</think>", 1)[-1]
    return "" if answer.lstrip().startswith("<think>") else answer

"""What of a document is learnt, and how much each token of it counts."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pairsmith.training.data import IGNORED, Example
from pairsmith.training.vocabulary import Vocabulary

from .form import prompt_text

_CHOICE = 4.0
"""What the first token of a name counts: there the model chooses what to copy, the rest follows almost by itself."""


class Said(Protocol):
    """A message, as `backends.protocol` has it."""

    @property
    def role(self) -> Any: ...
    @property
    def content(self) -> str: ...


class Document(Protocol):
    """What is asked, and what the model is to say."""

    @property
    def messages(self) -> Sequence[Said]: ...
    @property
    def answer(self) -> str: ...
    @property
    def names(self) -> Sequence[str]:
        """What the answer has to copy."""

    @property
    def heard(self) -> Sequence[str]:
        """What is right in the prompt, and is learnt as well."""

    @property
    def heard_weight(self) -> float:
        """What a token of it counts, where one of the answer counts 1."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """An example, and how much each of its labels counts."""

    example: Example
    weights: tuple[float, ...]
    answer: float
    """What the labels of the answer count together."""


def lesson_of(document: Document, words: Vocabulary, context: int, *, plain: bool = False) -> Lesson:
    """A document as ids; `plain`: nothing but the answer is learnt, every token alike.

    Raises ValueError where it does not fit the context.
    """
    prompt = prompt_text([(str(said.role), said.content) for said in document.messages])
    # encoded apart, as llama.cpp does
    asked, said = words.encode(prompt), [*words.encode(document.answer), words.end_of_text]
    ids = [*asked, *said]
    if len(ids) - 1 > context:
        raise ValueError(f"a document of {len(ids) - 1} tokens does not fit {context}")
    counts = [0.0] * len(asked) + [1.0] * len(said)
    if not plain:
        heard = [span for text in document.heard for span in _found(text, prompt)]
        chosen = [(start, start + 1) for name in document.names for start, _ in _found(name, document.answer)]
        for place in _meeting(asked, words, heard):
            counts[place] = document.heard_weight
        for place in _meeting(said, words, chosen):
            counts[len(asked) + place] = _CHOICE
    targets = [token if count else IGNORED for token, count in zip(ids[1:], counts[1:], strict=True)]
    weights = tuple(count for count in counts[1:] if count)
    return Lesson(Example(tuple(ids[:-1]), tuple(targets)), weights, sum(counts[len(asked) :]))


def _found(part: str, text: str) -> list[tuple[int, int]]:
    """The bytes of `text` where `part` stands."""
    return [found.span() for found in re.finditer(re.escape(part.encode()), text.encode())]


def _meeting(ids: Sequence[int], words: Vocabulary, spans: Iterable[tuple[int, int]]) -> set[int]:
    """The places of the tokens that have a byte in one of the spans."""
    ends = list(itertools.accumulate(len(words.tokens[token]) for token in ids))
    return {
        place
        for start, stop in spans
        for place, end in enumerate(ends)
        if end > start and end - len(words.tokens[ids[place]]) < stop
    }

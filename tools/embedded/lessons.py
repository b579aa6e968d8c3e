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

_COMMAND = 2.0
"""What a token of a command counts, where one of an explanation, which may be put in many ways, counts 1."""
_CHOICE = 6.0
"""What the first token of a name counts: there the model chooses what to copy, the rest follows almost by itself."""
_INVENTED = 0.25
"""What a token of a name counts that the model makes up itself: any other would do. The first one says what kind of
name it is, and counts 1."""
_AFTER_INVENTED = 4.0
"""What each of the few tokens after such a name counts: there a small model forgets which sentence it is in."""
_AFTER_BYTES = 12
_COMMANDS = re.compile(rb"`[^`\n]+`")


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
    def begun(self) -> str: ...
    @property
    def answer(self) -> str: ...
    @property
    def names(self) -> Sequence[str]:
        """What the answer has to copy."""

    @property
    def invented(self) -> Sequence[str]:
        """What the answer names without having read it, and what stands as arbitrarily in what is heard."""

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
    prompt = prompt_text([(str(said.role), said.content) for said in document.messages]) + document.begun
    # encoded apart, as llama.cpp does
    asked, said = words.encode(prompt), [*words.encode(document.answer), words.end_of_text]
    ids = [*asked, *said]
    if len(ids) - 1 > context:
        raise ValueError(f"a document of {len(ids) - 1} tokens does not fit {context}")
    counts = [0.0] * len(asked) + [1.0] * len(said)
    if not plain:
        _weigh(counts, document, prompt, words, asked, said)
    targets = [token if count else IGNORED for token, count in zip(ids[1:], counts[1:], strict=True)]
    weights = tuple(count for count in counts[1:] if count)
    return Lesson(Example(tuple(ids[:-1]), tuple(targets)), weights, sum(counts[len(asked) :]))


def _weigh(
    counts: list[float],
    document: Document,
    prompt: str,
    words: Vocabulary,
    asked: Sequence[int],
    said: Sequence[int],
) -> None:
    """Set what counts more or less than a token of an explanation."""
    heard = [span for text in document.heard for span in _found(text, prompt)]
    arbitrary = [span for name in (*document.names, *document.invented) for span in _found(name, prompt)]
    for place in _meeting(asked, words, heard) - _meeting(asked, words, arbitrary):
        counts[place] = document.heard_weight
    answer = document.answer
    copied = [span for name in document.names for span in _found(name, answer)]
    made_up = [span for name in document.invented for span in _found(name, answer)]
    told = (
        (_AFTER_INVENTED, [(stop, stop + _AFTER_BYTES) for _, stop in made_up]),
        (_INVENTED, made_up),
        (1.0, [(start, start + 1) for start, _ in made_up]),
        (_COMMAND, [found.span() for found in _COMMANDS.finditer(answer.encode())]),
        (_CHOICE, [(start, start + 1) for start, _ in copied]),
    )
    for count, spans in told:
        for place in _meeting(said, words, spans):
            counts[len(asked) + place] = count


def _found(part: str, text: str) -> list[tuple[int, int]]:
    """The bytes of `text` where `part` stands."""
    return [found.span() for found in re.finditer(re.escape(part.encode()), text.encode())]


def _meeting(ids: Sequence[int], words: Vocabulary, spans: Iterable[tuple[int, int]]) -> set[int]:
    """The places of the tokens that have a byte in one of the spans."""
    ends = list(itertools.accumulate(len(words.tokens[token]) for token in ids))
    meant = bytearray(ends[-1] if ends else 0)
    for start, stop in spans:
        meant[start:stop] = b"\1" * (stop - start)
    starts = [0, *ends]
    return {place for place, end in enumerate(ends) if any(meant[starts[place] : end])}

"""The documents of which the embedded model is made: the product's own prompts, and what the model is to say to them.

Every prompt is made by the code that makes it in the product (`pairs.topic_tree`, `pairs.judging`, ...), so that a
changed recipe changes the corpus. A group of documents is drawn by kind and random generator alone:

    drawn(rng, "response")           -> one document: an instruction and its response
    drawn(rng, "instructions")       -> one: so many instructions on a topic, these not
    drawn(rng, "topics")             -> one: so many subtopics of the domain, these not
    drawn(rng, "judge")              -> for each of a few responses to one instruction five documents, one for each
                                        attribute; they share all but their ends, which `training.batches.pack` makes
                                        a tree of
    drawn(rng, "judge json")         -> one: rationale and grades as JSON
    drawn(rng, "other")              -> one: the other prompts that the product has (Self-Instruct, evaluation, mending)

`drawn_held_out` does the same for evaluation: phrasings, names, wordings of the domain and kinds of flaws that `drawn`
never gives. `documents(seed, count, split)` is a stream of groups by `SHARES`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pairsmith.backends.protocol import Message

from .corruptions import UNTOUCHED, Judged
from .prepared import Case, Split

SHARES: Mapping[str, float] = {
    "response": 0.40,
    "instructions": 0.20,
    "topics": 0.03,
    "judge": 0.25,
    "judge json": 0.07,
    "other": 0.05,
}
"""The kinds of documents, and how often `documents` draws a group of each; 1 together."""


@dataclass(frozen=True, slots=True)
class Document:
    """One question to the model. `messages` end with the user's; `answer` is what the model says after `begun`.

    What an evaluation needs to know stands beside: the `case` (intent, phrasing, names) of a response, what was
    `judged` and which `attribute` is asked for, how many items a list was `asked` for and which ones were `shown`.
    """

    kind: str
    messages: tuple[Message, ...]
    answer: str
    case: Case | None = None
    judged: Judged | None = None
    attribute: str = ""
    asked: int = 0
    shown: tuple[str, ...] = ()
    topic: int = -1
    """The place of a list's topic in the grammar."""
    constrained: bool = False
    """Whether the product would bind the answer to a JSON schema."""
    invented: tuple[str, ...] = ()
    """The names in a list's instructions, and in those that it was shown."""
    begun: str = ""
    """What the product begins the answer with; no part of `answer`."""

    @property
    def names(self) -> tuple[str, ...]:
        """What the answer has to copy."""
        if self.case is None or self.kind == "judge":
            return ()
        return tuple(self.case.values.values())

    @property
    def heard(self) -> tuple[str, ...]:
        """What is right in the prompt, and as good to learn from as what the model writes: instructions, responses.

        Who can say what a good response says next sees where another one departs from it.
        """
        if self.case is None:
            return self.shown if self.kind == "instructions" else ()
        if self.judged is not None and self.judged.kind == UNTOUCHED:
            return (*self._asked, self.judged.response)
        return self._asked

    @property
    def _asked(self) -> tuple[str, ...]:
        """The instruction, where it is as someone would write it."""
        return () if self.case is None or self.case.reworded else (self.case.instruction,)

    @property
    def heard_weight(self) -> float:
        """What a token of `heard` counts, where a token of the answer counts 1; a grade is a single one."""
        return 1.0 if self.judged is None else 0.03


def drawn(rng: random.Random, kind: str) -> Sequence[Document]:
    """A group of documents of training. Raises KeyError for an unknown kind."""
    return _makers()[kind](rng, "train")


def drawn_held_out(rng: random.Random, kind: str) -> Sequence[Document]:
    """A group of documents that training never sees. Raises KeyError for an unknown kind."""
    return _makers()[kind](rng, "held-out")


def documents(seed: int, count: int, split: Split = "train") -> Iterator[Document]:
    """`count` documents, kinds by `SHARES`, whole groups one after the other; deterministic."""
    kinds, weights = list(SHARES), list(SHARES.values())
    number = made = 0
    while made < count:
        rng = random.Random(f"{seed}/{split}/{number}")
        number += 1
        for document in _makers()[rng.choices(kinds, weights)[0]](rng, split):
            yield document
            made += 1
            if made == count:
                return


Maker = Callable[[random.Random, Split], Sequence[Document]]


def _makers() -> Mapping[str, Maker]:
    from . import judge_documents, list_documents, other_documents

    return {
        "response": other_documents.response,
        "instructions": list_documents.instructions,
        "topics": list_documents.topics,
        "judge": judge_documents.one_pass,
        "judge json": judge_documents.as_json,
        "other": other_documents.other,
    }

"""The grammar made ready for drawing fast: every wording of every phrasing taken apart once.

Here is also decided what is held out of training: one phrasing in ten of each intent, none of them a near-duplicate of
one that is trained on, and the held-out values of `slots`.
"""

from __future__ import annotations

import itertools
import random
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from pairsmith.pairs.similarity import SimilarityIndex

from .intents import Grammar, Intent, alternatives, alternatives_of, capitalised, load_grammar
from .rewording import reworded
from .slots import SLOT, Slot, bind, slots_of

Split = Literal["train", "held-out"]
MOST_WORDINGS = 64
HELD_OUT_SHARE = 0.1
"""Phrasings of an intent that training never sees, one at least."""
_REWORDED_SHARE = 0.6


@dataclass(frozen=True, slots=True)
class Text:
    """A text with slots, taken apart."""

    template: str
    slots: tuple[Slot, ...]

    def fill(self, values: Mapping[Slot, str]) -> str:
        """The text with the values."""
        return self.template % tuple([values[slot] for slot in self.slots])


@dataclass(frozen=True, slots=True)
class Ready:
    """An intent made ready. `number` is its place among all intents."""

    number: int
    intent: Intent
    slots: tuple[Slot, ...]
    phrasings: tuple[tuple[Text, ...], ...]
    """The wordings of each phrasing."""
    commands: tuple[Text, ...]
    other: tuple[tuple[Text, ...], ...]
    explains: tuple[Text, ...]
    warning: Text | None
    tip: Text | None
    trained: tuple[int, ...]
    """The phrasings of training."""
    held_out: tuple[int, ...]
    """The phrasings that training never sees."""

    def phrasings_of(self, split: Split) -> tuple[int, ...]:
        """The phrasings that a split asks with."""
        return self.trained if split == "train" else self.held_out


@dataclass(frozen=True, slots=True)
class Case:
    """One instruction: an intent, one of its phrasings, and values."""

    ready: Ready
    phrasing: int
    values: Mapping[Slot, str]
    instruction: str
    reworded: bool = False
    """Whether the instruction is the phrasing in other words, perhaps with some left out."""

    @property
    def intent(self) -> Intent:
        return self.ready.intent

    @property
    def commands(self) -> tuple[str, ...]:
        """The answer."""
        return tuple(text.fill(self.values) for text in self.ready.commands)

    @property
    def answers(self) -> tuple[tuple[str, ...], ...]:
        """Every right sequence of commands, the taught one first."""
        others = (tuple(text.fill(self.values) for text in texts) for texts in self.ready.other)
        return (self.commands, *others)


@dataclass(frozen=True, slots=True)
class ReadyTopic:
    """A topic made ready."""

    names: tuple[str, ...]
    intents: tuple[Ready, ...]


@dataclass(frozen=True, slots=True)
class ReadyGrammar:
    """The whole grammar made ready."""

    topics: tuple[ReadyTopic, ...]
    intents: tuple[Ready, ...]
    topic_of: tuple[int, ...]
    """The place of each intent's topic."""


def held_out_phrasings(intent: Intent) -> tuple[int, ...]:
    """The phrasings of an intent that are kept out of training: by hash, near-duplicates of others never."""
    index = SimilarityIndex()
    firsts = [alternatives(phrasing) for phrasing in intent.phrasings]
    for number, text in enumerate(firsts):
        index.add(number, text)
    chosen: list[int] = []
    wanted = max(1, round(len(firsts) * HELD_OUT_SHARE))
    for number in sorted(
        range(len(firsts)), key=lambda number: zlib.crc32(f"{intent.name}:{number}".encode())
    ):
        near = index.best(firsts[number], exclude=number)
        if len(chosen) < wanted and (near is None or near.score <= index.threshold):
            chosen.append(number)
    return tuple(sorted(chosen)) or (0,)


def take_apart(text: str) -> Text:
    """A text with slots as a template."""
    template = SLOT.sub("%s", text.replace("%", "%%"))
    return Text(template, tuple(Slot(match[1], match[2] or "") for match in SLOT.finditer(text)))


@lru_cache(maxsize=1)
def shipped() -> ReadyGrammar:
    """The grammar of this folder, read once."""
    return prepare(load_grammar())


def prepare(grammar: Grammar) -> ReadyGrammar:
    """A grammar made ready."""
    numbers = itertools.count()
    topics = tuple(
        ReadyTopic(topic.names, tuple(_ready(next(numbers), intent) for intent in topic.intents))
        for topic in grammar.topics
    )
    places = tuple(place for place, topic in enumerate(topics) for _ in topic.intents)
    return ReadyGrammar(topics, tuple(ready for topic in topics for ready in topic.intents), places)


def _ready(number: int, intent: Intent) -> Ready:
    held_out = held_out_phrasings(intent)
    return Ready(
        number,
        intent,
        # What only a `setup` names is nothing that a person says.
        slots_of(*intent.commands, *(line for lines in intent.other for line in lines), *intent.phrasings),
        tuple(_wordings(phrasing) for phrasing in intent.phrasings),
        tuple(take_apart(line) for line in intent.commands),
        tuple(tuple(take_apart(line) for line in lines) for lines in intent.other),
        tuple(take_apart(line) for line in intent.explains),
        take_apart(intent.warning) if intent.warning else None,
        take_apart(intent.tip) if intent.tip else None,
        tuple(number for number in range(len(intent.phrasings)) if number not in held_out),
        held_out,
    )


def _wordings(phrasing: str) -> tuple[Text, ...]:
    return tuple(
        take_apart(capitalised(text)) for text in itertools.islice(alternatives_of(phrasing), MOST_WORDINGS)
    )


def draw_case(
    ready: Ready,
    rng: random.Random,
    split: Split,
    phrasings: Sequence[int] = (),
    *,
    rough: bool = False,
    plain: bool = False,
) -> Case:
    """An instruction of an intent. `phrasings`: those to choose from, if not the split's; `rough`: now and then as
    people type in a hurry, and in training often in other words; `plain`: in its first wording, with ordinary
    names."""
    phrasing = rng.choice(phrasings or ready.phrasings_of(split))
    values = bind(ready.slots, rng, held_out=split == "held-out", plain=plain)
    wording = ready.phrasings[phrasing][0] if plain else rng.choice(ready.phrasings[phrasing])
    if not rough:
        return Case(ready, phrasing, values, wording.fill(values))
    other = split == "train" and rng.random() < _REWORDED_SHARE
    if other:
        wording = replace(wording, template=reworded(wording.template, rng))
    return Case(ready, phrasing, values, _roughened(wording.fill(values), values, rng), other)


_HURRIED = 0.06


def _roughened(text: str, values: Mapping[Slot, str], rng: random.Random) -> str:
    chance = rng.random()
    if chance < _HURRIED and not any(text.startswith(value) for value in values.values()):
        text = text[:1].lower() + text[1:]
    if chance > 1 - _HURRIED or chance < _HURRIED / 2:
        text = re.sub(r"(?<=\w)[.?!]$", "", text)
    return text

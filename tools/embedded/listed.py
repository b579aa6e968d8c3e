"""Which phrasings stand in lists of instructions, and which of them comes next.

To write a phrasing well takes more learning than to understand it, and a small model forgets its sentence over a name
that it made up. So of each intent those stand in lists that are short and say little after a name, best those that
have spoken of Git before it, and none that is a near-duplicate of another of its topic.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from functools import lru_cache

from pairsmith.pairs.similarity import SimilarityIndex

from .prepared import Ready, ReadyTopic, Text, shipped
from .recognise import GIT

MOST = 30
"""Phrasings of an intent that stand in lists."""
LEAST = 12
"""From so many on, none that says only after a name what it is about."""
_LATE = 1000


@lru_cache(maxsize=1)
def listed() -> tuple[tuple[int, ...], ...]:
    """By the number of an intent, its phrasings that stand in lists, easy ones first."""
    found: dict[int, tuple[int, ...]] = {}
    for topic in shipped().topics:
        found.update(_of(topic))
    return tuple(found[number] for number in sorted(found))


def _of(topic: ReadyTopic) -> dict[int, tuple[int, ...]]:
    index = SimilarityIndex()
    chosen: dict[int, list[int]] = {ready.number: [] for ready in topic.intents}
    every = [
        (_effort(ready.phrasings[one][0]), ready.number, one)
        for ready in topic.intents
        for one in ready.trained
    ]
    for effort, number, one in sorted(every):
        if len(chosen[number]) >= (LEAST if effort >= _LATE else MOST):
            continue
        ready = shipped().intents[number]
        text = ready.phrasings[one][0].fill({slot: slot.kind for slot in ready.slots})
        if index.admit((number, one), text) is None:
            chosen[number].append(one)
    return {number: tuple(numbers) for number, numbers in chosen.items()}


def _effort(text: Text) -> int:
    """Words, those after a name twice; beyond all others what says only after a name what it is about."""
    before, *after = re.split("%s", text.template)
    later = sum(len(part.split()) for part in after)
    late = _LATE if later and not GIT.search(before) else 0
    return len(before.split()) + 2 * later + 2 * len(text.slots) + late


def next_phrasing(ready: Ready, free: Sequence[int], rng: random.Random) -> int:
    """One of the phrasings, drawn word by word: wherever they part, a small group has more than its share.

    Where every way on is about as likely as the others, a sampler that leaves out what is unlikely (min_p) leaves out
    none of them. Raises IndexError where none is free.
    """
    left = [(ready.phrasings[number][0].template.lower().split(), number) for number in free]
    place = 0
    while len(left) > 1:
        ways: dict[str, list[tuple[list[str], int]]] = {}
        for words, number in left:
            ways.setdefault(words[place] if place < len(words) else "", []).append((words, number))
        groups = list(ways.values())
        (left,) = rng.choices(groups, [len(group) ** 0.5 for group in groups])
        place += 1
    return left[0][1]

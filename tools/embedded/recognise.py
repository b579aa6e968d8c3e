"""Which intent of the grammar an instruction comes from, if any: is a list that the model wrote on the domain?"""

from __future__ import annotations

import random
from functools import lru_cache

from pairsmith.pairs.similarity import SimilarityIndex

from .prepared import draw_case, shipped

LEAST = 0.5
"""ROUGE-L to the nearest phrasing from which an instruction counts as one of the grammar's."""


@lru_cache(maxsize=1)
def _phrasings() -> SimilarityIndex:
    index = SimilarityIndex()
    rng = random.Random("recognise")
    for ready in shipped().intents:
        for phrasing in range(len(ready.phrasings)):
            index.add((ready.number, phrasing), draw_case(ready, rng, "train", (phrasing,)).instruction)
    return index


def intent_of(instruction: str, least: float = LEAST) -> int | None:
    """The number of the intent whose phrasings are nearest to an instruction; None where none is near enough."""
    near = _phrasings().best(instruction)
    return near.key[0] if near is not None and near.score >= least and isinstance(near.key, tuple) else None


def topic_of(instruction: str, least: float = LEAST) -> int | None:
    """The place of the topic that an instruction is on; None where it is not of the grammar."""
    number = intent_of(instruction, least)
    return None if number is None else shipped().topic_of[number]

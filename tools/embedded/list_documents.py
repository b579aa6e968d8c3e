"""Documents in which a list is asked for: instructions on a topic, or subtopics of the domain."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from pairsmith.backends.protocol import Request
from pairsmith.pairs.diversity import DiversityMeter
from pairsmith.pairs.recipe_tables import Recipe
from pairsmith.pairs.recipes import load_recipe
from pairsmith.pairs.steering import steering
from pairsmith.pairs.topic_tree import instructions_request, topics_request

from . import wordings
from .documents import Document
from .listed import listed, next_phrasing
from .prepared import Case, Ready, ReadyTopic, Split, draw_case, shipped

MOST_ASKED = 20
MOST_TOPICS = 12
_CONSTRAINED_SHARE = 0.97
"""Lists that are asked for as JSON, as llama.cpp is; the others are numbered, as where no schema can be had."""
_BANK = 400
"""Instructions of a topic from which those that exist already are drawn."""
_OWN_SHARE = 0.7
"""Of the instructions that exist already, those that are such as the model writes."""
_SHOWN = ((0, 0), (0, 0), (1, 6), (1, 12), (1, 20), (1, 40))
"""How many exist, at least and at most: these are about as frequent. Long ones are hard to avoid, and learnt more."""
_METERS = 48
_ANYTHING_SHARE = 0.04
_MORE_THAN_THERE_ARE = 0.1
_STEERED_SHARE = 0.5


@lru_cache(maxsize=1)
def recipe() -> Recipe:
    """The recipe of a first run."""
    return load_recipe("english")


def instructions(rng: random.Random, split: Split) -> Sequence[Document]:
    """So many instructions on a topic, none of them those that are shown."""
    held_out = split == "held-out"
    place = rng.randrange(len(shipped().topics))
    topic = shipped().topics[place]
    count = _count(rng)
    shown = _existing(place, rng, split)
    name = wordings.topic(topic.names, rng, held_out=held_out)
    if rng.random() < _ANYTHING_SHARE:
        # What the grammar does not know by name gets something of everything.
        place, name = -1, rng.choice((wordings.outside_topic(rng), wordings.domain(rng, held_out=held_out)))
        topic = ReadyTopic(
            (), tuple(rng.sample(shipped().intents, min(2 * MOST_ASKED, len(shipped().intents))))
        )
    constrained = rng.random() < _CONSTRAINED_SHARE
    meter = rng.choice(_meters()) if len(shown) > 3 and rng.random() < _STEERED_SHARE else None
    steer = steering(recipe().diversity, meter, rng) if meter else ""
    request = instructions_request(
        recipe(),
        wordings.domain(rng, held_out=held_out),
        name,
        count,
        [case.instruction for case in shown],
        constrained=constrained,
        steer=steer,
    )
    overused = meter.overused() if meter else []
    new = new_cases(topic, shown, count, rng, split, overused)
    texts = [case.instruction for case in shown]
    made = _list(request, "instructions", [case.instruction for case in new], count, texts, place)
    names = dict.fromkeys(name for case in (*new, *shown) for name in case.values.values())
    return (replace(made, invented=tuple(names)),)


def new_cases(
    topic: ReadyTopic,
    shown: Sequence[Case],
    count: int,
    rng: random.Random,
    split: Split,
    avoid: Sequence[str] = (),
) -> list[Case]:
    """`count` instructions that differ from those shown and from each other in intent or at least in phrasing.

    The intents of a topic take turns, from anywhere on: what comes next is known from what came before.
    """
    used: dict[int, set[int]] = {}
    for case in shown:
        used.setdefault(case.ready.number, set()).add(case.phrasing)
    first = rng.randrange(len(topic.intents))
    order = (*topic.intents[first:], *topic.intents[:first])
    made: list[Case] = []
    while len(made) < count:
        before = len(made)
        for ready in order:
            free = [one for one in _phrasings(ready, split) if one not in used.get(ready.number, ())]
            if free and len(made) < count:
                case = _steered(ready, rng, split, free, avoid)
                used.setdefault(ready.number, set()).add(case.phrasing)
                made.append(case)
        if len(made) == before:
            break
    return made


def _steered(
    ready: Ready, rng: random.Random, split: Split, free: Sequence[int], avoid: Sequence[str]
) -> Case:
    """A case that does not begin with what there is too much of, if that can be had in a few tries."""
    for _ in range(4):
        case = draw_case(ready, rng, split, (next_phrasing(ready, free, rng),), plain=True)
        lower = case.instruction.lower()
        if not any(lower.startswith(word) for word in avoid):
            break
    return case


def _phrasings(ready: Ready, split: Split) -> Sequence[int]:
    known = listed()[ready.number]
    return known if split == "train" else (*known, *ready.held_out)


def _count(rng: random.Random) -> int:
    return rng.choice((20, 20, 10, 5, 3, rng.randint(1, MOST_ASKED), rng.randint(3, MOST_ASKED)))


def _existing(place: int, rng: random.Random, split: Split) -> list[Case]:
    least, most = rng.choice(_SHOWN if split == "held-out" else (*_SHOWN, (25, 40)))
    return rng.sample(_bank(place, split), rng.randint(least, most))


@lru_cache(maxsize=256)
def _bank(place: int, split: Split) -> list[Case]:
    """Instructions of a topic that stand for what a workspace holds already."""
    rng = random.Random(f"bank/{split}/{place}")
    topic = shipped().topics[place]
    made = []
    for _ in range(_BANK):
        ready = rng.choice(topic.intents)
        plain = split == "train" and rng.random() < _OWN_SHARE
        made.append(draw_case(ready, rng, split, _phrasings(ready, split), plain=plain))
    return made


@lru_cache(maxsize=1)
def _meters() -> list[DiversityMeter]:
    """Meters of made-up workspaces, from which the product's own steering text comes."""
    rng = random.Random("meters")
    meters = []
    for _ in range(_METERS):
        meter = DiversityMeter()
        for place in rng.sample(
            range(len(shipped().topics)), min(rng.choice((1, 2, 5)), len(shipped().topics))
        ):
            bank = _bank(place, "train")
            meter.add_all(case.instruction for case in rng.sample(bank, rng.randint(12, 40)))
        meters.append(meter)
    return meters


def topics(rng: random.Random, split: Split) -> Sequence[Document]:
    """So many subtopics of the domain, none of them those that are there."""
    held_out = split == "held-out"
    places = list(range(len(shipped().topics)))
    rng.shuffle(places)
    there = places[: rng.choice((0, 0, 0, rng.randint(0, len(places) - 1)))]
    free = places[len(there) :]
    count = rng.choice((5, 5, rng.randint(1, MOST_TOPICS)))
    if rng.random() >= _MORE_THAN_THERE_ARE:
        count = min(count, len(free))
    shown = [wordings.topic(shipped().topics[place].names, rng, held_out=held_out) for place in there]
    if rng.random() < 0.15:
        shown.insert(rng.randint(0, len(shown)), wordings.outside_topic(rng))
    request = topics_request(
        recipe(),
        wordings.domain(rng, held_out=held_out),
        count,
        shown,
        constrained=rng.random() < _CONSTRAINED_SHARE,
    )
    named = [shipped().topics[place].names for place in free[:count]]
    items = [names[0] if rng.random() < 0.6 else rng.choice(names) for names in named]
    return (_list(request, "topics", items, count, shown, -1),)


def _list(
    request: Request, name: str, items: Sequence[str], count: int, shown: Sequence[str], place: int
) -> Document:
    return Document(
        name,
        request.messages,
        list_text(request, name, items),
        asked=count,
        shown=tuple(shown),
        topic=place,
        constrained=request.json_schema is not None,
    )


def list_text(request: Request, name: str, items: Sequence[str]) -> str:
    """A list in the form that the request asks for."""
    if request.json_schema is not None:
        return json.dumps({name: list(items)}, ensure_ascii=False)
    if name == "topics":
        return "\n".join(items)
    return "\n".join(f"{number}. {item}" for number, item in enumerate(items, 1))

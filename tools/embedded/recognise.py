"""Is an instruction that the model wrote on the domain, and which intent of the grammar does it come from, if any?

On the domain is what speaks of Git: in Git's own words, or in a phrasing of the grammar that needs none of them ("My
cat walked over the keyboard …"). The intent asks for more: a sentence that makes sense.

An instruction that is one of the grammar's wordings with any names in its places is that intent's. Any other counts as
the intent whose phrasing is nearest to it, if that one is near enough.
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache

from pairsmith.pairs.similarity import SimilarityIndex

from .prepared import Text, draw_case, shipped

LEAST = 0.5
"""ROUGE-L to the nearest phrasing from which an instruction counts as one of the grammar's."""
GIT = re.compile(
    r"(?<!\w)(?:(?:git|(?:un)?commit|branch|merg|rebas|(?:un)?stash|remote|upstream|push|pull|fetch|clon|(?:un)?stag"
    r"|patch|blam|bisect|reflog|cherry-?pick|revert|worktree|working (?:tree|cop|director)|(?:un)?track|conflict"
    r"|checkout|check out|repo|alias)\w*|(?:tag|index|head|diff|log|hash|version|histor(?:y|ie))(?:s|ged)?(?!\w))",
    re.IGNORECASE,
)
"""What Git's glossary calls things, and its commands; names are taken out before."""
_NAMES = re.compile(r"\S*[/_.:@-]\S*\w|\b[0-9a-f]{7,40}\b")
_SEVERAL_WORDS = {"message", "person"}
_WORD = re.compile(r"\w+")


@lru_cache(maxsize=1)
def _phrasings() -> SimilarityIndex:
    index = SimilarityIndex()
    rng = random.Random("recognise")
    for ready in shipped().intents:
        for phrasing in range(len(ready.phrasings)):
            index.add((ready.number, phrasing), draw_case(ready, rng, "train", (phrasing,)).instruction)
    return index


@lru_cache(maxsize=1)
def _wordings() -> Mapping[str, Sequence[tuple[re.Pattern[str], int]]]:
    """Every wording as a pattern with the number of its intent, by its first word ("" where a name stands there)."""
    found: dict[str, list[tuple[re.Pattern[str], int]]] = defaultdict(list)
    for ready in shipped().intents:
        for texts in ready.phrasings:
            for text in texts:
                found[_first(text)].append((_pattern(text), ready.number))
    return found


def _first(text: Text) -> str:
    match = _WORD.match(text.template.lower())
    return "" if text.template.startswith("%s") or match is None else match[0]


def _pattern(text: Text) -> re.Pattern[str]:
    parts = [re.escape(part % ()) for part in re.split("%s", text.template)]
    parts[-1] = re.sub(r"(?:\\[.?]|!)$", "", parts[-1])
    names = [r"\S+" if slot.kind not in _SEVERAL_WORDS else r".+?" for slot in text.slots]
    joined = parts[0] + "".join(name + part for name, part in zip(names, parts[1:], strict=True))
    return re.compile(joined + r"[.?!]?", re.IGNORECASE)


def intent_of(instruction: str, least: float = LEAST) -> int | None:
    """The number of the intent that an instruction is of; None where none is near enough."""
    asked = " ".join(instruction.split())
    if (number := _wording_of(asked)) is not None:
        return number
    near = _phrasings().best(asked)
    return near.key[0] if near is not None and near.score >= least and isinstance(near.key, tuple) else None


def _wording_of(instruction: str) -> int | None:
    """The number of the intent of which an instruction is a wording, whatever names it has."""
    asked = " ".join(instruction.split())
    match = _WORD.match(asked.lower())
    for first in dict.fromkeys((match[0] if match else "", "")):
        for pattern, number in _wordings().get(first, ()):
            if pattern.fullmatch(asked):
                return number
    return None


def is_on_domain(instruction: str) -> bool:
    """Whether an instruction speaks of Git."""
    return bool(GIT.search(_NAMES.sub(" ", instruction))) or _wording_of(instruction) is not None


def topic_of(instruction: str, least: float = LEAST) -> int | None:
    """The place of the topic that an instruction is on; None where it is not of the grammar."""
    number = intent_of(instruction, least)
    return None if number is None else shipped().topic_of[number]

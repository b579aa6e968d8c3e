"""What a fake server's model says: lists with every kind of defect, responses, scores. Seeded, so that a test repeats.

A brain is a function from a request (the JSON body as sent) to the text of the answer.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_SYLLABLES = [c + v for c in "bdklmnr" for v in "aeiou"]
_GARBAGE = (
    "I'm sorry, but I can't help with that.",
    "",
    "{" * 500,
    "Here is what I think about lists in general. They are useful.",
    '{"instructions": 7}',
    "<think>first I would list a few things",
)


def fresh_instruction(rng: random.Random) -> str:
    """An instruction that resembles no other: ten made-up words."""
    words = ["".join(rng.choice(_SYLLABLES) for _ in range(4)) for _ in range(10)]
    return f"{words[0].capitalize()} {' '.join(words[1:])}."


def prompt_of(body: Mapping[str, Any]) -> str:
    """The last user turn of a chat request."""
    return str([m["content"] for m in body["messages"] if m["role"] == "user"][-1])


def asked_for(prompt: str) -> int | None:
    """How many instructions a list prompt of the shipped recipes asks for; None for any other prompt."""
    found = re.search(r"[Ww]rite (\d+) (?:different )?instructions", prompt)
    return int(found[1]) if found else None


@dataclass
class DefectiveLists:
    """Lists that are, each independently with the given chance, short, long, holding duplicates, holding
    near-duplicates, or garbage. Supply is endless. Responses and scores are made from the instruction's hash."""

    seed: int = 0
    chance: float = 0.3
    topics: Sequence[str] = (
        "Branching",
        "Merging",
        "Committing",
        "Remote repositories",
        "Resolving conflicts",
    )
    passing: float = 1.0
    written: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._rng = random.Random(self.seed)
        self._lock = threading.Lock()

    def __call__(self, body: Mapping[str, Any]) -> str:
        prompt = prompt_of(body)
        if "reward" in str(body.get("model")):
            return reward_text(self.scores(prompt))
        count = asked_for(prompt)
        if count is not None:
            with self._lock:
                return self._list(count)
        if "subtopics" in prompt:
            return ", ".join(self.topics)
        return f"To do that: {hashlib.sha256(prompt.encode()).hexdigest()}"

    def scores(self, instruction: str) -> dict[str, float]:
        """Helpfulness is at least 3 for the share of instructions that passes."""
        draw = int.from_bytes(hashlib.sha256(instruction.encode()).digest()[:4], "big") / 2**32
        helpful = 3.5 if draw < self.passing else 2.0
        return {
            "helpfulness": helpful,
            "correctness": 3.0,
            "coherence": 3.5,
            "complexity": 1.0,
            "verbosity": 1.25,
        }

    def _list(self, count: int) -> str:
        rng = self._rng

        def hit() -> bool:
            return rng.random() < self.chance

        if hit():
            return rng.choice(_GARBAGE)
        if hit():
            count = rng.randint(1, max(1, count // 2))
        if hit():
            count += rng.randint(1, 10)
        items = [fresh_instruction(rng) for _ in range(count)]
        if hit() and self.written:
            for _ in range(rng.randint(1, count)):
                items[rng.randrange(count)] = rng.choice(self.written)
        if hit() and self.written:
            for _ in range(rng.randint(1, count)):
                words = rng.choice(self.written).split()
                words[rng.randrange(len(words) - 1)] = "banana"
                items[rng.randrange(count)] = " ".join(words)
        self.written += items
        return "\n".join(f"{number}. {item}" for number, item in enumerate(items, 1))


def reward_text(scores: Mapping[str, float]) -> str:
    """Five attributes as the reward endpoint spells them."""
    return ",".join(f"{name}:{value}" for name, value in scores.items())


def repeating(items: Sequence[str]) -> Callable[[Mapping[str, Any]], str]:
    """A model that always gives the same list."""

    def brain(body: Mapping[str, Any]) -> str:
        prompt = prompt_of(body)
        if asked_for(prompt) is not None:
            return "\n".join(items)
        return "A, B" if "subtopics" in prompt else f"Answer: {prompt}"

    return brain


def json_scores(scores: Mapping[str, int], rationale: str = "because") -> str:
    """A JSON judge's answer."""
    return json.dumps({"rationale": rationale, **scores})

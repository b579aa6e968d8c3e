"""Which tasks of the pool a Self-Instruct prompt shows: so many of the human seeds, so many of the model's own."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Examples:
    """`human` seeds and `machine` tasks; where the pool has too few of the model's, seeds take their places. `mixed`
    ones are drawn from both without distinction."""

    human: int = 0
    machine: int = 0
    mixed: int = 0

    @property
    def total(self) -> int:
        return self.human + self.machine + self.mixed


PRESETS = {"paper": Examples(6, 2), "alpaca": Examples(3, 0), "mixed": Examples(mixed=3)}
"""The paper's 6 + 2, Alpaca's 3 seeds, and the simplified form's 3 from seeds and generated ones."""
_MOST = 50


def parse_examples(text: str) -> Examples | None:
    """A preset by name, or `6+2` (seeds + the model's own); None for anything else."""
    if text in PRESETS:
        return PRESETS[text]
    match = re.fullmatch(r"(\d{1,2})\+(\d{1,2})", text)
    if match is None:
        return None
    found = Examples(int(match[1]), int(match[2]))
    return found if 1 <= found.total <= _MOST else None


def choose_examples(
    wanted: Examples, seeds: Sequence[str], machine: Sequence[str], rng: random.Random
) -> list[str]:
    """Tasks to show, shuffled, none twice; fewer than wanted where the pool has fewer."""
    if wanted.mixed:
        pool = [*seeds, *machine]
        return rng.sample(pool, min(wanted.mixed, len(pool)))
    own = rng.sample(machine, min(wanted.machine, len(machine)))
    # The first prompts have no machine tasks to show: all are seeds then, 8 in the paper.
    human = rng.sample(seeds, min(wanted.total - len(own), len(seeds)))
    chosen = [*human, *own]
    rng.shuffle(chosen)
    return chosen

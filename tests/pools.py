"""What the Self-Instruct tests share: seed tasks of our own, a fake model that plays every part, a workspace."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pairsmith.pairs.instances import Instance
from pairsmith.pairs.store.seed_tasks import SeedTask

from .brains import DefectiveLists, prompt_of
from .servers.nim import Answer

VERBS = (
    "Explain",
    "Summarize",
    "Compare",
    "Translate",
    "Rewrite",
    "List",
    "Outline",
    "Describe",
    "Suggest",
    "Rank",
)


def seed_rows(count: int = 175, seed: int = 0) -> list[dict[str, Any]]:
    """Rows in the shape of the paper's file: 26 of 175 are classifications, 125 have an input. No two are alike."""
    rng = random.Random(seed)
    rows = []
    for n in range(count):
        words = [
            "".join(rng.choice("bdfgklmnprstvz") + rng.choice("aeiou") for _ in range(3)) for _ in range(8)
        ]
        label = n % 7 == 3
        given = "" if n % 7 in (0, 1) else f"The {words[1]} of {words[2]} number {n}."
        rows.append(
            {
                "id": f"seed_task_{n}",
                "name": f"task_{n}",
                "instruction": f"{VERBS[n % len(VERBS)]} the {' '.join(words)}.",
                "instances": [{"input": given, "output": "yes" if label else f"It is {words[3]} {n}."}],
                "is_classification": label,
            }
        )
    return rows


def write_seeds(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def seeds(*instructions: str) -> tuple[SeedTask, ...]:
    """Seed tasks of these instructions; ten of our own where none is given."""
    if instructions:
        return tuple(SeedTask(text) for text in instructions)
    return tuple(
        SeedTask(
            row["instruction"],
            tuple(Instance(one["input"], one["output"]) for one in row["instances"]),
            row["is_classification"],
            row["name"],
            "test",
        )
        for row in seed_rows(10)
    )


def tasks_asked_for(prompt: str) -> int | None:
    """How many tasks a list prompt of the shipped recipes asks for; None for any other prompt."""
    found = re.search(r"Come up with (\d+) new tasks", prompt)
    return int(found[1]) if found else None


def part_of(prompt: str) -> str:
    """Which of its parts a model is to play: list, classification, instance, label or rewrite."""
    if tasks_asked_for(prompt) is not None:
        return "list"
    if "Is it a classification task?" in prompt:
        return "classification"
    if prompt.startswith("Classification task:"):
        return "label"
    return "rewrite" if "Write it anew" in prompt else "instance"


def task_in(prompt: str) -> str:
    """The instruction that a prompt is about."""
    found = re.search(r"^(?:Programming task|Classification task|Task): (.+)$", prompt, re.MULTILINE)
    assert found is not None, prompt
    return found[1]


@dataclass
class PoolModel:
    """A model that writes defective lists of fresh tasks, and sound instances. Any part can be played otherwise."""

    seed: int = 0
    chance: float = 0.3
    lists: Callable[[int], str] | None = None
    instance: Callable[[str], str | Answer] = lambda task: f"Input: none\nOutput: That is how {task[:40]}"
    classifies: Callable[[str], str] = lambda task: "No"
    rewrites: Callable[[str], str | Answer] = lambda task: task
    prompts: list[tuple[str, str]] = field(default_factory=list)
    """(part, prompt) of every request, in order."""

    def __post_init__(self) -> None:
        self._lists = DefectiveLists(seed=self.seed, chance=self.chance)

    def __call__(self, body: Mapping[str, Any]) -> str | Answer:
        prompt = prompt_of(body)
        part = part_of(prompt)
        self.prompts.append((part, prompt))
        if part == "list":
            count = tasks_asked_for(prompt) or 0
            # DefectiveLists knows the prompts of the topic tree.
            return (self.lists or self._defective)(count)
        task = task_in(prompt)
        if part == "classification":
            return self.classifies(task)
        if part == "rewrite":
            return self.rewrites(task)
        return "Class label: yes\nInput: A text about it." if part == "label" else self.instance(task)

    def _defective(self, count: int) -> str:
        body = {"messages": [{"role": "user", "content": f"write {count} instructions"}], "model": "m"}
        return self._lists(body)

    def asked(self, part: str) -> list[str]:
        """The prompts of one part."""
        return [prompt for name, prompt in self.prompts if name == part]


def numbered(items: Sequence[str]) -> str:
    return "\n".join(f"{number}. {item}" for number, item in enumerate(items, 1))

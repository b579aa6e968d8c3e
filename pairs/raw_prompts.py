"""Prompts for base models, which have no chat template and can only continue a text: those of the Self-Instruct paper.

The paper's fixed examples of classification and of instances are replaced by the seed tasks', which serve any language.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pairsmith.backends.protocol import Request

from .recipes import Recipe
from .store.seed_tasks import SeedTask

_LAST_OF_PROMPT = 8
"""New tasks at most: the paper shows eight and stops before the sixteenth."""
_TASK_PRESENCE = 2.0
_INSTANCE_PRESENCE = 1.5
_LONGEST_EXAMPLE = 600
_EXAMPLES = 3
_INSTANCE_TOKENS = 350
_NUMBER = re.compile(r"\n\s*\d{1,4}\s?[.)]\s*")


def tasks_prompt(recipe: Recipe, examples: Sequence[str]) -> Request:
    """A numbered list of tasks, opened for the next one; `read_continued_list` reads the answer."""
    lines = [f"{number}. {' '.join(task.split()).rstrip(':')}" for number, task in enumerate(examples, 1)]
    following = len(lines) + 1
    last = len(lines) + _LAST_OF_PROMPT
    stage = recipe.tasks
    return Request(
        prompt="\n".join([recipe.self_instruct.raw_header.strip(), *lines, f"{following}."]),
        temperature=stage.temperature,
        top_p=stage.top_p,
        max_tokens=min(stage.max_tokens, 1024),
        presence_penalty=_TASK_PRESENCE,
        stop=("\n\n", f"\n{last}", f"{last}.", f"{last} ."),
    )


def read_continued_list(text: str, *, cut: bool = False) -> list[str]:
    """The tasks of a continued list: the first one's number stood in the prompt. `cut`: the last one is unfinished."""
    items = [" ".join(item.split()) for item in _NUMBER.split("\n1. " + text)[1:]]
    if cut:
        items = items[:-1]
    return [item for item in items if item]


def classification_prompt(seeds: Sequence[SeedTask], instruction: str) -> Request:
    """Whether a task is a classification, after the seeds' examples of both kinds."""
    some = [seed for seed in seeds if len(seed.instruction) <= _LONGEST_EXAMPLE]
    yes = [seed for seed in some if seed.is_classification][:4]
    no = [seed for seed in some if not seed.is_classification][:4]
    lines = ["Can the following task be regarded as a classification task with finite output labels?", ""]
    for seed in [one for both in zip(yes, no, strict=False) for one in both]:
        lines += [
            f"Task: {' '.join(seed.instruction.split())}",
            f"Is it classification? {'Yes' if seed.is_classification else 'No'}",
            "",
        ]
    lines += [f"Task: {' '.join(instruction.split())}", "Is it classification?"]
    return Request(prompt="\n".join(lines), temperature=0.0, max_tokens=3, stop=("\n", "Task"))


def instance_prompt(
    recipe: Recipe, seeds: Sequence[SeedTask], instruction: str, label_first: bool
) -> Request:
    """A task with its instance opened, after examples of the seeds; `instance_opening` is what the prompt ends with."""
    header = (
        "Given a classification task, write a class label and an input of that class."
        if label_first
        else "Come up with an example for each of the following tasks. Where a task needs no input, there is none."
    )
    parts = [header, *_shown(seeds, label_first)]
    parts.append(f"Task: {' '.join(instruction.split())}\n{instance_opening(label_first)}")
    stage = recipe.label_instances if label_first else recipe.instances
    return Request(
        prompt="\n\n".join(parts),
        temperature=0.0,
        max_tokens=min(stage.max_tokens, _INSTANCE_TOKENS),
        presence_penalty=_INSTANCE_PRESENCE,
        stop=("\nTask:", "Example 6"),
    )


def instance_opening(label_first: bool) -> str:
    """The first mark of an instance."""
    return "Class label:" if label_first else "Input:"


def _shown(seeds: Sequence[SeedTask], label_first: bool) -> list[str]:
    fitting = [
        (seed, seed.instances[0])
        for seed in seeds
        if seed.instances
        and seed.is_classification == label_first
        and len(seed.instruction) + len(seed.instances[0].input) + len(seed.instances[0].output)
        <= _LONGEST_EXAMPLE
        and (seed.instances[0].input or not label_first)
    ]
    # One without an input among them, so that the model sees how that is written.
    without = [one for one in fitting if not one[1].input][:1]
    chosen = [one for one in fitting if one[1].input][: _EXAMPLES - len(without)] + without
    texts = []
    for seed, instance in chosen:
        given, said = f"Input: {instance.input or 'none'}", instance.output
        body = f"Class label: {said}\n{given}" if label_first else f"{given}\nOutput: {said}"
        texts.append(f"Task: {' '.join(seed.instruction.split())}\n{body}")
    return texts

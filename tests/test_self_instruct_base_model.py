"""A base model without a chat template, in llama.cpp: it continues raw text, from the list of tasks to the instance."""

from __future__ import annotations

from pathlib import Path

import pytest

from pairsmith.backends.protocol import Request
from pairsmith.backends.registry import Settings
from pairsmith.pairs.generating import GenerateJob, GenerateOptions
from pairsmith.pairs.generation_plan import GenerateSettings
from pairsmith.pairs.limits import Limits
from pairsmith.pairs.raw_prompts import (
    classification_prompt,
    instance_prompt,
    read_continued_list,
    tasks_prompt,
)
from pairsmith.pairs.recipes import load_recipe
from pairsmith.pairs.store.calls import recorded_request

from .generation import end_of, instructions, make_workspace
from .pools import seeds
from .tiny_gguf import make_markov_gguf

RECIPE = load_recipe("self-instruct")


def test_a_list_is_opened_for_the_task_behind_the_eight_that_are_shown() -> None:
    request = tasks_prompt(RECIPE, [f"Explain the word number {n}:" for n in range(8)])
    assert request.prompt is not None
    lines = request.prompt.split("\n")
    assert lines[0] == "Come up with a series of tasks:"
    assert (lines[1], lines[8], lines[9]) == (
        "1. Explain the word number 0",
        "8. Explain the word number 7",
        "9.",
    )
    assert request.stop == ("\n\n", "\n16", "16.", "16 .")
    assert (request.presence_penalty, request.messages) == (2.0, ())


@pytest.mark.parametrize(
    ("text", "cut", "tasks"),
    [
        (" Name a river.\n10. Explain  rain.\n11. Sort.", False, ["Name a river.", "Explain rain.", "Sort."]),
        (" Name a river.\n10. Explain ra", True, ["Name a river."]),
        (" Name a river in\nAsia.\n10 . Say 2.5 times 4.", False, ["Name a river in Asia.", "Say 2.5 times 4."]),
        ("", False, []),
        (" cut", True, []),
    ],
)  # fmt: skip
def test_a_continued_list_is_read_with_the_number_that_stood_in_the_prompt(
    text: str, cut: bool, tasks: list[str]
) -> None:
    assert read_continued_list(text, cut=cut) == tasks


def test_classification_is_asked_after_examples_of_both_kinds_from_the_seeds() -> None:
    prompt = classification_prompt(seeds(), "Name a river.").prompt or ""
    assert prompt.count("Is it classification? Yes") == prompt.count("Is it classification? No") == 1
    assert prompt.endswith("Task: Name a river.\nIs it classification?")


@pytest.mark.parametrize(("label_first", "opening"), [(False, "Input:"), (True, "Class label:")])
def test_an_instance_is_opened_after_the_seeds_own(label_first: bool, opening: str) -> None:
    request = instance_prompt(RECIPE, seeds(), "Name a river.", label_first)
    prompt = request.prompt or ""
    assert prompt.endswith(f"Task: Name a river.\n{opening}")
    assert prompt.count("Task:") >= 2
    assert ("Input: none" in prompt) == (not label_first)
    assert prompt.count("Class label:") == (2 if label_first else 0)


def test_seeds_without_instances_still_open_one() -> None:
    assert (instance_prompt(RECIPE, seeds("Name a river."), "Name a lake.", False).prompt or "").count(
        "Task:"
    ) == 1


def babbling_text() -> str:
    """Lines after which the model babbles: tasks of many words, numbered or not, and instances."""
    verbs = ("explain", "compare", "outline", "rank", "rewrite", "suggest", "describe", "sketch")
    things = (
        "rivers",
        "planets",
        "recipes",
        "novels",
        "bridges",
        "gardens",
        "clocks",
        "islands",
        "trains",
        "songs",
    )
    places = ("Asia", "Europe", "Africa", "winter", "summer", "spring", "school", "town", "books", "history")
    lines = []
    for i, verb in enumerate(verbs):
        for j, thing in enumerate(things):
            for k, place in enumerate(places):
                lines.append(
                    f"{9 + (i + j + k) % 7}. {verb} {thing} {verbs[(i + k) % 8]} {things[(j + i + 1) % 10]} {place}"
                )
                lines.append(f"Output: {thing} {place} {things[(j + k) % 10]}")
    return "\n".join(lines)


async def test_a_pool_grows_from_a_base_model_to_an_exact_number(tmp_path: Path) -> None:
    model = make_markov_gguf(tmp_path / "base.gguf", babbling_text(), chat_template=None, end=0.02)
    with make_workspace(tmp_path, recipe="self-instruct", generator=f"llama-cpp:{model}") as workspace:
        wanted = GenerateSettings(6, "self-instruct", seed=1)
        for calls in (10, 300):
            options = GenerateOptions(seed_tasks=seeds(), limits=Limits(calls=calls))
            job = GenerateJob(workspace, wanted, Settings.from_environment({}), options)
            ended, ledger = end_of([event async for event in job.events()])
            assert ledger.balance() == []
        assert (ended.state, ledger.kept, ledger.missing) == ("done", 6, 0), (ended.reason, ledger)
        assert len(set(instructions(workspace))) == 6
        requests = workspace.read(
            lambda conn: conn.execute("SELECT purpose, request FROM call WHERE state = 'useful'").fetchall()
        )
        assert {purpose for purpose, _ in requests} >= {"instructions", "response"}
        assert all(_of(text).prompt and not _of(text).messages for _, text in requests)


def _of(text: str) -> Request:
    import json

    return recorded_request(json.loads(text))

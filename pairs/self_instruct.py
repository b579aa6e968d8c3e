"""The Self-Instruct method: a few tasks of the pool are shown, new ones are asked for, each gets an instance.

Chat models are asked for a list. Base models without a chat template continue one, as in the paper; their examples of
classification and of instances are the seed tasks' own.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pairsmith.backends.protocol import Capabilities, Completion, Request
from pairsmith.backends.text import clean

from .degenerate import echoes, repeats_endlessly
from .errors import UsageError
from .examples import choose_examples, parse_examples
from .instances import NOTHING, Instance, filter_instances, read_instances
from .instruction_rules import FILTERED, MISSING_INPUT, speaks_of_input
from .methods import ListWritten, Response, RunTopics, Tools, derived_seed
from .raw_prompts import (
    classification_prompt,
    instance_opening,
    instance_prompt,
    read_continued_list,
    tasks_prompt,
)
from .recipes import Recipe
from .refusals import looks_like_refusal
from .sieve import Draft
from .steering import steering
from .store.candidates import Candidate, pool_instructions, set_extra
from .store.driver import sqlite3
from .store.meta import get_meta, set_meta
from .store.seed_tasks import SeedTask, list_seed_tasks
from .store.topics import add_topic, list_topics
from .thinking import without_thinking
from .topic_tree import POOL_TOPIC, list_request, read_list, shown_items, stage_request

_POOL = 5000
"""Newest tasks of the model from which examples are drawn."""
_YES = ("yes", "是")
_NO = ("no", "否", "不")


@dataclass(frozen=True, slots=True)
class Read:
    """An instance that can be stored, or the name of the loss; `detail` says what else was dropped."""

    instance: Instance = NOTHING
    loss: str | None = None
    detail: str | None = None


class SelfInstruct:
    """The method as the generate job drives it."""

    inputs = True

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._seeds: list[SeedTask] = []
        self._lists = 0
        examples = parse_examples(tools.examples or tools.recipe.self_instruct.examples)
        if examples is None:
            raise UsageError(
                f"{tools.examples!r} is no choice of examples", "It is paper, alpaca, mixed or like 6+2"
            )
        self._examples = examples

    async def topics(self, count: int, wanted: int | None) -> RunTopics:
        """The pool, as the one topic of the run. Raises UsageError where there are no seed tasks."""
        workspace, name = self._tools.workspace, self._tools.recipe.self_instruct.topic
        self._seeds = [stored.task for stored in await workspace.aread(list_seed_tasks)]
        if not self._seeds:
            raise UsageError(
                "Self-Instruct starts from seed tasks, and there are none", "Give --seed-tasks FILE"
            )
        return RunTopics([(await workspace.awrite(lambda conn: _pool_topic(conn, name)), None)])

    async def write_list(self, topic_id: int, topic: str, count: int, barren: int) -> ListWritten:
        """New tasks, a few of the pool shown to the model."""
        tools, stage = self._tools, self._tools.recipe.tasks
        pool = await tools.workspace.aread(lambda conn: pool_instructions(conn, topic_id, _POOL))
        self._lists += 1
        rng = random.Random(
            None if tools.seed is None else derived_seed(tools.seed, "examples", str(topic_id), self._lists)
        )
        shown = choose_examples(self._examples, [seed.instruction for seed in self._seeds], pool, rng)
        existing = shown_items(stage, list(reversed(pool[: stage.shown])))
        existing += steering(tools.recipe.diversity, tools.meter, rng)
        raw = False

        def make(capabilities: Capabilities) -> Request:
            nonlocal raw
            raw = not capabilities.chat
            if raw:
                return _warmer(tasks_prompt(tools.recipe, shown), barren)
            request = tasks_request(
                tools.recipe, tools.domain, count, shown, existing, constrained=capabilities.json_schema
            )
            return _warmer(request, barren)

        answered = await tools.ask(make, purpose="instructions", subject=str(topic_id), number=self._lists)
        completion = answered.answer
        if tools.recipe.self_instruct.discard_cut and completion.finish_reason == "length":
            return ListWritten(answered, malformed="cut off")
        if raw:
            items = read_continued_list(clean(completion.text)[0], cut=completion.finish_reason == "length")
            malformed = None if items else "no list"
            return ListWritten(answered, [Draft(item) for item in items], malformed, asked=max(1, len(items)))
        parsed = read_list(completion, count)
        return ListWritten(answered, [Draft(item) for item in parsed.items], parsed.malformed)

    async def respond(self, candidate: Candidate, topic: str) -> Response:
        """The task's instance: is it a classification, then input and output in the order that suits it."""
        tools = self._tools
        label_first = await self._label_first(candidate)
        raw = False

        def make(capabilities: Capabilities) -> Request:
            nonlocal raw
            raw = not capabilities.chat
            if raw:
                return instance_prompt(tools.recipe, self._seeds, candidate.instruction, label_first)
            return instance_request(tools.recipe, tools.domain, candidate.instruction, label_first)

        answered = await tools.ask(
            make, purpose="response", subject=str(candidate.id), number=candidate.attempts
        )
        opening = instance_opening(label_first) if raw else ""
        rules = tools.recipe.pool_rules
        read = read_instance(
            answered.answer, candidate.instruction, opening, missing_input=rules.missing_input
        )
        return Response((answered,), read.instance.output, read.instance.input, read.loss, read.detail)

    async def _label_first(self, candidate: Candidate) -> bool:
        settings = self._tools.recipe.self_instruct
        if settings.output_first != "classification":
            return settings.output_first == "always"
        if not settings.detect_classification:
            return False
        known = (candidate.extra or {}).get("classification")
        return known if isinstance(known, bool) else await self._classify(candidate)

    async def _classify(self, candidate: Candidate) -> bool:
        """Ask, and store the answer at once: a kill behind it does not pay for it again."""
        tools = self._tools
        stage = tools.recipe.classification

        def make(capabilities: Capabilities) -> Request:
            if capabilities.chat:
                return stage_request(stage, {"instruction": candidate.instruction})
            return classification_prompt(self._seeds, candidate.instruction)

        answered = await tools.ask(
            make, purpose="classification", subject=str(candidate.id), number=candidate.attempts
        )
        said = read_yes_or_no(answered.answer.text)
        extra = {**(candidate.extra or {}), "classification": bool(said)}

        def store(conn: sqlite3.Connection) -> None:
            answered.close(conn, None if said is not None else "neither yes nor no")
            set_extra(conn, candidate.id, extra)

        await tools.workspace.awrite(store)
        return bool(said)


def tasks_request(
    recipe: Recipe, domain: str, count: int, examples: Sequence[str], existing: str, *, constrained: bool
) -> Request:
    """Ask a chat model for `count` new tasks."""
    values = {
        "domain": domain,
        "language": recipe.language,
        "count": str(count),
        "examples": "\n".join(f"- {' '.join(task.split())}" for task in examples),
        "existing": existing,
    }
    return list_request(recipe.tasks, values, "instructions", count, constrained)


def instance_request(recipe: Recipe, domain: str, instruction: str, label_first: bool) -> Request:
    """Ask a chat model for an instance of a task."""
    stage = recipe.label_instances if label_first else recipe.instances
    values = {
        "domain": domain,
        "language": recipe.language,
        "instruction": instruction,
        "count": str(stage.count),
    }
    return stage_request(stage, values)


def read_instance(
    completion: Completion, instruction: str, opening: str = "", *, missing_input: bool = True
) -> Read:
    """The first instance that survives the filters, or why there is none. `opening`: what the prompt had begun.

    `missing_input`: an instruction that speaks of a text needs an instance with an input.
    """
    text = without_thinking(opening + clean(completion.text)[0]).strip()
    if completion.finish_reason == "content_filter":
        return Read(loss="refused", detail="by the server's content filter")
    if looks_like_refusal(text):
        return Read(loss="refused", detail="the model declined")
    cut = completion.finish_reason == "length"
    instances = read_instances(text, cut=cut)
    if not instances:
        if cut:
            return Read(loss="cut off", detail=f"after {completion.usage.completion_tokens} tokens")
        return Read(loss="no answer", detail="the response was empty")
    survivors, dropped = filter_instances(instances)
    losses = [FILTERED + why for why in dropped]
    for instance in survivors:
        loss = _unusable(instance, instruction, missing_input)
        if loss is None:
            return Read(instance, detail=_dropped(dropped))
        losses.append(loss)
    return Read(loss=losses[0], detail=_dropped(dropped))


def read_yes_or_no(text: str) -> bool | None:
    """What a model answered to a question of yes or no; None where it is neither."""
    said = without_thinking(clean(text)[0]).strip().strip("*\"'“”‘’").casefold()
    if said.startswith(_YES):
        return True
    return False if said.startswith(_NO) else None


def _unusable(instance: Instance, instruction: str, missing_input: bool) -> str | None:
    if looks_like_refusal(instance.output):
        return "refused"
    if echoes(instance.output, instruction):
        return FILTERED + "echoes the instruction"
    if repeats_endlessly(instance.output):
        return FILTERED + "repeats itself"
    if missing_input and not instance.input and speaks_of_input(instruction):
        return FILTERED + MISSING_INPUT
    return None


def _dropped(counts: dict[str, int]) -> str | None:
    said = ", ".join(f"{why}: {count}" for why, count in counts.items())
    return f"instances dropped ({said})" if said else None


def _warmer(request: Request, barren: int) -> Request:
    """The same prompt at the same temperature says the same again."""
    if not barren or request.temperature is None:
        return request
    return replace(
        request, temperature=max(request.temperature, min(1.0, request.temperature + 0.1 * barren))
    )


def _pool_topic(conn: sqlite3.Connection, name: str) -> int:
    """The pool's topic, made where there is none (any more)."""
    known = get_meta(conn, POOL_TOPIC)
    if known is not None and any(topic.id == int(known) for topic in list_topics(conn)):
        return int(known)
    topic_id = add_topic(conn, name, maker="model")
    set_meta(conn, POOL_TOPIC, str(topic_id))
    return topic_id

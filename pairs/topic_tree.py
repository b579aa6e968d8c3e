"""The topic-tree method: domain -> topics -> instructions -> responses. What is asked, and how answers are read."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from pairsmith.backends.protocol import Capabilities, Completion, Message, Request
from pairsmith.backends.text import clean

from .degenerate import echoes, repeats_endlessly
from .errors import JobStopped
from .list_parsing import ParsedList, parse_list
from .methods import ListWritten, Response, RunTopics, Tools, derived_seed
from .normalise import normal_form
from .recipes import Recipe, Stage
from .refusals import looks_like_refusal
from .sieve import Draft
from .steering import steering
from .store.candidates import Candidate, topic_instructions
from .store.driver import sqlite3
from .store.meta import get_meta
from .store.topics import active_leaves, add_topic
from .templates import fill

POOL_TOPIC = "pool_topic"
"""Where the workspace notes under which topic Self-Instruct's pool stands."""
_TOPIC_TRIES = 4
_MAX_TOPIC_CHARACTERS = 200
_MAX_ITEM_CHARACTERS = 600
"""Bound for a string in a constrained list: small models otherwise write one until the token limit. Bounds in the
thousands crash llama.cpp's grammars, and with them the servers built on it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A response that can be stored, or the name of the loss and its detail."""

    output: str = ""
    loss: str | None = None
    detail: str | None = None


def topics_request(
    recipe: Recipe, domain: str, count: int, existing: Sequence[str], *, constrained: bool
) -> Request:
    """Ask for `count` topics that are not among the existing ones."""
    stage = recipe.topics
    values = {"domain": domain, "count": str(count), "existing": shown_items(stage, existing)}
    return list_request(stage, values, "topics", count, constrained)


def instructions_request(
    recipe: Recipe,
    domain: str,
    topic: str,
    count: int,
    existing: Sequence[str],
    *,
    constrained: bool,
    barren: int = 0,
    steer: str = "",
) -> Request:
    """Ask for `count` instructions on a topic. `barren`: how many lists before this one gave nothing new; each of
    them makes the next one a little warmer, since the same prompt at the same temperature says the same again.
    `steer`: what leads away from what there is too much of."""
    stage = recipe.instructions
    values = {
        "domain": domain,
        "topic": topic,
        "count": str(count),
        "existing": shown_items(stage, existing[-stage.shown :] if stage.shown else ()) + steer,
    }
    request = list_request(stage, values, "instructions", count, constrained)
    if barren and stage.temperature is not None:
        return replace(
            request, temperature=max(stage.temperature, min(1.0, stage.temperature + 0.1 * barren))
        )
    return request


def response_request(recipe: Recipe, domain: str, topic: str, instruction: str, input_text: str) -> Request:
    """Ask for the response to one instruction."""
    stage = recipe.responses
    values = {"domain": domain, "topic": topic, "instruction": instruction, "input": input_text}
    return stage_request(stage, values)


def stage_request(stage: Stage, values: Mapping[str, str]) -> Request:
    """One recipe stage as a request: the system text, if there is one, and the prompt as the user's turn."""
    messages = [Message("user", fill(stage.prompt, **values))]
    if stage.system:
        messages.insert(0, Message("system", fill(stage.system, **values)))
    return Request(
        messages=tuple(messages),
        temperature=stage.temperature,
        top_p=stage.top_p,
        max_tokens=stage.max_tokens,
    )


def shown_items(stage: Stage, items: Sequence[str]) -> str:
    """The part of a prompt that shows what exists; empty where nothing does."""
    if not items or not stage.existing:
        return ""
    return "\n" + fill(stage.existing, items="\n".join(f"- {' '.join(item.split())}" for item in items))


def list_request(
    stage: Stage, values: Mapping[str, str], name: str, count: int, constrained: bool
) -> Request:
    request = stage_request(stage, values)
    if not (constrained and stage.constrain):
        return request
    hint = f'\n\nAnswer as JSON: {{"{name}": ["...", "..."]}}'
    last = request.messages[-1]
    messages = (*request.messages[:-1], Message(last.role, last.content + hint))
    return replace(request, messages=messages, json_schema=_list_schema(name, count))


def _list_schema(name: str, count: int) -> dict[str, Any]:
    item = {"type": "string", "minLength": 1, "maxLength": _MAX_ITEM_CHARACTERS}
    return {
        "type": "object",
        "properties": {name: {"type": "array", "items": item, "minItems": 1, "maxItems": count}},
        "required": [name],
        "additionalProperties": False,
    }


def read_list(
    completion: Completion, asked: int, *, names: bool = False, echoed: Sequence[str] = ()
) -> ParsedList:
    """The items of a list that a model wrote, cleaned of what the store cannot hold."""
    text, _ = clean(completion.text)
    return parse_list(
        text,
        asked=asked,
        names=names,
        truncated=completion.finish_reason == "length",
        echoed=frozenset(echoed),
    )


def read_response(completion: Completion, instruction: str) -> Answer:
    """The response, or why it cannot be one: cut off, refused, empty, an echo, or the same over and over."""
    text, _ = clean(completion.text)
    output = text.strip()
    if completion.finish_reason == "length":
        return Answer(output, "cut off", f"after {completion.usage.completion_tokens} tokens")
    if completion.finish_reason == "content_filter":
        return Answer(output, "refused", "by the server's content filter")
    if not output:
        return Answer(output, "no answer", "the response was empty")
    if looks_like_refusal(output):
        return Answer(output, "refused", "the model declined")
    if echoes(output, instruction):
        return Answer(output, "filtered: echoes the instruction")
    if repeats_endlessly(output):
        return Answer(output, "filtered: repeats itself")
    return Answer(output)


class TopicTree:
    """The method as the generate job drives it."""

    inputs = False

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._lists = 0

    async def topics(self, count: int, wanted: int | None) -> RunTopics:
        """The leaves of the tree; where there are none, the model is asked for some."""
        workspace, recipe = self._tools.workspace, self._tools.recipe
        if leaves := await workspace.aread(domain_leaves):
            return RunTopics(leaves)
        names = await suggest_topics(self._tools, wanted or min(recipe.topics.count, count), [])
        if not names:
            raise JobStopped(
                "the generator named no topics that could be read",
                "Name some yourself: in Topics, or pairsmith topics WORKSPACE --add NAME",
            )
        await workspace.awrite(lambda conn: [add_topic(conn, name, maker="model") for name in names])
        return RunTopics(await workspace.aread(domain_leaves), names)

    async def write_list(self, topic_id: int, topic: str, count: int, barren: int) -> ListWritten:
        """One list of instructions on a topic, what exists of it shown to the model."""
        tools, stage = self._tools, self._tools.recipe.instructions
        existing = await tools.workspace.aread(lambda conn: topic_instructions(conn, topic_id, stage.shown))
        self._lists += 1
        seed = tools.seed
        rng = random.Random(None if seed is None else derived_seed(seed, "steer", str(topic_id), self._lists))
        steer = steering(tools.recipe.diversity, tools.meter, rng)

        def make(capabilities: Capabilities) -> Request:
            return instructions_request(
                tools.recipe,
                tools.domain,
                topic,
                count,
                existing,
                constrained=capabilities.json_schema,
                barren=barren,
                steer=steer,
            )

        answered = await tools.ask(make, purpose="instructions", subject=str(topic_id), number=self._lists)
        parsed = read_list(answered.answer, count)
        return ListWritten(answered, [Draft(item) for item in parsed.items], parsed.malformed)

    async def respond(self, candidate: Candidate, topic: str) -> Response:
        """The response to one instruction."""
        tools = self._tools

        def make(capabilities: Capabilities) -> Request:
            return response_request(tools.recipe, tools.domain, topic, candidate.instruction, candidate.input)

        answered = await tools.ask(make, purpose="response", subject=str(candidate.id))
        answer = read_response(answered.answer, candidate.instruction)
        return Response((answered,), answer.output, loss=answer.loss, detail=answer.detail)


def domain_leaves(conn: sqlite3.Connection) -> list[tuple[int, int | None]]:
    """The tree's leaves with the user's quotas; where Self-Instruct's pool stands is no topic of the domain."""
    pool = get_meta(conn, POOL_TOPIC)
    return [(topic.id, topic.quota) for topic in active_leaves(conn) if str(topic.id) != pool]


async def suggest_topics(
    tools: Tools, count: int, existing: Sequence[str], so_far: list[str] | None = None
) -> list[str]:
    """Ask the generator for topics and book the calls. Raises BackendError, JobStopped, LimitReached; `so_far` then
    holds what was named before."""
    taken = {normal_form(name) for name in existing}
    names = [] if so_far is None else so_far
    for attempt in range(_TOPIC_TRIES):
        missing, shown = count - len(names), [*existing, *names]

        def make(capabilities: Capabilities, missing: int = missing, shown: Sequence[str] = shown) -> Request:
            constrained = capabilities.json_schema
            return topics_request(tools.recipe, tools.domain, missing, shown, constrained=constrained)

        answered = await tools.ask(make, purpose="topics", subject="", number=attempt)
        parsed = read_list(answered.answer, missing, names=True, echoed=existing)
        fresh = []
        for item in parsed.items:
            name = " ".join(item.split())[:_MAX_TOPIC_CHARACTERS]
            if name and normal_form(name) not in taken:
                taken.add(normal_form(name))
                fresh.append(name)
        failure = "malformed list" if parsed.malformed else None if fresh else "nothing new"
        await tools.workspace.awrite(partial(answered.close, failure=failure, detail=parsed.malformed))
        names += fresh
        if len(names) >= count:
            break
    return names[:count]

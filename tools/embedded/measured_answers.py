"""What the model's responses and lists are worth: held-out prompts, through our own engine."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import asdict, replace
from typing import Any, TypeVar

from pairsmith.backends.protocol import Backend, Completion, Request
from pairsmith.pairs.topic_tree import instructions_request, read_list, response_request, topics_request

from . import documents, execute
from .list_documents import recipe
from .prepared import Case, Split, shipped
from .recognise import intent_of, is_on_domain, topic_of

_AT_ONCE = 32
_SHOWN = 40
"""Examples of what went wrong that are kept."""
Item = TypeVar("Item")
Result = TypeVar("Result")


async def at_once(work: Callable[[Item], Awaitable[Result]], items: Iterable[Item]) -> list[Result]:
    """Results in order, so many calls in flight."""
    places = asyncio.Semaphore(_AT_ONCE)

    async def one(item: Item) -> Result:
        async with places:
            return await work(item)

    return list(await asyncio.gather(*map(one, items)))


async def responses(backend: Backend, cases: Sequence[Case]) -> list[Completion]:
    """Greedy responses to the cases' instructions, asked as the product asks."""

    async def ask(case: Case) -> Completion:
        request = response_request(recipe(), "", "", case.instruction, "")
        return await backend.complete(replace(request, temperature=0.0, top_p=None, deadline_s=600))

    return await at_once(ask, cases)


async def measure_responses(backend: Backend, count: int, seed: int) -> dict[str, Any]:
    """Usage errors and right commands, for held-out phrasings and names, and for trained phrasings to compare."""
    found: dict[str, Any] = {}
    splits: tuple[Split, ...] = ("held-out", "train")
    for split in splits:
        cases = execute.cases(count, seed, split)
        started = time.monotonic()
        said = await responses(backend, cases)
        seconds = time.monotonic() - started
        texts = [answer.text.strip() for answer in said]
        verdicts = await asyncio.to_thread(
            execute.judge_responses, list(zip(cases, texts, strict=True)), threads=2
        )
        found[split] = asdict(execute.summed(verdicts)) | {
            "cut_off": sum(answer.finish_reason == "length" for answer in said) / max(1, len(said)),
            "tokens_per_s": round(sum(a.usage.completion_tokens for a in said) / seconds, 1),
            "wrong": [
                {"instruction": case.instruction, "response": text, "right": list(case.commands)}
                for case, text, verdict in zip(cases, texts, verdicts, strict=True)
                if not verdict.right
            ][:_SHOWN],
        }
    return found


def list_requests(count: int, seed: int, kind: str) -> list[tuple[documents.Document, Request]]:
    """Held-out list prompts as the product sends them to llama.cpp: bound to a JSON schema."""
    made: list[tuple[documents.Document, Request]] = []
    rng = random.Random(f"lists/{kind}/{seed}")
    while len(made) < count:
        (document,) = documents.drawn_held_out(rng, kind)
        if not document.constrained:
            continue
        if kind == "instructions":
            if document.topic < 0:
                continue
            like = instructions_request(
                recipe(), "Git", "Git", document.asked, (), constrained=document.constrained
            )
        else:
            like = topics_request(recipe(), "Git", document.asked, (), constrained=document.constrained)
        made.append((document, replace(like, messages=document.messages, seed=len(made), deadline_s=900)))
    return made


async def measure_lists(backend: Backend, count: int, seed: int) -> dict[str, Any]:
    """Shares of lists that parse, of lists of which every line is on the domain, and of lines on domain and topic.

    Stricter is `as_taught`: an instruction that is one of the grammar's, or near one.
    """
    found: dict[str, Any] = {}
    for kind in ("instructions", "topics"):
        asked = list_requests(count, seed, kind)
        said = await at_once(backend.complete, [request for _, request in asked])
        rows = [_list_row(document, answer) for (document, _), answer in zip(asked, said, strict=True)]
        found[kind] = _lists_summed(rows, sum(document.asked for document, _ in asked))
    return found


def _lists_summed(rows: Sequence[dict[str, Any]], asked: int) -> dict[str, Any]:
    items = sum(row["items"] for row in rows)
    each = max(1, items)
    return {
        "lists": len(rows),
        "parsed": _share(row["parsed"] for row in rows),
        "parsed_and_on_domain": _share(row["parsed"] and row["on_domain"] for row in rows),
        "items_asked": asked,
        "items": items,
        "lists_as_taught": _share(row["parsed"] and row["as_taught"] == row["items"] for row in rows),
        "items_on_domain": sum(row["known"] for row in rows) / each,
        "items_as_taught": sum(row["as_taught"] for row in rows) / each,
        "items_on_topic": sum(row["on_topic"] for row in rows) / each,
        "items_distinct": sum(row["distinct"] for row in rows) / each,
        "unread": [row["malformed"] for row in rows if not row["parsed"]][:_SHOWN],
        "odd": [text for row in rows for text in row["odd"]][:_SHOWN],
    }


def _list_row(document: documents.Document, answer: Completion) -> dict[str, Any]:
    names = document.kind == "topics"
    parsed = read_list(answer, document.asked, names=names, echoed=document.shown if names else ())
    items = [" ".join(item.split()) for item in parsed.items]
    known = [_is_topic(item) if names else is_on_domain(item) for item in items]
    taught = known if names else [intent_of(item) is not None for item in items]
    return {
        "parsed": bool(items) and not parsed.malformed,
        "malformed": parsed.malformed or ("" if items else "nothing in it"),
        "items": len(items),
        "known": sum(known),
        "as_taught": sum(taught),
        "on_domain": bool(items) and all(known),
        "on_topic": len(items) if names else sum(topic_of(item) == document.topic for item in items),
        "distinct": len({item.casefold() for item in items} - {text.casefold() for text in document.shown}),
        "odd": [item for item, fits in zip(items, taught, strict=True) if not fits],
    }


def _is_topic(name: str) -> bool:
    """Whether a name of a topic is one of the grammar's, a word or two more or less."""
    words = _words(name)
    return any(
        words & _words(known) - {"git", "and", "the", "a", "with", "to"}
        for topic in shipped().topics
        for known in topic.names
    )


def _words(text: str) -> set[str]:
    return {word.strip(".,:;").casefold() for word in text.replace("-", " ").split()}


def _share(flags: Iterable[bool]) -> float:
    values = list(flags)
    return sum(values) / max(1, len(values))

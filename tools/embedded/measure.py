"""Measure the embedded model as it ships: the GGUF, through our own llama.cpp engine, on what training never saw.

    python -m tools.embedded.measure GGUF --to FOLDER [--cases 600] [--lists 100] [--judged 600] [--seed 11]

Writes `measured.json` into the folder and prints it. Held out are one phrasing of each intent, all names in the
instructions, wordings of domain and topics, and whole kinds of flaws (`prepared.py`, `slots.py`, `corruptions.py`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

from pairsmith.backends.protocol import Backend, Completion, Request
from pairsmith.backends.registry import Settings, Spec, open_backend
from pairsmith.pairs.judging import JudgeFailed, expected_requests, read_expected
from pairsmith.pairs.topic_tree import (
    instructions_request,
    read_list,
    response_request,
    topics_request,
)

from . import documents, execute
from .corruptions import HELD_OUT_KINDS, UNTOUCHED, Judged, kinds_of
from .judge_documents import draw_judged, judge
from .list_documents import recipe
from .prepared import Case, Split, draw_case, shipped
from .recognise import intent_of, topic_of

_AT_ONCE = 32
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
            ][:40],
        }
    return found


def list_requests(count: int, seed: int, kind: str) -> list[tuple[documents.Document, Request]]:
    """Held-out list prompts with what the product sends beside the messages."""
    made = []
    rng = random.Random(f"lists/{kind}/{seed}")
    while len(made) < count:
        (document,) = documents.drawn_held_out(rng, kind)
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
    """Shares of lists that parse, of lists that are wholly on the domain, and of items on domain and topic."""
    found: dict[str, Any] = {}
    for kind in ("instructions", "topics"):
        asked = list_requests(count, seed, kind)
        said = await at_once(backend.complete, [request for _, request in asked])
        rows = [_list_row(document, answer) for (document, _), answer in zip(asked, said, strict=True)]
        found[kind] = {
            "lists": len(rows),
            "parsed": _share(row["parsed"] for row in rows),
            "parsed_and_on_domain": _share(row["parsed"] and row["on_domain"] for row in rows),
            "items": sum(row["items"] for row in rows),
            "items_on_domain": sum(row["known"] for row in rows) / max(1, sum(r["items"] for r in rows)),
            "items_on_topic": sum(row["on_topic"] for row in rows) / max(1, sum(r["items"] for r in rows)),
            "items_distinct": sum(row["distinct"] for row in rows) / max(1, sum(r["items"] for r in rows)),
            "odd": [text for row in rows for text in row["odd"]][:30],
        }
    return found


def _list_row(document: documents.Document, answer: Completion) -> dict[str, Any]:
    names = document.kind == "topics"
    parsed = read_list(answer, document.asked, names=names, echoed=document.shown if names else ())
    items = [" ".join(item.split()) for item in parsed.items]
    known = [_is_topic(item) if names else intent_of(item) is not None for item in items]
    return {
        "parsed": bool(items) and not parsed.malformed,
        "items": len(items),
        "known": sum(known),
        # one odd line among twenty leaves a list on the domain: nine lines of ten must be known
        "on_domain": bool(items) and sum(known) >= 0.9 * len(items),
        "on_topic": len(items) if names else sum(topic_of(item) == document.topic for item in items),
        "distinct": len({item.casefold() for item in items} - {text.casefold() for text in document.shown}),
        "odd": [item for item, fits in zip(items, known, strict=True) if not fits],
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


def judged_cases(count: int, seed: int) -> list[tuple[Case, Judged]]:
    """Held-out cases with a response each: every second one untouched, the rest spread over all kinds of flaws."""
    kinds = kinds_of("held-out")
    made: list[tuple[Case, Judged]] = []
    number = 0
    while len(made) < count:
        rng = random.Random(f"judged/{seed}/{number}")
        kind = UNTOUCHED if number % 2 else kinds[number // 2 % len(kinds)]
        number += 1
        case = draw_case(rng.choice(shipped().intents), rng, "held-out")
        try:
            made.append((case, draw_judged(case, rng, "held-out", kind)))
        except ValueError:
            continue
    return made


async def measure_judge(backend: Backend, count: int, seed: int) -> dict[str, Any]:
    """AUC of helpfulness + correctness, expected in one pass, between untouched and corrupted responses."""
    each = (await backend.capabilities()).suffixes_per_score
    by_kind: defaultdict[str, list[float]] = defaultdict(list)
    unread = 0

    async def grade(one: tuple[Case, Judged]) -> float | None:
        case, judged = one
        asked = replace(judge(), suffixes_per_score=each)
        requests = expected_requests(asked, case.instruction, "", judged.response)
        answers = [await backend.score(replace(request, deadline_s=600)) for request in requests]
        try:
            scores = read_expected(asked, answers)
        except JudgeFailed:
            return None
        return scores["helpfulness"].value + scores["correctness"].value

    cases = judged_cases(count, seed)
    started = time.monotonic()
    for (_, judged), score in zip(cases, await at_once(grade, cases), strict=True):
        if score is None:
            unread += 1
        else:
            by_kind[judged.kind].append(score)
    seconds = time.monotonic() - started
    good = by_kind.pop(UNTOUCHED)
    return {
        "judged": len(cases),
        "unread": unread,
        "judged_per_s": round(len(cases) / seconds, 2),
        "auc": auc(good, [score for scores in by_kind.values() for score in scores]),
        "auc_held_out_kinds": auc(
            good, [s for kind, scores in by_kind.items() if kind in HELD_OUT_KINDS for s in scores]
        ),
        "held_out_kinds": sorted(HELD_OUT_KINDS),
        "by_kind": {
            kind: {"auc": auc(good, scores), "mean": sum(scores) / len(scores), "n": len(scores)}
            for kind, scores in sorted(by_kind.items())
        },
        "mean_untouched": sum(good) / max(1, len(good)),
    }


def auc(good: Sequence[float], bad: Sequence[float]) -> float | None:
    """The share of pairs (good, bad) that the scores put in the right order; ties are half right."""
    if not good or not bad:
        return None
    right = sum((g > b) + 0.5 * (g == b) for g in good for b in bad)
    return right / (len(good) * len(bad))


def _share(flags: Iterable[bool]) -> float:
    values = list(flags)
    return sum(values) / max(1, len(values))


async def measure(gguf: Path, cases: int, lists: int, judged: int, seed: int) -> dict[str, Any]:
    """All figures of one GGUF."""
    backend = open_backend(Spec("llama-cpp", str(gguf)), Settings())
    try:
        found: dict[str, Any] = {"bytes": gguf.stat().st_size, "seed": seed}
        if cases:
            found["responses"] = await measure_responses(backend, cases, seed)
        if lists:
            found["lists"] = await measure_lists(backend, lists, seed)
        if judged:
            found["judge"] = await measure_judge(backend, judged, seed)
        return found
    finally:
        await backend.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.embedded.measure", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("gguf", type=Path)
    parser.add_argument("--to", type=Path, metavar="FOLDER")
    parser.add_argument("--cases", type=int, default=600)
    parser.add_argument("--lists", type=int, default=100)
    parser.add_argument("--judged", type=int, default=600)
    parser.add_argument("--seed", type=int, default=11)
    chosen = parser.parse_args(arguments)
    found = asyncio.run(measure(chosen.gguf, chosen.cases, chosen.lists, chosen.judged, chosen.seed))
    text = json.dumps(found, indent=1, ensure_ascii=False)
    if chosen.to is not None:
        chosen.to.mkdir(parents=True, exist_ok=True)
        (chosen.to / "measured.json").write_text(text + "\n", encoding="utf-8")
    print(json.dumps(_brief(found), indent=1, ensure_ascii=False))
    return 0


def _brief(found: Mapping[str, Any]) -> dict[str, Any]:
    """The figures without the examples of what went wrong."""
    return {
        key: _brief(value) if isinstance(value, Mapping) else value
        for key, value in found.items()
        if key not in ("wrong", "odd")
    }


if __name__ == "__main__":
    sys.exit(main())

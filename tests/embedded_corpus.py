"""A stand-in for the corpus of the embedded model: a handful of intents, the product's own prompts, every kind of
document. Small enough that a miniature learns something from it in seconds."""

from __future__ import annotations

import functools
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass

from pairsmith.backends.protocol import Capabilities, Message, Request
from pairsmith.pairs import judging, recipes, rubrics, topic_tree

DOMAIN = "Git commands in plain language"
TOPICS = {
    "Branches": [
        ("Make a branch called {b}.", "Run `git branch {b}`."),
        ("I want to work on {b} now. Which command takes me there?", "Run `git switch {b}`."),
        ("Throw the branch {b} away.", "Use `git branch -d {b}` for that."),
        ("How do I rename this branch to {b}?", "Run `git branch -m {b}`."),
    ],
    "Tags": [
        ("Mark this commit as {b}.", "Run `git tag {b}`."),
        ("Which commit does the tag {b} stand for?", "Run `git rev-list -n 1 {b}`."),
        ("The tag {b} was a mistake, remove it.", "Use `git tag -d {b}`."),
    ],
    "History": [
        ("Show the last {n} commits on one line each.", "Run `git log --oneline -n {n}`."),
        ("Who changed {b} last?", "Run `git log -1 {b}` and read the author."),
    ],
}


@dataclass(frozen=True, slots=True)
class Document:
    """One training example: what is asked, and what the model is to say."""

    kind: str
    messages: tuple[Message, ...]
    answer: str
    names: tuple[str, ...] = ()
    heard: tuple[str, ...] = ()
    invented: tuple[str, ...] = ()
    heard_weight: float = 0.0
    begun: str = ""


def _name(rng: random.Random) -> str:
    return "".join(rng.choice("bdklmnrst") + rng.choice("aeiou") for _ in range(rng.randint(2, 4)))


def pair(rng: random.Random, topic: str | None = None) -> tuple[str, str]:
    """An instruction and its response."""
    asked, said = rng.choice(TOPICS[topic or rng.choice(sorted(TOPICS))])
    values = {"b": _name(rng), "n": str(rng.randint(2, 99))}
    return asked.format(**values), said.format(**values)


@functools.cache
def _recipe() -> recipes.Recipe:
    return recipes.load_recipe("english")


@functools.cache
def _judge() -> judging.Judge:
    return judging.Judge("llama-cpp:embedded", "expected", rubrics.load_rubric(), 5, begins_answer=True)


def document(rng: random.Random, kind: str, held_out: bool = False) -> Document:
    """A document of a kind: "response", "list" or "judge"."""
    if kind == "response":
        asked, said = pair(rng)
        return _document(kind, topic_tree.response_request(_recipe(), DOMAIN, "", asked, ""), said)
    if kind == "list":
        return _list(rng)
    return judged(rng)[rng.randrange(5)]


def judged(rng: random.Random) -> list[Document]:
    """The five questions about one pair, good or with another pair's response."""
    asked, said = pair(rng)
    good = rng.random() < 0.5
    (request,) = judging.expected_requests(_judge(), asked, "", said if good else pair(rng)[1])
    return [
        Document(
            "judge",
            request.messages,
            ("4" if good else "0") if index < 3 else "1",
            begun=suffix,
        )
        for index, suffix in enumerate(request.suffixes)
    ]


def _list(rng: random.Random) -> Document:
    topic = rng.choice(sorted(TOPICS))
    count, shown = rng.randint(3, 6), [pair(rng, topic)[0] for _ in range(rng.randint(0, 6))]
    constrained = rng.random() < 0.5
    request = topic_tree.instructions_request(_recipe(), DOMAIN, topic, count, shown, constrained=constrained)
    items = [pair(rng, topic)[0] for _ in range(count)]
    return _document("list", request, written(items, constrained))


def written(items: Sequence[str], constrained: bool) -> str:
    """A list as the model is to write it."""
    if constrained:
        return json.dumps({"instructions": items})
    return "\n".join(f"{number}. {item}" for number, item in enumerate(items, 1))


def _document(kind: str, request: Request, answer: str) -> Document:
    return Document(kind, request.messages, answer)


CAPABILITIES = Capabilities(json_schema=True)


def drawn(rng: random.Random, kind: str) -> list[Document]:
    """The documents of a group, as the trainer draws them."""
    return judged(rng)[:2] if kind == "judge" else [document(rng, kind)]

"""How people name the domain and its topics. Some wordings are held out of training."""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence

DEFAULT_DOMAIN = "Git commands in plain language"
_DOMAINS = (
    "Git commands in plain English",
    "Git for beginners",
    "git for beginners",
    "Version control with Git",
    "version control with git",
    "Git",
    "git",
    "Git commands",
    "git commands",
    "Git commands for everyday work",
    "Git on the command line",
    "The Git command line",
    "Using Git in the terminal",
    "Questions about Git",
    "Everyday Git",
    "Everyday questions about Git and its commands",
    "Helping people with Git",
    "Git help for developers",
    "Git help for people who are new to version control",
    "Which Git command do I need?",
    "How to do things in Git",
    "How-to questions about Git",
    "Working with Git repositories",
    "Source control with Git",
    "Source code management with Git",
    "Git from beginner to expert",
    "Git tips and tricks",
    "Practical Git",
    "A Git helper",
    "A Git assistant for a software team",
    "Plain-language requests and the Git commands that answer them",
    "Translating plain language into Git commands",
    "From plain words to Git commands",
    "Git commands explained simply",
    "Git explained for newcomers",
    "Learning Git",
    "Learning version control with Git",
    "Git questions from developers",
    "Git support for developers",
    "Git workflows",
    "Git basics",
    "Git basics and beyond",
    "Advanced Git",
    "Git in daily development",
    "Git for software engineers",
    "Git for data scientists",
    "Git for students",
    "Git for writers and designers",
    "Answers to questions about Git",
    "Git command line help",
    "Solving problems with Git",
    "Undoing mistakes in Git",
    "Branches, merges and history in Git",
    "The Git version control system",
    "Distributed version control with Git",
    "Git commands and what they do",
    "Common Git tasks",
    "Common tasks in Git and their commands",
    "Git repositories",
    "Git recipes",
    "Git know-how",
    "A cheat sheet of Git commands",
    "Git at work",
)
_FRAMES = (
    "{lower}",
    "{lower}",
    "{name} in Git",
    "{name} with Git",
    "Git: {lower}",
    "git {lower}",
    "Git {lower}",
    "{name} for beginners",
    "{name} basics",
    "Advanced {lower}",
    "Everything about {lower}",
    "Help with {lower}",
    "Problems with {lower}",
    "Questions about {lower}",
    "How to: {lower}",
    "{name} on the command line",
    "Everyday {lower}",
)
_OUTSIDE_TOPICS = (
    "Git in the editor",
    "Hooks",
    "Large files",
    "Git and continuous integration",
    "Code review",
    "Hosting services",
    "Signing commits",
    "Partial clones",
    "Internals of Git",
    "Teaching Git",
)
_DEFAULT_SHARE = 0.35
_FRAMED_SHARE = 0.3


def _held_out(text: str) -> bool:
    return zlib.crc32(b"wording:" + text.lower().encode()) % 7 == 0


DOMAINS: dict[bool, tuple[str, ...]] = {
    kept: tuple(text for text in _DOMAINS if _held_out(text) == kept) for kept in (False, True)
}
"""Names of the domain: those of training under False, held-out ones under True."""
FRAMES: dict[bool, tuple[str, ...]] = {
    kept: tuple(text for text in _FRAMES if _held_out(text) == kept) for kept in (False, True)
}


def domain(rng: random.Random, *, held_out: bool = False) -> str:
    """A name of the domain; in training the one that the application proposes comes most often."""
    if not held_out and rng.random() < _DEFAULT_SHARE:
        return DEFAULT_DOMAIN
    return rng.choice(DOMAINS[held_out])


def topic(names: Sequence[str], rng: random.Random, *, held_out: bool = False) -> str:
    """A name of a topic as the tree has it, or as a person would type it."""
    name = names[0] if rng.random() < 0.5 else rng.choice(names)
    if rng.random() < (0.5 if held_out else _FRAMED_SHARE):
        lower = name if name[:1] + name[1:].lower() != name else name.lower()
        return rng.choice(FRAMES[held_out] or _FRAMES).format(name=name, lower=lower)
    return name


def outside_topic(rng: random.Random) -> str:
    """A topic of the domain that the grammar lacks: a user may have added it."""
    return rng.choice(_OUTSIDE_TOPICS)

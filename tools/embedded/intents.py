"""The grammar of the embedded model's domain: topics, intents and their phrasings, read from `grammar/*.toml`.

The form of the files is described in `grammar/README.md`. Loading is strict: what is not in that form is an error that
names the file and the intent.
"""

from __future__ import annotations

import itertools
import random
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .slots import KINDS, Slot, fill, slots_of

FOLDER = Path(__file__).parent / "grammar"
LEVELS = ("beginner", "everyday", "expert")
PHRASINGS = 8
"""The least number of an intent; one in ten, at least one, is held out of training."""
_ALTERNATIVES = re.compile(r"\[([^\[\]]*\|[^\[\]]*)\]")
_BRACES = re.compile(r"(?<![@^])\{[a-z]+(?::[^{}]*)?\}")
_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_LONE_PUNCTUATION = re.compile(r" ([?.!,;:])(?=\s|$)")


class GrammarError(Exception):
    """A file is not in the form; the message has one line for each fault."""


@dataclass(frozen=True, slots=True)
class Intent:
    """Something that a person wants of Git: ways to ask for it and the commands that answer."""

    name: str
    topic: str
    level: str
    phrasings: tuple[str, ...]
    commands: tuple[str, ...]
    other: tuple[tuple[str, ...], ...] = ()
    """Other sequences of commands that are as right."""
    explains: tuple[str, ...] = ()
    warning: str = ""
    tip: str = ""
    setup: tuple[str, ...] = ()
    exit: int = 0
    check: bool = True
    why: str = ""
    """Why the answer is not run, where `check` is False."""
    source: str = ""

    @property
    def slots(self) -> tuple[Slot, ...]:
        """Every slot, those of the answer first."""
        texts = [
            *self.commands,
            *(line for lines in self.other for line in lines),
            *self.setup,
            *self.phrasings,
        ]
        return slots_of(*texts, *self.explains, self.warning, self.tip)

    @property
    def answers(self) -> tuple[tuple[str, ...], ...]:
        """All right sequences of commands, the one that is taught first."""
        return (self.commands, *self.other)


@dataclass(frozen=True, slots=True)
class Topic:
    """One file: a subtopic of the domain, its names and its intents."""

    name: str
    also_called: tuple[str, ...]
    intents: tuple[Intent, ...]
    source: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Every name of the topic."""
        return (self.name, *self.also_called)


@dataclass(frozen=True, slots=True)
class Grammar:
    """All topics."""

    topics: tuple[Topic, ...]

    @property
    def intents(self) -> tuple[Intent, ...]:
        """The intents of all topics."""
        return tuple(intent for topic in self.topics for intent in topic.intents)


def grammar_files(folder: Path = FOLDER) -> list[Path]:
    """The files of the grammar, by name."""
    return sorted(folder.glob("*.toml"))


def load_grammar(files: Iterable[Path] | None = None) -> Grammar:
    """The whole grammar. Raises GrammarError naming every fault of every file, duplicate names among them."""
    topics: list[Topic] = []
    faults: list[str] = []
    for path in grammar_files() if files is None else files:
        try:
            topics.append(load_topic(path))
        except GrammarError as error:
            faults.append(str(error))
    faults += _duplicates(topics)
    if faults:
        raise GrammarError("\n".join(faults))
    return Grammar(tuple(topics))


def load_topic(path: Path) -> Topic:
    """One file. Raises GrammarError with all that is wrong with it."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise GrammarError(f"{path.name}: {error}") from None
    reader = _Reader(path.name, data)
    name = reader.text("topic")
    also = reader.texts("also_called", least=1)
    raw = data.get("intent")
    if not isinstance(raw, list) or not raw:
        reader.fault("there is no [[intent]]")
        raw = []
    reader.only({"topic", "also_called", "intent"})
    for names in (name, *also):
        if len(names.split()) > (5 if names == name else 8):
            reader.fault(f"the topic name {names!r} is too long")
    intents = []
    for number, entry in enumerate(raw, 1):
        label = entry.get("name") if isinstance(entry, dict) else None
        inner = _Reader(
            f"{path.name}, {label or f'intent {number}'}", entry if isinstance(entry, dict) else {}
        )
        intents.append(_intent(inner, name, path.name))
        reader.faults += inner.faults
    if reader.faults:
        raise GrammarError("\n".join(reader.faults))
    return Topic(name, also, tuple(intents), path.name)


def alternatives(phrasing: str, rng: random.Random | None = None) -> str:
    """One wording of a phrasing: of each [a|b] the one that `rng` draws, without it the first."""
    options = [match[1].split("|") for match in _ALTERNATIVES.finditer(phrasing)]
    return _chosen(phrasing, [few[0] if rng is None else rng.choice(few) for few in options])


def alternatives_of(phrasing: str) -> Iterator[str]:
    """Every wording of a phrasing."""
    options = [match[1].split("|") for match in _ALTERNATIVES.finditer(phrasing)]
    for choice in itertools.product(*options):
        yield _chosen(phrasing, choice)


def _chosen(phrasing: str, choice: Sequence[str]) -> str:
    if not choice:
        return phrasing
    rest = iter(choice)
    text = _ALTERNATIVES.sub(lambda _match: next(rest), phrasing)
    return _LONE_PUNCTUATION.sub(r"\1", " ".join(text.split()))


def instruction_of(phrasing: str, values: Mapping[Slot, str], rng: random.Random | None = None) -> str:
    """A phrasing with its alternatives chosen and its slots filled."""
    return fill(capitalised(alternatives(phrasing, rng)), values)


def capitalised(wording: str) -> str:
    """A wording with a capital letter at its beginning, unless a slot or a command stands there."""
    return wording if wording.startswith(("{", "git ")) else wording[:1].upper() + wording[1:]


class _Reader:
    """Fields of one table, with every fault noted."""

    def __init__(self, where: str, data: Mapping[str, Any]) -> None:
        self.where, self.data, self.faults = where, data, list[str]()

    def fault(self, what: str) -> None:
        self.faults.append(f"{self.where}: {what}")

    def only(self, known: set[str]) -> None:
        for field in self.data.keys() - known:
            self.fault(f"unknown field {field!r}")

    def text(self, field: str, *, needed: bool = True) -> str:
        value = self.data.get(field)
        if value is None and not needed:
            return ""
        if not isinstance(value, str) or not value.strip() or "\n" in value:
            self.fault(f"{field!r} must be one line of text")
            return ""
        return value.strip()

    def texts(self, field: str, least: int = 0) -> tuple[str, ...]:
        value = self.data.get(field, [])
        if not isinstance(value, list) or not all(isinstance(line, str) and line.strip() for line in value):
            self.fault(f"{field!r} must be a list of texts")
            return ()
        if len(value) < least:
            self.fault(f"{field!r} must have at least {least}, has {len(value)}")
        if any("\n" in line for line in value):
            self.fault(f"{field!r} has a line break")
        return tuple(line.strip() for line in value)


_FIELDS = {
    "name",
    "level",
    "phrasings",
    "commands",
    "other",
    "explains",
    "warning",
    "tip",
    "setup",
    "exit",
    "check",
    "why",
}


def _intent(reader: _Reader, topic: str, source: str) -> Intent:
    reader.only(_FIELDS)
    name, level = reader.text("name"), reader.text("level")
    if name and not _NAME.fullmatch(name):
        reader.fault("'name' is lower case with hyphens")
    if level and level not in LEVELS:
        reader.fault(f"'level' is {level!r}, not one of {', '.join(LEVELS)}")
    other = reader.data.get("other", [])
    if not isinstance(other, list) or not all(
        isinstance(lines, list) and lines and all(isinstance(line, str) and line.strip() for line in lines)
        for lines in other
    ):
        reader.fault("'other' must be a list of lists of commands")
        other = []
    status, check = reader.data.get("exit", 0), reader.data.get("check", True)
    if not isinstance(status, int) or isinstance(status, bool) or not isinstance(check, bool):
        reader.fault("'exit' must be a whole number and 'check' true or false")
        status, check = 0, True
    if not check and not reader.data.get("why"):
        reader.fault("'check = false' needs a 'why'")
    intent = Intent(
        name=name,
        topic=topic,
        level=level,
        phrasings=reader.texts("phrasings", PHRASINGS),
        commands=reader.texts("commands", 1),
        other=tuple(tuple(line.strip() for line in lines) for lines in other),
        explains=reader.texts("explains", 2),
        warning=reader.text("warning", needed=False),
        tip=reader.text("tip", needed=False),
        setup=reader.texts("setup"),
        exit=status,
        check=check,
        why=reader.text("why", needed=False),
        source=source,
    )
    _check_slots(reader, intent)
    return intent


def _check_slots(reader: _Reader, intent: Intent) -> None:
    wanted = slots_of(*intent.commands)
    for phrasing in intent.phrasings:
        missing = [str(slot) for slot in wanted if slot not in slots_of(phrasing)]
        if missing:
            reader.fault(f"the phrasing {phrasing!r} lacks {', '.join(missing)}")
        if "`" in phrasing:
            reader.fault(f"the phrasing {phrasing!r} has markup")
        if phrasing.lower().startswith("write a program"):
            reader.fault(f"the phrasing {phrasing!r} begins with 'Write a program'")
        if len(set(intent.phrasings)) != len(intent.phrasings):
            reader.fault("a phrasing comes twice")
            break
    known = {slot for phrasing in intent.phrasings for slot in slots_of(phrasing)} | set(wanted)
    everything = [
        *intent.phrasings,
        *intent.commands,
        *intent.explains,
        *intent.setup,
        intent.warning,
        intent.tip,
    ]
    everything += [line for lines in intent.other for line in lines]
    for text in everything:
        for match in _BRACES.finditer(text):
            found = slots_of(match[0])
            if not found or found[0].kind not in KINDS:
                reader.fault(f"{match[0]} is no kind of slot, in {text!r}")
    for text in [
        *intent.explains,
        intent.warning,
        intent.tip,
        *(line for lines in intent.other for line in lines),
    ]:
        for slot in slots_of(text):
            if slot not in known:
                reader.fault(f"{slot} is in no phrasing, in {text!r}")


def _duplicates(topics: Sequence[Topic]) -> list[str]:
    seen: dict[str, str] = {}
    faults = []
    for topic in topics:
        for kind, name in [("intent", intent.name) for intent in topic.intents] + [
            ("topic", name.lower()) for name in topic.names
        ]:
            key = f"{kind} {name}"
            if key in seen:
                faults.append(f"{topic.source}: the {key} is in {seen[key]} too")
            seen[key] = topic.source
    return faults

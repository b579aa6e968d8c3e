"""Flaws of the commands in a response: the wrong command, name, option or order, a step too few, another tool."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace

from . import flaw_texts
from .prepared import Case, Ready, ReadyGrammar, Split, draw_case
from .responses import Parts
from .slots import CLOSED, Slot, draw, is_held_out


@dataclass(frozen=True, slots=True)
class Flawed:
    """What a corruption made: the response, and grades for helpfulness, correctness and coherence."""

    response: str
    helpfulness: int
    correctness: int
    coherence: int
    rationale: str


@dataclass(frozen=True, slots=True)
class Source:
    """What a corruption works on."""

    case: Case
    parts: Parts
    text: str
    grammar: ReadyGrammar
    split: Split
    rng: random.Random


def other_intent(source: Source, *, near: bool) -> Ready | None:
    """An intent with other commands: of the same topic where `near`, else of another one."""
    grammar, ready = source.grammar, source.case.ready
    place = grammar.topic_of[ready.number]
    if near:
        others = [one for one in grammar.topics[place].intents if one.number != ready.number]
    else:
        others = [one for one in grammar.intents if grammar.topic_of[one.number] != place]
    mine = {text.template for text in ready.commands} | {
        text.template for lines in ready.other for text in lines
    }
    others = [one for one in others if not mine & {text.template for text in one.commands}]
    return source.rng.choice(others) if others else None


def borrowed(source: Source, other: Ready) -> Case:
    """The other intent with the names of this instruction, where the kinds are the same."""
    case = draw_case(other, source.rng, source.split)
    mine: dict[str, list[str]] = {}
    for slot, value in source.case.values.items():
        mine.setdefault(slot.kind, []).append(value)
    values = {
        slot: mine[slot.kind].pop(0) if mine.get(slot.kind) else value for slot, value in case.values.items()
    }
    return replace(case, values=values)


def wrong_command(source: Source) -> Flawed | None:
    """The explanation of this answer with the command of another one."""
    other = other_intent(source, near=source.rng.random() < 0.8)
    if other is None:
        return None
    commands = borrowed(source, other).commands
    if len(commands) != len(source.parts.commands):
        return None
    return Flawed(
        replace(source.parts, commands=commands).text(),
        1,
        0,
        2,
        "The explanation fits, the command does not.",
    )


def wrong_name(source: Source) -> Flawed | None:
    """One name is another one, or nearly the right one."""
    rng, values = source.rng, source.case.values
    in_commands = {slot for text in source.case.ready.commands for slot in text.slots}
    slots = [slot for slot in values if slot in in_commands]
    if not slots:
        return None
    slot = rng.choice(slots)
    wrong = _another_value(slot, values, source.split, rng)
    changed = replace(source.case, values={**values, slot: wrong})
    everywhere = rng.random() < 0.5
    parts = replace(source.parts, commands=changed.commands)
    text = parts.text()
    if everywhere and slot.kind not in CLOSED:
        text = source.text.replace(values[slot], wrong)
    said = slot.kind.replace("word", "text")
    return Flawed(text, 1, 1, 3, f"The {said} is {wrong}, but {values[slot]} was asked for.")


def _another_value(slot: Slot, values: Mapping[Slot, str], split: Split, rng: random.Random) -> str:
    value = values[slot]
    chance = rng.random()
    if slot.kind not in CLOSED and chance < 0.3 and len(value) > 3:
        place = rng.randrange(1, len(value))
        near = (
            value[:place] + value[place + 1 :]
            if chance < 0.15
            else value + rng.choice(("s", "2", "-old", "1"))
        )
        known = is_held_out(near) == (split == "held-out")
        if known and near not in values.values() and near.isprintable() and near.strip() == near:
            return near
    return draw(slot.kind, rng, held_out=split == "held-out", not_among=values.values())


def swapped_names(source: Source) -> Flawed | None:
    """Two names in each other's place."""
    values = source.case.values
    slots = list(dict.fromkeys(slot for text in source.case.ready.commands for slot in text.slots))
    pairs = [
        (one, other)
        for place, one in enumerate(slots)
        for other in slots[place + 1 :]
        if one.kind == other.kind
        or {one.kind, other.kind} <= {"branch", "tag", "remote", "commit", "file", "folder", "name"}
    ]
    if not pairs:
        return None
    one, other = source.rng.choice(pairs)
    changed = replace(source.case, values={**values, one: values[other], other: values[one]})
    commands = changed.commands
    if commands in source.case.answers:
        return None
    text = replace(source.parts, commands=commands).text()
    return Flawed(text, 1, 1, 3, f"{values[one]} and {values[other]} are in each other's place.")


def missing_step(source: Source) -> Flawed | None:
    """One of several commands is left out."""
    commands = source.parts.commands
    if len(commands) < 2:
        return None
    gone = source.rng.randrange(len(commands))
    rest = tuple(command for place, command in enumerate(commands) if place != gone)
    if rest in source.case.answers:
        return None
    frame = source.parts.frame if len(rest) > 1 else "Run `{}`."
    parts = replace(source.parts, commands=rest, frame=frame, steps=source.parts.steps and len(rest) > 1)
    return Flawed(parts.text(), 2, 1, 3, f"A step is missing: {commands[gone]}.")


def wrong_order(source: Source) -> Flawed | None:
    """Several commands, the last one first."""
    commands = source.parts.commands
    if len(commands) < 2:
        return None
    turned = tuple(reversed(commands))
    if turned in source.case.answers or turned == commands:
        return None
    return Flawed(replace(source.parts, commands=turned).text(), 1, 1, 3, "The steps are in the wrong order.")


def wrong_option(source: Source) -> Flawed | None:
    """An option is missing, wrong or too many."""
    rng, commands = source.rng, list(source.parts.commands)
    place = rng.randrange(len(commands))
    words = commands[place].split(" ")
    flags = [
        number for number, word in enumerate(words) if number > 1 and word.startswith("-") and word != "--"
    ]
    if flags and rng.random() < 0.7:
        at = rng.choice(flags)
        if rng.random() < 0.5:
            gone = words.pop(at)
            said = f"The option {gone} is missing."
        else:
            gone, words[at] = words[at], rng.choice(flaw_texts.FLAGS)
            said = f"The option {words[at]} is wrong here."
            if gone == words[at]:
                return None
    elif len(words) > 1 and words[0] == "git":
        flag = rng.choice(flaw_texts.FLAGS)
        if flag in words:
            return None
        words.insert(2, flag)
        said = f"The option {flag} does not belong here."
    else:
        return None
    commands[place] = " ".join(words)
    if tuple(commands) in source.case.answers:
        return None
    return Flawed(replace(source.parts, commands=tuple(commands)).text(), 1, 1, 3, said)


def another_tool(source: Source) -> Flawed | None:
    """The command of another version control system."""
    values = list(source.case.values.values()) or ["work"]
    command = source.rng.choice(flaw_texts.OTHER_TOOLS).format(source.rng.choice(values))
    parts = replace(source.parts, commands=(command,), steps=False, frame="Run `{}`.", remarks=())
    return Flawed(parts.text(), 0, 0, 3, f"{command.split()[0]} is another tool, not Git.")


def invented(source: Source) -> Flawed | None:
    """A command that Git does not have."""
    rng, commands = source.rng, list(source.parts.commands)
    place = rng.randrange(len(commands))
    words = commands[place].split(" ")
    if len(words) < 2 or words[0] != "git":
        return None
    words[1] = rng.choice(flaw_texts.INVENTED)
    commands[place] = " ".join(words)
    text = replace(source.parts, commands=tuple(commands)).text()
    return Flawed(text, 0, 0, 3, f"There is no command git {words[1]}.")


def typo(source: Source) -> Flawed | None:
    """The command's name misspelt."""
    rng, commands = source.rng, list(source.parts.commands)
    place = rng.randrange(len(commands))
    words = commands[place].split(" ")
    if len(words) < 2 or words[0] != "git" or not words[1].isalpha() or len(words[1]) < 3:
        return None
    name = words[1]
    at = rng.randrange(len(name) - 1)
    spoiled = name[:at] + (name[at + 1] + name[at] + name[at + 2 :] if rng.random() < 0.5 else name[at + 1 :])
    if spoiled == name:
        return None
    words[1] = spoiled
    commands[place] = " ".join(words)
    text = replace(source.parts, commands=tuple(commands)).text()
    return Flawed(text, 1, 1, 3, f"git {spoiled} is misspelt.")


def placeholder(source: Source) -> Flawed | None:
    """A blank where a name belongs."""
    form = source.rng.choice(flaw_texts.BLANKS)
    values = {
        slot: form.format(slot.kind.upper() if form.startswith("YOUR") else slot.kind)
        for slot in source.case.values
    }
    commands = replace(source.case, values=values).commands
    if commands == source.parts.commands:
        return None
    text = replace(source.parts, commands=commands).text()
    return Flawed(text, 2, 2, 3, "It has a blank where the name from the instruction belongs.")

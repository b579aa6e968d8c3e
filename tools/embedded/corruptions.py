"""Ways in which a response can be flawed, each with its right grades and a sentence that says what is wrong.

Some kinds are held out: the judge is never trained on them, so that its figures tell how it does on flaws that it has
not seen. They differ in nature: an answer about another tool, names in the wrong place, one sentence over and over, and
blanks where names belong.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from . import flaw_texts
from .prepared import Case, Ready, ReadyGrammar, Split, draw_case
from .responses import Grades, Parts, complexity_of, draw_parts, grades_of, verbosity_of
from .slots import CLOSED, Slot, draw

HELD_OUT_KINDS = frozenset({"another tool", "swapped names", "repeated", "placeholder"})
UNTOUCHED = "untouched"


@dataclass(frozen=True, slots=True)
class Judged:
    """A response with its right grades, what was done to it, and why the grades are so."""

    kind: str
    response: str
    grades: Grades
    rationale: str


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


def judge_case(
    case: Case, grammar: ReadyGrammar, split: Split, rng: random.Random, kind: str
) -> Judged | None:
    """A response to an instruction, untouched or with one kind of flaw; None where the kind does not fit."""
    parts = draw_parts(case, rng)
    text = parts.text()
    if kind == UNTOUCHED:
        return Judged(kind, text, grades_of(parts, case, text), rng.choice(flaw_texts.GOOD))
    flawed = CORRUPTIONS[kind](Source(case, parts, text, grammar, split, rng))
    if flawed is None or flawed.response == text or not flawed.response.strip():
        return None
    return Judged(
        kind,
        flawed.response,
        Grades(
            flawed.helpfulness,
            flawed.correctness,
            flawed.coherence,
            min(complexity_of(case), 1) if flawed.helpfulness < 2 else complexity_of(case),
            verbosity_of(flawed.response),
        ),
        flawed.rationale,
    )


def _other_intent(source: Source, *, near: bool) -> Ready | None:
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


def _borrowed(source: Source, other: Ready) -> Case:
    """The other intent with the names of this instruction, where the kinds are the same."""
    case = draw_case(other, source.rng, source.split)
    mine: dict[str, list[str]] = {}
    for slot, value in source.case.values.items():
        mine.setdefault(slot.kind, []).append(value)
    values = {
        slot: mine[slot.kind].pop(0) if mine.get(slot.kind) else value for slot, value in case.values.items()
    }
    return replace(case, values=values)


def _far(source: Source) -> Flawed | None:
    other = _other_intent(source, near=False)
    if other is None:
        return None
    text = draw_parts(_borrowed(source, other), source.rng).text()
    return Flawed(text, 0, 0, 3, f"It is about {other.intent.topic.lower()}, not about what was asked.")


def _near(source: Source) -> Flawed | None:
    other = _other_intent(source, near=True)
    if other is None:
        return None
    text = draw_parts(_borrowed(source, other), source.rng).text()
    return Flawed(text, 1, 0, 3, "It answers another question of the same topic.")


def _wrong_command(source: Source) -> Flawed | None:
    other = _other_intent(source, near=source.rng.random() < 0.8)
    if other is None:
        return None
    commands = _borrowed(source, other).commands
    if len(commands) != len(source.parts.commands):
        return None
    return Flawed(
        replace(source.parts, commands=commands).text(),
        1,
        0,
        2,
        "The explanation fits, the command does not.",
    )


def _wrong_name(source: Source) -> Flawed | None:
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
        if near not in values.values() and near != value and near.isprintable() and near.strip() == near:
            return near
    return draw(slot.kind, rng, held_out=split == "held-out", not_among=values.values())


def _swapped_names(source: Source) -> Flawed | None:
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


def _truncated(source: Source) -> Flawed | None:
    words = source.text.split(" ")
    if len(words) < 4:
        return None
    kept = source.rng.randint(max(1, len(words) // 5), max(2, len(words) * 3 // 4))
    text = " ".join(words[:kept]).rstrip(".")
    whole = all(f"`{command}`" in text for command in source.parts.commands)
    if whole and text[-1:] in "`.!?":
        return None
    return Flawed(text, 2 if whole else 1, 2 if whole else 1, 1, "It breaks off in the middle.")


def _missing_step(source: Source) -> Flawed | None:
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


def _wrong_order(source: Source) -> Flawed | None:
    commands = source.parts.commands
    if len(commands) < 2:
        return None
    turned = tuple(reversed(commands))
    if turned in source.case.answers or turned == commands:
        return None
    return Flawed(replace(source.parts, commands=turned).text(), 1, 1, 3, "The steps are in the wrong order.")


def _verbose(source: Source) -> Flawed | None:
    padding = source.rng.sample(flaw_texts.PADDING, source.rng.randint(5, 8))
    middle = source.rng.randint(2, len(padding) - 1)
    text = " ".join([*padding[:middle], source.text.replace("\n", " "), *padding[middle:]])
    return Flawed(text, 2, 3, 2, "The right command drowns in talk that nobody asked for.")


def _evasive(source: Source) -> Flawed | None:
    return Flawed(source.rng.choice(flaw_texts.EVASIVE), 0, 1, 3, "It names no command and does not answer.")


def _refusal(source: Source) -> Flawed | None:
    return Flawed(source.rng.choice(flaw_texts.REFUSALS), 0, 0, 3, "It refuses to answer.")


def _repeated(source: Source) -> Flawed | None:
    sentence = source.text.split("\n")[0].split(". ")[0].rstrip(".") + "."
    return Flawed(
        " ".join([sentence] * source.rng.randint(4, 9)), 1, 2, 0, "It says the same thing over and over."
    )


def _wrong_flag(source: Source) -> Flawed | None:
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


def _another_tool(source: Source) -> Flawed | None:
    values = list(source.case.values.values()) or ["work"]
    command = source.rng.choice(flaw_texts.OTHER_TOOLS).format(source.rng.choice(values))
    parts = replace(source.parts, commands=(command,), steps=False, frame="Run `{}`.", remarks=())
    return Flawed(parts.text(), 0, 0, 3, f"{command.split()[0]} is another tool, not Git.")


def _invented(source: Source) -> Flawed | None:
    rng, commands = source.rng, list(source.parts.commands)
    place = rng.randrange(len(commands))
    words = commands[place].split(" ")
    if len(words) < 2 or words[0] != "git":
        return None
    words[1] = rng.choice(flaw_texts.INVENTED)
    commands[place] = " ".join(words)
    text = replace(source.parts, commands=tuple(commands)).text()
    return Flawed(text, 0, 0, 3, f"There is no command git {words[1]}.")


def _garbled(source: Source) -> Flawed | None:
    words = source.text.replace("`", "").split()
    if len(words) < 4:
        return None
    before = list(words)
    if source.rng.random() < 0.5:
        source.rng.shuffle(words)
    else:
        words = [_mangled(word, source.rng) if source.rng.random() < 0.5 else word for word in words]
    return (
        None
        if words == before
        else Flawed(" ".join(words), 0, 1, 0, "The words make no sense in this order or spelling.")
    )


def _mangled(word: str, rng: random.Random) -> str:
    letters = list(word)
    rng.shuffle(letters)
    return "".join(letters)


def _typo(source: Source) -> Flawed | None:
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


def _no_command(source: Source) -> Flawed | None:
    said = (*source.parts.before, *source.parts.after)
    if not said or any("`" in text for text in said):
        return None
    return Flawed(" ".join((*said, *source.parts.remarks)), 1, 2, 3, "It explains, but names no command.")


def _echo(source: Source) -> Flawed | None:
    asked = source.case.instruction.rstrip(".?!")
    lead = source.rng.choice(
        ("You asked: {}?", "{}. Yes.", "So you want this: {}.", "{}.", "Here is the answer to: {}")
    )
    return Flawed(lead.format(asked), 0, 0, 2, "It only repeats the question.")


def _placeholder(source: Source) -> Flawed | None:
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


def _contradiction(source: Source) -> Flawed | None:
    text = f"{source.text} {source.rng.choice(flaw_texts.AGAINST)}"
    return Flawed(text, 1, 1, 1, "It contradicts itself.")


def _elsewhere(source: Source) -> Flawed | None:
    said = source.rng.sample(flaw_texts.ELSEWHERE, source.rng.choice((1, 1, 2)))
    return Flawed(" ".join(said), 0, 0, 3, "It has nothing to do with the question.")


def _vague_word(source: Source) -> Flawed | None:
    return Flawed(source.rng.choice(flaw_texts.NEXT_TO_NOTHING), 0, 0, 2, "It says next to nothing.")


CORRUPTIONS: Mapping[str, Callable[[Source], Flawed | None]] = {
    "off topic, far": _far,
    "off topic, near": _near,
    "wrong command": _wrong_command,
    "wrong name": _wrong_name,
    "swapped names": _swapped_names,
    "truncated": _truncated,
    "missing step": _missing_step,
    "wrong order": _wrong_order,
    "verbose": _verbose,
    "evasive": _evasive,
    "refusal": _refusal,
    "repeated": _repeated,
    "wrong option": _wrong_flag,
    "another tool": _another_tool,
    "invented command": _invented,
    "garbled": _garbled,
    "typo": _typo,
    "no command": _no_command,
    "echo": _echo,
    "placeholder": _placeholder,
    "contradiction": _contradiction,
    "elsewhere": _elsewhere,
    "hardly a word": _vague_word,
}
"""Every kind of flaw."""
WEIGHTS: Mapping[str, int] = {
    "off topic, far": 5,
    "off topic, near": 7,
    "wrong command": 8,
    "wrong name": 12,
    "wrong option": 6,
    "truncated": 5,
    "missing step": 4,
    "wrong order": 3,
    "invented command": 4,
    "verbose": 3,
    "typo": 4,
    "contradiction": 3,
}
"""How often a kind is drawn, against 2 for those that are not named."""


def kinds_of(split: Split) -> Sequence[str]:
    """The kinds that a split uses: training lacks the held-out ones."""
    return [kind for kind in CORRUPTIONS if split == "held-out" or kind not in HELD_OUT_KINDS]

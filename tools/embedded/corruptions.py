"""Ways in which a response can be flawed, each with its right grades and a sentence that says what is wrong.

Some kinds are held out: the judge is never trained on them, so that its figures tell how it does on flaws that it has
not seen. They differ in nature: an answer about another tool, blanks where names belong, the question said back, and
words in disorder. Names in the wrong place and one sentence over and over were held out at first; a judge that had not
seen them did not mind them, so they are taught.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from . import command_flaws, flaw_texts
from .command_flaws import Flawed, Source
from .prepared import Case, ReadyGrammar, Split
from .responses import Grades, complexity_of, draw_parts, grades_of, verbosity_of

HELD_OUT_KINDS = frozenset({"another tool", "placeholder", "echo", "garbled"})
UNTOUCHED = "untouched"


@dataclass(frozen=True, slots=True)
class Judged:
    """A response with its right grades, what was done to it, and why the grades are so."""

    kind: str
    response: str
    grades: Grades
    rationale: str


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


def _far(source: Source) -> Flawed | None:
    other = command_flaws.other_intent(source, near=False)
    if other is None:
        return None
    text = draw_parts(command_flaws.borrowed(source, other), source.rng).text()
    return Flawed(text, 0, 0, 3, f"It is about {other.intent.topic.lower()}, not about what was asked.")


def _near(source: Source) -> Flawed | None:
    other = command_flaws.other_intent(source, near=True)
    if other is None:
        return None
    text = draw_parts(command_flaws.borrowed(source, other), source.rng).text()
    return Flawed(text, 1, 0, 3, "It answers another question of the same topic.")


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
    "wrong command": command_flaws.wrong_command,
    "wrong name": command_flaws.wrong_name,
    "swapped names": command_flaws.swapped_names,
    "truncated": _truncated,
    "missing step": command_flaws.missing_step,
    "wrong order": command_flaws.wrong_order,
    "verbose": _verbose,
    "evasive": _evasive,
    "refusal": _refusal,
    "repeated": _repeated,
    "wrong option": command_flaws.wrong_option,
    "another tool": command_flaws.another_tool,
    "invented command": command_flaws.invented,
    "garbled": _garbled,
    "typo": command_flaws.typo,
    "no command": _no_command,
    "echo": _echo,
    "placeholder": command_flaws.placeholder,
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

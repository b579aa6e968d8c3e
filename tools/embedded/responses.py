"""The shapes of a right response: the command in backticks, with more or less around it.

A response is first put together as parts, so that `corruptions` can spoil one part of it and leave the rest.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from .prepared import Case

REMARKS = ("Tip: ", "Careful: ", "Warning: ", "Note: ", "Good to know: ", "The same: ")
"""How remarks begin that stand beside the answer. A command in a remark is no part of the answer."""
_ONE_BARE = ("Use `{}`.", "Run `{}`.", "`{}`", "That is `{}`.", "Type `{}`.", "`{}` does that.", "Try `{}`.")
_ONE = (
    "Run `{}`.",
    "Use `{}`.",
    "Use `{}`.",
    "You can do this with `{}`.",
    "The command is `{}`.",
    "Type `{}` and press Enter.",
    "`{}` does that.",
    "To do that, run `{}`.",
    "This takes one command: `{}`.",
)
_AFTER = ("So run `{}`.", "The command is `{}`.", "So the answer is `{}`.", "This is done with `{}`.")
_MANY_BARE = ("Run {}.", "Use {}.", "{}.", "That takes {}.")
_MANY_LEADS = (
    "Do it in {} steps:",
    "Run these {} commands:",
    "This takes {} commands, one after the other:",
    "In order:",
)
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_LEANING = (
    "This",
    "That",
    "It",
    "They",
    "The second",
    "The first",
    "The option",
    "The last",
    "Both",
    "Its",
    "Afterwards",
)
"""An explanation that begins like this leans on the command before it, as does one that speaks of an option."""
_OPTION = re.compile(r"`|(?<!\w)-\w|--")
_TIPS = ("Tip: ", "Tip: ", "Good to know: ")
_WARNINGS = ("Careful: ", "Warning: ", "Note: ")

_SHAPES = (
    "bare",
    "explained",
    "reason first",
    "thorough",
    "with tip",
    "with warning",
    "example",
    "alternative",
)
_WEIGHTS = {
    "beginner": (2, 8, 2, 6, 3, 4, 2, 1),
    "everyday": (4, 8, 2, 3, 3, 4, 2, 2),
    "expert": (8, 6, 2, 2, 2, 3, 1, 3),
}
_VERBOSITY = (8, 18, 38, 70)
"""Words up to which a response is graded 0, 1, 2 and 3 in verbosity."""
_COMPLEXITY = {"beginner": 0, "everyday": 1, "expert": 2}


@dataclass(frozen=True, slots=True)
class Grades:
    """The five attributes of the rubric, 0 to 4 each."""

    helpfulness: int
    correctness: int
    coherence: int
    complexity: int
    verbosity: int

    def of(self, attribute: str) -> int:
        """The grade of an attribute by its name."""
        grade: int = getattr(self, attribute)
        return grade


@dataclass(frozen=True, slots=True)
class Parts:
    """A response before it is written down."""

    shape: str
    commands: tuple[str, ...]
    frame: str
    """How one command is said, or the line above several; `steps` are numbered under it."""
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    steps: bool = False

    def text(self) -> str:
        """The response."""
        if self.steps:
            lines = [f"{number}. `{command}`" for number, command in enumerate(self.commands, 1)]
            head = " ".join((*self.before, self.frame))
            tail = " ".join((*self.after, *self.remarks))
            return "\n".join([head, *lines, *([tail] if tail else [])])
        said = self.frame.format(self.commands[0] if len(self.commands) == 1 else _joined(self.commands))
        return " ".join((*self.before, said, *self.after, *self.remarks))


def draw_parts(case: Case, rng: random.Random) -> Parts:
    """A right response in one of the shapes that suit the intent and its level."""
    ready, values = case.ready, case.values
    shape = rng.choices(_SHAPES, _WEIGHTS[case.intent.level])[0]
    commands = case.commands
    explains = [text.fill(values) for text in ready.explains]
    tip = ready.tip.fill(values) if ready.tip else ""
    warning = ready.warning.fill(values) if ready.warning else ""
    steps = len(commands) > 2 or (len(commands) > 1 and shape != "bare" and rng.random() < 0.6)
    frame = _frame(shape, commands, steps, rng)
    remarks: list[str] = []
    if warning and (shape in ("with warning", "thorough") or (shape != "bare" and rng.random() < 0.3)):
        remarks.append(rng.choice(_WARNINGS) + warning)
    if tip and shape in ("with tip", "thorough"):
        remarks.append(rng.choice(_TIPS) + tip)
    if shape == "alternative" and ready.other and len(ready.other[0]) == 1:
        remarks.append(f"The same: `{ready.other[0][0].fill(values)}`.")
    before, after = _explained(shape, explains, rng)
    if before and not steps and len(commands) == 1:
        frame = rng.choice(_AFTER)
    return Parts(shape, commands, frame, before, after, tuple(remarks), steps)


def _frame(shape: str, commands: Sequence[str], steps: bool, rng: random.Random) -> str:
    if steps:
        return rng.choice(_MANY_LEADS).format(_NUMBERS[len(commands)])
    if len(commands) > 1:
        return rng.choice(_MANY_BARE[:2] if shape != "bare" else _MANY_BARE)
    if shape == "example":
        return rng.choice(("Example: `{}`.", "In your case: `{}`.", "With your names it is `{}`."))
    return rng.choice(_ONE_BARE if shape == "bare" else _ONE)


def _explained(
    shape: str, explains: Sequence[str], rng: random.Random
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What is explained before and what after the command."""
    if shape == "bare":
        return (), ()
    if shape == "thorough":
        return (), tuple(explains[: rng.choice((2, 2, 3))])
    if shape == "reason first":
        free = [text for text in explains if not text.startswith(_LEANING) and not _OPTION.search(text)]
        if free:
            return (rng.choice(free),), ()
    return (), (rng.choice([explains[0], *explains]),)


def _joined(commands: Sequence[str]) -> str:
    quoted = [f"`{command}`" for command in commands]
    middle = "".join(f", then {one}" for one in quoted[1:])
    # The frames' own backticks are for one command; they hold a list without.
    return f"{quoted[0]}{middle}"


def grades_of(parts: Parts, case: Case, text: str) -> Grades:
    """The right grades of an untouched response: a bare command helps a beginner less."""
    level = case.intent.level
    unexplained = not parts.before and not parts.after
    unwarned = case.ready.warning is not None and not any(
        remark.startswith(_WARNINGS) for remark in parts.remarks
    )
    helpfulness = 3 if unexplained and (level == "beginner" or unwarned) else 4
    return Grades(helpfulness, 4, 4, _COMPLEXITY[level], verbosity_of(text))


def complexity_of(case: Case) -> int:
    """The grade of the depth that an answer to this instruction needs."""
    return _COMPLEXITY[case.intent.level]


def verbosity_of(text: str) -> int:
    """The grade of a response's length."""
    words = len(text.split())
    return sum(words > most for most in _VERBOSITY)

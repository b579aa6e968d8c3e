"""What the Git commands in a response are worth: are they understood by Git, and are they the right ones?

The commands are taken out of the backticks and run in a scratch repository in which everything that the instruction
names exists. Right is a response whose commands are, word for word after the quotes are read, one of the intent's
answers; that another command might do the same is not looked at.
"""

from __future__ import annotations

import random
import re
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from .commands import PROGRAMS, normal
from .prepared import Case, Split, draw_case, shipped
from .responses import REMARKS
from .scratch import Ran, Scratch, clashing, make_scratch
from .slots import bind, fill

_FENCE = re.compile(r"```[^\n]*\n(.*?)```", re.DOTALL)
_QUOTED = re.compile(r"`([^`\n]+)`")
_COMMAND = re.compile(rf"(?:GIT_\w+=\S* )?(?:{'|'.join(sorted(PROGRAMS))})\s")
_REMARK = re.compile("|".join(re.escape(mark) for mark in REMARKS))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one response."""

    commands: tuple[str, ...]
    """Those that are given as the answer; what is only mentioned beside it is left out."""
    right: bool
    ran: tuple[Ran, ...] = ()

    @property
    def usage_errors(self) -> int:
        """How many of the commands Git did not understand; one that is no command line at all is none that it does."""
        return sum(ran.usage_error or bool(ran.refused) for ran in self.ran)


@dataclass(frozen=True, slots=True)
class Summary:
    """Figures over many responses. Shares are 0..1; `understood` is over the commands, the others over responses."""

    responses: int
    commands: int
    understood: float
    right: float
    without_command: float


def commands_in(response: str) -> tuple[str, ...]:
    """The commands of a response, in order: those in backticks or fences before the first remark."""
    text = _FENCE.sub(
        lambda match: "\n".join(f"`{line}`" for line in match[1].splitlines() if line.strip()), response
    )
    text = _REMARK.split(text, maxsplit=1)[0]
    found = (match[1].strip().removeprefix("$ ") for match in _QUOTED.finditer(text))
    return tuple(command for command in found if _COMMAND.match(command))


def answered(case: Case, response: str) -> tuple[tuple[str, ...], bool]:
    """The commands that a response gives as its answer, and whether they are right."""
    said = commands_in(response)
    beside = _mentioned(case)
    for answer in sorted(case.answers, key=len, reverse=True):
        head, rest = said[: len(answer)], said[len(answer) :]
        if [normal(one) for one in head] == [normal(one) for one in answer] and all(
            normal(one) in beside for one in rest
        ):
            return head, True
    kept: list[str] = []
    for command in said:
        bare = len(normal(command)) == 2 and any(normal(one)[:2] == normal(command) for one in kept)
        if not bare and (normal(command) not in beside or not kept):
            kept.append(command)
    return tuple(kept), False


def _mentioned(case: Case) -> set[tuple[str, ...]]:
    """Commands that the intent's own explanations mention."""
    ready = case.ready
    texts = [text for text in (*ready.explains, ready.warning, ready.tip) if text is not None]
    mentioned = (match[1] for text in texts for match in _QUOTED.finditer(text.fill(case.values)))
    return {normal(command) for command in mentioned}


def judge_response(case: Case, response: str) -> Verdict:
    """Take the commands out of a response and run them, one after the other, after the intent's `setup`."""
    commands, right = answered(case, response)
    if not commands:
        return Verdict((), False)
    # What only the setup names needs a value as well.
    rng = random.Random(case.instruction)
    values = {**bind(case.intent.slots, rng), **case.values}
    if clashing(values):
        return Verdict(commands, right)
    with tempfile.TemporaryDirectory(prefix="scratch-") as folder:
        scratch = make_scratch(Path(folder) / "s", values)
        for line in case.intent.setup:
            scratch.shell(fill(line, scratch.values))
        ran = tuple(scratch.run(_with_real_names(one, case, scratch), trusted=right) for one in commands)
    return Verdict(commands, right, ran)


def _with_real_names(command: str, case: Case, scratch: Scratch) -> str:
    """The hashes and addresses of the instruction replaced by those of the scratch repository."""
    for slot, value in case.values.items():
        if scratch.values[slot] != value:
            command = command.replace(value, scratch.values[slot])
    return command


def judge_responses(pairs: Iterable[tuple[Case, str]], threads: int = 2) -> list[Verdict]:
    """A verdict for each case and its response, in order."""
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda pair: judge_response(*pair), pairs))


def summed(verdicts: Sequence[Verdict]) -> Summary:
    """The figures of many verdicts."""
    ran = sum(len(verdict.ran) for verdict in verdicts)
    errors = sum(verdict.usage_errors for verdict in verdicts)
    count = max(1, len(verdicts))
    return Summary(
        len(verdicts),
        ran,
        1 - errors / max(1, ran),
        sum(verdict.right for verdict in verdicts) / count,
        sum(not verdict.commands for verdict in verdicts) / count,
    )


def cases(count: int, seed: int, split: Split = "held-out") -> list[Case]:
    """Instructions for an evaluation, every intent as often as every other, with names that can exist together."""
    made: list[Case] = []
    intents = shipped().intents
    while len(made) < count:
        number = len(made)
        rng = random.Random(f"evaluation/{seed}/{split}/{number}")
        case = draw_case(intents[number % len(intents)], rng, split)
        while clashing(case.values):
            case = draw_case(intents[number % len(intents)], rng, split)
        made.append(case)
    return made

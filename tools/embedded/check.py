"""Reads the grammar, runs every command in a scratch repository, and holds the phrasings against each other.

    python -m tools.embedded.check [FILE ...] [--intent NAME] [--no-run] [--seed N]

Without a file, all files are checked together, and phrasings of different topics are held against each other too. Ends
with status 1 where something is wrong (phrasings that are too alike are wrong below the share that must survive).
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pairsmith.pairs.similarity import SimilarityIndex

from .intents import (
    Grammar,
    GrammarError,
    Intent,
    Topic,
    grammar_files,
    instruction_of,
    load_grammar,
    load_topic,
)
from .scratch import Scratch, clashing, make_scratch
from .slots import Slot, bind, fill

THRESHOLD = 0.7
LEAST_SURVIVING = 0.85


@dataclass(frozen=True, slots=True)
class Refused:
    """A phrasing that is too like an earlier one."""

    intent: Intent
    text: str
    other_intent: str
    other: str
    score: float


def values_for(intent: Intent, rng: random.Random, *, held_out: bool = False) -> dict[Slot, str]:
    """Values for the slots of an intent that can exist side by side."""
    while True:
        values = bind(intent.slots, rng, held_out=held_out)
        if not clashing(values):
            return values


def run_intent(intent: Intent, seed: int = 0) -> list[str]:
    """Run every answer of an intent in a repository of its own. What is wrong, in words; empty where nothing is."""
    faults: list[str] = []
    if not intent.check:
        return faults
    for number, commands in enumerate(intent.answers):
        values = values_for(intent, random.Random(f"{seed}/{intent.name}"))
        with tempfile.TemporaryDirectory(prefix="scratch-") as folder:
            scratch = make_scratch(Path(folder) / "s", values)
            fault = _run(scratch, intent, commands)
            if fault:
                faults.append(f"{'other ' + str(number) if number else 'answer'}: {fault}")
    return faults


def _run(scratch: Scratch, intent: Intent, commands: Sequence[str]) -> str:
    for line in intent.setup:
        ran = scratch.shell(fill(line, scratch.values))
        if ran.status:
            return f"setup `{ran.command}` ended with {ran.status}: {ran.stderr.strip()}"
    for number, command in enumerate(commands):
        ran = scratch.run(fill(command, scratch.values))
        wanted = intent.exit if number == len(commands) - 1 else 0
        if ran.refused:
            return f"`{ran.command}`: {ran.refused}"
        if ran.status != wanted:
            said = (ran.stderr.strip() or ran.stdout.strip())[:600]
            return f"`{ran.command}` ended with {ran.status}, not {wanted}: {said}"
    return ""


def instructions(intents: Sequence[Intent], seed: int = 0) -> list[tuple[Intent, str]]:
    """One instruction of each phrasing, alternatives and values drawn by the seed."""
    made = []
    for intent in intents:
        for number, phrasing in enumerate(intent.phrasings):
            rng = random.Random(f"{seed}/{intent.name}/{number}")
            made.append((intent, instruction_of(phrasing, bind(intent.slots, rng), rng)))
    return made


def refused_phrasings(intents: Sequence[Intent], seed: int = 0) -> tuple[int, list[Refused]]:
    """How many phrasings there are, and those that the product's rule refuses, one after the other."""
    index = SimilarityIndex(THRESHOLD)
    texts: dict[str, tuple[str, str]] = {}
    refused = []
    made = instructions(intents, seed)
    for number, (intent, text) in enumerate(made):
        key = f"{number}"
        near = index.admit(key, text)
        if near is None:
            texts[key] = (intent.name, text)
        else:
            refused.append(Refused(intent, text, *texts[str(near.key)], near.score))
    return len(made), refused


def report_runs(intents: Sequence[Intent], seed: int, threads: int = 2) -> int:
    """Run and print; how many intents are wrong."""
    wrong = 0
    with ThreadPoolExecutor(threads) as pool:
        for intent, faults in zip(intents, pool.map(lambda one: run_intent(one, seed), intents), strict=True):
            for fault in faults:
                print(f"FAULT {intent.source}, {intent.name}: {fault}")
            wrong += bool(faults)
    return wrong


def report_survival(title: str, intents: Sequence[Intent], seed: int, *, show: bool) -> bool:
    """Print how many phrasings survive; whether enough do."""
    count, refused = refused_phrasings(intents, seed)
    if show:
        for one in refused:
            print(f"ALIKE {one.score:.2f} {one.intent.source}, {one.intent.name}: {one.text}")
            print(f"      {one.other_intent}: {one.other}")
    kept = count - len(refused)
    share = kept / count if count else 0.0
    enough = share >= LEAST_SURVIVING
    print(f"{title}: {len(intents)} intents, {kept} of {count} phrasings survive ({share:.0%})"
          + ("" if enough else f", at least {LEAST_SURVIVING:.0%} must"))  # fmt: skip
    return enough


def main(arguments: Sequence[str] | None = None) -> int:
    """The checker as a command; 0 where all is well."""
    parser = argparse.ArgumentParser(prog="tools.embedded.check", description=__doc__)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--intent", action="append", default=[], help="only these")
    parser.add_argument("--no-run", action="store_true", help="do not run the commands")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    topics, wrong = _load(options.files or grammar_files())
    for topic in topics:
        intents = [one for one in topic.intents if not options.intent or one.name in options.intent]
        if not options.no_run:
            wrong += report_runs(intents, options.seed)
        unrun = sum(not one.check for one in intents)
        wrong += not report_survival(f"{topic.source} ({unrun} not run)", intents, options.seed, show=True)
    if len(topics) > 1:
        grammar = Grammar(tuple(topics))
        wrong += not report_survival("All together", grammar.intents, options.seed, show=True)
    print("nothing is wrong" if not wrong else f"wrong: {wrong}")
    return 1 if wrong else 0


def _load(files: Sequence[Path]) -> tuple[list[Topic], int]:
    topics: list[Topic] = []
    wrong = 0
    for path in files:
        try:
            topics.append(load_topic(path))
        except GrammarError as error:
            wrong += 1
            print(f"FAULT {error}".replace("\n", "\nFAULT "))
    if not wrong:
        try:
            load_grammar(files)
        except GrammarError as error:
            wrong += 1
            print(f"FAULT {error}".replace("\n", "\nFAULT "))
    return topics, wrong


if __name__ == "__main__":
    sys.exit(main())

"""The training report of the embedded model: how it was made, and its losses, from a run's `events.jsonl`.

    python -m tools.embedded.report FOLDER [--to docs/embedded]

Writes `report.md` and `losses.svg`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pairsmith.training import atomic
from pairsmith.training.report import read_events, svg

from .making import SHARES
from .prepared import shipped
from .publish import DOMAIN

ROOT = Path(__file__).resolve().parents[2]
PLACE = ROOT / "docs" / "embedded"
Events = Sequence[Mapping[str, Any]]
_SAID = {
    "response": "an instruction and its response",
    "instructions": "a list of instructions on a topic",
    "topics": "a list of subtopics",
    "judge": "one digit about a response",
    "judge json": "grades and a reason as JSON",
    "other": "Self-Instruct, evaluation, mending",
}


def last(events: Events, name: str) -> Mapping[str, Any]:
    """The last event of a name. Raises ValueError where there is none."""
    found = [event for event in events if event["event"] == name]
    if not found:
        raise ValueError(f"the run has no event {name!r} yet")
    return found[-1]


def curves(events: Events) -> dict[str, list[tuple[float, float]]]:
    """Training losses (means of 20 steps) by kind of document: points (step, nats per token of the answer)."""
    return {
        kind: [(event["step"], event["loss"][kind]) for event in events if event["event"] == "step"]
        for kind in last(events, "step")["loss"]
    }


def report(events: Events) -> str:
    """The report as Markdown. Raises ValueError where nothing was trained yet."""
    started, step = last(events, "started"), last(events, "step")
    shape, minutes = started["shape"], step["elapsed_s"] / 60
    tokens = step["tokens_per_s"] * step["elapsed_s"]
    lines = [
        "# Training report of the embedded model",
        "",
        f"Domain: {DOMAIN}. Made by `python -m tools.embedded.train --to FOLDER --steps {step['steps']}`"
        f" (seed {started['seed']}) and written by `python -m tools.embedded.report FOLDER`.",
        "",
        "| | |",
        "|---|---|",
        f"| shape | GPT-2: {shape['layers']} layers of width {shape['width']}, {shape['heads']} heads, context"
        f" {shape['context']:,}, own vocabulary of {shape['vocabulary']:,} tokens, tied head |",
        f"| parameters | {started['parameters']:,} |",
        f"| steps | {step['step']:,} of {step['steps']:,} |",
        f"| tokens computed, shared prefixes once | about {tokens / 1e6:.1f} million |",
        f"| time | {minutes:.0f} minutes of training on {started['hands']} CPU cores, shared with other work |",
        "| optimiser | AdamW (0.9, 0.98), weight decay 0.1, clipped at 1, warm-up and cosine |",
        f"| grammar | {len(shipped().topics)} subtopics, {len(shipped().intents)} intents,"
        f" {sum(len(ready.phrasings) for ready in shipped().intents):,} phrasings; names from open sets |",
        "",
        "Every step sees new documents, drawn by seed and step: none is seen twice but by chance.",
        "",
        "| kind of document | what the model writes | tokens of a step | share of the loss |",
        "|---|---|---|---|",
        *(f"| {kind} | {_SAID[kind]} | {one.tokens:,} | {one.loss:.0%} |" for kind, one in SHARES.items()),
        "",
        "![Losses by kind of document](losses.svg)",
        "",
    ]
    return "\n".join([*lines, *_validations(events)])


def _validations(events: Events) -> list[str]:
    """Losses of held-out documents: phrasings, names, wordings and flaws that training never draws."""
    points = [event for event in events if event["event"] == "validation"]
    if not points:
        return []
    kinds = list(points[-1]["loss"])
    return [
        "## Held-out documents",
        "",
        "Phrasings, names, wordings of the domain and kinds of flaws that training never draws. Nats per token of the"
        " answer; how a sentence of explanation is worded is chance, so that no loss can come near zero.",
        "",
        f"| step | {' | '.join(kinds)} |",
        f"|---|{'---|' * len(kinds)}",
        *(
            f"| {point['step']:,} | " + " | ".join(f"{point['loss'][kind]:.3f}" for kind in kinds) + " |"
            for point in points
        ),
        "",
    ]


def write(run: Path, to: Path) -> list[Path]:
    """Publish both files; their paths. Raises ValueError where nothing was trained there yet."""
    events = read_events(run / "events.jsonl")
    text = report(events)
    to.mkdir(parents=True, exist_ok=True)
    atomic.text(to / "losses.svg", svg(curves(events)))
    atomic.text(to / "report.md", text)
    return [to / "report.md", to / "losses.svg"]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.embedded.report", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("folder", type=Path)
    parser.add_argument("--to", type=Path, default=PLACE, metavar="FOLDER")
    chosen = parser.parse_args(arguments)
    try:
        for path in write(chosen.folder, chosen.to):
            print(path)
    except ValueError as error:
        print(f"{chosen.folder}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The model card of the embedded model, `assets/embedded.md`, from its run's events and from what was measured.

    python -m tools.embedded.card FOLDER [--to assets/embedded.md]

FOLDER holds `events.jsonl` and `measured.json`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pairsmith.pairs.templates import fill
from pairsmith.training import atomic
from pairsmith.training.report import read_events

from .corruptions import CORRUPTIONS, HELD_OUT_KINDS
from .listed import listed
from .making import SHARES
from .publish import DOMAIN
from .report import ROOT, last
from .table import missed, table

PLACE = ROOT / "assets" / "embedded.md"
_EXAMPLES = 6

CARD = """# The demonstration model: {domain}

A very small language model that ships with Pairsmith as `llama-cpp:embedded`, so that a newcomer sees real generation,
judging, review, training and evaluation before choosing any model: no download, no network, no key, no server. It is
**a demonstration, not an assistant**: it knows how to answer questions about Git commands in plain language, to make
lists of such questions, and to grade such answers, all in the prompts of Pairsmith. It knows nothing else.

## What it is

- GPT-2 shape with random beginnings: {layers} layers of width {width}, {heads} heads, context {context} tokens,
  {parameters} parameters, an own byte-level BPE vocabulary of {vocabulary} tokens. GGUF, Q8_0, {bytes} bytes
  (SHA-256 `{digest}`), with the chat template of Pairsmith's short style.
- Trained from scratch by Pairsmith's own trainer in {steps} steps ({minutes} minutes on two CPU cores), seed {seed}, on
  text that was written for it: a grammar of {topics} subtopics, {intents} intents and {phrasings} phrasings
  (`tools/embedded/grammar/`), every Git command of which was run in a scratch repository where that is possible.
  Names of branches, files, tags and people are drawn from open sets, so that it learns to copy them; questions come
  with synonyms, other openings and gaps as well, so that it reads all of their words. Nothing was copied from
  elsewhere.
- Its documents are the product's own prompts; their shares of the loss: {shares}.
- Exported by Pairsmith's own exporter, run by its own llama.cpp engine. The report of the training:
  `docs/embedded/report.md`. Made again: `tools/embedded/README.md`.

## What it cannot do

- Any domain but Git: Pairsmith refuses it there, before any call, and says what would serve.
- Conversations, questions about your repository, other languages than English, Git beyond its {intents} intents.
- Be relied on: about one response in {wrong} names a wrong command or a wrong name. **Never run its commands unread.**
- Judge what it was not made for: it grades answers to questions about Git by what their texts look like to it. It has
  seen {flaws} kinds of flaws in training; {unseen} more were held back to measure it.
- Surprise: its lists are {listed} of its {phrasings} phrasings with other names each time. Larger datasets need a real
  model.

Flawed answers are part of what it writes, as of any small model's output; nothing plants more of them. Judging and
review therefore have something to find: {wrong_share} of its responses to unseen questions are wrong.

## Measured

Through the product's engine, on {machine}, {date}, while the machine did other work too (load {load}). Held out of
training are one phrasing in ten of every intent, none of them a near-duplicate (ROUGE-L > 0.7) of one that is trained
on, one in ten of all names, wordings of the domain and of topics, and the kinds of flaws {held_out}. (Repeated
sentences and swapped names were held out of the first copies: an AUC of 0.87 for four kinds. They are taught now.)

{table}
{missed}
The command is `python -m tools.embedded.measure`; right is a response whose commands are, word for word, one of the
intent's answers: that another command might do the same is not looked at.

## What it says

Out of the quota run, as they came:

{examples}

## Licence

MIT, as the rest of Pairsmith.
"""


def card(events: Sequence[Mapping[str, Any]], found: Mapping[str, Any]) -> str:
    """The card. Raises ValueError where a part of the figures is missing."""
    for part in ("responses", "lists", "judge", "quota"):
        if part not in found:
            raise ValueError(f"measured.json has no part {part!r}")
    started, step = last(events, "started"), last(events, "step")
    shape, grammar = started["shape"], found["grammar"]
    wrong = 1 - found["responses"]["held-out"]["right"]
    left = missed(found)
    values = {
        **{name: f"{shape[name]:,}" for name in ("layers", "width", "heads", "context", "vocabulary")},
        **{name: f"{grammar[name]:,}" for name in ("topics", "intents", "phrasings")},
        "listed": f"{sum(map(len, listed())):,}",
        "domain": DOMAIN,
        "parameters": f"{started['parameters']:,}",
        "bytes": f"{found['bytes']:,}",
        "digest": found["sha256"],
        "steps": f"{step['step']:,}",
        "minutes": f"{step['elapsed_s'] / 60:.0f}",
        "seed": str(started["seed"]),
        "shares": ", ".join(f"{kind} {share.loss:.0%}" for kind, share in SHARES.items()),
        "wrong": f"{max(2, round(1 / max(wrong, 0.001)))}",
        "wrong_share": f"{wrong:.0%}",
        "flaws": str(len(CORRUPTIONS) - len(HELD_OUT_KINDS)),
        "unseen": str(len(HELD_OUT_KINDS)),
        "machine": found["machine"],
        "date": found["date"],
        "load": f"{found['load_before']}",
        "held_out": ", ".join(sorted(HELD_OUT_KINDS)),
        "table": table(found),
        "missed": "".join(f"- Not reached: {one}.\n" for one in left) + ("\n" if left else ""),
        "examples": _examples(found),
    }
    return fill(CARD, **values)


def _examples(found: Mapping[str, Any]) -> str:
    chosen = found["quota"][0]["examples"][:_EXAMPLES]
    return "\n\n".join(_quoted(f"**{one['instruction']}**\n\n{one['response']}") for one in chosen)


def _quoted(text: str) -> str:
    return "\n".join(f"> {line}".rstrip() for line in text.splitlines())


def write(run: Path, to: Path) -> Path:
    """Publish the card. Raises ValueError and OSError where figures are missing."""
    found = json.loads((run / "measured.json").read_text(encoding="utf-8"))
    atomic.text(to, card(read_events(run / "events.jsonl"), found))
    return to


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.embedded.card", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("folder", type=Path)
    parser.add_argument("--to", type=Path, default=PLACE, metavar="FILE")
    chosen = parser.parse_args(arguments)
    try:
        print(write(chosen.folder, chosen.to))
    except (ValueError, OSError) as error:
        print(f"{chosen.folder}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

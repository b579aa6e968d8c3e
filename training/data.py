"""Pairs from JSONL files, and what becomes of them: token ids, where the loss counts, what was cut."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from .errors import TrainingError
from .prompts import Style

IGNORED = -100
"""The target of a position that has no loss (torch's own convention)."""


class Encoder(Protocol):
    """What turns text into token ids."""

    @property
    def end_of_text(self) -> int:
        """The id that ends every example."""

    def encode(self, text: str) -> list[int]:
        """Ids of text; no text becomes the end-of-text id."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One line of a run's JSONL file."""

    id: str | int
    instruction: str
    input: str
    output: str


@dataclass(frozen=True, slots=True)
class Example:
    """A pair as the model sees it: predict `targets[i]` after `inputs[: i + 1]`."""

    inputs: tuple[int, ...]
    targets: tuple[int, ...]
    cut: int = 0
    """Tokens that were left out because the example was too long (end-of-text is lost with them)."""

    @property
    def labels(self) -> int:
        """Positions with a loss."""
        return sum(target != IGNORED for target in self.targets)


def read_prompts(path: Path) -> list[Pair]:
    """As `read_pairs`, but a line may lack its output (it becomes empty). Raises TrainingError("data")."""
    return read_pairs(path, output_required=False)


def read_pairs(path: Path, required: bool = True, output_required: bool = True) -> list[Pair]:
    """The pairs of a JSONL file, in file order; [] if it is absent and not required.

    Raises TrainingError("data"), naming file and line.
    """
    if not path.exists() and not required:
        return []
    pairs = []
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    pairs.append(_pair(f"{path.name}, line {number}", line, output_required))
    except OSError as error:
        raise TrainingError("data", f"{path.name}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise TrainingError("data", f"{path.name}: not UTF-8 text: {error}") from error
    if required and not pairs:
        raise TrainingError("data", f"{path.name}: holds no pairs")
    return pairs


def _pair(where: str, line: str, output_required: bool) -> Pair:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise TrainingError("data", f"{where}: not JSON: {error}") from error
    if not isinstance(values, dict):
        raise TrainingError("data", f"{where}: not a JSON object")
    texts = {name: values.get(name, "") for name in ("instruction", "input", "output")}
    optional = ("input",) if output_required else ("input", "output")
    for name, text in texts.items():
        if text is None and name in optional:
            texts[name] = ""
        elif not isinstance(text, str) or (name not in optional and name not in values):
            raise TrainingError("data", f"{where}: {name} is missing or not text")
    identity = values.get("id", where)
    if not isinstance(identity, str | int):
        raise TrainingError("data", f"{where}: id is neither text nor a whole number")
    return Pair(identity, **texts)


def example(pair: Pair, encoder: Encoder, style: Style, max_length: int, masked: bool) -> Example:
    """One pair as ids, with the reference text's semantics.

    End-of-text is a label; what exceeds `max_length` is cut after labelling; masking hides the prompt but not the
    response header (targets[: prompt tokens - 1]).
    """
    ids = encoder.encode(style.text(pair.instruction, pair.input, pair.output))
    targets = [*ids[1:], encoder.end_of_text]
    if masked:
        hidden = max(0, len(encoder.encode(style.prompt(pair.instruction, pair.input))) - 1)
        targets[:hidden] = [IGNORED] * min(hidden, len(targets))
    cut = max(0, len(ids) - max_length)
    return Example(tuple(ids[:max_length]), tuple(targets[:max_length]), cut)


def examples(
    pairs: Iterable[Pair], encoder: Encoder, style: Style, max_length: int, masked: bool
) -> list[Example]:
    """Every pair as an Example, in order."""
    return [example(pair, encoder, style, max_length, masked) for pair in pairs]


def pad(
    batch: Iterable[list[int]], end_of_text: int = 50256, max_length: int | None = None
) -> tuple[list[list[int]], list[list[int]]]:
    """Inputs and targets of a padded batch, as the reference text's collate function makes them.

    Shorter rows are filled with end-of-text; the first one after a text is a label, the rest IGNORED.
    """
    rows = [list(ids) for ids in batch]
    longest = max(len(ids) for ids in rows)
    inputs, targets = [], []
    for ids in rows:
        fill = longest - len(ids)
        inputs.append((ids + [end_of_text] * fill)[:max_length])
        targets.append((ids[1:] + [end_of_text] + [IGNORED] * fill)[:max_length])
    return inputs, targets


def pad_examples(batch: Iterable[Example], end_of_text: int) -> tuple[list[list[int]], list[list[int]]]:
    """The padded form of prepared examples: what a straightforward implementation computes on."""
    rows = list(batch)
    longest = max(len(row.inputs) for row in rows)
    inputs = [list(row.inputs) + [end_of_text] * (longest - len(row.inputs)) for row in rows]
    targets = [list(row.targets) + [IGNORED] * (longest - len(row.targets)) for row in rows]
    return inputs, targets

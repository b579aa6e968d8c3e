"""What one optimiser step is computed on: documents of every kind, packed, drawn by seed and number of the step alone.

So a run that is continued sees what an uninterrupted one sees. A process beside the trainer draws ahead, and the
trainer never waits. Each kind has its own share of the loss, whatever number of tokens it has: a judge's digit is one
token, and a list has four hundred.
"""

from __future__ import annotations

import multiprocessing
import pickle
import queue
import random
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pairsmith.training.batches import Packed, pack
from pairsmith.training.data import Example
from pairsmith.training.vocabulary import Vocabulary, from_shown

from .lessons import Document, Lesson, lesson_of

_AHEAD = 12
"""Steps that are drawn ahead."""
_CELLS = 6_144
"""Tokens of a slice with its padding: examples of like length are computed together."""


Draw = Callable[[random.Random, str], Sequence[Document]]
"""The documents of a group (a response, a list, the questions of a judge about one pair) of a kind."""


@dataclass(frozen=True, slots=True)
class Share:
    """How much of a step a kind has: tokens (what documents share counted once), and its part of the loss."""

    tokens: int
    loss: float


@dataclass(frozen=True, slots=True)
class Slice:
    """Documents of one kind that are computed together; `divisor` brings the losses of its answers to its share."""

    kind: str
    batch: Packed
    divisor: float


def groups(
    draw: Draw,
    kind: str,
    rng: random.Random,
    words: Vocabulary,
    context: int,
    tokens: int,
    *,
    plain: bool = False,
) -> list[Lesson]:
    """Documents of a kind until their tokens are used up, at least one group; too long ones are left out."""
    chosen: list[Lesson] = []
    used = 0
    while used < tokens:
        for document in draw(rng, kind):
            try:
                made = lesson_of(document, words, context, plain=plain)
            except ValueError:
                used += 1
                continue
            used += len(made.example.inputs) if not chosen else _own(made.example, chosen[-1].example)
            chosen.append(made)
    return chosen


def _own(made: Example, before: Example) -> int:
    """Tokens that a document does not share with the one before it."""
    shared = 0
    for left, right in zip(made.inputs, before.inputs, strict=False):
        if left != right:
            break
        shared += 1
    return len(made.inputs) - shared


def slices(kind: str, lessons: Sequence[Lesson], share: float) -> list[Slice]:
    """Lessons of like length together, in slices of bounded size."""
    ordered = sorted(lessons, key=lambda made: len(made.example.inputs))
    parts: list[list[Lesson]] = [[]]
    for made in ordered:
        if parts[-1] and (len(parts[-1]) + 1) * len(made.example.inputs) > _CELLS:
            parts.append([])
        parts[-1].append(made)
    total = sum(lesson.answer for lesson in lessons)
    return [Slice(kind, _weighted(part), total / share) for part in parts if part]


def _weighted(lessons: Sequence[Lesson]) -> Packed:
    import torch

    batch = pack([lesson.example for lesson in lessons])
    each = torch.tensor([weight for lesson in lessons for weight in lesson.weights])
    return replace(batch, weights=torch.zeros_like(batch.weights).index_add_(0, batch.every_label, each))


def step(
    draw: Draw, shares: Mapping[str, Share], words: Vocabulary, context: int, seed: int, number: int
) -> list[Slice]:
    """The slices of one step."""
    made: list[Slice] = []
    for kind, share in shares.items():
        rng = random.Random(f"{seed}/{number}/{kind}")
        made += slices(kind, groups(draw, kind, rng, words, context, share.tokens), share.loss)
    return made


@dataclass(frozen=True, slots=True)
class Order:
    """What the process beside is told."""

    draw: Draw
    shares: Mapping[str, Share]
    tokens: list[str]
    merges: list[str]
    context: int
    seed: int
    first: int
    last: int


def _work(order: Order, out: multiprocessing.Queue[bytes]) -> None:
    import torch

    torch.set_num_threads(1)
    words = from_shown(order.tokens, order.merges, "embedded")
    try:
        for number in range(order.first, order.last + 1):
            made = step(order.draw, order.shares, words, order.context, order.seed, number)
            _put(out, pickle.dumps([(one.kind, _plain(one.batch), one.divisor) for one in made], 5))
    except Exception as error:  # told to the trainer, which raises it
        out.put(pickle.dumps(f"{type(error).__name__}: {error}"))


def _put(out: multiprocessing.Queue[bytes], data: bytes) -> None:
    """Wait for a place; end where nobody is there any more to take it."""
    while True:
        try:
            out.put(data, timeout=5)
            return
        except queue.Full:
            parent = multiprocessing.parent_process()
            if parent is not None and not parent.is_alive():
                raise SystemExit(1) from None


def _plain(batch: Packed) -> dict[str, Any]:
    values = {name: getattr(batch, name) for name in Packed.__slots__}
    return {name: value.numpy() if hasattr(value, "numpy") else value for name, value in values.items()}


def _packed(values: Mapping[str, Any]) -> Packed:
    import torch

    made = {n: torch.from_numpy(v.copy()) if hasattr(v, "dtype") else v for n, v in values.items()}
    return Packed(**made)


def ahead(
    draw: Draw,
    shares: Mapping[str, Share],
    words: Vocabulary,
    context: int,
    seed: int,
    first: int,
    last: int,
) -> Generator[list[Slice], None, None]:
    """Steps `first` to `last`, drawn by a process of its own. Raises RuntimeError where that fails."""
    spawn = multiprocessing.get_context("spawn")
    out: Any = spawn.Queue(maxsize=_AHEAD)
    names, merges = words.shown_tokens(), words.shown_merges()
    order = Order(draw, shares, names, merges, context, seed, first, last)
    child = spawn.Process(target=_work, args=(order, out), daemon=True)
    child.start()
    try:
        for _ in range(first, last + 1):
            yield _read(child, out)
    finally:
        child.terminate()
        child.join()


def _read(child: Any, out: Any) -> list[Slice]:
    while True:
        try:
            got = pickle.loads(out.get(timeout=10))
        except queue.Empty:
            if not child.is_alive():
                raise RuntimeError("the process that draws documents has died") from None
            continue
        if isinstance(got, str):
            raise RuntimeError(f"no documents can be drawn: {got}")
        return [Slice(kind, _packed(values), divisor) for kind, values, divisor in got]

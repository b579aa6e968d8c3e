"""Blind rating of answers to the test pairs: what is asked of a rater, in which order, and which answer stands where.

Order and place follow from the workspace, the rater and the texts alone. Whose answer a text is plays no part in it, so
nothing that is drawn before the rating can tell; and whoever comes back finds the same question at the same place.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from .errors import UsageError
from .store.driver import sqlite3
from .store.held_out import SUBJECT_BASE, SUBJECT_TUNED, answers_of
from .store.pair_rows import Pair, get_pairs
from .store.ratings import NewRating, RatingKind, Source, answer_sources, ratings_of

Choice = Literal["left", "right", "tie", "skip"]
Key = tuple[int, bytes, bytes]
"""What is rated: pair id, and the hashes of the texts."""
SCALE = {1: "useless", 2: "poor", 3: "fair", 4: "good", 5: "excellent"}


@dataclass(frozen=True, slots=True)
class Contestant:
    """Somebody whose answers are rated. `name` is never shown before the rating."""

    name: str
    source: Source


@dataclass(frozen=True, slots=True)
class BlindAnswer:
    """A text and whose it is."""

    text: str
    key: bytes
    name: str
    run_id: int


@dataclass(frozen=True, slots=True)
class BlindItem:
    """One question to a rater. `answers` stand in the order in which they are shown: two to compare, one to grade."""

    pair_id: int
    instruction: str
    input: str
    wanted: str
    answers: tuple[BlindAnswer, ...]

    @property
    def key(self) -> Key:
        """What its rating is found by."""
        low, *high = sorted(answer.key for answer in self.answers)
        return self.pair_id, low, high[0] if high else b""


@dataclass(frozen=True, slots=True)
class Sheet:
    """All that one rater is asked. `same`: pairs that were answered alike, which nobody has to compare."""

    kind: RatingKind
    rater: str
    contestants: tuple[Contestant, ...]
    items: tuple[BlindItem, ...]
    same: int = 0
    rated: Mapping[Key, float | None] = field(default_factory=dict)

    @property
    def here(self) -> BlindItem | None:
        """The first question that is open; None where all are answered."""
        return next((item for item in self.items if item.key not in self.rated), None)

    @property
    def done(self) -> int:
        """Questions answered, skipped ones too."""
        return sum(item.key in self.rated for item in self.items)

    @property
    def skipped(self) -> int:
        """Questions that the rater passed over."""
        return self._with(None)

    @property
    def ties(self) -> int:
        """Comparisons in which neither was better."""
        return self._with(0.5)

    def _with(self, value: float | None) -> int:
        return sum(item.key in self.rated and self.rated[item.key] == value for item in self.items)

    def with_rating(self, item: BlindItem, value: float | None) -> Sheet:
        """The sheet once this is answered."""
        return replace(self, rated={**self.rated, item.key: value})


def answer_key(text: str) -> bytes:
    """The hash that stands for a text."""
    return hashlib.sha256(text.encode()).digest()


def contestants(conn: sqlite3.Connection, train_run: int) -> list[Contestant]:
    """Whose answers can be rated with those of a training run: itself first, then its base and others that were
    evaluated beside it, then other runs. Empty where it has not been evaluated."""
    sources = answer_sources(conn)
    found: dict[str, Contestant] = {}
    own = [one for one in sources if one.train_run == train_run]
    others = [one for one in sources if one.train_run != train_run and one.subject == SUBJECT_TUNED]
    order = {SUBJECT_TUNED: 0, SUBJECT_BASE: 1}
    for source in sorted(own, key=lambda one: order.get(one.subject, 2)) + others:
        name = _name(source)
        found.setdefault(name, Contestant(name, source))
    return list(found.values()) if own and next(iter(found)) == f"run {train_run}" else []


def _name(source: Source) -> str:
    if source.subject == SUBJECT_TUNED:
        return f"run {source.train_run}"
    return f"base of run {source.train_run}" if source.subject == SUBJECT_BASE else source.subject


def texts_of(conn: sqlite3.Connection, contestant: Contestant) -> dict[int, str]:
    """Pair id -> what was answered."""
    found = answers_of(conn, contestant.source.run_id, contestant.source.subject)
    return {pair: answer.text for pair, answer in found.items()}


def read_sheet(
    conn: sqlite3.Connection, kind: RatingKind, chosen: Sequence[Contestant], rater: str, seed: str
) -> Sheet:
    """What a rater is asked about these contestants, and what is answered of it. Two are compared, any number graded.

    Raises UsageError where there is nothing to ask.
    """
    texts = [texts_of(conn, one) for one in chosen]
    shared = set(texts[0]).intersection(*texts[1:]) if kind == "compare" else set().union(*texts)
    pairs = get_pairs(conn, sorted(shared))
    make = _comparison if kind == "compare" else _grading
    items: list[BlindItem] = []
    for pair in pairs:
        answers = [
            BlindAnswer(said[pair.id], answer_key(said[pair.id]), one.name, one.source.run_id)
            for one, said in zip(chosen, texts, strict=True)
            if pair.id in said
        ]
        items += make(pair, answers, f"{seed}\n{rater}")
    if not items:
        raise UsageError(
            "there is nothing to rate: "
            + ("both answered every test pair alike" if pairs else "no test pair was answered by both"),
            "Choose others, or evaluate first",
        )
    items.sort(key=lambda item: _draw(f"{seed}\n{rater}", "order", kind, *item.key))
    rated = {
        (one.pair_id, one.answer, one.other): one.value
        for one in ratings_of(conn, kind, [pair.id for pair in pairs], rater)
    }
    same = len(pairs) - len(items) if kind == "compare" else 0
    return Sheet(kind, rater, tuple(chosen), tuple(items), same, rated)


def _comparison(pair: Pair, answers: Sequence[BlindAnswer], seed: str) -> list[BlindItem]:
    low, high = sorted(answers, key=lambda answer: answer.key)
    if low.key == high.key:
        return []
    swapped = _draw(seed, "place", "compare", pair.id, low.key, high.key)[0] & 1
    return [_item(pair, (high, low) if swapped else (low, high))]


def _grading(pair: Pair, answers: Sequence[BlindAnswer], seed: str) -> list[BlindItem]:
    once = {answer.key: answer for answer in reversed(answers)}
    return [_item(pair, (answer,)) for answer in once.values()]


def _item(pair: Pair, answers: tuple[BlindAnswer, ...]) -> BlindItem:
    return BlindItem(pair.id, pair.instruction, pair.input, pair.output, answers)


def _draw(seed: str, what: str, kind: str, pair_id: int, *keys: bytes) -> bytes:
    head = f"{seed}\n{what}\n{kind}\n{pair_id}\n".encode()
    return hashlib.sha256(head + b"".join(keys)).digest()


def compared(sheet: Sheet, item: BlindItem, choice: Choice) -> NewRating:
    """The rating that a choice between two answers is."""
    left, right = item.answers
    left_is_answer = left.key < right.key
    answer, other = (left, right) if left_is_answer else (right, left)
    value = {"left": float(left_is_answer), "right": float(not left_is_answer), "tie": 0.5, "skip": None}[
        choice
    ]
    return NewRating(
        sheet.rater, "compare", answer.run_id, item.pair_id, answer.key, other.key, answer.name, other.name,
        left_is_answer, value,
    )  # fmt: skip


def graded(sheet: Sheet, item: BlindItem, grade: int | None) -> NewRating:
    """The rating that a grade from 1 to 5 is; None skips. Raises UsageError for another number."""
    if grade is not None and grade not in SCALE:
        raise UsageError("a grade is 1, 2, 3, 4 or 5")
    (answer,) = item.answers
    value = None if grade is None else float(grade)
    return NewRating(
        sheet.rater, "scale", answer.run_id, item.pair_id, answer.key, b"", answer.name, "", True, value
    )

"""A judge goes through all answers of an evaluation; what it cannot judge is a failure with its reason."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from .answer_judging import AnswerJudge, HeldOut
from .control import Control
from .many import Work, run_many
from .store.held_out import AnswerJudgement
from .subjects import Subject

Told = Callable[[int, int], None]
"""Hears (judged so far, failed so far)."""


@dataclass(slots=True)
class Judged:
    """Judgements in the order of the items; `failure` or `limit` where not all were made."""

    judgements: list[AnswerJudgement] = field(default_factory=list)
    failure: Exception | None = None
    limit: str = ""


async def score_all(
    judge: AnswerJudge, items: Sequence[HeldOut], subject: Subject, control: Control, told: Told
) -> Judged:
    """0 to 100 for every answer of a subject."""

    async def one(item: HeldOut) -> AnswerJudgement:
        missing = subject.missing(item.pair_id)
        if missing is not None:
            return AnswerJudgement(item.pair_id, None, missing, None)
        return await judge.score(item, subject.name, subject.answers[item.pair_id])

    return await _work_through(items, one, control, told)


async def compare_all(
    judge: AnswerJudge,
    items: Sequence[HeldOut],
    subject: Subject,
    other: Subject,
    control: Control,
    told: Told,
) -> Judged:
    """Which of two is better, for every item."""

    async def one(item: HeldOut) -> AnswerJudgement:
        missing = subject.missing(item.pair_id) or other.missing(item.pair_id)
        if missing is not None:
            return AnswerJudgement(item.pair_id, None, missing, None)
        ours, theirs = subject.answers[item.pair_id], other.answers[item.pair_id]
        return await judge.compare(item, subject.name, ours, other.name, theirs)

    return await _work_through(items, one, control, told)


async def _work_through(
    items: Sequence[HeldOut],
    judge_one: Callable[[HeldOut], Awaitable[AnswerJudgement]],
    control: Control,
    told: Told,
) -> Judged:
    found: dict[int, AnswerJudgement] = {}

    def piece(item: HeldOut) -> Work:
        async def work() -> None:
            found[item.pair_id] = await judge_one(item)
            told(len(found), sum(one.value is None for one in found.values()))

        return work

    failure, limit = await run_many((piece(item) for item in items), control)
    return Judged([found[item.pair_id] for item in items if item.pair_id in found], failure, limit)

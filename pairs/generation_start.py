"""Before a generate run makes its first call for pairs: its judge is fit, its topics are dealt, and what the store
holds of it is taken up."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from functools import partial

from pairsmith.backends.errors import BackendError

from .doors import Doors
from .errors import JobStopped, UsageError
from .expressions import Expression, names
from .generation_plan import Plan, TopicState
from .generation_run import GenerationRun, ToJudge
from .rubrics import Rubric
from .sieve import Draft
from .store import candidates as candidate_rows
from .store.driver import sqlite3


async def check_judge(doors: Doors, where: Expression, rubric: Rubric) -> None:
    """See that the judge scores what `where` names. Raises UsageError, JobStopped."""
    if await doors.spec("judge") is None:
        raise UsageError("--where needs a judge", "Give --judge BACKEND:MODEL")
    try:
        opened = await doors.present("judge")
        capabilities = await opened.backend.capabilities()
    except BackendError as error:
        raise JobStopped(error.message, error.advice) from error
    given = capabilities.reward_attributes or tuple(a.name for a in rubric.attributes)
    if stray := sorted(set(names(where)) - set(given)):
        raise UsageError(
            f"--where names {stray[0]!r}, which {opened.spec} does not score",
            f"It scores {', '.join(given)}",
        )


async def take_up(run: GenerationRun, plan: Plan) -> None:
    """Take in what is stored: texts that are known, instructions that were paid for, pairs that are not judged."""
    await asyncio.to_thread(_learn_known, run)
    await _revive(run)
    for candidate in plan.unjudged:
        assert candidate.pair_id is not None
        run.judging.append(ToJudge(candidate.pair_id, candidate))
    if run.has_judge and run.where is None and plan.continued:
        run.judging.extend(await run.workspace.aread(lambda conn: list(_unjudged_kept(conn, run.id))))


def _learn_known(run: GenerationRun) -> None:
    conn = run.workspace.connect()
    try:
        run.sieve.know(run.metering.noting(candidate_rows.known_instructions(conn)))
        if run.wanted.refine:
            run.refiner.know(candidate_rows.sent_to_be_mended(conn))
    finally:
        conn.close()
    waiting = [candidate for topic in run.topics.values() for candidate in topic.waiting]
    for candidate in waiting:
        run.sieve.readmit(candidate.instruction, candidate.input)
    run.metering.begin(candidate.instruction for candidate in waiting)


async def _revive(run: GenerationRun) -> None:
    """Instructions that earlier runs paid for and did not need come first, sifted like new ones."""
    found = await run.workspace.aread(lambda conn: candidate_rows.surplus(conn, run.id, list(run.topics)))
    for old in found:
        topic: TopicState = run.topics[old.topic_id or 0]
        if topic.lacking <= 0:
            continue
        (fresh,) = await asyncio.to_thread(run.sieve.sift, [Draft(old.instruction, old.input)])
        if fresh.loss is None:
            copy = await run.workspace.awrite(
                partial(candidate_rows.revive, candidate_id=old.id, run_id=run.id)
            )
            topic.waiting.append(replace(old, id=copy, state="waiting"))


def _unjudged_kept(conn: sqlite3.Connection, run_id: int) -> Iterable[ToJudge]:
    rows = conn.execute(
        "SELECT pair.id FROM candidate JOIN pair ON pair.id = candidate.pair_id"
        " WHERE candidate.run_id = ? AND candidate.state = 'kept' AND NOT EXISTS"
        " (SELECT 1 FROM judgement WHERE judgement.version_id = pair.version_id) ORDER BY pair.id",
        (run_id,),
    )
    return (ToJudge(int(row[0])) for row in rows)

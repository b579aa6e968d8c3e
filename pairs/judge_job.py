"""The judge job: score what the present judge has not scored yet, one commit for each pair."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pairsmith.backends.errors import BackendError
from pairsmith.backends.registry import Settings

from .calling import Caller
from .control import Control
from .doors import Doors
from .errors import PairsmithError, UsageError
from .events import Ended, Event, Judged
from .expressions import Expression, parse_expression
from .job_events import Telling
from .judge_calls import JudgeCalls
from .judging import Judge
from .limits import Budget, LimitReached, Limits
from .many import run_many
from .rubrics import Rubric, load_rubric
from .store.calls import book_interrupted
from .store.driver import sqlite3
from .store.joblock import JobLock
from .store.judgements import add_judgement, unjudged_pairs
from .store.pair_rows import get_pair
from .store.runs import set_result, set_state, start_run
from .store.where import matching_ids
from .store.workspace import Workspace
from .workspace_recipe import prices_of

_PAGE = 500


@dataclass(frozen=True, slots=True)
class JudgeOptions:
    """What to judge and how. `where`: only pairs for which the expression is true; `limit`: at most so many pairs."""

    kind: str = "auto"
    where: str | None = None
    limit: int | None = None
    rubric: Rubric | None = None
    limits: Limits = field(default_factory=Limits)
    judge: str | None = None
    """The user's own default, where the workspace names none."""
    patience_s: float = 300.0


class JudgeJob:
    """One start of judging. Pairs scored by this judge under the same rubric are left out, so a restart goes on."""

    def __init__(
        self,
        workspace: Workspace,
        settings: Settings,
        options: JudgeOptions | None = None,
        control: Control | None = None,
        doors: Doors | None = None,
    ) -> None:
        self.control = control or Control()
        self._workspace = workspace
        self._settings = settings
        self._options = options or JudgeOptions()
        if self._options.limit is not None and self._options.limit < 1:
            raise UsageError(f"the number of pairs must be at least 1, not {self._options.limit}")
        self._where: Expression | None = (
            parse_expression(self._options.where) if self._options.where else None
        )
        self._doors = doors or Doors(
            workspace,
            settings,
            judge=self._options.judge,
            on_switch=lambda kind, spec: self._telling.notice("switched", f"the {kind} is now {spec}"),
        )
        self._telling = Telling(workspace)
        self._counts: Counter[str] = Counter()
        self._done = 0

    async def events(self) -> AsyncIterator[Event]:
        """Run the job and tell of it; the last event is `Ended`. Raises PairsmithError where it could not begin."""
        async with contextlib.aclosing(self._telling.events_of(self._run())) as told:
            async for event in told:
                yield event

    async def _run(self) -> Ended:
        workspace = self._workspace
        lock = await asyncio.to_thread(JobLock(workspace.path).acquire, "judge")
        try:
            opened = await self._doors.present("judge")
            rubric = self._options.rubric or load_rubric()
            settings = {"judge": opened.spec, "kind": self._options.kind, "where": self._options.where}
            self._run_id = await workspace.awrite(lambda conn: self._begin(conn, settings))
            self._telling.run_id = self._run_id
            caller = await self._caller()
            self._judges = JudgeCalls(workspace, self._doors, caller, rubric, self._options.kind)
            failure: Exception | None = None
            stop = ""
            try:
                judge = await self._judges.judge_of(opened)
                wanted = await asyncio.to_thread(self._wanted, judge)
                self._total = len(wanted)
                failure, stop = await run_many((partial(self._one, pair) for pair in wanted), self.control)
            except LimitReached as reached:
                stop = reached.what  # by the probe for what the judge can do
            except (PairsmithError, BackendError) as error:
                failure = error
            return await self._end(failure, stop)
        finally:
            await self._doors.close()
            lock.release()

    def _begin(self, conn: sqlite3.Connection, settings: dict[str, Any]) -> int:
        book_interrupted(conn)
        return start_run(conn, "judge", settings)

    async def _caller(self) -> Caller:
        return Caller(
            self._workspace,
            self._run_id,
            Budget(self._options.limits),
            self._settings,
            prices=await self._workspace.aread(prices_of),
            patience_s=self._options.patience_s,
            on_wait=lambda text: self._telling.notice("waiting", text),
            control=self.control,
        )

    def _wanted(self, judge: Judge) -> list[int]:
        """Ids to judge, oldest pair first."""
        limit = self._options.limit

        def ids(conn: sqlite3.Connection) -> list[int]:
            chosen = None if self._where is None else set(matching_ids(conn, self._where, judge=judge.name))
            found: list[int] = []
            after = 0
            while page := unjudged_pairs(conn, judge.name, judge.kind, judge.rubric_key, after, _PAGE):
                if page[-1] <= after:
                    break  # only in a damaged file
                after = page[-1]
                found += [pair for pair in page if chosen is None or pair in chosen]
                if limit is not None and len(found) >= limit:
                    return found[:limit]
            return found

        return self._workspace.read(ids)

    async def _one(self, pair_id: int) -> None:
        pair = await self._workspace.aread(lambda conn: get_pair(conn, pair_id))
        verdictless = await self._judges.ask(pair.version, f"version {pair.version.id}")
        judgement = verdictless.judgement

        def store(conn: sqlite3.Connection) -> None:
            verdictless.close(conn)
            add_judgement(
                conn, pair.version.id, judgement, run_id=self._run_id, call_ids=verdictless.call_ids
            )

        await self._workspace.awrite(store)
        self._done += 1
        self._counts["scored" if judgement.scores else "failed"] += 1
        scores = {name: score.value for name, score in (judgement.scores or {}).items()}
        self._telling.put(Judged(pair_id, scores, judgement.reason, self._done, self._total))

    async def _end(self, failure: Exception | None, stop: str) -> Ended:
        state, reason = "done", ""
        if failure is not None:
            state, reason = "unfinished", str(failure)
        elif self.control.stopping:
            state, reason = "paused", "stopped by the user"
        elif stop:
            state, reason = "unfinished", f"the limit of {stop} is reached"
        counts = dict(self._counts)

        def store(conn: sqlite3.Connection) -> None:
            set_state(conn, self._run_id, state, reason)  # type: ignore[arg-type]
            set_result(conn, self._run_id, counts)

        await self._workspace.awrite(store)
        return Ended(self._run_id, state, reason, None, failure, counts)

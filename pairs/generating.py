"""The generate job: ask for N pairs and get N, past every check, or a ledger that says where each one went.

One event loop, many calls in flight (generation_work.py). Every result is committed in the transaction that also moves
its candidate, so a kill at any instant costs at most the calls in flight; a restart reads all of its state from the
store.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from pairsmith.backends.errors import BackendError
from pairsmith.backends.registry import Settings

from .calling import Caller
from .control import Control
from .demonstration import EMBEDDED, PLAIN, REAL, check_domain, is_demonstration
from .diversity import DiversityMeter
from .doors import Doors
from .errors import PairsmithError, UsageError
from .events import Ended, Event, Started
from .expressions import Expression, parse_expression
from .generation_plan import GenerateSettings, begin_or_continue, plan
from .generation_run import GenerationRun, Stop
from .generation_start import check_judge, take_up
from .generation_work import Work
from .job_events import Telling
from .judge_calls import JudgeCalls
from .ledger import read_ledger
from .limits import Budget, LimitReached, Limits
from .metering import Metering
from .methods import Method, Tools
from .recipes import Recipe
from .refining import Refiner
from .rubrics import Rubric, load_rubric
from .seed_checks import check_method
from .self_instruct import SelfInstruct
from .sieve import Sieve
from .store import candidates as candidate_rows
from .store.calls import book_interrupted
from .store.driver import sqlite3
from .store.joblock import JobLock
from .store.meta import get_meta
from .store.runs import RunState, run_topics, set_state
from .store.seed_tasks import SeedTask
from .store.workspace import Workspace
from .topic_tree import TopicTree
from .workspace_recipe import recipe_of


@dataclass(frozen=True, slots=True)
class GenerateOptions:
    """How a run is made; none of this is part of its identity. `judge_kind`: auto, reward, expected or json."""

    limits: Limits = field(default_factory=Limits)
    judge_kind: str = "auto"
    rubric: Rubric | None = None
    generator: str | None = None
    """The user's own default, where the workspace names none."""
    judge: str | None = None
    patience_s: float = 300.0
    topic_count: int | None = None
    seed_tasks: tuple[SeedTask, ...] = ()
    """Self-Instruct: added to those of the workspace."""


class GenerateJob:
    """One start of a run. Iterate over `events()` once; ask things of it through `control`."""

    def __init__(
        self,
        workspace: Workspace,
        wanted: GenerateSettings,
        settings: Settings,
        options: GenerateOptions | None = None,
        control: Control | None = None,
        doors: Doors | None = None,
    ) -> None:
        if wanted.pairs < 1:
            raise UsageError(f"the number of pairs must be at least 1, not {wanted.pairs}")
        self.control = control or Control()
        self._workspace = workspace
        self._wanted = wanted
        self._settings = settings
        self._options = options or GenerateOptions()
        self._rubric = self._options.rubric or load_rubric()
        self._where: Expression | None = parse_expression(wanted.where) if wanted.where else None
        self._telling = Telling(workspace)
        self._doors = doors or Doors(
            workspace,
            settings,
            generator=self._options.generator,
            judge=self._options.judge,
            on_switch=lambda kind, spec: self._telling.notice("switched", f"the {kind} is now {spec}"),
        )
        self._stop = Stop()
        self._run: GenerationRun | None = None

    async def events(self) -> AsyncIterator[Event]:
        """Run the job and tell of it; the last event is `Ended`. Raises PairsmithError where it could not begin."""
        async with contextlib.aclosing(self._telling.events_of(self._whole())) as told:
            async for event in told:
                yield event

    async def _whole(self) -> Ended:
        workspace, options = self._workspace, self._options
        lock = await asyncio.to_thread(JobLock(workspace.path).acquire, "generate")
        async with contextlib.AsyncExitStack() as leaving:
            leaving.callback(lock.release)
            leaving.push_async_callback(self._doors.close)
            recipe, domain = await workspace.aread(
                lambda conn: (recipe_of(conn), get_meta(conn, "domain") or "")
            )
            check_domain(await self._doors.spec("generator"), domain)
            check_domain(await self._doors.spec("judge"), domain)
            if self._where is not None:
                await check_judge(self._doors, self._where, self._rubric)
            await check_method(workspace, self._wanted.method, self._wanted.examples, options.seed_tasks)
            run_id, continued = await workspace.awrite(self._open)
            self._telling.run_id = run_id
            try:
                budget = Budget(options.limits)
                tools = self._tools(run_id, recipe, domain, budget)
                self._run = await self._prepare(run_id, continued, tools)
                work = Work(self._run, budget, self.control)
                leaving.push_async_callback(work.close)
                await work.do()
            except asyncio.CancelledError:
                await asyncio.shield(self._end(run_id, "unfinished", "interrupted"))
                raise
            except (LimitReached, PairsmithError, BackendError) as error:
                self._stop.note(error)
            return await self._finish(run_id)

    def _open(self, conn: sqlite3.Connection) -> tuple[int, bool]:
        book_interrupted(conn)
        return begin_or_continue(conn, self._wanted)

    async def _prepare(self, run_id: int, continued: bool, tools: Tools) -> GenerationRun:
        """Choose the topics, deal the quota over them, take up what is stored, and tell where the run begins."""
        workspace = self._workspace
        method: Method = SelfInstruct(tools) if self._wanted.method == "self-instruct" else TopicTree(tools)
        if is_demonstration(await self._doors.spec("generator")):
            self._telling.notice("demonstration", f"{EMBEDDED} is {PLAIN}. {REAL}")
        found = await method.topics(self._wanted.pairs, self._options.topic_count)
        if found.suggested:
            self._telling.notice("topics", f"topics: {', '.join(found.suggested)}")
        planned = await workspace.awrite(lambda conn: plan(conn, run_id, continued, found.leaves))
        sieve, sifting = Sieve(tools.recipe, self._wanted.method, inputs=method.inputs), asyncio.Lock()
        run = GenerationRun(
            id=run_id,
            workspace=workspace,
            wanted=self._wanted,
            where=self._where,
            has_judge=await self._doors.spec("judge") is not None,
            tools=tools,
            method=method,
            judges=JudgeCalls(workspace, self._doors, tools.caller, self._rubric, self._options.judge_kind),
            sieve=sieve,
            sifting=sifting,
            refiner=Refiner(tools, sieve, sifting, wanted=self._wanted.refine),
            metering=Metering(tools.meter),
            telling=self._telling,
            stop=self._stop,
            topics=planned.topics,
        )
        await take_up(run, planned)
        ledger, topics = await workspace.aread(
            lambda conn: (read_ledger(conn, run_id), tuple(run_topics(conn, run_id)))
        )
        self._telling.put(Started(run_id, continued, ledger, topics))
        return run

    def _tools(self, run_id: int, recipe: Recipe, domain: str, budget: Budget) -> Tools:
        caller = Caller(
            self._workspace,
            run_id,
            budget,
            self._settings,
            prices=recipe.prices,
            patience_s=self._options.patience_s,
            on_wait=lambda text: self._telling.notice("waiting", text),
            control=self.control,
        )
        return Tools(
            self._workspace,
            self._doors,
            caller,
            recipe,
            domain,
            self._wanted.seed,
            DiversityMeter(),
            self._wanted.examples,
        )

    async def _finish(self, run_id: int) -> Ended:
        stop = self._stop
        ledger = await self._workspace.aread(lambda conn: read_ledger(conn, run_id))
        judging = self._run is not None and self._run.judging
        if ledger.missing == 0 and not judging and stop.failure is None:
            return await self._end(run_id, "done", "")
        if stop.failure is not None:
            error = stop.failure
            if not isinstance(error, (PairsmithError, BackendError)):
                await self._end(run_id, "unfinished", "internal error")
                raise error
            return await self._end(run_id, "unfinished", str(error), error)
        if self.control.stopping:
            return await self._end(run_id, "paused", "stopped by the user")
        if stop.stuck is not None:
            return await self._end(run_id, "unfinished", stop.stuck)
        if stop.limit is not None:
            return await self._end(run_id, "unfinished", f"the limit of {stop.limit} is reached")
        return await self._end(run_id, "unfinished", "every topic is exhausted")

    async def _end(self, run_id: int, state: RunState, reason: str, error: Exception | None = None) -> Ended:
        def store(conn: sqlite3.Connection) -> None:
            if state == "done":
                candidate_rows.lose_waiting(conn, run_id, "surplus")
            set_state(conn, run_id, state, reason)

        await self._workspace.awrite(store)
        if self._run is not None:
            self._telling.put(await self._run.progress(now=True))
        ledger = await self._workspace.aread(lambda conn: read_ledger(conn, run_id))
        return Ended(run_id, state, reason, ledger, error)

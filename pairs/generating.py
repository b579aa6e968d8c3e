"""The generate job: ask for N pairs and get N, past every check, or a ledger that says where each one went.

One event loop, many calls in flight. Every result is committed in the transaction that also moves its candidate, so
a kill at any instant costs at most the calls in flight; a restart reads all of its state from the store.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from pairsmith.backends.errors import BackendError
from pairsmith.backends.registry import Settings

from .calling import Caller
from .control import Control
from .demonstration import EMBEDDED, PLAIN, REAL, check_domain, is_demonstration
from .diversity import DiversityMeter
from .doors import Doors
from .errors import JobStopped, PairsmithError, UsageError
from .events import Ended, Event, Notice, PairKept, Progress, Started
from .expressions import Expression, names, parse_expression
from .generation_plan import GenerateSettings, Plan, TopicState, begin_or_continue, plan
from .generation_results import dry_text, judged_loss, store_response
from .job_events import events_of
from .judge_calls import JudgeCalls
from .ledger import read_ledger
from .limits import Budget, LimitReached, Limits
from .mending import mend_of
from .metering import Metering
from .methods import Method, Tools
from .quota import list_size, move_rest
from .recipes import Recipe, Stage, read_recipe
from .refining import Refiner
from .rubrics import Rubric, load_rubric
from .seed_checks import check_method
from .self_instruct import SelfInstruct
from .sieve import Draft, Sieve
from .store import candidates as candidate_rows
from .store.calls import book_interrupted
from .store.candidates import Candidate, NewCandidate
from .store.driver import sqlite3
from .store.joblock import JobLock
from .store.judgements import add_judgement
from .store.meta import get_meta
from .store.pair_rows import get_pair
from .store.runs import add_event, run_topics, set_exhausted, set_quotas, set_state
from .store.seed_tasks import SeedTask
from .store.verdicts import decide
from .store.workspace import Workspace
from .topic_tree import TopicTree

_PROGRESS_EVERY_S = 0.25
_MOST_TASKS = 64
_MOST_UNANSWERED = 50
"""So many responses lost one after the other, and the run stops: more of the same would only cost."""
_MOST_UNPASSED = 200
"""So many pairs in a row that the judge lets not pass."""


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
        self._where: Expression | None = parse_expression(wanted.where) if wanted.where else None
        self._doors = doors or Doors(
            workspace,
            settings,
            generator=self._options.generator,
            judge=self._options.judge,
            on_switch=lambda kind, spec: self._notice("switched", f"the {kind} is now {spec}"),
        )
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._sifting = asyncio.Lock()
        self._limit: str | None = None
        self._failure: BaseException | None = None
        self._second_round = False
        self._stuck: str | None = None
        self._unanswered = 0
        self._unpassed = 0
        self._judging: list[tuple[Candidate | None, int]] = []
        self._last_progress = 0.0
        self._meter = DiversityMeter()
        self._metering = Metering(self._meter)

    async def events(self) -> AsyncIterator[Event]:
        """Run the job and tell of it; the last event is `Ended`. Raises PairsmithError where it could not begin."""
        async with contextlib.aclosing(events_of(self._run(), self._events)) as told:
            async for event in told:
                yield event

    async def _run(self) -> Ended:
        workspace = self._workspace
        lock = await asyncio.to_thread(JobLock(workspace.path).acquire, "generate")
        try:
            recipe, domain = await workspace.aread(_recipe_of)
            check_domain(await self._doors.spec("generator"), domain)
            check_domain(await self._doors.spec("judge"), domain)
            await self._check_judge()
            await check_method(
                workspace, self._wanted.method, self._wanted.examples, self._options.seed_tasks
            )
            self._run_id, continued = await workspace.awrite(self._open_run)
            try:
                await self._prepare(recipe, domain, continued)
                await self._work()
            except asyncio.CancelledError:
                await asyncio.shield(self._end("unfinished", "interrupted"))
                raise
            except LimitReached as reached:
                self._limit = self._limit or reached.what
            except (PairsmithError, BackendError) as error:
                self._failure = self._failure or error
            return await self._finish()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._doors.close()
            lock.release()

    def _open_run(self, conn: sqlite3.Connection) -> tuple[int, bool]:
        book_interrupted(conn)
        return begin_or_continue(conn, self._wanted)

    async def _check_judge(self) -> None:
        self._has_judge = await self._doors.spec("judge") is not None
        if self._where is None:
            return
        if not self._has_judge:
            raise UsageError("--where needs a judge", "Give --judge BACKEND:MODEL")
        rubric = self._options.rubric or load_rubric()
        try:
            opened = await self._doors.present("judge")
            capabilities = await opened.backend.capabilities()
        except BackendError as error:
            raise JobStopped(error.message, error.advice) from error
        given = capabilities.reward_attributes or tuple(a.name for a in rubric.attributes)
        if stray := sorted(set(names(self._where)) - set(given)):
            raise UsageError(
                f"--where names {stray[0]!r}, which {opened.spec} does not score",
                f"It scores {', '.join(given)}",
            )

    async def _prepare(self, recipe: Recipe, domain: str, continued: bool) -> None:
        self._recipe = recipe
        self._budget = Budget(self._options.limits)
        self._caller = Caller(
            self._workspace,
            self._run_id,
            self._budget,
            self._settings,
            prices=recipe.prices,
            money_limited=self._options.limits.cost is not None,
            patience_s=self._options.patience_s,
            on_wait=lambda text: self._notice("waiting", text),
            control=self.control,
        )
        self._tools = Tools(
            self._workspace,
            self._doors,
            self._caller,
            recipe,
            domain,
            self._wanted.seed,
            self._meter,
            self._wanted.examples,
        )
        self._method: Method = (
            SelfInstruct(self._tools) if self._wanted.method == "self-instruct" else TopicTree(self._tools)
        )
        self._judges = JudgeCalls(
            self._workspace,
            self._doors,
            self._caller,
            self._options.rubric or load_rubric(),
            self._options.judge_kind,
        )
        if is_demonstration(await self._doors.spec("generator")):
            self._notice("demonstration", f"{EMBEDDED} is {PLAIN}. {REAL}")
        found = await self._method.topics(self._wanted.pairs, self._options.topic_count)
        if found.suggested:
            self._notice("topics", f"topics: {', '.join(found.suggested)}")
        self._plan: Plan = await self._workspace.awrite(
            lambda conn: plan(conn, self._run_id, continued, found.leaves)
        )
        self._topics = self._plan.topics
        self._sieve = Sieve(recipe, self._wanted.method, inputs=self._method.inputs)
        self._refiner = Refiner(self._tools, self._sieve, self._sifting, wanted=self._wanted.refine)
        await asyncio.to_thread(self._learn_known)
        await self._revive()
        self._judging = [(candidate, _pair_of(candidate)) for candidate in self._plan.unjudged]
        if self._has_judge and self._where is None and continued:
            self._judging += await self._workspace.aread(self._unjudged_kept)
        ledger = await self._workspace.aread(lambda conn: read_ledger(conn, self._run_id))
        rows = await self._workspace.aread(lambda conn: run_topics(conn, self._run_id))
        await self._events.put(Started(self._run_id, continued, ledger, tuple(rows)))

    def _learn_known(self) -> None:
        conn = self._workspace.connect()
        try:
            self._sieve.know(self._metering.noting(candidate_rows.known_instructions(conn)))
            if self._wanted.refine:
                self._refiner.know(candidate_rows.sent_to_be_mended(conn))
        finally:
            conn.close()
        waiting = [candidate for topic in self._topics.values() for candidate in topic.waiting]
        for candidate in waiting:
            self._sieve.readmit(candidate.instruction, candidate.input)
        self._metering.begin(candidate.instruction for candidate in waiting)

    async def _revive(self) -> None:
        """Instructions that earlier runs paid for and did not need come first, sifted like new ones."""
        found = await self._workspace.aread(
            lambda conn: candidate_rows.surplus(conn, self._run_id, list(self._topics))
        )
        for old in found:
            topic = self._topics[old.topic_id or 0]
            if topic.lacking <= 0:
                continue
            (fresh,) = await asyncio.to_thread(self._sieve.sift, [Draft(old.instruction, old.input)])
            if fresh.loss is None:
                copy = await self._workspace.awrite(
                    partial(candidate_rows.revive, candidate_id=old.id, run_id=self._run_id)
                )
                topic.waiting.append(replace(old, id=copy, state="waiting"))

    def _unjudged_kept(self, conn: sqlite3.Connection) -> list[tuple[Candidate | None, int]]:
        rows = conn.execute(
            "SELECT pair.id FROM candidate JOIN pair ON pair.id = candidate.pair_id"
            " WHERE candidate.run_id = ? AND candidate.state = 'kept' AND NOT EXISTS"
            " (SELECT 1 FROM judgement WHERE judgement.version_id = pair.version_id) ORDER BY pair.id",
            (self._run_id,),
        ).fetchall()
        return [(None, int(row[0])) for row in rows]

    async def _work(self) -> None:
        change = asyncio.create_task(self.control.change())
        try:
            while True:
                self._start_tasks()
                if not self._tasks and not (self.control.paused and not self._over()):
                    return
                timer = asyncio.create_task(asyncio.sleep(_PROGRESS_EVERY_S))
                await asyncio.wait({*self._tasks, change, timer}, return_when=asyncio.FIRST_COMPLETED)
                timer.cancel()
                if change.done():
                    change = asyncio.create_task(self.control.change())
                await self._reap()
                await self._progress()
        finally:
            change.cancel()

    def _over(self) -> bool:
        return bool(self._limit or self._stuck or self._failure or self.control.stopping)

    async def _reap(self) -> None:
        for task in [task for task in self._tasks if task.done()]:
            self._tasks.discard(task)
            error = task.exception()
            if isinstance(error, LimitReached):
                self._limit = self._limit or error.what
            elif error is not None:
                self._failure = self._failure or error

    def _start_tasks(self) -> None:
        if self._over() or self.control.paused:
            return
        try:
            self._budget.check()
        except LimitReached as reached:
            self._limit = reached.what
            return
        while len(self._tasks) < _MOST_TASKS:
            work = self._next_work()
            if work is None:
                return
            self._tasks.add(asyncio.create_task(work))

    def _next_work(self) -> Coroutine[Any, Any, None] | None:
        """Judging first, for it frees quota; then lists, lest the rest runs dry; mending; then responses."""
        if self._judging:
            candidate, pair_id = self._judging.pop(0)
            return self._judge(candidate, pair_id)
        for topic in self._topics.values():
            if topic.lacking > 0 and not topic.listing and not topic.exhausted:
                topic.listing = True
                return self._list(topic)
        for topic in self._topics.values():
            if topic.mending and topic.kept + topic.busy + len(topic.waiting) < topic.quota:
                topic.busy += 1
                return self._mend(topic, topic.mending.popleft())
        ready = [
            topic
            for topic in self._topics.values()
            if topic.waiting and topic.kept + topic.busy < topic.quota
        ]
        if not ready:
            return None
        # All topics side by side: one that is left for the end would leave the server idle while its lists are read.
        topic = min(ready, key=lambda one: (one.kept + one.busy) / one.quota)
        topic.busy += 1
        return self._respond(topic, topic.waiting.popleft())

    async def _list(self, topic: TopicState) -> None:
        try:
            count = list_size(topic.lacking, self._list_stage.per_call, topic.recent_yield)
            try:
                written = await self._method.write_list(topic.id, topic.path, count, topic.barren)
            except BackendError as error:
                topic.unreadable += 1
                self._notice("failed", f"{topic.path}: {error}")
            else:
                if written.malformed is not None:
                    topic.unreadable += 1
                    why = written.malformed
                    await self._workspace.awrite(
                        lambda conn: written.answered.close(conn, "malformed list", why)
                    )
                else:
                    async with self._sifting:
                        sifted = await asyncio.to_thread(self._sift, written.drafts)
                        await self._store_list(
                            topic,
                            written.answered.close,
                            written.answered.call_id,
                            sifted,
                            written.asked or count,
                        )
            await self._dry(topic)
        finally:
            topic.listing = False

    @property
    def _list_stage(self) -> Stage:
        return self._recipe.tasks if self._wanted.method == "self-instruct" else self._recipe.instructions

    def _sift(self, drafts: Sequence[Draft]) -> list[NewCandidate]:
        """Sift and count (blocking)."""
        sifted = self._sieve.sift(drafts)
        self._metering.count(sifted, self._sieve)
        return [self._refiner.mark(new) for new in sifted]

    async def _mend(self, topic: TopicState, candidate: Candidate) -> None:
        """Have an instruction rewritten once, and look at it again."""
        try:
            mended = await self._refiner.mend(candidate)
        except BaseException:
            topic.mending.appendleft(candidate)
            raise
        finally:
            topic.busy -= 1
        if mended is not None:
            self._meter.add(mended.instruction)
            topic.waiting.append(mended)

    async def _store_list(
        self,
        topic: TopicState,
        close: Callable[[sqlite3.Connection], None],
        call_id: int,
        sifted: list[NewCandidate],
        asked: int,
    ) -> None:
        def store(conn: sqlite3.Connection) -> list[int]:
            close(conn)
            return candidate_rows.add_candidates(conn, self._run_id, topic.id, call_id, sifted)

        ids = await self._workspace.awrite(store)
        survived = 0
        for candidate_id, new in zip(ids, sifted, strict=True):
            if new.loss is not None:
                continue
            candidate = Candidate(
                candidate_id, topic.id, new.instruction, new.input, "waiting", 0, None, new.extra
            )
            if mend_of(candidate) is not None:
                topic.mending.append(candidate)
                continue
            survived += 1
            topic.waiting.append(candidate)
        topic.note_list(asked, survived)

    async def _dry(self, topic: TopicState) -> None:
        """Where a topic gives no more, its rest goes to the others; when all are dry, each gets one more round."""
        exhaustion = self._recipe.exhaustion
        calls = exhaustion.calls if not self._second_round else max(1, exhaustion.calls // 2)
        why = topic.is_dry(exhaustion, calls)
        # What waits to be rewritten may all fail: it is no reason to go on asking.
        if topic.exhausted or why is None or topic.lacking + len(topic.mending) <= 0:
            return
        topic.exhausted = True
        before = {t.id: t.quota for t in self._topics.values()}
        dry = [t.id for t in self._topics.values() if t.exhausted]
        done = {t.id: t.kept + t.busy + len(t.waiting) for t in self._topics.values()}
        moved = move_rest(before, done, dry)
        everywhere = len(dry) == len(self._topics)
        again = everywhere and not self._second_round
        text = dry_text(topic, why, before, moved, self._topics, everywhere=everywhere, again=again)
        self._apply_quotas(moved)
        if again:
            self._second_round = True
            for state in self._topics.values():
                state.exhausted, state.lists, state.unreadable = False, [], 0

        def store(conn: sqlite3.Connection) -> None:
            set_exhausted(conn, self._run_id, None if again else topic.id, not again)
            set_quotas(conn, self._run_id, moved)
            add_event(conn, self._run_id, "exhausted", text)

        await self._workspace.awrite(store)
        self._notice("exhausted", text, stored=True)

    def _apply_quotas(self, quotas: Mapping[int, int]) -> None:
        for topic_id, quota in quotas.items():
            self._topics[topic_id].quota = quota

    async def _respond(self, topic: TopicState, candidate: Candidate) -> None:
        try:
            response = await self._method.respond(candidate, topic.path)
        except BackendError as error:
            topic.busy -= 1
            detail = f"{error.kind}: {error.message}"
            loss = "refused" if error.kind == "refused" else "no answer"
            self._sieve.forget(candidate.instruction, candidate.input)
            await self._workspace.awrite(lambda conn: candidate_rows.lose(conn, candidate.id, loss, detail))
            self._note_unanswered(loss)
            return
        except BaseException:
            topic.busy -= 1
            topic.waiting.appendleft(candidate)
            raise
        if await self._refiner.send_back(topic, candidate, response):
            topic.busy -= 1
            return
        kept = self._where is None
        pair_id = await self._workspace.awrite(
            lambda conn: store_response(conn, self._run_id, topic.id, candidate, response, kept=kept)
        )
        if pair_id is None:
            topic.busy -= 1
            self._sieve.forget(candidate.instruction, candidate.input)
            self._note_unanswered(response.loss or "exact duplicate")
            return
        self._unanswered = 0
        if kept:
            topic.busy -= 1
            topic.kept += 1
            await self._events.put(PairKept(pair_id, topic.path, candidate.instruction))
        if self._has_judge:
            self._judging.append((None if kept else candidate, pair_id))

    def _note_unanswered(self, loss: str) -> None:
        self._unanswered += 1
        if self._unanswered >= _MOST_UNANSWERED:
            self._stuck = (
                self._stuck or f"the last {_MOST_UNANSWERED} responses were lost, the newest as {loss!r}"
            )

    async def _judge(self, candidate: Candidate | None, pair_id: int) -> None:
        """Score a pair. With `candidate`, the judge's word decides whether it counts."""
        pair = await self._workspace.aread(lambda conn: get_pair(conn, pair_id))
        try:
            verdictless = await self._judges.ask(pair.version, f"version {pair.version.id}")
        except BaseException:
            self._judging.insert(0, (candidate, pair_id))
            raise
        judgement = verdictless.judgement
        scores = {name: score.value for name, score in (judgement.scores or {}).items()}
        loss, detail = None, None
        if candidate is not None:
            assert self._where is not None
            name = self._topics[pair.topic_id or 0].path.rsplit(" › ", 1)[-1]
            loss, detail = judged_loss(self._where, scores, judgement.reason, name)

        def store(conn: sqlite3.Connection) -> None:
            verdictless.close(conn)
            add_judgement(
                conn, pair.version.id, judgement, run_id=self._run_id, call_ids=verdictless.call_ids
            )
            if candidate is None:
                return
            if loss is None:
                candidate_rows.keep(conn, candidate.id)
                return
            candidate_rows.lose(conn, candidate.id, loss, detail)
            decide(
                conn,
                [pair_id],
                "rejected",
                by="rule",
                rule=f"generate --where {self._wanted.where}",
                reason=loss,
                journalled=False,
            )

        await self._workspace.awrite(store)
        if candidate is None:
            return
        topic = self._topics[candidate.topic_id or 0]
        topic.busy -= 1
        self._unpassed = 0 if loss is None else self._unpassed + 1
        if self._unpassed >= _MOST_UNPASSED:
            self._stuck = self._stuck or f"the judge let none of the last {_MOST_UNPASSED} pairs pass"
        if loss is None:
            topic.kept += 1
            await self._events.put(PairKept(pair_id, topic.path, pair.instruction, scores))

    async def _progress(self, *, force: bool = False) -> None:
        if not force and time.monotonic() - self._last_progress < _PROGRESS_EVERY_S:
            return
        ledger, rows = await self._workspace.aread(
            lambda conn: (read_ledger(conn, self._run_id), tuple(run_topics(conn, self._run_id)))
        )
        lists = [pair for topic in self._topics.values() for pair in topic.lists[-3:]]
        asked = sum(a for a, _ in lists)
        recent = sum(s for _, s in lists) / asked if asked else None
        doing = {purpose: count for purpose, count in self._caller.doing.items() if count}
        await self._events.put(Progress(ledger, rows, doing, recent, self._metering.read(now=force)))
        self._last_progress = time.monotonic()

    async def _finish(self) -> Ended:
        ledger = await self._workspace.aread(lambda conn: read_ledger(conn, self._run_id))
        if ledger.missing == 0 and not self._judging and self._failure is None:
            return await self._end("done", "")
        if self._failure is not None:
            error = self._failure
            if not isinstance(error, (PairsmithError, BackendError)):
                await self._end("unfinished", "internal error")
                raise error
            return await self._end("unfinished", str(error), error)
        if self.control.stopping:
            return await self._end("paused", "stopped by the user")
        if self._stuck is not None:
            return await self._end("unfinished", self._stuck)
        if self._limit is not None:
            return await self._end("unfinished", f"the limit of {self._limit} is reached")
        return await self._end("unfinished", "every topic is exhausted")

    async def _end(self, state: str, reason: str, error: Exception | None = None) -> Ended:
        def store(conn: sqlite3.Connection) -> None:
            if state == "done":
                candidate_rows.lose_waiting(conn, self._run_id, "surplus")
            set_state(conn, self._run_id, state, reason)  # type: ignore[arg-type]

        await self._workspace.awrite(store)
        if hasattr(self, "_plan"):
            await self._progress(force=True)
        ledger = await self._workspace.aread(lambda conn: read_ledger(conn, self._run_id))
        return Ended(self._run_id, state, reason, ledger, error)

    def _notice(self, kind: str, text: str, *, stored: bool = False) -> None:
        self._events.put_nowait(Notice(kind, text))
        if not stored:
            run_id = self._run_id
            task = asyncio.ensure_future(
                self._workspace.awrite(lambda conn: add_event(conn, run_id, kind, text))
            )
            task.add_done_callback(lambda done: done.exception())


def _recipe_of(conn: sqlite3.Connection) -> tuple[Recipe, str]:
    text = get_meta(conn, "recipe")
    domain = get_meta(conn, "domain") or ""
    if text is None:
        raise UsageError("the workspace has no recipe", "Make it with: pairsmith new WORKSPACE --domain TEXT")
    return read_recipe(text, "the workspace's recipe"), domain


def _pair_of(candidate: Candidate) -> int:
    assert candidate.pair_id is not None
    return candidate.pair_id

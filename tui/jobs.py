"""The job of this start of the application: it runs beside every place, and no place owns it.

A job writes into plain numbers here as its events come; places read them on a timer of their own, so that a thousand
events a second cost no more frames than ten. Errors are lines here too: nothing of a job ends the application.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from pairsmith.backends.errors import BackendError
from pairsmith.backends.text import one_line
from pairsmith.pairs.errors import PairsmithError

from .session import JobLine, Session
from .widgets.meters import duration

if TYPE_CHECKING:
    from pairsmith.backends.pacing import PacerState
    from pairsmith.pairs.control import Control
    from pairsmith.pairs.doors import DoorKind, Doors
    from pairsmith.pairs.events import Event
    from pairsmith.pairs.ledger import Ledger
    from pairsmith.pairs.run_plan import RunPlan
    from pairsmith.pairs.store.runs import RunTopic
    from pairsmith.pairs.store.workspace import Workspace

    from .app import PairsmithApp
    from .watch import Watch, Watched

WINDOW_S = 60.0
LEAVE_S = 10.0
"""How long quitting waits for calls in flight before it gives them up."""

JobKind = Literal["generate", "judge", "train", "evaluate"]


@dataclass(slots=True)
class Told:
    """A line that a job told: when (monotonic seconds), of which kind, what."""

    at: float
    kind: str
    text: str


@dataclass(slots=True)
class JobState:
    """All that is shown of a job. `version` grows with every change."""

    kind: JobKind
    watch: Watch | None = None
    run_id: int | None = None
    ledger: Ledger | None = None
    topics: tuple[RunTopic, ...] = ()
    doing: Mapping[str, int] = field(default_factory=dict)
    yields: deque[float] = field(default_factory=lambda: deque(maxlen=60))
    likeness: deque[float] = field(default_factory=lambda: deque(maxlen=60))
    told: deque[Told] = field(default_factory=lambda: deque(maxlen=200))
    judged: tuple[int, int | None] = (0, None)
    judge_failed: int = 0
    state: str = "starting"
    """starting, running, paused, stopping; then done, paused, unfinished or failed."""
    reason: str = ""
    problem: str = ""
    """What stopped it, where that was a failure: a sentence with what to do."""
    over: bool = False
    samples: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=600))
    version: int = 0

    def tell(self, kind: str, text: str) -> None:
        """Add a line."""
        self.told.append(Told(time.monotonic(), kind, one_line(text, 600)))
        self.version += 1

    def note_kept(self, kept: int) -> None:
        """Remember how far it is, for the pace."""
        now = time.monotonic()
        if not self.samples or now - self.samples[-1][0] > 0.2:
            self.samples.append((now, kept))
        while len(self.samples) > 2 and now - self.samples[0][0] > WINDOW_S:
            self.samples.popleft()

    @property
    def per_minute(self) -> float | None:
        """Units a minute over the last one; None before there is anything to go by."""
        if len(self.samples) < 2:
            return None
        (then, before), (now, kept) = self.samples[0], self.samples[-1]
        return (kept - before) / (now - then) * 60 if kept > before and now > then else None

    @property
    def minutes_left(self) -> float | None:
        """Minutes to the end at the present pace."""
        if self.watch is not None:
            return self.watch.minutes_left
        pace = self.per_minute
        done, total = self.progress
        return (
            (total - done) / pace
            if pace and total is not None and done is not None and total > done
            else None
        )

    @property
    def progress(self) -> tuple[int | None, int | None]:
        """Done, and of how many."""
        if self.watch is not None:
            return self.watch.progress
        if self.kind == "judge":
            return self.judged
        return (self.ledger.kept, self.ledger.asked) if self.ledger is not None else (None, None)


class Jobs:
    """At most one job; `state` is that of the last one."""

    def __init__(self, app: PairsmithApp) -> None:
        self._app = app
        self.state: JobState | None = None
        self._task: asyncio.Task[None] | None = None
        self._control: Control | None = None
        self._doors: Doors | None = None

    @property
    def running(self) -> bool:
        """Whether a job is under way (paused counts)."""
        return self._task is not None and not self._task.done()

    @property
    def paused(self) -> bool:
        """Whether it waits for `toggle_pause`."""
        return self.running and self._control is not None and self._control.paused

    def start_generate(self, plan: RunPlan) -> None:
        """Begin, or go on with, a run. Nothing happens while a job is under way."""
        if not self.running:
            self._begin(JobState("generate"), self._generate(plan))

    def start_judge(self) -> None:
        """Score what the present judge has not scored."""
        if not self.running:
            self._begin(JobState("judge"), self._judge())

    def start_watched(self, kind: JobKind, watch: Watch, make: Callable[[], Awaitable[Watched]]) -> None:
        """Begin the job that `make` makes; `watch` hears every event. Nothing happens while a job is under way."""
        if not self.running:
            self._begin(JobState(kind, watch), self._watched(make))

    def toggle_pause(self) -> None:
        """Start no more calls, or go on."""
        if not self.running or self._control is None or self.state is None:
            return
        if self._control.paused:
            self._control.resume()
            self.state.tell("resumed", "goes on")
        else:
            self._control.pause()
            watch = self.state.watch
            kept = watch.pausing if watch is not None else "what is in flight is finished and kept"
            self.state.tell("paused", f"paused: {kept}; p goes on")
        self._show_line()

    def stop(self) -> None:
        """Finish what is in flight and end."""
        if self.running and self._control is not None and self.state is not None:
            self._control.stop()
            self.state.state = "stopping"
            watch = self.state.watch
            kept = watch.stopping if watch is not None else "what is in flight is finished and kept"
            self.state.tell("stopping", f"stopping: {kept}")

    async def leave(self) -> None:
        """Pause for good: stop, wait a while for the calls in flight, give the rest up."""
        task = self._task
        if task is None:
            return
        self.stop()
        await asyncio.wait({task}, timeout=LEAVE_S)
        task.cancel()
        await asyncio.wait({task}, timeout=LEAVE_S)

    def give_up(self) -> None:
        """End at once; calls in flight are booked as given up."""
        if self._task is not None:
            self._task.cancel()

    async def forget(self) -> None:
        """For another workspace: end the job and show none."""
        await self.leave()
        self.state, self._task = None, None

    def pace(self, kind: DoorKind) -> PacerState | None:
        """Limit, concurrency and queue of the server that is asked now."""
        backend = None if self._doors is None else self._doors.in_use(kind)
        if backend is None:
            return None
        from pairsmith.backends.pacing import state_of

        return state_of(backend.pacing_key)

    def _begin(self, state: JobState, work: object) -> None:
        self.state = state
        assert asyncio.iscoroutine(work)
        self._task = asyncio.get_running_loop().create_task(self._guarded(state, work))
        self._show_line()

    async def _guarded(self, state: JobState, work: object) -> None:
        assert asyncio.iscoroutine(work)
        try:
            await work
        except asyncio.CancelledError:
            state.state = "unfinished"
            state.reason = "interrupted"
        except (PairsmithError, BackendError) as error:
            self._failed(state, error)
        except Exception as error:  # a bug in a job must not take the application along
            self._failed(state, error)
        finally:
            state.over = True
            state.version += 1
            self._doors = None
            with contextlib.suppress(Exception):
                self._app.show_job(None)
                self._app.tell_news(state.watch.place if state.watch is not None else "generate")

    def _failed(self, state: JobState, error: BaseException) -> None:
        state.state = "failed" if state.run_id is None else "unfinished"
        text = one_line(str(error), 400) or type(error).__name__
        if not isinstance(error, (PairsmithError, BackendError)):
            text = f"internal error: {type(error).__name__}: {text}"
        state.problem = text
        state.tell("failed", text)

    async def _generate(self, plan: RunPlan) -> None:
        session = self._app.session
        workspace = _workspace(session)
        await asyncio.to_thread(importlib.import_module, "pairsmith.pairs.generating")
        from pairsmith.pairs.generating import GenerateJob, GenerateOptions
        from pairsmith.pairs.run_plan import read_method
        from pairsmith.pairs.surroundings import read_surroundings

        around = await asyncio.to_thread(read_surroundings, session.env, workspace)
        method = await workspace.aread(read_method)
        self._open_doors(workspace, around.settings, around.user.generator, around.user.judge)
        job = GenerateJob(
            workspace,
            plan.settings(method),
            around.settings,
            GenerateOptions(limits=plan.limits, generator=around.user.generator, judge=around.user.judge),
            doors=self._doors,
        )
        await self._consume(job.control, job.events())

    async def _judge(self) -> None:
        session = self._app.session
        workspace = _workspace(session)
        await asyncio.to_thread(importlib.import_module, "pairsmith.pairs.judge_job")
        from pairsmith.pairs.judge_job import JudgeJob, JudgeOptions
        from pairsmith.pairs.surroundings import default_judge, read_surroundings

        around = await asyncio.to_thread(read_surroundings, session.env, workspace)
        judge = await asyncio.to_thread(default_judge, workspace, around)
        self._open_doors(workspace, around.settings, around.user.generator, judge)
        options = JudgeOptions(judge=judge)
        job = JudgeJob(workspace, around.settings, options, doors=self._doors)
        await self._consume(job.control, job.events())

    async def _watched(self, make: Callable[[], Awaitable[Watched]]) -> None:
        job = await make()
        await self._consume(job.control, job.events())

    def _open_doors(
        self, workspace: Workspace, settings: object, generator: str | None, judge: str | None
    ) -> None:
        from pairsmith.backends.registry import Settings
        from pairsmith.pairs.doors import Doors

        assert isinstance(settings, Settings)
        self._doors = Doors(workspace, settings, generator=generator, judge=judge, on_switch=self._switched)

    def _switched(self, kind: DoorKind, spec: str) -> None:
        state = self.state
        if state is None:
            return
        text = f"the {kind} is now {spec}"
        state.tell("switched", text)
        workspace, run_id = self._app.session.workspace, state.run_id
        if workspace is not None and run_id is not None:
            from pairsmith.pairs.store.runs import add_event

            task = asyncio.ensure_future(
                workspace.awrite(lambda conn: add_event(conn, run_id, "switched", text))
            )
            task.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def _consume(self, control: Control, events: AsyncIterator[Event]) -> None:
        self._control = control
        state = self.state
        assert state is not None
        state.state = "running"
        async with contextlib.aclosing(events) as coming:  # type: ignore[type-var]
            async for event in coming:
                self._take(state, event)
                state.version += 1

    def _take(self, state: JobState, event: Event) -> None:
        from pairsmith.pairs.events import Ended, Judged, Notice, PairKept, Progress, Started

        if state.watch is not None:
            state.watch.take(event)
            state.run_id = getattr(event, "run_id", state.run_id)
        if isinstance(event, Started):
            state.run_id, state.ledger, state.topics = event.run_id, event.ledger, event.topics
            state.note_kept(event.ledger.kept)
            if event.continued:
                state.tell(
                    "started", f"run {event.run_id} goes on: {event.ledger.kept:,} of {event.ledger.asked:,}"
                )
        elif isinstance(event, Progress):
            state.ledger, state.topics, state.doing = event.ledger, event.topics, event.doing
            state.note_kept(event.ledger.kept)
            if event.recent_yield is not None and (
                not state.yields or state.yields[-1] != event.recent_yield
            ):
                state.yields.append(event.recent_yield)
            nearest = event.diversity.nearest if event.diversity is not None else None
            if nearest is not None and (not state.likeness or state.likeness[-1] != nearest):
                state.likeness.append(nearest)
        elif isinstance(event, PairKept):
            return
        elif isinstance(event, Judged):
            state.judged = (event.done, event.total)
            state.judge_failed += event.reason is not None
            state.note_kept(event.done)
        elif isinstance(event, Notice):
            if event.kind != "demonstration":  # Generate says it above everything else, with its own keys
                state.tell(event.kind, event.text)
        elif isinstance(event, Ended):
            state.run_id, state.state, state.reason = event.run_id, event.state, event.reason
            state.ledger = event.ledger or state.ledger
            state.doing = {}
            if event.error is not None:
                self._failed(state, event.error)
        self._show_line()

    def _show_line(self) -> None:
        state = self.state
        if state is None or not self.running or state.over:
            return
        done, total = state.progress
        left = state.minutes_left
        name = state.watch.name if state.watch is not None else state.kind.capitalize()
        self._app.show_job(JobLine(name, done, total, duration(left) if left else "", self.paused))


def _workspace(session: Session) -> Workspace:
    assert session.workspace is not None
    return session.workspace

"""The job of this start of the application: it runs beside every place, and no place owns it.

A job writes into plain numbers here as its events come; places read them on a timer of their own, so that a thousand
events a second cost no more frames than ten. Errors are lines here too: nothing of a job ends the application.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

from pairsmith.backends.errors import BackendError
from pairsmith.pairs.control import Control
from pairsmith.pairs.errors import PairsmithError

from .job_state import JobKind, JobState
from .session import JobLine, Session
from .widgets.meters import duration

if TYPE_CHECKING:
    from pairsmith.backends.pacing import PacerState
    from pairsmith.pairs.doors import DoorKind, Doors
    from pairsmith.pairs.events import Event
    from pairsmith.pairs.run_plan import RunPlan
    from pairsmith.pairs.store.workspace import Workspace

    from .app import PairsmithApp
    from .watch import Watch, Watched

LEAVE_S = 10.0
"""How long quitting waits for calls in flight before it gives them up."""


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
        # Hears what is asked while the job has no control of its own yet: `_consume` passes it on.
        self._control = Control()
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
            state.fail(error)
        except Exception as error:  # a bug in a job must not take the application along
            state.fail(error)
        finally:
            state.over = True
            state.version += 1
            self._doors = None
            with contextlib.suppress(Exception):
                self._app.show_job(None)
                self._app.tell_news(state.watch.place if state.watch is not None else "generate")

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
        from pairsmith.pairs.events import PairKept

        asked, self._control = self._control, control
        state = self.state
        assert state is not None
        state.state = "running"
        if asked is not None and asked.paused:
            control.pause()
        if asked is not None and asked.stopping:
            control.stop()
            state.state = "stopping"
        async with contextlib.aclosing(events) as coming:  # type: ignore[type-var]
            async for event in coming:
                state.take(event)
                if not isinstance(event, PairKept):
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

"""The work of a generate run: many calls in flight, and what is started next."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

from .control import Control
from .generation_answers import Answers
from .generation_lists import Lists
from .generation_run import GenerationRun
from .limits import Budget, LimitReached

_PROGRESS_EVERY_S = 0.25
_MOST_TASKS = 64


class Work:
    """Drives a run until nothing is left to do, or something stops it (`run.stop`, `control`)."""

    def __init__(self, run: GenerationRun, budget: Budget, control: Control) -> None:
        self._run = run
        self._budget = budget
        self._control = control
        self._lists = Lists(run)
        self._answers = Answers(run)
        self._tasks: set[asyncio.Task[None]] = set()
        self._last_progress = 0.0

    async def do(self) -> None:
        """Work; what is in flight at a stop is finished first. `close` afterwards, whatever came of it."""
        change = asyncio.create_task(self._control.change())
        try:
            while True:
                self._start_tasks()
                if not self._tasks and not (self._control.paused and not self._over()):
                    return
                timer = asyncio.create_task(asyncio.sleep(_PROGRESS_EVERY_S))
                await asyncio.wait({*self._tasks, change, timer}, return_when=asyncio.FIRST_COMPLETED)
                timer.cancel()
                if change.done():
                    change = asyncio.create_task(self._control.change())
                self._reap()
                await self._tell_progress()
        finally:
            change.cancel()

    async def close(self) -> None:
        """End what is still in flight."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _over(self) -> bool:
        return bool(self._run.stop) or self._control.stopping

    def _reap(self) -> None:
        for task in [task for task in self._tasks if task.done()]:
            self._tasks.discard(task)
            error = task.exception()
            if error is not None:
                self._run.stop.note(error)

    def _start_tasks(self) -> None:
        if self._over() or self._control.paused:
            return
        try:
            self._budget.check()
        except LimitReached as reached:
            self._run.stop.note(reached)
            return
        while len(self._tasks) < _MOST_TASKS:
            work = self._next()
            if work is None:
                return
            self._tasks.add(asyncio.create_task(work))

    def _next(self) -> Coroutine[Any, Any, None] | None:
        """Judging first, for it frees quota; then lists, lest the rest runs dry; mending; then responses."""
        run = self._run
        if run.judging:
            return self._answers.judge(run.judging.popleft())
        if (dealt := self._lists.pass_on()) is not None:
            return dealt
        for topic in run.topics.values():
            if topic.lacking > 0 and not topic.listing and not topic.exhausted:
                topic.listing = True
                return self._lists.write(topic)
        for topic in run.topics.values():
            if topic.mending and topic.kept + topic.busy + len(topic.waiting) < topic.quota:
                topic.busy += 1
                return self._lists.mend(topic, topic.mending.popleft())
        ready = [
            topic for topic in run.topics.values() if topic.waiting and topic.kept + topic.busy < topic.quota
        ]
        if not ready:
            return None
        # All topics side by side: one that is left for the end would leave the server idle while its lists are read.
        topic = min(ready, key=lambda one: (one.kept + one.busy) / one.quota)
        topic.busy += 1
        return self._answers.respond(topic, topic.waiting.popleft())

    async def _tell_progress(self) -> None:
        if time.monotonic() - self._last_progress >= _PROGRESS_EVERY_S:
            self._run.telling.put(await self._run.progress())
            self._last_progress = time.monotonic()

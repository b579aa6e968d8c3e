"""What a job tells of itself: one stream of events, and notices that its run keeps as well."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Coroutine
from typing import Any

from .events import Ended, Event, Notice
from .store.runs import add_event
from .store.workspace import Workspace


class Telling:
    """Where a job puts its events. Its notices are stored with the run, once `run_id` says which that is."""

    def __init__(self, workspace: Workspace) -> None:
        self.run_id: int | None = None
        self._workspace = workspace
        self._queue: asyncio.Queue[Event] = asyncio.Queue()

    def put(self, event: Event) -> None:
        """Tell an event."""
        self._queue.put_nowait(event)

    def notice(self, kind: str, text: str) -> None:
        """Tell the user something, and keep it with the run (events.py says which kinds there are)."""
        self.put(Notice(kind, text))
        run_id = self.run_id
        if run_id is not None:
            task = asyncio.ensure_future(
                self._workspace.awrite(lambda conn: add_event(conn, run_id, kind, text))
            )
            task.add_done_callback(lambda done: done.exception())

    async def events_of(self, job: Coroutine[Any, Any, Ended]) -> AsyncGenerator[Event, None]:
        """Run the job; yield what it tells, and what it returns last. Raises what it raises.

        Whoever stops listening cancels the job.
        """
        queue = self._queue
        runner = asyncio.create_task(job)
        getter: asyncio.Task[Event] | None = None
        try:
            while True:
                getter = asyncio.create_task(queue.get())
                await asyncio.wait({runner, getter}, return_when=asyncio.FIRST_COMPLETED)
                if getter.done():
                    yield getter.result()
                    continue
                getter.cancel()
                while not queue.empty():
                    yield queue.get_nowait()
                yield runner.result()
                return
        finally:
            for task in (runner, getter):
                if task is not None and not task.done():
                    task.cancel()
                    with contextlib.suppress(asyncio.CancelledError, Exception):
                        await task

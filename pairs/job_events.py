"""A job that runs and a queue that it tells of itself through, as one stream of events."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Coroutine
from typing import Any

from .events import Ended, Event


async def events_of(
    job: Coroutine[Any, Any, Ended], queue: asyncio.Queue[Event]
) -> AsyncGenerator[Event, None]:
    """Run the job; yield what it puts into the queue, and what it returns last. Raises what it raises.

    Whoever stops listening cancels the job.
    """
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

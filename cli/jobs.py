"""Running a job to its end from the command line: events in, progress out, a first interrupt stops it gracefully."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from pairsmith.pairs.control import Control
from pairsmith.pairs.errors import PairsmithError
from pairsmith.pairs.events import Ended, Event

from .errors import failed_by
from .output import Failed, note
from .stopping import graceful

LIMITED, INTERRUPTED = 3, 130


def run_job(
    events: Callable[[], AsyncIterator[Event]], control: Control, show: Callable[[Event], None]
) -> Ended:
    """Consume a job's events on an event loop of its own; returns the last one."""

    async def consume() -> Ended:
        loop = asyncio.get_running_loop()

        def stop() -> None:
            note("stopping: what is in flight is finished and kept (once more ends at once)")
            loop.call_soon_threadsafe(control.stop)

        ended: Ended | None = None
        with graceful(stop):
            async for event in events():
                if isinstance(event, Ended):
                    ended = event
                else:
                    show(event)
        assert ended is not None
        return ended

    return asyncio.run(consume())


def exit_code(ended: Ended) -> int:
    """0 done, 130 stopped by the user, 1 failed, 3 stopped by a limit or for want of anything new."""
    if ended.state == "done":
        return 0
    if ended.state == "paused":
        return INTERRUPTED
    if ended.error is not None:
        return ended.error.exit_code if isinstance(ended.error, PairsmithError) else 1
    return LIMITED


def failure_of(ended: Ended) -> Failed | None:
    """What stopped the job, as the command line says it; None where nothing failed."""
    return None if ended.error is None else failed_by(ended.error)

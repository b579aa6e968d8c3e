"""Running a job to its end from the command line: events in, progress out, a first interrupt stops it gracefully."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from pairsmith.backends.text import one_line
from pairsmith.pairs.control import Control
from pairsmith.pairs.errors import PairsmithError
from pairsmith.pairs.events import Ended, Event, Judged, PairKept
from pairsmith.pairs.recipes import Recipe

from .environment import Choice
from .errors import failed_by
from .output import Failed, fail, note
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


def run_chosen(
    events: Callable[[], AsyncIterator[Event]],
    control: Control,
    show: Callable[[Event], None],
    choice: Choice,
) -> Ended:
    """`run_job` with flags that become the workspace's, unless it fails before anything came of it."""
    fruitful = False

    def look(event: Event) -> None:
        nonlocal fruitful
        fruitful = fruitful or isinstance(event, (PairKept, Judged))
        show(event)

    choice.store()
    try:
        ended = run_job(events, control, look)
    except BaseException:
        choice.take_back()
        raise
    fruitful = fruitful or (ended.ledger is not None and ended.ledger.calls.useful > 0)
    if ended.error is not None and not fruitful:
        choice.take_back()
    return ended


def suggested_kind(recipe: Recipe, judge: str | None) -> str:
    """How the recipe says that this judge judges."""
    return recipe.judge.kind if recipe.judge is not None and recipe.judge.model == judge else "auto"


def unfinished_said(ended: Ended, failure: Failed | None) -> None:
    """Say on standard error why a job is not done; nothing where it is."""
    if failure is not None:
        fail(failure, json_wanted=False)
    elif ended.state != "done":
        code = exit_code(ended)
        advice = "The same command goes on where it stopped"
        if code == LIMITED:
            advice += ", with higher limits" + (" or more topics" if ended.ledger is not None else "")
        fail(Failed(f"not done: {one_line(ended.reason)}", code, advice=advice), json_wanted=False)


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

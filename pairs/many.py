"""Many small pieces of paid work at once: stopped by the user, by a limit, or by the first failure that stops all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from pairsmith.backends.errors import BackendError

from .control import Control
from .errors import PairsmithError
from .limits import LimitReached

_MOST_TASKS = 64

Work = Callable[[], Awaitable[None]]


async def run_many(pieces: Iterable[Work], control: Control) -> tuple[Exception | None, str]:
    """Run every piece; (what failed, which limit was reached), both empty where all of it was done or one stopped.

    What is in flight is finished in any case. A pause holds back what has not begun.
    """
    pending = iter(pieces)
    tasks: set[asyncio.Future[None]] = set()
    failure: Exception | None = None
    limit = ""
    change = asyncio.ensure_future(control.change())
    try:
        while True:
            while not (failure or limit or control.paused or control.stopping) and len(tasks) < _MOST_TASKS:
                piece = next(pending, None)
                if piece is None:
                    break
                tasks.add(asyncio.ensure_future(piece()))
            if not tasks:
                if control.paused and not (failure or limit or control.stopping):
                    await change
                    change = asyncio.ensure_future(control.change())
                    continue
                return failure, limit
            done, _ = await asyncio.wait({*tasks, change}, return_when=asyncio.FIRST_COMPLETED)
            if change in done:
                change = asyncio.ensure_future(control.change())
            for task in done & tasks:
                tasks.discard(task)
                error = task.exception()
                if isinstance(error, LimitReached):
                    limit = limit or error.what
                elif isinstance(error, (PairsmithError, BackendError)):
                    failure = failure or error
                elif error is not None:
                    raise error
    finally:
        change.cancel()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

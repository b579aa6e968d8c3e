"""When an application under test is at rest: its messages handled, its reads come back, its screen painted.

Textual's own pilot asks how much processor time the process used in the last fiftieth of a second, two or three times
for each key: while anything runs beside the application that is a second for each, and on a busy machine it says
nothing. Here the event loop itself is asked.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import textual.app
import textual.pilot
from textual._context import active_app

STORE_S, OTHER_S = 1.0, 0.05
"""So long is waited for a read or a write of the workspace, and for other work in threads, which may be a download."""
BUSY_S = 0.3
"""A loop that never rests, as with a run in this process, is left after so much of its processor time."""
ROUNDS = 6

_begin_in_thread = asyncio.BaseEventLoop.run_in_executor
_begin_write = asyncio.wrap_future
_in_threads: dict[asyncio.Future[Any], float] = {}


def _run_in_executor(self: asyncio.BaseEventLoop, executor: Any, function: Any, *arguments: Any) -> Any:
    """The loop's own, with what it began remembered until it has ended."""
    future = _begin_in_thread(self, executor, function, *arguments)
    own = isinstance(executor, ThreadPoolExecutor)  # the workspace's threads, not the loop's
    return _remember(future, STORE_S if own else OTHER_S)


def _wrap_future(future: Any, **keywords: Any) -> Any:
    """The module's own: it is how one waits for a write of the workspace."""
    return _remember(_begin_write(future, **keywords), STORE_S)


def _remember(future: asyncio.Future[Any], most: float) -> asyncio.Future[Any]:
    _in_threads[future] = most
    future.add_done_callback(lambda done: _in_threads.pop(done, None))
    return future


async def at_rest(least: float = 0.0, _most: float = 1.0) -> None:
    """Wait until nothing is left to do but to wait; in the place of Textual's `wait_for_idle`."""
    began = time.monotonic()
    ends = time.thread_time() + BUSY_S
    for _ in range(ROUNDS):
        await _drain(ends)
        came_back = await _threads()
        if not _paint() and not came_back:
            break
    await asyncio.sleep(max(0.0, began + least - time.monotonic()))


async def _drain(ends: float) -> None:
    """Let the loop run until three turns in a row had nothing for it."""
    ready = asyncio.get_running_loop()._ready  # type: ignore[attr-defined]
    quiet = 0
    while quiet < 3 and time.thread_time() < ends:
        await asyncio.sleep(0)
        quiet = 0 if ready else quiet + 1


async def _threads() -> bool:
    """Wait for what runs in threads; whether any of it ended."""
    loop = asyncio.get_running_loop()
    mine = {one: most for one, most in _in_threads.items() if one.get_loop() is loop}
    for most in (STORE_S, OTHER_S):
        waited = [one for one in mine if mine[one] == most]
        if waited:
            await asyncio.wait(waited, timeout=most)
    return any(one.done() for one in mine)


def _paint() -> bool:
    """Paint what waits for the screen's next sixtieth of a second; whether there was anything."""
    app = active_app.get(None)
    if app is None or not app.screen_stack or app._batch_count:
        return False
    screen = app.screen
    waits = (screen._layout_required, screen._scroll_required, screen._repaint_required)
    due = any(waits) or screen._dirty_widgets or screen._callbacks or screen._recompose_required
    if due and screen.is_running:
        screen._on_timer_update()
        return True
    return False


asyncio.BaseEventLoop.run_in_executor = _run_in_executor  # type: ignore[method-assign]
asyncio.wrap_future = _wrap_future
textual.app.wait_for_idle = at_rest
textual.pilot.wait_for_idle = at_rest

"""Pacing: who may send the next request to a server, and when. One `Pacer` for each origin and key, shared by all.

    async with pacer.admit():
        completion = await backend.complete(request)

The block's outcome is read from the exception that leaves it, so nothing else has to be reported. A pacer joins a
limit of requests per minute (`rate_law`), a number of requests at once (additive increase, multiplicative decrease),
and the pauses that servers ask for. It retries nothing: each try is admitted anew, and waits its turn, first come
first served.
"""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar, Token
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

from .errors import BackendError, RateLimited, TimedOut, Unavailable
from .protocol import Backend, Capabilities
from .rate_law import Blame, RateLaw, Sent

if TYPE_CHECKING:
    from .registry import Settings

MOST_AT_ONCE = 32
CROWD_PATIENCE = 50
_CROWD = re.compile(r"concurren|overload|queue|in parallel|at the same time", re.IGNORECASE)
LOCAL_SPACING_S = 0.025
"""A local server's first refusal comes back in about this time, on a busy machine too: enough to stop after one or two,
and more requests than a local model answers."""

LOCAL_SLOW_S = 5.0
"""A local server that takes longer than this for an answer gets no more at once: its queue would only grow."""

_current: ContextVar[tuple[Pacer, Sent] | None] = ContextVar("admission", default=None)


@dataclass(frozen=True, slots=True)
class PacerState:
    """What a screen may show of a pacer. Seconds are the server's (scaled) ones."""

    limit: int | None
    """Requests per minute: learned, or set by the user; None while unknown."""
    learned: bool
    used: int
    """Requests of the last minute."""
    in_flight: int
    concurrency: int
    """Requests at once that are let go at present: keep a few more callers than this waiting."""
    waiting: int
    refused: int
    """Answers 429 so far."""
    next_in_s: float
    """Seconds until the limit lets another request go (0: now)."""
    paused_s: float
    """Seconds that are left of a pause after a refusal."""


@dataclass(slots=True, eq=False)
class _Waiter:
    loop: asyncio.AbstractEventLoop
    wake: asyncio.Future[None]


class Pacer:
    """Admission to one server with one key. Safe to use from several event loops and threads."""

    def __init__(
        self,
        key: str,
        law: RateLaw,
        *,
        start: int = 4,
        ceiling: int = 4,
        slow_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        time_scale: float = 1.0,
    ) -> None:
        self.key = key
        self.ceiling = max(1, ceiling)
        self._law = law
        self._clock = clock
        self._scale = time_scale
        self._slow = slow_s
        self._at_once = float(max(1, min(start, ceiling)))
        self._crowded_before = False
        self._taken = self.ceiling
        self._patience = CROWD_PATIENCE
        self._since_crowd = 0
        self._last_cut = float("-inf")
        self._in_flight = 0
        self._queue: deque[_Waiter] = deque()
        self._lock = threading.RLock()

    def admit(self, *, first: bool = False) -> Admission:
        """Wait for one's turn, on entering the block; `first` goes to the head of the queue (a retry, a user)."""
        return Admission(self, first)

    def allow(self, at_once: int) -> None:
        """Raise the number of requests at once, for a caller who knows that the server takes them."""
        with self._lock:
            self.ceiling = max(self.ceiling, at_once)
            self._taken = max(self._taken, at_once)
            self._at_once = max(self._at_once, float(at_once))
        self._wake_head()

    def snapshot(self) -> PacerState:
        """The present state."""
        with self._lock:
            now, law = self._now(), self._law
            limits = [n for n in (law.limit, law.cap) if n is not None]
            return PacerState(
                limit=min(limits) if limits else None,
                learned=law.limit is not None,
                used=law.used(now),
                in_flight=self._in_flight,
                concurrency=int(self._at_once),
                waiting=len(self._queue),
                refused=law.refused,
                next_in_s=max(0.0, law.ready_at(now) - now),
                paused_s=max(0.0, law.paused_until() - now),
            )

    async def _enter(self, first: bool) -> Sent:
        loop = asyncio.get_running_loop()
        waiter = _Waiter(loop, loop.create_future())
        with self._lock:
            self._queue.appendleft(waiter) if first else self._queue.append(waiter)
        try:
            while True:
                with self._lock:
                    delay = self._delay(waiter)
                    if delay is not None and delay <= 0:
                        self._in_flight += 1
                        return self._law.start(self._now())
                    waiter.wake = loop.create_future()
                await _wait(waiter.wake, delay)
        finally:
            with self._lock:
                self._queue.remove(waiter)
            self._wake_head()

    def _delay(self, waiter: _Waiter) -> float | None:
        """Seconds (ours) until this waiter may go; None: when somebody else has finished or gone."""
        if self._queue[0] is not waiter or self._in_flight >= int(self._at_once):
            return None
        now = self._now()
        return (self._law.ready_at(now) - now) / self._scale

    def _leave(self, sent: Sent, error: BaseException | None) -> None:
        with self._lock:
            self._in_flight -= 1
            now = self._now()
            if isinstance(error, RateLimited):
                crowd = self._in_flight > 0 and _CROWD.search(error.message) is not None
                if crowd or self._law.refuse(sent, now, error.retry_after, self._in_flight) is Blame.CROWD:
                    self._crowded(sent, now)
                if crowd:
                    self._law.pause(now + (error.retry_after or 0.0))
                    self._law.finish(sent, now)
            elif isinstance(error, BackendError) and not error.reached:
                self._law.void(sent)
            else:
                self._law.finish(sent, now)
                if isinstance(error, Unavailable | TimedOut):
                    self._cut(sent, max(1, int(self._at_once) // 2), now)
                    if error.retry_after is not None:
                        self._law.pause(now + error.retry_after)
                elif error is None and (self._slow is None or now - sent.at < self._slow):
                    self._grow()
        self._wake_head()

    def _grow(self) -> None:
        self._since_crowd += 1
        if self._taken < self.ceiling and self._since_crowd >= self._patience:
            self._taken, self._since_crowd = self._taken + 1, 0
        if self._queue or self._in_flight + 1 >= int(self._at_once):
            step = 1 / self._at_once if self._crowded_before else 1.0
            self._at_once = min(float(self._taken), self._at_once + step)

    def _crowded(self, sent: Sent, now: float) -> None:
        """The server told how many at once it takes: stay there, and try one more ever more rarely."""
        if sent.at >= self._last_cut:
            self._patience = min(2 * self._patience, 16 * CROWD_PATIENCE)
        self._taken, self._since_crowd = max(1, self._in_flight), 0
        self._cut(sent, self._taken, now)

    def _cut(self, sent: Sent, to: int, now: float) -> None:
        """Once for all requests that were let go before the last cut: they tell of the same crowd."""
        if sent.at >= self._last_cut:
            self._at_once = min(self._at_once, float(to))
            self._crowded_before, self._last_cut = True, now

    def _written(self, sent: Sent) -> None:
        with self._lock:
            sent.written = self._now()

    def _wake_head(self) -> None:
        with self._lock:
            while self._queue and self._queue[0].loop.is_closed():
                self._queue.popleft()
            head = self._queue[0] if self._queue else None
        if head is not None:
            try:
                head.loop.call_soon_threadsafe(_set, head.wake)
            except RuntimeError:
                return  # the loop closed in between: its waiters are gone with it

    def _now(self) -> float:
        return self._clock() * self._scale


class Admission:
    """The block in which one request is made. Enter it once."""

    __slots__ = ("_first", "_pacer", "_sent", "_token")

    def __init__(self, pacer: Pacer, first: bool) -> None:
        self._pacer = pacer
        self._first = first

    async def __aenter__(self) -> Admission:
        self._sent = await self._pacer._enter(self._first)
        self._token: Token[tuple[Pacer, Sent] | None] = _current.set((self._pacer, self._sent))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _current.reset(self._token)
        self._pacer._leave(self._sent, error)


def note_written() -> None:
    """Called by the HTTP layer when the last byte of a request was written: sharpens the pacer's knowledge of when
    the server counted it. Does nothing outside an admission."""
    current = _current.get()
    if current is not None:
        current[0]._written(current[1])


def pacer_of(backend: Backend, settings: Settings, capabilities: Capabilities) -> Pacer:
    """The pacer for a backend, with what its door is known for: hosted servers scale, our own have their slots."""
    ceiling = {"nim": MOST_AT_ONCE, "openai": MOST_AT_ONCE if backend.remote else MOST_AT_ONCE // 2}
    in_process = backend.name == "llama-cpp"
    return pacer_for(
        backend.pacing_key,
        remote=backend.remote or backend.name == "nim",
        parallel=capabilities.parallel,
        ceiling=ceiling.get(backend.name),
        requests_per_minute=settings.requests_per_minute if backend.name in ceiling else None,
        spacing_s=0.0 if in_process else None,
        time_scale=settings.time_scale,
    )


_pacers: dict[str, Pacer] = {}
_pacers_lock = threading.Lock()


def pacer_for(
    key: str,
    *,
    remote: bool = True,
    parallel: int = 4,
    ceiling: int | None = None,
    requests_per_minute: int | None = None,
    spacing_s: float | None = None,
    time_scale: float = 1.0,
) -> Pacer:
    """The process's one pacer for a backend's `pacing_key`; made at the first call, whose arguments count.

    `parallel` is `Capabilities.parallel`: how many at once to begin with; `ceiling` the most, by default 32 for a
    remote server and `parallel` for a local one (its slots are all there is, a longer queue helps nobody). A later
    call with a larger `parallel` widens it.
    `requests_per_minute` is the user's own cap; without it the limit is found out. `spacing_s`: least seconds between
    two requests, by default what fits the kind of server (our own worker refuses nobody, and needs none).
    """
    with _pacers_lock:
        pacer = _pacers.get(key)
        if pacer is None:
            spacing = None if remote else LOCAL_SPACING_S
            if spacing_s is not None:
                spacing = spacing_s
            pacer = _pacers[key] = Pacer(
                key,
                RateLaw(cap=requests_per_minute, spacing=None if spacing is None else spacing * time_scale),
                start=parallel,
                ceiling=max(parallel, ceiling or (MOST_AT_ONCE if remote else parallel)),
                slow_s=None if remote else LOCAL_SLOW_S * time_scale,
                time_scale=time_scale,
            )
            return pacer
    if parallel > pacer.ceiling:
        pacer.allow(parallel)
    return pacer


def state_of(key: str) -> PacerState | None:
    """The state of the pacer for a backend's `pacing_key`; None before its first request."""
    with _pacers_lock:
        pacer = _pacers.get(key)
    return None if pacer is None else pacer.snapshot()


def forget_pacers() -> None:
    """Drop every pacer and what it learned (a test, or a user who changed a key)."""
    with _pacers_lock:
        _pacers.clear()


async def _wait(wake: asyncio.Future[None], delay: float | None) -> None:
    if delay is None:
        await wake
        return
    timer = wake.get_loop().call_later(delay, _set, wake)
    try:
        await wake
    finally:
        timer.cancel()


def _set(wake: asyncio.Future[None]) -> None:
    if not wake.done():
        wake.set_result(None)

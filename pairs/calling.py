"""One call after another, booked: paced, limited, retried, and in the ledger from before it is sent.

Each attempt is a row of its own. The caller closes the row of a good answer itself, in the transaction that stores
what the answer gave, so that a kill between the two costs one call and never a result.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from pairsmith.backends.errors import (
    BackendError,
    BadRequest,
    Cancelled,
    MalformedReply,
    NotReachable,
    RateLimited,
    TimedOut,
)
from pairsmith.backends.pacing import pacer_of
from pairsmith.backends.protocol import Backend, Completion, Request, Scored, ScoreRequest
from pairsmith.backends.registry import Settings

from .control import Control
from .doors import Switched
from .errors import JobStopped, UsageError
from .limits import Budget, Reservation
from .store.calls import begin_call, fail_call, finish_call
from .turns import GaveWay, Turns

if TYPE_CHECKING:
    from .store.driver import sqlite3
    from .store.workspace import Workspace

T = TypeVar("T", Completion, Scored)

_UNREADABLE_TRIES = 3
_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 30.0

Door = Callable[[], Awaitable[Backend]]
"""Gives the backend to use now; it may change between two calls."""


@dataclass(frozen=True, slots=True)
class Answered(Generic[T]):
    """A good answer whose call is still open in the books; pass it to `close`."""

    call_id: int
    answer: T
    backend: str
    model: str
    cost_micros: int

    @property
    def name(self) -> str:
        """BACKEND:MODEL, as provenance names it."""
        return f"{self.backend}:{self.model}"

    def close(self, conn: sqlite3.Connection, failure: str | None = None, detail: str | None = None) -> None:
        """Book the call as useful, or as failed where the answer turned out to be of no use."""
        finish_call(
            conn, self.call_id, self.answer, cost_micros=self.cost_micros, failure=failure, detail=detail
        )


class _Unsent(BackendError):
    """Carries a reason out of an admission that was not used: the pacer must not count it."""

    def __init__(self, why: Exception) -> None:
        super().__init__("not sent", reached=False)
        self.why = why


class Caller:
    """Makes the calls of one run."""

    def __init__(
        self,
        workspace: Workspace,
        run_id: int | None,
        budget: Budget,
        settings: Settings,
        *,
        prices: Mapping[str, tuple[float, float]] | None = None,
        patience_s: float = 300.0,
        on_wait: Callable[[str], None] = lambda text: None,
        control: Control | None = None,
    ) -> None:
        self._turns = Turns(control)
        self._workspace = workspace
        self._run_id = run_id
        self._budget = budget
        self._settings = settings
        self._prices = prices or {}
        self._patience_s = patience_s
        self._on_wait = on_wait
        self._last_good: float | None = None
        self._started = time.monotonic()
        self.doing: dict[str, int] = {}
        """Calls in flight by purpose."""

    async def complete(
        self, door: Door, request: Request, *, purpose: str, subject: str
    ) -> Answered[Completion]:
        """One completion. Raises BackendError (this request is hopeless), JobStopped (all are), LimitReached.

        BadRequest is the request's own: whoever made it may make it otherwise.
        """

        async def send(backend: Backend) -> Completion:
            return await backend.complete(request)

        return await self._call(door, request, send, purpose, subject)

    async def score(
        self, door: Door, request: ScoreRequest, *, purpose: str, subject: str
    ) -> Answered[Scored]:
        """One scoring request. Raises as `complete`."""

        async def send(backend: Backend) -> Scored:
            return await backend.score(request)

        return await self._call(door, request, send, purpose, subject)

    async def _call(
        self,
        door: Door,
        request: Request | ScoreRequest,
        send: Callable[[Backend], Awaitable[T]],
        purpose: str,
        subject: str,
    ) -> Answered[T]:
        unreadable = 0
        waits = 0
        while True:
            if await self._turns.may_start():
                self._last_good = time.monotonic()  # nobody was to answer during a pause
            try:
                return await self._attempt(door, request, send, purpose, subject)
            except GaveWay:
                continue
            except BackendError as error:
                if isinstance(error, BadRequest):
                    raise
                if isinstance(error, (MalformedReply, TimedOut)):
                    unreadable += 1
                    if unreadable >= _UNREADABLE_TRIES:
                        raise
                    continue
                if error.fatal:
                    raise JobStopped(error.message, error.advice) from error
                if not error.retryable:
                    raise
                if isinstance(error, RateLimited):
                    # The pacer of the backend's origin holds everybody back; another wait here would be twice.
                    self._give_up_after_patience(error)
                    continue
                waits += 1
                with contextlib.suppress(GaveWay):
                    await self._wait(error, waits)

    async def _wait(self, error: BackendError, waits: int) -> None:
        self._give_up_after_patience(error, waits)
        seconds = error.retry_after or min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2**waits) * random.uniform(
            0.75, 1.25
        )
        if waits > 1:
            self._on_wait(f"{error.message}: next try in {seconds:.0f} s")
        with self._turns.waiting():
            await asyncio.sleep(seconds / self._settings.time_scale)

    def _give_up_after_patience(self, error: BackendError, waits: int = 0) -> None:
        silent = time.monotonic() - (self._last_good or self._started)
        never_worked = self._last_good is None and isinstance(error, NotReachable) and waits > 1
        if never_worked or silent > self._patience_s:
            raise JobStopped(error.message, error.advice) from error

    async def _attempt(
        self,
        door: Door,
        request: Request | ScoreRequest,
        send: Callable[[Backend], Awaitable[T]],
        purpose: str,
        subject: str,
    ) -> Answered[T]:
        backend = await door()
        capabilities = await backend.capabilities()
        pacer = pacer_of(backend, self._settings, capabilities)
        try:
            async with contextlib.AsyncExitStack() as admission:
                with self._turns.waiting():
                    await admission.enter_async_context(pacer.admit())
                try:
                    if self._turns.halted:
                        raise GaveWay
                    if await door() is not backend:
                        raise Switched
                    price = await self._price(backend)
                    most = _most_tokens(request)
                    reservation = await self._budget.reserve(most, round(most * max(price)))
                except Exception as error:
                    raise _Unsent(error) from error
                return await self._send(backend, request, send, purpose, subject, reservation, price)
        except _Unsent as unsent:
            raise unsent.why from None

    async def _send(
        self,
        backend: Backend,
        request: Request | ScoreRequest,
        send: Callable[[Backend], Awaitable[T]],
        purpose: str,
        subject: str,
        reservation: Reservation,
        price: tuple[float, float],
    ) -> Answered[T]:
        tokens = micros = 0
        made = True
        self.doing[purpose] = self.doing.get(purpose, 0) + 1
        try:
            call_id = await self._begin(backend, request, purpose, subject)
            started = time.monotonic()
            try:
                answer = await send(backend)
            except BackendError as error:
                made = error.reached
                await self._fail(call_id, error, started)
                raise
            except asyncio.CancelledError:
                await asyncio.shield(self._fail(call_id, Cancelled("cancelled"), started))
                raise
            self._last_good = time.monotonic()
            usage = answer.usage
            tokens = usage.prompt_tokens + usage.completion_tokens
            micros = round(usage.prompt_tokens * price[0] + usage.completion_tokens * price[1])
            return Answered(call_id, answer, backend.name, backend.model, micros)
        finally:
            self.doing[purpose] -= 1
            await asyncio.shield(self._budget.settle(reservation, tokens, micros, made=made))

    async def _price(self, backend: Backend) -> tuple[float, float]:
        """Dollars for a million tokens, which is also micro-dollars for one."""
        name = f"{backend.name}:{backend.model}"
        if name in self._prices:
            return self._prices[name]
        known = (await backend.capabilities()).price_per_million
        if known is None and self._budget.money_limited and backend.remote:
            raise UsageError(
                f"the price of {name} is not known, so a limit in money cannot be kept",
                f'Put it into the recipe: [prices] "{name}" = [prompt, completion] dollars for a million tokens',
            )
        return known or (0.0, 0.0)

    async def _begin(
        self, backend: Backend, request: Request | ScoreRequest, purpose: str, subject: str
    ) -> int:
        return await self._workspace.awrite(
            lambda conn: begin_call(
                conn,
                run_id=self._run_id,
                purpose=purpose,
                subject=subject,
                backend=backend.name,
                model=backend.model,
                request=request,
            )
        )

    async def _fail(self, call_id: int, error: BackendError, started: float) -> None:
        latency = time.monotonic() - started
        await self._workspace.awrite(lambda conn: fail_call(conn, call_id, error, latency))


def _most_tokens(request: Request | ScoreRequest) -> int:
    """A bound for what a request can cost, prompt and completion: hardly any text has over one token for two bytes."""
    texts = [message.content for message in request.messages] + [request.prompt or ""]
    generated = 3
    if isinstance(request, Request):
        generated = request.max_tokens or 2048
    else:
        texts += request.suffixes
    return sum(len(text.encode("utf-8", "replace")) for text in texts) // 2 + 64 + generated

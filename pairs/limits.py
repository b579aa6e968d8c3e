"""Limits of one start of a job: calls, tokens, money, minutes. None is exceeded, but minutes by the calls in flight."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What one start may spend; None is no limit. Tokens are prompt and completion together."""

    calls: int | None = None
    tokens: int | None = None
    cost: float | None = None
    minutes: float | None = None


class LimitReached(Exception):
    """The next call would go over a limit. `what` says which, for the user."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


@dataclass(slots=True)
class Reservation:
    """What a call in flight may cost at most."""

    tokens: int
    micros: int


class Budget:
    """Spends against `Limits`. A call reserves the most it can cost before it is sent and settles afterwards."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._started = clock()
        self._calls = 0
        self._tokens = 0
        self._micros = 0
        self._reserved: list[Reservation] = []
        self._changed = asyncio.Condition()

    @property
    def money_limited(self) -> bool:
        """Whether what a call costs must be known."""
        return self._limits.cost is not None

    def minutes_left(self) -> float | None:
        """Minutes until the limit; None without one."""
        if self._limits.minutes is None:
            return None
        return self._limits.minutes - (self._clock() - self._started) / 60

    def check(self) -> None:
        """Raises LimitReached where not even one more call may start."""
        limits = self._limits
        if limits.calls is not None and self._calls >= limits.calls:
            raise LimitReached(_amount(f"{limits.calls}", "call"))
        left = self.minutes_left()
        if left is not None and left <= 0:
            raise LimitReached(_amount(f"{limits.minutes:g}", "minute"))

    async def reserve(self, tokens: int, micros: int) -> Reservation:
        """Take room for one call, waiting for others to settle where that may give room. Raises LimitReached."""
        async with self._changed:
            while True:
                self.check()
                over = self._over(tokens, micros)
                if over is None:
                    self._calls += 1
                    reservation = Reservation(tokens, micros)
                    self._reserved.append(reservation)
                    return reservation
                if not self._reserved:
                    raise LimitReached(over)
                await self._changed.wait()

    def _over(self, tokens: int, micros: int) -> str | None:
        held_tokens = sum(r.tokens for r in self._reserved)
        held_micros = sum(r.micros for r in self._reserved)
        limits = self._limits
        if limits.tokens is not None and self._tokens + held_tokens + tokens > limits.tokens:
            return _amount(f"{limits.tokens}", "token")
        if limits.cost is not None and self._micros + held_micros + micros > limits.cost * 1e6:
            return f"${limits.cost:g}"
        return None

    async def settle(self, reservation: Reservation, tokens: int, micros: int, *, made: bool = True) -> None:
        """Give the room back and book what the call really cost; `made` False: it never left this process."""
        async with self._changed:
            self._reserved.remove(reservation)
            self._tokens += tokens
            self._micros += micros
            if not made:
                self._calls -= 1
            self._changed.notify_all()


def _amount(number: str, noun: str) -> str:
    return f"{number} {noun}" if number == "1" else f"{number} {noun}s"

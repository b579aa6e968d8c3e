"""What a pause or a stop means for calls that have not been sent: those that wait for their turn give it up."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

from .control import Control
from .limits import LimitReached


class GaveWay(Exception):
    """The call was not sent, for the job is paused or stopping."""


class Turns:
    """One for each caller. Without a control nothing is ever held."""

    def __init__(self, control: Control | None) -> None:
        self._control = control
        self._go = asyncio.Event()
        self._waiting: set[asyncio.Task[Any]] = set()
        self._called_back: set[asyncio.Task[Any]] = set()
        if control is not None:
            control.listen(self._heard)
        self._heard()

    @property
    def halted(self) -> bool:
        """Whether no call may start now."""
        return self._control is not None and (self._control.paused or self._control.stopping)

    async def may_start(self) -> bool:
        """Wait while the job is paused; True where that took a while. Raises LimitReached where it is stopping."""
        paused = False
        while self._control is not None:
            if self._control.stopping:
                raise LimitReached("time that you gave it")
            if not self._control.paused:
                break
            paused = True
            await self._go.wait()
        return paused

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """A stretch in which nothing is in flight yet: a pause or a stop ends it. Raises GaveWay then."""
        task = asyncio.current_task()
        assert task is not None
        self._waiting.add(task)
        try:
            yield
        except asyncio.CancelledError:
            # Only our own call back is answered: whoever else cancelled the task meant it.
            if task in self._called_back and task.uncancel() == 0:
                raise GaveWay from None
            raise
        finally:
            self._waiting.discard(task)
            self._called_back.discard(task)

    def _heard(self) -> None:
        if self._control is not None and self._control.paused and not self._control.stopping:
            self._go.clear()
        else:
            self._go.set()
        if self.halted:
            for task in self._waiting - self._called_back:
                self._called_back.add(task)
                task.cancel()

"""Pause, resume and stop for a running job, from the same event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Control:
    """What a person asks of a job. A pause lets the calls in flight finish; a stop does so and then ends the job."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()
        self._heard: list[Callable[[], None]] = []
        self.paused = False
        self.stopping = False

    def pause(self) -> None:
        """Start no more calls for now."""
        self._set(paused=True)

    def resume(self) -> None:
        """Go on after a pause."""
        self._set(paused=False)

    def stop(self) -> None:
        """Start no more calls, finish and keep what is paid for, end."""
        self.stopping = True
        self._tell()

    def _set(self, *, paused: bool) -> None:
        self.paused = paused
        self._tell()

    def listen(self, heard: Callable[[], None]) -> None:
        """Call this at once on every pause, resume and stop."""
        self._heard.append(heard)

    def _tell(self) -> None:
        self._changed.set()
        for heard in self._heard:
            heard()

    async def change(self) -> None:
        """Wait until somebody asks for something."""
        await self._changed.wait()
        self._changed.clear()

"""What others do meanwhile: pairs that a running job makes, verdicts that another process gives."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from pairsmith.pairs.store.filters import PairFilter
from pairsmith.pairs.store.paging import ids_after
from pairsmith.pairs.store.review_rows import data_version, newest_id

from .review_base import ReviewBase

if TYPE_CHECKING:
    from array import array

    from pairsmith.pairs.store.driver import sqlite3

EVERY_S = 1.0
_QUIET_S = 2.0


class Watching(ReviewBase):
    """Looks at the workspace once a second; reads only where somebody committed something."""

    def __init__(self) -> None:
        super().__init__()
        self._newest = 0
        self._last_own = 0.0
        self._watching: asyncio.Task[None] | None = None

    def wrote(self) -> None:
        """A commit of our own: it is on the screen already."""
        self._last_own = time.monotonic()

    def begin_watching(self) -> None:
        """From now on."""
        if self._watching is None:
            self._watching = asyncio.get_running_loop().create_task(self._guarded(self._watch()))

    def stop_watching(self) -> None:
        """The screen is going away."""
        if self._watching is not None:
            self._watching.cancel()

    async def _watch(self) -> None:
        conn = await asyncio.to_thread(self.workspace.connect)
        try:
            seen = await asyncio.to_thread(data_version, conn)
            behind = False
            while True:
                await asyncio.sleep(EVERY_S)
                now = await asyncio.to_thread(data_version, conn)
                changed, seen = now != seen, now
                if changed and not self.reading:
                    await self.take_new()
                behind = behind or changed
                if behind and time.monotonic() - self._last_own > _QUIET_S and not self.reading:
                    behind = False
                    await self.queue.refresh_all()
                    self.list.refresh()
                    self.paint()
        finally:
            await asyncio.to_thread(conn.close)

    async def take_new(self) -> None:
        """Put pairs that came since into the list; what is on the screen stays where it is."""
        chosen, known, queue = self.chosen, self._newest, self.queue

        def work(conn: sqlite3.Connection) -> tuple[array[int], int]:
            return ids_after(conn, chosen, known), newest_id(conn)

        new, newest = await self.workspace.aread(work)
        if chosen != self.chosen or queue is not self.queue or known != self._newest:
            return
        self._newest = newest
        if not new:
            return
        front = self.order.by == "newest"
        at_end = self.cursor >= len(queue)
        queue.add_new(new[::-1] if front else new, front=front)
        if front and not at_end:
            self.cursor += len(new)
            self.list.shift(len(new))
        await queue.count()
        self.go(self.cursor if not (front and at_end) else 0)
        self.list.refresh()

    async def note_newest(self, chosen: PairFilter) -> None:
        """Remember how far the list reaches; call before it is read."""
        self._newest = await self.workspace.aread(newest_id)

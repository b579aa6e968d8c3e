"""Near-duplicates of the pair on the screen: found by an index that a thread builds while nobody waits for it."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

from pairsmith.pairs.store.instructions import joined
from pairsmith.pairs.store.review_rows import ReviewRow, review_rows

from .review_base import ReviewBase
from .review_pane import NearLine

if TYPE_CHECKING:
    from pairsmith.pairs.near_pairs import NearPair, NearPairs

    from .near import NearScreen

UNASKED = 3_000
"""Workspaces of at most so many pairs are indexed without being asked: it takes about a second."""
_SHOWN_FROM = 0.5
_SETTLE_S = 0.25


class Likeness(ReviewBase):
    """d, and the line that names the nearest pair."""

    def __init__(self) -> None:
        super().__init__()
        self._index: NearPairs | None = None
        self._indexing: asyncio.Task[None] | None = None
        self._left = threading.Event()
        self._looking_up = False

    def index_if_small(self) -> None:
        """Begin to index a small workspace, when the screen has been quiet for a moment."""
        if 0 < self.every <= UNASKED and self._index is None:
            self._indexing = self.start(self._build(quiet=True))

    async def _build(self, *, quiet: bool) -> None:
        if quiet:
            await asyncio.sleep(_SETTLE_S)
        from pairsmith.pairs.near_pairs import NearPairs

        index = NearPairs(self.workspace)
        loop = asyncio.get_running_loop()

        def progress(count: int) -> None:
            if not quiet:
                loop.call_soon_threadsafe(self.say_plain, f"comparing: {count:,} pairs read …")

        await asyncio.to_thread(index.build, self._left.is_set, progress)
        if index.built:
            self._index = index
            self.look_up()

    def let_go(self) -> None:
        """Let the thread that builds the index end."""
        self._left.set()

    def look_up(self) -> None:
        """Find the nearest pair of the one on the screen, if the index is there and it is not known yet."""
        row = self.current
        if self._index is None or row is None or row.version_id in self.near or self._looking_up:
            return
        self._looking_up = True
        self.start(self._look_up(row))

    async def _look_up(self, row: ReviewRow) -> None:
        try:
            await asyncio.sleep(0.1)
            if self.current is not row:
                return
            near, rows = await self._neighbours(row, _SHOWN_FROM, 1)
            best = next(iter(zip(near, rows, strict=False)), None)
            if len(self.near) > 1000:
                self.near.clear()
            self.near[row.version_id] = (
                None
                if best is None
                else NearLine(best[1].id, best[0].score, best[1].verdict, best[1].instruction)
            )
            if self.current is row and best is not None:
                self.paint_pair()
        finally:
            self._looking_up = False
        if self.current is not row:
            self.look_up()

    async def _neighbours(
        self, row: ReviewRow, at_least: float, limit: int
    ) -> tuple[list[NearPair], list[ReviewRow]]:
        index = self._index
        assert index is not None
        text = joined(row.instruction, row.input)
        found = await asyncio.to_thread(lambda: index.nearest(row.id, text, at_least=at_least, limit=limit))
        rows = await self.workspace.aread(lambda conn: review_rows(conn, [near.pair_id for near in found]))
        there = {one.id for one in rows}
        return [near for near in found if near.pair_id in there], rows

    def reindex(self, row: ReviewRow | None, pair_id: int) -> None:
        """A pair says something else now, or (without a row) is gone."""
        if self._index is not None:
            self._index.update(pair_id, None if row is None else joined(row.instruction, row.input))

    def action_near(self) -> None:
        """Near-duplicates beside the pair."""
        if self.current is None:
            self.say_plain("There is no pair here to compare")
            return
        self.start(self._near())

    async def _near(self) -> None:
        if self._index is None:
            if self._indexing is None or self._indexing.done():
                self._indexing = self.start(self._build(quiet=False))
            self.say_plain("comparing with all pairs …")
            await asyncio.wait({self._indexing})
        row = self.current
        if row is None or self._index is None:
            return
        near, rows = await self._neighbours(row, 0.3, 12)
        if not near:
            self.say_plain(f"Nothing is like #{row.id:03}: no instruction has a likeness of 0.3 or more")
            return
        from .near import NearScreen

        def leave(pair_id: int | None) -> None:
            if pair_id is not None:
                self.start(self._go_to(pair_id))

        screen: NearScreen = NearScreen(row, list(zip(near, rows, strict=True)))
        self.app.push_screen(screen, leave)

    async def _go_to(self, pair_id: int) -> None:
        await self.queue.refresh([pair_id])
        self.show_pair(pair_id)

    def show_pair(self, pair_id: int) -> None:
        """Bring a pair under the cursor (the screen's)."""
        raise NotImplementedError

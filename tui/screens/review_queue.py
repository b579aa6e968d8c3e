"""The pairs under review: an order of ids, and the rows around where one is, read ahead off the event loop."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from pairsmith.pairs.store.filters import PairFilter
from pairsmith.pairs.store.paging import Order, snapshot_ids
from pairsmith.pairs.store.review_rows import ReviewRow, review_rows, topic_paths
from pairsmith.pairs.store.stats import count_verdicts

if TYPE_CHECKING:
    from pairsmith.pairs.store.driver import sqlite3
    from pairsmith.pairs.store.workspace import Workspace

FIRST = 300
"""Ids of the short snapshot that is shown until the whole one is there."""
AHEAD = 120
"""Rows that are read on each side of the cursor."""
KEPT = 900
VerdictName = Literal["accepted", "rejected", "undecided"]


class ReviewQueue:
    """Use from the event loop. `on_rows` is called after rows arrived."""

    def __init__(self, workspace: Workspace, on_rows: Callable[[], None]) -> None:
        self.workspace = workspace
        self.ids: array[int] = array("q")
        self.complete = False
        """Whether `ids` is the whole filter yet."""
        self.newest = 0
        """The greatest id that was read into `ids`."""
        self.topics: dict[int, tuple[str, ...]] = {}
        self.tally: dict[str, int] = {"undecided": 0, "accepted": 0, "rejected": 0}
        self._rows: dict[int, ReviewRow] = {}
        self._waiting: dict[int, int] = {}
        self._on_rows = on_rows
        self._wanted: range | None = None
        self._reading: asyncio.Task[None] | None = None
        self._generation = 0

    def __len__(self) -> int:
        return len(self.ids)

    def at(self, position: int) -> ReviewRow | None:
        """The row at a position; None where it is not read yet or there is none."""
        if not 0 <= position < len(self.ids):
            return None
        return self._rows.get(self.ids[position])

    def row(self, pair_id: int) -> ReviewRow | None:
        """The row of a pair, if it is at hand."""
        return self._rows.get(pair_id)

    def position(self, pair_id: int) -> int | None:
        """Where a pair stands in this order."""
        try:
            return self.ids.index(pair_id)
        except ValueError:
            return None

    def waiting_at(self, position: int) -> bool:
        """Whether a verdict on the pair there is on its way to the disk."""
        return bool(self._waiting) and self.ids[position] in self._waiting

    def begin_waiting(self, pair_id: int) -> None:
        """A verdict on this pair was sent to the writer."""
        self._waiting[pair_id] = self._waiting.get(pair_id, 0) + 1

    def end_waiting(self, pair_id: int) -> None:
        """It is on the disk, or failed."""
        left = self._waiting.get(pair_id, 0) - 1
        if left > 0:
            self._waiting[pair_id] = left
        else:
            self._waiting.pop(pair_id, None)

    async def first(self, chosen: PairFilter, order: Order) -> None:
        """The first pairs of a filter, quickly; `whole` gives the rest."""
        self._generation += 1
        generation = self._generation
        limit = FIRST if order.by in ("newest", "oldest") else None

        def work(
            conn: sqlite3.Connection,
        ) -> tuple[array[int], int, list[ReviewRow], dict[int, tuple[str, ...]]]:
            ids = snapshot_ids(conn, chosen, order, limit=limit)
            return ids, max(ids, default=0), review_rows(conn, ids[:60]), topic_paths(conn)

        ids, newest, rows, topics = await self.workspace.aread(work)
        if generation != self._generation:
            return
        self.ids, self.newest, self.topics = ids, newest, topics
        self.complete = limit is None or len(ids) < limit
        self._rows = {row.id: row for row in rows}

    async def whole(self, chosen: PairFilter, order: Order) -> bool:
        """The whole filter, in the order of the moment; False where something newer was asked for meanwhile."""
        generation = self._generation
        if not self.complete:

            def work(conn: sqlite3.Connection) -> tuple[array[int], int]:
                ids = snapshot_ids(conn, chosen, order)
                return ids, max(ids, default=0)

            ids, newest = await self.workspace.aread(work)
            if generation != self._generation:
                return False
            self.ids, self.newest, self.complete = ids, newest, True
        return True

    async def count(self) -> None:
        """Count verdicts over the whole workspace."""
        self.tally = await self.workspace.aread(count_verdicts)

    def look_at(self, position: int, visible: range) -> None:
        """Read what is missing around a position, the visible lines first."""
        low, high = min(position - AHEAD, visible.start), max(position + AHEAD, visible.stop)
        self._wanted = range(max(0, low), min(len(self.ids), high))
        if self._reading is None and self._missing(visible, position):
            self._reading = asyncio.get_running_loop().create_task(self._read())

    def _missing(self, visible: range, position: int) -> bool:
        near = (visible.start, visible.stop - 1, position, position + AHEAD // 2, position - AHEAD // 2)
        ends = (p for p in near if 0 <= p < len(self.ids))
        return any(self.ids[p] not in self._rows for p in ends)

    async def _read(self) -> None:
        try:
            while True:
                wanted, ids = self._wanted, self.ids
                if wanted is None:
                    return
                missing = [ids[p] for p in wanted if p < len(ids) and ids[p] not in self._rows]
                if not missing:
                    return
                middle = missing if len(missing) <= 2 * AHEAD else missing[: 2 * AHEAD]
                found = await self._rows_of(middle)
                self._keep(found, wanted)
                for pair_id in set(middle) - {row.id for row in found}:
                    self._drop(pair_id)
                self._on_rows()
                if self._wanted == wanted:
                    return
        finally:
            self._reading = None

    async def _rows_of(self, pair_ids: list[int]) -> list[ReviewRow]:
        return await self.workspace.aread(lambda conn: review_rows(conn, pair_ids))

    def _keep(self, found: list[ReviewRow], wanted: range) -> None:
        for row in found:
            if row.id not in self._waiting:
                self._rows[row.id] = row
        if len(self._rows) > KEPT:
            near = {self.ids[p] for p in wanted if p < len(self.ids)}
            self._rows = {pair_id: row for pair_id, row in self._rows.items() if pair_id in near}

    def _drop(self, pair_id: int) -> None:
        position = self.position(pair_id)
        if position is not None:
            del self.ids[position]
        self._rows.pop(pair_id, None)

    def set_verdict(self, pair_id: int, verdict: VerdictName) -> None:
        """Show a human's verdict on a pair, and count it."""
        row = self._rows.get(pair_id)
        if row is None or row.verdict == verdict:
            return
        self.tally[row.verdict] -= 1
        self.tally[verdict] += 1
        by = None if verdict == "undecided" else "human"
        self._rows[pair_id] = replace(row, verdict=verdict, verdict_by=by, decision=None)

    async def refresh(self, pair_ids: Iterable[int]) -> None:
        """Read pairs anew that something changed."""
        some = list(pair_ids)
        found = await self._rows_of(some)
        for row in found:
            self._rows[row.id] = row
        for pair_id in set(some) - {row.id for row in found}:
            self._drop(pair_id)

    async def refresh_all(self) -> None:
        """Read everything at hand anew, and count."""
        await self.refresh(list(self._rows))
        await self.count()

    def insert(self, position: int, pair_id: int) -> None:
        """Put a pair into the order (an undo brought it back)."""
        self.ids.insert(position, pair_id)

    def add_new(self, ids: array[int], *, front: bool) -> None:
        """Pairs that came since."""
        self.ids = ids + self.ids if front else self.ids + ids

"""Deciding and taking back. The next pair is painted at once; what is shown as saved is on the disk."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pairsmith.pairs.store.journal import Entry, redo, undo
from pairsmith.pairs.store.paging import count_pairs
from pairsmith.pairs.store.review_rows import ReviewRow
from pairsmith.pairs.store.stats import Stats, read_stats
from pairsmith.pairs.store.verdicts import decide

from ..text import line
from ..widgets.line import Piece
from ..widgets.pair_list import MARKS, STYLES
from .review_queue import VerdictName
from .review_watch import Watching

if TYPE_CHECKING:
    from pairsmith.pairs.store.driver import sqlite3


@dataclass(slots=True)
class Act:
    """A verdict of this sitting: where it was given, so that undo can go there before the store answers."""

    pair_id: int
    position: int
    saved: asyncio.Future[bool] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Deciding(Watching):
    """a, r, space, u, U."""

    def __init__(self) -> None:
        super().__init__()
        self._acts: list[Act] = []

    def go(self, position: int) -> None:
        """Go to a position; whoever comes to the end of the filter is told what was done."""
        before = self.cursor
        super().go(position)
        if before < self.cursor:
            self._tell_end()

    def _tell_end(self) -> None:
        if 0 < self.cursor == len(self.queue):
            self.start(self._sum_up())

    def action_accept(self) -> None:
        """Accept and advance."""
        self.decide("accepted")

    def action_reject(self) -> None:
        """Reject and advance."""
        self.decide("rejected")

    def action_skip(self) -> None:
        """On to the next undecided pair that is at hand."""
        position = self.cursor + 1
        while (row := self.queue.at(position)) is not None and row.verdict != "undecided":
            position += 1
        self.go(position)

    def decide(self, verdict: VerdictName) -> None:
        """Give the pair at the cursor a verdict and go on."""
        row, position = self.current, self.cursor
        if row is None:
            self.say(Piece("There is no pair here to decide", "quiet"))
            return
        if self.workspace.readonly:
            self.complain("this workspace is open for reading only")
            return
        act = Act(row.id, position)
        self._acts.append(act)
        self.queue.begin_waiting(row.id)
        self.start(self._save(row, act, verdict))
        self.go(position + 1)
        self.list.repaint(position)

    async def _save(self, row: ReviewRow, act: Act, verdict: VerdictName) -> None:
        known = row.decision
        reason = known.reason if known and known.verdict == verdict and known.by == "human" else ""
        tags, note = (known.tags, known.note) if known else ((), "")
        try:
            done = await self.workspace.awrite(
                lambda conn: decide(conn, [row.id], verdict, reason=reason, tags=tags, note=note)
            )
        except BaseException:
            self.queue.end_waiting(row.id)
            if act in self._acts:
                self._acts.remove(act)
            act.saved.set_result(False)
            self.list.repaint(act.position)
            self.go(act.position)
            raise
        self.wrote()
        self.queue.end_waiting(row.id)
        self.queue.set_verdict(row.id, verdict)
        if tags or note or reason:
            await self.queue.refresh([row.id])
        self.pace.decided(verdict, done.entry_id)
        act.saved.set_result(True)
        self.list.repaint(act.position)
        self.say(
            Piece(f"{MARKS[verdict]} ", STYLES[verdict]), Piece(f"#{row.id:03} {verdict} · u takes it back")
        )
        if self.cursor == act.position or self.cursor >= len(self.queue):
            self.paint_pair()

    def action_undo(self) -> None:
        """Take the newest act back, whatever and whenever it was."""
        if self.workspace.readonly:
            self.complain("this workspace is open for reading only")
            return
        act = self._acts.pop() if self._acts else None
        if act is not None and act.position < len(self.queue) and self.queue.ids[act.position] == act.pair_id:
            self.go(act.position)
        self.start(self._undo(act))

    async def _undo(self, act: Act | None) -> None:
        if act is not None and not await act.saved:
            return
        entry = await self.workspace.awrite(undo)
        if entry is None:
            self.say(Piece("Nothing to undo", "quiet"))
            return
        await self._moved(entry, f"undone: {line(entry.label, 60)} · U does it again")

    def action_redo(self) -> None:
        """Do what was undone again."""
        if self.workspace.readonly:
            self.complain("this workspace is open for reading only")
            return
        self.start(self._redo())

    async def _redo(self) -> None:
        entry = await self.workspace.awrite(redo)
        if entry is None:
            self.say(Piece("Nothing to redo", "quiet"))
            return
        await self._moved(entry, f"done again: {line(entry.label, 60)} · u takes it back")

    async def _moved(self, entry: Entry, said: str) -> None:
        """Show what an undo or redo changed: the pair it was about comes under the cursor."""
        self.pace.moved(entry)
        await self.changed(entry.focus_pair_id)
        if entry.left_alone:
            said += f" · {entry.left_alone:,} left alone, changed since"
        self.say(Piece(said))

    async def changed(self, pair_id: int | None) -> None:
        """Show a pair that was changed under the cursor, or everything anew where many were."""
        if pair_id is None:
            await self.queue.refresh_all()
            self.near.clear()
            self.list.reset(self.cursor)
            self.go(self.cursor)
            self._tell_end()
            return
        before = self.queue.row(pair_id)
        await self.queue.refresh([pair_id])
        after = self.queue.row(pair_id)
        if after is None:
            self.list.reset(min(self.cursor, len(self.queue)))
            self.go(self.cursor)
            return
        if before is not None:
            self.queue.tally[before.verdict] -= 1
            self.queue.tally[after.verdict] += 1
        else:
            await self.queue.count()
        self.near.pop(after.version_id, None)
        self.show_pair(pair_id)

    def show_pair(self, pair_id: int) -> None:
        """Bring a pair under the cursor; one that the filter does not find joins the list here."""
        here = self.cursor
        at_cursor = here < len(self.queue) and self.queue.ids[here] == pair_id
        position = here if at_cursor else self.queue.position(pair_id)
        if position is None:
            position = min(here, len(self.queue))
            self.queue.insert(position, pair_id)
            self.list.reset(position)
        self.go(position)
        self.list.repaint(position)

    async def _sum_up(self) -> None:
        chosen = self.chosen
        saving = [act.saved for act in self._acts if not act.saved.done()]
        if saving:  # the verdict that led here is to be among what is counted
            await asyncio.wait(saving)

        def look(conn: sqlite3.Connection) -> tuple[Stats, int]:
            may_hold = chosen.verdict in (None, "undecided", "not-rejected")
            return read_stats(conn), count_pairs(
                conn, replace(chosen, verdict="undecided")
            ) if may_hold else 0

        stats, left = await self.workspace.aread(look)
        if chosen != self.chosen:
            return
        self._undecided_here = left
        self._topics_done = [
            (topic.name or "no topic", topic.accepted, topic.rejected)
            for topic in stats.topics
            if topic.accepted or topic.rejected
        ]
        self.paint_pair()

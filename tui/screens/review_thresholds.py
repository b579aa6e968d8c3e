"""`t`: the thresholds, and what is done with the line that was drawn there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pairsmith.pairs.store.scores import judges

from ..text import line
from ..widgets.line import Piece
from .review_base import ReviewBase

if TYPE_CHECKING:
    from .thresholds import Chosen


class Thresholds(ReviewBase):
    """t."""

    async def changed(self, pair_id: int | None) -> None:
        """Show what changed (the screen's)."""
        raise NotImplementedError

    def action_thresholds(self) -> None:
        """Thresholds on histograms."""
        self.start(self._thresholds())

    async def _thresholds(self) -> None:
        from pairsmith.pairs.store.score_columns import read_scored
        from pairsmith.pairs.thresholds import kept_thresholds

        from .thresholds import ThresholdScreen

        known = await self.workspace.aread(judges)
        judge = self.session.judge if self.session.judge in known else known[0] if known else None
        if judge is None:
            self.say_plain("No scores yet: judge first, then thresholds can be drawn on them")
            return
        scored = await self.workspace.aread(lambda conn: read_scored(conn, judge))
        if not scored.values:
            self.say_plain(f"{line(judge, 40)} has scored no pair yet")
            return
        kept_judge, kept = await self.workspace.aread(kept_thresholds)

        def leave(chosen: Chosen | None) -> None:
            if chosen is not None:
                self.start(self._draw(judge, chosen))

        self.app.push_screen(
            ThresholdScreen(self.workspace, scored, kept if kept_judge == judge else ()), leave
        )

    async def _draw(self, judge: str, chosen: Chosen) -> None:
        from pairsmith.pairs.filtering import filter_pairs
        from pairsmith.pairs.thresholds import keep_thresholds

        await self.workspace.awrite(lambda conn: keep_thresholds(conn, judge, chosen.thresholds))
        if not chosen.reject:
            self.say_plain("The line is kept: o orders by it, least certain first")
            return
        report = await asyncio.to_thread(lambda: filter_pairs(self.workspace, chosen.where, judge=judge))
        await self.changed(None)
        self.say(Piece(f"{report.changed:,} pairs rejected by rule · u takes all of it back"), seconds=5.0)

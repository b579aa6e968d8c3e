"""What the review asks in boxes: find, filter, order, bulk, note, statistics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from pairsmith.pairs.store.filters import PairFilter
from pairsmith.pairs.store.paging import Order, count_pairs
from pairsmith.pairs.store.scores import attributes, judges
from pairsmith.pairs.store.verdicts import VerdictName, all_tags, decide

from ..text import line
from ..widgets.line import Piece
from ..widgets.lines import Row
from .review_base import ReviewBase
from .review_status import filter_words, order_words

if TYPE_CHECKING:
    from pairsmith.pairs.store.driver import sqlite3

    from .choose import Values

VERDICTS = (
    ("undecided", "undecided"),
    ("any", None),
    ("accepted", "accepted"),
    ("rejected", "rejected"),
    ("decided", "decided"),
    ("not rejected", "not-rejected"),
)
_ANY = ("any", None)


class Forms(ReviewBase):
    """/ f o b n s."""

    async def load(self) -> None:
        """Read the filter (the screen's)."""
        raise NotImplementedError

    async def changed(self, pair_id: int | None) -> None:
        """Show what changed (the screen's)."""
        raise NotImplementedError

    def show(self, chosen: PairFilter, order: Order | None = None) -> None:
        """Show another filter or order, from its first pair."""
        self.chosen, self.order = chosen, order or self.order
        self.start(self.load())

    def action_find(self) -> None:
        """Search; what is found is a filter."""
        from .search_box import SearchScreen

        def found(text: str | None) -> None:
            if text is not None and text != self.chosen.text:
                self.show(replace(self.chosen, text=text))

        self.app.push_screen(SearchScreen(self.workspace, self.chosen.text), found)

    def action_filter(self) -> None:
        """Choose which pairs are shown."""
        self.start(self._filter())

    async def _filter(self) -> None:
        from .choose import ChooseScreen, field

        tags = await self.workspace.aread(all_tags)
        now = self.chosen
        topics = sorted(self.queue.topics.items(), key=lambda one: one[1])
        fields = [
            field("verdict", "verdict", VERDICTS, now.verdict),
            field("decided_by", "decided by", (_ANY, ("hand", "human"), ("rule", "rule")), now.decided_by),
            field(
                "topic_id", "topic", (_ANY, *((line(" › ".join(p), 50), t) for t, p in topics)), now.topic_id
            ),
            field(
                "origin",
                "origin",
                (_ANY, ("generated", "generated"), ("imported", "imported"), ("by hand", "human")),
                now.origin,
            ),
            field("edited", "edited", (_ANY, ("yes", True), ("no", False)), now.edited),
            field(
                "scored",
                "judged",
                (_ANY, ("scored", "scored"), ("judge failed", "failed"), ("not scored", "not scored")),
                now.scored,
            ),
            field("tag", "tag", (_ANY, *((f"#{line(tag, 40)}", tag) for tag in tags)), now.tag),
            field(
                "text",
                "search",
                (_ANY_TEXT, (f"“{line(now.text, 40)}”", now.text))[: 1 + bool(now.text)],
                now.text,
            ),
        ]

        async def summary(values: Values) -> Sequence[Row]:
            count = await self.workspace.aread(partial(count_pairs, chosen=PairFilter(**values)))
            return [(Piece(f"  {count:,} pair{'s' if count != 1 else ''}"),)]

        def chosen(values: Values | None) -> None:
            if values is not None:
                self.show(PairFilter(**values))

        self.app.push_screen(ChooseScreen("Which pairs", fields, summary), chosen)

    def action_order(self) -> None:
        """Choose the order."""
        self.start(self._order())

    async def _order(self) -> None:
        from .choose import ChooseScreen, field

        judge, names, line_judge, kept = await self.workspace.aread(
            partial(_order_material, self.session.judge)
        )
        options: list[tuple[str, Order]] = [("newest first", Order()), ("oldest first", Order("oldest"))]
        if kept:
            options.append(("least certain first", Order("least certain", judge=line_judge, thresholds=kept)))
        for name in names:
            options += [
                (order_words(o), o) for o in (Order("score", judge, name), Order("score", judge, name, True))
            ]

        async def summary(values: Values) -> Sequence[Row]:
            if not names:
                return [(Piece("  no scores yet: judge first to order by them", "quiet"),)]
            if not kept:
                return [(Piece("  least certain first: t draws the line that it is measured from", "quiet"),)]
            return [(Piece(f"  scores of {line(judge, 50)}", "quiet"),)]

        def chosen(values: Values | None) -> None:
            if values is not None and values["order"] != self.order:
                self.show(self.chosen, values["order"])

        fields = [field("order", "order", options, self.order)]
        self.app.push_screen(ChooseScreen("In which order", fields, summary), chosen)

    def action_bulk(self) -> None:
        """Decide all pairs of the filter, after saying how many these are."""
        if self.workspace.readonly:
            self.complain("this workspace is open for reading only")
            return
        from .choose import ChooseScreen, Field, field

        acts = (("accept all", "accepted"), ("reject all", "rejected"), ("make all undecided", "undecided"))
        fields = [
            Field("verdict", "what", acts),
            field("hand", "decided by hand", (("leave them", False), ("change them too", True)), False),
        ]
        self.app.push_screen(
            ChooseScreen(
                f"Bulk: every pair of “{filter_words(self.chosen)}”",
                fields,
                self._bulk_preview,
                hint="← → what   enter does it, in one step for u   esc leaves",
                needs_summary=True,
            ),
            self._bulk_chosen,
        )

    async def _bulk_preview(self, values: Values) -> Sequence[Row]:
        from pairsmith.pairs.store.bulk import count_bulk

        verdict, human = values["verdict"], values["hand"]
        changed = await self.workspace.aread(lambda conn: count_bulk(conn, self.chosen, verdict, human=human))
        every = await self.workspace.aread(lambda conn: count_pairs(conn, self.chosen))
        return [
            (Piece(f"  {changed:,} of {every:,} pairs become {verdict}", "strong"),),
            (Piece("  the others are that already, or are left alone", "quiet"),),
        ]

    def _bulk_chosen(self, values: Values | None) -> None:
        if values is not None:
            self.start(self._bulk(values["verdict"], values["hand"]))

    async def _bulk(self, verdict: VerdictName, human: bool) -> None:
        from pairsmith.pairs.store.bulk import decide_bulk

        chosen = self.chosen
        done = await self.workspace.awrite(lambda conn: decide_bulk(conn, chosen, verdict, human=human))
        await self.changed(None)
        self.say(Piece(f"{done.changed:,} pairs {verdict} · u takes all of it back"), seconds=5.0)

    def action_note(self) -> None:
        """A reason, tags and a note on the verdict."""
        row = self.current
        if row is None:
            self.say_plain("There is no pair here to note on")
            return
        if self.workspace.readonly:
            self.complain("this workspace is open for reading only")
            return
        from .note import Noted, NoteScreen

        async def keep(noted: Noted) -> None:
            await self.workspace.awrite(
                lambda conn: decide(
                    conn, [row.id], noted.verdict, reason=noted.reason, tags=noted.tags, note=noted.note
                )
            )

        async def show(noted: Noted) -> None:
            await self.changed(row.id)
            self.say_plain(f"#{row.id:03} {noted.verdict}, with your words")

        def stored(noted: Noted | None) -> None:
            if noted is not None:
                self.start(show(noted))

        self.app.push_screen(NoteScreen(row, keep), stored)

    def action_statistics(self) -> None:
        """Pace, rates and what is left."""
        self.start(self._statistics())

    async def _statistics(self) -> None:
        from pairsmith.pairs.store.stats import read_stats

        from .statistics import StatisticsScreen

        stats = await self.workspace.aread(read_stats)
        self.app.push_screen(StatisticsScreen(stats, self.pace, max(0, len(self.queue) - self.cursor)))


_ANY_TEXT: tuple[str, Any] = ("any", "")


def _order_material(
    present: str | None, conn: sqlite3.Connection
) -> tuple[str, list[str], str, tuple[Any, ...]]:
    from pairsmith.pairs.thresholds import kept_thresholds

    known = judges(conn)
    judge = present if present in known else known[0] if known else ""
    line_judge, kept = kept_thresholds(conn)
    return judge, attributes(conn, judge) if judge else [], line_judge, kept

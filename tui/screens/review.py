"""Review: one pair, one key, the next pair. The heart of the application.

The keys are declared here; what they do is in the modules of the base classes, one kind of act in each. No database
call ever runs on the event loop.
"""

from __future__ import annotations

import asyncio
import gc

from textual import events
from textual.binding import Binding

from ..widgets.bars import WIDE
from ..widgets.pair_list import PairList
from .review_deciding import Deciding
from .review_forms import Forms
from .review_likeness import Likeness
from .review_thresholds import Thresholds
from .review_versions import Versions


def _key(
    keys: str, action: str, label: str, sentence: str, *, show: bool = False, display: str | None = None
) -> Binding:
    name = "review." + action.replace("(", "_").replace(")", "").replace("-", "back_")
    return Binding(keys, action, label, show=show, id=name, tooltip=sentence, key_display=display)


class ReviewScreen(Deciding, Versions, Forms, Thresholds, Likeness):
    """The screen; see the module."""

    SCOPED_CSS = False
    CSS = """
    ReviewScreen #status { height: 2; }
    ReviewScreen #beside { height: 1fr; }
    ReviewScreen #pair { margin: 1 0; }
    ReviewScreen #list { display: none; width: 2fr; max-width: 48; height: 1fr; border-right: solid $panel; }
    ReviewScreen.wide.-list #list { display: block; }
    ReviewScreen.wide #pair { width: 5fr; margin: 1 0; }
    ReviewScreen.-low #pair { margin: 0; }
    """
    BINDINGS = [  # noqa: RUF012 - Textual's own declaration
        _key("a", "accept", "accept", "Accept the pair and go to the next", show=True),
        _key("r", "reject", "reject", "Reject the pair and go to the next", show=True),
        _key("e,enter", "edit", "edit", "Edit in place; saving makes a version", show=True),
        _key("g", "again", "again", "Regenerate the response; both versions are kept", show=True),
        _key("space", "skip", "skip", "Leave it, on to the next undecided pair", show=True),
        _key("u", "undo", "undo", "Take the last act back, whatever it was and whenever", show=True),
        _key("slash", "find", "find", "Full-text search; an empty one ends it", show=True, display="/"),
        _key("f", "filter", "filter", "Choose which pairs are shown", show=True),
        _key("U", "redo", "redo", "Do again what was undone"),
        _key("j,down", "move(1)", "next pair", "The next pair"),
        _key("k,up", "move(-1)", "previous pair", "The pair before"),
        _key("pagedown,ctrl+d", "page(1)", "a page on", "A page of pairs on"),
        _key("pageup,ctrl+u", "page(-1)", "a page back", "A page of pairs back"),
        _key("home", "first", "first pair", "The first pair"),
        _key("end,G", "last", "last pair", "The last pair"),
        _key("J,shift+down", "text(1)", "scroll down", "Scroll a long text"),
        _key("K,shift+up", "text(-1)", "scroll up", "Scroll a long text back"),
        _key("E", "external", "edit in your editor", "Edit in $EDITOR"),
        _key("v", "versions", "versions", "Step through the versions, with a word diff"),
        _key("x", "choose", "choose version", "Make the version on the screen the one that counts"),
        _key("d", "near", "near-duplicates", "Near-duplicates beside the pair"),
        _key("c", "copy", "copy", "Copy the response to the clipboard, if the terminal allows it (OSC 52)"),
        _key("n", "note", "reason, tags, note", "A reason, tags and a note on the verdict"),
        _key("b", "bulk", "bulk", "Decide all pairs of the filter, after a preview of how many"),
        _key("t", "thresholds", "thresholds", "Thresholds on histograms, with what they would keep"),
        _key("o", "order", "order", "Newest, oldest, by score, least certain first"),
        _key("s", "statistics", "statistics", "Pace, rates and what is left"),
        _key("l", "list", "list", f"Hide or show the list (from {WIDE} columns on)"),
        _key("escape", "back", "back", "From a version or a message back to the pair"),
    ]

    def on_mount(self) -> None:
        """Begin to read."""
        self.add_class("-list")
        self.start(self.load())

    async def on_unmount(self) -> None:
        """Verdicts under way reach the disk before the workspace is closed."""
        self.stop_watching()
        self.let_go()
        saving = [act.saved for act in self._acts]
        if saving:
            await asyncio.wait(saving, timeout=10)

    async def load(self) -> None:
        """Read the filter: its first pairs, then all of it; the cursor goes to the first."""
        self.reading = True
        self.paint()
        chosen, order = self.chosen, self.order
        await self.note_newest(chosen)
        await self.queue.first(chosen, order)
        self._acts = [act for act in self._acts if not act.saved.done()]
        self.cursor = self.scrolled = 0
        self.list.reset(0)
        self.go(0)
        whole = await self.queue.whole(chosen, order)
        await self.queue.count()
        if not whole:
            return
        # What came between `note_newest` and this reading is in the list already: as news it would stand there twice.
        self._newest = max(self._newest, self.queue.newest)
        self.reading = False
        self.go(self.cursor)
        self.list.refresh()
        self.begin_watching()
        self.index_if_small()
        gc.freeze()  # what was built until now stays: no later collection walks through it while a key waits

    def go(self, position: int) -> None:
        """Go to a position and, in a quiet moment, look for what is like the pair there."""
        super().go(position)
        self.look_up()

    async def changed(self, pair_id: int | None) -> None:
        """Show what changed, and let likeness know."""
        self.wrote()
        self.near.clear()
        await super().changed(pair_id)
        if pair_id is not None:
            self.reindex(self.queue.row(pair_id), pair_id)

    def show_pair(self, pair_id: int) -> None:
        """Bring a pair under the cursor."""
        Deciding.show_pair(self, pair_id)

    def action_move(self, steps: int) -> None:
        """To another pair."""
        self.go(self.cursor + steps)

    def action_page(self, pages: int) -> None:
        """A screenful of pairs."""
        height = self.list.size.height or max(1, self.pane.size.height)
        self.go(min(self.cursor + pages * max(1, height - 1), len(self.queue) - 1))

    def action_first(self) -> None:
        """To the first pair."""
        self.go(0)

    def action_last(self) -> None:
        """To the last pair."""
        self.go(len(self.queue) - 1)

    def action_text(self, pages: int) -> None:
        """Scroll the text by half of its height."""
        self._scroll_text(pages * max(1, self.pane.size.height // 2))

    def _scroll_text(self, lines: int) -> None:
        scrolled = max(0, min(self._most, self.scrolled + lines))
        if scrolled != self.scrolled:
            self.scrolled = scrolled
            self.paint_pair()

    def action_list(self) -> None:
        """The list beside the pair: hide it, or show it again."""
        if self.size.width < WIDE:
            self.say_plain(f"The list has room from {WIDE} columns on; here are {self.size.width}")
            return
        self.toggle_class("-list")
        self.call_after_refresh(self._resized)

    def on_pair_list_picked(self, message: PairList.Picked) -> None:
        """A click on the list; a double click edits."""
        self.go(message.position)
        if message.twice:
            self.action_edit()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """The mouse wheel on the pair scrolls its text."""
        self._scroll_text(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """The mouse wheel on the pair scrolls its text."""
        self._scroll_text(-3)

    def on_pair_list_scrolled(self) -> None:
        """The mouse wheel on the list."""
        self.queue.look_at(self.cursor, self.list.shown)

"""Review: one pair, one key, the next pair. The heart of the application.

The keys are declared here; what they do is in the modules of the base classes, one kind of act in each. No database
call ever runs on the event loop.
"""

from __future__ import annotations

from textual.binding import Binding

from ..widgets.bars import WIDE
from ..widgets.pair_list import PairList
from .review_deciding import Deciding


def _key(
    keys: str,
    action: str,
    label: str,
    name: str,
    sentence: str,
    *,
    show: bool = False,
    display: str | None = None,
) -> Binding:
    return Binding(keys, action, label, show=show, id=f"review.{name}", tooltip=sentence, key_display=display)


class ReviewScreen(Deciding):
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
        _key("a", "accept", "accept", "accept", "Accept the pair and go to the next", show=True),
        _key("r", "reject", "reject", "reject", "Reject the pair and go to the next", show=True),
        _key("space", "skip", "skip", "skip", "Leave it, on to the next undecided pair", show=True),
        _key("u", "undo", "undo", "undo", "Take the last act back, whatever it was", show=True),
        _key("U", "redo", "redo", "redo", "Do again what was undone"),
        _key("j,down", "move(1)", "next pair", "next", "The next pair"),
        _key("k,up", "move(-1)", "previous pair", "previous", "The pair before"),
        _key("pagedown,ctrl+d", "page(1)", "a page on", "page_down", "A page of pairs on"),
        _key("pageup,ctrl+u", "page(-1)", "a page back", "page_up", "A page of pairs back"),
        _key("home", "first", "first pair", "first", "The first pair"),
        _key("end,G", "last", "last pair", "last", "The last pair"),
        _key("J,shift+down", "text(1)", "scroll down", "text_down", "Scroll a long text"),
        _key("K,shift+up", "text(-1)", "scroll up", "text_up", "Scroll a long text back"),
        _key("l", "list", "list", "list", "Hide or show the list (from 100 columns on)"),
    ]

    def on_mount(self) -> None:
        """Begin to read."""
        self.add_class("-list")
        self.start(self.load())

    async def load(self, stay_on: int | None = None) -> None:
        """Read the filter: its first pairs, then all of it; the cursor goes to the first, or to the pair given."""
        self.reading = True
        self.paint()
        chosen, order = self.chosen, self.order
        await self.queue.first(chosen, order)
        self._acts.clear()
        self.cursor = self.scrolled = 0
        self.list.reset(0)
        self.go(0)
        whole = await self.queue.whole(chosen, order)
        await self.queue.count()
        if whole:
            self.reading = False
            position = None if stay_on is None else self.queue.position(stay_on)
            self.go(self.cursor if position is None else position)
            self.list.refresh()

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
        step = max(1, self.pane.size.height // 2)
        self.scrolled = max(0, min(self._most, self.scrolled + pages * step))
        self.paint_pair()

    def action_list(self) -> None:
        """The list beside the pair: hide it, or show it again."""
        if self.size.width < WIDE:
            self.say_plain(f"The list has room from {WIDE} columns on; here are {self.size.width}")
        self.toggle_class("-list")
        self.call_after_refresh(self._resized)

    def on_pair_list_picked(self, message: PairList.Picked) -> None:
        """A click on the list."""
        self.go(message.position)

    def on_pair_list_scrolled(self) -> None:
        """The mouse wheel on the list."""
        self.queue.look_at(self.cursor, self.list.shown)

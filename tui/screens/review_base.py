"""What the parts of the review share: the queue, the place in it, and how the screen is painted."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import TYPE_CHECKING, Any

from textual.containers import Horizontal
from textual.widget import Widget

from pairsmith.backends.errors import BackendError
from pairsmith.backends.text import one_line
from pairsmith.pairs.errors import PairsmithError
from pairsmith.pairs.store.filters import PairFilter
from pairsmith.pairs.store.paging import Order
from pairsmith.pairs.store.review_rows import ReviewRow

from ..text import line
from ..widgets.line import Line, Piece
from ..widgets.lines import Lines, Row
from ..widgets.pair_list import PairList
from .base import PlaceScreen
from .review_pane import NearLine, pair_pane
from .review_queue import ReviewQueue
from .review_status import Pace, empty_rows, finished_rows, status_row, tally_row

if TYPE_CHECKING:
    from pairsmith.pairs.store.workspace import Workspace

SAID_S = 2.0
_LOW = 24


class Rule(Line):
    """A line across the screen."""

    def pieces(self, width: int) -> list[Piece]:
        """Dashes."""
        return [Piece("─" * width, "quiet")]


class PairPane(Lines):
    """Where the pair stands. How wide it is, is known only once the list has taken its place beside it."""

    def on_resize(self) -> None:
        """Lay the pair out for the new room."""
        if isinstance(self.screen, ReviewBase):
            self.screen.paint_pair()


class ReviewBase(PlaceScreen):
    """A queue on the screen. `cursor` may be one past the last pair: there stands the summary."""

    PLACE = "review"

    def __init__(self) -> None:
        super().__init__()
        self.chosen = PairFilter(verdict="undecided")
        self.order = Order()
        self.cursor = 0
        self.scrolled = 0
        self.pace = Pace()
        self.reading = True
        self.near: dict[int, NearLine | None] = {}
        self._said: Row | None = None
        self._most = 0
        self._asking: set[int] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._topics_done: list[tuple[str, int, int]] = []
        self._undecided_here = 0
        """Pairs of the filter that are undecided, counted at its end."""

    @property
    def workspace(self) -> Workspace:
        """The open workspace; this place is not reached without one."""
        assert self.session.workspace is not None
        return self.session.workspace

    def body(self) -> Iterable[Widget]:
        """The numbers, the list, the pair."""
        self.queue = ReviewQueue(self.workspace, self._rows_came)
        self.status = Lines(id="status")
        self.list = PairList(self.queue)
        self.list.id = "list"
        self.pane = PairPane(id="pair")
        yield Rule()
        yield self.status
        yield Horizontal(self.list, self.pane, id="beside")

    def go(self, position: int) -> None:
        """Go to a position and paint the pair there: list, numbers and text in one frame."""
        position = max(0, min(position, len(self.queue)))
        if position == len(self.queue) and not self.queue.complete:
            position = max(0, position - 1)
        if position != self.cursor:
            self.scrolled = 0
            self.left_pair()
        self.cursor = position
        self.list.go(position)
        self.queue.look_at(position, self.list.shown)
        self.paint()

    def left_pair(self) -> None:
        """The pair on the screen is another one now."""

    def paint(self) -> None:
        """Paint the numbers and the pair."""
        self.paint_status()
        self.paint_pair()

    def paint_status(self) -> None:
        """Paint lines 4 and 5. What was just said stands in the first of them."""
        width = self.status.size.width
        left = max(0, len(self.queue) - self.cursor)
        topic = self.queue.topics.get(self.chosen.topic_id or 0, ("",))[-1]
        first = self._said or tally_row(self.cursor, len(self.queue), self.queue.tally, width)
        second = status_row(
            self.chosen,
            self.order,
            self.pace,
            left,
            topic=topic,
            reading=self.reading,
            width=width,
            asking=self._asking,
        )
        self.status.show_rows([first, second])

    def paint_pair(self) -> None:
        """Paint the pair, or what stands in its place."""
        width, height = self.pane.size
        row = self.current
        if row is not None:
            pane = pair_pane(
                row,
                self.queue.topics.get(row.topic_id or 0, ()),
                width,
                height,
                top=self.scrolled,
                judge=self.session.judge,
                near=self.near.get(row.version_id),
            )
            self._most = pane.most
            self.pane.show_rows(pane.rows)
        elif not len(self.queue):
            rows = [(Piece(" reading…", "quiet"),)] if self.reading else empty_rows(self.chosen, self.every)
            self.pane.show_rows(rows)
        elif self.cursor >= len(self.queue):
            left = self._undecided_here
            self.pane.show_rows(finished_rows(self.pace, self.queue.tally, self._topics_done, left))
        else:
            self.pane.show_rows([(Piece(" reading…", "quiet"),)])

    @property
    def current(self) -> ReviewRow | None:
        """The pair at the cursor; None at the end, or where it is not read yet."""
        return self.queue.at(self.cursor)

    @property
    def every(self) -> int:
        """Pairs of the workspace."""
        return sum(self.queue.tally.values())

    def _rows_came(self) -> None:
        if self.is_attached:
            if self.cursor > len(self.queue):
                self.cursor = len(self.queue)
            self.list.refresh()
            self.paint()

    def say(self, *pieces: Piece, seconds: float = SAID_S) -> None:
        """Say something in line 4 for a moment."""
        said: Row = (Piece(" "), *pieces)
        self._said = said
        self.paint_status()

        def forget() -> None:
            if self._said is said and self.is_attached:
                self._said = None
                self.paint_status()

        asyncio.get_running_loop().call_later(seconds, forget)

    def say_plain(self, text: str) -> None:
        """Say a sentence in line 4 for a moment."""
        self.say(Piece(line(text, 300), "quiet"))

    def complain(self, text: str) -> None:
        """Say in line 4 that something did not work."""
        self.say(Piece("✗ ", "bad"), Piece(line(text, 300)), seconds=8.0)

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run work beside the screen; what goes wrong in it is said, and ends nothing."""
        task = asyncio.get_running_loop().create_task(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except (PairsmithError, BackendError) as error:
            self.complain(error.message + (f". {error.advice}" if error.advice else ""))
        except Exception as error:  # a bug of ours must not end a review
            self.log.error(error)
            self.complain(f"{type(error).__name__}: {one_line(str(error))}")

    async def settled(self) -> None:
        """Wait until everything that was started has ended."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def on_resize(self) -> None:
        """Lay the pair out for the new size."""
        self.set_class(self.size.height < _LOW, "-low")

    def _resized(self) -> None:
        self.list.go(self.cursor)
        self.paint()

"""Blind rating: which of two answers is better, or how good one is, with nothing on the screen that says whose it is.

A key rates and brings the next question in one frame; ✓ stands there once it is on the disk. Names come at the end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import cast

from textual.binding import Binding, BindingType
from textual.events import MouseScrollDown, MouseScrollUp
from textual.widget import Widget

from pairsmith.backends.errors import BackendError
from pairsmith.pairs.blind import SCALE, BlindItem, Choice, Contestant, Sheet, compared, graded, read_sheet
from pairsmith.pairs.blind_results import update_report
from pairsmith.pairs.errors import PairsmithError
from pairsmith.pairs.store.journal import Entry
from pairsmith.pairs.store.ratings import NewRating, RatingKind, add_rating, redo_rating, undo_rating
from pairsmith.pairs.store.workspace import Workspace

from ..text import line
from ..widgets.line import Line, Piece
from ..widgets.lines import Lines, Row, plain
from ..widgets.once import LeavesOnce
from ..working import begin
from .base import PlaceScreen
from .blind_rows import Question, progress_row, question_rows, result_rows

_KEYS: list[BindingType] = [
    Binding("space", "skip", "skip", id="blind.skip", tooltip="Pass this one over; it is counted, not averaged"),
    Binding("u", "undo", "undo", id="blind.undo", tooltip="Take the last rating back"),
    Binding("U", "redo", "redo", show=False, id="blind.redo", tooltip="Give it again"),
    Binding("w", "wanted", "wanted", id="blind.wanted", tooltip="Show the answer that the pair itself holds"),
    Binding("j,down", "scroll(1)", "down", show=False, id="blind.down", tooltip="Further down in the answers"),
    Binding("k,up", "scroll(-1)", "up", show=False, id="blind.up", tooltip="Up again"),
    Binding("escape,q", "leave", "leave", id="blind.leave", tooltip="Back to Evaluate; it goes on here next time"),
]  # fmt: skip


class BlindScreen(LeavesOnce, PlaceScreen):
    """See the module. Subclasses say of which `KIND` they are and have keys that rate."""

    PLACE = "evaluate"
    KIND: RatingKind
    CSS = "BlindScreen #question { margin: 1 0 0 0; }"

    def __init__(self, train_run: int, chosen: Sequence[Contestant], rater: str) -> None:
        super().__init__()
        self.sheet = Sheet(self.KIND, rater, tuple(chosen), ())
        self._train_run = train_run
        self._said = Piece("")
        self._top = self._most = 0
        self._wanted = False
        self._results: list[Row] | None = None
        self._saving: set[asyncio.Task[None]] = set()
        self.changed = False

    def body(self) -> Iterable[Widget]:
        """How far one is, what was just done, the question."""
        yield Line(id="progress")
        yield Line(id="said")
        yield Lines(id="question")

    @property
    def workspace(self) -> Workspace:
        """The open one."""
        return cast(Workspace, self.session.workspace)

    @property
    def text(self) -> str:
        """The question, for tests."""
        return plain(self.query_one("#question", Lines).rows)

    def on_mount(self) -> None:
        """Read what is open."""
        begin(self, self._read, group="read")

    async def on_unmount(self) -> None:
        """What was rated is on the disk before anything else ends."""
        await self._saved()

    async def _read(self) -> None:
        sheet, seed = self.sheet, self.workspace.id
        try:
            self.sheet = await self.workspace.aread(
                lambda conn: read_sheet(conn, sheet.kind, sheet.contestants, sheet.rater, seed)
            )
        except PairsmithError as error:
            self._say(f"✗ {error}", "bad")
        self.paint()

    # ---- what is seen --------------------------------------------------------------------------------------

    def question(self, item: BlindItem) -> Question:
        """All that may be seen of it before it is rated."""
        answers = tuple(answer.text for answer in item.answers)
        return Question(item.instruction, item.input, item.wanted if self._wanted else None, answers)

    def paint(self) -> None:
        """Paint it all."""
        if not self.is_mounted or not self.is_attached:
            return
        area = self.query_one("#question", Lines)
        width, height = area.size
        if not width:
            return
        if not self.sheet.items:
            area.show_rows([])
            self.query_one("#said", Line).show(self._said)
            return
        self.query_one("#progress", Line).show(*progress_row(self.sheet, width))
        item = self.sheet.here
        self.query_one("#said", Line).show(
            self._said if self._said.text else Piece(f" {self._asked()}", "quiet")
        )
        if item is None:
            self._paint_end(area, width, height)
            return
        self._results = None
        drawn = question_rows(self.question(item), width, height, self._top)
        self._most = drawn.most
        area.show_rows(drawn.rows)

    def _paint_end(self, area: Lines, width: int, height: int) -> None:
        if self._results is None:
            self._results = [(Piece(" counting…", "quiet"),)]
            begin(self, self._count, group="count")
        rows = [(Piece(f" All {len(self.sheet.items):,} are rated.", "strong"),), (), *self._results]
        self._most = max(0, len(rows) - height)
        self._top = min(self._top, self._most)
        area.show_rows(rows[self._top : self._top + height])

    async def _count(self) -> None:
        await self._saved()
        try:
            home = (await self.session.backend_settings()).home
            human = await update_report(self.workspace, home, self._train_run)
        except (PairsmithError, BackendError) as error:
            self._results = [(Piece(f" ✗ {line(str(error), 300)}", "bad"),)]
        else:
            self._results = result_rows(human, self.size.width)
        self.paint()

    def _asked(self) -> str:
        return f"rater {line(self.sheet.rater, 40)}"

    def _say(self, text: str, style: str = "") -> None:
        self._said = Piece(f" {line(text, max(20, self.size.width - 2))}", style)

    # ---- what is done --------------------------------------------------------------------------------------

    def rating(self, item: BlindItem, given: str | int | None) -> NewRating:
        """The rating that a key gives."""
        raise NotImplementedError

    def rate(self, given: str | int | None, said: str) -> None:
        """Rate what is on the screen, and show the next question."""
        item = self.sheet.here
        if item is None:
            self.notify(
                "All are rated: u takes the last one back" if self.sheet.items else "There is nothing to rate"
            )
            return
        if self.workspace.readonly:
            self.notify("This workspace is open for reading only", severity="warning")
            return
        rating = self.rating(item, given)
        self.sheet = self.sheet.with_rating(item, rating.value)
        self.changed = True
        self._top, self._wanted = 0, False
        self._say(f"… {said}", "quiet")
        saving = asyncio.get_running_loop().create_task(self._save(rating, said))
        self._saving.add(saving)
        saving.add_done_callback(self._saving.discard)
        self.paint()

    async def _save(self, rating: NewRating, said: str) -> None:
        try:
            await self.workspace.awrite(lambda conn: add_rating(conn, rating))
        except PairsmithError as error:
            self.notify(f"Not saved: {error}", severity="error")
            await self._read()
            return
        self._say(f"✓ {said} · u takes it back", "good")
        self.paint()

    async def _saved(self) -> None:
        while self._saving:
            await asyncio.gather(*self._saving, return_exceptions=True)

    def action_skip(self) -> None:
        """Pass over."""
        self.rate(None if self.KIND == "scale" else "skip", "skipped")

    def action_undo(self) -> None:
        """Take back."""
        begin(self, self._move, True)

    def action_redo(self) -> None:
        """Give again."""
        begin(self, self._move, False)

    async def _move(self, back: bool) -> None:
        await self._saved()
        rater, kind = self.sheet.rater, self.KIND
        move = undo_rating if back else redo_rating
        try:
            entry: Entry | None = await self.workspace.awrite(lambda conn: move(conn, rater, kind))
        except PairsmithError as error:
            self.notify(str(error), severity="error")
            return
        if entry is None:
            self.notify(
                "The newest act is no rating of yours here: u in Review takes others back"
                if back
                else "Nothing to give again"
            )
            return
        self.changed = True
        self._top = 0
        self._say("taken back · U gives it again" if back else "given again · u takes it back")
        await self._read()

    def action_wanted(self) -> None:
        """Show or hide the pair's own answer."""
        self._wanted = not self._wanted
        self.paint()

    def action_scroll(self, lines: int) -> None:
        """Move the texts."""
        self._top = max(0, min(self._top + lines, self._most))
        self.paint()

    def on_mouse_scroll_down(self, event: MouseScrollDown) -> None:
        """The wheel moves them too."""
        event.stop()
        self.action_scroll(1)

    def on_mouse_scroll_up(self, event: MouseScrollUp) -> None:
        """And back."""
        event.stop()
        self.action_scroll(-1)

    def action_leave(self) -> None:
        """Leave when everything is saved."""
        begin(self, self._leave, group="leave")

    async def _leave(self) -> None:
        await self._saved()
        self.dismiss(None)

    def action_digit(self) -> None:
        """A digit that rates nothing leads nowhere while one rates."""
        self.notify("While you rate, digits go nowhere: esc leaves")


class CompareScreen(BlindScreen):
    """Which of two answers is better."""

    KIND = "compare"
    BINDINGS = [  # noqa: RUF012 - Textual's own declaration
        Binding("left,h", "choose('left')", "left", key_display="←", id="blind.left",
                tooltip="The left (upper) one is better"),
        Binding("right,l", "choose('right')", "right", key_display="→", id="blind.right",
                tooltip="The right (lower) one is better"),
        Binding("t,equals_sign", "choose('tie')", "tie", id="blind.tie", tooltip="Neither is better"),
        *_KEYS,
        Binding("1,2,3,4,5,6,7,8,9,0", "digit", show=False),
    ]  # fmt: skip
    _SAID = {"left": "the left one is better", "right": "the right one is better", "tie": "a tie"}  # noqa: RUF012

    def rating(self, item: BlindItem, given: str | int | None) -> NewRating:
        """See BlindScreen."""
        return compared(self.sheet, item, cast(Choice, given))

    def action_choose(self, choice: str) -> None:
        """Rate."""
        self.rate(choice, self._SAID[choice])

    def _asked(self) -> str:
        return f"which answer is better? · {super()._asked()}"


class GradeScreen(BlindScreen):
    """How good one answer is, from 1 to 5."""

    KIND = "scale"
    BINDINGS = [  # noqa: RUF012 - Textual's own declaration
        *(
            Binding(str(grade), f"grade({grade})", said, id=f"blind.{grade}", tooltip=f"{grade} of 5: {said}")
            for grade, said in SCALE.items()
        ),
        *_KEYS,
        Binding("6,7,8,9,0", "digit", show=False),
    ]

    def rating(self, item: BlindItem, given: str | int | None) -> NewRating:
        """See BlindScreen."""
        return graded(self.sheet, item, cast("int | None", given))

    def action_grade(self, grade: int) -> None:
        """Rate."""
        self.rate(grade, f"{grade} of 5: {SCALE[grade]}")

    def _asked(self) -> str:
        return f"how good is this answer, from 1 to 5? · {super()._asked()}"

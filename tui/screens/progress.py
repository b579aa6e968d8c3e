"""A piece of blocking work with a number that moves: it runs on a thread, and escape gives it up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from textual.app import ComposeResult

from pairsmith.pairs.errors import PairsmithError

from ..widgets.dialog import Dialog
from ..widgets.line import Piece
from ..widgets.lines import Lines
from ..widgets.meters import bar
from ..working import begin

T = TypeVar("T")
Tell = Callable[[int, int], None]
Check = Callable[[], None]
_PAINT_S = 0.1


class GivenUp(Exception):
    """The user pressed escape."""


class ProgressScreen(Dialog["T | None"], Generic[T]):
    """Gives what the work gave; None where it was given up or failed, which is said in the box first."""

    DEFAULT_CSS = """
    ProgressScreen Lines { height: 1; margin: 1 0; }
    """
    AUTO_FOCUS = ""

    def __init__(self, heading: str, work: Callable[[Tell, Check], T], unit: str = "") -> None:
        super().__init__()
        self.heading = heading
        self.hint = "esc gives it up"
        self._work, self._unit = work, unit
        self._at = (0, 0)
        self._given_up = self._over = False

    def parts(self) -> ComposeResult:
        """The bar."""
        yield Lines(id="bar")

    def on_mount(self) -> None:
        """Begin."""
        self.set_interval(_PAINT_S, self._paint)
        begin(self, self._run)

    async def _run(self) -> None:
        def tell(done: int, total: int) -> None:
            self._at = (done, total)

        def check() -> None:
            if self._given_up:
                raise GivenUp

        try:
            result = await asyncio.to_thread(self._work, tell, check)
        except GivenUp:
            self.dismiss(None)
        except (PairsmithError, OSError) as error:
            self._over = True
            self.problem(str(error))
        else:
            self.dismiss(result)

    def _paint(self) -> None:
        area = self.query_one(Lines)
        done, total = self._at
        said = f"  {done:,} of {total:,} {self._unit}".rstrip() if total else "  …"
        meter = bar(done, total, max(10, area.size.width - len(said) - 2))
        area.show_rows([(Piece(meter, "accent"), Piece(said))])

    def action_cancel(self) -> None:
        """Give it up, or leave after a failure."""
        if self._over:
            self.dismiss(None)
        self._given_up = True

"""Full-text search: what is typed is a query, whatever it is; the newest hits stand below it at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.widgets import Input

from pairsmith.pairs.store.review_rows import ReviewRow, review_rows
from pairsmith.pairs.store.search import search

from ..text import line
from ..widgets.dialog import Dialog
from ..widgets.fields import SafeInput
from ..widgets.line import Piece
from ..widgets.lines import Lines, Row
from ..widgets.pair_list import MARKS

if TYPE_CHECKING:
    from pairsmith.pairs.store.driver import sqlite3
    from pairsmith.pairs.store.workspace import Workspace

_SHOWN = 6


class SearchScreen(Dialog[str | None]):
    """Gives what was typed, also the empty text (which ends a search); None where it was left."""

    DEFAULT_CSS = """
    SearchScreen Lines { height: 7; margin-top: 1; }
    """
    heading = "Find"
    hint = 'beginnings of words, or "quoted words"   enter shows all   esc leaves'

    def __init__(self, workspace: Workspace, text: str) -> None:
        super().__init__()
        self._workspace = workspace
        self._text = text

    def parts(self) -> ComposeResult:
        """A line to type in, and the first hits."""
        yield SafeInput(self._text, placeholder="what to look for in instructions, inputs and responses")
        self._hits = Lines()
        yield self._hits

    def on_input_changed(self, message: Input.Changed) -> None:
        """Look at once for what stands there."""
        self.run_worker(self._look(message.value), group="search", exclusive=True, exit_on_error=False)

    async def _look(self, text: str) -> None:
        await asyncio.sleep(0.08)

        def work(conn: sqlite3.Connection) -> tuple[list[ReviewRow], bool]:
            found, complete = search(conn, text, limit=_SHOWN)
            return review_rows(conn, found), complete

        rows, complete = await self._workspace.aread(work)
        width = self._hits.size.width
        shown: list[Row] = [
            (Piece(f"{MARKS[row.verdict]} ", "quiet"), Piece(line(row.instruction, width - 4)))
            for row in rows
        ]
        if not rows and text.strip():
            shown = [(Piece("nothing found" if complete else "still looking: enter waits for it", "quiet"),)]
        self._hits.show_rows(shown)

    def on_input_submitted(self, message: Input.Submitted) -> None:
        """Show all of it in the review."""
        self.dismiss(message.value.strip())

"""The pairs most like one pair, for looking at them side by side.

An index over instructions that is built when somebody first asks, in pieces, so that the thread that builds it holds
nobody up.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from .store.filters import PairFilter
from .store.instructions import instructions_page

if TYPE_CHECKING:
    from .similarity import SimilarityIndex
    from .store.driver import sqlite3
    from .store.workspace import Workspace

MOST = 200_000
"""Pairs that are indexed, the newest of them where there are more: a pair costs about a kilobyte."""
_PIECE = 500


@dataclass(frozen=True, slots=True)
class NearPair:
    """A neighbour and its likeness: ROUGE-L F of the instructions with their inputs, 0..1."""

    pair_id: int
    score: float


def _page(conn: sqlite3.Connection, cursor: int | None) -> list[tuple[int, str]]:
    return instructions_page(conn, PairFilter(), cursor, _PIECE)


class NearPairs:
    """Build once with `build` (blocking: call it on a thread), then ask. Edits reach it through `update`."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._index: SimilarityIndex | None = None
        self.count = 0
        self.built = False

    def build(
        self,
        cancelled: Callable[[], bool] = lambda: False,
        progress: Callable[[int], None] = lambda count: None,
    ) -> None:
        """Read every pair into the index, newest first; stops early where `cancelled` says so."""
        from .similarity import SimilarityIndex

        index = self._index = SimilarityIndex()
        cursor: int | None = None
        while self.count < MOST and not cancelled():
            rows = self._workspace.read(partial(_page, cursor=cursor))
            if not rows:
                break
            for number, (pair_id, text) in enumerate(rows):
                index.add(pair_id, text)
                if number % 20 == 19:
                    time.sleep(0.0005)  # gives way to the thread that paints
            cursor = rows[-1][0]
            self.count += len(rows)
            progress(self.count)
        self.built = not cancelled()

    def nearest(self, pair_id: int, text: str, *, at_least: float = 0.3, limit: int = 12) -> list[NearPair]:
        """Neighbours of a text, itself left out, nearest first; empty before `build`."""
        if self._index is None:
            return []
        found = self._index.nearest(text, at_least, limit=limit, exclude=pair_id)
        return [NearPair(near.key, near.score) for near in found if isinstance(near.key, int)]

    def update(self, pair_id: int, text: str | None) -> None:
        """A pair says something else now, or (None) is gone."""
        if self._index is None:
            return
        if text is None:
            self._index.remove(pair_id)
        else:
            self._index.add(pair_id, text)

"""Prompt beginnings kept in the cache: found by the longest common run of tokens, forgotten least recently used.

Two kinds: *prefixes*, which at least two requests shared (system text, recipe, rubric), and *tails*, whole sequences
of requests that have ended (the next turn of a conversation begins with one), kept until the next request has come.
As few cells as possible are kept: on a CPU the attention of every row looks over all that lie in use.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .cells import Cells
from .sizing import CACHED_PREFIXES, CACHED_TAILS

WORTH_SHARING = 16
"""Tokens below which sharing is not worth a sequence of its own."""
_REMEMBERED = 32


@dataclass(slots=True, eq=False)
class Entry:
    """A cached sequence."""

    seq: int
    tokens: NDArray[np.int32]
    tail: bool
    used: int
    row: int = 0
    """Rows that the lane had computed when it was last used."""


@dataclass(frozen=True, slots=True)
class Match:
    """The best source of a prompt's beginning: a cached entry or a running sequence."""

    seq: int
    length: int
    entry: Entry | None = None


class PrefixCache:
    """Entries over the engine's cells. `stale_rows`: how long a prefix is kept that nobody asks for; 0 for ever."""

    def __init__(self, cells: Cells, stale_rows: int = 0) -> None:
        self._cells, self._stale_rows, self._rows = cells, stale_rows, 0
        self._entries: list[Entry] = []
        self._clock = 0
        self._history: deque[NDArray[np.int32]] = deque(maxlen=_REMEMBERED)

    def seen_before(self, tokens: NDArray[np.int32]) -> int:
        """Length of the longest beginning that one of the last prompts had too; remembers this one."""
        longest = max((common(old, tokens) for old in self._history), default=0)
        self._history.append(tokens)
        return longest

    def find(self, tokens: NDArray[np.int32]) -> Match | None:
        """The entry that shares the longest beginning."""
        best: Match | None = None
        for entry in self._entries:
            length = common(entry.tokens, tokens)
            if length > (best.length if best else 0):
                best = Match(entry.seq, length, entry)
        return best

    def touch(self, entry: Entry) -> None:
        self._clock += 1
        entry.used, entry.row = self._clock, self._rows

    def age(self, rows: int) -> None:
        """So many rows are about to be computed: forget prefixes that cost them more than they will ever save."""
        self._rows += rows
        if self._stale_rows:
            for entry in [e for e in self._entries if not e.tail and self._rows - e.row > self._stale_rows]:
                self._drop(entry)

    def keep_prefix(self, source: int, tokens: NDArray[np.int32]) -> None:
        """Remember `tokens`, the beginning of `source`, unless an entry of this kind holds them already."""
        for entry in self._entries:
            if not entry.tail and common(entry.tokens, tokens) > len(tokens) - WORTH_SHARING:
                self.touch(entry)
                return
        self._trim(False, CACHED_PREFIXES - 1)
        if self._cells.free_ids:
            seq = self._cells.open()
            self._cells.share(source, seq, len(tokens))
            self._add(Entry(seq, tokens.copy(), False, 0))

    def adopt(self, seq: int, tokens: NDArray[np.int32]) -> None:
        """Take over a sequence that holds a prefix."""
        self._trim(False, CACHED_PREFIXES - 1)
        self._add(Entry(seq, tokens, False, 0))

    def keep_tail(self, seq: int, tokens: Sequence[int]) -> None:
        """Take over the sequence of a job that has ended."""
        self._trim(True, CACHED_TAILS - 1)
        self._add(Entry(seq, np.asarray(tokens, np.int32), True, 0))

    def drop_tails(self) -> None:
        """Forget all tails."""
        self._trim(True, 0)

    def make_room(self, cells: int, ids: int, spare: Entry | None = None) -> bool:
        """Forget entries, least useful first, until so many cells and sequence ids are free."""
        dropped = True
        while dropped:
            dropped = False
            for entry in sorted(self._entries, key=lambda e: (not e.tail, e.used)):
                if self._cells.free >= cells and self._cells.free_ids >= ids:
                    return True
                if entry is not spare and (self._cells.free_ids < ids or self._cells.exclusive(entry.seq)):
                    self._drop(entry)
                    dropped = True
        return self._cells.free >= cells and self._cells.free_ids >= ids

    def forget_all(self) -> None:
        """After the cells have been cleared."""
        self._entries.clear()

    def _add(self, entry: Entry) -> None:
        self.touch(entry)
        self._entries.append(entry)

    def _drop(self, entry: Entry) -> None:
        self._entries.remove(entry)
        self._cells.close(entry.seq)

    def _trim(self, tail: bool, count: int) -> None:
        same = sorted((e for e in self._entries if e.tail == tail), key=lambda e: e.used)
        for entry in same[: max(0, len(same) - count)]:
            self._drop(entry)


def common(left: NDArray[np.int32], right: NDArray[np.int32]) -> int:
    """Length of the common beginning."""
    size = min(len(left), len(right))
    differ = np.flatnonzero(left[:size] != right[:size])
    return int(differ[0]) if len(differ) else size

"""Prompt beginnings in the cache: kept while they are asked for, forgotten when they cost more than they save."""

from __future__ import annotations

import numpy as np

from pairsmith.backends.llama_cpp.cells import Cells
from pairsmith.backends.llama_cpp.prefixes import PrefixCache


class NoMemory:
    """llama.cpp's side of the account: told, and does nothing."""

    def share(self, source: int, target: int, length: int) -> None: ...
    def cut(self, seq: int, start: int = -1) -> None: ...
    def clear(self) -> None: ...


def kept(stale_rows: int) -> tuple[PrefixCache, Cells, np.ndarray]:
    """A cache that holds one prefix of 40 tokens, whose request has ended."""
    cells = Cells(256, 8, NoMemory())
    cache = PrefixCache(cells, stale_rows)
    tokens = np.arange(40, dtype=np.int32)
    seq = cells.open()
    cells.grow([seq], 40)
    cache.keep_prefix(seq, tokens)
    cells.close(seq)
    return cache, cells, tokens


def test_a_prefix_that_nobody_asks_for_gives_its_cells_back() -> None:
    cache, cells, tokens = kept(stale_rows=100)
    cache.age(100)
    assert cache.find(tokens) is not None
    cache.age(1)
    assert cache.find(tokens) is None
    assert cells.free == 256


def test_a_prefix_that_is_asked_for_again_and_again_stays() -> None:
    cache, _, tokens = kept(stale_rows=100)
    for _ in range(10):
        cache.age(90)
        match = cache.find(tokens)
        assert match is not None
        assert match.entry is not None
        cache.touch(match.entry)


def test_without_a_bound_a_prefix_stays_for_ever() -> None:
    cache, _, tokens = kept(stale_rows=0)
    cache.age(1_000_000)
    assert cache.find(tokens) is not None


def test_cells_that_a_running_request_shares_stay_with_it() -> None:
    cache, cells, _ = kept(stale_rows=100)
    running = cells.open()
    entry = cache.find(np.arange(40, dtype=np.int32))
    assert entry is not None
    cells.share(entry.seq, running, 40)
    cache.age(101)
    assert cells.length(running) == 40
    assert cells.free == 256 - 40

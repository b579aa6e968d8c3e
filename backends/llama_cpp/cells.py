"""Exact account of a unified key/value cache: which sequence holds which cells, and how many are free.

llama.cpp shares cells between sequences that were copied from each other; this mirrors it, so that the engine knows
before each decode whether it fits.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Memory(Protocol):
    """What is told to llama.cpp."""

    def share(self, source: int, target: int, length: int) -> None: ...
    def cut(self, seq: int, start: int = -1) -> None: ...
    def clear(self) -> None: ...


class Cells:
    """Cells by sequence. Every method keeps llama.cpp's own memory in step."""

    def __init__(self, capacity: int, sequences: int, memory: Memory) -> None:
        self.capacity = capacity
        self._memory = memory
        self._refs = np.zeros(capacity, np.int32)
        self._free = list(range(capacity - 1, -1, -1))
        self._held: dict[int, list[int]] = {}
        self._ids = list(range(sequences - 1, -1, -1))

    @property
    def free(self) -> int:
        return len(self._free)

    @property
    def free_ids(self) -> int:
        return len(self._ids)

    def open(self) -> int:
        """A fresh, empty sequence id. Raises `IndexError` where none is left."""
        seq = self._ids.pop()
        self._held[seq] = []
        return seq

    def close(self, seq: int) -> None:
        """Forget a sequence; cells that nobody else holds become free."""
        self._release(self._held.pop(seq))
        self._memory.cut(seq)
        self._ids.append(seq)

    def share(self, source: int, target: int, length: int) -> None:
        """`target`, which is empty, gets the first `length` cells of `source`."""
        if length:
            cells = self._held[source][:length]
            self._refs[cells] += 1
            self._held[target] = cells
            self._memory.share(source, target, length)

    def grow(self, seqs: list[int], count: int) -> None:
        """`count` new cells, held by all of `seqs`. To be called with a decode that fills them. Raises `IndexError`
        where there are fewer."""
        left = len(self._free) - count
        if left < 0:
            raise IndexError(f"{count} cells of {len(self._free)}")
        taken = self._free[left:][::-1]
        del self._free[left:]
        self._refs[taken] += len(seqs)
        for seq in seqs:
            self._held[seq].extend(taken)

    def length(self, seq: int) -> int:
        return len(self._held[seq])

    def exclusive(self, seq: int) -> int:
        """Cells that closing the sequence would free."""
        held = self._held[seq]
        return int(np.count_nonzero(self._refs[held] == 1)) if held else 0

    def clear(self) -> None:
        """Forget everything, in llama.cpp too."""
        self._memory.clear()
        self._refs[:] = 0
        self._free = list(range(self.capacity - 1, -1, -1))
        self._ids.extend(self._held)
        self._held.clear()

    def _release(self, cells: list[int]) -> None:
        if cells:
            held: NDArray[np.int64] = np.asarray(cells, np.int64)
            self._refs[held] -= 1
            self._free.extend(held[self._refs[held] == 0].tolist())

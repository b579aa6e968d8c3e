"""An inverted index over token lists that finds every list sharing at least so many tokens with a given one.

Exact, incremental, and without a fixed order of tokens: of a query's m tokens (a token's k-th occurrence
counts as a token of its own), any list that shares L of them must hold one of the m - L + 1 that are rarest
*now*. Only those posting lists are read; what they turn up is counted in full before anybody computes a
subsequence.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Slots = npt.NDArray[np.int64]
_FEW = 16


class Growing:
    """A numpy vector that can be appended to; `view` is the part in use, valid until the next append."""

    def __init__(self, dtype: Any) -> None:
        self._data = np.zeros(1024, dtype)
        self.size = 0

    @property
    def view(self) -> npt.NDArray[Any]:
        return self._data[: self.size]

    def append(self, *values: int) -> None:
        end = self.size + len(values)
        if end > len(self._data):
            grown = np.zeros(max(end, 2 * len(self._data)), self._data.dtype)
            grown[: self.size] = self.view
            self._data = grown
        self._data[self.size : end] = values
        self.size = end


class OverlapIndex:
    """Token lists by slot number (0, 1, 2, ... in order of arrival); a removed one leaves its slot empty."""

    def __init__(self) -> None:
        self._ids: dict[str | tuple[int, int], int] = {}
        self._postings: list[array[int]] = []
        self._names: list[str] = []
        self._first = Growing(np.uint32)
        """For each token id, the id of the same word's first occurrence."""
        self._flat = Growing(np.uint32)
        self._starts = Growing(np.int64)
        self._lengths = Growing(np.int64)
        self._wanted = np.zeros(0, bool)
        self.longest = 0
        """Tokens of the longest list ever added."""

    def __len__(self) -> int:
        return self._lengths.size

    def add(self, tokens: Sequence[str]) -> int:
        """Store a list and return its slot."""
        slot = self._lengths.size
        ids = [self._id(name) for name in self._occurrences(tokens)]
        self._starts.append(self._flat.size)
        self._lengths.append(len(ids))
        self.longest = max(self.longest, len(ids))
        self._flat.append(*ids)
        for token in ids:
            self._postings[token].append(slot)
        return slot

    def remove(self, slot: int) -> None:
        """Empty a slot: it is never found again. Its room is given back only by building a new index."""
        self._lengths.view[slot] = 0

    def length(self, slot: int) -> int:
        """How many tokens the list has; 0 once removed."""
        return int(self._lengths.view[slot])

    def words(self, slot: int) -> list[str]:
        """The list itself."""
        return [self._names[token] for token in self.sequence(slot)]

    def sequence(self, slot: int) -> list[int]:
        """The list as numbers, equal for equal tokens (those that `numbers` gives)."""
        start = int(self._starts.view[slot])
        part = self._flat.view[start : start + self.length(slot)]
        ids: list[int] = self._first.view[part].tolist()
        return ids

    def numbers(self, tokens: Sequence[str]) -> list[int]:
        """A list that need not be stored, as numbers; a token that no stored list has gets -1."""
        return [self._ids.get(token, -1) for token in tokens]

    def sharing(self, tokens: Sequence[str], needed: npt.NDArray[np.int64]) -> Slots:
        """Slots of all lists of some length n that share at least `needed[n]` tokens with `tokens`, in order.

        `needed[0]` and the last entry (which stands for all longer lists) must exceed len(tokens); none is 0.
        """
        size = len(tokens)
        fewest = int(needed.min())
        known = self._known(tokens)
        reach = size - fewest + 1
        chosen = sorted(known, key=lambda token: len(self._postings[token]))[
            : max(0, reach - size + len(known))
        ]
        if fewest > size or not chosen:
            return np.zeros(0, np.int64)
        slots, hits = self._hits(chosen)
        wanted = needed[np.minimum(self._lengths.view[slots], len(needed) - 1)]
        # What lies beyond the tokens read can add at most `size - reach`.
        near = hits >= wanted - (size - reach)
        slots, wanted = slots[near], wanted[near]
        if len(slots) == 0:
            return np.zeros(0, np.int64)
        passing: Slots = slots[self._shared(known, slots) >= wanted]
        return passing

    def shared_with_all(self, tokens: Sequence[str]) -> npt.NDArray[np.int64]:
        """How many tokens each slot shares with `tokens`. Reads the whole index."""
        counts = np.zeros(len(self), np.int64)
        filled = np.flatnonzero(self._lengths.view)
        if len(filled):
            counts[filled] = self._shared(self._known(tokens), filled)
        return counts

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Number of tokens by slot; a view, valid until the next `add`."""
        return self._lengths.view

    def _hits(self, chosen: list[int]) -> tuple[Slots, npt.NDArray[np.int64]]:
        found = np.concatenate([np.frombuffer(self._postings[token], np.uint32) for token in chosen])
        if len(found) * _FEW < len(self):
            slots, hits = np.unique(found, return_counts=True)
            return slots.astype(np.int64), hits
        counts = np.bincount(found, minlength=len(self))
        slots = np.flatnonzero(counts > 0)
        return slots, counts[slots]

    def _shared(self, known: list[int], slots: Slots) -> npt.NDArray[np.int64]:
        if len(self._wanted) < len(self._postings):
            self._wanted = np.zeros(2 * len(self._postings), bool)
        self._wanted[known] = True
        lengths = self._lengths.view[slots]
        ends = np.cumsum(lengths)
        begins = ends - lengths
        places = np.arange(int(ends[-1])) + np.repeat(self._starts.view[slots] - begins, lengths)
        is_shared = self._wanted[self._flat.view[places]]
        self._wanted[known] = False
        # A sum per list, by differences of running totals: reduceat would misread an emptied slot.
        totals = np.concatenate(([0], np.cumsum(is_shared)))
        return np.asarray(totals[ends] - totals[begins], np.int64)

    def _known(self, tokens: Sequence[str]) -> list[int]:
        ids = (self._ids.get(name) for name in self._occurrences(tokens))
        return [token for token in ids if token is not None]

    def _occurrences(self, tokens: Sequence[str]) -> Iterator[str | tuple[int, int]]:
        """Each token's name: the word itself for its first place, (its id, k) for its k-th further one.

        A repeated word that the index does not know is left out: nothing can share it.
        """
        seen: dict[str, int] = {}
        for token in tokens:
            k = seen.get(token, 0)
            seen[token] = k + 1
            if not k:
                yield token
            elif (first := self._ids.get(token)) is not None:
                yield first, k

    def _id(self, name: str | tuple[int, int]) -> int:
        token = self._ids.get(name)
        if token is None:
            token = len(self._postings)
            self._ids[name] = token
            self._postings.append(array("I"))
            self._first.append(token if isinstance(name, str) else name[0])
            self._names.append(name if isinstance(name, str) else "")
        return token

"""Which instructions are too alike: exact ROUGE-L against a whole pool, without comparing with all of it.

The index never changes a decision: what it leaves out cannot reach the threshold. In parity mode the decision
is that of Google's `rouge_score` alone (F > threshold, no stemmer, float ties included). Otherwise a text is
refused only if both its words, of any script, and its tokens with symbols say so (see `pairs/tokens.py`):
they score above the threshold too, and no term is swapped for one that differs only in symbols ("C++" for
"C#").
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .overlap import OverlapIndex
from .rouge import f_measure, lcs_with_masks, masks_of, rouge_l
from .tokens import rouge_tokens, symbol_tokens, unseen_swap, word_tokens

LONGEST = 2000
"""Tokens of a text that are compared; what follows is not looked at, except in parity mode."""
_TABLES = 256
_CACHED_UP_TO = 256
_COMPACT_FROM = 1024


@dataclass(frozen=True, slots=True)
class Near:
    """A neighbour: its key, ROUGE-L F of the word tokens (0..1), and whether the pool's rule calls both
    alike."""

    key: Hashable
    score: float
    alike: bool


@dataclass(frozen=True, slots=True)
class _Text:
    words: list[str]
    symbols: list[str] | None


class SimilarityIndex:
    """A pool of texts by key. Safe to use from several threads: each method is one step.

    `threshold` is 0..1: two texts are alike if ROUGE-L F is *greater*, so at 1.0 nothing is ever refused.
    Raises ValueError for any other threshold.
    """

    def __init__(self, threshold: float = 0.7, parity: bool = False) -> None:
        if not 0 <= threshold <= 1:
            raise ValueError(f"a similarity threshold lies between 0 and 1, not at {threshold!r}")
        self.threshold = float(threshold)
        self.parity = parity
        self._lock = threading.RLock()
        self._tables: OrderedDict[tuple[int, float, bool, int], npt.NDArray[np.int64]] = OrderedDict()
        self._clear()

    def __len__(self) -> int:
        return len(self._slots)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._slots

    def add(self, key: Hashable, text: str) -> None:
        """Put a text into the pool, alike or not; a key that is there already gets the new text."""
        read = self._read(text)
        with self._lock:
            if key in self._slots:
                self.remove(key)
            self._store(key, read)

    def remove(self, key: Hashable) -> None:
        """Take a text out of the pool. Does nothing if the key is not there."""
        with self._lock:
            slot = self._slots.pop(key, None)
            if slot is None:
                return
            self._index.remove(slot)
            self._keys[slot] = None
            self._symbols.pop(slot, None)
            if len(self._index) > _COMPACT_FROM and len(self._slots) < len(self._index) // 2:
                self._compact()

    def check(self, text: str) -> Near | None:
        """The nearest of the texts that refuse this one (the earliest of equals); None if nothing is too
        alike."""
        read = self._read(text)
        with self._lock:
            return self._refuser(read)

    def admit(self, key: Hashable, text: str) -> Near | None:
        """`check` and, if nothing refuses the text, `add`, as one step: of alike arrivals only one gets
        in."""
        read = self._read(text)
        with self._lock:
            if key in self._slots:
                self.remove(key)
            refuser = self._refuser(read)
            if refuser is None:
                self._store(key, read)
            return refuser

    def nearest(
        self, text: str, at_least: float = 0.5, *, limit: int | None = None, exclude: Hashable | None = None
    ) -> list[Near]:
        """All texts with F >= `at_least` (above 0, at most 1), nearest first, equals in order of arrival."""
        if not 0 < at_least <= 1:
            raise ValueError(f"neighbours are looked for from above 0 up to 1, not from {at_least!r}")
        read = self._read(text)
        with self._lock:
            found = self._scored(read, at_least, strict=False)
            near = [
                Near(self._keys[slot], score, score > self.threshold and self._look_alike(read, slot))
                for slot, score in found
                if exclude is None or self._keys[slot] != exclude
            ]
        near.sort(key=lambda one: -one.score)
        return near[:limit]

    def best(self, text: str, *, exclude: Hashable | None = None) -> Near | None:
        """The one nearest text, however far it is; None in an empty pool. Time grows with the pool."""
        read = self._read(text)
        with self._lock:
            if not len(self._slots):
                return None
            shared = self._index.shared_with_all(read.words)
            lengths = self._index.lengths
            bounds = np.where(lengths > 0, 2 * shared / (lengths + max(1, len(read.words))), 0.0)
            best: tuple[float, int] | None = None
            masks = masks_of(self._index.numbers(read.words))
            for slot in np.argsort(-bounds, kind="stable").tolist():
                key = self._keys[slot]
                if self._slots.get(key) != slot or (exclude is not None and key == exclude):
                    continue
                if best is not None and (bounds[slot] == 0 or bounds[slot] < best[0] - 1e-9):
                    break
                score = self._score(masks, len(read.words), slot)
                if best is None or score > best[0]:
                    best = score, slot
            if best is None:
                return None
            score, slot = best
            return Near(self._keys[slot], score, score > self.threshold and self._look_alike(read, slot))

    def _clear(self) -> None:
        self._index = OverlapIndex()
        self._keys: list[Hashable | None] = []
        self._slots: dict[Hashable, int] = {}
        self._symbols: dict[int, tuple[str, ...]] = {}

    def _read(self, text: str) -> _Text:
        if self.parity:
            return _Text(rouge_tokens(text), None)
        symbols = symbol_tokens(text)
        return _Text(word_tokens(text)[:LONGEST], symbols and symbols[:LONGEST])

    def _store(self, key: Hashable, read: _Text) -> None:
        slot = self._index.add(read.words)
        self._keys.append(key)
        self._slots[key] = slot
        if read.symbols is not None:
            self._symbols[slot] = tuple(read.symbols)

    def _refuser(self, read: _Text) -> Near | None:
        found = sorted(self._scored(read, self.threshold, strict=True), key=lambda one: -one[1])
        for slot, score in found:
            if self._look_alike(read, slot):
                return Near(self._keys[slot], score, True)
        return None

    def _scored(self, read: _Text, bound: float, *, strict: bool) -> list[tuple[int, float]]:
        """Slots, ascending, whose word tokens score above `bound` (or at it, where not strict)."""
        size = len(read.words)
        if not size:
            return []
        slots = self._index.sharing(read.words, self._needed(size, bound, strict)).tolist()
        if not slots:
            return []
        masks = masks_of(self._index.numbers(read.words))
        scores = ((slot, self._score(masks, size, slot)) for slot in slots)
        return [(slot, score) for slot, score in scores if score > bound or (score == bound and not strict)]

    def _score(self, masks: dict[Hashable, int], size: int, slot: int) -> float:
        sequence = self._index.sequence(slot)
        return f_measure(lcs_with_masks(masks, size, sequence), size, len(sequence))

    def _look_alike(self, read: _Text, slot: int) -> bool:
        """The second look, for two texts whose words are alike."""
        theirs = self._symbols.get(slot)
        if self.parity or (read.symbols is None and theirs is None):
            return True
        mine = read.words if read.symbols is None else read.symbols
        other = self._index.words(slot) if theirs is None else theirs
        return rouge_l(mine, other) > self.threshold and not unseen_swap(mine, other)

    def _needed(self, size: int, bound: float, strict: bool) -> npt.NDArray[np.int64]:
        """For each length n of the other text, the fewest common tokens with which the score passes."""
        # Rounded up, so that a pool which grows does not ask for a new table with every longest text.
        longest = 1 << self._index.longest.bit_length()
        name = (size, bound, strict, longest)
        table = self._tables.get(name)
        if table is None:
            table = fewest_common(size, bound, strict, longest)
            if size <= _CACHED_UP_TO:
                self._tables[name] = table
                if len(self._tables) > _TABLES:
                    self._tables.popitem(last=False)
        return table

    def _compact(self) -> None:
        kept = [
            (key, slot, self._index.words(slot), self._symbols.get(slot)) for key, slot in self._slots.items()
        ]
        self._clear()
        for key, _, words, symbols in sorted(kept, key=lambda one: one[1]):
            self._store(key, _Text(words, list(symbols) if symbols is not None else None))


def fewest_common(size: int, bound: float, strict: bool, longest: int) -> npt.NDArray[np.int64]:
    """By the other text's length n <= `longest`: the least L for which F(L, size, n), in floats, is > bound.

    Where not strict, >=. Entries that no L can satisfy, the first and the last among them, are size + 1.
    """
    if bound:
        longest = min(longest, math.ceil((2 - bound) / bound * size) + 2)
    other = np.arange(1, longest + 1)
    table = np.full(longest + 2, size + 1, np.int64)
    found = table[1:-1]
    guess = np.floor(bound * (size + other) / 2).astype(np.int64)
    for step in (2, 1, 0, -1):
        common = guess + step
        with np.errstate(divide="ignore", invalid="ignore"):
            precision, recall = common / other, common / size
            score = 2 * precision * recall / (precision + recall)
        passes = (score > bound) | ((score == bound) & (not strict))
        ok = passes & (common >= 1) & (common <= np.minimum(size, other))
        found[ok] = common[ok]
    return table


def mean_nearest(texts: Sequence[str], *, parity: bool = False) -> float:
    """Mean over the texts of ROUGE-L F to the nearest other one: 0 is all different, 1 all the same.

    0.0 for fewer than two texts. Meant for samples of hundreds: time grows with the square of their number.
    """
    if len(texts) < 2:
        return 0.0
    index = SimilarityIndex(parity=parity)
    for place, text in enumerate(texts):
        index.add(place, text)
    found: Iterable[Near | None] = (index.best(text, exclude=place) for place, text in enumerate(texts))
    return math.fsum(near.score for near in found if near is not None) / len(texts)

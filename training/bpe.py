"""Train a small byte-level BPE on the run's own texts: for models that start from random weights.

Small and deterministic: ties are broken by the bytes of the pair. A thousand tokens from a thousand pairs take about
a second.
"""

from __future__ import annotations

import functools
import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

from .vocabulary import WORDS, Vocabulary

Pair = tuple[bytes, bytes]


@functools.cache
def _words() -> Any:
    import regex  # type: ignore[import-untyped]  # comes with tiktoken

    return regex.compile(WORDS)


def train(texts: Iterable[str], size: int) -> Vocabulary:
    """A vocabulary of at most `size` tokens: 256 bytes, merges by falling frequency, end-of-text last.

    Fewer where no pair of tokens occurs twice. Raises ValueError below 257.
    """
    if size < 257:
        raise ValueError(f"a byte-level vocabulary needs at least 257 tokens, not {size}")
    words = Counter(word for text in texts for word in _words().findall(text))
    merges = _merges(words, size - 257)
    tokens = [bytes([byte]) for byte in range(256)]
    known = set(tokens)
    for left, right in merges:
        if left + right not in known:
            known.add(left + right)
            tokens.append(left + right)
    tokens.append(b"")
    return Vocabulary("own", tokens, merges, len(tokens) - 1)


def _merges(words: Counter[str], wanted: int) -> list[Pair]:
    """The most frequent pairs, one after the other, each merged before the next is counted."""
    spelled = [[bytes([byte]) for byte in word.encode()] for word in words]
    counts = list(words.values())
    pairs: Counter[Pair] = Counter()
    where: defaultdict[Pair, set[int]] = defaultdict(set)
    for index, parts in enumerate(spelled):
        for pair in itertools.pairwise(parts):
            pairs[pair] += counts[index]
            where[pair].add(index)
    merges: list[Pair] = []
    made: set[bytes] = set()
    while len(made) < wanted and pairs:
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        if pairs[best] < 2:
            break
        if best[0] + best[1] in made:
            # the same token by another way: tiktoken knows tokens, not ways
            del pairs[best]
            continue
        merges.append(best)
        made.add(best[0] + best[1])
        for index in where.pop(best):
            _merge_word(spelled[index], best, counts[index], index, pairs, where)
        pairs.pop(best, None)
    return merges


def _merge_word(
    parts: list[bytes],
    pair: Pair,
    count: int,
    index: int,
    pairs: Counter[Pair],
    where: defaultdict[Pair, set[int]],
) -> None:
    """Merge one pair in one word, and keep the counts of its neighbours."""
    for old in itertools.pairwise(parts):
        if old in pairs:
            pairs[old] -= count
            if pairs[old] <= 0:
                del pairs[old]
    position = 0
    while position < len(parts) - 1:
        if (parts[position], parts[position + 1]) == pair:
            parts[position : position + 2] = [pair[0] + pair[1]]
        position += 1
    for new in itertools.pairwise(parts):
        pairs[new] += count
        where[new].add(index)

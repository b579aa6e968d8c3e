"""Train, test and validation: near-duplicates stay on one side, and what was assigned once stays where it is."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from .similarity import SimilarityIndex
from .store.driver import sqlite3
from .store.pair_rows import get_pairs

Side = Literal["train", "test", "validation"]

SHARES: Mapping[Side, float] = {"train": 0.85, "test": 0.10, "validation": 0.05}
ALIKE = 0.6
"""ROUGE-L of instruction and input above which two pairs belong to one group."""
_PAGE = 2000


def assign(texts: Sequence[tuple[int, str]], fixed: Mapping[int, Side]) -> dict[int, Side]:
    """A side for every id in `texts` that has none in `fixed`. Deterministic: order and time do not matter.

    Groups are connected components of texts alike. A group with a fixed member joins it (its nearest one, where
    members are fixed on several sides); the others go, large ones first, to the side that lacks most of its share.
    """
    texts = sorted(texts)
    index = SimilarityIndex(threshold=ALIKE)
    parent = {pair: pair for pair, _ in texts}
    neighbours: dict[int, list[tuple[float, int]]] = {}
    for pair, text in texts:
        for near in index.nearest(text, ALIKE):
            if near.score > ALIKE:
                other = int(str(near.key))
                neighbours.setdefault(pair, []).append((near.score, other))
                neighbours.setdefault(other, []).append((near.score, pair))
                parent[_root(parent, pair)] = _root(parent, other)
        index.add(pair, text)
    groups: dict[int, list[int]] = {}
    for pair, _ in texts:
        groups.setdefault(_root(parent, pair), []).append(pair)
    sizes: dict[Side, int] = dict.fromkeys(SHARES, 0)
    for pair, _ in texts:
        if pair in fixed:
            sizes[fixed[pair]] += 1
    dealt: dict[int, Side] = {}
    free = []
    for members in groups.values():
        if any(pair in fixed for pair in members):
            joined = _join(members, fixed, neighbours)
            for side in joined.values():
                sizes[side] += 1
            dealt |= joined
        else:
            free.append(members)
    text_of = dict(texts)
    free.sort(key=lambda members: (-len(members), _shuffled(text_of[members[0]], members[0])))
    for members in free:
        total = sum(sizes.values()) + len(members)
        side = max(SHARES, key=lambda side: (SHARES[side] * total - sizes[side], SHARES[side]))
        sizes[side] += len(members)
        dealt |= dict.fromkeys(members, side)
    return dealt


def _root(parent: dict[int, int], pair: int) -> int:
    while parent[pair] != pair:
        parent[pair] = parent[parent[pair]]
        pair = parent[pair]
    return pair


def _join(
    members: Sequence[int], fixed: Mapping[int, Side], neighbours: Mapping[int, Sequence[tuple[float, int]]]
) -> dict[int, Side]:
    """Sides of a group's newcomers: grown from the fixed members along the strongest likenesses."""
    sides = {pair: fixed[pair] for pair in members if pair in fixed}
    joined: dict[int, Side] = {}
    # A heap, the strongest first; of equals the smallest source, then the largest neighbour. A dataset made from one
    # template is a single group, in which everybody is everybody's neighbour.
    edges = [
        (-score, pair, -other)
        for pair in sides
        for score, other in neighbours.get(pair, ())
        if other not in sides
    ]
    heapq.heapify(edges)
    while edges:
        _, source, negative = heapq.heappop(edges)
        pair = -negative
        if pair in sides:
            continue
        sides[pair] = joined[pair] = sides[source]
        for score, other in neighbours.get(pair, ()):
            if other not in sides:
                heapq.heappush(edges, (-score, pair, -other))
    return joined


def _shuffled(text: str, pair: int) -> bytes:
    """An order that has nothing to do with that of the file, and is the same every time."""
    return hashlib.sha256(f"{text}\n{pair}".encode("utf-8", "replace")).digest()


def parity_sides(pair_ids: Sequence[int]) -> dict[int, Side]:
    """The reference text's split: by file order, 85 % train, then 10 % test, the rest validation."""
    ordered = sorted(pair_ids)
    train = int(len(ordered) * 0.85)
    test = train + int(len(ordered) * 0.1)
    sides: dict[int, Side] = {}
    for position, pair in enumerate(ordered):
        sides[pair] = "train" if position < train else "test" if position < test else "validation"
    return sides


def stored_sides(conn: sqlite3.Connection) -> dict[int, Side]:
    """What is assigned already."""
    return {row[0]: row[1] for row in conn.execute("SELECT pair_id, side FROM split")}


def texts_to_split(conn: sqlite3.Connection, pair_ids: Iterable[int]) -> list[tuple[int, str]]:
    """What `assign` compares: instruction and input of each of these pairs."""
    everyone = sorted(set(pair_ids))
    texts = []
    for start in range(0, len(everyone), _PAGE):
        for pair in get_pairs(conn, everyone[start : start + _PAGE]):
            texts.append((pair.id, f"{pair.instruction} {pair.input}".strip()))
    return texts


def store_sides(conn: sqlite3.Connection, sides: Mapping[int, Side]) -> None:
    """Keep assignments; one that is stored already stays. Needs the writing connection."""
    conn.executemany("INSERT OR IGNORE INTO split (pair_id, side) VALUES (?, ?)", sorted(sides.items()))

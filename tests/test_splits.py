"""The split: whole groups, fixed for ever, near to 85/10/5."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairsmith.pairs import splits
from pairsmith.pairs.rouge import rouge_l
from pairsmith.pairs.splits import ALIKE, Side, assign, parity_sides
from pairsmith.pairs.tokens import word_tokens
from tests.brains import fresh_instruction


def distinct(count: int, seed: int = 0) -> list[tuple[int, str]]:
    rng = random.Random(seed)
    return [(number, fresh_instruction(rng)) for number in range(count)]


def test_a_thousand_unlike_pairs_are_dealt_85_10_5() -> None:
    assert Counter(assign(distinct(1000), {}).values()) == {"train": 850, "test": 100, "validation": 50}


def test_the_order_of_the_pairs_does_not_matter() -> None:
    texts = distinct(60)
    assert assign(texts, {}) == assign(texts[::-1], {})


words = st.lists(st.sampled_from(["ab", "cd", "ef", "gh", "ij", "kl"]), min_size=1, max_size=6).map(" ".join)


@given(st.lists(words, min_size=1, max_size=25))
def test_pairs_alike_are_on_one_side(instructions: list[str]) -> None:
    texts = list(enumerate(instructions))
    sides = assign(texts, {})
    for one, a in texts:
        for two, b in texts:
            if rouge_l(word_tokens(a), word_tokens(b)) > ALIKE:
                assert sides[one] == sides[two]


@given(st.lists(words, min_size=2, max_size=25), st.integers(1, 24))
def test_newcomers_change_no_assignment(instructions: list[str], known: int) -> None:
    texts = list(enumerate(instructions))
    first = assign(texts[:known], {})
    later = assign(texts, first)
    assert not later.keys() & first.keys()
    assert (first | later).keys() == {pair for pair, _ in texts}


def test_a_newcomer_joins_the_side_of_its_likeness() -> None:
    fixed: dict[int, Side] = {0: "validation", 1: "train"}
    texts = [(0, "make a new branch for me"), (1, "what is a remote"), (2, "make a new branch for us")]
    assert assign(texts, fixed) == {2: "validation"}


def test_newcomers_to_a_large_group_are_dealt_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each one's neighbours are looked through once, not all edges again for every newcomer."""
    asked: Counter[int] = Counter()

    class Counted(dict[int, Any]):
        def get(self, key: int, default: Any = None) -> Any:
            asked[key] += 1
            return super().get(key, default)

    join = splits._join
    monkeypatch.setattr(
        splits, "_join", lambda members, fixed, neighbours: join(members, fixed, Counted(neighbours))
    )
    template = "translate the following short sentence into french for me please number"
    texts = [(number, f"{template} {number}") for number in range(176)]
    first = assign(texts[:160], {})
    later = assign(texts, first)
    assert asked == dict.fromkeys(range(176), 1)
    assert later == dict.fromkeys(range(160, 176), first[0])


def test_parity_splits_by_file_order() -> None:
    sides = parity_sides(range(1100))
    assert Counter(sides.values()) == {"train": 935, "test": 110, "validation": 55}
    assert (sides[934], sides[935], sides[1044], sides[1045]) == ("train", "test", "test", "validation")

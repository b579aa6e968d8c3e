"""Sharing N over topics, and what happens when one gives no more."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from pairsmith.pairs.quota import list_size, move_rest, ran_dry, share

weights = st.dictionaries(st.integers(0, 50), st.floats(0, 100), min_size=1, max_size=20)


@given(st.integers(0, 10_000), weights)
def test_a_share_adds_up_to_the_whole(total: int, parts: dict[int, float]) -> None:
    dealt = share(total, parts)
    assert sum(dealt.values()) == total
    assert dealt.keys() == parts.keys()
    assert min(dealt.values()) >= 0


def test_equal_weights_differ_by_at_most_one() -> None:
    assert share(7, {1: 1, 2: 1, 3: 1}) == {1: 3, 2: 2, 3: 2}


def test_a_topic_of_weight_nought_gets_nothing_beside_others() -> None:
    assert share(10, {1: 0, 2: 5}) == {1: 0, 2: 10}


def test_all_weights_nought_count_as_equal() -> None:
    assert share(4, {1: 0, 2: 0}) == {1: 2, 2: 2}


quotas = st.dictionaries(
    st.integers(0, 9), st.tuples(st.integers(0, 100), st.integers(0, 100), st.booleans()), min_size=1
)


@given(quotas)
def test_moving_the_rest_of_dry_topics_keeps_the_sum(state: dict[int, tuple[int, int, bool]]) -> None:
    before = {topic: max(quota, done) for topic, (quota, done, _) in state.items()}
    done = {topic: done for topic, (_, done, _) in state.items()}
    dry = [topic for topic, (_, _, is_dry) in state.items() if is_dry]
    after = move_rest(before, done, dry)
    assert sum(after.values()) == sum(before.values())
    assert all(after[topic] >= done[topic] for topic in after)


def test_a_dry_topic_keeps_only_what_it_has() -> None:
    assert move_rest({1: 100, 2: 100}, {1: 83, 2: 10}, [1]) == {1: 83, 2: 117}


def test_where_every_topic_is_dry_nothing_moves() -> None:
    assert move_rest({1: 5, 2: 5}, {1: 1, 2: 1}, [1, 2]) == {1: 5, 2: 5}


@given(st.integers(1, 10_000), st.integers(1, 100), st.floats(0, 1))
def test_a_list_is_never_longer_than_the_recipe_allows(missing: int, per_call: int, recent: float) -> None:
    assert 1 <= list_size(missing, per_call, recent) <= per_call


def test_a_poor_yield_makes_lists_longer() -> None:
    assert list_size(10, 100, 1.0) == 10
    assert list_size(10, 100, 0.5) >= 20


def test_a_list_fills_what_is_missing_in_five_cases_of_six_not_in_every_second() -> None:
    rng = random.Random(1)
    asked = list_size(10, 100, 0.5)
    filled = sum(sum(rng.random() < 0.5 for _ in range(asked)) >= 10 for _ in range(2000))
    assert 0.78 < filled / 2000 < 0.95
    assert list_size(10, 100, 0.9) <= 13


def test_a_topic_is_not_dry_before_enough_lists_were_read() -> None:
    assert not ran_dry([(20, 0)] * 7, calls=8, floor=0.1)
    assert ran_dry([(20, 0)] * 8, calls=8, floor=0.1)


def test_only_the_last_lists_tell_whether_a_topic_is_dry() -> None:
    assert not ran_dry([(20, 0)] * 20 + [(20, 20)], calls=8, floor=0.1)
    assert ran_dry([(20, 20)] + [(20, 1)] * 8, calls=8, floor=0.1)

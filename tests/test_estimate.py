"""The price of a run before it is paid: sums that hold, and averages that count once there are enough of them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pairsmith.backends.registry import Settings
from pairsmith.pairs.estimate import Average, Basis, estimate
from pairsmith.pairs.estimating import estimate_run
from pairsmith.pairs.generation_plan import GenerateSettings
from pairsmith.pairs.recipes import load_recipe
from pairsmith.pairs.store.meta import set_meta
from pairsmith.pairs.store.topics import add_topic
from pairsmith.pairs.surroundings import Surroundings
from pairsmith.pairs.topic_tree import POOL_TOPIC
from pairsmith.pairs.user_settings import UserSettings

from .brains import DefectiveLists
from .generation import REWARD, end_of, make_workspace, run_job, settings_for
from .servers.nim import NimServer

RECIPE = load_recipe("english")
NOTHING = Basis({})


def test_five_hundred_pairs_on_five_topics_at_forty_requests_a_minute() -> None:
    free = Basis({}, price=(0.0, 0.0), judge_price=(0.0, 0.0), requests_per_minute=40.0)
    found = estimate(500, [100] * 5, RECIPE, True, free)
    assert (found.lists, found.responses, found.scores) == (35, 516, 500)
    assert found.calls == 35 + 516 + 500
    assert found.cost == 0.0
    assert found.minutes == found.calls / 40
    assert not found.measured


@given(
    st.lists(st.integers(0, 300), max_size=12),
    st.floats(0.01, 1.0),
    st.floats(0.05, 1.0),
    st.booleans(),
)
def test_calls_are_the_sum_of_their_kinds_and_never_fewer_than_pairs(
    topics: list[int], survive: float, useful: float, judged: bool
) -> None:
    pairs = sum(topics) or 7
    basis = Basis({"response": Average(50, 200, 2.0, useful)}, survive)
    found = estimate(pairs, topics if sum(topics) else [], RECIPE, judged, basis)
    assert found.calls == found.topic_calls + found.lists + found.responses + found.scores
    assert found.responses >= pairs
    assert found.lists >= math.ceil(pairs / RECIPE.instructions.per_call)
    assert found.scores == (pairs if judged else 0)
    assert found.tokens_out > 0


def test_more_of_anything_costs_more() -> None:
    priced = Basis({}, price=(1.0, 2.0), judge_price=(0.5, 0.5))
    few, many = (estimate(n, [n], RECIPE, True, priced) for n in (100, 200))
    assert few.cost is not None
    assert many.cost is not None
    assert many.calls > few.calls
    assert many.cost > few.cost


def test_a_price_that_nobody_knows_is_not_zero() -> None:
    assert estimate(10, [10], RECIPE, False, NOTHING).cost is None
    judge_unknown = Basis({}, price=(0.0, 0.0))
    assert estimate(10, [10], RECIPE, False, judge_unknown).cost == 0.0
    assert estimate(10, [10], RECIPE, True, judge_unknown).cost is None


def test_without_a_rate_or_a_measured_call_there_is_no_time() -> None:
    assert estimate(10, [10], RECIPE, False, NOTHING).minutes is None
    measured = Basis({"response": Average(50, 200, 6.0)}, at_once=2.0)
    found = estimate(97, [97], RECIPE, False, measured)
    assert found.minutes == 97 * 6.0 / 2 / 60
    assert found.measured


def test_where_self_instructs_pool_stands_is_no_topic_of_a_topic_tree_run(tmp_path: Path) -> None:
    around = Surroundings({}, Settings(), UserSettings())
    with make_workspace(tmp_path, topics=["Branching"]) as workspace:
        before = estimate_run(workspace, around, 41, method="topic-tree")

        def with_pool(conn: Any) -> None:
            set_meta(conn, POOL_TOPIC, str(add_topic(conn, "Pool", maker="model")))

        workspace.write(with_pool)
        assert estimate_run(workspace, around, 41, method="topic-tree") == before


def test_topics_that_are_still_to_be_named_cost_a_call() -> None:
    assert estimate(10, [], RECIPE, False, NOTHING).topic_calls == 1


async def test_after_a_run_the_estimate_goes_by_what_its_calls_took(tmp_path: Path) -> None:
    async with NimServer(DefectiveLists(seed=1, chance=0)) as server:
        workspace = make_workspace(tmp_path, judge=REWARD, topics=["Branching", "Merging"])
        settings = settings_for(server)
        around = Surroundings(server.env, settings, UserSettings())
        before = estimate_run(workspace, around, 40)
        _, ledger = end_of(await run_job(workspace, server, GenerateSettings(40)))
        after = estimate_run(workspace, around, 40)
        workspace.close()
    assert not before.measured
    assert after.measured
    assert abs(after.calls - ledger.calls.made) <= 0.15 * ledger.calls.made
    spent = ledger.calls.tokens_in + ledger.calls.tokens_out
    assert abs(after.tokens_in + after.tokens_out - spent) <= 0.25 * spent

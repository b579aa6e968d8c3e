"""What a limit of one start is called where it ends the work."""

from __future__ import annotations

import pytest

from pairsmith.pairs.limits import Budget, LimitReached, Limits


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (Limits(calls=0), "0 calls"),
        (Limits(calls=1), "1 call"),
        (Limits(calls=1000), "1000 calls"),
        (Limits(tokens=1), "1 token"),
        (Limits(tokens=8), "8 tokens"),
        (Limits(minutes=1), "1 minute"),
        (Limits(minutes=1.0), "1 minute"),
        (Limits(minutes=1.5), "1.5 minutes"),
    ],
)
async def test_a_limit_that_is_reached_is_named_in_the_singular_only_where_it_is_one(
    limits: Limits, said: str
) -> None:
    now = 0.0
    budget = Budget(limits, lambda: now)
    for _ in range(limits.calls or 0):
        await budget.reserve(5, 0)
    now = 90.0
    with pytest.raises(LimitReached) as reached:
        await budget.reserve(9, 0)
    assert reached.value.what == said

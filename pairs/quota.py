"""The arithmetic of an exact quota: sharing N over topics, how much to ask for, when a topic has run dry."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence


def share(total: int, weights: Mapping[int, float]) -> dict[int, int]:
    """`total` dealt out in whole numbers in proportion to the weights; the sum is exactly `total`.

    What rounding leaves goes to the largest remainders, earlier keys first. All weights 0 count as equal.
    """
    if not weights:
        return {}
    whole = sum(weights.values())
    if whole <= 0:
        weights, whole = dict.fromkeys(weights, 1.0), float(len(weights))
    exact = {key: total * weight / whole for key, weight in weights.items()}
    dealt = {key: math.floor(amount) for key, amount in exact.items()}
    order = sorted(weights, key=lambda key: dealt[key] - exact[key])
    for key in order[: total - sum(dealt.values())]:
        dealt[key] += 1
    return dealt


def move_rest(quotas: Mapping[int, int], done: Mapping[int, int], dry: Sequence[int]) -> dict[int, int]:
    """Quotas after the dry topics gave up what they cannot fill; the others share it. The sum stays the same.

    `done`: what each topic has kept or has in progress. Where every topic is dry, nothing moves.
    """
    others = [topic for topic in quotas if topic not in dry]
    if not others:
        return dict(quotas)
    rest = sum(max(0, quotas[topic] - done.get(topic, 0)) for topic in dry)
    extra = share(rest, {topic: max(1, quotas[topic]) for topic in others})
    return {
        topic: quotas[topic] + extra[topic] if topic in extra else min(quotas[topic], done.get(topic, 0))
        for topic in quotas
    }


def list_size(missing: int, per_call: int, recent_yield: float) -> int:
    """How many instructions to ask for in one list, never more than `per_call`: enough to fill what is missing at the
    present yield, with one standard deviation of luck on top, since a few instructions too many cost less than a
    further list. At least 3, since a model that is asked for one gives its favourite one."""
    chance = min(1.0, max(recent_yield, 0.2))
    enough = (missing + math.sqrt(missing * (1 - chance))) / chance
    return max(min(per_call, 3), min(per_call, math.ceil(enough)))


def ran_dry(lists: Sequence[tuple[int, int]], calls: int, floor: float) -> bool:
    """Whether the last `calls` lists, each (asked, survived), together gave less than `floor` of what was asked."""
    recent = lists[-calls:]
    asked = sum(a for a, _ in recent)
    return len(recent) >= calls and sum(s for _, s in recent) < floor * asked

"""What a run will cost, said before it is spent; and the limits of one start."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from pairsmith.pairs.limits import Limits
from pairsmith.pairs.run_plan import RunPlan

from ..text import wrap
from ..widgets.meters import amount, duration, money
from .ask import FormScreen, Text, Values, whole_number

if TYPE_CHECKING:
    from pairsmith.pairs.estimate import Estimate

    from ..session import Session


async def said_estimate(session: Session, plan: RunPlan) -> str:
    """The price of a run as a sentence. Raises PairsmithError, BackendError."""
    from pairsmith.pairs.estimating import estimate_run

    assert session.workspace is not None
    around = await session.surroundings()
    found = await asyncio.to_thread(estimate_run, session.workspace, around, plan.pairs, method=plan.method)
    return f"{estimate_text(found)} limits: {limits_text(plan.limits)}"


def estimate_text(found: Estimate) -> str:
    """'This run: about 1,050 calls (10 lists, 520 responses, 520 scores), ...'."""
    parts = [f"{found.lists:,} lists", f"{found.responses:,} responses"]
    if found.classifications:
        parts.insert(1, f"{found.classifications:,} classifications")
    if found.topic_calls:
        parts.insert(0, "topics")
    if found.scores:
        parts.append(f"{found.scores:,} scores")
    time = f", {duration(found.minutes)}" if found.minutes else ""
    time += f" at {found.per_minute:.0f} requests a minute" if time and found.per_minute else ""
    basis = "by this workspace's own calls" if found.measured else "no call measured yet"
    return (
        f"This run: about {found.calls:,} calls ({', '.join(parts)}), {amount(found.tokens_in)} tokens in,"
        f" {amount(found.tokens_out)} out, {money(found.cost)}{time} ({basis})."
    )


def limits_text(limits: Limits) -> str:
    """'1,200 calls · no token limit · $0 · no time limit', or 'none'."""
    if limits == Limits():
        return "none"
    return " · ".join(
        [
            f"{limits.calls:,} calls" if limits.calls is not None else "no call limit",
            f"{limits.tokens:,} tokens" if limits.tokens is not None else "no token limit",
            f"${limits.cost:g}" if limits.cost is not None else "no money limit",
            f"{limits.minutes:g} min" if limits.minutes is not None else "no time limit",
        ]
    )


def estimate_lines(text: str, width: int) -> list[str]:
    """The sentence in lines, the limits on one of their own."""
    price, _, limits = text.partition(" limits: ")
    return [*wrap(price, width)[:4], *([f"limits: {limits}"] if limits else [])]


def limits_form(plan: RunPlan, keep: Callable[[RunPlan], Awaitable[None]]) -> FormScreen:
    """A form of the four limits; empty is none."""
    limits = plan.limits

    async def do(values: Values) -> str | None:
        await keep(replace(plan, limits=read_limits(values)))
        return None

    def shown(value: float | None) -> str:
        return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)

    fields = [
        Text("calls", "calls", shown(limits.calls)),
        Text("tokens", "tokens", shown(limits.tokens), "in and out together"),
        Text("cost", "US dollars", shown(limits.cost), "0: nothing that costs; needs known prices"),
        Text("minutes", "minutes", shown(limits.minutes)),
    ]
    intro = "The most that one start may spend; nothing goes over it. Empty: no limit."
    return FormScreen("Limits", fields, do, intro=intro)


def read_limits(values: Values) -> Limits:
    """Raises ValueError with a sentence."""
    return Limits(
        calls=whole_number(values["calls"], "The limit of calls") if values["calls"].strip() else None,
        tokens=whole_number(values["tokens"], "The limit of tokens") if values["tokens"].strip() else None,
        cost=_amount(values["cost"], "The limit of money") if values["cost"].strip() else None,
        minutes=_amount(values["minutes"], "The limit of minutes") if values["minutes"].strip() else None,
    )


def _amount(text: str, name: str) -> float:
    try:
        value = float(text.strip().lstrip("$"))
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9:
        raise ValueError(f"{name} is a number from 0")
    return value

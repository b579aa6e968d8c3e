"""The same over real HTTP, with time scaled: generator and judge on one key against a NIM with a hidden limit."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable

import pytest

from pairsmith.backends.errors import RateLimited
from pairsmith.backends.pacing import forget_pacers, pacer_of
from pairsmith.backends.registry import Settings, open_backend, parse_spec
from tests.hidden_limit import HiddenLimit
from tests.http_doors import ASK, MODEL
from tests.servers.nim import Answer, NimServer, Rules, reward_answer

REWARD = "nvidia/llama-3.1-nemotron-70b-reward"


async def two_on_one_key(
    limit: HiddenLimit, header: Callable[[float], str | None], scale: float, windows: int
) -> float:
    """Keeps both busy for so many windows; gives the (scaled) time of the first request."""
    rng = random.Random(limit.limit)
    rules = Rules(
        limit=limit, retry_after=header, time_scale=scale, latency=lambda: rng.uniform(0.2, 4) / scale
    )

    def brain(body: dict[str, object]) -> Answer:
        return reward_answer(-1.5) if body["model"] == REWARD else Answer("Git is a tool.")

    async with NimServer(brain, rules) as server:
        settings = Settings.from_environment({**server.env, "PAIRSMITH_TIME_SCALE": str(scale)})
        doors = [open_backend(parse_spec(f"nim:{m}"), settings) for m in (MODEL, REWARD)]
        pacers = {id(pacer_of(d, settings, await d.capabilities())) for d in doors}
        assert len(pacers) == 1
        end = time.monotonic() + 60 * windows / scale

        async def caller(i: int) -> None:
            door = doors[i % 2]
            pacer = pacer_of(door, settings, await door.capabilities())
            while time.monotonic() < end:
                try:
                    async with pacer.admit():
                        await door.complete(ASK)
                except RateLimited:
                    continue

        tasks = [asyncio.create_task(caller(i)) for i in range(24)]
        await asyncio.sleep(end - time.monotonic())
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert not [
            r for r in results if isinstance(r, Exception) and not isinstance(r, asyncio.CancelledError)
        ]
        for door in doors:
            await door.close()
    return limit.accepted[0]


def check(limit: HiddenLimit, start: float, windows: int, *, use: float, refused: float) -> None:
    used = limit.use_by_window(start, windows)[1:]
    assert sum(used) / len(used) >= use, (limit.limit, used)
    assert limit.refused_since(start + 60) <= refused, (limit.limit, len(limit.refused))


HEADERS: dict[str, Callable[[float], str | None]] = {
    "no header": lambda wait: None,
    "header": lambda wait: str(max(1, round(wait + 0.5))),
}


@pytest.fixture(autouse=True)
def no_pacers() -> None:
    forget_pacers()


async def test_generator_and_judge_share_a_hidden_limit_with_and_without_a_header() -> None:
    """Both at once: they wait more than they work. The figures leave room for a busy machine, whose waits grow twenty
    times here; in virtual time (test_pacing.py), and by `make faults`, they are exact."""
    limits = {header: HiddenLimit(random.Random(header).randint(15, 120)) for header in HEADERS}
    starts = await asyncio.gather(
        *(two_on_one_key(limits[header], HEADERS[header], scale=20, windows=4) for header in HEADERS)
    )
    for limit, start in zip(limits.values(), starts, strict=True):
        check(limit, start, 4, use=0.5, refused=0.1)


@pytest.mark.faults
@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("seed", range(10))
async def test_many_hidden_limits(header: str, seed: int) -> None:
    limit = HiddenLimit(random.Random(seed).randint(15, 120))
    start = await two_on_one_key(limit, HEADERS[header], scale=20, windows=6)
    check(limit, start, 6, use=0.95, refused=0.02)

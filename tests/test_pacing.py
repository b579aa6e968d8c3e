"""The control law against hidden limits, in pure virtual time: hours of traffic, the same at every run."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import pytest

from pairsmith.backends.errors import MalformedReply, NotReachable, RateLimited, TimedOut, Unavailable
from pairsmith.backends.pacing import Pacer, forget_pacers, pacer_for
from pairsmith.backends.rate_law import RateLaw
from tests.hidden_limit import HiddenLimit
from tests.virtual_time import run_virtual

Seconds = tuple[float, float]
SOME_LIMITS = (15, 16, 17, 20, 24, 33, 40, 61, 90, 119, 120)
ALL_LIMITS = range(15, 121)


@dataclass(frozen=True)
class Traffic:
    """How callers, network and server behave; times are drawn between two bounds."""

    windows: int = 8
    answer: Seconds = (0.3, 8.0)
    network: Seconds = (0.02, 0.15)
    callers: int = 40
    header: Callable[[float], float | None] = lambda wait: None
    refusals_count: bool = False
    spacing: float | None = None
    cap: int | None = None


async def play(
    limit: int, traffic: Traffic, change: dict[float, int] | None = None
) -> tuple[HiddenLimit, Pacer]:
    """Callers that always want more, against a server with a limit (which may change at given times)."""
    rng, loop = random.Random(limit), asyncio.get_running_loop()
    server = HiddenLimit(limit, refusals_count=traffic.refusals_count)
    law = RateLaw(spacing=traffic.spacing, cap=traffic.cap)
    pacer = Pacer("k", law, start=6, ceiling=32, clock=loop.time)
    end = 60.0 * traffic.windows

    async def caller() -> None:
        while loop.time() < end:
            try:
                async with pacer.admit():
                    await asyncio.sleep(rng.uniform(*traffic.network))
                    wait = server.ask(loop.time())
                    if wait is not None:
                        await asyncio.sleep(rng.uniform(*traffic.network))
                        raise RateLimited("too many", retry_after=traffic.header(wait))
                    await asyncio.sleep(rng.uniform(*traffic.answer))
            except RateLimited:
                continue

    tasks = [asyncio.create_task(caller()) for _ in range(traffic.callers)]
    for at, new in sorted((change or {}).items()):
        await asyncio.sleep(at - loop.time())
        server.limit = new
    await asyncio.sleep(end - loop.time())
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return server, pacer


KINDS = {
    "no header": Traffic(),
    "honest header": Traffic(header=lambda wait: min(300.0, max(0.5, wait))),
    "header always 1": Traffic(header=lambda wait: 1.0),
    "quick answers": Traffic(answer=(0.01, 0.3)),
    "slow answers": Traffic(answer=(5.0, 12.0)),
    "local server": Traffic(network=(0.001, 0.004), spacing=0.004),
    "short run": Traffic(windows=4),
}


def use_well_and_hardly_hit(kind: str, limits: Iterable[int]) -> None:
    traffic = KINDS[kind]
    for limit in limits:
        server, pacer = run_virtual(play(limit, traffic))
        use = server.use_by_window(0.0, traffic.windows)[1:]
        assert min(use) >= 0.95 * limit // 1 / limit, (limit, use)
        assert sum(use) / len(use) >= 0.95, (limit, use)
        assert server.refused_since(60.0) <= 0.02, (limit, len(server.refused))
        assert pacer.snapshot().limit == limit


@pytest.mark.parametrize("kind", KINDS)
def test_from_the_second_window_on_the_limit_is_used_and_hardly_ever_hit(kind: str) -> None:
    use_well_and_hardly_hit(kind, SOME_LIMITS)


@pytest.mark.faults
@pytest.mark.parametrize("kind", KINDS)
def test_every_limit_is_used_and_hardly_ever_hit(kind: str) -> None:
    use_well_and_hardly_hit(kind, ALL_LIMITS)


@pytest.mark.parametrize("kind", ["no header", "local server"])
def test_a_server_that_counts_refusals_is_understood(kind: str) -> None:
    for limit in SOME_LIMITS:
        traffic = replace(KINDS[kind], refusals_count=True)
        server, _ = run_virtual(play(limit, traffic))
        use = server.use_by_window(0.0, traffic.windows)[1:]
        assert sum(use) / len(use) >= 0.95, (limit, use)
        assert server.refused_since(60.0) <= 0.02, (limit, len(server.refused))


def test_a_raised_limit_is_found() -> None:
    server, pacer = run_virtual(play(30, Traffic(windows=30), {200.0: 90}))
    assert pacer.snapshot().limit == 90
    assert server.refused_since(60.0) <= 0.02


def test_a_lowered_limit_is_followed() -> None:
    server, pacer = run_virtual(play(90, Traffic(windows=30), {300.0: 40}))
    assert (pacer.snapshot().limit or 0) in range(38, 41)
    assert server.refused_since(60.0) <= 0.02
    late = [t for t in server.accepted if t >= 1200]
    assert len(late) >= 0.94 * 40 * 10


def test_the_users_own_cap_is_never_passed() -> None:
    server, _ = run_virtual(play(100, Traffic(cap=20)))
    assert not server.refused
    inside = [sum(1 for t in server.accepted if s <= t < s + 60) for s in server.accepted]
    assert max(inside) == 20


def test_a_limit_of_the_hour_costs_few_refusals_and_ends_well() -> None:
    async def main() -> tuple[HiddenLimit, Pacer]:
        loop = asyncio.get_running_loop()
        server = HiddenLimit(30, window=1800)
        pacer = Pacer("k", RateLaw(), start=6, ceiling=32, clock=loop.time)

        async def caller() -> None:
            while loop.time() < 4 * 1800:
                try:
                    async with pacer.admit():
                        await asyncio.sleep(0.1)
                        if server.ask(loop.time()) is not None:
                            raise RateLimited("too many")
                        await asyncio.sleep(1)
                except RateLimited:
                    continue

        await asyncio.gather(*(caller() for _ in range(8)))
        return server, pacer

    server, _ = run_virtual(main())
    assert len(server.accepted) >= 4 * 30
    assert len(server.refused) <= 60


def test_a_limit_of_requests_at_once_is_not_taken_for_one_of_the_minute() -> None:
    async def main() -> tuple[int, int, Pacer]:
        loop = asyncio.get_running_loop()
        pacer = Pacer("k", RateLaw(), start=8, ceiling=32, clock=loop.time)
        now = done = refused = 0

        async def caller() -> None:
            nonlocal now, done, refused
            while loop.time() < 600:
                try:
                    async with pacer.admit():
                        if now >= 4:
                            refused += 1
                            raise RateLimited("too many concurrent requests")
                        now += 1
                        await asyncio.sleep(2)
                        now -= 1
                        done += 1
                except RateLimited:
                    continue

        await asyncio.gather(*(caller() for _ in range(12)))
        return done, refused, pacer

    done, refused, pacer = run_virtual(main())
    assert done >= 0.9 * 600 / 2 * 4
    assert refused <= 0.02 * done + 4
    assert pacer.snapshot().limit is None


async def hold(pacer: Pacer, seconds: float, error: Exception | None = None) -> None:
    async with pacer.admit():
        await asyncio.sleep(seconds)
        if error is not None:
            raise error


def fresh(loop: asyncio.AbstractEventLoop, **more: int) -> Pacer:
    return Pacer("k", RateLaw(spacing=0.0), clock=loop.time, **more)  # type: ignore[arg-type]


def test_turns_are_taken_in_order() -> None:
    async def main() -> list[int]:
        pacer, order = fresh(asyncio.get_running_loop(), start=2, ceiling=2), []

        async def caller(i: int) -> None:
            async with pacer.admit():
                order.append(i)
                await asyncio.sleep(1)

        await asyncio.gather(*(caller(i) for i in range(20)))
        return order

    assert run_virtual(main()) == list(range(20))


def test_a_retry_may_go_first() -> None:
    async def main() -> list[str]:
        pacer, order = fresh(asyncio.get_running_loop(), start=1, ceiling=1), []

        async def caller(name: str, first: bool) -> None:
            async with pacer.admit(first=first):
                order.append(name)
                await asyncio.sleep(1)

        tasks = [asyncio.create_task(caller(n, False)) for n in "ab"]
        await asyncio.sleep(0.5)
        await asyncio.gather(caller("retry", True), *tasks)
        return order

    assert run_virtual(main()) == ["a", "retry", "b"]


def test_a_cancelled_caller_leaves_no_trace() -> None:
    async def main() -> Pacer:
        pacer = fresh(asyncio.get_running_loop(), start=1, ceiling=1)
        tasks = [asyncio.create_task(hold(pacer, 10)) for _ in range(5)]
        await asyncio.sleep(1)
        for task in tasks[:4]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return pacer

    state = run_virtual(main()).snapshot()
    assert (state.in_flight, state.waiting) == (0, 0)


def test_a_request_that_never_left_does_not_count() -> None:
    async def main() -> Pacer:
        pacer = fresh(asyncio.get_running_loop())
        for _ in range(9):
            with pytest.raises(NotReachable):
                await hold(pacer, 0.1, NotReachable("nobody", reached=False))
        with pytest.raises(MalformedReply):
            await hold(pacer, 0.1, MalformedReply("cut"))
        return pacer

    assert run_virtual(main()).snapshot().used == 1


def test_a_server_that_chokes_is_asked_for_less_at_once_and_later_for_more() -> None:
    async def main() -> tuple[int, int]:
        pacer = fresh(asyncio.get_running_loop(), start=8, ceiling=8)
        errors = [Unavailable("busy"), *(TimedOut("slow") for _ in range(7))]
        tasks = [hold(pacer, 1, e) for e in errors]
        await asyncio.gather(*tasks, return_exceptions=True)
        low = pacer.snapshot().concurrency
        await asyncio.gather(*(hold(pacer, 1) for _ in range(100)))
        return low, pacer.snapshot().concurrency

    assert run_virtual(main()) == (4, 8)


def test_a_pause_that_a_busy_server_asks_for_is_kept() -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        pacer = fresh(loop)
        with pytest.raises(Unavailable):
            await hold(pacer, 0, Unavailable("busy", retry_after=20))
        await hold(pacer, 0)
        return loop.time()

    assert run_virtual(main()) == pytest.approx(20, abs=0.1)


def test_there_is_one_pacer_for_each_key() -> None:
    forget_pacers()
    try:
        one = pacer_for("a", parallel=2)
        assert pacer_for("a") is one
        assert pacer_for("b") is not one
        local = pacer_for("c", remote=False, parallel=2)
        assert local.ceiling == 2
        assert pacer_for("c", remote=False, parallel=5).ceiling == 5
    finally:
        forget_pacers()


def test_a_local_server_gets_its_requests_spaced_and_our_own_worker_at_once() -> None:
    forget_pacers()
    try:

        async def five(pacer: Pacer) -> None:
            for _ in range(5):
                async with pacer.admit():
                    pass

        server = pacer_for("server", remote=False)
        worker = pacer_for("worker", remote=False, spacing_s=0.0)
        asyncio.run(five(server))
        asyncio.run(five(worker))
        assert server.snapshot().next_in_s > 0
        assert worker.snapshot().next_in_s == 0
    finally:
        forget_pacers()


def test_one_pacer_serves_several_event_loops() -> None:
    pacer = Pacer("k", RateLaw(spacing=0.0), start=1, ceiling=1)

    async def main() -> None:
        other = asyncio.create_task(asyncio.to_thread(lambda: asyncio.run(hold(pacer, 0.02))))
        await asyncio.gather(*(hold(pacer, 0.01) for _ in range(5)), other)

    asyncio.run(main())
    asyncio.run(main())
    assert pacer.snapshot().in_flight == 0

"""A pause or a stop holds back every call that was not sent, those that wait for their turn too."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from pairsmith.pairs.control import Control
from pairsmith.pairs.events import Ended
from pairsmith.pairs.generating import GenerateJob
from pairsmith.pairs.generation_plan import GenerateSettings

from .brains import DefectiveLists
from .generation import REWARD, make_workspace, settings_for
from .servers.nim import NimServer


class Held:
    """Responses wait until they are let go; lists and scores come at once."""

    def __init__(self) -> None:
        self._brain = DefectiveLists(seed=1, chance=0)
        self.open = asyncio.Event()
        self.held = 0

    async def __call__(self, body: dict[str, Any]) -> str:
        text = self._brain(body)
        if text.startswith("To do that"):
            self.held += 1
            await self.open.wait()
        return text


async def job_of(tmp_path: Path, server: NimServer, control: Control) -> asyncio.Task[Ended]:
    """A run of forty pairs that goes on until its responses are held."""
    workspace = make_workspace(tmp_path, judge=REWARD, topics=["One", "Two"])
    job = GenerateJob(workspace, GenerateSettings(40), settings_for(server), control=control)

    async def consume() -> Ended:
        events = [event async for event in job.events()]
        await workspace.aclose()
        ended = events[-1]
        assert isinstance(ended, Ended)
        return ended

    return asyncio.create_task(consume())


async def asked_of(server: NimServer) -> int:
    """Calls that have come, once no more of those that were on their way come."""
    seen = -1
    while seen != server.completions:
        seen = server.completions
        await asyncio.sleep(0.1)
    return seen


async def test_a_stop_sends_nothing_more_and_keeps_what_is_in_flight(tmp_path: Path) -> None:
    brain, control = Held(), Control()
    async with NimServer(brain) as server:
        task = await job_of(tmp_path, server, control)
        while brain.held < 4:
            await asyncio.sleep(0.01)
        await asked_of(server)
        control.stop()
        asked = await asked_of(server)
        brain.open.set()
        ended = await asyncio.wait_for(task, 60)
        assert server.completions == asked
        assert ended.state == "paused"
        assert ended.ledger is not None
        assert ended.ledger.kept == brain.held
        assert ended.ledger.balance() == []
        assert ended.ledger.calls.in_flight == 0


async def test_a_pause_sends_nothing_more_until_it_is_over_and_nothing_is_lost(tmp_path: Path) -> None:
    brain, control = Held(), Control()
    async with NimServer(brain) as server:
        task = await job_of(tmp_path, server, control)
        while brain.held < 4:
            await asyncio.sleep(0.01)
        control.pause()
        asked = await asked_of(server)
        brain.open.set()
        await asyncio.sleep(0.3)
        assert server.completions == asked
        assert not task.done()
        control.resume()
        ended = await asyncio.wait_for(task, 60)
        assert ended.state == "done"
        assert ended.ledger is not None
        assert ended.ledger.kept == 40


async def test_a_stop_ends_a_pause(tmp_path: Path) -> None:
    brain, control = Held(), Control()
    async with NimServer(brain) as server:
        task = await job_of(tmp_path, server, control)
        while brain.held < 4:
            await asyncio.sleep(0.01)
        control.pause()
        brain.open.set()
        await asyncio.sleep(0.1)
        control.stop()
        ended = await asyncio.wait_for(task, 60)
        assert ended.state == "paused"


async def test_pausing_and_going_on_many_times_changes_nothing_in_the_end(tmp_path: Path) -> None:
    control = Control()
    async with NimServer(DefectiveLists(seed=2, chance=0.3)) as server:
        task = await job_of(tmp_path, server, control)
        while not task.done():
            control.pause()
            await asyncio.sleep(0.01)
            control.resume()
            await asyncio.sleep(0.03)
        ended = await task
        assert ended.state == "done"
        assert ended.ledger is not None
        assert (ended.ledger.kept, ended.ledger.balance()) == (40, [])

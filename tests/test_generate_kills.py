"""SIGKILL at random instants of one generate run: exactly N at the end, nothing shown is lost, little paid twice."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pairsmith.pairs.ledger import read_ledger
from pairsmith.pairs.normalise import normal_form
from pairsmith.pairs.store.integrity import check_workspace
from pairsmith.pairs.store.workspace import open_workspace

from .brains import DefectiveLists, asked_for, prompt_of
from .generation import REWARD, instructions, make_workspace
from .servers.nim import NimServer, Rules


class Meter:
    """Counts what the server was paid for, by prompt, and the most that was in flight at once."""

    def __init__(self, seed: int) -> None:
        self.brain = DefectiveLists(seed=seed, passing=0.8)
        self.paid: Counter[tuple[str, str]] = Counter()
        self.in_flight = 0

    async def __call__(self, body: Mapping[str, Any]) -> str:
        self.in_flight += 1
        try:
            await asyncio.sleep(0.03)
        finally:
            self.in_flight -= 1
        prompt = prompt_of(body)
        if asked_for(prompt) is None:
            self.paid[str(body["model"]), prompt] += 1
        return self.brain(body)


async def kill_and_finish(folder: Path, *, kills: int, pairs: int, seed: int) -> None:
    rng = random.Random(seed)
    meter = Meter(seed)
    async with NimServer(brain=meter, rules=Rules()) as server:
        with make_workspace(folder, judge=REWARD) as workspace:
            path = workspace.path
        environment = {
            **os.environ,
            **server.env,
            "PAIRSMITH_HOME": str(folder),
            "PAIRSMITH_TIME_SCALE": "20",
        }
        command = [sys.executable, "-m", "pairsmith.cli.main", "generate", str(path), "--pairs", str(pairs)]
        command += ["--where", "helpfulness >= 3", "--json"]
        seen: set[str] = set()
        most_in_flight = done = 0
        while True:
            process = await asyncio.create_subprocess_exec(
                *command, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
            )
            if done < kills:
                start = server.completions
                for _ in range(600):  # the interpreter starts before the first call does
                    if server.completions > start or process.returncode is not None:
                        break
                    await asyncio.sleep(0.02)
                await asyncio.sleep(rng.uniform(0, 0.25))
                most_in_flight += meter.in_flight + 8
                if process.returncode is None:
                    process.send_signal(signal.SIGKILL)
            _, errors = await process.communicate()
            with open_workspace(path, readonly=True) as workspace:
                stored = set(instructions(workspace))
                assert seen <= stored
                seen = stored
                ledger = workspace.read(lambda conn: read_ledger(conn, 1))
                assert ledger.balance() == []
                assert ledger.kept <= pairs
            if process.returncode == 0:
                break
            assert process.returncode == -signal.SIGKILL, errors.decode()
            done += 1
        assert check_workspace(path, deep=True) == []
        with open_workspace(path, readonly=True) as workspace:
            kept = instructions(workspace, verdict="undecided")
            ledger = workspace.read(lambda conn: read_ledger(conn, 1))
        assert (len(kept), ledger.kept, ledger.missing) == (pairs, pairs, 0)
        assert len({normal_form(text) for text in stored}) == len(stored)
        paid_twice = sum(count - 1 for count in meter.paid.values())
        assert paid_twice <= most_in_flight
        assert ledger.calls.made >= server.completions - most_in_flight
        assert ledger.calls.failed.get("interrupted", 0) >= paid_twice


async def test_three_kills_cost_no_pair(tmp_path: Path) -> None:
    await kill_and_finish(tmp_path, kills=3, pairs=60, seed=1)


@pytest.mark.faults
async def test_fifty_kills_cost_no_pair(tmp_path: Path) -> None:
    await kill_and_finish(tmp_path, kills=50, pairs=1000, seed=2)

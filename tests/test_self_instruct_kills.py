"""SIGKILL at random instants of a Self-Instruct run from a seed file: exactly N at the end, little paid twice."""

from __future__ import annotations

import asyncio
import json
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
from pairsmith.pairs.store.integrity import check_workspace
from pairsmith.pairs.store.seed_tasks import list_seed_tasks
from pairsmith.pairs.store.workspace import open_workspace

from .brains import prompt_of
from .generation import instructions, make_workspace
from .pools import PoolModel, part_of, seed_rows, write_seeds
from .servers.nim import Answer, NimServer, Rules
from .test_generating import assert_unique_and_unlike


class Meter:
    """Counts what the server was paid for, by prompt, and what is in flight."""

    def __init__(self, seed: int) -> None:
        self.model = PoolModel(seed=seed, chance=0.2)
        self.paid: Counter[str] = Counter()
        self.in_flight = 0

    async def __call__(self, body: Mapping[str, Any]) -> str | Answer:
        self.in_flight += 1
        try:
            await asyncio.sleep(0.03)
        finally:
            self.in_flight -= 1
        prompt = prompt_of(body)
        if part_of(prompt) != "list":
            self.paid[prompt] += 1
        return self.model(body)


async def kill_and_finish(folder: Path, *, kills: int, pairs: int, seed: int) -> None:
    rng = random.Random(seed)
    meter = Meter(seed)
    seed_file = write_seeds(folder / "seed_tasks.jsonl", seed_rows())
    async with NimServer(brain=meter, rules=Rules()) as server:
        with make_workspace(folder, recipe="self-instruct") as workspace:
            path = workspace.path
        environment = {
            **os.environ,
            **server.env,
            "PAIRSMITH_HOME": str(folder),
            "PAIRSMITH_TIME_SCALE": "20",
        }
        command = [sys.executable, "-m", "pairsmith.cli.main", "generate", str(path), "--pairs", str(pairs)]
        command += ["--method", "self-instruct", "--seed-tasks", str(seed_file), "--json"]
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
                await asyncio.sleep(rng.uniform(0, 0.4))
                most_in_flight += meter.in_flight + 8
                if process.returncode is None:
                    process.send_signal(signal.SIGKILL)
            out, errors = await process.communicate()
            with open_workspace(path, readonly=True) as workspace:
                stored = set(instructions(workspace))
                ledger = workspace.read(lambda conn: read_ledger(conn, 1))
            assert seen <= stored
            seen = stored
            assert ledger.balance() == []
            if process.returncode == 0:
                break
            assert process.returncode == -signal.SIGKILL, errors.decode()
            done += 1
    assert check_workspace(path, deep=True) == []
    with open_workspace(path, readonly=True) as workspace:
        kept = instructions(workspace)
        tasks = [stored.task.instruction for stored in workspace.read(list_seed_tasks)]
    assert len(tasks) == 175
    assert (len(kept), ledger.kept, ledger.missing, ledger.in_progress) == (pairs, pairs, 0, 0)
    assert json.loads(out)["kept"] == pairs
    assert_unique_and_unlike(kept[:100] + tasks)
    assert sum(count - 1 for count in meter.paid.values()) <= most_in_flight


async def test_two_kills_cost_no_pair(tmp_path: Path) -> None:
    await kill_and_finish(tmp_path, kills=2, pairs=40, seed=1)


@pytest.mark.faults
async def test_thirty_kills_cost_no_pair(tmp_path: Path) -> None:
    await kill_and_finish(tmp_path, kills=30, pairs=600, seed=2)

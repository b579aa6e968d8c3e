"""SIGKILL at random instants of one `pairsmith generate`, until it has ended by itself: what all methods share."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pairsmith.pairs.ledger import Ledger, read_ledger
from pairsmith.pairs.store.integrity import check_workspace
from pairsmith.pairs.store.workspace import open_workspace

from .brains import prompt_of
from .generation import instructions
from .servers.nim import Answer, NimServer

PARALLEL = 8
"""Calls that a process may have begun and the server has not seen yet."""


class Meter:
    """Counts what the server was paid for once, by prompt, and what is in flight."""

    def __init__(self, brain: Callable[[Any], str | Answer], once: Callable[[str], bool]) -> None:
        self._brain = brain
        self._once = once
        self.paid: Counter[tuple[str, str]] = Counter()
        self.in_flight = 0

    async def __call__(self, body: Mapping[str, Any]) -> str | Answer:
        self.in_flight += 1
        try:
            await asyncio.sleep(0.03)
        finally:
            self.in_flight -= 1
        prompt = prompt_of(body)
        if self._once(prompt):
            self.paid[str(body["model"]), prompt] += 1
        return self._brain(body)

    @property
    def paid_twice(self) -> int:
        """Calls that were paid for although they had been paid for before."""
        return sum(count - 1 for count in self.paid.values())


@dataclass(frozen=True)
class Finished:
    """What is there after the last start."""

    said: Mapping[str, Any]
    stored: set[str]
    """Every instruction, whatever became of it."""
    ledger: Ledger
    in_flight: int
    """The most calls that the kills can have cost."""


async def kill_and_finish(
    path: Path, server: NimServer, meter: Meter, *words: str, pairs: int, kills: int, within: float, seed: int
) -> Finished:
    """Start the run again and again, killed so many times within so many seconds after its first call.

    After every kill nothing that was stored is gone, the ledger balances, and there are not too many pairs.
    """
    rng = random.Random(seed)
    home = {"PAIRSMITH_HOME": str(path.parent), "PAIRSMITH_TIME_SCALE": "20"}
    command = [sys.executable, "-m", "pairsmith.cli.main", "generate", str(path), "--pairs", str(pairs)]
    command += ["--json", *words]
    stored: set[str] = set()
    in_flight = done = 0
    while True:
        process = await asyncio.create_subprocess_exec(
            *command,
            env={**os.environ, **server.env, **home},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        if done < kills:
            await _first_call(process, server)
            await asyncio.sleep(rng.uniform(0, within))
            in_flight += meter.in_flight + PARALLEL
            if process.returncode is None:
                process.send_signal(signal.SIGKILL)
        out, errors = await process.communicate()
        with open_workspace(path, readonly=True) as workspace:
            before, stored = stored, set(instructions(workspace))
            ledger = workspace.read(lambda conn: read_ledger(conn, 1))
        assert before <= stored
        assert ledger.balance() == []
        assert ledger.kept <= pairs
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, errors.decode()
        done += 1
    assert done == kills
    assert check_workspace(path, deep=True) == []
    return Finished(json.loads(out), stored, ledger, in_flight)


async def _first_call(process: asyncio.subprocess.Process, server: NimServer) -> None:
    """The interpreter starts long before the first call does."""
    start = server.completions
    while server.completions == start and process.returncode is None:
        await asyncio.sleep(0.02)

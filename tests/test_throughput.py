"""A generate run against a hidden limit in a sliding minute, generator and judge on one key.

Time runs twenty times faster than the wall, so a busy machine spoils the figures: this is for `make faults`. In `make
test`, `test_pacing.py` proves the same law in virtual time.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from pairsmith.pairs.generation_plan import GenerateSettings

from .brains import DefectiveLists
from .generation import REWARD, end_of, make_workspace, run_job
from .hidden_limit import HiddenLimit
from .servers.nim import NimServer, Rules

SCALE = 20.0


async def run_against_limit(folder: Path, limit: int, seed: int, *, told: bool, windows: int) -> None:
    """Every whole window from the second on is used; the last one is the end of the run."""
    rng = random.Random(seed)
    hidden = HiddenLimit(limit)
    rules = Rules(limit=hidden, time_scale=SCALE, latency=lambda: rng.uniform(0.3, 2.0) / SCALE)
    if told:
        rules.retry_after = lambda seconds: str(max(1, round(seconds)))
    async with NimServer(brain=DefectiveLists(seed=seed, chance=0.1), rules=rules) as server:
        with make_workspace(folder, judge=REWARD) as workspace:
            wanted = GenerateSettings(limit * windows // 2)
            ended, ledger = end_of(await run_job(workspace, server, wanted, time_scale=SCALE))
            assert (ended.state, ledger.balance()) == ("done", [])
            assert ledger.calls.made == server.completions
            start = hidden.accepted[0]
            whole = int((hidden.accepted[-1] - start) // 60)
            assert whole >= 3
            used = hidden.use_by_window(start, whole)
            assert min(used[1:]) >= 0.95, used
            assert hidden.refused_since(start) <= 0.02, (len(hidden.refused), len(hidden.accepted), used)


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(12))
async def test_any_cap_from_15_to_120_is_used(seed: int, tmp_path: Path) -> None:
    limit = random.Random(seed).randint(15, 120)
    await run_against_limit(tmp_path, limit, seed, told=seed % 2 == 1, windows=6)

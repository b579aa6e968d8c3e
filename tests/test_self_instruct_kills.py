"""SIGKILL at random instants of a Self-Instruct run from a seed file: exactly N at the end, little paid twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from pairsmith.pairs.store.seed_tasks import list_seed_tasks
from pairsmith.pairs.store.workspace import open_workspace

from .generation import instructions, make_workspace
from .kills import Meter, kill_and_finish
from .pools import PoolModel, part_of, seed_rows, write_seeds
from .servers.nim import NimServer, Rules
from .test_generating import assert_unique_and_unlike


async def killed(folder: Path, *, kills: int, pairs: int, seed: int) -> None:
    meter = Meter(PoolModel(seed=seed, chance=0.2), lambda prompt: part_of(prompt) != "list")
    seed_file = write_seeds(folder / "seed_tasks.jsonl", seed_rows())
    with make_workspace(folder, recipe="self-instruct") as workspace:
        path = workspace.path
    async with NimServer(brain=meter, rules=Rules()) as server:
        words = ("--method", "self-instruct", "--seed-tasks", str(seed_file))
        end = await kill_and_finish(
            path, server, meter, *words, pairs=pairs, kills=kills, within=0.4, seed=seed
        )
    with open_workspace(path, readonly=True) as workspace:
        kept = instructions(workspace)
        tasks = [stored.task.instruction for stored in workspace.read(list_seed_tasks)]
    assert len(tasks) == 175
    ledger = end.ledger
    assert (len(kept), ledger.kept, ledger.missing, ledger.in_progress) == (pairs, pairs, 0, 0)
    assert end.said["kept"] == pairs
    assert_unique_and_unlike(kept[:100] + tasks)
    assert meter.paid_twice <= end.in_flight


async def test_two_kills_cost_no_pair(tmp_path: Path) -> None:
    await killed(tmp_path, kills=2, pairs=40, seed=1)


@pytest.mark.faults
async def test_thirty_kills_cost_no_pair(tmp_path: Path) -> None:
    await killed(tmp_path, kills=30, pairs=600, seed=2)

"""SIGKILL at random instants of one generate run: exactly N at the end, nothing shown is lost, little paid twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from pairsmith.pairs.normalise import normal_form
from pairsmith.pairs.store.workspace import open_workspace

from .brains import DefectiveLists, asked_for
from .generation import REWARD, instructions, make_workspace
from .kills import Meter, kill_and_finish
from .servers.nim import NimServer, Rules


async def killed(folder: Path, *, kills: int, pairs: int, seed: int) -> None:
    meter = Meter(DefectiveLists(seed=seed, passing=0.8), lambda prompt: asked_for(prompt) is None)
    with make_workspace(folder, judge=REWARD) as workspace:
        path = workspace.path
    async with NimServer(brain=meter, rules=Rules()) as server:
        words = ("--where", "helpfulness >= 3")
        end = await kill_and_finish(
            path, server, meter, *words, pairs=pairs, kills=kills, within=0.25, seed=seed
        )
        with open_workspace(path, readonly=True) as workspace:
            kept = instructions(workspace, verdict="undecided")
        assert (len(kept), end.ledger.kept, end.ledger.missing) == (pairs, pairs, 0)
        assert len({normal_form(text) for text in end.stored}) == len(end.stored)
        assert meter.paid_twice <= end.in_flight
        assert end.ledger.calls.made >= server.completions - end.in_flight
        assert end.ledger.calls.failed.get("interrupted", 0) >= meter.paid_twice


async def test_three_kills_cost_no_pair(tmp_path: Path) -> None:
    await killed(tmp_path, kills=3, pairs=60, seed=1)


@pytest.mark.faults
async def test_fifty_kills_cost_no_pair(tmp_path: Path) -> None:
    await killed(tmp_path, kills=50, pairs=1000, seed=2)

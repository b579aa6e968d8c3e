"""The Generate place, driven by keys against real servers on loopback."""

from __future__ import annotations

from pathlib import Path

import pytest

from pairsmith.pairs.run_plan import RunPlan, write_plan

from .brains import DefectiveLists
from .generation import REWARD, make_workspace
from .servers.nim import NimServer
from .tui_pilot import NARROW, WIDE, application, environment, screen_text, until, until_shown


@pytest.mark.parametrize("size", [NARROW, WIDE])
async def test_a_run_is_started_watched_and_done_by_keys(tmp_path: Path, size: tuple[int, int]) -> None:
    async with NimServer(DefectiveLists(seed=1)) as server:
        workspace = make_workspace(tmp_path, judge=REWARD, topics=["Branching", "Merging"])
        workspace.write(lambda conn: write_plan(conn, RunPlan(20)))
        async with application(environment(tmp_path, server), workspace, size=size, start="generate") as (
            app,
            pilot,
        ):
            await until_shown(pilot, "generates 20 pairs")
            await pilot.press("g")
            await until_shown(pilot, "✓ done")
            await until_shown(pilot, "newest")
            shown = screen_text(app)
            print(shown)
            assert "kept 20" in shown
            state = app.jobs.state
            assert state is not None
            assert state.ledger is not None
            assert state.ledger.kept == 20
            await until(pilot, lambda: app.session.job is None)

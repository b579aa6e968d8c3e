"""The Generate place, driven by keys against real servers on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import random
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from pairsmith.pairs.ledger import Calls, Ledger
from pairsmith.pairs.limits import Limits
from pairsmith.pairs.run_plan import RunPlan, read_plan, write_plan
from pairsmith.pairs.store.live import Newest
from pairsmith.pairs.store.runs import Run, RunTopic, add_event, list_runs, start_run
from pairsmith.pairs.store.workspace import Workspace, open_workspace
from pairsmith.tui.app import PairsmithApp
from pairsmith.tui.screens.generate_rows import generate_rows
from pairsmith.tui.screens.generate_view import View, view_of_last_run

from .brains import DefectiveLists, asked_for, fresh_instruction, prompt_of
from .generation import REWARD, make_workspace
from .pools import numbered
from .servers.nim import Answer, NimServer
from .servers.ollama import OllamaServer
from .tui_pilot import NARROW, WIDE, application, environment, screen_text, type_text, until, until_shown


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
            await until_shown(pilot, "newest" if size == WIDE else "helpful")
            shown = screen_text(app)
            print(shown)
            assert "kept 20" in shown
            state = app.jobs.state
            assert state is not None
            assert state.ledger is not None
            assert state.ledger.kept == 20
            await until(pilot, lambda: app.session.job is None)


class Slow:
    """A brain that holds responses until it is let go."""

    def __init__(self, free: int) -> None:
        self._brain = DefectiveLists(seed=4, chance=0, topics=("One", "Two"))
        self._free = free
        self.open = asyncio.Event()
        self.held = 0

    async def __call__(self, body: dict[str, Any]) -> str | Answer:
        text = self._brain(body)
        if text.startswith("To do that"):
            self._free -= 1
            if self._free < 0:
                self.held += 1
                await self.open.wait()
        return text


def run_of(workspace: Workspace) -> Run:
    return workspace.read(list_runs)[0]


def planned(folder: Path, pairs: int, limits: Limits | None = None) -> Workspace:
    """A workspace with two topics and the plan of its next run."""
    workspace = make_workspace(folder, topics=["One", "Two"])
    workspace.write(lambda conn: write_plan(conn, RunPlan(pairs, limits=limits or Limits())))
    return workspace


@dataclass(frozen=True)
class Held:
    """A run that waits for its model."""

    brain: Slow
    server: NimServer
    workspace: Workspace
    app: PairsmithApp
    pilot: Pilot[Any]


@contextlib.asynccontextmanager
async def held(folder: Path, *, free: int = 3, pairs: int = 20) -> AsyncIterator[Held]:
    """The Generate place, with a run that was started by its key and got so many responses."""
    brain = Slow(free)
    async with NimServer(brain) as server:
        workspace = planned(folder, pairs)
        async with application(environment(folder, server), workspace, start="generate") as (app, pilot):
            await until_shown(pilot, f"generates {pairs} pairs")
            await pilot.press("g")
            await until(pilot, lambda: brain.held > 0)
            yield Held(brain, server, workspace, app, pilot)


async def test_a_run_goes_on_whatever_place_one_looks_at_and_line_1_says_so(tmp_path: Path) -> None:
    async with held(tmp_path, free=5) as run:
        app, pilot = run.app, run.pilot
        await pilot.press("1")
        await until_shown(pilot, "[1 Home]")
        await until(pilot, lambda: "▶" in screen_text(app).splitlines()[0])
        await until_shown(pilot, "▶ Generate 5 of 20 is under way")
        run.brain.open.set()
        await until(pilot, lambda: app.session.job is None)
        await until_shown(pilot, "4 Generate•")
        assert run_of(run.workspace).state == "done"
        await pilot.press("4")
        await until_shown(pilot, "✓ done")
        assert "Generate•" not in screen_text(app)


async def test_pause_lets_calls_in_flight_finish_and_goes_on_by_the_same_key(tmp_path: Path) -> None:
    async with held(tmp_path, pairs=40) as run:
        app, pilot = run.app, run.pilot
        await pilot.press("p")
        await until_shown(pilot, "Ⅱ paused · p goes on, P stops")
        run.brain.open.set()
        await until(pilot, lambda: app.jobs.running and not sum((app.jobs.state or app).doing.values()))  # type: ignore[union-attr]
        asked = run.server.completions
        await asyncio.sleep(0.3)
        assert run.server.completions == asked
        await pilot.press("p")
        await until_shown(pilot, "✓ done")


async def test_stop_keeps_what_is_paid_for_and_g_goes_on_with_the_same_run(tmp_path: Path) -> None:
    async with held(tmp_path) as run:
        await run.pilot.press("P")
        await until_shown(run.pilot, "■ stopping")
        run.brain.open.set()
        await until_shown(run.pilot, "Ⅱ stopped by you · g goes on")
        assert run_of(run.workspace).state == "paused"
        await run.pilot.press("g")
        await until_shown(run.pilot, "✓ done")
        assert len(run.workspace.read(list_runs)) == 1


async def test_quitting_pauses_the_run_and_the_next_start_shows_it(tmp_path: Path) -> None:
    async with held(tmp_path) as run:
        await run.pilot.press("ctrl+q")
        await until_shown(run.pilot, "Pausing the job")
        run.brain.open.set()
        await until(run.pilot, lambda: run.app._exit)
    with open_workspace(run.workspace.path) as again:
        assert run_of(again).state == "paused"
    async with NimServer(DefectiveLists(seed=4, chance=0, topics=("One", "Two"))) as server:
        env = environment(tmp_path, server)
        async with application(env, open_workspace(run.workspace.path), start="generate") as (_, pilot):
            await until_shown(pilot, "Ⅱ stopped by you · g goes on")
            await pilot.press("g")
            await until_shown(pilot, "✓ done")


async def test_quitting_twice_does_not_wait_for_calls_in_flight(tmp_path: Path) -> None:
    async with held(tmp_path) as run:
        app, pilot = run.app, run.pilot
        await pilot.press("ctrl+q", "ctrl+q")
        await until(pilot, lambda: app._exit)
        run.brain.open.set()
    with open_workspace(run.workspace.path) as again:
        assert run_of(again).state == "unfinished"


async def test_an_error_is_a_line_and_another_generator_goes_on_with_the_run(tmp_path: Path) -> None:
    async with OllamaServer(brain=DefectiveLists(seed=4, chance=0)) as ollama:
        workspace = planned(tmp_path, 10)
        env = environment(tmp_path, OLLAMA_HOST=ollama.url)
        async with application(env, workspace, start="generate") as (app, pilot):
            await until_shown(pilot, "generates 10 pairs")
            await pilot.press("g")
            await until_shown(pilot, "✗ ")
            assert "no key" in screen_text(app).lower() or "NVIDIA_API_KEY" in screen_text(app)
            await pilot.press("G")
            await until_shown(pilot, "Which model writes")
            await type_text(pilot, "ollama:llama3.2")
            await pilot.press("enter")
            await until_shown(pilot, "✓ done", 30)
            assert "kept 10" in screen_text(app)


async def test_a_run_whose_workspace_is_busy_elsewhere_says_who_holds_it(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, topics=["One", "Two"])
    code = (
        "import sys, time; from pathlib import Path; from pairsmith.pairs.store.joblock import JobLock;"
        "JobLock(Path(sys.argv[1])).acquire('generate'); print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(workspace.path)], stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        try:
            async with application(environment(tmp_path), workspace, start="generate") as (app, pilot):
                await until_shown(pilot, "generates 100 pairs")
                await until(pilot, lambda: f"process {holder.pid}" in str(app.session.job))
                await pilot.press("g")
                await until_shown(pilot, f"{holder.pid}")
                await until_shown(pilot, "✗ ")
        finally:
            holder.kill()


async def test_limits_end_a_start_and_more_of_them_go_on(tmp_path: Path) -> None:
    async with NimServer(DefectiveLists(seed=4, chance=0)) as server:
        workspace = planned(tmp_path, 20, Limits(calls=8))
        async with application(environment(tmp_path, server), workspace, start="generate") as (_, pilot):
            await until_shown(pilot, "limits: 8 calls")
            await pilot.press("g")
            await until_shown(pilot, "the limit of 8 calls is reached")
            assert server.completions == 8
            await pilot.press("m")
            await until_shown(pilot, "The most that one start may spend")
            await pilot.press("ctrl+u", "enter")
            await until(pilot, lambda: workspace.read(read_plan).limits == Limits())
            await pilot.press("g")
            await until_shown(pilot, "✓ done")


async def test_a_second_run_asks_how_many_and_tells_the_price_first(tmp_path: Path) -> None:
    async with NimServer(DefectiveLists(seed=4, chance=0)) as server:
        workspace = planned(tmp_path, 6)
        async with application(environment(tmp_path, server), workspace, start="generate") as (app, pilot):
            await until_shown(pilot, "generates 6 pairs")
            await pilot.press("g")
            await until_shown(pilot, "✓ done")
            asked = server.completions
            await pilot.press("g")
            await until_shown(pilot, "Generate more pairs")
            await until_shown(pilot, "This run: about")
            assert server.completions == asked
            await pilot.press("ctrl+u", "4", "enter")
            await until(pilot, lambda: len(workspace.read(list_runs)) == 2)
            await until(pilot, lambda: "kept 4" in screen_text(app) and "✓ done" in screen_text(app))


async def test_failures_of_the_judge_are_asked_for_again_by_one_key(tmp_path: Path) -> None:
    good = DefectiveLists(seed=4, chance=0)
    broken = [True]

    def brain(body: dict[str, Any]) -> str:
        return "no numbers at all" if broken[0] and "reward" in body["model"] else good(body)

    async with NimServer(brain) as server:
        workspace = make_workspace(tmp_path, judge=REWARD, topics=["One", "Two"])
        workspace.write(lambda conn: write_plan(conn, RunPlan(6)))
        async with application(environment(tmp_path, server), workspace, start="generate") as (_, pilot):
            await until_shown(pilot, "generates 6 pairs")
            await pilot.press("g")
            await until_shown(pilot, "✓ done")
            await until_shown(pilot, "judge failed")
            broken[0] = False
            await pilot.press("y")
            scored = "SELECT count(DISTINCT version_id) FROM judgement WHERE state = 'scored'"
            await until(pilot, lambda: workspace.read(lambda conn: conn.execute(scored).fetchone()[0]) == 6)


async def test_hostile_text_of_a_model_does_nothing_to_the_terminal(tmp_path: Path) -> None:
    hostile = "[@click=app.quit]x[/] \x1b[2J\x1b]52;c;aGk=\x07 \u202eevil [/] item number"
    rng = random.Random(1)

    def brain(body: dict[str, Any]) -> str:
        prompt = prompt_of(body)
        count = asked_for(prompt)
        if count is not None:
            return numbered([f"{hostile} {fresh_instruction(rng)}" for _ in range(count)])
        return numbered([f"{hostile} {n}" for n in range(5)]) if "subtopics" in prompt else hostile

    async with NimServer(brain) as server:
        workspace = make_workspace(tmp_path)
        workspace.write(lambda conn: write_plan(conn, RunPlan(2)))
        async with application(environment(tmp_path, server), workspace, start="generate", size=WIDE) as (
            app,
            pilot,
        ):
            await until_shown(pilot, "generates 2 pairs")
            await pilot.press("g")
            await until_shown(pilot, "✓ done")
            for key in ("3", "1", "4"):
                await pilot.press(key)
                await pilot.pause()
                shown = screen_text(app)
                assert not set(shown) & {"\x1b", "\x07", "\u202e", "\x9b"}
                assert key == "1" or "[@click=app.quit]x[/]" in shown
            assert app.is_running


def test_in_a_small_terminal_every_line_is_used_and_the_newest_pairs_stream_in() -> None:
    calls = Calls(9, 8, {"timed out": 1})
    ledger = Ledger(50, 12, 14, 0, {"exact duplicate": 2}, calls)
    topics = [
        RunTopic(number, f"Topic {number}", f"Topic {number}", 10, 10, False, 2, 0, 0, 0)
        for number in range(5)
    ]
    newest = [
        Newest(number, "Topic 1", f"Question {number}", "", "ollama", "llama3", {}) for number in range(9)
    ]
    view = View(ledger, topics, "▶ running", True, newest=newest, told=[(60.0, "resumed", "goes on")])
    for height in (18, 20):
        rows = ["".join(piece.text for piece in row) for row in generate_rows(view, 80, height, None)]
        assert len(rows) == height
        assert rows[-1].strip()
        assert "Question 0" in "\n".join(rows)
    assert sum("Topic" in row and "/" in row for row in rows) == 5


async def test_what_a_run_told_about_the_demonstration_model_is_not_told_twice_in_words_of_the_shell(
    tmp_path: Path,
) -> None:
    with make_workspace(tmp_path) as workspace:

        def fill(conn: Any) -> None:
            run = start_run(conn, "generate", {}, asked=5)
            add_event(conn, run, "demonstration", "A real model: --generator nim:MODEL")
            add_event(conn, run, "waiting", "the server is busy")

        workspace.write(fill)
        view = await view_of_last_run(workspace)
    assert view is not None
    assert [text for _, _, text in view.told] == ["the server is busy"]

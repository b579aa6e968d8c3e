"""The Evaluate place with a tiny model that was really trained: numbers with intervals, answers, the worst first."""

from __future__ import annotations

import asyncio
import random
import string
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pairsmith.pairs.store.meta import set_meta
from pairsmith.pairs.store.runs import list_runs
from pairsmith.pairs.store.workspace import Workspace, open_workspace
from pairsmith.tui.screens.evaluate import EvaluateScreen
from pairsmith.tui.widgets.bars import footer_bindings

from .screens import strike
from .servers.nim import NimServer
from .trained import colour_workspace, tiny, train
from .tui_pilot import NARROW, WIDE, application, environment, screen_text, until, until_shown


@pytest.fixture
def trained(tmp_path: Path) -> Workspace:
    """A workspace with one training run that is done."""
    workspace = colour_workspace(tmp_path, 60)
    home = Path(environment(tmp_path)["PAIRSMITH_HOME"])
    asyncio.run(train(workspace, home, tiny(sample_tokens=0)))
    return workspace


def place(app: Any) -> EvaluateScreen:
    assert isinstance(app.screen, EvaluateScreen)
    return app.screen


@pytest.mark.parametrize("size", [NARROW, WIDE])
def test_base_and_tuned_stand_side_by_side_with_intervals_and_the_worst_answer_comes_first(
    tmp_path: Path, trained: Workspace, size: tuple[int, int]
) -> None:
    async def run() -> None:
        async with application(environment(tmp_path), trained, size=size, start="evaluate") as (app, pilot):
            await until_shown(pilot, "not measured yet · g measures it")
            await pilot.press("g")
            await until_shown(pilot, "✓ measured; intervals are 95 %", 60)
            await until(pilot, lambda: bool(place(app)._items))
            text = screen_text(app)
            for word in (
                "test pairs",
                "ROUGE-L",
                "BLEU, all",
                "perplexity",
                "difference",
                "report",
                "worst first",
            ):
                assert word in text, word
            assert "wanted" in text
            scores = [item.score for item in place(app)._items]
            assert scores == sorted(scores, key=lambda one: (one is None, one or 0.0))
            assert max(map(len, text.splitlines())) <= size[0]

    asyncio.run(run())


def judging(body: Mapping[str, Any]) -> str:
    """Grades 61, and likes the first of two that differ."""
    return "[[A]]" if "Response A:" in str(body["messages"][-1]["content"]) else "61"


def test_a_judge_grades_and_compares_with_the_base_and_a_restart_shows_it(
    tmp_path: Path, trained: Workspace
) -> None:
    trained.write(lambda conn: set_meta(conn, "judge", "nim:meta/llama-3.1-405b-instruct"))
    path = trained.path

    async def run() -> None:
        async with NimServer(judging) as server:
            env = environment(tmp_path, server)
            async with application(env, trained, size=WIDE, start="evaluate") as (app, pilot):
                await until_shown(pilot, "against nobody · judge nim:meta/llama-3.1")
                await pilot.press("a")
                await until_shown(pilot, "against base")
                await pilot.press("g")
                await until_shown(pilot, "✓ measured; intervals are 95 %", 90)
                await until_shown(pilot, "judge 0–100")
                found = read(app)
                assert found["judge"]["subjects"]["tuned"]["mean"] == 61
                assert found["pairwise"]["against"] == "base"
                pairwise = found["pairwise"]
                assert pairwise["wins"] + pairwise["ties"] + pairwise["losses"] == found["n"]
                await until_shown(pilot, f"against base: {pairwise['wins']} wins, {pairwise['ties']} ties")
                assert {item.score for item in place(app)._items} == {61.0}
                asked = server.completions
            async with application(env, open_workspace(path), size=WIDE, start="evaluate") as (_, pilot):
                await until_shown(pilot, "judge 0–100")
                await until_shown(pilot, "61.0")
                assert server.completions == asked

    asyncio.run(run())


def test_a_judge_that_fails_stops_it_with_a_sentence_and_g_goes_on(
    tmp_path: Path, trained: Workspace
) -> None:
    trained.write(lambda conn: set_meta(conn, "judge", "nim:meta/llama-3.1-405b-instruct"))

    async def run() -> None:
        async with NimServer(judging) as server:
            rules = server.rules
            server.rules = type(rules)(retired=("meta/llama-3.1-405b-instruct",))
            async with application(environment(tmp_path, server), trained, start="evaluate") as (app, pilot):
                await until_shown(pilot, "judge nim:meta/llama-3.1")
                await pilot.press("g")
                await until_shown(pilot, "✗ not done, g goes on: ", 90)
                server.rules = rules
                await pilot.press("g")
                await until_shown(pilot, "✓ measured; intervals are 95 %", 90)
                await until(pilot, lambda: "judge" in read(app))
                assert (
                    len([run for run in app.session.workspace.read(list_runs) if run.kind == "evaluate"]) == 1
                )

    asyncio.run(run())


def test_another_run_is_measured_beside_it(tmp_path: Path, trained: Workspace) -> None:
    home = Path(environment(tmp_path)["PAIRSMITH_HOME"])
    asyncio.run(train(trained, home, tiny(sample_tokens=0, seed=7)))

    async def run() -> None:
        async with application(environment(tmp_path), trained, size=WIDE, start="evaluate") as (app, pilot):
            await until_shown(pilot, "run 2: scratch:tiny")
            await pilot.press("a", "a")
            await until_shown(pilot, "against 1")
            await pilot.press("g")
            await until_shown(pilot, "✓ measured; intervals are 95 %", 90)
            assert list(read(app)["subjects"]) == ["tuned", "base", "run 1"]
            await pilot.press("r")
            await until_shown(pilot, "run 1: scratch:tiny")
            await until_shown(pilot, "not measured yet")

    asyncio.run(run())


def read(app: Any) -> Mapping[str, Any]:
    """The result of the newest evaluation, from the store."""
    runs = app.session.workspace.read(lambda conn: list_runs(conn, "evaluate"))
    assert runs[0].result is not None
    return dict(runs[0].result)


async def test_without_a_trained_model_the_place_says_where_to_go(tmp_path: Path) -> None:
    async with application(environment(tmp_path), colour_workspace(tmp_path, 5), start="evaluate") as (
        _,
        pilot,
    ):
        await until_shown(pilot, "No model is trained yet.")


FOOTER = {
    "evaluate": "No model is trained yet: 6 trains one",
    "run": "There is no other trained run",
    "against": "Compared with its base",
    "blind": "No model is trained yet: 6 trains one",
    "scales": "No model is trained yet: 6 trains one",
    "chat": "No model is trained yet: 6 trains one",
    "judge": "Which model scores the pairs?",
    "stop": "Nothing runs",
}


@pytest.mark.parametrize("label", FOOTER)
async def test_every_key_of_the_footer_does_what_it_says(tmp_path: Path, label: str) -> None:
    async with application(environment(tmp_path), colour_workspace(tmp_path, 5), start="evaluate") as (
        app,
        pilot,
    ):
        await until_shown(pilot, "No model is trained yet.")
        shown = footer_bindings(app.screen)
        assert [binding.description for binding in shown] == list(FOOTER)
        binding = next(one for one in shown if one.description == label)
        assert f"{app.get_key_display(binding)} {label}" in screen_text(app)
        await pilot.press(binding.key)
        await until_shown(pilot, FOOTER[label])


KEYS = [
    *string.ascii_letters,
    "enter",
    "escape",
    "space",
    "up",
    "down",
    "question_mark",
    "7",
    "left",
    "tab",
    "f2",
]


def random_keys(folder: Path, workspace: Workspace, size: tuple[int, int], count: int) -> None:
    """An exception on any of them ends the application and fails the test."""
    chosen = random.Random(size[0])

    async def run() -> None:
        async with application(environment(folder), workspace, size=size, start="evaluate") as (app, pilot):
            for _ in range(count):
                await strike(pilot, chosen.choice(KEYS))
        assert app._exception is None

    asyncio.run(run())


@pytest.mark.parametrize("size", [NARROW, (40, 10)])
def test_random_keys_raise_nothing(tmp_path: Path, trained: Workspace, size: tuple[int, int]) -> None:
    random_keys(tmp_path, trained, size, 60)


@pytest.mark.faults
def test_a_thousand_random_keys_raise_nothing(tmp_path: Path, trained: Workspace) -> None:
    random_keys(tmp_path, trained, WIDE, 1000)

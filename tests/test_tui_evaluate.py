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
from pairsmith.tui.screens.evaluate_rows import number_rows
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
                "test pairs" if size == WIDE else "tested",
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


def test_y_asks_the_judge_again_only_where_it_failed(tmp_path: Path, trained: Workspace) -> None:
    trained.write(lambda conn: set_meta(conn, "judge", "nim:meta/llama-3.1-405b-instruct"))
    asked: list[str] = []
    babbling = True

    def brain(body: Mapping[str, Any]) -> str:
        asked.append(str(body["messages"][-1]["content"]))
        return "I cannot say" if babbling and asked[-1] == asked[0] else "61"

    async def run() -> None:
        nonlocal babbling
        async with (
            NimServer(brain) as server,
            application(environment(tmp_path, server), trained, start="evaluate") as (app, pilot),
        ):
            await until_shown(pilot, "judge nim:meta/llama-3.1")
            await pilot.press("y")
            await until_shown(pilot, "Nothing is measured here yet")
            await pilot.press("g")
            await until_shown(pilot, "✓ measured; intervals are 95 %", 90)
            await until_shown(pilot, "(counted, not averaged)  y retries")
            before, babbling = len(asked), False
            await pilot.press("y")
            await until(pilot, lambda: "(counted, not averaged)" not in place(app).text, 60)
            assert asked[before:] == [asked[0]]
            judge = read(app)["judge"]["subjects"]
            assert {found["failed"] for found in judge.values()} == {0}
            assert judge["tuned"]["mean"] == 61
            await pilot.press("y")
            await until_shown(pilot, "there is nothing to retry")
            runs = app.session.workspace.read(lambda conn: list_runs(conn, "evaluate"))
            assert [found.state for found in runs] == ["done"]

    asyncio.run(run())


async def test_o_writes_the_run_that_is_looked_at_to_a_file(tmp_path: Path, trained: Workspace) -> None:
    async with application(environment(tmp_path), trained, start="evaluate") as (app, pilot):
        await until_shown(pilot, "not measured yet")
        await pilot.press("o")
        await until_shown(pilot, "Write a trained model to a file")
        await until_shown(pilot, "‹ run 1: scratch:tiny trained")
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, EvaluateScreen))


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
    "export": "no model is trained yet",
}


@pytest.mark.parametrize("label", FOOTER)
async def test_every_key_of_the_footer_does_what_it_says(tmp_path: Path, label: str) -> None:
    async with application(
        environment(tmp_path), colour_workspace(tmp_path, 5), size=WIDE, start="evaluate"
    ) as (
        app,
        pilot,
    ):
        await until_shown(pilot, "No model is trained yet.")
        shown = footer_bindings(app.screen)
        assert [binding.description for binding in shown] == list(FOOTER)
        binding = next(one for one in shown if one.description == label)
        assert f"{app.get_key_display(binding)} {label}" in screen_text(app)
        assert FOOTER[label] not in screen_text(app)
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
@pytest.mark.usefixtures("own_folder")
def test_random_keys_raise_nothing(tmp_path: Path, trained: Workspace, size: tuple[int, int]) -> None:
    random_keys(tmp_path, trained, size, 60)


@pytest.mark.faults
@pytest.mark.usefixtures("own_folder")
def test_a_thousand_random_keys_raise_nothing(tmp_path: Path, trained: Workspace) -> None:
    random_keys(tmp_path, trained, WIDE, 1000)


@pytest.mark.parametrize("width", [80, 96, 160])
def test_columns_never_touch_and_a_difference_has_its_sign(width: int) -> None:
    def found(low: float, mean: float, high: float) -> dict[str, float]:
        return {"low": low, "value": mean, "mean": mean, "high": high, "n": 1234}

    worst = {"other": found(10.25, 11.25, 16.25), "tuned": found(10.25, 11.25, 16.25),
             "difference": found(-50.5, -41.5, -30.5), "p": 0.0001}  # fmt: skip
    better = {**worst, "difference": found(0.28, 0.36, 0.44)}
    result = {
        "n": 1234,
        "subjects": {name: {"metrics": {"rougeL": found(0.07, 0.11, 0.16), "bleu": found(10.5, 11.5, 16.5)},
                            "perplexity": {"response": 48.1}} for name in ("base", "tuned")},
        "paired": {"base": {"rougeL": better, "bleu": worst, "nll": worst}},
    }  # fmt: skip
    rows = {"".join(piece.text for piece in row)[:11].strip(): row for row in number_rows(result, width)}
    assert all(sum(len(piece.text) for piece in row) <= width for row in rows.values())
    for label in ("BLEU, each", "loss, each"):
        assert all(piece.text.endswith(" ") for piece in rows[label][1:-1]), label
        assert "−41.5 (−50.5–−30.5)" in rows[label][3].text
    assert rows["ROUGE-L"][3].text.startswith("+0.36")
    assert "−" not in rows["perplexity"][3].text

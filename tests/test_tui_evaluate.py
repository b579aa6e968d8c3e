"""The Evaluate place with a tiny model that was really trained: numbers with intervals, answers, the worst first."""

from __future__ import annotations

import asyncio
import random
import string
from pathlib import Path
from typing import Any

import pytest

from pairsmith.pairs.store.workspace import Workspace
from pairsmith.tui.screens.evaluate import EvaluateScreen
from pairsmith.tui.widgets.bars import footer_bindings

from .screens import strike
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


@pytest.mark.parametrize("size", [NARROW, (40, 10)])
def test_random_keys_raise_nothing(tmp_path: Path, trained: Workspace, size: tuple[int, int]) -> None:
    chosen = random.Random(size[0])
    keys = [*string.ascii_letters, "enter", "escape", "space", "up", "down", "question_mark", "7"]

    async def run() -> None:
        async with application(environment(tmp_path), trained, size=size, start="evaluate") as (app, pilot):
            for _ in range(60):
                await strike(pilot, chosen.choice(keys))
        assert app._exception is None

    asyncio.run(run())

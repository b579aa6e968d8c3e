"""Talking to a really trained tiny model: it streams, is given up, dies, is exchanged for its base, and ends with the
screen."""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import string
from pathlib import Path
from typing import Any

import pytest

from pairsmith.pairs.chat import Answer, ChildPartner
from pairsmith.pairs.store.workspace import Workspace, open_workspace
from pairsmith.tui.screens.chat import ChatScreen
from pairsmith.tui.screens.evaluate import EvaluateScreen
from pairsmith.tui.screens.train import TrainScreen
from pairsmith.tui.widgets.bars import footer_bindings

from .hostile import SHORT
from .screens import strike
from .trained import colour_workspace, tiny, train
from .tui_pilot import NARROW, WIDE, application, environment, screen_text, type_text, until, until_shown


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose workspace holds two trained runs: the second started from the first one's model."""
    folder = tmp_path_factory.mktemp("chat")
    home = Path(environment(folder)["PAIRSMITH_HOME"])
    with colour_workspace(folder, 40) as workspace:
        asyncio.run(train(workspace, home, tiny(sample_tokens=0)))
        base = next(home.rglob("model/model.safetensors")).parent
        again = {"base": str(base), "shape": None, "learning_rate": 1e-4, "sample_tokens": 0}
        asyncio.run(train(workspace, home, tiny(**again)))
    return folder


def opened(place: Path) -> Workspace:
    return open_workspace(place / "w.pairsmith")


async def talking(pilot: Any) -> ChatScreen:
    """From Evaluate to a model that is loaded."""
    app = pilot.app
    await until(pilot, lambda: isinstance(app.screen, EvaluateScreen) and app.screen.chosen is not None)
    await pilot.press("c")
    await until(pilot, lambda: isinstance(app.screen, ChatScreen))
    await until_shown(pilot, "ready", 60)
    assert isinstance(app.screen, ChatScreen)
    return app.screen


def runs(pid: int | None) -> bool:
    """Whether this process is still there."""
    if pid is None:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("size", [NARROW, WIDE])
async def test_an_answer_streams_in_with_its_pace_and_digits_are_only_typed(
    place: Path, size: tuple[int, int]
) -> None:
    async with application(environment(place), opened(place), size=size, start="evaluate") as (app, pilot):
        screen = await talking(pilot)
        assert "alpaca style · cpu" in screen_text(app)
        assert "run 2, made of" in screen_text(app)
        await type_text(pilot, "1 q9? mako red")
        assert app.screen is screen
        await pilot.press("enter")
        await until(pilot, lambda: bool(screen.turns) and bool(screen.turns[0].said), 60)
        await until(pilot, lambda: not screen.busy, 60)
        assert screen.turns[0].asked == "1 q9? mako red"
        assert re.fullmatch(r"\d+ tokens, [\d,]+ tokens/s( · cut off)?", screen.turns[0].end)
        await until_shown(pilot, screen.turns[0].end)
        assert "▎1 q9? mako red" in screen_text(app)
        assert max(map(len, screen_text(app).splitlines())) <= size[0]


async def test_an_answer_is_given_up_and_the_next_question_is_answered(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with application(environment(place), opened(place), start="evaluate") as (_, pilot):
        screen = await talking(pilot)
        first = screen.child
        reply = ChildPartner.reply

        async def slow(self: ChildPartner, text: str) -> Any:
            async for piece in reply(self, text):
                yield piece
                await asyncio.sleep(3600.0 if text == "never" else 0.0)

        monkeypatch.setattr(ChildPartner, "reply", slow)
        await type_text(pilot, "never")
        await pilot.press("enter")
        await until(pilot, lambda: bool(screen.turns) and bool(screen.turns[0].said), 60)
        await type_text(pilot, "other")
        await pilot.press("enter")
        await until_shown(pilot, "It still answers: esc gives that up")
        await pilot.press("escape")
        await until(pilot, lambda: screen.turns[0].end == "given up")
        await until(pilot, lambda: not runs(first), 30)
        await pilot.press("enter")
        await until(pilot, lambda: len(screen.turns) == 2 and "tokens" in screen.turns[1].end, 60)
        assert screen.child not in (None, first)


async def test_the_death_of_the_model_is_said_and_the_next_question_loads_it_again(place: Path) -> None:
    async with application(environment(place), opened(place), start="evaluate") as (_, pilot):
        screen = await talking(pilot)
        assert screen.child is not None
        os.kill(screen.child, signal.SIGKILL)
        await until_shown(pilot, "✗ the model's process has ended", 30)
        await type_text(pilot, "mako red")
        await pilot.press("enter")
        await until(pilot, lambda: bool(screen.turns) and "tokens" in screen.turns[0].end, 60)


async def test_the_death_of_the_model_in_the_middle_of_an_answer_is_said(place: Path) -> None:
    async with application(environment(place), opened(place), start="evaluate") as (_, pilot):
        screen = await talking(pilot)
        assert screen.child is not None
        os.kill(screen.child, signal.SIGSTOP)
        await type_text(pilot, "die")
        await pilot.press("enter")
        await until_shown(pilot, "▶ answering")
        os.kill(screen.child, signal.SIGKILL)
        await until_shown(pilot, "✗ the model's process ended in the middle of the answer", 30)
        assert screen.turns[0].failed
        await type_text(pilot, "mako red")
        await pilot.press("enter")
        await until(pilot, lambda: len(screen.turns) == 2 and "tokens" in screen.turns[1].end, 60)


async def test_leaving_ends_the_models_process(place: Path) -> None:
    async with application(environment(place), opened(place), start="evaluate") as (app, pilot):
        screen = await talking(pilot)
        child = screen.child
        assert runs(child)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, EvaluateScreen))
        await until(pilot, lambda: not runs(child), 30)


async def test_quitting_ends_the_models_process(place: Path) -> None:
    async with application(environment(place), opened(place), start="evaluate") as (_, pilot):
        child = (await talking(pilot)).child
        assert runs(child)
        await pilot.press("ctrl+q")
    for _ in range(1000):
        if not runs(child):
            return
        await asyncio.sleep(0.02)
    raise AssertionError("the model's process outlives the application")


async def test_f2_talks_to_the_base_and_random_weights_are_refused(place: Path) -> None:
    async with application(environment(place), opened(place), start="evaluate") as (app, pilot):
        screen = await talking(pilot)
        first = screen.child
        await pilot.press("f2")
        await until_shown(pilot, "what run 2 was made of")
        await until(pilot, lambda: screen.child not in (None, first) and not screen.busy, 60)
        assert not runs(first)
        await pilot.press("f2")
        await until_shown(pilot, "run 2, made of")
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, EvaluateScreen))
        await pilot.press("r")
        await until(pilot, lambda: isinstance(app.screen, EvaluateScreen) and app.screen.chosen == 1)
        await pilot.press("c")
        await until(pilot, lambda: isinstance(app.screen, ChatScreen))
        await pilot.press("f2")
        await until_shown(pilot, "started from random weights: there is nobody to talk to")
        # What to do about it is longer than the line of the state: it stands in full above.
        await until_shown(pilot, "the next question loads the model again")


async def test_an_answer_of_nothing_is_said_to_be_empty(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def silent(self: ChildPartner, text: str) -> Any:
        yield "\n"
        yield Answer("\n", 1, "stop", 1.0)

    async with application(environment(place), opened(place), start="evaluate") as (_, pilot):
        await talking(pilot)
        monkeypatch.setattr(ChildPartner, "reply", silent)
        await type_text(pilot, "hello")
        await pilot.press("enter")
        await until_shown(pilot, "(the answer is empty)")


async def test_hostile_words_of_a_model_do_nothing(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = list(SHORT)

    async def hostile(self: ChildPartner, text: str) -> Any:
        for word in words:
            yield word
        yield Answer("".join(words), len(words), "stop", 1.0)

    async with application(environment(place), opened(place), size=WIDE, start="evaluate") as (app, pilot):
        screen = await talking(pilot)
        monkeypatch.setattr(ChildPartner, "reply", hostile)
        await type_text(pilot, "hello")
        await pilot.press("enter")
        await until(pilot, lambda: bool(screen.turns) and bool(screen.turns[0].end))
        await until(pilot, lambda: "tokens/s" in screen.text)
        assert "␛" in screen.text
        assert not [
            char for char in screen_text(app) if (char != "\n" and ord(char) < 32) or 0x7F <= ord(char) < 0xA0
        ]
        assert "\u202e" not in screen_text(app)
        await pilot.press("pageup", "pagedown")


async def test_a_model_that_is_not_on_this_machine_is_said(place: Path, tmp_path: Path) -> None:
    async with application(environment(tmp_path), opened(place), start="evaluate") as (app, pilot):
        await until(pilot, lambda: isinstance(app.screen, EvaluateScreen) and app.screen.chosen is not None)
        await pilot.press("c")
        await until_shown(pilot, "✗ the folder of training run 2 is not on this machine")


async def test_train_leads_to_the_model_of_a_run(place: Path) -> None:
    async with application(environment(place), opened(place), start="train") as (app, pilot):
        await until(pilot, lambda: isinstance(app.screen, TrainScreen) and bool(app.screen._past))
        await pilot.press("c")
        await until(pilot, lambda: isinstance(app.screen, ChatScreen))
        await until_shown(pilot, "[6 Train]")
        await until_shown(pilot, "run 2, made of")
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, TrainScreen))


FOOTER = {
    "give up / leave": "against nobody",
    "tuned or base": "what run 2 was made of",
    "clear": "",
}


@pytest.mark.parametrize("label", FOOTER)
async def test_every_key_of_the_footer_does_what_it_says(place: Path, label: str) -> None:
    async with application(environment(place), opened(place), size=(100, 24), start="evaluate") as (
        app,
        pilot,
    ):
        screen = await talking(pilot)
        shown = footer_bindings(screen)
        assert [binding.description for binding in shown] == list(FOOTER)
        binding = next(one for one in shown if one.description == label)
        assert f"{app.get_key_display(binding)} {label}" in screen_text(app)
        if label == "clear":
            await type_text(pilot, "red")
            await pilot.press("enter")
            await until(pilot, lambda: bool(screen.turns) and bool(screen.turns[0].end), 60)
            await pilot.press(binding.key)
            await until(pilot, lambda: screen.turns == [] and screen.text == "")
            return
        assert FOOTER[label] not in screen_text(app)
        await pilot.press(binding.key)
        await until_shown(pilot, FOOTER[label])


async def random_keys(place: Path, seed: int, count: int) -> None:
    chosen = random.Random(seed)
    keys = [
        *string.ascii_letters,
        *string.digits,
        "enter",
        "escape",
        "f2",
        "f3",
        "pageup",
        "pagedown",
        "up",
        "tab",
    ]
    size = chosen.choice([NARROW, WIDE, (40, 10)])
    async with application(environment(place), opened(place), size=size, start="evaluate") as (app, pilot):
        await talking(pilot)
        for _ in range(count):
            if isinstance(app.screen, EvaluateScreen):
                await strike(pilot, "c")
            await strike(pilot, chosen.choice(keys))
    assert app._exception is None


@pytest.mark.usefixtures("own_folder")
async def test_random_keys_raise_nothing(place: Path) -> None:
    await random_keys(place, 1, 80)


@pytest.mark.faults
@pytest.mark.usefixtures("own_folder")
async def test_a_thousand_random_keys_raise_nothing(place: Path) -> None:
    await random_keys(place, 2, 1000)


SNAPSHOTS = Path(__file__).parent / "snapshots"


@pytest.mark.parametrize("size", [NARROW, WIDE])
async def test_it_looks_as_it_did(
    place: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    async def said(self: ChildPartner, text: str) -> Any:
        yield "Use git stash."
        yield Answer("Use git stash.\n\n    git stash\n    git stash pop\n", 12, "stop", 106.4)

    async with application(environment(place), opened(place), size=size, start="evaluate") as (app, pilot):
        await until(pilot, lambda: isinstance(app.screen, EvaluateScreen) and app.screen.chosen == 2)
        await pilot.press("r")
        await until(pilot, lambda: isinstance(app.screen, EvaluateScreen) and app.screen.chosen == 1)
        screen = await talking(pilot)
        monkeypatch.setattr(ChildPartner, "reply", said)
        await type_text(pilot, "Put my changes aside")
        await pilot.press("enter")
        await until_shown(pilot, "12 tokens, 106 tokens/s")
        await until(pilot, lambda: not screen.busy and "ready" in screen_text(app))
        await pilot.pause(0.3)
        lines = re.sub(r"cpu \([^)]*\)", "cpu", screen_text(app)).splitlines()
    lines[1] = ""
    shown = "\n".join(line.rstrip() for line in lines) + "\n"
    picture = SNAPSHOTS / f"chat-{size[0]}x{size[1]}.txt"
    if os.environ.get("PAIRSMITH_SNAPSHOTS") == "write":
        picture.write_text(shown, encoding="utf-8")
    assert shown == picture.read_text(encoding="utf-8")

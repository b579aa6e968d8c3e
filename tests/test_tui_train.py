"""The Train place with its real child: settings and what they come to, the curve while it runs, pause, stop, cancel, a
killed child, going on, runs compared; every footer key and random ones."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import string
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pairsmith.pairs.store.runs import list_runs
from pairsmith.pairs.store.verdicts import decide
from pairsmith.pairs.store.workspace import Workspace
from pairsmith.pairs.training_settings import TrainSettings
from pairsmith.tui.screens import train_look
from pairsmith.tui.screens.train import TrainScreen
from pairsmith.tui.screens.train_form import DEFAULTS
from pairsmith.tui.session import Session
from pairsmith.tui.widgets.bars import footer_bindings

from .screens import strike
from .trained import SHAPE, colour_workspace
from .tui_pilot import NARROW, WIDE, application, environment, screen_text, type_text, until, until_shown

FAST = {**DEFAULTS, "shape": SHAPE, "sample_tokens": 5, "threads": 1, "learning_rate": 0.003}
LONG = {**FAST, "epochs": 4000, "checkpoint_every": 20, "sample_tokens": 0, "validate_every": 50}


@pytest.fixture(autouse=True)
def no_look_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most tests need no estimate: its child would only take the processor from the training."""
    monkeypatch.setattr(TrainScreen, "LOOK_AFTER_S", 3600.0)


def filled(folder: Path, count: int = 60) -> Workspace:
    """Pairs that a tiny model can learn from, four of them accepted."""
    workspace = colour_workspace(folder, count)
    workspace.write(lambda conn: decide(conn, range(1, 5), "accepted"))
    return workspace


def place(app: Any, config: dict[str, Any] | None = None) -> TrainScreen:
    """The place; with `config`, set to a tiny model."""
    screen = app.get_screen_stack("train")[0] if hasattr(app, "get_screen_stack") else app.screen
    assert isinstance(screen, TrainScreen)
    if config is not None:
        screen.chosen = TrainSettings("scratch:tiny", config=config)
    return screen


def state_of(app: Any) -> str:
    """Of the newest run."""
    runs = app.session.workspace.read(lambda conn: list_runs(conn, "train"))
    return str(runs[0].state)


def step_of(app: Any) -> int:
    watch = app.jobs.state.watch if app.jobs.state is not None else None
    return watch.step.step if watch is not None and watch.step is not None else 0


@pytest.mark.parametrize("size", [NARROW, WIDE])
async def test_one_key_trains_and_the_curve_the_figures_and_the_answers_are_seen(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    async with application(environment(tmp_path), filled(tmp_path), size=size, start="train") as (app, pilot):
        await until_shown(pilot, "60 pairs: 4 accepted, 56 undecided")
        await until_shown(pilot, "‹ gpt2-small ›")
        place(app, {**FAST, "epochs": 3})
        await pilot.press("g")
        await until_shown(pilot, "✓ done", 60)
        text = screen_text(app)
        assert "scratch:tiny on 60 pairs: 4 accepted, 56 undecided (" in text
        assert "epoch 3/3 · step 21/21" in text
        assert any(0x2800 < ord(char) < 0x2900 for char in text)
        for word in ("loss", "∘", "validation", "tokens/s", "RANDOM", "wanted:", "step      0"):
            assert word in text, word
        assert max(map(len, text.splitlines())) <= size[0]
        await pilot.press("v")
        await until_shown(pilot, "✓ done       scratch:tiny")
        assert app.session.news == set()


async def test_what_the_settings_come_to_is_said_before_anything_is_spent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TrainScreen, "LOOK_AFTER_S", 0.0)
    async with application(environment(tmp_path), filled(tmp_path), start="train") as (app, pilot):
        await until_shown(pilot, "60 pairs")
        place(app, FAST)
        await pilot.press("down", "right")
        await until_shown(pilot, "4 pairs: 4 accepted")
        await pilot.press("left")
        await until_shown(pilot, "60 pairs: 4 accepted, 56 undecided")
        await until_shown(pilot, "MB are free", 60)
        assert "14 steps" in screen_text(app)
        assert "cpu" in place(app).device_text
        assert "GB free" in place(app).form.text or "auto: the fastest of cpu" in place(app).form.text


async def test_what_is_chosen_while_the_place_still_reads_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()

    def slow(conn: Any, kind: str) -> Any:
        go_on.wait(60)
        return list_runs(conn, kind)

    monkeypatch.setattr(train_look, "list_runs", slow)
    monkeypatch.setattr(
        train_look, "start_settings", lambda run, **read: TrainSettings("gpt2-xl" if read else "gpt2-small")
    )
    async with application(environment(tmp_path), filled(tmp_path), start="train") as (app, pilot):
        await until_shown(pilot, "gpt2-small")
        await pilot.press("right")
        await until_shown(pilot, "gpt2-medium")
        go_on.set()
        await until(pilot, lambda: place(app)._read)
        assert place(app).chosen.base == "gpt2-medium"


async def test_every_setting_can_be_changed_by_keys_and_nonsense_is_a_sentence(tmp_path: Path) -> None:
    async with application(environment(tmp_path), filled(tmp_path), start="train") as (app, pilot):
        await until_shown(pilot, "60 pairs")
        screen = place(app)
        await pilot.press("right")
        assert screen.chosen.base == "gpt2-medium"
        await pilot.press("enter")
        await pilot.press("end", "ctrl+u")
        await type_text(pilot, "nonsense")
        await pilot.press("enter")
        await until_shown(pilot, "there is no base model")
        await pilot.press("end", "ctrl+u")
        await type_text(pilot, "scratch:tiny")
        await pilot.press("enter")
        await until(pilot, lambda: screen.chosen.base == "scratch:tiny")
        for name, bad, good, value in (
            ("epochs", "0", "7", 7),
            ("learning_rate", "fast", "1e-3", 1e-3),
        ):
            screen.form.go_to(name)
            await pilot.press("enter", "end", "ctrl+u")
            await type_text(pilot, bad)
            await pilot.press("enter")
            await until_shown(pilot, "number")
            await pilot.press("end", "ctrl+u")
            await type_text(pilot, good)
            await pilot.press("enter")
            await until(pilot, lambda name=name, value=value: screen.chosen.config[name] == value)  # type: ignore[misc]
        for name, value in (("prompt_style", "phi3"), ("mask_instructions", True), ("lora_rank", 4)):
            screen.form.go_to(name)
            await pilot.press("enter")
            assert screen.chosen.config[name] == value


async def test_pause_go_on_stop_and_another_start_goes_on_with_the_same_curve(tmp_path: Path) -> None:
    async with application(environment(tmp_path), filled(tmp_path), start="train") as (app, pilot):
        await until_shown(pilot, "60 pairs")
        place(app, LONG)
        await pilot.press("g")
        await until(pilot, lambda: step_of(app) > 5, 60)
        await until_shown(pilot, "▶ training")
        await pilot.press("p")
        await until_shown(pilot, "Ⅱ paused")
        await until(pilot, lambda: state_of(app) == "paused", 30)
        stood = step_of(app)
        await pilot.press("p")
        await until(pilot, lambda: step_of(app) > stood + 5, 60)
        await pilot.press("P")
        await until(pilot, lambda: not app.jobs.running, 30)
        await until_shown(pilot, "Ⅱ stopped by you · o goes on")
        last = step_of(app)
        await pilot.press("o")
        await until(pilot, lambda: step_of(app) > last, 60)
        watch = app.jobs.state.watch
        assert watch.curves.losses.steps[0] == 1
        assert list(watch.curves.losses.steps) == sorted(set(watch.curves.losses.steps))
        assert len(app.session.workspace.read(lambda conn: list_runs(conn, "train"))) == 1
        await pilot.press("x")
        await until_shown(pilot, "Cancel the training?")
        await pilot.press("y")
        await until(pilot, lambda: not app.jobs.running, 30)
        await until_shown(pilot, "! not done: cancelled by the user · o goes on")


async def test_a_stop_and_a_pause_are_heard_by_a_job_that_is_still_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = asyncio.Event()
    settings = Session.backend_settings

    async def slow(session: Session) -> Any:
        await begun.wait()
        return await settings(session)

    async with application(environment(tmp_path), filled(tmp_path), start="train") as (app, pilot):
        monkeypatch.setattr(Session, "backend_settings", slow)
        place(app, LONG)
        await pilot.press("g", "p")
        assert app.jobs.paused
        await pilot.press("p", "P")
        begun.set()
        await until(pilot, lambda: not app.jobs.running)
        assert state_of(app) == "paused"
        assert step_of(app) == 0


async def test_the_death_of_the_child_is_said_and_the_run_goes_on(tmp_path: Path) -> None:
    async with application(environment(tmp_path), filled(tmp_path), start="train") as (app, pilot):
        await until_shown(pilot, "60 pairs")
        place(app, LONG)
        await pilot.press("g")
        await until(pilot, lambda: step_of(app) > 25, 60)
        os.kill(_child(os.getpid()), signal.SIGKILL)
        await until_shown(pilot, "✗ the training process ended without a word (killed by signal 9)", 30)
        await until(pilot, lambda: state_of(app) == "unfinished")
        await pilot.press("o")
        await until(pilot, lambda: step_of(app) > 25 and app.jobs.running, 60)
        await until_shown(pilot, "▶ training")


def _child(parent: int) -> int:
    """The training process among the children of this one."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if int(stat[1]) == parent and b"pairsmith.training" in words and b"train" in words:
                found.append(int(entry.name))
    assert len(found) == 1
    return found[0]


async def test_a_run_that_cannot_begin_says_why(tmp_path: Path) -> None:
    async with application(environment(tmp_path), filled(tmp_path), start="train") as (app, pilot):
        await until_shown(pilot, "60 pairs")
        screen = place(app)
        screen.chosen = replace(TrainSettings("scratch:tiny", config=FAST), where="helpfulness >= 3")
        await pilot.press("g")
        await until_shown(pilot, "✗ there is no pair that is not rejected and has helpfulness >= 3")


async def test_runs_stand_side_by_side_and_each_shows_its_curve_again(tmp_path: Path) -> None:
    async with application(environment(tmp_path), filled(tmp_path), size=WIDE, start="train") as (app, pilot):
        await until_shown(pilot, "60 pairs")
        for rate in (1e-5, 3e-3):
            place(app, {**FAST, "epochs": 2, "learning_rate": rate, "sample_tokens": 0})
            await pilot.press("g")
            await until(pilot, lambda: app.jobs.running)
            await until(pilot, lambda: not app.jobs.running, 60)
        await pilot.press("v")
        await until_shown(pilot, "valid.")
        await until(pilot, lambda: len(place(app).runs.entries) == 3)
        rows = place(app).runs.text.splitlines()
        assert "3e-03" in rows[1]
        assert "*" in rows[1], "the least validation loss is marked"
        assert "1e-05" in rows[2]
        await pilot.press("down", "enter")
        await until_shown(pilot, "run 1: scratch:tiny")
        assert any(0x2800 < ord(char) < 0x2900 for char in screen_text(app))
    async with application(environment(tmp_path), _again(tmp_path), start="train") as (app, pilot):
        await until(pilot, lambda: place(app).chosen.config["learning_rate"] == 3e-3)


def _again(folder: Path) -> Workspace:
    from pairsmith.pairs.store.workspace import open_workspace

    return open_workspace(folder / "w.pairsmith")


FOOTER = {
    "train": "✗ there is no pair",
    "change": "Which model is trained?",
    "pause": "Nothing runs: g trains, o goes on",
    "stop": "Nothing runs",
    "cancel": "No training is under way",
    "go on": "There is no unfinished run",
    "view": "Nothing was trained here yet",
}


@pytest.mark.parametrize("label", FOOTER)
async def test_every_key_of_the_footer_does_what_it_says(tmp_path: Path, label: str) -> None:
    async with application(environment(tmp_path), filled(tmp_path), start="train") as (app, pilot):
        await until_shown(pilot, "60 pairs")
        screen = place(app)
        screen.chosen = replace(screen.chosen, where="helpfulness >= 3")
        shown = footer_bindings(app.screen)
        assert [binding.description for binding in shown] == list(FOOTER)
        binding = next(one for one in shown if one.description == label)
        assert f"{app.get_key_display(binding)} {label}" in screen_text(app)
        assert FOOTER[label] not in screen_text(app)
        await pilot.press(binding.key)
        await until_shown(pilot, FOOTER[label])


KEYS = [
    *(letter for letter in string.ascii_letters if letter != "g"),
    *("enter", "escape", "space", "tab", "up", "down", "left", "right", "question_mark", "6", "backspace"),
]


async def random_keys(folder: Path, size: tuple[int, int], count: int) -> None:
    """While a training runs. An exception on any of them ends the application and fails the test."""
    chosen = random.Random(size[0])
    async with application(environment(folder), filled(folder), size=size, start="train") as (app, pilot):
        await until(pilot, lambda: bool(place(app).form.entries))
        place(app, LONG)
        await pilot.press("g")
        for _ in range(count):
            await strike(pilot, chosen.choice(KEYS))
    assert app._exception is None


@pytest.mark.parametrize("size", [NARROW, (40, 10)])
@pytest.mark.usefixtures("own_folder")
async def test_random_keys_raise_nothing(tmp_path: Path, size: tuple[int, int]) -> None:
    await random_keys(tmp_path, size, 60)


@pytest.mark.faults
@pytest.mark.usefixtures("own_folder")
async def test_a_thousand_random_keys_raise_nothing(tmp_path: Path) -> None:
    await random_keys(tmp_path, WIDE, 1000)

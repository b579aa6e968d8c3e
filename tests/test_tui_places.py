"""Every place: its footer keys do what they say, random keys raise nothing, and it looks as it looked before."""

from __future__ import annotations

import os
import random
import re
import string
from pathlib import Path
from typing import Any

import pytest
from textual import events
from textual.command import CommandPalette
from textual.css.query import NoMatches

from pairsmith.pairs.run_plan import RunPlan, write_plan
from pairsmith.pairs.store.pair_rows import NewPair, add_pair
from pairsmith.pairs.store.verdicts import decide
from pairsmith.pairs.store.workspace import Workspace
from pairsmith.tui.app import PairsmithApp
from pairsmith.tui.places import PLACES
from pairsmith.tui.screens.keys import KeysScreen
from pairsmith.tui.session import Session
from pairsmith.tui.widgets.bars import footer_bindings
from pairsmith.tui.working import begin

from .brains import DefectiveLists
from .generation import make_workspace
from .screens import strike
from .servers.nim import NimServer
from .tui_pilot import (
    NARROW,
    WIDE,
    application,
    environment,
    screen_text,
    type_text,
    until,
    until_shown,
)

OURS = ("home", "backends", "topics", "generate", "export", "settings")
FIVE = ("Branching", "Merging", "Committing", "Remote repositories", "Resolving conflicts")
WRITER = "nim:meta/llama-3.1-405b-instruct"
FOOTER = {
    "home": {
        "open": "[4 Generate]|[5 Review]",
        "new": "A new workspace",
        "open file": "a .pairsmith file, or JSON, JSONL, CSV, Parquet",
        "import": "Import pairs",
        "API key": "A key for NVIDIA NIM",
        "look again": "Looking again",
        "quit": "",
    },
    "backends": {
        "health": f"✓ {WRITER}",
        "test": f"A prompt for {WRITER}",
        "generator": "The generator is",
        "judge": "The judge is",
        "pull": "Which model shall Ollama bring?",
        "get": "Download a model",
        "server": "An OpenAI-compatible server",
        "API key": "A key for NVIDIA NIM",
        "look again": "Looking again",
    },
    "topics": {
        "add": "A new topic",
        "rename": "Another name",
        "prune": "Took out Branching",
        "quota": "asked 24",
        "number": "How many pairs shall",
        "suggest": "Suggest topics",
        "generate": "[4 Generate]",
    },
    "generate": {
        "go": "✓ done",
        "pause": "Nothing runs: g",
        "stop": "Nothing runs",
        "generator": "Which model writes the pairs?",
        "judge": "Which model scores the pairs?",
        "number": "Generate more pairs",
        "method": "How the next run finds instructions",
        "seeds": "No seed task yet.",
        "limits": "The most that one start may spend",
        "score": "There is no judge",
    },
    "export": {
        "write": "✓ 10 pairs",
        "push": "Push to the Hugging Face Hub",
        "model": "no model is trained yet",
        "change": "‹ alpaca ›",
        "choose": "‹ hf ›",
    },
    "settings": {
        "change": "The default generator",
        "choose": "enter changes this one",
        "clear": "No default generator any more",
        "read again": "Read again",
    },
}


def filled(folder: Path) -> Workspace:
    """Five topics and twelve pairs, of which some are decided."""
    workspace = make_workspace(folder, topics=FIVE)

    def fill(conn: Any) -> None:
        write_plan(conn, RunPlan(25))
        new = [
            NewPair(instruction=f"Say {n}", input="", output=f"It is {n}", origin="human") for n in range(12)
        ]
        ids = [add_pair(conn, pair) for pair in new]
        decide(conn, ids[:3], "accepted")
        decide(conn, ids[3:5], "rejected")

    workspace.write(fill)
    return workspace


CASES = [(place, label) for place, keys in FOOTER.items() for label in keys]


@pytest.mark.parametrize(("place", "label"), CASES)
async def test_every_key_of_the_footer_does_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, label: str
) -> None:
    monkeypatch.chdir(tmp_path)
    async with NimServer(DefectiveLists(seed=1)) as server:
        env = environment(tmp_path, server)
        async with application(env, filled(tmp_path), start=place, size=(100, 30)) as (app, pilot):
            await pilot.pause()
            if place == "backends":
                await until(pilot, lambda: len(app.screen.offered) == 4)  # type: ignore[attr-defined]
                app.screen.list.go_to(f"model:{WRITER}")  # type: ignore[attr-defined]
            elif place == "topics":
                await until_shown(pilot, "Branching")
            elif place == "home":
                await until_shown(pilot, "wait for a verdict")
            elif place == "export":
                await until_shown(pilot, "10 pairs")
            else:
                await until_shown(
                    pilot, {"generate": "generates 25 pairs", "settings": "pairsmith-dark"}[place]
                )
            shown = footer_bindings(app.screen)
            assert {binding.description for binding in shown} == set(FOOTER[place])
            binding = next(binding for binding in shown if binding.description == label)
            assert f"{app.get_key_display(binding)} {label}" in screen_text(app)
            wanted = FOOTER[place][label].split("|")
            assert label == "quit" or not any(text in screen_text(app) for text in wanted)
            await pilot.press(binding.key)
            if label == "quit":
                await until(pilot, lambda: not app.is_running or app._exit)
            else:
                await until(pilot, lambda: any(text in screen_text(app) for text in wanted))


@pytest.mark.parametrize("place", OURS)
async def test_every_binding_has_an_action_an_id_and_a_sentence(tmp_path: Path, place: str) -> None:
    async with application(environment(tmp_path), filled(tmp_path), start=place) as (app, pilot):
        await pilot.pause()
        ours = [one.binding for one in app.screen.active_bindings.values() if one.node is app.screen]
        named = [binding for binding in ours if binding.id]
        assert {binding.description for binding in named} >= set(FOOTER[place])
        for binding in named:
            name = binding.action.partition("(")[0]
            holder = app if name.startswith("app.") else app.screen
            assert hasattr(holder, f"action_{name.removeprefix('app.')}"), name
            assert binding.tooltip
            assert binding.id is not None
            assert binding.id.startswith(f"{place}.")


KEYS = [
    *string.ascii_letters,
    *string.digits,
    *("enter", "enter", "escape", "space", "tab", "shift+tab", "up", "down", "left", "right", "home", "end"),
    *("pageup", "pagedown", "backspace", "slash", "question_mark", "ctrl+p", "plus", "equals_sign", "ctrl+u"),
]


async def random_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, count: int) -> None:
    """An exception on any of them ends the application and fails the test; a quit only begins it anew."""
    monkeypatch.chdir(tmp_path)
    chosen, left = random.Random(place), count
    async with NimServer(DefectiveLists(seed=1)) as server:
        env = environment(tmp_path, server)
        while left:
            folder = tmp_path / str(left)
            folder.mkdir()
            app = PairsmithApp(Session(dict(env), filled(folder)), start=place)
            async with app.run_test(size=chosen.choice([NARROW, WIDE, (40, 10)])) as pilot:
                await pilot.pause()
                while left and app.is_running and not app._exit:
                    await strike(pilot, chosen.choice(KEYS))
                    left -= 1
                await app.jobs.leave()
            assert app._exception is None
            if app.session.workspace is not None:
                await app.session.workspace.aclose()


@pytest.mark.parametrize("place", OURS)
async def test_random_keys_raise_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    await random_keys(tmp_path, monkeypatch, place, 70)


@pytest.mark.faults
@pytest.mark.parametrize("place", OURS)
async def test_a_thousand_random_keys_raise_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    await random_keys(tmp_path, monkeypatch, place, 1000)


SNAPSHOTS = Path(__file__).parent / "snapshots"
_OURS = re.compile(r"^(.\s(?:processor|GPU)).*$", re.MULTILINE)


@pytest.mark.parametrize("size", [NARROW, WIDE])
@pytest.mark.parametrize("place", OURS)
async def test_a_place_looks_as_it_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, size: tuple[int, int]
) -> None:
    """The picture is a text file; PAIRSMITH_SNAPSHOTS=write makes it anew."""
    monkeypatch.chdir(tmp_path)
    ready = {
        "home": ("no key", "wait for a verdict"),
        "backends": ("no GGUF file", "not set up", "no key"),
        "topics": ("This run: about",),
        "generate": ("This run: about",),
        "export": ("10 pairs: 3 accepted, 7 undecided",),
        "settings": ("settings.toml",),
    }[place]
    monkeypatch.setenv("PATH", str(tmp_path))  # neither an Ollama nor an nvidia-smi of this machine is found
    env = environment(tmp_path, PAIRSMITH_HOME="home")
    async with application(env, filled(Path()), size=size, start=place) as (app, pilot):
        if place == "home":
            await until(pilot, lambda: len(app.screen._known.machine) == 5)  # type: ignore[attr-defined]
        elif place == "backends":
            await until(pilot, lambda: len(app.screen.offered) == 4)  # type: ignore[attr-defined]
        elif place == "settings":
            await until_shown(pilot, "pairsmith-dark")
            ready = ("pairsmith-dark",)
        await until_shown(pilot, "nim:llama-3.1-405b-instruct")
        for text in ready:
            await until(pilot, lambda text=text: text in _all_text(app))  # type: ignore[misc]
        await pilot.pause()
        shown = _OURS.sub(r"\1", screen_text(app))
    lines = shown.splitlines()
    lines[1] = ""  # the places that are built; they have a test of their own
    shown = "\n".join(lines)
    assert max(len(line) for line in lines) <= size[0]
    picture = SNAPSHOTS / f"{place}-{size[0]}x{size[1]}.txt"
    if os.environ.get("PAIRSMITH_SNAPSHOTS") == "write":
        picture.parent.mkdir(exist_ok=True)
        picture.write_text(shown + "\n", encoding="utf-8")
    assert shown + "\n" == picture.read_text(encoding="utf-8")


def _all_text(app: Any) -> str:
    lists = [str(getattr(getattr(app.screen, name, None), "text", "")) for name in ("list", "form")]
    return "\n".join([screen_text(app), *lists])


def test_the_places_are_those_of_the_design_in_their_order() -> None:
    names = ["home", "backends", "topics", "generate", "review", "train", "evaluate", "export", "settings"]
    assert [place.id for place in PLACES] == names
    assert all(names[int(place.key) - 1] == place.id for place in PLACES)


async def test_a_click_picks_and_a_second_one_opens(tmp_path: Path) -> None:
    async with application(environment(tmp_path), filled(tmp_path), start="topics") as (app, pilot):
        await until_shown(pilot, "Committing")
        y = next(n for n, text in enumerate(screen_text(app).splitlines()) if "Committing" in text)
        await pilot.click(offset=(10, y))
        await until(pilot, lambda: app.screen.current is not None and app.screen.current.name == "Committing")  # type: ignore[attr-defined]
        await pilot.click(offset=(10, y), times=2)
        await until_shown(pilot, "Another name")


async def test_the_palette_does_what_a_key_does(tmp_path: Path) -> None:
    async with application(environment(tmp_path), filled(tmp_path), start="topics") as (_, pilot):
        await until_shown(pilot, "Branching")
        await pilot.press("ctrl+p", *"prune")
        await until_shown(pilot, "Take it out with all below it")
        await pilot.press("enter")
        await until_shown(pilot, "Took out Branching")


async def test_a_box_that_is_left_twice_at_once_takes_nothing_else_along(tmp_path: Path) -> None:
    """Both keys are on their way before the first is done."""
    for keys in (("enter", "escape"), ("escape", "escape"), ("enter", "enter", "escape")):
        folder = tmp_path / "".join(keys)
        folder.mkdir()
        async with application(environment(folder), filled(folder), start="topics") as (app, pilot):
            await until_shown(pilot, "Branching")
            await pilot.press("a")
            await until_shown(pilot, "A new topic")
            await type_text(pilot, "Tags")
            for key in keys:
                app.post_message(events.Key(key, None))
            await until(pilot, lambda app=app: type(app.screen).__name__ == "TopicsScreen")  # type: ignore[misc]
            assert app._exception is None


async def test_a_bug_in_work_beside_the_screen_is_told_and_ends_nothing(tmp_path: Path) -> None:
    async def broken(name: str) -> None:
        raise KeyError(name)

    async with application(environment(tmp_path)) as (app, pilot):
        begin(app.screen, broken, "no such column")
        await until_shown(pilot, "internal error: KeyError: 'no such column'")
        assert app._exception is None


@pytest.mark.parametrize("name", [place.id for place in PLACES])
async def test_help_and_palette_name_everything_once(tmp_path: Path, name: str) -> None:
    async with application(environment(tmp_path), filled(tmp_path), start=name) as (app, pilot):
        await until(pilot, lambda: app.current_mode == name)
        listed = [(command.title, command.help) for command in app.get_system_commands(app.screen)]
        assert len(listed) == len(set(listed))
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(app.screen, KeysScreen))
        assert isinstance(app.screen, KeysScreen)
        keys = [key for keys, _ in app.screen._lines for key in keys.split()]
        assert sorted(keys) == sorted(set(keys))
        sentences = [sentence for _, sentence in app.screen._lines]
        assert len(sentences) == len(set(sentences))


async def test_a_palette_that_fails_while_it_is_left_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: object, *arguments: object) -> None:
        raise NoMatches("its list is gone")

    monkeypatch.setattr(CommandPalette, "_refresh_command_list", broken)
    async with application(environment(tmp_path)) as (app, pilot):
        await pilot.press("ctrl+p", "g", "o")
        await pilot.pause(0.2)
        await pilot.press("escape")
        await until(pilot, lambda: len(app.screen_stack) == 1)
        assert app._exception is None

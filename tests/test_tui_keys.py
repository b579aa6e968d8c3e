"""Keys: every one of the footer does what it says, none fires while one types, a thousand random ones raise nothing."""

from __future__ import annotations

import asyncio
import random
import string
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from textual.binding import Binding
from textual.widgets import Input, TextArea

from pairsmith.pairs.store.journal import history
from pairsmith.tui.app import PairsmithApp
from pairsmith.tui.key_check import wrong_keys
from pairsmith.tui.keymap import read_app_settings
from pairsmith.tui.places import PLACES
from pairsmith.tui.screens.choose import ChooseScreen
from pairsmith.tui.screens.edit_pair import EditScreen
from pairsmith.tui.screens.keys import KeysScreen
from pairsmith.tui.screens.review import ReviewScreen
from pairsmith.tui.screens.search_box import SearchScreen
from pairsmith.tui.screens.train import TrainScreen
from pairsmith.tui.session import Session
from pairsmith.tui.widgets.bars import KeyBar, footer_bindings

from .screens import (
    NARROW,
    WIDE,
    git_workspace,
    press,
    review_of,
    reviewing,
    screen_text,
    settle,
    strike,
    verdicts,
)
from .tui_pilot import until, until_shown

Check = Callable[[Any, dict[int, str]], bool]
FOOTER: dict[str, Check] = {
    "accept": lambda app, found: found[12] == "accepted" and review_of(app).cursor == 1,
    "reject": lambda app, found: found[12] == "rejected" and review_of(app).cursor == 1,
    "edit": lambda app, found: isinstance(app.screen, EditScreen),
    "again": lambda app, found: "of 12" not in screen_text(app).splitlines()[3],
    "skip": lambda app, found: review_of(app).cursor == 1 and found[12] == "undecided",
    "undo": lambda app, found: "Nothing to undo" in screen_text(app),
    "find": lambda app, found: isinstance(app.screen, SearchScreen),
    "filter": lambda app, found: isinstance(app.screen, ChooseScreen),
}


@pytest.mark.parametrize("label", FOOTER)
async def test_every_key_of_the_footer_does_what_it_says(tmp_path: Path, label: str) -> None:
    with git_workspace(tmp_path) as workspace:
        async with reviewing(workspace) as pilot:
            binding = next(b for b in footer_bindings(pilot.app.screen) if b.description == label)
            assert f"{pilot.app.get_key_display(binding)} {label}" in screen_text(pilot.app)
            await press(pilot, binding.key)
            assert FOOTER[label](pilot.app, verdicts(workspace))


async def test_the_footer_holds_no_key_that_is_not_walked(tmp_path: Path) -> None:
    with git_workspace(tmp_path) as workspace:
        async with reviewing(workspace, WIDE) as pilot:
            assert [b.description for b in footer_bindings(pilot.app.screen)] == list(FOOTER)


async def test_every_binding_of_the_review_has_an_action_and_a_sentence(tmp_path: Path) -> None:
    with git_workspace(tmp_path) as workspace:
        async with reviewing(workspace) as pilot:
            screen = pilot.app.screen
            ours = [one.binding for one in screen.active_bindings.values() if one.node is screen]
            named = [binding for binding in ours if binding.id]
            assert {"review.accept", "review.reject", "review.edit"} <= {binding.id for binding in named}
            for binding in named:
                name = binding.action.partition("(")[0]
                assert hasattr(screen, f"action_{name}"), name
                assert binding.tooltip


async def test_question_mark_lists_every_key_with_its_sentence(tmp_path: Path) -> None:
    with git_workspace(tmp_path) as workspace:
        async with reviewing(workspace, WIDE) as pilot:
            await press(pilot, "question_mark")
            assert isinstance(pilot.app.screen, KeysScreen)
            text = screen_text(pilot.app)
            for sentence in (
                "Accept the pair and go to the next",
                "Thresholds on histograms",
                "Go to a place",
            ):
                assert sentence in text
            await press(pilot, "escape")
            assert isinstance(pilot.app.screen, ReviewScreen)


async def test_the_palette_finds_an_action_by_name(tmp_path: Path) -> None:
    with git_workspace(tmp_path) as workspace:
        async with reviewing(workspace) as pilot:
            await press(pilot, "ctrl+p", *"statistics")
            await pilot.pause(0.5)
            await press(pilot, "enter")
            await settle(pilot)
            assert "this sitting" in screen_text(pilot.app)


async def test_keys_can_be_changed_in_the_settings(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text('[keys]\n"review.accept" = "y"\n')
    with git_workspace(tmp_path) as workspace:
        async with reviewing(workspace) as pilot:
            assert "y accept" in screen_text(pilot.app)
            await press(pilot, "a")
            assert verdicts(workspace)[12] == "undecided"
            await press(pilot, "y")
            assert verdicts(workspace)[12] == "accepted"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("keys = 3", "must be a text like"),
        ("[keys]\na = 1", "a must be a text like"),
        ("not toml [", "cannot be read"),
    ],
)
def test_settings_that_cannot_be_read_are_said_and_change_nothing(
    tmp_path: Path, text: str, said: str
) -> None:
    (tmp_path / "settings.toml").write_text(text)
    found = read_app_settings({"PAIRSMITH_HOME": str(tmp_path)})
    assert found.keys == {}
    (problem,) = found.problems
    assert said in problem


def test_a_theme_that_is_no_text_changes_nothing_and_is_named(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text('theme = []\n[keys]\n"review.accept" = "y"\n')
    found = read_app_settings({"PAIRSMITH_HOME": str(tmp_path)})
    assert (found.theme, found.keys) == (None, {"review.accept": "y"})
    assert found.problems == ("settings: theme must be a text like 'textual-dark'",)


WRONG = {
    "an unknown action": (
        '"review.acept" = "y"',
        "review.acept is not used: no such action. Did you mean review.accept?",
    ),
    "an action that resembles none": ('"x" = "y"', "x is not used: no such action. 9 Settings lists them"),
    "no key": (
        '"review.accept" = "ctrl+G"',
        "review.accept is not used: ctrl+G is no key. A key looks like a,",
    ),
    "one of its keys is none": (
        '"review.accept" = "y,"',
        "review.accept is not used: an empty text is no key.",
    ),
    "a key of another action": (
        '"review.accept" = "y,/"',
        "review.accept is not used: slash is a key of review.find, too. Give one of them another",
    ),
    "no text": ('"review.accept" = 5', "review.accept must be a text like 'a,y'"),
}


@pytest.mark.parametrize("what", WRONG)
async def test_a_key_that_cannot_be_used_is_said_and_the_first_ones_work(tmp_path: Path, what: str) -> None:
    entry, said = WRONG[what]
    (tmp_path / "settings.toml").write_text(f'[keys]\n{entry}\n"review.reject" = "z"\n')
    with git_workspace(tmp_path) as workspace:
        async with reviewing(workspace, WIDE) as pilot:
            await until_shown(pilot, f"settings: [keys] {said}")
            await press(pilot, "a", "z")
            assert (verdicts(workspace)[12], verdicts(workspace)[11]) == ("accepted", "rejected")
            await press(pilot, "9")
            await until(pilot, lambda: said in pilot.app.screen.form.text)  # type: ignore[attr-defined]


async def test_several_wrong_keys_are_counted_in_a_notice_and_named_in_the_settings(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text('[keys]\n"no.such" = "y"\n"review.edit" = "f99"\n')
    with git_workspace(tmp_path) as workspace:
        async with reviewing(workspace) as pilot:
            await until_shown(pilot, "2 entries are not used. 9 Settings says which, and why")
            await press(pilot, "9")
            await until_shown(pilot, "pairsmith-dark")
            shown = " ".join(pilot.app.screen.form.text.split())  # type: ignore[attr-defined]
            assert "no.such is not used" in shown
            assert "f99 is no key" in shown
            (tmp_path / "settings.toml").write_text("")
            await press(pilot, "r")
            await until(pilot, lambda: "not used" not in pilot.app.screen.form.text)  # type: ignore[attr-defined]


def test_two_actions_may_change_their_keys_with_each_other_but_not_have_the_same() -> None:
    assert wrong_keys({"review.accept": "r", "review.reject": "a"}) == {}
    assert set(wrong_keys({"review.accept": "y", "review.reject": "y", "review.again": "z"})) == {
        "review.accept",
        "review.reject",
    }
    # x is another's, so that r stays the key of reject, and accept cannot have it
    assert set(wrong_keys({"review.accept": "r", "review.reject": "x"})) == {"review.accept", "review.reject"}
    assert wrong_keys({"review.accept": "ctrl+g", "topics.add": "ctrl+g"}) == {}, "two places"


def test_the_keys_that_every_action_has_may_stand_in_the_settings() -> None:
    first = [
        one
        for place in PLACES
        for one in (*PairsmithApp.BINDINGS, *place.make().BINDINGS)
        if isinstance(one, Binding)
    ]
    assert wrong_keys({one.id: one.key for one in first if one.id}) == {}


TYPED = st.lists(
    st.one_of(
        st.sampled_from(list(string.printable[:95])),
        st.sampled_from(["enter", "space", "tab", "backspace", "left", "up", "end", "pagedown", "delete"]),
    ),
    min_size=1,
    max_size=25,
)
OPENERS = ("e", "slash", "n")


def _key(char: str) -> str:
    from textual.keys import _character_to_key

    return _character_to_key(char) if len(char) == 1 else char


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(typed=TYPED, opener=st.sampled_from(OPENERS))
def test_typing_any_text_in_any_editor_changes_no_verdict(typed: list[str], opener: str) -> None:
    async def run() -> None:
        with tempfile.TemporaryDirectory() as folder, git_workspace(Path(folder)) as workspace:
            async with reviewing(workspace) as pilot:
                await press(pilot, opener)
                opened = pilot.app.screen
                for char in typed:
                    if pilot.app.screen is not opened:
                        break
                    assert isinstance(pilot.app.focused, (Input, TextArea))
                    await strike(pilot, _key(char))
                await settle(pilot)
                assert set(verdicts(workspace).values()) == {"undecided"}
                assert workspace.read(history) == []

    asyncio.run(run())


KEYS = [
    *string.ascii_letters,
    *string.digits,
    *("enter", "escape", "space", "tab", "shift+tab", "up", "down", "left", "right", "home", "end"),
    *("pageup", "pagedown", "backspace", "slash", "question_mark", "f1", "f2", "f3", "ctrl+p", "ctrl+s"),
    *("comma", "full_stop", "plus", "minus", "ctrl+d", "ctrl+u"),
]


@pytest.mark.parametrize(("seed", "size"), [(1, NARROW), (2, WIDE), (3, (30, 8)), (4, (100, 24))])
@pytest.mark.usefixtures("own_folder")
async def test_random_keys_raise_nothing(tmp_path: Path, seed: int, size: tuple[int, int]) -> None:
    """A thousand in all; an exception on any of them ends the app and fails the test."""
    chosen = random.Random(seed)
    left = 250
    with git_workspace(tmp_path) as workspace:
        while left:
            app = PairsmithApp(
                Session({"PAIRSMITH_HOME": str(tmp_path), "EDITOR": "true"}, workspace), start="review"
            )
            async with app.run_test(size=size) as pilot:
                while left and app.is_running:  # the palette can quit: that is no failure
                    await strike(pilot, chosen.choice(KEYS))
                    left -= 1
            assert app._exception is None


async def test_the_places_of_line_2_are_those_that_are_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TrainScreen, "LOOK_AFTER_S", 3600.0)  # its estimate is a child process
    with git_workspace(tmp_path) as workspace:
        async with reviewing(workspace, WIDE) as pilot:
            assert "[5 Review]" in screen_text(pilot.app).splitlines()[1]
            for place in PLACES:
                assert f"{place.key} {place.name}" in screen_text(pilot.app).splitlines()[1]
            await press(pilot, "6")
            await until(pilot, lambda: isinstance(pilot.app.screen, TrainScreen))
            assert "[6 Train]" in screen_text(pilot.app).splitlines()[1]


async def test_notices_stand_in_the_last_line_and_are_never_markup(tmp_path: Path) -> None:
    with git_workspace(tmp_path) as workspace:
        async with reviewing(workspace) as pilot:
            pilot.app.notify("array[/0] and [/] \x1b[2J", severity="error")
            await pilot.pause()
            assert "array[/0] and [/] ␛[2J" in screen_text(pilot.app).splitlines()[-1]
            assert pilot.app.screen.query_one(KeyBar).noticed

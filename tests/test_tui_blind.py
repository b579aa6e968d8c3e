"""Blind rating on the screen: keys rate, before that nothing tells whose answer it is, nothing is lost, undo."""

from __future__ import annotations

import asyncio
import os
import random
import string
import sys
import tempfile
import tomllib
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pairsmith.pairs.blind import contestants, read_sheet
from pairsmith.pairs.store.journal import undo
from pairsmith.pairs.store.pair_rows import get_pair
from pairsmith.pairs.store.ratings import Rating, RatingKind, ratings_of
from pairsmith.pairs.store.workspace import Workspace, open_workspace
from pairsmith.tui.screens.blind import BlindScreen, CompareScreen, GradeScreen
from pairsmith.tui.screens.blind_rows import Question, question_rows
from pairsmith.tui.screens.evaluate import EvaluateScreen
from pairsmith.tui.widgets.bars import footer_bindings

from .answered import answered_workspace, bad, evaluated, good
from .hostile import CORPUS
from .screens import strike
from .terminal import Terminal
from .tui_pilot import NARROW, WIDE, application, environment, screen_text, type_text, until, until_shown

SUBJECTS = {"tuned": good, "base": bad}


def rater(folder: Path, name: str = "Ada") -> dict[str, str]:
    """An environment in which the rater is known."""
    env = environment(folder)
    home = Path(env["PAIRSMITH_HOME"])
    home.mkdir(exist_ok=True)
    (home / "settings.toml").write_text(f'rater = "{name}"\n')
    return env


def stored(workspace: Workspace, kind: RatingKind = "compare") -> list[Rating]:
    return workspace.read(lambda conn: ratings_of(conn, kind, range(1, 100)))


def blind(app: Any) -> BlindScreen:
    assert isinstance(app.screen, BlindScreen)
    return app.screen


async def begin(pilot: Any, key: str = "b") -> BlindScreen:
    """From Evaluate to the first question."""
    app = pilot.app
    await until(pilot, lambda: isinstance(app.screen, EvaluateScreen) and app.screen.chosen is not None)
    await pilot.press(key)
    if key == "s":
        await until_shown(pilot, "to rate")
        await pilot.press("enter")
    await until(pilot, lambda: isinstance(app.screen, BlindScreen) and bool(app.screen.sheet.items))
    await until(pilot, lambda: bool(blind(app).text))
    return blind(app)


async def saved(pilot: Any) -> None:
    """Until what was rated is on the disk and the screen says so."""
    screen = blind(pilot.app)
    await until(pilot, lambda: not screen._saving)
    await pilot.pause()


async def test_the_rater_is_asked_once_and_kept_in_the_settings(tmp_path: Path) -> None:
    env = environment(tmp_path)
    workspace = answered_workspace(tmp_path, SUBJECTS)
    async with application(env, workspace, start="evaluate") as (app, pilot):
        await until(pilot, lambda: isinstance(app.screen, EvaluateScreen) and app.screen.chosen is not None)
        await pilot.press("b")
        await until_shown(pilot, "Who rates?")
        await pilot.press("enter")
        await until_shown(pilot, "a rater's name has 1 to 60 characters")
        await type_text(pilot, "Ada Lovelace")
        await pilot.press("enter")
        await until_shown(pilot, "which answer is better? · rater Ada Lovelace")
        kept = tomllib.loads((Path(env["PAIRSMITH_HOME"]) / "settings.toml").read_text())
        assert kept["rater"] == "Ada Lovelace"
        await pilot.press("left")
        await until(pilot, lambda: len(stored(workspace)) == 1)
        await pilot.press("escape")
        await until_shown(pilot, "by hand, blind: run 1 against base of run 1")
        await pilot.press("b")
        await until_shown(pilot, "2 of 12")
        assert [one.rater for one in stored(workspace)] == ["Ada Lovelace"]


@pytest.mark.parametrize("size", [NARROW, WIDE])
async def test_left_right_tie_and_skip_rate_what_is_on_the_screen(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    workspace = answered_workspace(tmp_path, SUBJECTS)
    async with application(rater(tmp_path), workspace, size=size, start="evaluate") as (app, pilot):
        screen = await begin(pilot)
        text = screen_text(app)
        assert "Question number" in text
        assert max(map(len, text.splitlines())) <= size[0]
        expected: dict[int, float | None] = {}
        for key in ("left", "right", "t", "space", "h", "l", "equals_sign"):
            item = screen.sheet.here
            assert item is not None
            for answer in item.answers:
                assert answer.text.split(",")[0] in screen.text
            places = screen.text.index(item.answers[0].text[:12]) < screen.text.index(
                item.answers[1].text[:12]
            )
            assert places
            low = item.answers[0].key < item.answers[1].key
            expected[item.pair_id] = {
                "left": float(low), "h": float(low), "right": float(not low), "l": float(not low), "space": None,
            }.get(key, 0.5)  # fmt: skip
            await pilot.press(key)
            await until(pilot, lambda expected=expected: len(stored(workspace)) == len(expected))  # type: ignore[misc]
        assert {one.pair_id: one.value for one in stored(workspace)} == expected
        assert "8 of 12" in screen_text(app)
        assert "rated 6 · 2 ties · 1 skipped" in screen_text(app)


async def test_names_and_figures_come_at_the_end_and_in_the_place(tmp_path: Path) -> None:
    workspace = answered_workspace(tmp_path, SUBJECTS)
    async with application(rater(tmp_path), workspace, size=WIDE, start="evaluate") as (app, pilot):
        screen = await begin(pilot)
        for _ in range(12):
            item = screen.sheet.here
            assert item is not None
            assert "run 1" not in screen_text(app)
            await pilot.press("left" if item.answers[0].name == "run 1" else "right")
        await until_shown(pilot, "run 1 against base of run 1")
        await until_shown(pilot, "win rate")
        assert "Ada                 12    0     0       0        1.00 (0.76–1.00)" in screen_text(app)
        await pilot.press("left")
        await until_shown(pilot, "All are rated: u takes the last one back")
        await pilot.press("escape")
        await until_shown(pilot, "12 better, 0 ties, 0 worse, 0 skipped: 1.00 (0.76–1.00) p<0.001")


async def test_undo_goes_back_to_the_question_and_redo_on(tmp_path: Path) -> None:
    workspace = answered_workspace(tmp_path, SUBJECTS)
    async with application(rater(tmp_path), workspace, start="evaluate") as (_, pilot):
        screen = await begin(pilot)
        first = screen.sheet.here
        await pilot.press("u")
        await until_shown(pilot, "no rating of yours")
        await pilot.press("left", "t")
        await pilot.press("u", "u")
        await until(pilot, lambda: stored(workspace) == [])
        await until(pilot, lambda: screen.sheet.here == first)
        await pilot.press("U")
        await until(pilot, lambda: len(stored(workspace)) == 1 and screen.sheet.done == 1)
        workspace.write(undo)
        assert stored(workspace) == []


@pytest.mark.parametrize("key", ["b", "s"])
async def test_what_was_rated_stays_and_the_next_start_asks_the_next_question(
    tmp_path: Path, key: str
) -> None:
    workspace = answered_workspace(tmp_path, SUBJECTS)
    path = workspace.path
    presses = {"b": ("left", "t", "right"), "s": ("3", "5", "1")}[key]
    async with application(rater(tmp_path), workspace, start="evaluate") as (app, pilot):
        screen = await begin(pilot, key)
        order = [item.key for item in screen.sheet.items]
        for press in presses:
            await pilot.press(press)
        app.exit()
    workspace = open_workspace(path)
    async with application(rater(tmp_path), workspace, start="evaluate") as (_, pilot):
        screen = await begin(pilot, key)
        assert screen.sheet.here is not None
        assert screen.sheet.here.key == order[3]


def test_what_was_rated_in_a_terminal_survives_kill_9_and_the_same_question_comes_again(
    tmp_path: Path,
) -> None:
    workspace = answered_workspace(tmp_path, SUBJECTS)
    path = workspace.path
    workspace.close()
    env = rater(tmp_path)
    program = [str(Path(sys.executable).with_name("pairsmith")), str(path)]
    with Terminal(program, 100, 30, env) as terminal:
        terminal.wait("w.pairsmith")
        terminal.send("7")
        terminal.wait("run 1: scratch:tiny")
        terminal.send("b")
        terminal.wait("which answer is better?")
        for key in ("h", "l", "t", "l", "t", "h", "l"):
            since = terminal.mark()
            terminal.send(key)
            terminal.wait("u takes it back", since)
        assert terminal.kill() == -9
    with open_workspace(path) as again:
        assert len(stored(again)) == 7
        sheet = again.read(
            lambda conn: read_sheet(conn, "compare", contestants(conn, 1)[:2], "Ada", again.id)
        )
        here = sheet.here
        assert here is not None
        instruction = again.read(lambda conn: get_pair(conn, here.pair_id)).version.instruction
    with Terminal(program, 100, 30, env) as terminal:
        terminal.wait("w.pairsmith")
        terminal.send("7")
        terminal.wait("run 1: scratch:tiny")
        terminal.send("b")
        terminal.wait("8 of 12")
        terminal.wait(instruction)
        terminal.send("\x11")
        assert terminal.wait_end() == 0


async def test_digits_grade_and_lead_nowhere(tmp_path: Path) -> None:
    workspace = answered_workspace(tmp_path, SUBJECTS)
    async with application(rater(tmp_path), workspace, start="evaluate") as (app, pilot):
        screen = await begin(pilot, "s")
        assert isinstance(screen, GradeScreen)
        assert len(screen.sheet.items) == 24
        for grade in "12345":
            item = screen.sheet.here
            assert item is not None
            assert item.answers[0].text.split(",")[0] in screen.text
            assert "← left" not in screen.text
            await pilot.press(grade)
            await until(pilot, lambda grade=grade: len(stored(workspace, "scale")) == int(grade))  # type: ignore[misc]
            assert stored(workspace, "scale")[-1].value == float(grade)
            assert stored(workspace, "scale")[-1].answer == item.answers[0].key
        for digit in "67890":
            await pilot.press(digit)
        assert app.screen is screen
        assert "digits go nowhere" in screen_text(app)
        await pilot.press("space")
        await until(pilot, lambda: len(stored(workspace, "scale")) == 6)
        await pilot.press("escape")
        await until_shown(pilot, "by hand, 1–5: run 1")


async def test_two_runs_are_compared_where_one_is_chosen(tmp_path: Path) -> None:
    workspace = answered_workspace(tmp_path, {"tuned": good})
    workspace.write(lambda conn: evaluated(conn, {"tuned": bad, "base": lambda n: f"base {n}"}))
    async with application(rater(tmp_path), workspace, start="evaluate") as (app, pilot):
        await until(pilot, lambda: isinstance(app.screen, EvaluateScreen) and app.screen.chosen == 3)
        await pilot.press("b")
        await until_shown(pilot, "Compare run 3 with whom?")
        await pilot.press("right")
        await until_shown(pilot, "‹ run 1 ›")
        await until_shown(pilot, "12 to rate, 0 of them done")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, CompareScreen) and bool(app.screen.sheet.items))
        assert [one.name for one in blind(app).sheet.contestants] == ["run 3", "run 1"]


@pytest.mark.parametrize(
    ("subjects", "key", "said"),
    [
        ({}, "b", "not measured yet"),
        ({"tuned": good}, "b", "no other answers to compare with"),
        ({"tuned": good, "base": good}, "b", "both answered every test pair alike"),
    ],
)
async def test_what_cannot_be_rated_is_a_sentence(
    tmp_path: Path, subjects: dict[str, Callable[[int], str]], key: str, said: str
) -> None:
    workspace = answered_workspace(tmp_path, subjects)
    async with application(rater(tmp_path), workspace, start="evaluate") as (app, pilot):
        await until(pilot, lambda: isinstance(app.screen, EvaluateScreen) and app.screen.chosen is not None)
        await pilot.press(key)
        await until_shown(pilot, said)


async def test_the_pairs_own_answer_is_shown_only_when_asked_for(tmp_path: Path) -> None:
    workspace = answered_workspace(tmp_path, SUBJECTS)
    async with application(rater(tmp_path), workspace, start="evaluate") as (app, pilot):
        screen = await begin(pilot)
        item = screen.sheet.here
        assert item is not None
        assert item.wanted not in screen_text(app)
        await pilot.press("w")
        await until_shown(pilot, item.wanted)
        await pilot.press("t")
        await until(pilot, lambda: "a correct answer" not in screen_text(app))


async def test_long_answers_are_scrolled_and_hostile_ones_do_nothing(tmp_path: Path) -> None:
    hostile = "".join(text if isinstance(text, str) else text[-1] for text in CORPUS)[:5000]
    said = {"tuned": lambda n: "\n".join(f"line {k}" for k in range(200)), "base": lambda n: hostile}
    workspace = answered_workspace(tmp_path, said)
    async with application(rater(tmp_path), workspace, start="evaluate") as (_, pilot):
        screen = await begin(pilot)

        def controls() -> list[str]:
            return [char for char in screen.text if char != "\n" and unicodedata.category(char) == "Cc"]

        assert "more lines" in screen.text
        assert "␛[2J" in screen.text
        assert controls() == []
        for _ in range(30):
            await pilot.press("j")
        assert "line 30" in screen.text
        assert controls() == []


FOOTERS = {
    "b": {"left": "left one is better", "right": "right one is better", "tie": "a tie", "skip": "1 skipped",
          "undo": "no rating of yours", "wanted": "a correct answer", "leave": "against nobody"},
    "s": {"useless": "1 of 5", "poor": "2 of 5", "fair": "3 of 5", "good": "4 of 5", "excellent": "5 of 5",
          "skip": "1 skipped", "undo": "no rating of yours", "wanted": "a correct answer", "leave": "against nobody"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("key", "label"), [(key, label) for key, labels in FOOTERS.items() for label in labels]
)
async def test_every_key_of_the_footer_does_what_it_says(tmp_path: Path, key: str, label: str) -> None:
    workspace = answered_workspace(tmp_path, SUBJECTS)
    async with application(rater(tmp_path), workspace, size=(100, 24), start="evaluate") as (app, pilot):
        screen = await begin(pilot, key)
        shown = footer_bindings(screen)
        assert [binding.description for binding in shown] == list(FOOTERS[key])
        binding = next(one for one in shown if one.description == label)
        assert f"{app.get_key_display(binding)} {label}" in screen_text(app)
        assert FOOTERS[key][label] not in screen_text(app)
        await pilot.press(binding.key)
        await until_shown(pilot, FOOTERS[key][label])


TEXTS = st.text(min_size=1, max_size=60).filter(lambda text: text.strip() != "")


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(one=TEXTS, two=TEXTS, wide=st.booleans(), key=st.sampled_from(["b", "s"]), before=st.integers(0, 3))
def test_the_screen_is_the_same_whoever_said_what(
    one: str, two: str, wide: bool, key: str, before: int
) -> None:
    """The models' answers are exchanged; to the last cell, what is seen before the rating does not change."""
    seen: list[list[str]] = []

    def first(number: int) -> str:
        return f"{one} a{number}"

    def second(number: int) -> str:
        return f"{two} b{number}"

    async def run(folder: Path, said: Mapping[str, Callable[[int], str]]) -> None:
        workspace = answered_workspace(folder, said, 6)
        workspace.id = "always the same"
        size = WIDE if wide else NARROW
        async with application(rater(folder), workspace, size=size, start="evaluate") as (app, pilot):
            await begin(pilot, key)
            found = [screen_text(app)]
            for _ in range(before):
                await pilot.press("t" if key == "b" else "3")
                await saved(pilot)
                found.append(screen_text(app))
            await pilot.press("w", "j")
            seen.append([*found, screen_text(app)])

    for said in ({"tuned": first, "base": second}, {"tuned": second, "base": first}):
        with tempfile.TemporaryDirectory() as name:
            asyncio.run(run(Path(name), said))
    assert seen[0] == seen[1]


KEYS = [*string.ascii_letters, *string.digits, "enter", "escape", "space", "left", "right", "up", "down",
        "question_mark", "equals_sign", "tab", "pagedown"]  # fmt: skip


async def random_keys(folder: Path, seed: int, count: int) -> None:
    chosen = random.Random(seed)
    workspace = answered_workspace(folder, SUBJECTS)
    size = chosen.choice([NARROW, WIDE, (40, 10)])
    async with application(rater(folder), workspace, size=size, start="evaluate") as (app, pilot):
        for _ in range(count):
            if isinstance(app.screen, EvaluateScreen) and chosen.random() < 0.3:
                await strike(pilot, chosen.choice("bs"))
                await strike(pilot, "enter")
                await pilot.pause()
            key = chosen.choice(KEYS)
            await strike(pilot, key if key not in ("g", "c") else "t")
        assert app._exception is None


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.usefixtures("own_folder")
async def test_random_keys_raise_nothing(tmp_path: Path, seed: int) -> None:
    await random_keys(tmp_path, seed, 120)


@pytest.mark.faults
@pytest.mark.usefixtures("own_folder")
async def test_a_thousand_random_keys_raise_nothing(tmp_path: Path) -> None:
    await random_keys(tmp_path, 3, 1000)


SNAPSHOTS = Path(__file__).parent / "snapshots"


@pytest.mark.parametrize("size", [NARROW, WIDE])
@pytest.mark.parametrize("state", ["compare", "scale", "end"])
async def test_it_looks_as_it_did(tmp_path: Path, state: str, size: tuple[int, int]) -> None:
    workspace = answered_workspace(tmp_path, SUBJECTS, 3)
    workspace.id = "always the same"
    async with application(rater(tmp_path), workspace, size=size, start="evaluate") as (app, pilot):
        await begin(pilot, "s" if state == "scale" else "b")
        if state == "end":
            await pilot.press("left", "t", "right")
            await until_shown(pilot, "win rate")
        else:
            await pilot.press({"compare": "t", "scale": "4"}[state])
        await saved(pilot)
        lines = screen_text(app).splitlines()
    lines[1] = ""
    picture = SNAPSHOTS / f"blind-{state}-{size[0]}x{size[1]}.txt"
    shown = "\n".join(lines) + "\n"
    if os.environ.get("PAIRSMITH_SNAPSHOTS") == "write":
        picture.write_text(shown, encoding="utf-8")
    assert shown == picture.read_text(encoding="utf-8")


def test_in_a_small_terminal_the_wanted_answer_is_seen_where_the_input_is_long() -> None:
    question = Question("Summarise it", "word " * 200, "The answer that was wanted.", ("one", "two " * 300))
    rows = ["".join(piece.text for piece in row) for row in question_rows(question, 80, 18, 0).rows]
    assert len(rows) <= 18
    assert any("The answer that was wanted." in row for row in rows)
    assert any("two two" in row for row in rows)


async def test_the_keys_of_a_question_promise_no_digit_that_goes_nowhere(tmp_path: Path) -> None:
    workspace = answered_workspace(tmp_path, SUBJECTS)
    async with application(rater(tmp_path), workspace, start="evaluate") as (_, pilot):
        await begin(pilot)
        await pilot.press("question_mark")
        await until_shown(pilot, "Neither is better")
        assert "Go to a place" not in screen_text(pilot.app)

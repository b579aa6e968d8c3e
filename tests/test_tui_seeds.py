"""Self-Instruct in the application: seed tasks written by hand and imported, the method of the next run, the run."""

from __future__ import annotations

import random
import string
from pathlib import Path
from typing import Any

import pytest

from pairsmith.pairs.instances import Instance
from pairsmith.pairs.run_plan import RunPlan, read_plan, write_plan
from pairsmith.pairs.store.runs import list_runs
from pairsmith.pairs.store.seed_tasks import SeedTask, add_seed_tasks, list_seed_tasks
from pairsmith.pairs.store.workspace import Workspace
from pairsmith.tui.screens.edit_seed import EditSeedScreen
from pairsmith.tui.screens.seeds import SeedsScreen
from pairsmith.tui.widgets.bars import footer_bindings

from .generation import make_workspace
from .pools import PoolModel, numbered, seed_rows, seeds, write_seeds
from .screens import strike
from .servers.nim import NimServer
from .tui_pilot import NARROW, WIDE, application, environment, screen_text, type_text, until, until_shown


def stored(workspace: Workspace) -> list[SeedTask]:
    return [seed.task for seed in workspace.read(list_seed_tasks)]


def with_ten(folder: Path, **fields: Any) -> Workspace:
    workspace = make_workspace(folder, **fields)
    workspace.write(lambda conn: add_seed_tasks(conn, seeds()))
    return workspace


async def open_seeds(pilot: Any) -> SeedsScreen:
    await until_shown(pilot, "method: ")
    await pilot.press("s")
    await until(pilot, lambda: isinstance(pilot.app.screen, SeedsScreen))
    screen = pilot.app.screen
    await until(pilot, lambda: screen._way is not None)
    assert isinstance(screen, SeedsScreen)
    return screen


async def test_a_seed_task_is_written_by_hand_changed_deleted_and_brought_back(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    async with application(environment(tmp_path), workspace, start="generate") as (app, pilot):
        await open_seeds(pilot)
        assert "No seed task yet." in screen_text(app)
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, EditSeedScreen))
        await pilot.press("f2")
        await until_shown(pilot, "the instruction is empty")
        await type_text(pilot, "Name a river")
        await pilot.press("tab")
        await type_text(pilot, "of Asia")
        await pilot.press("f2")
        await until_shown(pilot, "an input without an output")
        await pilot.press("tab")
        await type_text(pilot, "Ganges")
        await pilot.press("f3", "f2")
        await until_shown(pilot, "1 seed task, 1 of them")
        assert stored(workspace) == [SeedTask("Name a river", (Instance("of Asia", "Ganges"),), True)]
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, EditSeedScreen))
        await pilot.press("end")
        await type_text(pilot, "s")
        await pilot.press("f3", "ctrl+s")
        await until(pilot, lambda: stored(workspace)[0].instruction == "Name a rivers")
        assert not stored(workspace)[0].is_classification
        await until(pilot, lambda: isinstance(app.screen, SeedsScreen))
        await pilot.press("x")
        await until(pilot, lambda: not stored(workspace))
        await pilot.press("u")
        await until(pilot, lambda: len(stored(workspace)) == 1)
        await pilot.press("u")
        await until(pilot, lambda: [one.instruction for one in stored(workspace)] == ["Name a river"])
        assert stored(workspace)[0].is_classification
        await pilot.press("u")
        await until(pilot, lambda: not stored(workspace))
        await pilot.press("U", "U")
        await until(pilot, lambda: [one.instruction for one in stored(workspace)] == ["Name a rivers"])


async def test_a_seed_task_that_is_refused_stays_in_its_box(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    workspace.write(lambda conn: add_seed_tasks(conn, [SeedTask("Name a river")]))
    async with application(environment(tmp_path), workspace, start="generate") as (app, pilot):
        await open_seeds(pilot)
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, EditSeedScreen))
        await type_text(pilot, "Name a river")
        await pilot.press("f2")
        await until_shown(pilot, "says the same")
        await type_text(pilot, "s")
        await pilot.press("f2")
        await until(pilot, lambda: isinstance(app.screen, SeedsScreen))
        assert [task.instruction for task in stored(workspace)] == ["Name a river", "Name a rivers"]


async def test_leaving_the_editor_asks_once_where_something_was_typed(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    async with application(environment(tmp_path), workspace, start="generate") as (app, pilot):
        await open_seeds(pilot)
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, EditSeedScreen))
        await type_text(pilot, "x")
        await pilot.press("escape")
        await until_shown(pilot, "Not kept")
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, SeedsScreen))
        assert not stored(workspace)


@pytest.mark.parametrize("size", [NARROW, WIDE])
async def test_the_papers_file_is_imported_and_undone_as_one_act(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    path = write_seeds(tmp_path / "seed_tasks.jsonl", seed_rows())
    workspace = make_workspace(tmp_path)
    workspace.write(lambda conn: add_seed_tasks(conn, [SeedTask(seed_rows()[3]["instruction"])]))
    async with application(environment(tmp_path), workspace, start="generate", size=size) as (app, pilot):
        screen = await open_seeds(pilot)
        await pilot.press("i")
        await until_shown(pilot, "Import seed tasks")
        await type_text(pilot, str(tmp_path / "nothing"))
        await pilot.press("enter")
        await until_shown(pilot, "cannot read the seed tasks nothing")
        await pilot.press("ctrl+u")
        await type_text(pilot, str(path))
        await pilot.press("enter")
        await until_shown(pilot, "175 seed tasks, 24 of them classifications")
        assert "Added 174 seed tasks; 1 were there already" in screen_text(app)
        await pilot.press("slash")
        await until_shown(pilot, "Find seed tasks")
        await type_text(pilot, "summarize")
        await pilot.press("enter")
        await until(pilot, lambda: 0 < len(screen.found) < 30)
        await pilot.press("u")
        await until(pilot, lambda: len(stored(workspace)) == 1)


async def test_plain_lines_are_imported_too(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("Explain rain.\n解释什么是分支\n", encoding="utf-8")
    workspace = make_workspace(tmp_path)
    async with application(environment(tmp_path), workspace, start="generate") as (app, pilot):
        await open_seeds(pilot)
        await pilot.press("i")
        await until_shown(pilot, "Import seed tasks")
        await type_text(pilot, str(tmp_path / "mine.txt"))
        await pilot.press("enter")
        await until_shown(pilot, "2 seed tasks")
        assert "解释什么是分支" in screen_text(app)


async def test_the_method_of_the_next_run_is_chosen_and_kept(tmp_path: Path) -> None:
    workspace = with_ten(tmp_path)
    async with application(environment(tmp_path), workspace, start="generate") as (_, pilot):
        await until_shown(pilot, "method: topic-tree")
        await pilot.press("M")
        await until_shown(pilot, "How the next run finds instructions")
        await pilot.press("right", "right", "down", "right", "right", "right", "right", "down")
        await type_text(pilot, "4-2")
        await pilot.press("enter")
        await until_shown(pilot, "Examples are like 4+2")
        await pilot.press("ctrl+u")
        await type_text(pilot, "4+2")
        await until_shown(pilot, "self-instruct, 4+2 · 10 seed tasks")
        await until_shown(pilot, "classifications")
        await pilot.press("down", "right", "enter")
        await until_shown(pilot, "method: self-instruct, 4+2, refine · 10 seed tasks")
    assert workspace.path.exists()
    from pairsmith.pairs.store.workspace import open_workspace

    with open_workspace(workspace.path) as again:
        plan = again.read(read_plan)
    assert (plan.method, plan.examples, plan.refine) == ("self-instruct", "4+2", True)
    assert plan.settings("topic-tree").as_json() == {
        "pairs": plan.pairs, "method": "self-instruct", "examples": "4+2", "refine": True
    }  # fmt: skip


@pytest.mark.parametrize("place", ["generate", "topics"])
async def test_without_seed_tasks_the_run_does_not_begin_and_they_are_asked_for(
    tmp_path: Path, place: str
) -> None:
    workspace = make_workspace(tmp_path, topics=["One"])
    workspace.write(lambda conn: write_plan(conn, RunPlan(4, method="self-instruct")))
    async with NimServer(PoolModel()) as server:
        async with application(environment(tmp_path, server), workspace, start=place) as (app, pilot):
            await until_shown(pilot, "no seed task yet")
            await pilot.press("g")
            await until(pilot, lambda: isinstance(app.screen, SeedsScreen))
            assert "Self-Instruct starts from seed tasks" in screen_text(app)
            assert not workspace.read(list_runs)
            await pilot.press("escape")
            await until(pilot, lambda: not isinstance(app.screen, SeedsScreen))
        assert server.completions == 0


def broken_lists(count: int) -> str:
    """Every second task breaks a rule of the shipped recipe."""
    broken = (
        "Draw a picture of a cat in a hat", "Write a program that sorts ten numbers", "- what is it like there",
        "Go", "解释一下什么是河流以及海洋",
    )  # fmt: skip
    rng = random.Random(count * 31 + len(_ASKED))
    _ASKED.append(count)
    made = []
    for number in range(count):
        words = ["".join(rng.choice(string.ascii_lowercase) for _ in range(6)) for _ in range(6)]
        made.append(broken[number % 5] if number % 2 else f"Explain {' '.join(words)} now.")
    return numbered(made)


_ASKED: list[int] = []


@pytest.mark.parametrize("size", [NARROW, WIDE])
async def test_a_self_instruct_run_is_started_by_key_and_its_filters_are_named(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    async with NimServer(PoolModel(lists=broken_lists)) as server:
        workspace = with_ten(tmp_path)
        workspace.write(
            lambda conn: write_plan(conn, RunPlan(8, method="self-instruct", examples="alpaca", refine=True))
        )
        async with application(environment(tmp_path, server), workspace, start="generate", size=size) as (
            app,
            pilot,
        ):
            await until_shown(pilot, "method: self-instruct, alpaca, refine · 10 seed tasks")
            await pilot.press("g")
            await until_shown(pilot, "✓ done", 40)
            await until_shown(pilot, "kept 8")
            shown = " ".join(screen_text(app).split())
            assert "filtered: keyword" in shown
            assert "filtered: too short" in shown
            assert "rewritten" in shown
            assert "refused" in shown
            run = workspace.read(list_runs)[0]
            assert run.settings["method"] == "self-instruct"
            assert run.settings["examples"] == "alpaca"


async def test_a_new_workspace_for_self_instruct_begins_with_its_seed_tasks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with application(environment(tmp_path)) as (app, pilot):
        await until_shown(pilot, "Start for real")
        await pilot.press("n")
        await until_shown(pilot, "A new workspace")
        await type_text(pilot, "Cooking")
        await pilot.press("tab", "tab", "right", "right", "right", "enter")
        await until(pilot, lambda: isinstance(app.screen, SeedsScreen))
        await until_shown(pilot, "next run: self-instruct, paper")


FOOTER = {
    "add": "A new seed task", "edit": "Edit the seed task", "delete": "Took out:", "import": "Import seed tasks",
    "find": "Find seed tasks", "undo": "Nothing to undo", "method": "How the next run finds", "back": "generates 100",
}  # fmt: skip


@pytest.mark.parametrize("label", FOOTER)
async def test_every_key_of_the_footer_does_what_it_says(tmp_path: Path, label: str) -> None:
    async with application(environment(tmp_path), with_ten(tmp_path), start="generate", size=(100, 30)) as (
        app,
        pilot,
    ):
        screen = await open_seeds(pilot)
        await until_shown(pilot, "10 seed tasks")
        shown = footer_bindings(screen)
        assert [binding.description for binding in shown] == list(FOOTER)
        binding = next(binding for binding in shown if binding.description == label)
        assert f"{app.get_key_display(binding)} {label}" in screen_text(app)
        assert FOOTER[label] not in screen_text(app)
        await pilot.press(binding.key)
        await until_shown(pilot, FOOTER[label])


KEYS = [
    *string.ascii_letters,
    *string.digits,
    *(
        "enter",
        "escape",
        "space",
        "tab",
        "up",
        "down",
        "left",
        "right",
        "pageup",
        "pagedown",
        "slash",
        "plus",
    ),
    *("question_mark", "ctrl+p", "ctrl+t", "f2", "f3", "backspace"),
]


async def test_random_keys_raise_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    chosen = random.Random(5)
    async with (
        NimServer(PoolModel()) as server,
        application(environment(tmp_path, server), with_ten(tmp_path), start="generate") as (app, pilot),
    ):
        await open_seeds(pilot)
        for number in range(250):
            if app._exit or not app.is_running:
                break
            if number % 50 == 0 and not any(isinstance(one, SeedsScreen) for one in app.screen_stack):
                app.push_screen(SeedsScreen())
                await pilot.pause()
            await strike(pilot, chosen.choice(KEYS))
        assert app._exception is None


async def test_hostile_text_of_a_seed_file_does_nothing_to_the_terminal(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    task = SeedTask(
        "[@click=app.quit]x[/] \x1b[2J \u202eevil", (Instance("\x07", "\x9b2J"),), False, "", "a\x1b"
    )
    workspace.write(lambda conn: add_seed_tasks(conn, [task]))
    async with application(environment(tmp_path), workspace, start="generate", size=WIDE) as (app, pilot):
        await open_seeds(pilot)
        await until_shown(pilot, "1 seed task")
        assert "[@click=app.quit]x[/] ␛[2J" in screen_text(app)
        assert not set(screen_text(app)) & {"\x1b", "\x07", "\u202e", "\x9b"}
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, EditSeedScreen))
        await until_shown(pilot, "[@click=app.quit]x[/]")
        assert not set(screen_text(app)) & {"\x1b", "\x07", "\u202e", "\x9b"}

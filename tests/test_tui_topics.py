"""The Topics place: the tree, quotas by arrows, the price before it is paid."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from pairsmith.pairs.run_plan import RunPlan, read_plan, write_plan
from pairsmith.pairs.store.runs import RunTopic
from pairsmith.pairs.store.topics import Topic, add_topic, list_topics
from pairsmith.pairs.store.workspace import Workspace
from pairsmith.tui.screens.topics import TopicsScreen
from pairsmith.tui.screens.topics_rows import progress_of, shares_of, topic_entries

from .brains import DefectiveLists
from .generation import REWARD, make_workspace
from .servers.nim import NimServer
from .tui_pilot import NARROW, WIDE, application, environment, screen_text, type_text, until, until_shown

FIVE = ["Branching", "Merging", "Committing", "Remote repositories", "Resolving conflicts"]


def names(workspace: Workspace) -> list[str]:
    return [topic.name for topic in workspace.read(list_topics)]


@pytest.mark.parametrize("size", [NARROW, WIDE])
async def test_the_tree_is_shown_with_shares_and_the_price_of_the_run(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    workspace = make_workspace(tmp_path, judge=REWARD, topics=FIVE)
    workspace.write(lambda conn: write_plan(conn, RunPlan(500)))
    async with (
        NimServer() as server,
        application(environment(tmp_path, server), workspace, size=size, start="topics") as (
            app,
            pilot,
        ),
    ):
        await until_shown(pilot, "This run: about 1,051 calls")
        shown = screen_text(app)
        print(shown)
        for text in (
            "asked 500 · planned 500",
            "Resolving conflicts",
            "35 lists, 516 responses, 500 scores",
            "limits: none",
        ):
            assert text in shown
        assert server.completions == 0


async def test_topics_are_added_renamed_pruned_and_undone_by_keys(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, topics=FIVE[:2])
    async with application(environment(tmp_path), workspace, start="topics") as (_, pilot):
        await until_shown(pilot, "Merging")
        await pilot.press("plus")
        await type_text(pilot, "Tags and releases")
        await pilot.press("enter")
        await until(pilot, lambda: names(workspace) == ["Branching", "Merging", "Tags and releases"])
        await until_shown(pilot, "Tags and releases")
        await pilot.press("down", "enter")
        await until_shown(pilot, "Another name")
        await pilot.press("ctrl+u", *("ctrl+w",) * 3)
        await type_text(pilot, "Joining")
        await pilot.press("enter")
        await until(pilot, lambda: "Joining" in names(workspace))
        await pilot.press("i")
        await until_shown(pilot, "inside Joining")
        await type_text(pilot, "Conflicts")
        await pilot.press("enter")
        await until(
            pilot, lambda: names(workspace) == ["Branching", "Joining", "Conflicts", "Tags and releases"]
        )
        await until_shown(pilot, "▾ Joining")
        await pilot.press("x")
        await until_shown(pilot, "1 topics are below it")
        await pilot.press("y")
        await until(pilot, lambda: names(workspace) == ["Branching", "Tags and releases"])
        await pilot.press("u")
        await until(
            pilot, lambda: names(workspace) == ["Branching", "Joining", "Conflicts", "Tags and releases"]
        )


async def test_a_topic_is_not_asked_about_for_what_lies_below_another_of_its_name(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, topics=["Basics", "Merging"])
    merging = next(topic.id for topic in workspace.read(list_topics) if topic.name == "Merging")
    inner = workspace.write(lambda conn: add_topic(conn, "Basics", parent_id=merging))
    workspace.write(lambda conn: add_topic(conn, "First steps", parent_id=inner))
    async with application(environment(tmp_path), workspace, start="topics") as (_, pilot):
        await until_shown(pilot, "First steps")
        await pilot.press("home", "x")
        await until(pilot, lambda: names(workspace) == ["Merging", "Basics", "First steps"])


async def test_a_name_that_is_there_already_is_refused_in_the_box(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, topics=FIVE[:2])
    async with application(environment(tmp_path), workspace, start="topics") as (_, pilot):
        await until_shown(pilot, "Merging")
        await pilot.press("plus")
        await type_text(pilot, "merging")
        await pilot.press("enter")
        await until_shown(pilot, "has that name already")
        await pilot.press("escape")
        assert names(workspace) == FIVE[:2]


async def test_arrows_change_quotas_as_one_act_and_asked_follows(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, topics=FIVE)
    workspace.write(lambda conn: write_plan(conn, RunPlan(500)))
    async with application(environment(tmp_path), workspace, start="topics") as (app, pilot):
        await until_shown(pilot, "planned 500")
        await pilot.press("right", "right", "down", "left")
        await until_shown(pilot, "asked 515 · planned 515")

        def quotas() -> list[int | None]:
            return [topic.quota for topic in workspace.read(list_topics)]

        await until(pilot, lambda: quotas() == [120, 95, 100, 100, 100])
        assert workspace.read(read_plan).pairs == 515
        screen = app.screen
        assert isinstance(screen, TopicsScreen)
        assert screen.shares.planned == 515
        await pilot.press("u")
        await until(pilot, lambda: quotas() == [None] * 5)
        await pilot.press("U")
        await until(pilot, lambda: quotas() == [120, 95, 100, 100, 100])
        await pilot.press("equals_sign")
        await until(pilot, lambda: quotas() == [None] * 5)


async def test_an_arrow_pressed_while_the_share_before_it_is_stored_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = make_workspace(tmp_path, topics=FIVE)
    workspace.write(lambda conn: write_plan(conn, RunPlan(500)))
    storing, go_on, awrite = asyncio.Event(), asyncio.Event(), workspace.awrite

    async def slow(work: Any) -> Any:
        storing.set()
        await go_on.wait()
        return await awrite(work)

    async with application(environment(tmp_path), workspace, start="topics") as (_, pilot):
        await until_shown(pilot, "planned 500")
        monkeypatch.setattr(workspace, "awrite", slow)
        monkeypatch.setattr("pairsmith.tui.screens.topics.KEEP_AFTER_S", 0.1)
        await pilot.press("right")
        await storing.wait()
        monkeypatch.setattr("pairsmith.tui.screens.topics.KEEP_AFTER_S", 1.0)
        await pilot.press("down", "right")
        go_on.set()
        await until(
            pilot, lambda: [topic.quota for topic in workspace.read(list_topics)][:3] == [110, 110, 100]
        )
        assert workspace.read(read_plan).pairs == 520


async def test_arrows_pressed_while_an_undo_is_stored_stay_and_change_the_shares_that_it_brings_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = make_workspace(tmp_path, topics=FIVE)
    workspace.write(lambda conn: write_plan(conn, RunPlan(500)))
    undoing, go_on, awrite = asyncio.Event(), asyncio.Event(), workspace.awrite

    async def slow(work: Any) -> Any:
        undoing.set()
        await go_on.wait()
        return await awrite(work)

    def quotas() -> list[int | None]:
        return [topic.quota for topic in workspace.read(list_topics)]

    async with application(environment(tmp_path), workspace, start="topics") as (app, pilot):
        await until_shown(pilot, "planned 500")
        monkeypatch.setattr("pairsmith.tui.screens.topics.KEEP_AFTER_S", 0.1)
        await pilot.press("right")
        await until(pilot, lambda: quotas() == [110, 100, 100, 100, 100])
        await until_shown(pilot, "planned 510")
        monkeypatch.setattr(workspace, "awrite", slow)
        await pilot.press("u")
        await undoing.wait()
        await pilot.press("down", "right")
        await asyncio.sleep(0.3)  # the arrows rest for longer than it takes until they are kept
        go_on.set()
        # The first topic's 110 are undone: all have a fifth of 510 again, and the arrow's 110 come on top.
        await until(pilot, lambda: quotas() == [102, 110, 102, 102, 102])
        screen = app.screen
        assert isinstance(screen, TopicsScreen)
        assert screen.current is not None
        assert screen.current.name == "Merging"


async def test_limits_are_asked_for_checked_and_kept(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, topics=FIVE)
    async with application(environment(tmp_path), workspace, start="topics") as (_, pilot):
        await until_shown(pilot, "limits: none")
        await pilot.press("m")
        await until_shown(pilot, "The most that one start may spend")
        await type_text(pilot, "many")
        await pilot.press("enter")
        await until_shown(pilot, "is a whole number from 1")
        await pilot.press("ctrl+u")
        await type_text(pilot, "1,200")
        await pilot.press("enter")
        await until_shown(pilot, "limits: 1,200 calls · no token limit")
        assert workspace.read(read_plan).limits.calls == 1200


async def test_the_generator_suggests_topics_and_generate_begins_from_here(tmp_path: Path) -> None:
    async with NimServer(DefectiveLists(seed=2, chance=0)) as server:
        workspace = make_workspace(tmp_path)
        workspace.write(lambda conn: write_plan(conn, RunPlan(10)))
        async with application(environment(tmp_path, server), workspace, start="topics") as (_, pilot):
            await until_shown(pilot, "No topics yet.")
            await pilot.press("s")
            await until_shown(pilot, "Suggest topics")
            await pilot.press("enter")
            await until_shown(pilot, "Resolving conflicts")
            assert names(workspace) == FIVE
            await pilot.press("g")
            await until_shown(pilot, "[4 Generate]")
            await until_shown(pilot, "✓ done")


def test_while_a_run_is_under_way_the_bars_fill_and_a_dry_topic_says_so() -> None:
    def topic(number: int, name: str, above: int | None = None) -> Topic:
        depth = 0 if above is None else 1
        return Topic(
            number, f"{number}", above, name, depth, (name,), number, None, "human", pruned=False, pairs=5
        )

    topics = [topic(1, "Branching"), topic(2, "creating", 1), topic(3, "deleting", 1), topic(4, "Merging")]
    run = [
        RunTopic(2, "creating", "creating", 10, 12, False, 6, 0, 0, 0),
        RunTopic(3, "deleting", "deleting", 10, 8, True, 8, 0, 0, 3),
        RunTopic(4, "Merging", "Merging", 20, 20, False, 20, 0, 0, 0),
    ]
    entries = topic_entries(topics, shares_of(topics, 40), frozenset(), 80, progress_of(topics, run))
    rows = ["".join(piece.text for piece in entry.rows[0]) for entry in entries]
    assert [row.split()[-3:] for row in (rows[0], rows[1], rows[3])] == [
        ["14", "of", "20"], ["6", "of", "12"], ["20", "of", "20"],
    ]  # fmt: skip
    assert rows[2].endswith("8 of 8 dry")
    assert rows[3].count("█") > rows[0].count("█") > 0
    assert progress_of(topics, []) == {}


async def test_the_bars_follow_the_run_of_now_and_go_back_to_the_plan_when_it_is_changed(
    tmp_path: Path,
) -> None:
    async with NimServer(DefectiveLists(seed=1)) as server:
        workspace = make_workspace(tmp_path, topics=["Branching", "Merging"])
        workspace.write(lambda conn: write_plan(conn, RunPlan(6)))
        async with application(environment(tmp_path, server), workspace, start="topics") as (_, pilot):
            await until_shown(pilot, "Branching")
            await pilot.press("g")
            await until_shown(pilot, "[4 Generate]")
            await pilot.press("3")
            await until_shown(pilot, "3 of 3", 60)
            await pilot.press("n")
            await until_shown(pilot, "How many pairs")
            await pilot.press("enter")
            await until_shown(pilot, "3 there")

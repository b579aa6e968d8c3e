"""Home: the ways in, what is here, what this machine offers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pairsmith.pairs.store.driver import sqlite3
from pairsmith.pairs.store.meta import set_meta
from pairsmith.pairs.store.stats import count_verdicts
from pairsmith.pairs.store.topics import add_topic
from pairsmith.pairs.topic_tree import POOL_TOPIC

from .brains import DefectiveLists
from .generation import make_workspace
from .servers.ollama import OllamaServer
from .tui_pilot import NARROW, WIDE, application, environment, screen_text, type_text, until, until_shown


@pytest.mark.parametrize("size", [NARROW, WIDE])
async def test_the_first_start_offers_ways_in_and_finds_what_the_machine_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    monkeypatch.chdir(tmp_path)
    async with (
        OllamaServer() as server,
        application(environment(tmp_path, OLLAMA_HOST=server.url), size=size) as (
            app,
            pilot,
        ),
    ):
        await until_shown(pilot, "Try it now")
        await until_shown(pilot, "llama3.2:latest")
        await until_shown(pilot, "none found: everything runs on the processor")
        shown = screen_text(app)
        print(shown)
        for text in ("No workspace yet.", "Start for real", "Open", "no GGUF file found", "no key"):
            assert text in shown


async def test_a_new_workspace_is_made_by_keys_and_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with application(environment(tmp_path)) as (app, pilot):
        await until_shown(pilot, "Start for real")
        await pilot.press("n")
        await until_shown(pilot, "A new workspace")
        await pilot.press("enter")
        await until_shown(pilot, "Say in a sentence")
        await type_text(pilot, "Git commands")
        await pilot.press("tab", "tab", "tab", "tab", "right", "enter")
        await until(pilot, lambda: app.session.path == tmp_path / "git-commands.pairsmith")
        workspace = app.session.workspace
        assert workspace is not None
        assert workspace.local_only
        assert workspace.meta("domain") == "Git commands"
        await until_shown(pilot, "No topics yet.")
        assert "git-commands.pairsmi" in screen_text(app)
        await pilot.press("1")
        await until_shown(pilot, "make pairs; see what they will cost first")
        assert "A new workspace" not in screen_text(app)


async def test_the_pool_of_self_instruct_is_no_topic_of_the_domain(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, topics=("Branches", "Tags"))

    def add_pool(conn: sqlite3.Connection) -> None:
        set_meta(conn, POOL_TOPIC, str(add_topic(conn, "self-instruct", maker="model")))

    workspace.write(add_pool)
    async with application(environment(tmp_path), workspace) as (_, pilot):
        await until_shown(pilot, "2 topics")


async def test_a_file_is_previewed_and_imported(tmp_path: Path) -> None:
    rows = [{"instruction": f"Say {n}", "output": f"It is {n}"} for n in range(30)] + [
        {"instruction": "no output"}
    ]
    (tmp_path / "data.json").write_text(json.dumps(rows), encoding="utf-8")
    workspace = make_workspace(tmp_path)
    async with application(environment(tmp_path), workspace) as (app, pilot):
        await until_shown(pilot, "0 pairs")
        await pilot.press("i")
        await until_shown(pilot, "Import pairs")
        await type_text(pilot, str(tmp_path / "data.json"))
        await pilot.press("enter")
        await until_shown(pilot, "30 of 31 rows are new pairs")
        assert "1 are refused" in screen_text(app)
        assert workspace.read(count_verdicts)["undecided"] == 0
        await pilot.press("y")
        await until(pilot, lambda: workspace.read(count_verdicts)["undecided"] == 30)
        await until_shown(pilot, "30 pairs wait for a verdict")


async def test_a_malformed_file_is_said_and_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "data.json").write_text('[{"instruction": "a", "output": ', encoding="utf-8")
    workspace = make_workspace(tmp_path)
    async with application(environment(tmp_path), workspace) as (_, pilot):
        await pilot.press("i")
        await until_shown(pilot, "Import pairs")
        await type_text(pilot, str(tmp_path / "data.json"))
        await pilot.press("enter")
        await until_shown(pilot, "data.json, line 1")
        await pilot.press("escape")
        await until_shown(pilot, "0 pairs")


async def test_another_workspace_is_opened_from_the_list_and_the_first_is_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first = make_workspace(tmp_path)
    (tmp_path / "other").mkdir()
    make_workspace(tmp_path / "other").close()
    (tmp_path / "other" / "git.pairsmith").rename(tmp_path / "second.pairsmith")
    async with application(environment(tmp_path), first) as (app, pilot):
        await until_shown(pilot, "second.pairsmith")
        home = app.screen
        home.list.go_to(f"recent:{tmp_path / 'second.pairsmith'}")  # type: ignore[attr-defined]
        await pilot.press("enter")
        await until(pilot, lambda: app.session.path == tmp_path / "second.pairsmith")
        await until_shown(pilot, "git.pairsmith  ")


async def test_what_is_no_workspace_is_said_in_the_box(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.pairsmith").write_text("not a database", encoding="utf-8")
    async with application(environment(tmp_path)) as (app, pilot):
        await pilot.press("o")
        await until_shown(pilot, "esc leaves")
        await type_text(pilot, "bad.pairsmith")
        await pilot.press("enter")
        await until_shown(pilot, "is not a Pairsmith workspace")
        assert app.session.workspace is None


async def test_try_it_writes_pairs_with_a_model_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with OllamaServer(brain=DefectiveLists(seed=3, chance=0)) as server:
        env = environment(tmp_path, OLLAMA_HOST=server.url)
        async with application(env) as (app, pilot):
            await until_shown(pilot, "Try it now")
            await pilot.press("enter")
            await until_shown(pilot, "✓ done", 40)
            assert "kept 20" in screen_text(app)
            workspace = app.session.workspace
            assert workspace is not None
            assert workspace.local_only


async def test_a_file_of_pairs_that_is_opened_becomes_a_workspace_and_leads_to_the_reviewer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [{"instruction": f"Question {number}", "input": "", "output": "yes"} for number in range(3)]
    (tmp_path / "some.json").write_text(json.dumps(rows), encoding="utf-8")
    async with application(environment(tmp_path)) as (app, pilot):
        await pilot.press("o")
        await until_shown(pilot, "enter does it   esc leaves")
        await type_text(pilot, "some.json")
        await pilot.press("enter")
        await until_shown(pilot, "make it")
        await pilot.press("y")
        await until_shown(pilot, "3 of 3 rows are new pairs")
        await pilot.press("y")
        await until_shown(pilot, "[5 Review]")
        await until_shown(pilot, "1 of 3")
        assert app.session.path == tmp_path / "some.pairsmith"

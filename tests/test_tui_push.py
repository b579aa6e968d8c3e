"""The Export place's way to the Hub, and the import of a dataset of the Hub: by keys, against a Hub of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pairsmith.pairs.store.pair_rows import NewPair, add_pair
from pairsmith.pairs.store.workspace import Workspace

from .generation import make_workspace
from .servers.hub import TOKEN, Hub
from .tui_pilot import application, environment, screen_text, type_text, until, until_shown


def filled(folder: Path, extra: str = "") -> Workspace:
    workspace = make_workspace(folder, topics=["Branching"])

    def fill(conn: Any) -> None:
        for n in range(5):
            add_pair(conn, NewPair(f"Say {n}", f"It is {n}", origin="human"))
        if extra:
            add_pair(conn, NewPair("The key?", extra, origin="human"))

    workspace.write(fill)
    return workspace


def with_hub(folder: Path, hub: Hub, token: str = TOKEN) -> dict[str, str]:
    return environment(folder, HF_ENDPOINT=hub.url, HF_TOKEN=token)


async def test_a_dataset_is_pushed_by_keys_and_private(tmp_path: Path, hub: Hub) -> None:
    async with application(with_hub(tmp_path, hub), filled(tmp_path), start="export") as (app, pilot):
        await until_shown(pilot, "5 pairs")
        await pilot.press("p")
        await until_shown(pilot, "Push to the Hugging Face Hub")
        await type_text(pilot, "me/git")
        await pilot.press("up")
        await type_text(pilot, "cc-by-4.0")
        await pilot.press("enter")
        await until_shown(pilot, "✓ 5 pairs: 5 undecided to", 60)
        pushed = hub.repos["dataset", "me/git"]
        assert pushed.private
        assert b'license: "cc-by-4.0"' in pushed.head.files["README.md"].data
        assert "private" in screen_text(app)


async def test_public_is_asked_a_second_time(tmp_path: Path, hub: Hub) -> None:
    async with application(with_hub(tmp_path, hub), filled(tmp_path), start="export") as (app, pilot):
        await until_shown(pilot, "5 pairs")
        for answer in ("n", "y"):
            await pilot.press("p")
            await until_shown(pilot, "Push to the Hugging Face Hub")
            await type_text(pilot, "me/git")
            await pilot.press("down", "down", "down", "right", "enter")
            await until_shown(pilot, "Let everybody read it?", 60)
            assert hub.seen == []
            await pilot.press(answer)
            if answer == "n":
                await until(pilot, lambda: "Let everybody" not in screen_text(app))
        await until_shown(pilot, "public", 60)
        await until(pilot, lambda: ("dataset", "me/git") in hub.repos, 60)
        assert not hub.repos["dataset", "me/git"].private


async def test_keys_are_shown_by_pair_and_left_by_default(tmp_path: Path, hub: Hub) -> None:
    workspace = filled(tmp_path, "nvapi-" + "Ab3" * 15)
    async with application(with_hub(tmp_path, hub), workspace, start="export") as (app, pilot):
        await until_shown(pilot, "6 pairs")
        await pilot.press("p")
        await until_shown(pilot, "Push to the Hugging Face Hub")
        await type_text(pilot, "me/git")
        await pilot.press("enter")
        await until_shown(pilot, "1 secret would be uploaded", 60)
        assert "pair 6 output" in screen_text(app)
        assert "nvapi-Ab3" not in screen_text(app)
        await pilot.press("escape")
        await until(pilot, lambda: "secret" not in screen_text(app))
        assert hub.seen == []


async def test_a_token_is_asked_for_and_not_shown_where_there_is_none(tmp_path: Path, hub: Hub) -> None:
    async with application(with_hub(tmp_path, hub, ""), filled(tmp_path), start="export") as (app, pilot):
        await until_shown(pilot, "5 pairs")
        await pilot.press("p")
        await until_shown(pilot, "Push to the Hugging Face Hub")
        await type_text(pilot, "me/git")
        await pilot.press("enter")
        await until_shown(pilot, "A token for the Hub", 60)
        await type_text(pilot, TOKEN)
        assert TOKEN not in screen_text(app)
        await pilot.press("enter")
        await until_shown(pilot, "✓ 5 pairs", 60)


async def test_a_failure_is_said_in_the_box(tmp_path: Path, hub: Hub) -> None:
    expired = "hf_ExpiredExpiredExpiredExpiredExp"
    async with application(with_hub(tmp_path, hub, expired), filled(tmp_path), start="export") as (
        app,
        pilot,
    ):
        await until_shown(pilot, "5 pairs")
        await pilot.press("p")
        await until_shown(pilot, "Push to the Hugging Face Hub")
        await type_text(pilot, "odd name")
        await pilot.press("enter")
        await until_shown(pilot, "not the name of a repository")
        await pilot.press("end", "ctrl+u")
        await type_text(pilot, "me/git")
        await pilot.press("enter")
        await until_shown(pilot, "does not take the token", 60)
        assert expired not in screen_text(app)
        assert hub.repos == {}


async def test_a_dataset_of_the_hub_is_imported_after_a_look(tmp_path: Path, hub: Hub) -> None:
    rows = b"".join(b'{"instruction": "q%d", "output": "a%d"}\n' % (n, n) for n in range(7))
    hub.dataset("org/git", {"train.jsonl": rows}, private=False)
    workspace = make_workspace(tmp_path, topics=["Branching"])
    async with application(with_hub(tmp_path, hub), workspace) as (_, pilot):
        await pilot.pause()
        await pilot.press("i")
        await until_shown(pilot, "Import pairs")
        await type_text(pilot, "hf:org/git")
        await pilot.press("enter")
        await until_shown(pilot, "7 of 7 rows are new pairs", 60)
        await pilot.press("y")
        await until_shown(pilot, "Imported 7 pairs")
        source = workspace.read(lambda conn: conn.execute("SELECT source FROM import_batch").fetchone()[0])
        assert source == f"hf:org/git@{hub.repos['dataset', 'org/git'].head.oid}"

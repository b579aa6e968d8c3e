"""The Export place: which pairs, which format, which file; what was written is what was said."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pairsmith.pairs.export_formats import FORMATS
from pairsmith.pairs.store.pair_rows import NewPair, add_pair
from pairsmith.pairs.store.verdicts import decide
from pairsmith.pairs.store.workspace import Workspace
from pairsmith.tui.screens.export import ExportScreen

from .generation import make_workspace
from .tui_pilot import NARROW, WIDE, application, environment, screen_text, type_text, until, until_shown


def filled(folder: Path) -> Workspace:
    """Ten pairs: three accepted, two rejected."""
    workspace = make_workspace(folder, topics=["Branching"])

    def fill(conn: Any) -> None:
        ids = [
            add_pair(conn, NewPair(instruction=f"Say {n}", input="", output=f"It is {n}", origin="human"))
            for n in range(10)
        ]
        decide(conn, ids[:3], "accepted")
        decide(conn, ids[3:5], "rejected")

    workspace.write(fill)
    return workspace


def place(app: Any) -> ExportScreen:
    assert isinstance(app.screen, ExportScreen)
    return app.screen


@pytest.mark.parametrize("size", [NARROW, WIDE])
async def test_what_would_be_written_is_said_first_and_written_by_one_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    monkeypatch.chdir(tmp_path)
    async with application(environment(tmp_path), filled(tmp_path), size=size, start="export") as (
        _app,
        pilot,
    ):
        await until_shown(pilot, "8 pairs: 3 accepted, 5 undecided")
        await pilot.press("g")
        await until_shown(pilot, "✓ 8 pairs: 3 accepted, 5 undecided to")
        lines = (tmp_path / "git.jsonl").read_text(encoding="utf-8").splitlines()
        assert len(lines) == 8


async def test_format_verdicts_condition_and_file_are_chosen_by_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with application(environment(tmp_path), filled(tmp_path), start="export") as (app, pilot):
        await until_shown(pilot, "8 pairs")
        await pilot.press("right", "down", "right")
        await until_shown(pilot, "3 pairs: 3 accepted")
        await pilot.press("down", "enter")
        await type_text(pilot, "verdict == 'accepted' and")
        await pilot.press("enter")
        await until_shown(pilot, "something is missing after and")
        await pilot.press("end", "ctrl+u")
        await type_text(pilot, "helpfulness >= 3")
        await pilot.press("enter")
        await until_shown(pilot, "3 left out")
        await pilot.press("enter", "end", "ctrl+u", "enter")
        await until_shown(pilot, "3 pairs: 3 accepted")
        await pilot.press("down", "down", "down", "down", "enter")
        await pilot.press("end", "ctrl+u")
        await type_text(pilot, str(tmp_path / "mine.json"))
        await pilot.press("enter")
        await until(pilot, lambda: place(app).target == tmp_path / "mine.json")
        await pilot.press("g")
        await until_shown(pilot, "✓ 3 pairs")
        rows = json.loads((tmp_path / "mine.json").read_text(encoding="utf-8"))
        assert [row["instruction"] for row in rows] == ["Say 0", "Say 1", "Say 2"]


async def test_a_file_that_is_there_is_replaced_only_after_a_yes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "git.jsonl").write_text("mine", encoding="utf-8")
    async with application(environment(tmp_path), filled(tmp_path), start="export") as (_, pilot):
        await until_shown(pilot, "8 pairs")
        await pilot.press("g")
        await until_shown(pilot, "Replace the file?")
        await pilot.press("n")
        await pilot.pause()
        assert (tmp_path / "git.jsonl").read_text(encoding="utf-8") == "mine"
        await pilot.press("g")
        await until_shown(pilot, "Replace the file?")
        await pilot.press("y")
        await until_shown(pilot, "✓ 8 pairs")


async def test_a_card_with_a_licence_and_configurations_of_trainers_lie_beside_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with application(environment(tmp_path), filled(tmp_path), start="export") as (app, pilot):
        await until_shown(pilot, "8 pairs")
        place(app).form.go_to("card")
        await pilot.press("right")
        await until_shown(pilot, "not stated")
        await pilot.press("down", "enter")
        await type_text(pilot, "My Licence")
        await pilot.press("enter")
        await until_shown(pilot, "no identifier of a licence")
        await pilot.press("end", "ctrl+u")
        await type_text(pilot, "cc-by-4.0")
        await pilot.press("enter")
        await until_shown(pilot, "cc-by-4.0")
        await pilot.press("down", "right")
        await until_shown(pilot, "configurations beside it for axolotl")
        await pilot.press("g")
        await until_shown(pilot, "see README.md in")
        assert "cc-by-4.0" in (tmp_path / "git.jsonl.card.md").read_text()
        assert (tmp_path / "git.jsonl.trainers" / "README.md").exists()


async def test_an_empty_choice_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with application(environment(tmp_path), make_workspace(tmp_path), start="export") as (_, pilot):
        await until_shown(pilot, "0 pairs")
        await pilot.press("g")
        await until_shown(pilot, "Nothing was written")
        await pilot.press("escape")
        assert not (tmp_path / "git.jsonl").exists()


async def test_every_format_is_written_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with application(environment(tmp_path), filled(tmp_path), start="export") as (app, pilot):
        await until_shown(pilot, "8 pairs")
        screen = place(app)
        for name in list(FORMATS):
            await until(pilot, partial(_shows, app, f"‹ {name} ›"))
            if name != "dpo":
                await pilot.press("g")
                await until(pilot, lambda: f"to {screen.target.name} (" in screen.said, 60)
                assert screen.target.exists()
            screen.form.go_to("format")
            await pilot.press("right")


def _shows(app: Any, text: str) -> bool:
    return text in screen_text(app)

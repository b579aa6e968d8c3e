"""The Settings place: defaults, theme and keys, kept in the user's file."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from .generation import make_workspace
from .servers.ollama import OllamaServer
from .tui_pilot import NARROW, WIDE, application, environment, screen_text, type_text, until, until_shown


def kept(env: dict[str, str]) -> dict[str, Any]:
    path = Path(env["PAIRSMITH_HOME"]) / "settings.toml"
    return tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


@pytest.mark.parametrize("size", [NARROW, WIDE])
async def test_defaults_places_and_keys_are_shown(tmp_path: Path, size: tuple[int, int]) -> None:
    env = environment(tmp_path)
    async with application(env, make_workspace(tmp_path), size=size, start="settings") as (app, pilot):
        await until_shown(pilot, "settings.toml (none yet)")
        shown = screen_text(app)
        print(shown)
        for text in ("generator", "pairsmith-dark", "git.pairsmith"):
            assert text in shown
        assert "review.accept" in app.screen.form.text  # type: ignore[attr-defined]


async def test_a_default_is_checked_kept_and_taken_away(tmp_path: Path) -> None:
    async with OllamaServer() as server:
        env = environment(tmp_path, OLLAMA_HOST=server.url)
        async with application(env, start="settings") as (app, pilot):
            await pilot.press("9")
            await until_shown(pilot, "pairsmith-dark")
            await pilot.press("enter")
            await until_shown(pilot, "The default generator")
            await type_text(pilot, "olama:llama3.2")
            await pilot.press("enter")
            await until_shown(pilot, "Did you mean ollama")
            await pilot.press("ctrl+u", *("ctrl+w",) * 3)
            await type_text(pilot, "ollama:llama3.2")
            await pilot.press("enter")
            await until(pilot, lambda: kept(env).get("generator") == "ollama:llama3.2")
            await until(pilot, lambda: app.session.generator == "ollama:llama3.2")
            await pilot.press("x")
            await until(pilot, lambda: "generator" not in kept(env))


async def test_the_raters_name_is_kept_and_taken_away(tmp_path: Path) -> None:
    env = environment(tmp_path)
    async with application(env, start="settings") as (app, pilot):
        await pilot.press("9")
        await until_shown(pilot, "pairsmith-dark")
        app.screen.form.go_to("rater")  # type: ignore[attr-defined]
        await pilot.press("enter")
        await until_shown(pilot, "Who rates?")
        await type_text(pilot, "Ada")
        await pilot.press("enter")
        await until(pilot, lambda: kept(env).get("rater") == "Ada")
        await pilot.press("x")
        await until(pilot, lambda: "rater" not in kept(env))


async def test_the_theme_changes_at_once_and_is_kept(tmp_path: Path) -> None:
    env = environment(tmp_path)
    async with application(env, start="settings") as (app, pilot):
        await pilot.press("9")
        await until_shown(pilot, "pairsmith-dark")
        await pilot.press("down", "down", "down", "right")
        await until(pilot, lambda: app.theme == "pairsmith-light")
        await until(pilot, lambda: kept(env).get("theme") == "pairsmith-light")
        await pilot.press("left")
        await until(pilot, lambda: kept(env).get("theme") == "pairsmith-dark")


async def test_a_key_is_changed_works_at_once_and_is_kept(tmp_path: Path) -> None:
    env = environment(tmp_path)
    async with application(env, make_workspace(tmp_path), start="settings") as (app, pilot):
        await until_shown(pilot, "pairsmith-dark")
        app.screen.form.go_to("key:settings.clear")  # type: ignore[attr-defined]
        await pilot.press("enter")
        await until_shown(pilot, "Keys of settings.clear")
        await type_text(pilot, "z")
        await pilot.press("enter")
        await until(pilot, lambda: kept(env).get("keys") == {"settings.clear": "z"})
        await pilot.press("z")
        await until_shown(pilot, "There is nothing to clear here")

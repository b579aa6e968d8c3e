"""The Settings place: defaults, theme and keys, kept in the user's file."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from textual.binding import Binding
from textual.color import Color

from pairsmith.tui.keymap import never_pressed
from pairsmith.tui.places import PLACES
from pairsmith.tui.widgets.bars import PlacesBar

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
        assert "[9 Settings]" in screen_text(app).splitlines()[1]
        shown = screen_text(app)
        print(shown)
        for text in ("generator", "pairsmith-dark", "git.pairsmith"):
            assert text in shown
        assert "review.accept" in app.screen.form.text  # type: ignore[attr-defined]


async def test_a_folder_that_was_taken_away_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    workspace = make_workspace(tmp_path)
    monkeypatch.chdir(gone)
    async with application(environment(tmp_path), workspace) as (_, pilot):
        gone.rmdir()
        await pilot.press("9")
        await until_shown(pilot, "settings.toml (none yet)")
        await pilot.press("8")
        await until_shown(pilot, "git.jsonl")
        await pilot.press("1", "n")
        await until_shown(pilot, "A new workspace")


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


async def test_reproducible_answers_are_turned_on_and_off(tmp_path: Path) -> None:
    env = environment(tmp_path)
    async with application(env, start="settings") as (app, pilot):
        await pilot.press("9")
        await until_shown(pilot, "many at once")
        app.screen.form.go_to("reproducible")  # type: ignore[attr-defined]
        await pilot.press("enter")
        await until_shown(pilot, "one at a time")
        assert kept(env) == {"reproducible": True}
        assert (await app.session.backend_settings()).reproducible
        await pilot.press("left")
        await until_shown(pilot, "many at once")
        assert kept(env) == {}


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


async def change_keys_of_clear(app: Any, pilot: Any, keys: str) -> None:
    await until_shown(pilot, "pairsmith-dark")
    app.screen.form.go_to("key:settings.clear")
    await pilot.press("enter")
    await until_shown(pilot, "Keys of settings.clear")
    await type_text(pilot, keys)
    await pilot.press("enter")


async def test_a_key_is_changed_works_at_once_and_is_kept(tmp_path: Path) -> None:
    env = environment(tmp_path)
    async with application(env, make_workspace(tmp_path), start="settings") as (app, pilot):
        await change_keys_of_clear(app, pilot, "z")
        await until(pilot, lambda: kept(env).get("keys") == {"settings.clear": "z"})
        await pilot.press("z")
        await until_shown(pilot, "There is nothing to clear here")


@pytest.mark.parametrize(
    "name", ["pairsmith-dark", "pairsmith-light", "pairsmith-contrast", "nord", "textual-light"]
)
async def test_labels_are_dimmer_than_the_text_and_can_be_read(tmp_path: Path, name: str) -> None:
    async with application(environment(tmp_path), make_workspace(tmp_path)) as (app, pilot):
        app.theme = name
        await pilot.pause()
        bar = app.screen.query_one(PlacesBar)
        ground = app.screen.styles.background
        text, label = (
            contrast(Color.from_rich_color(style.color), ground)
            for style in (bar.rich_style, bar.get_component_rich_style("line--quiet"))
        )
        assert label >= 3
        assert label < text or name == "pairsmith-contrast"


def contrast(one: Color, other: Color) -> float:
    """Of two colours, as WCAG computes it."""

    def light(colour: Color) -> float:
        parts = [
            part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour.normalized
        ]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    first, second = sorted((light(one), light(other)), reverse=True)
    return (first + 0.05) / (second + 0.05)


@pytest.mark.parametrize("name", ["nonsense", "ctrl+G", "shift+ctrl+up", "a,,b+"])
async def test_a_key_that_no_terminal_sends_is_refused(tmp_path: Path, name: str) -> None:
    env = environment(tmp_path)
    async with application(env, make_workspace(tmp_path), start="settings") as (app, pilot):
        await change_keys_of_clear(app, pilot, name)
        await until_shown(pilot, "is no key. A key looks like")
        assert kept(env) == {}


async def test_a_key_that_another_action_of_the_place_has_is_refused(tmp_path: Path) -> None:
    env = environment(tmp_path)
    async with application(env, make_workspace(tmp_path), start="settings") as (app, pilot):
        await change_keys_of_clear(app, pilot, "r")
        await until_shown(pilot, "r is a key of settings.read, too")
        assert kept(env) == {}


def test_every_key_that_a_place_has_can_be_pressed() -> None:
    bindings = [one for place in PLACES for one in place.make().BINDINGS if isinstance(one, Binding)]
    assert {one.key: never_pressed(one.key) for one in bindings} == {one.key: None for one in bindings}
    assert never_pressed("a, G,+,ctrl+shift+g,shift+tab,alt+enter,plus,f5") is None

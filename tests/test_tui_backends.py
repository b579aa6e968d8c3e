"""The Backends place: what is there, whether it answers, pulling, choosing, and asking before anything leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pairsmith.pairs.store.meta import get_meta
from pairsmith.tui.screens.backends import BackendsScreen

from .generation import make_workspace
from .servers.nim import NimServer
from .servers.ollama import OllamaServer
from .servers.ollama_parts import FakeModel, Layer
from .tui_pilot import NARROW, WIDE, application, environment, type_text, until, until_shown


def place(app: Any) -> BackendsScreen:
    assert isinstance(app.screen, BackendsScreen)
    return app.screen


@pytest.mark.parametrize("size", [NARROW, WIDE])
async def test_every_backend_is_shown_with_its_state_and_models(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    models = (FakeModel(), FakeModel("qwen3:4b"))
    async with OllamaServer(models=models) as server, NimServer() as nim:
        env = environment(tmp_path, nim, OLLAMA_HOST=server.url)
        async with application(env, make_workspace(tmp_path), size=size, start="backends") as (app, pilot):
            await until(pilot, lambda: len(place(app).offered) == 4)
            await until_shown(pilot, "qwen3:4b")
            shown = place(app).list.text
            for text in (
                "no GGUF file found",
                "running, 2 models",
                "a key for http://127.0.0.1",
                "not set up",
            ):
                assert text in shown
            assert "meta/llama-3.1-405b-instruct" in shown
            assert "generator" in shown


async def test_a_model_is_asked_for_a_token_and_a_prompt_is_answered(tmp_path: Path) -> None:
    async with OllamaServer(brain=lambda request: "A good answer is short.\x1b[2J") as server:
        env = environment(tmp_path, OLLAMA_HOST=server.url)
        async with application(env, start="backends") as (app, pilot):
            await until(pilot, lambda: len(place(app).offered) == 4)
            place(app).list.go_to("model:ollama:llama3.2:latest")
            await pilot.press("enter")
            await until(pilot, lambda: "✓ ollama:llama3.2:latest" in place(app).detail)
            await pilot.press("t")
            await until_shown(pilot, "A prompt for ollama:llama3.2:latest")
            await pilot.press("enter")
            await until(pilot, lambda: "A good answer is short.␛[2J" in place(app).detail)
            assert "tokens in" in place(app).detail


async def test_a_model_that_is_not_there_is_said_with_what_to_do(tmp_path: Path) -> None:
    async with OllamaServer() as server:
        env = environment(tmp_path, OLLAMA_HOST=server.url)
        workspace = make_workspace(tmp_path)
        async with application(env, workspace, start="backends") as (app, pilot):
            await until(pilot, lambda: len(place(app).offered) == 4)
            await pilot.press("slash")
            await until_shown(pilot, "Which model writes the pairs?")
            await type_text(pilot, "ollama:nobody")
            await pilot.press("enter")
            await until_shown(pilot, "ollama pull nobody")
            await pilot.press("escape")
            assert workspace.meta("generator") == "nim:meta/llama-3.1-405b-instruct"


async def test_generator_and_judge_are_chosen_by_key_and_marked(tmp_path: Path) -> None:
    async with OllamaServer() as server:
        env = environment(tmp_path, OLLAMA_HOST=server.url)
        workspace = make_workspace(tmp_path)
        async with application(env, workspace, start="backends") as (app, pilot):
            await until(pilot, lambda: len(place(app).offered) == 4)
            place(app).list.go_to("model:ollama:llama3.2:latest")
            await pilot.press("G")
            await until(pilot, lambda: workspace.meta("generator") == "ollama:llama3.2:latest")
            await pilot.press("J")
            await until(pilot, lambda: workspace.meta("judge") == "ollama:llama3.2:latest")
            await until_shown(pilot, "generator and judge")


async def test_the_first_switch_to_a_remote_backend_asks_and_a_no_changes_nothing(tmp_path: Path) -> None:
    async with OllamaServer(
        models=[FakeModel(), FakeModel("big:cloud", remote_host="https://ollama.com")]
    ) as server:
        env = environment(tmp_path, OLLAMA_HOST=server.url)
        workspace = make_workspace(tmp_path, generator="ollama:llama3.2")
        async with application(env, workspace, start="backends") as (app, pilot):
            await until(pilot, lambda: len(place(app).offered) == 4)
            place(app).list.go_to("model:ollama:big:cloud")
            await pilot.press("G")
            await until_shown(pilot, "This model is not on this machine")
            await pilot.press("n")
            await pilot.pause()
            assert workspace.meta("generator") == "ollama:llama3.2"
            await pilot.press("G")
            await until_shown(pilot, "This model is not on this machine")
            await pilot.press("y")
            await until(pilot, lambda: workspace.meta("generator") == "ollama:big:cloud")
            await pilot.press("J")
            await until(pilot, lambda: workspace.meta("judge") == "ollama:big:cloud")
            assert workspace.read(lambda conn: get_meta(conn, "remote_agreed"))


async def test_a_pull_shows_its_progress_and_the_model_appears(tmp_path: Path) -> None:
    library = {"llama3.2:1b": [Layer(3_000_000), Layer(5_000)]}
    async with OllamaServer(library=library, pull_delay=0.05) as server:
        env = environment(tmp_path, OLLAMA_HOST=server.url)
        async with application(env, start="backends") as (app, pilot):
            await until(pilot, lambda: len(place(app).offered) == 4)
            await pilot.press("p")
            await until_shown(pilot, "Which model shall Ollama bring?")
            await type_text(pilot, "llama3.2:1b")
            await pilot.press("enter")
            await until(pilot, lambda: app.pulls.all["llama3.2:1b"].total > 0)
            await until(pilot, lambda: app.pulls.all["llama3.2:1b"].done, 40)
            await until(pilot, lambda: "running, 2 models" in place(app).list.text)


async def test_a_pull_that_fails_is_a_line(tmp_path: Path) -> None:
    async with OllamaServer() as server:
        env = environment(tmp_path, OLLAMA_HOST=server.url)
        async with application(env, start="backends") as (app, pilot):
            await until(pilot, lambda: len(place(app).offered) == 4)
            await pilot.press("p")
            await until_shown(pilot, "Which model shall Ollama bring?")
            await type_text(pilot, "nobody:has")
            await pilot.press("enter")
            await until(pilot, lambda: "✗" in place(app).list.text and app.pulls.all["nobody:has"].over)

"""What the tests of the application's places share: a pilot, waiting for a state, the screen as text."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from pairsmith.backends.llama_cpp.catalogue import EMBEDDED_ELSEWHERE
from pairsmith.pairs.store.workspace import Workspace
from pairsmith.tui.app import PairsmithApp
from pairsmith.tui.session import Session

from .resting import at_rest
from .servers.nim import NimServer

NARROW, WIDE = (80, 24), (160, 48)


def environment(folder: Path, *servers: NimServer, **more: str) -> dict[str, str]:
    """Variables that lead to these servers and to nothing of the machine's own; waits are twenty times shorter."""
    env = {"PAIRSMITH_HOME": str(folder / "home"), "HOME": str(folder), "PAIRSMITH_TIME_SCALE": "20"}
    env["OLLAMA_HOST"] = "http://127.0.0.1:9"
    if EMBEDDED_ELSEWHERE not in os.environ:
        env[EMBEDDED_ELSEWHERE] = str(folder / "no-embedded.gguf")
    for server in servers:
        env |= server.env
        env.pop("OPENAI_BASE_URL", None)
        env.pop("OPENAI_API_KEY", None)
    return env | more


@contextlib.asynccontextmanager
async def application(
    env: Mapping[str, str],
    workspace: Workspace | None = None,
    *,
    size: tuple[int, int] = NARROW,
    start: str = "home",
) -> AsyncIterator[tuple[PairsmithApp, Pilot[Any]]]:
    """The application on a headless terminal; its workspace is closed at the end."""
    app = PairsmithApp(Session(dict(env), workspace), start=start)
    try:
        async with app.run_test(size=size, notifications=True, tooltips=True) as pilot:
            await until(pilot, lambda: bool(app.screen_stack))
            yield app, pilot
            await app.jobs.leave()
    finally:
        if app.session.workspace is not None:
            await app.session.workspace.aclose()


async def until(pilot: Pilot[Any], condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait for a state; fails with the screen's text where it does not come."""
    ends = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > ends:
            raise AssertionError(f"the state did not come:\n{screen_text(pilot.app)}")
        await asyncio.sleep(0.02)
        await at_rest()


async def until_shown(pilot: Pilot[Any], text: str, seconds: float = 60.0) -> None:
    """Wait until the screen holds a text."""
    await until(pilot, lambda: text in screen_text(pilot.app), seconds)


async def type_text(pilot: Pilot[Any], text: str) -> None:
    """Type, key by key."""
    await pilot.press(*("space" if char == " " else char for char in text))


def screen_text(app: Any) -> str:
    """The screen as lines of plain text."""
    screen = app.screen
    return "\n".join(strip.text.rstrip() for strip in screen._compositor.render_strips(screen.size))

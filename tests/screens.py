"""What the tests of the application share: an app on a real workspace, its screen as plain text, and settling."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from textual import events
from textual.app import App
from textual.keys import key_to_character
from textual.pilot import Pilot

from pairsmith.pairs.store.judgements import Judgement, Score, add_judgement
from pairsmith.pairs.store.pair_rows import NewPair, add_pair, get_pair
from pairsmith.pairs.store.workspace import Workspace
from pairsmith.tui.app import PairsmithApp
from pairsmith.tui.screens.review import ReviewScreen
from pairsmith.tui.session import Session

from .resting import at_rest
from .stores import new_workspace

NARROW, WIDE = (80, 24), (160, 48)
WAIT_S = 60.0


def screen_text(app: App[Any]) -> str:
    """What the terminal shows, as lines of text without spaces at their ends."""
    strips = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip).rstrip() for strip in strips)


async def until(pilot: Pilot[Any], condition: Callable[[], object], what: str = "the condition") -> None:
    """Wait for a state of the application; fails after WAIT_S."""
    end = asyncio.get_running_loop().time() + WAIT_S
    while not condition():
        assert asyncio.get_running_loop().time() < end, f"{what} did not come: \n{screen_text(pilot.app)}"
        await asyncio.sleep(0.01)
    await pilot.pause()


def review_of(app: App[Any]) -> ReviewScreen:
    """The reviewer, whatever lies over it."""
    return next(screen for screen in app.screen_stack if isinstance(screen, ReviewScreen))


async def settle(pilot: Pilot[Any]) -> None:
    """Wait until what was started has ended and is painted."""
    app = pilot.app
    assert isinstance(app, PairsmithApp)
    for _ in range(3):
        await pilot.pause()
        for screen in app.screen_stack:
            if isinstance(screen, ReviewScreen):
                await screen.settled()
        for worker in list(app.workers):
            if worker.name != "follow" and worker.group != "look" and not worker.is_finished:
                with contextlib.suppress(Exception):
                    await worker.wait()
    await pilot.pause()


async def press(pilot: Pilot[Any], *keys: str) -> None:
    """Press keys, and let each come to its end."""
    for key in keys:
        await pilot.press(key)
        await settle(pilot)


async def strike(pilot: Pilot[Any], key: str) -> None:
    """A key as the terminal's driver sends it, without the pilot's long waits."""
    app = pilot.app
    app.post_message(events.Key(key, key_to_character(key)))
    await at_rest()


@contextlib.asynccontextmanager
async def reviewing(
    workspace: Workspace, size: tuple[int, int] = NARROW, **env: str
) -> AsyncIterator[Pilot[Any]]:
    """The reviewer on a workspace, read and painted."""
    home = {"PAIRSMITH_HOME": str(workspace.path.parent)}
    app = PairsmithApp(Session({**home, **env}, workspace), start="review")
    async with app.run_test(size=size, notifications=True, tooltips=True) as pilot:
        await until(pilot, lambda: isinstance(app.screen, ReviewScreen), "the reviewer")
        await settle(pilot)
        yield pilot


GIT = (
    ("Make a branch that I can merge back into the main branch", "git checkout -b my-branch"),
    ("Create a branch that can be merged into main later", "git switch -c my-branch"),
    ("Undo my last commit but keep the changes", "git reset --soft HEAD~1"),
    ("Put my changes aside for a moment", "git stash"),
    ("Show the difference between two commits", "git diff <commit1> <commit2>"),
    ("What is a merge", "A merge joins two histories."),
    ("Rename the branch I am on", "git branch -m new-name"),
    ("Delete a branch that I merged", "git branch -d my-branch"),
    ("List every branch, remote ones too", "git branch --all"),
    ("Get the newest version of the project", "git pull"),
    ("Tag this commit as a release", "git tag v1.0"),
    ("Who changed this line", "git blame file"),
)


def git_workspace(folder: Path, *, judge: str | None = "nim:nvidia/nemotron-4") -> Workspace:
    """A dozen pairs about Git, scored by a judge."""
    workspace = new_workspace(folder)

    def fill(conn: Any) -> None:
        for number, (instruction, output) in enumerate(GIT):
            pair_id = add_pair(conn, NewPair(instruction, output))
            if judge is not None:
                values = {"helpfulness": 1.0 + number % 4, "verbosity": 0.5 * (number % 5)}
                scores = {name: Score(value) for name, value in values.items()}
                add_judgement(
                    conn, get_pair(conn, pair_id).version.id, Judgement(judge, "reward", scores=scores)
                )

    workspace.write(fill)
    return workspace


def verdicts(workspace: Workspace) -> dict[int, str]:
    """Verdict by pair, from the disk."""
    return workspace.read(
        lambda conn: dict(conn.execute("SELECT id, verdict FROM pair WHERE removed = 0").fetchall())
    )

"""What the seed tasks, their editor, the method, the download and the tour look like at 80x24 and 160x48.

PAIRSMITH_SNAPSHOTS=write makes the pictures anew.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from pairsmith.pairs.run_plan import RunPlan, write_plan
from pairsmith.pairs.store.seed_tasks import add_seed_tasks
from pairsmith.pairs.store.workspace import Workspace
from pairsmith.pairs.tour import begin_tour

from .embedded_stand_in import put_in_place
from .generation import REWARD, make_workspace
from .pools import seeds
from .tui_pilot import NARROW, WIDE, application, environment, screen_text, until, until_shown

SNAPSHOTS = Path(__file__).parent / "snapshots"
KEYS = {
    "seeds": ("s",),
    "seeds-none": ("s",),
    "seed-edit": ("s", "enter"),
    "method": ("M",),
    "get-model": ("2", "d"),
    "tour": ("ctrl+t",),
    "demonstration": (),
}
READY = {
    "seeds": "10 seed tasks", "seeds-none": "next run: topic-tree", "seed-edit": "no classification",
    "method": "This run: about", "get-model": "of memory", "tour": "recognised by what",
    "demonstration": "This run: about",
}  # fmt: skip
_MACHINE = re.compile(r"\(this machine has [^)]*\)|\([^()]* free\)")


def workspace_for(state: str, folder: Path) -> Workspace:
    workspace = make_workspace(
        folder, judge=REWARD, generator=None if state == "demonstration" else "nim:a/b"
    )
    if state != "seeds-none":
        workspace.write(lambda conn: add_seed_tasks(conn, seeds()))
    if state == "method":
        workspace.write(lambda conn: write_plan(conn, RunPlan(25, method="self-instruct", refine=True)))
    if state == "tour":
        workspace.write(begin_tour)
    return workspace


async def drive(app: Any, pilot: Any, state: str) -> None:
    await until_shown(pilot, "method: ")
    for key in KEYS[state]:
        await pilot.press(key)
        if key == "s":
            await until(
                pilot, lambda: "next run: " in screen_text(app) and "…" not in screen_text(app).split("\n")[4]
            )
        await pilot.pause()
    await until_shown(pilot, READY[state])
    await pilot.pause()


@pytest.mark.parametrize("size", [NARROW, WIDE])
@pytest.mark.parametrize("state", KEYS)
async def test_it_looks_as_it_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str, size: tuple[int, int]
) -> None:
    put_in_place(monkeypatch, tmp_path / "assets")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    env = environment(tmp_path, PAIRSMITH_HOME="home")
    async with application(env, workspace_for(state, Path()), size=size, start="generate") as (app, pilot):
        await drive(app, pilot, state)
        shown = _MACHINE.sub("(…)", screen_text(app))
    lines = shown.splitlines()
    assert max(len(line) for line in lines) <= size[0]
    if state == "get-model":  # what lies under the box is the machine's own
        lines = [line for line in lines if "│" not in line][:1] + _box(lines)
    elif not lines[1].strip():
        lines[1] = ""
    else:
        lines[1] = "(places)"
    found = "\n".join(lines) + "\n"
    file = SNAPSHOTS / f"{state}-{size[0]}x{size[1]}.txt"
    if os.environ.get("PAIRSMITH_SNAPSHOTS") == "write":
        file.write_text(found, encoding="utf-8")
    assert found == file.read_text(encoding="utf-8")


def _box(lines: list[str]) -> list[str]:
    """The lines of the box, without what stands beside them."""
    top = next(n for n, line in enumerate(lines) if "Download a model" in line)
    left = lines[top].index("Download a model")
    return [line[left : left + 74].rstrip() for line in lines[top : top + 10]]

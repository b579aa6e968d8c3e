"""What the reviewer and its boxes look like, as text at 80x24 and 160x48. PAIRSMITH_SNAPSHOTS=write makes them anew."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from pairsmith.pairs.store.topics import add_topic

from .screens import NARROW, WIDE, git_workspace, press, review_of, reviewing, screen_text, until

SNAPSHOTS = Path(__file__).parent / "snapshots"
STATES: dict[str, Sequence[str]] = {
    "pair": ("a", "r", "a"),
    "thresholds": ("a", "a", "r", "t", "right"),
    "near": ("end", "d"),
    "filter": ("f", "down"),
    "bulk": ("b",),
    "note": ("n",),
    "statistics": ("s",),
    "end": tuple("aaaaaarrrrrr"),
    "keys": ("question_mark",),
    "edit": ("e",),
}


@pytest.mark.parametrize("size", [NARROW, WIDE])
@pytest.mark.parametrize("state", STATES)
async def test_the_reviewer_looks_as_it_did(tmp_path: Path, state: str, size: tuple[int, int]) -> None:
    with git_workspace(tmp_path) as workspace:
        workspace.write(lambda conn: add_topic(conn, "Branching"))
        workspace.write(
            lambda conn: conn.execute("UPDATE pair SET topic_id = 1 WHERE id IN (1, 2, 8, 9, 10)")
        )
        async with reviewing(workspace, size) as pilot:
            screen = review_of(pilot.app)
            screen.pace.clock = lambda: 0.0
            await press(pilot, *STATES[state])
            if state in ("near", "pair"):
                await until(pilot, lambda: state != "pair" or screen.near, "the nearest pair")
            screen._said = None
            screen.paint_status()
            await pilot.pause()
            lines = screen_text(pilot.app).splitlines()
        places = next((n for n, line in enumerate(lines) if "[5 Review]" in line), None)
        if places is not None:
            lines[places] = "(places)"  # grows with the application
        if state == "keys":  # its columns are as wide as the list of places
            lines = [" ".join(line.split()) for line in lines]
        found = "\n".join(line for line in lines if "Go to a place" not in line) + "\n"
    file = SNAPSHOTS / f"review-{state}-{size[0]}x{size[1]}.txt"
    if os.environ.get("PAIRSMITH_SNAPSHOTS") == "write":
        file.write_text(found, encoding="utf-8")
    assert found == file.read_text(encoding="utf-8")

"""What the tests of pushing share: a workspace with nasty texts, and the command beside a Hub of ours."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pairsmith.pairs.store.workspace import Workspace, open_workspace

from .command_line import Ran, git_rows, run, run_here, write_rows
from .servers.hub import TOKEN, Hub

NASTY = [
    ("Family 👨‍👩‍👧‍👦 emoji", "", "ZWJ \u200d kept"),
    ("Lines\u2028and\u2029and\u0085", "\ufeffBOM", "CR\r\nLF\ttab\x0b\x0c"),
    ("NA", "007", "2020-01-01"),
    ("bidi \u202e abc", "=1+1", "'quoted' \"too\", \\ and \uffff"),
]


def environment(hub: Hub, home: Path, **more: str) -> dict[str, str]:
    """Variables of a user who has a token and the Hub elsewhere."""
    env = {"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "HF_HUB_OFFLINE": "0", "PAIRSMITH_HOME": str(home)}
    return {**env, "HF_HOME": str(home / "no-login"), **more}


def filled(folder: Path, count: int = 20, rows: list[dict[str, Any]] | None = None) -> Path:
    """A workspace with plain rows and with nasty ones."""
    path = folder / "w.pairsmith"
    assert run("new", path, "--domain", "Git in plain words").code == 0
    nasty = [{"instruction": i, "input": n, "output": o} for i, n, o in NASTY]
    file = write_rows(folder / "rows.jsonl", [*git_rows(count), *nasty, *(rows or [])])
    assert run("import", path, file).code == 0
    return path


@cache
def _template() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return filled(Path(folder)).read_bytes()


def filled_before(folder: Path) -> Path:
    """A copy of a `filled` workspace that is made once in a process."""
    path = folder / "w.pairsmith"
    path.write_bytes(_template())
    return path


def push(
    workspace: Path, hub: Hub, *words: str, env: Mapping[str, str] | None = None, repo: str = "me/git"
) -> Ran:
    """`pairsmith push`; what talks to the Hub is a child process of its own."""
    return run_here(
        "push", workspace, repo, *words, env=environment(hub, workspace.parent / "home") | dict(env or {})
    )


def texts(workspace: Workspace | Path) -> list[tuple[str, str, str]]:
    """(instruction, input, output) of all pairs, in their order."""
    if isinstance(workspace, Path):
        with open_workspace(workspace, readonly=True) as opened:
            return texts(opened)
    sql = "SELECT v.instruction, v.input, v.output FROM pair p JOIN version v ON v.id = p.version_id ORDER BY p.id"
    return workspace.read(lambda conn: [tuple(row) for row in conn.execute(sql).fetchall()])


def no_token_in(folder: Path, *outputs: str) -> None:
    """The canary token is in no byte below a folder and in no output."""
    for path in folder.rglob("*"):
        if path.is_file():
            assert TOKEN.encode() not in path.read_bytes(), path
    for text in outputs:
        assert TOKEN not in text

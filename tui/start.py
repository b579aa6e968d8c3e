"""How the application starts: on a workspace or on none, with what is no workspace refused before."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pairsmith.pairs.errors import UsageError

from .app import PairsmithApp
from .places import place_named
from .session import Session


def run(workspace_path: Path | None, *, start: str = "home", env: Mapping[str, str] | None = None) -> int:
    """Open the application, on a workspace or on none; returns the exit code.

    A file that is no workspace is refused before the screen is taken; all of it is opened behind the first frame.
    Raises PairsmithError.
    """
    if workspace_path is None and place_named("home") is None:
        raise UsageError(
            "name a workspace", "Make one: pairsmith new my.pairsmith --domain 'what it is about'"
        )
    session = Session(dict(os.environ if env is None else env), opening=workspace_path)
    if workspace_path is not None:
        check_looks(workspace_path)
    app = PairsmithApp(session, start=start if workspace_path is not None else "home")
    try:
        code = app.run() or 0
        if app.failure is not None:
            raise app.failure
        return code
    finally:
        if session.workspace is not None:
            session.workspace.close()


def check_looks(path: Path) -> None:
    """Refuse what cannot be a workspace by its first bytes, before the screen is taken. Raises PairsmithError."""
    try:
        with path.open("rb") as file:
            looks_right = file.read(16) == b"SQLite format 3\x00"
    except OSError:
        looks_right = False
    if not looks_right:
        from pairsmith.pairs.store.file_probe import check_file

        check_file(path)


def main(workspace: str | None = None, start: str = "home") -> int:
    """`run` for the command line."""
    return run(None if workspace is None else Path(workspace).expanduser(), start=start)

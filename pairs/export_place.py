"""Where an export may be written."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from pairsmith.backends.text import one_line

from .errors import PairsmithError, UsageError
from .manifest import NAME, Manifest

_EXPORTED = re.compile(
    r"manifest\.json|README\.md|dataset_dict\.json"
    r"|(?:train|validation|test)(?:/(?:state\.json|dataset_info\.json|data-\d{5}-of-\d{5}\.arrow|cache-[^/]*))?"
)
"""What an exported folder holds, and what `datasets` keeps in it while it is used."""


def check_target(path: Path, workspace: Path, *, folder: bool = False) -> None:
    """Refuse places that an export would harm. Raises UsageError."""
    shown = one_line(str(path))
    if not path.parent.is_dir():
        raise UsageError(f"there is no folder {one_line(str(path.parent))}", "Make it first")
    if folder:
        _check_folder(path, shown)
    elif path.is_dir():
        raise UsageError(f"{shown} is a folder", "Name the file in it")
    elif path.exists() and not path.is_file():
        raise UsageError(f"{shown} is not a file that can be replaced", "Name another one")
    with contextlib.suppress(OSError):
        if path.is_file() and path.open("rb").read(16) == b"SQLite format 3\0":
            raise UsageError(f"{shown} is a database and is not overwritten", "Choose another name")
    if path.absolute() in [
        workspace.absolute().with_name(workspace.name + s) for s in ("", "-wal", "-shm", ".lock")
    ]:
        raise UsageError(f"{shown} belongs to the workspace", "Choose another name")


def _check_folder(path: Path, shown: str) -> None:
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise UsageError(f"{shown} is not a folder", "This format writes a folder: name a new one")
    if path.is_dir() and any(path.iterdir()):
        try:
            Manifest(path / NAME)
        except (OSError, PairsmithError):
            raise UsageError(
                f"{shown} is a folder that no export of Pairsmith made", "Name a new or empty one"
            ) from None
        # The whole folder is replaced: what somebody put into it since would be gone.
        for found in path.rglob("*"):
            name = found.relative_to(path).as_posix()
            if not _EXPORTED.fullmatch(name):
                raise UsageError(
                    f"{shown} holds {one_line(name)}, which no export of Pairsmith put there",
                    "Move it away, or name a new folder",
                )

"""In the Hub's child process: one GGUF file of a model repository, into a part that is named by its SHA-256."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .hub_fetch import alone, arrived, fetch_file, is_whole
from .hub_layout import is_safe
from .hub_talk import Refused, Talk, open_api

ROOM = 64 << 20
"""Bytes of the disk that are left free."""


def download_model(job: Mapping[str, Any], talk: Talk) -> dict[str, Any]:
    """Do a model job: `file` of `repo` into `folder`; its path, size and SHA-256.

    Raises Refused: no such file, the Hub names no SHA-256, no room, another process brings it, another checksum; and
    what the libraries raise.
    """
    api = open_api(job)
    talk.step("asking what there is")
    commit = str(api.repo_info(repo_id=job["repo"], repo_type="model", revision=job["revision"]).sha)
    found = api.get_paths_info(job["repo"], [job["file"]], revision=commit, repo_type="model")
    entry = next((one for one in found if hasattr(one, "blob_id") and one.path == job["file"]), None)
    if entry is None or not is_safe(entry.path):
        raise Refused("no_file", f"there is no file {job['file']}")
    if entry.lfs is None:
        raise Refused("no_checksum", name=entry.path)
    size, sha256 = int(entry.size), str(entry.lfs.sha256)
    part = Path(job["folder"]) / f"{sha256}.part"
    part.parent.mkdir(parents=True, exist_ok=True)

    def checked(done: int) -> None:
        with contextlib.suppress(BrokenPipeError):
            talk.progress(f"checking {entry.path}", done, size)

    with alone(part.parent / "lock"):
        _forget_others(part)
        _check_room(part, size)
        talk.progress(entry.path, arrived(part), size)
        fetch_file(
            job, "model", commit, entry, part, talk, lambda done: talk.progress(entry.path, done, size)
        )
        talk.step(f"checking {entry.path}")
        if not is_whole(part, entry, checked):
            part.unlink()
            raise Refused("checksum", name=entry.path)
    return {"path": str(part), "bytes": size, "sha256": sha256, "commit": commit}


def _forget_others(part: Path) -> None:
    """Parts of a file that the Hub has another version of by now are of no use."""
    for other in part.parent.glob("*.part"):
        if other != part:
            other.unlink(missing_ok=True)


def _check_room(part: Path, size: int) -> None:
    if arrived(part) > size:
        part.unlink()
    needed = size - arrived(part) + ROOM
    free = shutil.disk_usage(part.parent).free
    if needed > free:
        raise Refused("no_room", needed=needed, free=free)

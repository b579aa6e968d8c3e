"""In the Hub's child process: ask what a dataset holds, and download its data files, each checked against its hash."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .hub_fetch import alone, fetch_file, is_whole
from .hub_layout import NoSuchPart, choose_files, is_safe
from .hub_talk import Refused, Talk, open_api

_MOST_ENTRIES = 100_000
_MOST_CARD = 1 << 20


def download(job: Mapping[str, Any], talk: Talk) -> dict[str, Any]:
    """Do a download job; its result. Raises Refused, OSError, and what the libraries raise."""
    api = open_api(job)
    where = {"repo_id": job["repo"], "repo_type": "dataset"}
    talk.step("asking what there is")
    info = api.repo_info(**where, revision=job["revision"])
    there = _tree(api, where, info.sha, talk)
    folder = Path(job["folder"]) / str(info.sha)[:40]
    with alone(folder.parent / "lock"):
        card = _card(job, info.sha, there, folder, talk)
        try:
            chosen = choose_files(there, card, job["config"], job["split"])
        except NoSuchPart as missing:
            raise Refused("no_part", str(missing)) from None
        total = sum(int(there[path].size) for path in chosen.paths)
        if total > job["max_bytes"]:
            raise Refused("too_large", bytes=total, files=len(chosen.paths))
        before = 0

        def tell(done: int) -> None:
            talk.progress("downloading", before + done, total)

        for path in chosen.paths:
            _get(job, info.sha, there[path], folder, talk, tell)
            before += int(there[path].size)
    return {
        "commit": str(info.sha),
        "config": chosen.config,
        "split": chosen.split,
        "bytes": total,
        "files": [str(folder / path) for path in chosen.paths],
        "names": list(chosen.paths),
    }


def _tree(api: Any, where: Mapping[str, str], revision: str, talk: Talk) -> dict[str, Any]:
    talk.step("reading what is there")
    found: dict[str, Any] = {}
    for entry in api.list_repo_tree(**where, revision=revision, recursive=True):
        if hasattr(entry, "blob_id"):
            found[entry.path] = entry
        if len(found) > _MOST_ENTRIES:
            raise Refused("no_part", f"it holds more than {_MOST_ENTRIES:,} files")
        if len(found) % 1000 == 999:
            talk.step("reading what is there")
    return found


def _card(
    job: Mapping[str, Any], revision: str, there: Mapping[str, Any], folder: Path, talk: Talk
) -> Mapping[str, Any]:
    """The YAML of README.md; nothing where there is none or it cannot be read."""
    entry = there.get("README.md")
    if entry is None or entry.size > _MOST_CARD:
        return {}
    path = _get(job, revision, entry, folder, talk)
    try:
        card = importlib.import_module("huggingface_hub").metadata_load(path)
    except Exception:  # YAML that is none, or not UTF-8: files are then chosen by their names
        return {}
    return card if isinstance(card, dict) else {}


def _get(
    job: Mapping[str, Any],
    revision: str,
    entry: Any,
    folder: Path,
    talk: Talk,
    tell: Callable[[int], None] = lambda done: None,
) -> Path:
    """Download a file; its path. One that an earlier process brought whole is kept, one that was cut is gone on with.

    Raises Refused("checksum").
    """
    assert is_safe(entry.path)
    path: Path = folder / str(entry.path)
    if path.is_file() and is_whole(path, entry):
        tell(entry.size)
        return path
    part = path.with_name(f"{path.name}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    fetch_file(job, "dataset", revision, entry, part, talk, tell)
    if not is_whole(part, entry):
        part.unlink()
        raise Refused("checksum", name=entry.path)
    part.replace(path)
    return path

"""In the Hub's child process: ask what a dataset holds, and download its data files, each checked against its hash."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import importlib
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .hub_layout import Chosen, NoSuchPart, choose_files, is_safe
from .hub_talk import Refused, Talk, open_api, told

_MOST_ENTRIES = 100_000
_MOST_CARD = 1 << 20
_WATCH_S = 0.2
_SLACK = 1 << 20
_WAITS_S = (1, 2, 4)


def download(job: Mapping[str, Any], talk: Talk) -> dict[str, Any]:
    """Do a download job; its result. Raises Refused, and what huggingface_hub raises."""
    api = open_api(job)
    where = {"repo_id": job["repo"], "repo_type": "dataset"}
    talk.step("asking what there is")
    info = api.repo_info(**where, revision=job["revision"])
    there = _tree(api, where, info.sha, talk)
    folder = Path(job["folder"]) / str(info.sha)[:40]
    card = _card(api, where, info.sha, there, folder, talk)
    try:
        chosen = choose_files(there, card, job["config"], job["split"])
    except NoSuchPart as missing:
        raise Refused("no_part", str(missing)) from None
    sizes = {path: int(there[path].size) for path in chosen.paths}
    total = sum(sizes.values())
    if total > job["max_bytes"]:
        raise Refused("too_large", bytes=total, files=len(sizes))
    _limit_files(max(sizes.values()) + _SLACK)
    with _watched(folder, chosen, total, talk):
        for path in chosen.paths:
            _get(api, where, info.sha, there[path], folder, talk)
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
    api: Any, where: Mapping[str, str], revision: str, there: Mapping[str, Any], folder: Path, talk: Talk
) -> Mapping[str, Any]:
    """The YAML of README.md; nothing where there is none or it cannot be read."""
    entry = there.get("README.md")
    if entry is None or entry.size > _MOST_CARD:
        return {}
    path = _get(api, where, revision, entry, folder, talk)
    try:
        card = importlib.import_module("huggingface_hub").metadata_load(path)
    except Exception:  # YAML that is none, or not UTF-8: files are then chosen by their names
        return {}
    return card if isinstance(card, dict) else {}


def _get(api: Any, where: Mapping[str, str], revision: str, entry: Any, folder: Path, talk: Talk) -> Path:
    """Download a file; its path. One that an earlier process brought whole is kept, one that was cut begins anew.

    Raises Refused("checksum").
    """
    assert is_safe(entry.path)
    path: Path = folder / str(entry.path)
    if path.is_file() and _is_whole(path, entry):
        return path
    path.unlink(missing_ok=True)
    for wait in (*_WAITS_S, None):
        talk.step(f"downloading {entry.path}")
        try:
            api.hf_hub_download(**where, filename=entry.path, revision=revision, local_dir=folder)
            break
        except Exception as error:
            too_much = isinstance(error, OSError) and error.errno == errno.EFBIG  # more than the Hub said
            if too_much or "Consistency check failed" in str(error):
                raise Refused("checksum", name=entry.path) from None
            if wait is None or not _may_pass(error):
                raise
            talk.note(f"{told(error)[1] or type(error).__name__}; again in {wait} s")
            time.sleep(wait)
    if not _is_whole(path, entry):
        path.unlink(missing_ok=True)
        raise Refused("checksum", name=entry.path)
    return path


def _may_pass(error: Exception) -> bool:
    kind, _, facts = told(error)
    return kind == "network" or (kind == "status" and (facts["status"] >= 500 or facts["status"] == 408))


def _is_whole(path: Path, entry: Any) -> bool:
    size = path.stat().st_size
    if size != entry.size:
        return False
    if entry.lfs is not None:
        digest, right = hashlib.sha256(), entry.lfs.sha256
    else:
        digest, right = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False), entry.blob_id
    with path.open("rb") as file:
        while data := file.read(1 << 20):
            digest.update(data)
    return bool(digest.hexdigest() == right)


@contextlib.contextmanager
def _watched(folder: Path, chosen: Chosen, total: int, talk: Talk) -> Iterator[None]:
    """Tell how much has arrived, by looking at the folder: huggingface_hub's own meter is meant for a terminal."""
    over = threading.Event()

    def look() -> None:
        while not over.wait(_WATCH_S):
            done = _arrived(folder, chosen.paths)
            talk.progress("downloading", min(done, total), total)

    watching = threading.Thread(target=look, daemon=True)
    watching.start()
    try:
        yield
    finally:
        over.set()
        watching.join()


def _arrived(folder: Path, paths: Sequence[str]) -> int:
    done = 0
    for path in [*(folder / name for name in paths), *(folder / ".cache").rglob("*.incomplete")]:
        with contextlib.suppress(OSError):
            done += path.stat().st_size
    return done


def _limit_files(size: int) -> None:
    """No file becomes larger than the largest is said to be, whatever a server sends."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))

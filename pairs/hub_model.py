"""In the Hub's child process: one file of a model repository, gone on with where an earlier try stopped.

`huggingface_hub` says how large the file is and which SHA-256 it has; the bytes are fetched here, because since its
version 2 it begins a file anew with every process.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .hub_layout import is_safe
from .hub_talk import Refused, Talk, open_api, token_of

ROOM = 64 << 20
"""Bytes of the disk that are left free."""
_PIECE = 1 << 18
_TRIES = 5
_WAIT_S = 1.0
_TRANSPORT_S = 30.0


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
    with _alone(part.parent / "lock"):
        _forget_others(part)
        _check_room(part, size)
        talk.progress(entry.path, _arrived(part), size)
        _fetch_all(job, commit, part, size, talk)
        talk.step(f"checking {entry.path}")
        if _digest(part, talk, entry.path, size) != sha256:
            part.unlink()
            raise Refused("checksum", name=entry.path)
    return {"path": str(part), "bytes": size, "sha256": sha256, "commit": commit}


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Two processes that write into one part would spoil it. Raises Refused("busy")."""
    with lock.open("w") as file:
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ImportError:
            pass
        except OSError:
            raise Refused("busy") from None
        yield


def _forget_others(part: Path) -> None:
    """Parts of a file that the Hub has another version of by now are of no use."""
    for other in part.parent.glob("*.part"):
        if other != part:
            other.unlink(missing_ok=True)


def _arrived(part: Path) -> int:
    try:
        return part.stat().st_size
    except OSError:
        return 0


def _check_room(part: Path, size: int) -> None:
    if _arrived(part) > size:
        part.unlink()
    needed = size - _arrived(part) + ROOM
    free = shutil.disk_usage(part.parent).free
    if needed > free:
        raise Refused("no_room", needed=needed, free=free)


def _fetch_all(job: Mapping[str, Any], commit: str, part: Path, size: int, talk: Talk) -> None:
    """Fetch what is missing; a connection that breaks is tried again where it had brought something."""
    httpx = importlib.import_module("httpx")
    hub = importlib.import_module("huggingface_hub")
    address = hub.hf_hub_url(job["repo"], job["file"], revision=commit, endpoint=job["endpoint"])
    headers = hub.utils.build_hf_headers(token=token_of(job))
    headers["Accept-Encoding"] = "identity"
    left = _TRIES
    while _arrived(part) < size:
        before = _arrived(part)
        talk.step(f"downloading {job['file']}")
        try:
            # The token goes to the Hub alone: httpx leaves it out where another server is redirected to.
            with httpx.Client(follow_redirects=True, timeout=_TRANSPORT_S) as client:
                _fetch(client, address, headers, part, size, job["file"], talk)
        except (httpx.TransportError, httpx.StreamError) as error:
            left = _TRIES if _arrived(part) > before else left - 1
            if left <= 0:
                raise
            talk.note(f"the connection broke ({type(error).__name__}); trying again")
            time.sleep(_WAIT_S)


def _fetch(
    client: Any, address: str, headers: Mapping[str, str], part: Path, size: int, name: str, talk: Talk
) -> None:
    done = _arrived(part)
    asked = {**headers, "Range": f"bytes={done}-"} if done else dict(headers)
    with client.stream("GET", address, headers=asked) as response:
        if response.status_code == 416:
            part.unlink(missing_ok=True)
            return
        response.raise_for_status()
        if response.status_code != 206:
            done = 0
        with part.open("ab" if done else "wb") as file:
            for data in response.iter_raw(_PIECE):
                kept = data[: size - done]
                file.write(kept)
                done += len(kept)
                file.flush()
                talk.progress(name, done, size)
                if done >= size:
                    return


def _digest(part: Path, talk: Talk, name: str, size: int) -> str:
    digest, done = hashlib.sha256(), 0
    with part.open("rb") as file:
        while data := file.read(1 << 20):
            digest.update(data)
            done += len(data)
            with contextlib.suppress(BrokenPipeError):
                talk.progress(f"checking {name}", done, size)
    return digest.hexdigest()

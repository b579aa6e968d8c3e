"""In the Hub's child process: the bytes of one file of a commit, gone on with where an earlier try stopped.

They are fetched here, because `huggingface_hub` since its version 2 begins a file anew with every process.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from .hub_talk import Refused, Talk, token_of, told

_TRIES = 5
_LONGEST_WAIT_S = 30
_TRANSPORT_S = 30.0


@contextlib.contextmanager
def alone(lock: Path) -> Iterator[None]:
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


def arrived(part: Path) -> int:
    """How many bytes of a file are here."""
    try:
        return part.stat().st_size
    except OSError:
        return 0


def is_whole(path: Path, entry: Any, tell: Callable[[int], None] = lambda done: None) -> bool:
    """Whether a file is what the Hub's tree says: by SHA-256 where it is a large one, else by git's hash of it."""
    if arrived(path) != entry.size:
        return False
    if entry.lfs is not None:
        digest, right, done = hashlib.sha256(), entry.lfs.sha256, 0
    else:
        digest, right, done = hashlib.sha1(b"blob %d\0" % entry.size, usedforsecurity=False), entry.blob_id, 0
    with path.open("rb") as file:
        while data := file.read(1 << 20):
            digest.update(data)
            done += len(data)
            tell(done)
    return bool(digest.hexdigest() == right)


def fetch_file(
    job: Mapping[str, Any],
    kind: str,
    commit: str,
    entry: Any,
    part: Path,
    talk: Talk,
    tell: Callable[[int], None],
) -> None:
    """Bring what `part` lacks of a file; `tell` hears how many bytes are here. Its hash is the caller's to compare.

    What breaks is tried again, five times in a row without a further byte. Raises what httpx raises, and OSError.
    """
    httpx = importlib.import_module("httpx")
    hub = importlib.import_module("huggingface_hub")
    address = hub.hf_hub_url(
        job["repo"], entry.path, repo_type=kind, revision=commit, endpoint=job["endpoint"]
    )
    # No If-Range: the store that the Hub redirects to has ETags of its own. The part belongs to a commit or a hash, so
    # only another server's fault could mix two versions, and the hash finds that.
    headers = {**hub.utils.build_hf_headers(token=token_of(job)), "Accept-Encoding": "identity"}
    part.touch()
    tries = 0
    while (before := arrived(part)) < entry.size:
        talk.step(f"downloading {entry.path}")
        try:
            # The token goes to the Hub alone: httpx leaves it out where another server is redirected to.
            with httpx.Client(follow_redirects=True, timeout=_TRANSPORT_S) as client:
                _go_on(httpx, client, address, headers, part, entry.size, tell)
        except (httpx.TransportError, httpx.StreamError, httpx.HTTPStatusError) as error:
            tries = 1 if arrived(part) > before else tries + 1
            wait = _wait_s(error, tries)
            if wait is None or tries >= _TRIES:
                raise
            talk.note(f"{told(error)[1] or type(error).__name__}; again in {wait} s")
            time.sleep(wait)


def _wait_s(error: Exception, tries: int) -> int | None:
    """Seconds until another try; None where it would not help."""
    response = getattr(error, "response", None)
    if response is None:
        return 1 << (tries - 1)
    if response.status_code not in (408, 429) and response.status_code < 500:
        return None
    said = response.headers.get("Retry-After", "")
    wait = int(said) if said.isdecimal() else 1 << (tries - 1)
    return wait if wait <= _LONGEST_WAIT_S else None


def _go_on(
    httpx: Any,
    client: Any,
    address: str,
    headers: Mapping[str, str],
    part: Path,
    size: int,
    tell: Callable[[int], None],
) -> None:
    """One request for the rest. Raises what httpx raises, also where the answer ends before the file does."""
    done = arrived(part)
    asked = {**headers, "Range": f"bytes={done}-"} if done else dict(headers)
    with client.stream("GET", address, headers=asked) as response:
        other = response.status_code == 206 and not _begins_at(response, done)
        if done and (other or response.status_code == 416):
            part.write_bytes(b"")
            raise httpx.RemoteProtocolError("the server does not go on there: all is asked for")
        response.raise_for_status()
        if response.status_code != 206:  # it does not know ranges, and sends all
            done = 0
        with part.open("ab" if done else "wb") as file:
            for data in response.iter_raw():
                # Never more than was said, whatever a server sends.
                file.write(data[: size - done])
                file.flush()
                done = min(size, done + len(data))
                tell(done)
                if done >= size:
                    return
    raise httpx.RemoteProtocolError(f"the answer ended after {done:,} of {size:,} bytes")


def _begins_at(response: Any, start: int) -> bool:
    return str(response.headers.get("Content-Range", "")).startswith(f"bytes {start}-")

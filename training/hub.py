"""Download a model's files from the Hugging Face Hub: progress, resume, SHA-256; with the standard library only.

Only a file of which the Hub names the SHA-256 (every large one) is gone on with, in a part that bears it: nothing else
would tell a mixture of two versions. The others are small and begin anew.

The token (`HF_TOKEN`) goes to the Hub's own origin alone, never to where it redirects.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import re
import ssl
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .errors import TrainingError

ENDPOINT = "https://huggingface.co"
FILES = ("config.json", "vocab.json", "merges.txt", "model.safetensors")
_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
_REDIRECTS = (301, 302, 303, 307, 308)
_CHUNK = 1 << 20
_TIMEOUT_S = 30.0
_SMALL_LIMIT = 64 << 20
_LARGE_LIMIT = 64 << 30

Progress = Callable[[str, int, int], None]
"""Called with a file's name, the bytes that are there, and the bytes that it will have."""


def is_id(name: str) -> bool:
    """Whether a name looks like `owner/name`."""
    return _ID.fullmatch(name) is not None


def fetch(name: str, target: Path, progress: Progress = lambda _name, _done, _total: None) -> Path:
    """Download the files of a model into the folder `target`; files that are whole already are kept.

    Raises TrainingError("network"): no connection, no such model, a checksum that differs.
    """
    target.mkdir(parents=True, exist_ok=True)
    with _alone(target):
        for file in FILES:
            if not (target / file).exists():
                _fetch_file(name, file, target / file, progress)
    return target


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait for whoever downloads to this folder: two that write into one part would spoil it."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(ImportError, OSError):
            import fcntl

            fcntl.flock(opened, fcntl.LOCK_EX)
        yield
    finally:
        os.close(opened)


@dataclass(frozen=True, slots=True)
class _Remote:
    """A file as the Hub describes it."""

    address: str
    size: int
    sha256: str | None
    """Known for large files."""


def _fetch_file(name: str, file: str, target: Path, progress: Progress) -> None:
    endpoint = os.environ.get("HF_ENDPOINT", ENDPOINT).rstrip("/")
    address = f"{endpoint}/{name}/resolve/main/{file}"
    try:
        remote = _describe(address, file)
        partial = target.with_name(f"{target.name}.{remote.sha256}.part")
        for other in target.parent.glob(f"{target.name}.*part"):
            if other != partial or remote.sha256 is None:
                other.unlink()
        _receive(remote, partial, file, progress)
        right = remote.sha256 is None or _digest(partial) == remote.sha256
        if right:
            os.replace(partial, target)
        else:
            partial.unlink()
    except (OSError, http.client.HTTPException) as error:
        raise TrainingError(
            "network",
            f"{file} of {name}: {error}",
            "Check the connection and start again: what has arrived is kept. Or name a local folder as the base.",
        ) from error
    if not right:
        raise TrainingError("network", f"{file} of {name}: its SHA-256 is not the Hub's", "Start again.")


def _describe(address: str, file: str) -> _Remote:
    """Size and checksum of a file, as the Hub itself says; redirects to other machines are not followed for this."""
    response, connection, address = _follow("HEAD", address, leave=False)
    connection.close()
    if response.status not in (200, *_REDIRECTS):
        raise OSError(f"the Hub answered {response.status} {response.reason}")
    etag = (response.getheader("X-Linked-Etag") or "").strip('"')
    size = _number(response.getheader("X-Linked-Size"))
    if size is None and response.status == 200:
        size = _number(response.getheader("Content-Length"))
    if size is None or size > (_LARGE_LIMIT if file.endswith(".safetensors") else _SMALL_LIMIT):
        raise OSError("the Hub names no size, or an impossible one")
    return _Remote(address, size, etag if re.fullmatch(r"[0-9a-f]{64}", etag) else None)


def _follow(
    method: str, address: str, leave: bool, start: int = 0
) -> tuple[http.client.HTTPResponse, http.client.HTTPConnection, str]:
    """Ask, following redirects by hand; to another origin only if `leave`, and never with the token."""
    origin = _origin(address)
    for _ in range(6):
        response, connection = _request(method, address, origin, start)
        where = response.getheader("Location")
        if response.status not in _REDIRECTS or not where:
            return response, connection, address
        target = urllib.parse.urljoin(address, where)
        if _origin(target) != origin and not leave:
            return response, connection, address
        connection.close()
        address = target
    raise OSError("too many redirects")


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None


def _receive(remote: _Remote, partial: Path, file: str, progress: Progress) -> None:
    """Bring what the part lacks. Raises OSError; what has arrived is kept."""
    done = partial.stat().st_size if partial.exists() else 0
    if done > remote.size:
        partial.unlink()
        done = 0
    if done == remote.size and partial.exists():
        return
    response, connection, _ = _follow("GET", remote.address, leave=True, start=done)
    try:
        if response.status == 200:  # without a range, or from a server that knows none: all comes
            done = 0
        elif done and (response.status == 416 or (response.status == 206 and not _begins_at(response, done))):
            partial.unlink()  # it does not go on from there: all of it is asked for
            _receive(remote, partial, file, progress)
            return
        elif response.status != 206:
            raise OSError(f"the server answered {response.status} {response.reason}")
        with partial.open("ab" if done else "wb") as out:
            while done < remote.size:
                data = response.read(min(_CHUNK, remote.size - done))
                if not data:
                    raise OSError(f"the connection ended after {done} of {remote.size} bytes")
                out.write(data)
                done += len(data)
                progress(file, done, remote.size)
    finally:
        connection.close()


def _begins_at(response: http.client.HTTPResponse, start: int) -> bool:
    return (response.getheader("Content-Range") or "").startswith(f"bytes {start}-")


def _origin(address: str) -> str:
    parts = urllib.parse.urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}"


def _request(
    method: str, address: str, token_origin: str, start: int
) -> tuple[http.client.HTTPResponse, http.client.HTTPConnection]:
    parts = urllib.parse.urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise OSError(f"not an address: {parts.scheme}://{parts.netloc}")
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        context = ssl.create_default_context()
        connection = http.client.HTTPSConnection(
            parts.hostname, parts.port, timeout=_TIMEOUT_S, context=context
        )
    else:
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=_TIMEOUT_S)
    headers = {"User-Agent": "pairsmith", "Accept-Encoding": "identity"}
    token = os.environ.get("HF_TOKEN")
    if token and token_origin == _origin(address):
        headers["Authorization"] = f"Bearer {token}"
    if start:
        headers["Range"] = f"bytes={start}-"
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    connection.request(method, path, headers=headers)
    return connection.getresponse(), connection


def _digest(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()

"""What the Hub's child process has in common: how it talks to its parent, and how it names what went wrong."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pairsmith.backends.http_errors import hide_keys, server_message
from pairsmith.backends.text import one_line

_EVERY_S = 0.1
_NETWORK = frozenset(
    [
        *("TransportError", "RequestException", "ConnectionError", "InvalidURL", "TimeoutException"),
        *("LocalEntryNotFoundError", "OfflineModeIsEnabled"),
    ]
)
"""By name: huggingface_hub's HTTP library is another one from version to version."""
_QUERY = re.compile(r"(https?://[^\s?'\"]+)\?[^\s'\"]*")


class Refused(Exception):
    """The job cannot be done. `kind` is what the parent makes its message of; `facts` go with it."""

    def __init__(self, kind: str, message: str = "", **facts: Any) -> None:
        super().__init__(message)
        self.kind, self.facts = kind, facts


class Talk:
    """What the child says, one JSON line each; the token is in none of them."""

    def __init__(self, out: int, token: str) -> None:
        self._out, self._token = out, token
        self._told_at = 0.0
        self._late: tuple[str, int, int] | None = None
        self._lock = threading.Lock()

    def step(self, name: str) -> None:
        """A call to the Hub begins."""
        self._say("step", name=name)

    def progress(self, name: str, done: int, total: int) -> None:
        """Bytes so far; said ten times a second at most."""
        now = time.monotonic()
        if done >= total or now - self._told_at >= _EVERY_S:
            self._told_at, self._late = now, None
            self._say("progress", name=name, done=done, total=total)
        elif self._late is None:
            # The last bytes before a silence must be heard of, too.
            self._late = (name, done, total)
            timer = threading.Timer(_EVERY_S, self._tell_late)
            timer.daemon = True
            timer.start()
        else:
            self._late = (name, done, total)

    def _tell_late(self) -> None:
        late, self._late = self._late, None
        if late is not None:
            self._say("progress", name=late[0], done=late[1], total=late[2])

    def note(self, text: str) -> None:
        """Something that the user may want to know: a retry, a wait."""
        self._say("note", text=self.safe(text))

    def done(self, **facts: Any) -> None:
        """The job is done."""
        self._say("done", **facts)

    def failed(self, kind: str, message: str, **facts: Any) -> None:
        """The job failed."""
        self._say("error", kind=kind, message=self.safe(message), **facts)

    def safe(self, text: str) -> str:
        """A text without the token, anything like a key, and the signatures of addresses."""
        if self._token:
            text = text.replace(self._token, "***")
        return one_line(hide_keys(_QUERY.sub(r"\1", text)), 300)

    def _say(self, event: str, **facts: Any) -> None:
        line = json.dumps({"event": event, **facts}).encode() + b"\n"
        with self._lock:
            while line:
                line = line[os.write(self._out, line) :]


def told(error: BaseException) -> tuple[str, str, dict[str, Any]]:
    """(kind, message, facts) of whatever huggingface_hub raised: "status", "network", "disk", "bug"."""
    for one in _causes(error):
        response = getattr(one, "response", None)
        if response is not None and isinstance(getattr(response, "status_code", None), int):
            try:
                body = bytes(response.content[:10_000])
            except Exception:  # a body that was not read
                body = b""
            code = str(response.headers.get("X-Error-Code", ""))[:60]
            return "status", server_message(body), {"status": response.status_code, "code": code}
    for one in reversed(list(_causes(error))):
        if {kind.__name__ for kind in type(one).__mro__} & _NETWORK:
            return "network", str(one) or type(one).__name__, {}
    if isinstance(error, OSError):
        return "disk", error.strerror or str(error), {}
    return "bug", f"{type(error).__name__}: {error}", {}


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, and what it was raised from."""
    found: BaseException | None = error
    for _ in range(10):
        if found is None:
            return
        yield found
        found = found.__cause__


def status_of(error: BaseException) -> int | None:
    """The HTTP status of an error of huggingface_hub, or of what it was raised from; None where there is none."""
    for one in _causes(error):
        status = getattr(getattr(one, "response", None), "status_code", None)
        if isinstance(status, int):
            return status
    return None


def open_api(job: Mapping[str, Any]) -> Any:
    """`huggingface_hub.HfApi` for the job's endpoint and token."""
    import importlib

    # Through importlib, because reading its types costs the type checker minutes.
    hub = importlib.import_module("huggingface_hub")
    return hub.HfApi(endpoint=job["endpoint"], token=token_of(job))


def token_of(job: Mapping[str, Any]) -> str | Literal[False]:
    """The job's token as huggingface_hub takes it; False: without one, whatever login this machine keeps."""
    return job.get("token") or False

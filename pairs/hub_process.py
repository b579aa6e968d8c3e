"""Work on the Hugging Face Hub, done by a child process that is ended where a call takes too long.

The token goes to the child through its standard input: it stands in no environment, no argument and no message.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NoReturn

from pairsmith.backends.http_errors import hide_keys
from pairsmith.backends.text import one_line

from .errors import PairsmithError
from .hub_access import HubAccess

TIMEOUT_S = 60.0
"""How long a call to the Hub may take, and a transfer may go without a further 256 KB."""
_ENOUGH = 256 << 10
_TURN_S = 0.1
_PASSED_ON = frozenset(
    [
        *("HOME", "HOMEDRIVE", "HOMEPATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "LOCALAPPDATA", "APPDATA"),
        *(
            "HTTPS_PROXY",
            "HTTP_PROXY",
            "ALL_PROXY",
            "NO_PROXY",
            "https_proxy",
            "http_proxy",
            "all_proxy",
            "no_proxy",
        ),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
        *("PATH", "PYTHONPATH", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR", "USERPROFILE", "WINDIR"),
    ]
)
_SETTINGS = {
    "HF_HUB_DISABLE_XET": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_UPDATE_CHECK": "1",
    "PYTHONWARNINGS": "ignore",
}
Tell = Callable[[str, int, int], None]
"""Hears (what is done, bytes done, bytes in all)."""
Note = Callable[[str], None]


class HubFailed(PairsmithError):
    """The Hub refused, could not be reached or did not answer. `kind`: the cause; `facts`: what the child said."""

    def __init__(
        self, kind: str, message: str, advice: str = "", facts: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message, advice)
        self.kind, self.facts = kind, dict(facts or {})


def run_job(
    job: Mapping[str, Any],
    access: HubAccess,
    *,
    timeout_s: float = TIMEOUT_S,
    tell: Tell = lambda what, done, total: None,
    note: Note = lambda text: None,
    check: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Do a job of hub_child.py (blocking); its result. What `check` raises ends the child.

    Raises HubFailed: what the child said went wrong ("status", "network", ...), "timeout", "vanished".
    """
    token = access.token.reveal() if access.token is not None else None
    spec = json.dumps({**job, "endpoint": access.endpoint, "token": token}).encode() + b"\n"
    with tempfile.TemporaryDirectory(prefix="pairsmith-hub-") as home, tempfile.TemporaryFile() as errors:
        with _child(access, Path(home), errors) as child:
            assert child.stdin is not None
            with contextlib.suppress(OSError):
                child.stdin.write(spec)
                child.stdin.flush()
            done = _follow(child, timeout_s, tell, note, check)
        if done is None:
            _vanished(child.returncode, errors, access)
        return done


@contextlib.contextmanager
def _child(access: HubAccess, home: Path, errors: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    env = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    # HF_HOME is empty: no cached token, no settings of the user's, nothing left behind.
    env |= {**_SETTINGS, "HF_HOME": str(home), "HF_ENDPOINT": access.endpoint}
    child = subprocess.Popen(
        [sys.executable, "-m", "pairsmith.pairs.hub_child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        env=env,
        start_new_session=True,
    )
    try:
        yield child
    finally:
        child.kill()
        child.wait()
        for stream in (child.stdin, child.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


def _follow(
    child: subprocess.Popen[bytes], timeout_s: float, tell: Tell, note: Note, check: Callable[[], None]
) -> dict[str, Any] | None:
    """Its result; None where it ended without one."""
    events: queue.Queue[dict[str, Any] | None] = queue.Queue()
    threading.Thread(target=_read, args=(child, events), daemon=True).start()
    # The start is not the Hub's: a busy machine may take long for it.
    until = time.monotonic() + max(timeout_s, TIMEOUT_S)
    step, moved = "starting", 0
    noted: list[str] = []
    while True:
        check()
        try:
            event = events.get(timeout=_TURN_S)
        except queue.Empty:
            if time.monotonic() > until:
                raise _too_late(step, noted, timeout_s) from None
            continue
        if event is None:
            child.wait()
            return None
        kind = event.get("event")
        if kind == "step":
            step, noted, moved = one_line(str(event.get("name")), 120), [], 0
            until = time.monotonic() + timeout_s
            tell(step, 0, 0)
        elif kind == "progress":
            done, total = int(event.get("done") or 0), int(event.get("total") or 0)
            if done - moved >= min(_ENOUGH, max(1, total - moved)):
                moved, until = done, time.monotonic() + timeout_s
            tell(one_line(str(event.get("name")), 120), done, total)
        elif kind == "note":
            text = one_line(str(event.get("text")), 200)
            noted = [*noted[-1:], text]
            note(text)
        elif kind == "done":
            return event
        elif kind == "error":
            facts = {name: value for name, value in event.items() if name not in ("event", "kind", "message")}
            said = hide_keys(one_line(str(event.get("message") or ""), 300))
            raise HubFailed(str(event.get("kind")), said, facts=facts)


def _read(child: subprocess.Popen[bytes], events: queue.Queue[dict[str, Any] | None]) -> None:
    assert child.stdout is not None
    with contextlib.suppress(OSError, ValueError):
        for line in child.stdout:
            with contextlib.suppress(ValueError, RecursionError):
                event = json.loads(line)
                if isinstance(event, dict):
                    events.put(event)
    events.put(None)


def _too_late(step: str, noted: Sequence[str], timeout_s: float) -> HubFailed:
    said = f"; last heard: {'; '.join(noted)}" if noted else ""
    return HubFailed(
        "timeout",
        f"the Hub did not answer within {timeout_s:g} s ({step}){said}",
        "Try again: what has arrived is kept; --timeout SECONDS allows more",
    )


def _vanished(code: int, errors: IO[bytes], access: HubAccess) -> NoReturn:
    errors.seek(max(0, errors.seek(0, 2) - 4096))
    lines = errors.read().decode("utf-8", "replace").splitlines()
    last = next((line for line in reversed(lines) if line.strip()), "")
    if access.token is not None:
        last = access.token.redact(last)
    said = f": {one_line(hide_keys(last), 200)}" if last else ""
    raise HubFailed(
        "vanished", f"the process that talks to the Hub ended without a word ({code}){said}", "Try again"
    )


def explained(failed: HubFailed, access: HubAccess, repo: str, *, writing: bool) -> HubFailed:
    """The same failure in the user's words, with what to do about it."""
    message, advice = _explained(failed, access, repo, writing)
    return HubFailed(failed.kind, message, advice, failed.facts)


def _explained(failed: HubFailed, access: HubAccess, repo: str, writing: bool) -> tuple[str, str]:
    said, facts = failed.message, failed.facts
    again = "what has arrived is kept, only the rest is sent" if writing else "what has arrived is kept"
    if failed.kind == "status":
        return _status(
            int(facts.get("status") or 0), said, str(facts.get("code") or ""), access, repo, writing
        )
    name = one_line(str(facts.get("name") or ""), 120)
    return {
        "network": (
            f"no connection to {access.endpoint}: {said}",
            f"Check the network and try again: {again}",
        ),
        "disk": (f"the files of {repo} cannot be kept or read: {said}", "Make room and try again"),
        "read_only": (
            f"the token of {name} may only read",
            f"Make one that may write ({access.tokens_page}) and give it in HF_TOKEN",
        ),
        "taken": (
            f"{repo} is there already and holds files that Pairsmith did not put there",
            "Push to another name: nothing of somebody else's is ever replaced",
        ),
        "visibility": _visibility(facts, repo),
        "ignored": (
            f"the .gitignore of {repo} leaves out {name}",
            "Remove that line on the Hub and push again",
        ),
        "incomplete": (f"after the commit, {name} on {repo} is not what was sent", "Push again"),
        "checksum": (f"{name} of {repo} is not what the Hub says it is (its checksum differs)", "Try again"),
        "busy": (f"another Pairsmith is downloading {repo}", "Wait for it"),
        "vanished": (failed.message, failed.advice or "Try again"),
        "timeout": (failed.message, failed.advice),
        "no_part": (f"{repo}: {said}", "hf:OWNER/NAME:CONFIG/SPLIT says which part is meant"),
    }.get(failed.kind, (f"talking to the Hub failed: {said}", "Try again"))


def _visibility(facts: Mapping[str, Any], repo: str) -> tuple[str, str]:
    if facts.get("private"):
        return (
            f"{repo} is private, and making it public would publish its history too",
            "Push without --public, or to a new name, or change it on its page on the Hub",
        )
    return (
        f"{repo} is public, and you did not say --public",
        "Nothing was uploaded. Push to another name, or say --public and confirm it",
    )


def _status(
    status: int, said: str, code: str, access: HubAccess, repo: str, writing: bool
) -> tuple[str, str]:
    because = f": {said}" if said else ""
    if status == 401 and (writing or access.token is not None):
        return (
            f"the Hub does not take the token (401){because}",
            f"It is wrong or has expired: make a new one ({access.tokens_page}) and give it in HF_TOKEN",
        )
    if code == "GatedRepo" or (status in (401, 403) and not writing):
        return (
            f"{repo} is not open to you ({status}){because}",
            "Accept its terms on its page on the Hub, and give a token of that account in HF_TOKEN",
        )
    if status == 403:
        return (
            f"the token may not write to {repo} (403){because}",
            f"Is the owner right? A token that may write is made on {access.tokens_page}",
        )
    if status == 404:
        what = "no repository" if writing else "no such dataset or revision, or it is private:"
        return (
            f"the Hub knows {what} {repo} (404){because}",
            "Look at the name; HF_TOKEN opens what is private",
        )
    if status in (409, 412):
        return (
            f"{repo} was changed by somebody else meanwhile ({status}){because}",
            "Nothing was replaced. Push again",
        )
    if status == 429:
        return f"the Hub asks to slow down (429){because}", "Try again later: what has arrived is kept"
    if status >= 500:
        return f"the Hub cannot answer now ({status}){because}", "Try again later: what has arrived is kept"
    return f"the Hub refused ({status}){because}", "Look at the repository's page on the Hub"

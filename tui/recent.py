"""Which workspaces were open lately: a small file of state beside nothing that matters. What is wrong with it is
ignored, for it only saves typing."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

MOST = 12


@dataclass(frozen=True, slots=True)
class Recent:
    """A workspace file, what it is about, and when it was opened last (seconds since 1970)."""

    path: Path
    domain: str
    at: float


def recent_path(env: Mapping[str, str]) -> Path:
    """Where the list lies."""
    home = env.get("PAIRSMITH_HOME", "").strip()
    if home:
        return Path(home).expanduser() / "recent.json"
    import platformdirs

    return Path(platformdirs.user_state_dir("pairsmith", appauthor=False)) / "recent.json"


def read_recent(env: Mapping[str, str]) -> list[Recent]:
    """Those that are still there, the newest first (blocking)."""
    found: list[Recent] = []
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
        for entry in json.loads(recent_path(env).read_text(encoding="utf-8")):
            path = Path(str(entry["path"]))
            if path.is_file():
                found.append(Recent(path, str(entry["domain"]), float(entry["at"])))
    return found[:MOST]


def note_opened(env: Mapping[str, str], path: Path, domain: str) -> None:
    """Put a workspace at the head of the list (blocking)."""
    path = path.absolute()
    others = [recent for recent in read_recent(env) if recent.path != path]
    entries = [Recent(path, domain, time.time()), *others][:MOST]
    target = recent_path(env)
    temporary = target.with_name(f".{target.name}.tmp-{os.getpid()}")
    with contextlib.suppress(OSError):
        target.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(
            [{"path": str(r.path), "domain": r.domain, "at": r.at} for r in entries], ensure_ascii=False
        )
        temporary.write_text(text, encoding="utf-8", errors="replace")
        temporary.replace(target)

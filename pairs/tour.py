"""The guided tour: eight steps from a chosen model to one's own at work. What is done is read off the workspace, never
off a script: a step that was done in the shell, or before the tour was begun, is done."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pairsmith.backends.errors import NoSuchModel

from .store.driver import sqlite3
from .store.meta import get_meta, set_meta
from .store.workspace import Workspace
from .surroundings import Surroundings

PAIRS, REVIEWED = 50, 10
KEY, FILES_KEY = "tour", "tuned_files"
_ON, _LEFT = "on", "left"
_PREFIX = "llama-cpp:"
_EMBEDDED = "llama-cpp:embedded"
_OUR_MARK = "pairsmith.prompt_style"
"""A key in the head of every GGUF that our own training exports."""
_MOST_FILES = 20


@dataclass(frozen=True, slots=True)
class Step:
    """One step: the `place` where it is done, what is done (`title`), and what to press there (`how`)."""

    id: str
    place: str
    title: str
    how: str


STEPS = (
    Step("models", "backends", "choose who writes and who judges", "2 Backends: G and J on a model"),
    Step("generate", "generate", f"make {PAIRS} pairs", "4 Generate: g"),
    Step("judge", "generate", "have them scored", "4 Generate: y"),
    Step("review", "review", f"review {REVIEWED} of them", "5 Review: a accepts, r rejects"),
    Step("train", "train", "train a small model on them", "6 Train: a small base (→), then g"),
    Step("evaluate", "evaluate", "measure it against its base", "7 Evaluate: g"),
    Step("export", "export", "write the trained model to a file", "8 Export: m"),
    Step("use", "backends", "let the trained model write", "2 Backends: G on it"),
)


@dataclass(frozen=True, slots=True)
class Tour:
    """How far a workspace is: the ids of the steps that are `done`, and how far the present one is (`said`)."""

    done: frozenset[str]
    said: str = ""
    steps: tuple[Step, ...] = STEPS

    @property
    def present(self) -> Step | None:
        """The first step that is not done; None where all are."""
        return next((step for step in self.steps if step.id not in self.done), None)

    @property
    def number(self) -> int:
        """Of the present step, from 1; the last one's where all are done."""
        step = self.present
        return self.steps.index(step) + 1 if step is not None else len(self.steps)


def is_on(conn: sqlite3.Connection) -> bool:
    """Whether somebody is on the tour with this workspace."""
    return get_meta(conn, KEY) == _ON


def begin_tour(conn: sqlite3.Connection) -> None:
    """Show the tour from now on, on every start."""
    set_meta(conn, KEY, _ON)


def leave_tour(conn: sqlite3.Connection) -> None:
    """Show it no longer; it goes on where it is when it is begun again."""
    set_meta(conn, KEY, _LEFT)


async def read_tour(
    workspace: Workspace, generator: str, judge: str | None, surroundings: Surroundings
) -> Tour:
    """How far the workspace is with these two models. Raises PairsmithError."""
    counts, files = await workspace.aread(lambda conn: (_counts(conn), tuned_files(conn)))
    home = surroundings.settings.home
    writes, own, written = await asyncio.to_thread(
        lambda: (
            _can_write(generator, surroundings.env),
            is_tuned(generator, home),
            any(Path(file).is_file() for file in files),
        )
    )
    done = {
        "models": writes and judge is not None,
        "generate": counts["pairs"] >= PAIRS,
        "judge": counts["pairs"] >= PAIRS and counts["judged"] >= PAIRS,
        "review": counts["decided"] >= REVIEWED,
        "train": counts["trained"] > 0,
        "evaluate": counts["evaluated"] > 0,
        "export": written or own,
        "use": own,
    }
    tour = Tour(frozenset(step for step, is_done in done.items() if is_done))
    return Tour(tour.done, _said(tour.present, counts))


def _said(step: Step | None, counts: Mapping[str, int]) -> str:
    if step is None or step.id not in ("generate", "judge", "review"):
        return ""
    name, most = {"generate": ("pairs", PAIRS), "judge": ("judged", PAIRS), "review": ("decided", REVIEWED)}[
        step.id
    ]
    return f"{counts[name]:,} of {most}"


_COUNTS = {
    "pairs": "SELECT count(*) FROM (SELECT 1 FROM pair WHERE removed = 0 LIMIT ?1)",
    "judged": "SELECT count(*) FROM (SELECT 1 FROM pair WHERE removed = 0"
    " AND EXISTS (SELECT 1 FROM judgement WHERE version_id = pair.version_id) LIMIT ?1)",
    "decided": "SELECT count(*) FROM (SELECT 1 FROM pair"
    " WHERE removed = 0 AND verdict IN ('accepted', 'rejected') AND verdict_by = 'human' LIMIT ?1)",
    "trained": "SELECT count(*) FROM (SELECT 1 FROM run WHERE kind = 'train' AND state = 'done' LIMIT ?1)",
    "evaluated": "SELECT count(*) FROM (SELECT 1 FROM run WHERE kind = 'evaluate' AND state = 'done' LIMIT ?1)",
}


def _counts(conn: sqlite3.Connection) -> dict[str, int]:
    """No further than the tour needs: a workspace may hold a million pairs."""
    return {name: int(conn.execute(query, (PAIRS,)).fetchone()[0]) for name, query in _COUNTS.items()}


def note_tuned_file(conn: sqlite3.Connection, path: Path) -> None:
    """Remember that the trained model was written there."""
    files = [file for file in tuned_files(conn) if file != str(path)]
    set_meta(conn, FILES_KEY, json.dumps([*files, str(path)][-_MOST_FILES:]))


def tuned_files(conn: sqlite3.Connection) -> list[str]:
    """Where trained models of this workspace were written to, the newest last; they may be gone since."""
    try:
        found = json.loads(get_meta(conn, FILES_KEY) or "[]")
    except ValueError:
        return []
    return [file for file in found if isinstance(file, str)] if isinstance(found, list) else []


def is_tuned(spec: str, home: Path) -> bool:
    """Whether BACKEND:MODEL is a GGUF that our own training wrote (blocking)."""
    if not spec.startswith(_PREFIX) or spec == _EMBEDDED:
        return False
    name = spec.removeprefix(_PREFIX)
    path = Path(name).expanduser() if name.endswith(".gguf") else home / "models" / f"{name}.gguf"
    try:
        seen = path.stat()
    except (OSError, ValueError):
        return False
    return _has_our_mark(path, seen.st_mtime_ns, seen.st_size)


@lru_cache(maxsize=16)
def _has_our_mark(path: Path, _changed: int, _size: int) -> bool:
    from pairsmith.backends.llama_cpp.gguf import read_gguf

    try:
        return _OUR_MARK in read_gguf(path).metadata
    except NoSuchModel:
        return False


def _can_write(spec: str, env: Mapping[str, str]) -> bool:
    """Whether the model is more than the default that this copy may lack."""
    if spec != _EMBEDDED:
        return True
    from pairsmith.backends.llama_cpp.catalogue import EMBEDDED, resolve

    try:
        resolve(EMBEDDED, None, env)
    except NoSuchModel:
        return False
    return True

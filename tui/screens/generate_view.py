"""What the Generate place shows at one moment: of the job of this application, or else of the last run on the disk."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pairsmith.pairs.store.driver import sqlite3
from pairsmith.pairs.store.live import Doing, Newest, calls_in_flight, newest_pairs

from .demonstration import in_the_application

if TYPE_CHECKING:
    from pairsmith.backends.pacing import PacerState
    from pairsmith.pairs.ledger import Ledger
    from pairsmith.pairs.store.runs import RunTopic
    from pairsmith.pairs.store.workspace import Workspace

    from ..job_state import JobState
    from ..jobs import Jobs

NEWEST = 40
TOLD = 8


@dataclass(frozen=True, slots=True)
class Fresh:
    """What was read from the store last."""

    run_id: int | None = None
    doing: Sequence[Doing] = ()
    newest: Sequence[Newest] = ()


@dataclass(frozen=True, slots=True)
class View:
    """Everything on the screen. `told`: (seconds ago, kind, text), oldest first."""

    ledger: Ledger
    topics: Sequence[RunTopic] = ()
    status: str = ""
    good: bool | None = None
    """How the status is painted: True well, False wrong, None neither."""
    doing: Sequence[Doing] = ()
    newest: Sequence[Newest] = ()
    pace: PacerState | None = None
    per_minute: float | None = None
    minutes_left: float | None = None
    yields: Sequence[float] = ()
    likeness: Sequence[float] = ()
    told: Sequence[tuple[float, str, str]] = ()
    judging: tuple[int, int | None] | None = None
    at: datetime = field(default_factory=lambda: datetime.now(UTC))


def view_of_job(jobs: Jobs, fresh: Fresh) -> View | None:
    """The job that runs, or that ran last in this application; None where it has no ledger to show."""
    state = jobs.state
    if state is None or state.ledger is None:
        return None
    now = time.monotonic()
    status, good = status_of(jobs, state)
    same = fresh.run_id == state.run_id
    return View(
        state.ledger,
        state.topics,
        status,
        good,
        fresh.doing if same and jobs.running else (),
        fresh.newest if same else (),
        jobs.pace("generator") if jobs.running else None,
        state.per_minute if jobs.running else None,
        state.minutes_left if jobs.running else None,
        tuple(state.yields),
        tuple(state.likeness),
        [(now - told.at, told.kind, told.text) for told in list(state.told)[-TOLD:]],
    )


def status_of(jobs: Jobs, state: JobState) -> tuple[str, bool | None]:
    """Where a job stands and what to press, and whether that is well."""
    if jobs.paused:
        return "Ⅱ paused · p goes on, P stops", None
    if jobs.running:
        waiting = next((told for told in reversed(state.told)), None)
        if waiting is not None and waiting.kind == "waiting" and time.monotonic() - waiting.at < 5:
            return f"… {waiting.text}", None
        return {"stopping": "■ stopping: what is in flight is finished and kept"}.get(
            state.state, "▶ running"
        ), True
    if state.problem:
        return f"✗ {in_the_application(state.problem)} · g goes on, G another generator", False
    return ended_status(state.state, state.reason)


def ended_status(state: str, reason: str) -> tuple[str, bool | None]:
    """How a run that is over is told."""
    if state == "done":
        return "✓ done: every pair that was asked for is there · 5 reviews them", True
    if state == "paused":
        return "Ⅱ stopped by you · g goes on", None
    why = f": {reason}" if reason else ""
    return f"! not done{why} · g goes on", False


def read_fresh(conn: sqlite3.Connection, run_id: int, running: bool) -> Fresh:
    """What a job does not tell of itself."""
    return Fresh(run_id, calls_in_flight(conn, run_id) if running else (), newest_pairs(conn, run_id, NEWEST))


async def view_of_last_run(workspace: Workspace) -> View | None:
    """The last run on the disk; None before the first one."""
    return await workspace.aread(_last_run)


def _last_run(conn: sqlite3.Connection) -> View | None:
    from pairsmith.pairs.ledger import read_ledger
    from pairsmith.pairs.store.runs import list_events, list_runs, run_topics

    runs = list_runs(conn, "generate")
    if not runs:
        return None
    run = runs[0]
    now = datetime.now(UTC)
    status, good = ended_status(run.state if run.state != "running" else "unfinished", run.reason)
    return View(
        read_ledger(conn, run.id),
        run_topics(conn, run.id),
        status,
        good,
        newest=newest_pairs(conn, run.id, NEWEST),
        told=[
            (_since(at, now), kind, text)
            for at, kind, text in list_events(conn, run.id, TOLD)
            if kind != "demonstration"  # said above everything else, with the keys of the application
        ],
    )


def _since(at: str, now: datetime) -> float:
    try:
        return (now - datetime.fromisoformat(at)).total_seconds()
    except (ValueError, TypeError):
        return 0.0

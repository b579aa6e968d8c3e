"""All that is shown of a job, as plain numbers that its events change."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from pairsmith.backends.errors import BackendError
from pairsmith.backends.text import one_line
from pairsmith.pairs.errors import PairsmithError

if TYPE_CHECKING:
    from pairsmith.pairs.events import Event
    from pairsmith.pairs.ledger import Ledger
    from pairsmith.pairs.store.runs import RunTopic

    from .watch import Watch

WINDOW_S = 60.0
JobKind = Literal["generate", "judge", "train", "evaluate"]


@dataclass(slots=True)
class Told:
    """A line that a job told: when (monotonic seconds), of which kind, what."""

    at: float
    kind: str
    text: str


@dataclass(slots=True)
class JobState:
    """All that is shown of a job. `version` grows with every change."""

    kind: JobKind
    watch: Watch | None = None
    run_id: int | None = None
    ledger: Ledger | None = None
    topics: tuple[RunTopic, ...] = ()
    doing: Mapping[str, int] = field(default_factory=dict)
    yields: deque[float] = field(default_factory=lambda: deque(maxlen=60))
    likeness: deque[float] = field(default_factory=lambda: deque(maxlen=60))
    told: deque[Told] = field(default_factory=lambda: deque(maxlen=200))
    judged: tuple[int, int | None] = (0, None)
    judge_failed: int = 0
    state: str = "starting"
    """starting, running, paused, stopping; then done, paused, unfinished or failed."""
    reason: str = ""
    problem: str = ""
    """What stopped it, where that was a failure: a sentence with what to do."""
    over: bool = False
    samples: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=600))
    version: int = 0

    def tell(self, kind: str, text: str) -> None:
        """Add a line."""
        self.told.append(Told(time.monotonic(), kind, one_line(text, 600)))
        self.version += 1

    def note_kept(self, kept: int) -> None:
        """Remember how far it is, for the pace."""
        now = time.monotonic()
        if not self.samples or now - self.samples[-1][0] > 0.2:
            self.samples.append((now, kept))
        while len(self.samples) > 2 and now - self.samples[0][0] > WINDOW_S:
            self.samples.popleft()

    @property
    def per_minute(self) -> float | None:
        """Units a minute over the last one; None before there is anything to go by."""
        if len(self.samples) < 2:
            return None
        (then, before), (now, kept) = self.samples[0], self.samples[-1]
        return (kept - before) / (now - then) * 60 if kept > before and now > then else None

    @property
    def minutes_left(self) -> float | None:
        """Minutes to the end at the present pace."""
        if self.watch is not None:
            return self.watch.minutes_left
        pace = self.per_minute
        done, total = self.progress
        return (
            (total - done) / pace
            if pace and total is not None and done is not None and total > done
            else None
        )

    @property
    def progress(self) -> tuple[int | None, int | None]:
        """Done, and of how many."""
        if self.watch is not None:
            return self.watch.progress
        if self.kind == "judge":
            return self.judged
        return (self.ledger.kept, self.ledger.asked) if self.ledger is not None else (None, None)

    def take(self, event: Event) -> None:
        """Take an event in."""
        from pairsmith.pairs.events import Ended, Judged, Notice, Progress, Started

        if self.watch is not None:
            self.watch.take(event)
            self.run_id = getattr(event, "run_id", self.run_id)
        if isinstance(event, Started):
            self.run_id, self.ledger, self.topics = event.run_id, event.ledger, event.topics
            self.note_kept(event.ledger.kept)
            if event.continued:
                self.tell(
                    "started", f"run {event.run_id} goes on: {event.ledger.kept:,} of {event.ledger.asked:,}"
                )
        elif isinstance(event, Progress):
            self.ledger, self.topics, self.doing = event.ledger, event.topics, event.doing
            self.note_kept(event.ledger.kept)
            if event.recent_yield is not None and (not self.yields or self.yields[-1] != event.recent_yield):
                self.yields.append(event.recent_yield)
            nearest = event.diversity.nearest if event.diversity is not None else None
            if nearest is not None and (not self.likeness or self.likeness[-1] != nearest):
                self.likeness.append(nearest)
        elif isinstance(event, Judged):
            self.judged = (event.done, event.total)
            self.judge_failed += event.reason is not None
            self.note_kept(event.done)
        elif isinstance(event, Notice):
            if event.kind != "demonstration":  # Generate says it above everything else, with its own keys
                self.tell(event.kind, event.text)
        elif isinstance(event, Ended):
            self.run_id, self.state, self.reason = event.run_id, event.state, event.reason
            self.ledger = event.ledger or self.ledger
            self.doing = {}
            if event.error is not None:
                self.fail(event.error)
        self.version += 1

    def fail(self, error: BaseException) -> None:
        """It ended with this error."""
        self.state = "failed" if self.run_id is None else "unfinished"
        text = one_line(str(error), 400) or type(error).__name__
        if not isinstance(error, (PairsmithError, BackendError)):
            text = f"internal error: {type(error).__name__}: {text}"
        self.problem = text
        self.tell("failed", text)

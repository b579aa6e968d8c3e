"""What a job tells whoever watches: the command line and the application consume the same events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .diversity import Meters
from .ledger import Ledger
from .store.runs import RunTopic
from .training_events import TrainingEvent


@dataclass(frozen=True, slots=True)
class Started:
    """A run began, or an unfinished one goes on."""

    run_id: int
    continued: bool
    ledger: Ledger
    topics: tuple[RunTopic, ...] = ()


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a generate run stands; sent a few times a second at most. `doing`: what is in flight, by purpose."""

    ledger: Ledger
    topics: tuple[RunTopic, ...]
    doing: Mapping[str, int] = field(default_factory=dict)
    recent_yield: float | None = None
    """Share of the newest instructions read that survived the sieve."""
    diversity: Meters | None = None
    """What the instructions are like; the share kept is the ledger's `share_kept`."""


@dataclass(frozen=True, slots=True)
class PairKept:
    """A pair is stored and counts."""

    pair_id: int
    topic: str
    instruction: str
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Judged:
    """A judge answered about a pair, or failed (`reason`). `done` of `total` in this run."""

    pair_id: int
    scores: Mapping[str, float]
    reason: str | None
    done: int
    total: int | None


@dataclass(frozen=True, slots=True)
class Notice:
    """Something the user should know: `kind` is exhausted, waiting, switched, topics, failed, memory or a warning's."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The run is over for now. `state` is done, paused or unfinished; `reason` says why it is not done."""

    run_id: int
    state: str
    reason: str
    ledger: Ledger | None = None
    error: Exception | None = None
    """What stopped it, where that was a failure and not a limit or the user."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Judge runs: scored, failed by reason."""


Event = Started | Progress | PairKept | Judged | Notice | Ended | TrainingEvent

"""Where a generate run starts: the run that goes on or begins, its topics with their quotas, what is in progress."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .mending import mend_of
from .quota import ran_dry, share
from .recipes import Exhaustion
from .store.candidates import Candidate, list_candidates
from .store.driver import sqlite3
from .store.runs import (
    plan_topics,
    run_topics,
    set_exhausted,
    set_quotas,
    set_state,
    start_run,
    unfinished_run,
)

_UNREADABLE_LISTS = 10
"""So many lists in a row that cannot be read mean that a topic will give no more."""


@dataclass(frozen=True, slots=True)
class GenerateSettings:
    """What makes a run this run and no other: the same settings continue an unfinished one."""

    pairs: int
    method: str = "topic-tree"
    where: str | None = None
    seed: int | None = None
    examples: str | None = None
    """Self-Instruct: which tasks a prompt shows, where not as the recipe says (examples.py)."""
    refine: bool = False
    """Whether an instruction that breaks a rule which can be mended is rewritten once."""

    def as_json(self) -> dict[str, Any]:
        """For the store; unset ones left out, so that a new field changes no old key."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: value for name, value in values.items() if value is not None and value is not False}


@dataclass(slots=True)
class TopicState:
    """One topic of a running job."""

    id: int
    path: str
    quota: int
    kept: int = 0
    busy: int = 0
    """Candidates that are being answered or judged."""
    waiting: deque[Candidate] = field(default_factory=deque)
    mending: deque[Candidate] = field(default_factory=deque)
    """Candidates that are to be rewritten."""
    listing: bool = False
    exhausted: bool = False
    pruned: bool = False
    """Taken out since the run began: it gets no more of anything, and is exhausted for good."""
    lists: list[tuple[int, int]] = field(default_factory=list)
    """(asked, survived) of each list that could be read."""
    barren: int = 0
    unreadable: int = 0

    @property
    def lacking(self) -> int:
        """How many more instructions it needs than it has."""
        return self.quota - self.kept - self.busy - len(self.waiting) - len(self.mending)

    @property
    def is_short(self) -> bool:
        """Whether it has run dry, has nothing left in the works, and has not kept what it still counted on then."""
        return self.exhausted and self.kept < self.quota and not (self.busy or self.waiting or self.mending)

    @property
    def recent_yield(self) -> float:
        """Share of what the last lists were asked for that survived; 1 before the first."""
        recent = self.lists[-3:]
        asked = sum(a for a, _ in recent)
        return sum(s for _, s in recent) / asked if asked else 1.0

    def note_list(self, asked: int, survived: int) -> None:
        """Remember what a readable list gave."""
        self.lists.append((asked, survived))
        self.unreadable = 0
        self.barren = 0 if survived else self.barren + 1

    def is_dry(self, exhaustion: Exhaustion, calls: int) -> str | None:
        """Why the topic gives no more; None where it may."""
        if self.unreadable >= _UNREADABLE_LISTS:
            return f"{self.unreadable} lists in a row could not be read"
        if ran_dry(self.lists, calls, exhaustion.yield_floor):
            survived = sum(s for _, s in self.lists[-calls:])
            return f"its last {calls} lists gave {survived} new instructions"
        return None


@dataclass(frozen=True, slots=True)
class Plan:
    """A run ready to go."""

    run_id: int
    continued: bool
    topics: dict[int, TopicState]
    unjudged: list[Candidate]
    """Stored pairs that wait for the judge's word."""


def begin_or_continue(conn: sqlite3.Connection, settings: GenerateSettings) -> tuple[int, bool]:
    """The id of the run, and whether it is an unfinished one that goes on."""
    key = settings.as_json()
    run_id = unfinished_run(conn, "generate", key)
    if run_id is None:
        return start_run(conn, "generate", key, settings.pairs), False
    set_state(conn, run_id, "running")
    set_exhausted(conn, run_id, None, False)
    return run_id, True


def plan(
    conn: sqlite3.Connection, run_id: int, continued: bool, topics: Sequence[tuple[int, int | None]]
) -> Plan:
    """Deal the run's quota over its topics and take up what is in progress. `topics`: (id, the user's quota)."""
    asked = int(conn.execute("SELECT asked FROM run WHERE id = ?", (run_id,)).fetchone()[0])
    known = {topic.topic_id for topic in run_topics(conn, run_id)}
    if not known:
        plan_topics(conn, run_id, deal(asked, topics))
    else:
        plan_topics(conn, run_id, {topic: 0 for topic, _ in topics if topic not in known})
        _deal_again(conn, run_id, asked, {topic for topic, _ in topics})
    states = {
        row.topic_id: TopicState(row.topic_id, row.path, row.quota, row.kept)
        for row in run_topics(conn, run_id)
    }
    active = {topic for topic, _ in topics}
    for state in states.values():
        state.pruned = state.exhausted = state.id not in active
    for candidate in list_candidates(conn, run_id, "waiting"):
        assert candidate.topic_id is not None
        state = states[candidate.topic_id]
        (state.waiting if mend_of(candidate) is None else state.mending).append(candidate)
    unjudged = list_candidates(conn, run_id, "answered")
    for candidate in unjudged:
        assert candidate.topic_id is not None
        states[candidate.topic_id].busy += 1
    return Plan(run_id, continued, states, unjudged)


def deal(asked: int, topics: Sequence[tuple[int, int | None]]) -> dict[int, int]:
    """`asked` over topics: by the user's quotas where there are any (a topic without one gets none), else evenly."""
    wanted = {topic: float(quota or 0) for topic, quota in topics}
    return share(asked, wanted)


def _deal_again(conn: sqlite3.Connection, run_id: int, asked: int, active: set[int]) -> None:
    """After an interruption: topics that were pruned meanwhile give up their rest, new ones may take it."""
    rows = run_topics(conn, run_id)
    done = {row.topic_id: row.kept + row.answered for row in rows}
    quotas = {row.topic_id: row.quota if row.topic_id in active else done[row.topic_id] for row in rows}
    rest = asked - sum(quotas.values())
    if rest > 0:
        for topic, extra in share(rest, {t: float(max(1, quotas[t])) for t in quotas if t in active}).items():
            quotas[topic] += extra
    set_quotas(conn, run_id, quotas)

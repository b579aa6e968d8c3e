"""What the parts of a generate job share: the run's topics and tools, what waits for the judge, and what ends it."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

from .events import Progress
from .expressions import Expression
from .generation_plan import GenerateSettings, TopicState
from .job_events import Telling
from .judge_calls import JudgeCalls
from .ledger import read_ledger
from .limits import LimitReached
from .metering import Metering
from .methods import Method, Tools
from .refining import Refiner
from .sieve import Sieve
from .store.candidates import Candidate
from .store.runs import run_topics
from .store.workspace import Workspace


@dataclass(slots=True)
class Stop:
    """Why a run starts nothing more; whatever came first stays."""

    limit: str | None = None
    failure: BaseException | None = None
    stuck: str | None = None
    """So much was lost in a row that more of the same would only cost."""

    def __bool__(self) -> bool:
        return bool(self.limit or self.failure or self.stuck)

    def note(self, error: BaseException) -> None:
        """A piece of work ended with this."""
        if isinstance(error, LimitReached):
            self.limit = self.limit or error.what
        else:
            self.failure = self.failure or error


@dataclass(frozen=True, slots=True)
class ToJudge:
    """A stored pair that waits for the judge. With `candidate`, the judge's word decides whether it counts."""

    pair_id: int
    candidate: Candidate | None = None


@dataclass(frozen=True, slots=True)
class GenerationRun:
    """One start of a run under way. `sifting` is the lock under which the sieve is used."""

    id: int
    workspace: Workspace
    wanted: GenerateSettings
    where: Expression | None
    has_judge: bool
    tools: Tools
    method: Method
    judges: JudgeCalls
    sieve: Sieve
    sifting: asyncio.Lock
    refiner: Refiner
    metering: Metering
    telling: Telling
    stop: Stop
    topics: dict[int, TopicState]
    judging: deque[ToJudge] = field(default_factory=deque)

    async def progress(self, *, now: bool = False) -> Progress:
        """Where the run stands; `now`: with the diversity meters as of this moment."""
        ledger, rows = await self.workspace.aread(
            lambda conn: (read_ledger(conn, self.id), tuple(run_topics(conn, self.id)))
        )
        lists = [pair for topic in self.topics.values() for pair in topic.lists[-3:]]
        asked = sum(a for a, _ in lists)
        recent = sum(s for _, s in lists) / asked if asked else None
        doing = {purpose: count for purpose, count in self.tools.caller.doing.items() if count}
        return Progress(ledger, rows, doing, recent, self.metering.read(now=now))

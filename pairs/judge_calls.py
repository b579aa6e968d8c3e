"""Ask the present judge about one pair: the right requests for its kind, in the books, tried again where it babbles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from pairsmith.backends.errors import BackendError, BadRequest, FieldRejected, NoSuchModel
from pairsmith.backends.protocol import Message, Request

from .calling import Answered, Caller, Door
from .doors import Doors, Opened, Switched, pinned
from .errors import JobStopped
from .judging import (
    Judge,
    JudgeFailed,
    choose_kind,
    expected_requests,
    failed,
    json_request,
    read_expected,
    read_json,
    read_reward,
    reward_request,
    scored,
)
from .rubrics import Rubric
from .store.calls import answered_before
from .store.judgements import Judgement
from .store.pair_rows import Version

if TYPE_CHECKING:
    from .store.driver import sqlite3
    from .store.workspace import Workspace

_TRIES = 3
UNREADABLE = "unreadable score"


@dataclass(frozen=True, slots=True)
class Verdictless:
    """A judgement that is not stored yet, with the calls that led to it, the last of them still open."""

    judgement: Judgement
    call_ids: tuple[int, ...]
    open: tuple[Answered[Any], ...] = ()

    def close(self, conn: sqlite3.Connection) -> None:
        """Book the open calls as useful, in the transaction that stores the judgement."""
        for answered in self.open:
            answered.close(conn)


class JudgeCalls:
    """The judge of a run. The kind of judging is chosen anew for each judge that it is switched to."""

    def __init__(
        self, workspace: Workspace, doors: Doors, caller: Caller, rubric: Rubric, wanted: str = "auto"
    ) -> None:
        self._workspace = workspace
        self._doors = doors
        self._caller = caller
        self._rubric = rubric
        self._wanted = wanted
        self._judges: dict[str, Judge] = {}

    async def judge_of(self, opened: Opened) -> Judge:
        """The judge behind an open door. Raises UsageError where it cannot judge as wanted, BackendError."""
        judge = self._judges.get(opened.spec)
        if judge is None:
            capabilities = await opened.backend.capabilities()
            may_score = self._wanted in ("auto", "expected") and not capabilities.reward_attributes
            if may_score and not capabilities.suffixes_per_score:
                await self._probe(opened)
                capabilities = await opened.backend.capabilities()
            kind = choose_kind(opened.spec, self._wanted, capabilities)
            judge = Judge(
                opened.spec, kind, self._rubric, capabilities.suffixes_per_score, capabilities.begins_answer
            )
            self._judges[opened.spec] = judge
        return judge

    async def _probe(self, opened: Opened) -> None:
        """One token with its probability: servers do not say whether they give any, only an answer shows it."""
        request = Request((Message("user", "Say: ok"),), max_tokens=1, temperature=0.0, top_logprobs=1)
        door = pinned(self._doors, "judge", opened)
        try:
            answered = await self._caller.complete(door, request, purpose="probe", subject=opened.spec)
        except (BackendError, Switched):
            return
        await self._close([answered])

    async def present(self) -> Judge:
        """The judge of now."""
        return await self.judge_of(await self._doors.present("judge"))

    async def ask(self, version: Version, subject: str) -> Verdictless:
        """Judge one version. A judge that fails gives a judgement that says why. Raises JobStopped, LimitReached."""
        rejected = 0
        while True:
            opened = await self._doors.present("judge")
            try:
                judge = await self.judge_of(opened)
            except BackendError as error:
                raise JobStopped(error.message, error.advice) from error
            door = pinned(self._doors, "judge", opened)
            try:
                return await self._ask(judge, opened, door, version, subject)
            except Switched:
                continue
            except JobStopped as stopped:
                raise _with_way_out(stopped, judge) from stopped.__cause__
            except BadRequest as error:
                # The judge is chosen anew: without log-probabilities it may be another kind.
                self._judges.pop(opened.spec, None)
                rejected += 1
                if not isinstance(error, FieldRejected) or rejected > _TRIES:
                    raise JobStopped(error.message, error.advice) from error
            except BackendError as error:
                return Verdictless(failed(judge, f"{error.kind}: {error.message}"), ())

    async def _ask(
        self, judge: Judge, opened: Opened, door: Door, version: Version, subject: str
    ) -> Verdictless:
        if judge.kind == "expected":
            return await self._ask_expected(judge, door, version, subject)
        constrained = (await opened.backend.capabilities()).json_schema
        texts = (version.instruction, version.input, version.output)
        call_ids: list[int] = []
        reason = ""
        for attempt in range(_TRIES if judge.kind == "json" else 2):
            if judge.kind == "reward":
                request = reward_request(*texts)
            else:
                request = json_request(judge, *texts, constrained=constrained)
                if attempt:
                    # At temperature 0 the same question gives the same babble.
                    request = replace(request, temperature=0.3 * attempt, seed=attempt)
            answered = await self._caller.complete(door, request, purpose="judge", subject=subject)
            call_ids.append(answered.call_id)
            try:
                if judge.kind == "reward":
                    judgement = scored(judge, read_reward(answered.answer))
                else:
                    judgement = scored(judge, *read_json(judge, answered.answer))
            except JudgeFailed as error:
                reason = str(error)
                await self._close_unreadable(answered, reason)
            else:
                return Verdictless(judgement, tuple(call_ids), (answered,))
        return Verdictless(failed(judge, reason), tuple(call_ids))

    async def _ask_expected(self, judge: Judge, door: Door, version: Version, subject: str) -> Verdictless:
        answers = []
        call_ids = []
        still_open: list[Answered[Any]] = []
        for number, request in enumerate(
            expected_requests(judge, version.instruction, version.input, version.output)
        ):
            part = f"{subject}/{judge.name}/{judge.rubric_key}/{number}"
            # What an interrupted judging paid for is not asked for again.
            before = await self._workspace.aread(partial(answered_before, purpose="judge", subject=part))
            if before is not None:
                call_ids.append(before[0])
                answers.append(before[1])
                continue
            await self._close(still_open)
            answered = await self._caller.score(door, request, purpose="judge", subject=part)
            still_open = [answered]
            call_ids.append(answered.call_id)
            answers.append(answered.answer)
        try:
            judgement = scored(judge, read_expected(judge, answers))
        except JudgeFailed as error:
            await self._close(still_open, UNREADABLE, str(error))
            return Verdictless(failed(judge, str(error)), tuple(call_ids))
        return Verdictless(judgement, tuple(call_ids), tuple(still_open))

    async def _close(
        self, answers: Sequence[Answered[Any]], failure: str | None = None, detail: str | None = None
    ) -> None:
        for answered in answers:
            await self._workspace.awrite(partial(answered.close, failure=failure, detail=detail))

    async def _close_unreadable(self, answered: Answered[Any], reason: str) -> None:
        await self._close([answered], UNREADABLE, reason)


def _with_way_out(stopped: JobStopped, judge: Judge) -> JobStopped:
    """Where a reward endpoint is gone, name the judge that grades the same attributes. Nothing is switched silently."""
    if judge.kind != "reward" or not isinstance(stopped.__cause__, NoSuchModel):
        return stopped
    way_out = (
        "A rubric judge grades the same five attributes with any chat model:"
        " --judge BACKEND:MODEL --kind expected (or json)"
    )
    return JobStopped(stopped.message, f"{stopped.advice} {way_out}".strip())

"""Ask a judge about answers to the test pairs, one at a time: booked, tried again where it babbles, paid for once.

An answer that cannot be read is counted and asked for again, warmer; when no try can be read the judgement is a failure
with its reason. It is never a number and never left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from pairsmith.backends.errors import BackendError, BadRequest, FieldRejected
from pairsmith.backends.protocol import Backend, Completion, Request
from pairsmith.backends.text import one_line

from .calling import Answered, Caller
from .errors import JobStopped
from .pairwise import Place, combine, compare_prompt, compare_request, read_place
from .reference_score import TRIES, PromptKind, Unreadable, read_score, score_prompt, score_request
from .store.held_out import AnswerJudgement, add_answer_judgement, asked_before, question_key

if TYPE_CHECKING:
    from .store.driver import sqlite3
    from .store.workspace import Workspace

T = TypeVar("T")
UNREADABLE = "unreadable score"


@dataclass(frozen=True, slots=True)
class HeldOut:
    """A pair of the test side, as the run was given it."""

    pair_id: int
    uid: str
    instruction: str
    input: str
    output: str


@dataclass(frozen=True, slots=True)
class _Read(Generic[T]):
    value: T | None
    reason: str
    text: str
    unreadable: int
    open: Answered[Completion] | None

    def close(self, conn: sqlite3.Connection) -> None:
        if self.open is not None:
            self.open.close(conn)


class AnswerJudge:
    """One judge in one evaluation run. `spec` is BACKEND:MODEL as it is stored."""

    def __init__(
        self, workspace: Workspace, run_id: int, caller: Caller, backend: Backend, spec: str, *, explain: bool
    ) -> None:
        self._workspace = workspace
        self._run_id = run_id
        self._caller = caller
        self._backend = backend
        self.spec = spec
        self._explain = explain

    @property
    def kind(self) -> PromptKind:
        """Which of the two prompts is used."""
        return "explained" if self._explain else "integer"

    async def score(self, item: HeldOut, subject: str, answer: str) -> AnswerJudgement:
        """0 to 100 against the reference answer; stored. Raises JobStopped, LimitReached."""
        prompt = score_prompt(self.kind, item.instruction, item.input, item.output, answer)
        question = question_key("score", subject, self.spec, prompt)
        before = await self._workspace.aread(lambda conn: asked_before(conn, self._run_id, question))
        if before is not None:
            return AnswerJudgement(item.pair_id, before[0], None, *before[1:])
        read = await self._ask(
            lambda attempt: score_request(prompt, attempt),
            read_score,
            "judge answer",
            f"{subject} {item.uid}",
        )
        judgement = AnswerJudgement(
            item.pair_id,
            read.value,
            None if read.value is not None else one_line(read.reason, 500),
            read.text if self._explain and read.value is not None else None,
            read.unreadable,
        )
        await self._store(subject, "", self.kind, question, judgement, read)
        return judgement

    async def compare(
        self, item: HeldOut, subject: str, answer: str, against: str, other: str
    ) -> AnswerJudgement:
        """1, 0.5 or 0 for the subject, asked in both orders; stored. Raises JobStopped, LimitReached.

        `explanation` begins with "consistent" or "inconsistent": whether both orders agree.
        """
        texts = (item.instruction, item.input, item.output)
        prompts = (compare_prompt(*texts, answer, other), compare_prompt(*texts, other, answer))
        kind = f"pairwise {self.kind}"
        question = question_key("compare", subject, against, self.spec, kind, *prompts)
        before = await self._workspace.aread(lambda conn: asked_before(conn, self._run_id, question))
        if before is not None:
            return AnswerJudgement(item.pair_id, before[0], None, *before[1:])
        reads: list[_Read[Place]] = []
        for number, prompt in enumerate(prompts):
            read = await self._ask(
                self._comparing(prompt),
                read_place,
                "compare answers",
                f"{subject} against {against} {item.uid}/{number}",
            )
            reads.append(read)
            if read.value is None:
                break
            if number == 0:
                await self._workspace.awrite(read.close)
        judgement = self._combined(item, reads)
        await self._store(subject, against, kind, question, judgement, reads[-1])
        return judgement

    def _comparing(self, prompt: str) -> Callable[[int], Request]:
        return lambda attempt: compare_request(prompt, explain=self._explain, attempt=attempt)

    def _combined(self, item: HeldOut, reads: list[_Read[Place]]) -> AnswerJudgement:
        unreadable = sum(read.unreadable for read in reads)
        first, second = reads[0].value, reads[-1].value
        if len(reads) < 2 or first is None or second is None:
            return AnswerJudgement(item.pair_id, None, one_line(reads[-1].reason, 500), None, unreadable)
        both = combine(first, second)
        said = "consistent" if both.consistent else "inconsistent"
        if self._explain:
            said += "\n\n" + "\n\n---\n\n".join(read.text for read in reads)
        return AnswerJudgement(item.pair_id, both.value, None, said, unreadable)

    async def _ask(
        self, request_of: Callable[[int], Request], read: Callable[[str], T], purpose: str, subject: str
    ) -> _Read[T]:
        unreadable = rejected = 0
        reason = text = ""
        while unreadable < TRIES:
            request = request_of(unreadable)
            try:
                answered = await self._caller.complete(self._door, request, purpose=purpose, subject=subject)
            except FieldRejected as error:
                rejected += 1
                if rejected > TRIES:
                    raise JobStopped(error.message, error.advice) from error
                continue
            except BadRequest as error:
                raise JobStopped(error.message, error.advice) from error
            except BackendError as error:
                return _Read(None, f"{error.kind}: {error.message}", "", unreadable, None)
            text = answered.answer.text
            try:
                return _Read(read(text), "", text, unreadable, answered)
            except Unreadable as error:
                unreadable += 1
                reason = str(error)
                await self._book_unreadable(answered, reason)
        return _Read(None, reason, text, unreadable, None)

    async def _door(self) -> Backend:
        return self._backend

    async def _book_unreadable(self, answered: Answered[Completion], reason: str) -> None:
        await self._workspace.awrite(lambda conn: answered.close(conn, UNREADABLE, reason))

    async def _store(
        self,
        subject: str,
        against: str,
        kind: str,
        question: bytes,
        judgement: AnswerJudgement,
        read: _Read[T] | None = None,
    ) -> None:
        def store(conn: sqlite3.Connection) -> None:
            if read is not None:
                read.close(conn)
            add_answer_judgement(
                conn,
                self._run_id,
                subject=subject,
                against=against,
                judge=self.spec,
                kind=kind,
                question=question,
                judgement=judgement,
            )

        await self._workspace.awrite(store)

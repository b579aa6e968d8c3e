"""A backend answers the instructions of the test pairs, so that our own model can be compared with it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pairsmith.backends.errors import BackendError, BadRequest, FieldRejected
from pairsmith.backends.protocol import Backend, Completion, Message, Request

from .answer_judging import HeldOut
from .calling import Answered as OpenAnswer
from .calling import Caller
from .control import Control
from .errors import JobStopped
from .many import Work, run_many
from .reference_score import SEED, TRIES
from .store.held_out import HeldOutAnswer, add_answers

if TYPE_CHECKING:
    from .store.driver import sqlite3
    from .store.workspace import Workspace


@dataclass(slots=True)
class Answered:
    """What came of it: answers and failures by pair id; `failure` or `limit` where not all were asked."""

    answers: dict[int, str] = field(default_factory=dict)
    failures: dict[int, str] = field(default_factory=dict)
    failure: Exception | None = None
    limit: str = ""


async def answer_all(
    workspace: Workspace,
    run_id: int,
    caller: Caller,
    backend: Backend,
    spec: str,
    items: Sequence[HeldOut],
    *,
    max_tokens: int,
    control: Control,
    told: Callable[[int, int], None],
) -> Answered:
    """Ask for every item, greedily; each answer is stored in the transaction that closes its call.

    `told` hears (asked so far, failed so far).
    """
    outcome = Answered()

    def piece(item: HeldOut) -> Work:
        async def work() -> None:
            try:
                await one(item)
            except BadRequest as error:
                raise JobStopped(error.message, error.advice) from error
            except BackendError as error:
                outcome.failures[item.pair_id] = f"{error.kind}: {error.message}"
            told(len(outcome.answers) + len(outcome.failures), len(outcome.failures))

        return work

    async def one(item: HeldOut) -> None:
        request = answer_request(item.instruction, item.input, max_tokens)
        answered = await _ask(caller, backend, request, f"{spec} {item.uid}")
        text = answered.answer.text.strip()

        def store(conn: sqlite3.Connection) -> None:
            answered.close(conn)
            measures = {"finish_reason": answered.answer.finish_reason}
            kept = HeldOutAnswer(item.pair_id, text, measures, answered.call_id)
            add_answers(conn, run_id, spec, [kept])

        await workspace.awrite(store)
        outcome.answers[item.pair_id] = text

    outcome.failure, outcome.limit = await run_many((piece(item) for item in items), control)
    return outcome


async def _ask(caller: Caller, backend: Backend, request: Request, subject: str) -> OpenAnswer[Completion]:
    async def door() -> Backend:
        return backend

    for _ in range(TRIES - 1):
        # The backend leaves a field that was rejected out from now on.
        with contextlib.suppress(FieldRejected):
            return await caller.complete(door, request, purpose="test answer", subject=subject)
    return await caller.complete(door, request, purpose="test answer", subject=subject)


def answer_request(instruction: str, input_text: str, max_tokens: int) -> Request:
    """The instruction as a person would type it."""
    content = f"{instruction}\n\n{input_text}" if input_text else instruction
    return Request(messages=(Message("user", content),), max_tokens=max_tokens, temperature=0.0, seed=SEED)

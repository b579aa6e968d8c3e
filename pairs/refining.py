"""Rewriting an instruction that breaks a rule which can be mended, once, by the model (`--refine`).

Its candidate waits meanwhile, so that the ledger counts it as in progress; the same text is rewritten only once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, replace

from pairsmith.backends.errors import BackendError
from pairsmith.backends.protocol import Capabilities, Completion, Request

from .calling import Answered
from .generation_plan import TopicState
from .instruction_rules import FILTERED
from .mending import MEND, is_mendable, mend_of, mended_extra, to_be_mended
from .methods import Response, Tools
from .normalise import pair_key
from .sieve import Draft, Sieve
from .store import candidates as candidate_rows
from .store.candidates import Candidate, NewCandidate
from .store.driver import sqlite3
from .topic_tree import read_list, stage_request


@dataclass(frozen=True, slots=True)
class Rewriting:
    """A rewriting whose call is still open; `text` is empty where the model gave none."""

    answered: Answered[Completion]
    text: str


class Refiner:
    """Decides what is rewritten, and has it rewritten. `sifting` is the lock under which the sieve is used."""

    def __init__(self, tools: Tools, sieve: Sieve, sifting: asyncio.Lock, *, wanted: bool) -> None:
        self._tools = tools
        self._sieve = sieve
        self._sifting = sifting
        self._wanted = wanted
        self._sent: set[bytes] = set()

    def know(self, sent: Iterable[tuple[str, str]]) -> None:
        """Take in what was sent to be mended before: (instruction, input)."""
        self._sent.update(pair_key(*one) for one in sent)

    def mark(self, new: NewCandidate) -> NewCandidate:
        """What can be mended waits for that instead of being lost."""
        if not self._may_be_sent(new.instruction, new.input, new.loss):
            return new
        self._sent.add(pair_key(new.instruction, new.input))
        return to_be_mended(new)

    async def send_back(self, topic: TopicState, candidate: Candidate, response: Response) -> bool:
        """Where the response brings to light what can be mended (a missing input), the candidate waits for that and
        true is returned."""
        if candidate.attempts or not self._may_be_sent(candidate.instruction, candidate.input, response.loss):
            return False
        self._sent.add(pair_key(candidate.instruction, candidate.input))
        self._sieve.forget(candidate.instruction, candidate.input)
        extra = {**(candidate.extra or {}), MEND: (response.loss or "").removeprefix(FILTERED)}

        def store(conn: sqlite3.Connection) -> None:
            for answered in response.open:
                answered.close(conn, response.loss, response.detail)
            candidate_rows.set_extra(conn, candidate.id, extra)

        await self._tools.workspace.awrite(store)
        topic.mending.append(replace(candidate, extra=extra))
        return True

    async def mend(self, candidate: Candidate) -> Candidate | None:
        """Have an instruction rewritten and look at it again: the candidate as it waits now, or None where it is lost.

        Raises JobStopped, LimitReached.
        """
        rule = mend_of(candidate)
        try:
            rewriting = await _rewrite(self._tools, candidate)
        except BackendError as error:
            await self._lose(candidate, f"{FILTERED}{rule}", f"the rewriting failed: {error.kind}")
            return None
        if not rewriting.text:
            await self._lose(candidate, f"{FILTERED}{rule}", "the model did not rewrite it", rewriting)
            return None
        extra = mended_extra(candidate)
        async with self._sifting:
            draft = Draft(rewriting.text, candidate.input)
            (fresh,) = await asyncio.to_thread(self._sieve.sift, [draft])
            if fresh.loss is not None:
                detail = f"rewritten for {rule}: {fresh.instruction[:500]}"
                await self._lose(candidate, fresh.loss, detail, rewriting, useful=True)
                return None

            def store(conn: sqlite3.Connection) -> None:
                rewriting.answered.close(conn)
                candidate_rows.rewritten(conn, candidate.id, fresh.instruction, extra)

            await self._tools.workspace.awrite(store)
        return replace(candidate, instruction=fresh.instruction, extra=extra, attempts=candidate.attempts + 1)

    async def _lose(
        self,
        candidate: Candidate,
        loss: str,
        detail: str,
        rewriting: Rewriting | None = None,
        *,
        useful: bool = False,
    ) -> None:
        def store(conn: sqlite3.Connection) -> None:
            if rewriting is not None:
                rewriting.answered.close(conn, None if useful else "no rewriting")
            candidate_rows.lose_rewritten(conn, candidate.id, loss, detail)

        await self._tools.workspace.awrite(store)

    def _may_be_sent(self, instruction: str, input_text: str, loss: str | None) -> bool:
        return self._wanted and is_mendable(loss) and pair_key(instruction, input_text) not in self._sent


async def _rewrite(tools: Tools, candidate: Candidate) -> Rewriting:
    """Ask for the instruction anew. Raises BackendError, JobStopped, LimitReached."""
    values = {
        "domain": tools.domain,
        "language": tools.recipe.language,
        "instruction": candidate.instruction,
        "problem": mend_of(candidate) or "",
    }

    def make(capabilities: Capabilities) -> Request:
        request = stage_request(tools.recipe.rewrite, values)
        if capabilities.chat:
            return request
        return replace(request, messages=(), prompt=f"{request.messages[-1].content}\n\nTask:", stop=("\n",))

    answered = await tools.ask(make, purpose="rewrite", subject=str(candidate.id))
    if answered.answer.finish_reason == "length":
        return Rewriting(answered, "")
    parsed = read_list(answered.answer, 1)
    text = parsed.items[0] if parsed.items else ""
    return Rewriting(answered, text.removeprefix("Task:").strip())

"""How a generate run comes by instructions: lists that the model writes, rewritings, and topics that run dry."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

from pairsmith.backends.errors import BackendError

from .events import Notice
from .generation_plan import TopicState
from .generation_results import dry_text
from .generation_run import GenerationRun
from .mending import mend_of
from .methods import ListWritten
from .quota import list_size, move_rest
from .sieve import Draft
from .store import candidates as candidate_rows
from .store.candidates import Candidate, NewCandidate
from .store.driver import sqlite3
from .store.runs import add_event, set_exhausted, set_quotas


class Lists:
    """Fills the topics of a run."""

    def __init__(self, run: GenerationRun) -> None:
        self._run = run
        recipe = run.tools.recipe
        self._stage = recipe.tasks if run.wanted.method == "self-instruct" else recipe.instructions
        self._exhaustion = recipe.exhaustion
        self._second_round = False

    async def write(self, topic: TopicState) -> None:
        """Have one list written for a topic. Raises JobStopped, LimitReached."""
        run = self._run
        try:
            count = list_size(topic.lacking, self._stage.per_call, topic.recent_yield)
            try:
                written = await run.method.write_list(topic.id, topic.path, count, topic.barren)
            except BackendError as error:
                topic.unreadable += 1
                run.telling.notice("failed", f"{topic.path}: {error}")
            else:
                if written.malformed is not None:
                    topic.unreadable += 1
                    why = written.malformed
                    await run.workspace.awrite(
                        lambda conn: written.answered.close(conn, "malformed list", why)
                    )
                else:
                    async with run.sifting:
                        sifted = await asyncio.to_thread(self._sift, written.drafts)
                        await self._store(topic, written, sifted, written.asked or count)
            await self._look_dry(topic)
        finally:
            topic.listing = False

    async def mend(self, topic: TopicState, candidate: Candidate) -> None:
        """Have an instruction rewritten once, and look at it again. Raises JobStopped, LimitReached."""
        try:
            mended = await self._run.refiner.mend(candidate)
        except BaseException:
            topic.mending.appendleft(candidate)
            raise
        finally:
            topic.busy -= 1
        if mended is not None:
            self._run.tools.meter.add(mended.instruction)
            topic.waiting.append(mended)

    def pass_on(self) -> Coroutine[Any, Any, None] | None:
        """A dry topic whose last instructions were lost has a rest once more: dealt to topics that are not dry. Returns
        the work that stores it; None where there is nothing to deal, or nobody to take it."""
        run = self._run
        late = next((topic for topic in run.topics.values() if topic.is_short), None)
        others = {topic.id: topic for topic in run.topics.values() if not topic.exhausted}
        if late is None or not others:
            return None
        topics = {late.id: late, **others}
        before = {topic.id: topic.quota for topic in topics.values()}
        moved = move_rest(before, {late.id: late.kept}, [late.id])
        why = f"{late.lacking} of its instructions came to nothing since"
        text = dry_text(late, why, before, moved, topics, everywhere=False, again=False)
        for topic_id, quota in moved.items():
            topics[topic_id].quota = quota
        return self._store_quotas(text)

    async def _store_quotas(self, text: str) -> None:
        # Those of now: between dealing and this, another topic may have run dry.
        quotas = {topic.id: topic.quota for topic in self._run.topics.values()}

        def store(conn: sqlite3.Connection) -> None:
            set_quotas(conn, self._run.id, quotas)
            add_event(conn, self._run.id, "exhausted", text)

        await self._run.workspace.awrite(store)
        self._run.telling.put(Notice("exhausted", text))

    def _sift(self, drafts: Sequence[Draft]) -> list[NewCandidate]:
        """Sift and count (blocking)."""
        sifted = self._run.sieve.sift(drafts)
        self._run.metering.count(sifted, self._run.sieve)
        return [self._run.refiner.mark(new) for new in sifted]

    async def _store(
        self, topic: TopicState, written: ListWritten, sifted: list[NewCandidate], asked: int
    ) -> None:
        def store(conn: sqlite3.Connection) -> list[int]:
            written.answered.close(conn)
            return candidate_rows.add_candidates(
                conn, self._run.id, topic.id, written.answered.call_id, sifted
            )

        ids = await self._run.workspace.awrite(store)
        survived = 0
        for candidate_id, new in zip(ids, sifted, strict=True):
            if new.loss is not None:
                continue
            candidate = Candidate(
                candidate_id, topic.id, new.instruction, new.input, "waiting", 0, None, new.extra
            )
            if mend_of(candidate) is not None:
                topic.mending.append(candidate)
                continue
            survived += 1
            topic.waiting.append(candidate)
        topic.note_list(asked, survived)

    async def _look_dry(self, topic: TopicState) -> None:
        """Where a topic gives no more, its rest goes to the others; when all are dry, each gets one more round."""
        topics = self._run.topics
        calls = self._exhaustion.calls
        why = topic.is_dry(self._exhaustion, max(1, calls // 2) if self._second_round else calls)
        # What waits to be rewritten may all fail: it is no reason to go on asking.
        if topic.exhausted or why is None or topic.lacking + len(topic.mending) <= 0:
            return
        topic.exhausted = True
        before = {t.id: t.quota for t in topics.values()}
        dry = [t.id for t in topics.values() if t.exhausted]
        done = {t.id: t.kept + t.busy + len(t.waiting) for t in topics.values()}
        moved = move_rest(before, done, dry)
        everywhere = len(dry) == len(topics)
        again = everywhere and not self._second_round
        text = dry_text(topic, why, before, moved, topics, everywhere=everywhere, again=again)
        for topic_id, quota in moved.items():
            topics[topic_id].quota = quota
        if again:
            self._second_round = True
            for state in topics.values():
                state.exhausted, state.lists, state.unreadable = state.pruned, [], 0

        def store(conn: sqlite3.Connection) -> None:
            set_exhausted(conn, self._run.id, None if again else topic.id, not again)
            set_quotas(conn, self._run.id, moved)
            add_event(conn, self._run.id, "exhausted", text)

        await self._run.workspace.awrite(store)
        self._run.telling.put(Notice("exhausted", text))

"""How a generate run comes from instructions to pairs: the response, and the judge's word on it."""

from __future__ import annotations

from pairsmith.backends.errors import BackendError

from .errors import JobStopped
from .events import PairKept
from .generation_plan import TopicState
from .generation_results import judged_loss, store_response
from .generation_run import GenerationRun, ToJudge
from .judge_calls import Verdictless
from .store import candidates as candidate_rows
from .store.candidates import Candidate
from .store.driver import sqlite3
from .store.judgements import add_judgement
from .store.pair_rows import get_pair
from .store.verdicts import decide

_MOST_UNANSWERED = 50
"""So many responses lost one after the other, and the run stops: more of the same would only cost."""
_MOST_UNPASSED = 200
"""So many pairs in a row that the judge lets not pass."""


class Answers:
    """Answers the candidates of a run and has the pairs judged."""

    def __init__(self, run: GenerationRun) -> None:
        self._run = run
        self._unanswered = 0
        self._unpassed = 0

    async def respond(self, topic: TopicState, candidate: Candidate) -> None:
        """Answer one instruction. Raises JobStopped, LimitReached."""
        run = self._run
        try:
            response = await run.method.respond(candidate, topic.path)
        except BackendError as error:
            topic.busy -= 1
            detail = f"{error.kind}: {error.message}"
            loss = "refused" if error.kind == "refused" else "no answer"
            run.sieve.forget(candidate.instruction, candidate.input)
            await run.workspace.awrite(lambda conn: candidate_rows.lose(conn, candidate.id, loss, detail))
            self._note_unanswered(loss)
            return
        except BaseException:
            topic.busy -= 1
            topic.waiting.appendleft(candidate)
            raise
        if await run.refiner.send_back(topic, candidate, response):
            topic.busy -= 1
            return
        kept = run.where is None
        pair_id = await run.workspace.awrite(
            lambda conn: store_response(conn, run.id, topic.id, candidate, response, kept=kept)
        )
        if pair_id is None:
            topic.busy -= 1
            run.sieve.forget(candidate.instruction, candidate.input)
            self._note_unanswered(response.loss or "exact duplicate")
            return
        self._unanswered = 0
        if kept:
            topic.busy -= 1
            topic.kept += 1
            run.telling.put(PairKept(pair_id, topic.path, candidate.instruction))
        if run.has_judge:
            run.judging.append(ToJudge(pair_id, None if kept else candidate))

    async def judge(self, one: ToJudge) -> None:
        """Score a pair. Raises JobStopped, LimitReached."""
        run, candidate = self._run, one.candidate
        pair = await run.workspace.aread(lambda conn: get_pair(conn, one.pair_id))
        try:
            verdictless = await run.judges.ask(pair.version, f"version {pair.version.id}")
        except BaseException:
            run.judging.appendleft(one)
            raise
        judgement = verdictless.judgement
        scores = {name: score.value for name, score in (judgement.scores or {}).items()}
        loss, detail = None, None
        if candidate is not None:
            assert run.where is not None
            name = run.topics[pair.topic_id or 0].path.rsplit(" › ", 1)[-1]
            try:
                loss, detail = judged_loss(run.where, scores, judgement.reason, name)
            except JobStopped:
                # The pair waits for a judge that fits; what this one said was paid for, so its call is closed.
                await self._store_judged(ToJudge(one.pair_id), verdictless, pair.version.id, None, None)
                run.judging.appendleft(one)
                raise
        await self._store_judged(one, verdictless, pair.version.id, loss, detail)
        if candidate is None:
            return
        topic = run.topics[candidate.topic_id or 0]
        topic.busy -= 1
        self._note_judged(loss)
        if loss is None:
            topic.kept += 1
            run.telling.put(PairKept(one.pair_id, topic.path, pair.instruction, scores))

    async def _store_judged(
        self, one: ToJudge, verdictless: Verdictless, version_id: int, loss: str | None, detail: str | None
    ) -> None:
        run, candidate = self._run, one.candidate

        def store(conn: sqlite3.Connection) -> None:
            verdictless.close(conn)
            add_judgement(
                conn, version_id, verdictless.judgement, run_id=run.id, call_ids=verdictless.call_ids
            )
            if candidate is None:
                return
            if loss is None:
                candidate_rows.keep(conn, candidate.id)
                return
            candidate_rows.lose(conn, candidate.id, loss, detail)
            decide(
                conn,
                [one.pair_id],
                "rejected",
                by="rule",
                rule=f"generate --where {run.wanted.where}",
                reason=loss,
                journalled=False,
            )

        await run.workspace.awrite(store)

    def _note_unanswered(self, loss: str) -> None:
        self._unanswered += 1
        if self._unanswered >= _MOST_UNANSWERED:
            why = f"the last {_MOST_UNANSWERED} responses were lost, the newest as {loss!r}"
            self._run.stop.stuck = self._run.stop.stuck or why

    def _note_judged(self, loss: str | None) -> None:
        self._unpassed = 0 if loss is None else self._unpassed + 1
        if self._unpassed >= _MOST_UNPASSED:
            why = f"the judge let none of the last {_MOST_UNPASSED} pairs pass"
            self._run.stop.stuck = self._run.stop.stuck or why

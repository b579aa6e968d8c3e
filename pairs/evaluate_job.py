"""The evaluate job: answers to the test side of a training run, measured by the child and judged by a backend.

What is measured without another model is the child's (docs/training.md); what needs a backend is done here, booked call
by call, so that an evaluation that was stopped goes on with the same command and pays for nothing twice.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pairsmith.backends.errors import BackendError
from pairsmith.backends.protocol import Backend
from pairsmith.backends.registry import NAMES, Settings, open_backend, parse_spec
from pairsmith.backends.text import one_line

from .answer_judging import AnswerJudge, HeldOut
from .answering import answer_all
from .blind_results import human_ratings
from .calling import Caller
from .control import Control
from .demonstration import check_domain
from .errors import PairsmithError, UsageError
from .evaluate_options import EvaluateOptions as EvaluateOptions
from .evaluate_options import fingerprint
from .evaluation_report import write_report
from .evaluation_statistics import compare_measures, summarise_comparison, summarise_scores
from .events import Ended, Event
from .hub_access import token_for_training
from .job_events import Telling
from .judging_answers import compare_all, score_all
from .limits import Budget
from .reference_score import NUM_CTX
from .store.calls import book_interrupted
from .store.driver import sqlite3
from .store.held_out import AnswerJudgement, HeldOutAnswer, add_answers, answers_of
from .store.joblock import JobLock
from .store.meta import get_meta
from .store.runs import Run, RunState, set_result, set_state, start_run, unfinished_run
from .store.workspace import Workspace
from .subjects import Measuring, Subject, held_out_items, measure
from .training_child import TrainingFailed
from .training_events import Evaluating
from .training_folder import read_items
from .training_runs import find_run, run_folder_of, tuned_model_of
from .workspace_recipe import prices_of

TUNED, BASE = "tuned", "base"
_MOST_QUICK_BYTES = 2 * (NUM_CTX - 1024)


class _Stopped(Exception):
    """The evaluation ends before its end, with this state and reason."""

    def __init__(self, state: RunState, reason: str, error: Exception | None = None) -> None:
        super().__init__(reason)
        self.state: RunState = state
        self.reason, self.error = reason, error


class EvaluateJob:
    """One start of an evaluation. The same options go on with one that was stopped."""

    def __init__(
        self,
        workspace: Workspace,
        settings: Settings,
        options: EvaluateOptions | None = None,
        control: Control | None = None,
    ) -> None:
        self.control = control or Control()
        self._workspace = workspace
        self._settings = settings
        self._options = options or EvaluateOptions()
        self._telling = Telling(workspace)
        self._run_id = 0
        self._result: dict[str, Any] = {}
        self._backends: list[Backend] = []
        self._one_caller: Caller | None = None

    async def events(self) -> AsyncIterator[Event]:
        """Run the job and tell of it; the last event is `Ended`. Raises PairsmithError where it could not begin."""
        async with contextlib.aclosing(self._telling.events_of(self._run())) as told:
            async for event in told:
                yield event

    async def _run(self) -> Ended:
        workspace = self._workspace
        lock = await asyncio.to_thread(JobLock(workspace.path).acquire, "evaluate")
        try:
            train = await workspace.aread(lambda conn: find_run(conn, self._options.run))
            home = self._settings.home
            folder = await asyncio.to_thread(run_folder_of, home, workspace, train)
            await asyncio.to_thread(tuned_model_of, home, workspace, train)
            items = await held_out_items(workspace, folder, may_be_none=self._options.choices is not None)
            against = await self._against(train)
            await self._check_backends(against)
            choices = await asyncio.to_thread(fingerprint, self._options.choices)
            self._run_id = await workspace.awrite(lambda conn: self._begin_run(conn, train, choices))
            self._telling.run_id = self._run_id
            state, reason, error = await self._evaluate(train, folder, items, against)

            def store(conn: sqlite3.Connection) -> None:
                set_state(conn, self._run_id, state, one_line(reason, 1000))
                set_result(conn, self._run_id, self._result)

            await workspace.awrite(store)
            return Ended(self._run_id, state, reason, None, error)
        finally:
            for backend in self._backends:
                await backend.close()
            lock.release()

    async def _evaluate(
        self, train: Run, folder: Path, items: Sequence[HeldOut], against: Run | str | None
    ) -> tuple[RunState, str, Exception | None]:
        try:
            await self._measure(train, folder, items, against)
        except _Stopped as stopped:
            return stopped.state, stopped.reason, stopped.error
        except (PairsmithError, BackendError) as error:
            return "unfinished", str(error), error
        return "done", "", None

    async def _measure(
        self, train: Run, folder: Path, items: Sequence[HeldOut], against: Run | str | None
    ) -> None:
        options = self._options
        self._result = {"train_run": train.id, "train_uid": train.uid, "n": len(items), "subjects": {}}
        tuned = await self._local(folder, TUNED, None, items)
        subjects = [tuned]
        if options.base or against == BASE:
            try:
                subjects.append(await self._local(folder, BASE, BASE, items))
            except TrainingFailed as error:
                if against == BASE:
                    raise
                self._telling.notice("base", f"the base model is not measured: {error}")
        opponent = subjects[-1] if against == BASE else None
        if isinstance(against, Run):
            opponent = await self._other_run(folder, against, items)
        elif isinstance(against, str) and against != BASE:
            opponent = await self._remote(against, items)
        if opponent is not None and opponent not in subjects:
            subjects.append(opponent)
        for other in subjects[1:]:
            if other.items:
                compared = await compare_measures(tuned.items, other.items)
                self._result.setdefault("paired", {})[other.name] = compared
        judge = await self._judge(items, subjects)
        if judge is not None:
            await self._judge_all(judge, items, subjects, train)
            if opponent is not None:
                await self._compare(judge, items, tuned, opponent)
        elif opponent is not None:
            self._telling.notice(
                "judge", "no judge is named: the answers are not compared. Give --judge BACKEND:MODEL"
            )
        human = await human_ratings(self._workspace, train.id)
        if human:
            self._result["human"] = human
        self._result["files"] = await write_report(folder, self._result)

    # ---- what is to be done --------------------------------------------------------------------------------

    async def _against(self, train: Run) -> Run | str | None:
        """Whose answers ours are compared with: a run, "base", or BACKEND:MODEL. Raises UsageError."""
        text = self._options.against
        if text is None or text == BASE:
            return text
        if text.partition(":")[0].strip().lower().replace("_", "-") in NAMES:
            return str(parse_spec(text))
        run = await self._workspace.aread(lambda conn: find_run(conn, text))
        if run.id == train.id:
            raise UsageError(
                f"run {run.id} cannot be compared with itself", "Name another run, or BACKEND:MODEL"
            )
        await asyncio.to_thread(tuned_model_of, self._settings.home, self._workspace, run)
        return run

    async def _check_backends(self, against: Run | str | None) -> None:
        """What would surely fail later fails now: not allowed, no key, no such file, a judge that cannot grade."""
        from pairsmith.backends.preflight import preflight

        specs = [self._options.judge, against if isinstance(against, str) and against != BASE else None]
        for spec in specs:
            if spec is not None:
                await preflight(parse_spec(spec), self._settings)

    def _begin_run(self, conn: sqlite3.Connection, train: Run, choices: str | None) -> int:
        options = self._options
        settings = {
            "train_run": train.uid,
            "judge": options.judge or options.default_judge,
            "explain": options.explain,
            "against": options.against,
            "choices": choices,
            "base": options.base,
            "max_new_tokens": options.max_new_tokens,
        }
        book_interrupted(conn)
        found = unfinished_run(conn, "evaluate", settings)
        if found is None:
            return start_run(conn, "evaluate", settings)
        set_state(conn, found, "running")
        return found

    # ---- answers -------------------------------------------------------------------------------------------

    async def _local(self, folder: Path, name: str, model: str | None, items: Sequence[HeldOut]) -> Subject:
        """Answers of a model that the child runs, measured and stored."""
        options, local_only = self._options, self._workspace.local_only
        token = token_for_training(self._settings.env, local_only=local_only)
        how = Measuring(
            self._settings.home, options.max_new_tokens, options.device, options.choices, local_only, token
        )

        def told(what: str, done: int, total: int) -> None:
            self._telling.put(Evaluating(what, name, done, total))

        measured = await measure(folder, name, model, how, len(items), self.control, told)
        if measured is None:
            raise _Stopped("paused", "stopped by the user")
        report, rows = measured
        by_uid = {item.uid: item.pair_id for item in items}
        answers = [
            HeldOutAnswer(by_uid[str(row["id"])], str(row.get("model_response") or ""), _measures(row))
            for row in rows
            if str(row.get("id")) in by_uid
        ]
        await self._workspace.awrite(lambda conn: add_answers(conn, self._run_id, name, answers))
        self._result["subjects"][name] = report
        return Subject(name, {answer.pair_id: answer.text for answer in answers}, rows, report)

    async def _other_run(self, folder: Path, run: Run, items: Sequence[HeldOut]) -> Subject:
        model = tuned_model_of(self._settings.home, self._workspace, run)
        seen = await asyncio.to_thread(read_items, model.parent / "train.jsonl")
        leaked = {str(row.get("id")) for row in seen} & {item.uid for item in items}
        if leaked:
            self._telling.notice(
                "leak", f"run {run.id} was trained on {len(leaked)} of these test pairs: it knows them"
            )
        return await self._local(folder, f"run {run.id}", str(model), items)

    async def _remote(self, spec: str, items: Sequence[HeldOut]) -> Subject:
        """Answers of a backend to the instructions of the test pairs, stored as they come."""
        kept = await self._workspace.aread(lambda conn: answers_of(conn, self._run_id, spec))
        subject = Subject(spec, {pair: answer.text for pair, answer in kept.items()})
        open_items = [item for item in items if item.pair_id not in subject.answers]
        backend = self._open(spec)
        caller = await self._caller()

        def told(done: int, failed: int) -> None:
            self._telling.put(Evaluating("answering", spec, len(kept) + done, len(items), failed))

        outcome = await answer_all(
            self._workspace,
            self._run_id,
            caller,
            backend,
            spec,
            open_items,
            max_tokens=self._options.max_new_tokens,
            control=self.control,
            told=told,
        )
        subject.answers |= outcome.answers
        subject.failures = outcome.failures
        self._result["subjects"][spec] = {
            "n": len(items),
            "answered": len(subject.answers),
            "failed": len(subject.failures),
            "failures": sorted(set(subject.failures.values()))[:10],
        }
        self._check_stop(outcome.failure, outcome.limit)
        return subject

    # ---- judging -------------------------------------------------------------------------------------------

    async def _judge(self, items: Sequence[HeldOut], subjects: Sequence[Subject]) -> AnswerJudge | None:
        """The judge of this evaluation; None where none is named, or the usual one cannot grade."""
        options = self._options
        spec = options.judge or options.default_judge
        if spec is None or not items:
            return None
        settings = self._settings
        longest = max(
            (len(f"{item.instruction}{item.input}{item.output}{subject.answers.get(item.pair_id, '')}".encode())
             for item in items for subject in subjects),
            default=0,
        )  # fmt: skip
        if spec.startswith("ollama:") and settings.n_ctx is None and longest + 500 < _MOST_QUICK_BYTES:
            settings = replace(settings, n_ctx=NUM_CTX)
        try:
            check_domain(spec, await self._workspace.aread(lambda conn: get_meta(conn, "domain") or ""))
            backend = self._open(spec, settings)
            capabilities = await backend.capabilities()
            if capabilities.reward_attributes:
                raise UsageError(
                    f"{spec} is a reward model: it cannot grade against a reference answer",
                    "Give --judge BACKEND:MODEL with a chat model",
                )
        except (BackendError, UsageError) as error:
            if options.judge is not None:
                raise
            self._telling.notice("judge", f"not judged: {error}")
            return None
        return AnswerJudge(
            self._workspace, self._run_id, await self._caller(), backend, spec, explain=options.explain
        )

    async def _judge_all(
        self, judge: AnswerJudge, items: Sequence[HeldOut], subjects: Sequence[Subject], train: Run
    ) -> None:
        judged: dict[str, list[AnswerJudgement]] = {}
        for subject in subjects:
            found = await score_all(
                judge, items, subject, self.control, self._progress_of("judging", subject, len(items))
            )
            self._check_stop(found.failure, found.limit)
            judged[subject.name] = found.judgements
        scores = await summarise_scores(judged, {item.pair_id: item.uid for item in items})
        self._result["judge"] = {"judge": judge.spec, "prompt": judge.kind, **scores}
        self._add_parity_score(train, scores["subjects"][subjects[0].name]["mean"])

    def _add_parity_score(self, train: Run, mean: float | None) -> None:
        table = (train.result or {}).get("table")
        if not isinstance(table, list) or self._options.explain:
            return
        rows = [dict(row) for row in table]
        for row in rows:
            if row.get("figure") == "judge score" and mean is not None:
                row |= {"ours": mean, "difference": round(mean - row["published"], 6)}
        self._result["table"] = rows

    async def _compare(
        self, judge: AnswerJudge, items: Sequence[HeldOut], tuned: Subject, other: Subject
    ) -> None:
        told = self._progress_of("comparing", other, len(items))
        found = await compare_all(judge, items, tuned, other, self.control, told)
        self._check_stop(found.failure, found.limit)
        summary = await summarise_comparison(found.judgements, {item.pair_id: item.uid for item in items})
        who = {"judge": judge.spec, "subject": tuned.name, "against": other.name}
        self._result["pairwise"] = {**who, **summary}

    def _progress_of(self, what: str, subject: Subject, total: int) -> Callable[[int, int], None]:
        return lambda done, failed: self._telling.put(Evaluating(what, subject.name, done, total, failed))

    def _check_stop(self, failure: Exception | None, limit: str) -> None:
        """Raises _Stopped where not all of the work was done."""
        if failure is not None:
            raise _Stopped("unfinished", str(failure), failure)
        if self.control.stopping:
            raise _Stopped("paused", "stopped by the user")
        if limit:
            raise _Stopped("unfinished", f"the limit of {limit} is reached")

    # ---- tools ---------------------------------------------------------------------------------------------

    def _open(self, spec: str, settings: Settings | None = None) -> Backend:
        backend = open_backend(parse_spec(spec), settings or self._settings)
        self._backends.append(backend)
        return backend

    async def _caller(self) -> Caller:
        if self._one_caller is None:
            self._one_caller = Caller(
                self._workspace,
                self._run_id,
                Budget(self._options.limits),
                self._settings,
                prices=await self._workspace.aread(prices_of),
                patience_s=self._options.patience_s,
                on_wait=lambda text: self._telling.notice("waiting", text),
                control=self.control,
            )
        return self._one_caller


def _measures(row: Mapping[str, Any]) -> dict[str, Any]:
    texts = ("id", "instruction", "input", "output", "model_response")
    return {name: value for name, value in row.items() if name not in texts}

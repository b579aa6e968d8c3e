"""The evaluate job: answers to the test side of a training run, measured by the child and judged by a backend.

What is measured without another model is the child's (docs/training.md); what needs a backend is done here, booked call
by call, so that an evaluation that was stopped goes on with the same command and pays for nothing twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pairsmith.backends.errors import BackendError
from pairsmith.backends.protocol import Backend
from pairsmith.backends.registry import NAMES, Settings, open_backend, parse_spec
from pairsmith.backends.text import one_line

from .answer_judging import AnswerJudge, HeldOut
from .answering import answer_all
from .calling import Caller
from .control import Control
from .errors import PairsmithError, UsageError
from .evaluation_report import write_report
from .evaluation_statistics import compare_measures, summarise_comparison, summarise_scores
from .events import Ended, Event, Notice
from .limits import Budget, Limits
from .many import Work, run_many
from .recipes import read_recipe
from .reference_score import NUM_CTX
from .store.calls import book_interrupted
from .store.driver import sqlite3
from .store.held_out import AnswerJudgement, HeldOutAnswer, add_answers, answers_of, pairs_by_uid
from .store.joblock import JobLock
from .store.meta import get_meta
from .store.runs import Run, RunState, add_event, set_result, set_state, start_run, unfinished_run
from .store.workspace import Workspace
from .training_child import TrainingChild, models_folder
from .training_events import Evaluating
from .training_folder import read_items
from .training_runs import find_run, run_folder_of, tuned_model_of

TUNED, BASE = "tuned", "base"
_MOST_QUICK_BYTES = 2 * (NUM_CTX - 1024)


@dataclass(frozen=True, slots=True)
class EvaluateOptions:
    """What to measure. `run`: number or uid of a training run (None: the newest that is done).

    `judge`: BACKEND:MODEL that must judge; `default_judge`: the one of workspace or user, left out with a notice where
    it cannot grade. `against`: BACKEND:MODEL, another training run, or "base". `explain`: the prompt with an
    explanation instead of the integer alone.
    """

    run: str | None = None
    judge: str | None = None
    default_judge: str | None = None
    explain: bool = False
    against: str | None = None
    choices: Path | None = None
    base: bool = True
    max_new_tokens: int = 256
    device: str = "auto"
    limits: Limits = field(default_factory=Limits)
    patience_s: float = 300.0


@dataclass(slots=True)
class _Subject:
    """Somebody whose answers are measured."""

    name: str
    answers: dict[int, str] = field(default_factory=dict)
    items: list[dict[str, Any]] = field(default_factory=list)
    report: dict[str, Any] = field(default_factory=dict)
    failures: dict[int, str] = field(default_factory=dict)


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
        self._queue: asyncio.Queue[Event] = asyncio.Queue()
        self._run_id = 0
        self._result: dict[str, Any] = {}
        self._backends: list[Backend] = []

    async def events(self) -> AsyncIterator[Event]:
        """Run the job and tell of it; the last event is `Ended`. Raises PairsmithError where it could not begin."""
        runner = asyncio.create_task(self._run())
        try:
            while not runner.done():
                getter = asyncio.create_task(self._queue.get())
                await asyncio.wait({runner, getter}, return_when=asyncio.FIRST_COMPLETED)
                if getter.done():
                    yield getter.result()
                else:
                    getter.cancel()
            while not self._queue.empty():
                yield self._queue.get_nowait()
            yield runner.result()
        finally:
            if not runner.done():
                runner.cancel()
                with contextlib.suppress(asyncio.CancelledError, Exception):
                    await runner

    async def _run(self) -> Ended:
        workspace = self._workspace
        lock = await asyncio.to_thread(JobLock(workspace.path).acquire, "evaluate")
        try:
            train = await workspace.aread(lambda conn: find_run(conn, self._options.run))
            home = self._settings.home
            folder = await asyncio.to_thread(run_folder_of, home, workspace, train)
            await asyncio.to_thread(tuned_model_of, home, workspace, train)
            items = await self._items(folder)
            against = await self._against(train)
            await self._check_backends(against)
            self._run_id = await workspace.awrite(lambda conn: self._begin_run(conn, train))
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
            subjects.append(await self._local(folder, BASE, BASE, items))
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
            self._notice(
                "judge", "no judge is named: the answers are not compared. Give --judge BACKEND:MODEL"
            )
        self._result["files"] = await write_report(folder, self._result)

    # ---- what is to be done --------------------------------------------------------------------------------

    async def _items(self, folder: Path) -> list[HeldOut]:
        try:
            rows = await asyncio.to_thread(read_items, folder / "test.jsonl")
        except (OSError, ValueError) as error:
            raise PairsmithError(f"the run's test.jsonl cannot be read: {one_line(str(error))}") from error
        if not rows and self._options.choices is None:
            raise PairsmithError(
                "the run has no test pairs: its data set was too small",
                "Train on more pairs, or give --choices FILE",
            )
        uids = [str(row.get("id")) for row in rows]
        known = await self._workspace.aread(lambda conn: pairs_by_uid(conn, uids))
        missing = len(rows) - len(known)
        if missing:
            raise PairsmithError(f"{missing} test pairs of this run are not in this workspace", "Train again")
        texts = ("instruction", "input", "output")
        return [
            HeldOut(known[uid], uid, *(str(row.get(name) or "") for name in texts))
            for uid, row in zip(uids, rows, strict=True)
        ]

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

    def _begin_run(self, conn: sqlite3.Connection, train: Run) -> int:
        options = self._options
        choices = None
        if options.choices is not None:
            choices = hashlib.sha256(str(options.choices.absolute()).encode()).hexdigest()
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

    async def _local(self, folder: Path, name: str, model: str | None, items: Sequence[HeldOut]) -> _Subject:
        """Answers of a model that the child runs, measured; taken from its files where they are there already."""
        report_path = folder / "evaluation" / f"{_file_name(name)}.json"
        report = await asyncio.to_thread(self._kept, report_path, folder, len(items))
        if report is None:
            report = await self._ask_child(folder, name, model, len(items))
        rows = await asyncio.to_thread(read_items, report_path.with_suffix(".jsonl"))
        by_uid = {item.uid: item.pair_id for item in items}
        answers = [
            HeldOutAnswer(by_uid[str(row["id"])], str(row.get("model_response") or ""), _measures(row))
            for row in rows
            if str(row.get("id")) in by_uid
        ]
        await self._workspace.awrite(lambda conn: add_answers(conn, self._run_id, name, answers))
        self._result["subjects"][name] = report
        return _Subject(name, {answer.pair_id: answer.text for answer in answers}, rows, report)

    def _kept(self, path: Path, folder: Path, count: int) -> dict[str, Any] | None:
        """The report of an earlier evaluation of the same model with the same settings."""
        import json

        if self._options.choices is not None:
            return None
        try:
            if path.stat().st_mtime < (folder / "model" / "model.safetensors").stat().st_mtime:
                return None
            report = json.loads(path.read_text(encoding="utf-8"))
            same = (
                report["n"] == count
                and report["generation"]["max_new_tokens"] == self._options.max_new_tokens
                and report["generation"]["temperature"] == 0
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return report if same else None

    async def _ask_child(self, folder: Path, name: str, model: str | None, total: int) -> dict[str, Any]:
        options = self._options
        arguments: list[object] = ["evaluate", folder, "--parent-pipe", "--name", _file_name(name)]
        arguments += [*(["--model", model] if model else []), "--device", options.device]
        arguments += [
            "--models-dir",
            models_folder(self._settings.home),
            "--max-new-tokens",
            options.max_new_tokens,
        ]
        arguments += ["--choices", options.choices] if options.choices else []
        arguments += ["--offline"] if self._workspace.local_only else []
        token = None if self._workspace.local_only else self._settings.env.get("HF_TOKEN")
        child = TrainingChild(arguments, token=token or None)
        report: dict[str, Any] = {}
        stopping = asyncio.create_task(self._stop_child(child))
        try:
            async with contextlib.aclosing(child.events()) as events:
                async for event in events:
                    if event["event"] == "progress" and event.get("unit") in ("responses", "questions"):
                        what = "answering" if event["unit"] == "responses" else "choosing"
                        done, total = int(event.get("done") or 0), int(event.get("total") or total)
                        self._queue.put_nowait(Evaluating(what, name, done, total))
                    elif event["event"] == "done" and isinstance(event.get("report"), dict):
                        report = event["report"]
        finally:
            stopping.cancel()
        if not report:
            raise _Stopped("paused", "stopped by the user")
        return report

    async def _stop_child(self, child: TrainingChild) -> None:
        while not self.control.stopping:
            await self.control.change()
        await child.send("cancel")

    async def _other_run(self, folder: Path, run: Run, items: Sequence[HeldOut]) -> _Subject:
        model = tuned_model_of(self._settings.home, self._workspace, run)
        seen = await asyncio.to_thread(read_items, model.parent / "train.jsonl")
        leaked = {str(row.get("id")) for row in seen} & {item.uid for item in items}
        if leaked:
            self._notice(
                "leak", f"run {run.id} was trained on {len(leaked)} of these test pairs: it knows them"
            )
        return await self._local(folder, f"run {run.id}", str(model), items)

    async def _remote(self, spec: str, items: Sequence[HeldOut]) -> _Subject:
        """Answers of a backend to the instructions of the test pairs, stored as they come."""
        kept = await self._workspace.aread(lambda conn: answers_of(conn, self._run_id, spec))
        subject = _Subject(spec, {pair: answer.text for pair, answer in kept.items()})
        open_items = [item for item in items if item.pair_id not in subject.answers]
        backend = self._open(spec)
        caller = await self._caller()

        def told(done: int, failed: int) -> None:
            self._queue.put_nowait(Evaluating("answering", spec, len(kept) + done, len(items), failed))

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

    async def _judge(self, items: Sequence[HeldOut], subjects: Sequence[_Subject]) -> AnswerJudge | None:
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
            self._notice("judge", f"not judged: {error}")
            return None
        return AnswerJudge(
            self._workspace, self._run_id, await self._caller(), backend, spec, explain=options.explain
        )

    async def _judge_all(
        self, judge: AnswerJudge, items: Sequence[HeldOut], subjects: Sequence[_Subject], train: Run
    ) -> None:
        judged: dict[str, list[AnswerJudgement]] = {}
        for subject in subjects:
            judged[subject.name] = await self._work_through(
                "judging", subject, items, lambda item, subject=subject: self._score_one(judge, item, subject)
            )
        uids = {item.pair_id: item.uid for item in items}
        scores = await summarise_scores(judged, uids)
        self._result["judge"] = {"judge": judge.spec, "prompt": judge.kind, **scores}
        self._add_parity_score(train, scores["subjects"][subjects[0].name]["mean"])

    async def _score_one(self, judge: AnswerJudge, item: HeldOut, subject: _Subject) -> AnswerJudgement:
        if item.pair_id not in subject.answers:
            reason = f"no answer: {subject.failures.get(item.pair_id, 'none was given')}"
            return AnswerJudgement(item.pair_id, None, reason, None)
        return await judge.score(item, subject.name, subject.answers[item.pair_id])

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
        self, judge: AnswerJudge, items: Sequence[HeldOut], tuned: _Subject, other: _Subject
    ) -> None:
        async def one(item: HeldOut) -> AnswerJudgement:
            missing = item.pair_id not in other.answers or item.pair_id not in tuned.answers
            if missing:
                reason = f"no answer: {other.failures.get(item.pair_id, 'none was given')}"
                return AnswerJudgement(item.pair_id, None, reason, None)
            texts = (tuned.answers[item.pair_id], other.answers[item.pair_id])
            return await judge.compare(item, tuned.name, texts[0], other.name, texts[1])

        judged = await self._work_through("comparing", other, items, one)
        summary = await summarise_comparison(judged, {item.pair_id: item.uid for item in items})
        self._result["pairwise"] = {
            "judge": judge.spec,
            "subject": tuned.name,
            "against": other.name,
            **summary,
        }

    async def _work_through(
        self, what: str, subject: _Subject, items: Sequence[HeldOut], judge_one: Any
    ) -> list[AnswerJudgement]:
        judged: dict[int, AnswerJudgement] = {}

        def piece(item: HeldOut) -> Work:
            async def work() -> None:
                judged[item.pair_id] = await judge_one(item)
                failed = sum(one.value is None for one in judged.values())
                self._queue.put_nowait(Evaluating(what, subject.name, len(judged), len(items), failed))

            return work

        failure, limit = await run_many((piece(item) for item in items), self.control)
        self._check_stop(failure, limit)
        return [judged[item.pair_id] for item in items]

    def _check_stop(self, failure: Exception | None, limit: str) -> None:
        """Raises _Stopped where not all of the work was done."""
        if failure is not None:
            raise _Stopped("unfinished", str(failure), failure)
        if limit:
            raise _Stopped("unfinished", f"the limit of {limit} is reached")
        if self.control.stopping:
            raise _Stopped("paused", "stopped by the user")

    # ---- tools ---------------------------------------------------------------------------------------------

    def _open(self, spec: str, settings: Settings | None = None) -> Backend:
        backend = open_backend(parse_spec(spec), settings or self._settings)
        self._backends.append(backend)
        return backend

    async def _caller(self) -> Caller:
        if not hasattr(self, "_one_caller"):
            text = await self._workspace.aread(lambda conn: get_meta(conn, "recipe"))
            prices = read_recipe(text, "the workspace's recipe").prices if text else {}
            self._one_caller = Caller(
                self._workspace,
                self._run_id,
                Budget(self._options.limits),
                self._settings,
                prices=prices,
                money_limited=self._options.limits.cost is not None,
                patience_s=self._options.patience_s,
                on_wait=lambda text: self._notice("waiting", text),
            )
        return self._one_caller

    def _notice(self, kind: str, text: str) -> None:
        self._queue.put_nowait(Notice(kind, text))
        run_id = self._run_id
        task = asyncio.ensure_future(self._workspace.awrite(lambda conn: add_event(conn, run_id, kind, text)))
        task.add_done_callback(lambda done: done.exception())


def _file_name(subject: str) -> str:
    return subject.replace(" ", "-")


def _measures(row: Mapping[str, Any]) -> dict[str, Any]:
    texts = ("id", "instruction", "input", "output", "model_response")
    return {name: value for name, value in row.items() if name not in texts}

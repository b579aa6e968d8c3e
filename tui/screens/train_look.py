"""What Train knows before anything is spent: pairs and runs from the store; devices, steps and memory from a child."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pairsmith.backends.errors import BackendError
from pairsmith.pairs.chosen_pairs import choose_pairs, count_verdicts_of, verdicts_said
from pairsmith.pairs.demonstration import is_demonstration
from pairsmith.pairs.errors import PairsmithError
from pairsmith.pairs.store.driver import sqlite3
from pairsmith.pairs.store.runs import Run, list_runs
from pairsmith.pairs.training_settings import TrainSettings

from ..widgets.meters import duration
from ..working import begin
from .job_place import JobPlace
from .train_form import estimate_said, start_settings, with_base
from .train_runs import Past
from .train_watch import TrainWatch, result_of_run

SHOWN_RUNS = 50


class TrainLook(JobPlace):
    """See the module. What is drawn of it is in train.py."""

    PLACE = "train"
    JOB = "train"
    LOOK_AFTER_S: ClassVar[float] = 1.0
    """How long the settings must stand before a child is asked what they come to."""

    def __init__(self) -> None:
        super().__init__()
        self.chosen: TrainSettings = start_settings(None)
        self.device = "auto"
        self._devices: Sequence[Mapping[str, Any]] | None = None
        self._pairs = ""
        self._estimate: list[str] = []
        self._problem = ""
        self._past: list[Past] = []
        self._read = False

    @property
    def _watch(self) -> TrainWatch | None:
        watch = None if self._state is None else self._state.watch
        return watch if isinstance(watch, TrainWatch) else None

    @property
    def _training(self) -> bool:
        return self.application.jobs.running and self._watch is not None

    def choose_base(self, base: str) -> None:
        """Take another base, and look ahead again; a training that was begun keeps its own."""
        if not self._training:
            self.chosen = with_base(self.chosen, base)
            self._look()

    def on_screen_suspend(self) -> None:
        """Nobody waits for an estimate any more."""
        self.workers.cancel_group(self, "look")

    def job_ended(self) -> None:
        """Read what the run left."""
        begin(self, self._read_stored, group="stored")

    async def _read_stored(self) -> None:
        workspace, untouched = self.session.workspace, self.chosen
        if workspace is None:
            return
        try:
            runs = (await workspace.aread(lambda conn: list_runs(conn, "train")))[:SHOWN_RUNS]
            home = (await self.session.backend_settings()).home
        except (PairsmithError, BackendError) as error:
            self.notify(str(error), severity="error")
            return

        def read() -> list[Past]:
            return [Past(run, result_of_run(home, workspace.id, run), self._runs_now(run)) for run in runs]

        self._past = await asyncio.to_thread(read)
        if not self._read:
            self._read = True
            first = self._past[0].run if self._past else None
            if self.session.embedded is None:
                await self.session.read_makers()
            small = is_demonstration(self.session.generator) and bool(self.session.embedded)
            chosen = start_settings(first, small=small)
            # What somebody chose while this was read stays.
            if self.chosen is untouched and chosen != untouched:
                self.chosen = chosen
                self._look()
        self.paint()

    def _runs_now(self, run: Run) -> bool:
        return self._training and self._state is not None and self._state.run_id == run.id

    def _look(self) -> None:
        """Count now; ask a child for the rest when the settings stand for a while."""
        self._estimate, self._problem = [], ""
        self.paint()
        begin(self, self._looked, group="look")

    async def _looked(self) -> None:
        workspace, chosen, judge = self.session.workspace, self.chosen, self.session.judge
        if workspace is None:
            return

        def count(conn: sqlite3.Connection) -> str:
            ids = choose_pairs(conn, chosen.verdict, chosen.where, judge).ids
            return verdicts_said(len(ids), count_verdicts_of(conn, ids))

        try:
            self._pairs = await workspace.aread(count)
            self.paint()
            await asyncio.sleep(self.LOOK_AFTER_S)
            if self.application.jobs.running:
                return
            if self._devices is None:
                await self._find_devices()
            from pairsmith.pairs.training_preview import estimate

            settings = await self.session.backend_settings()
            looked = TrainSettings(
                chosen.base, chosen.verdict, chosen.where, {**chosen.config, "device": self.device}
            )
            done, choice = await estimate(workspace, settings, looked, judge)
            self._estimate = estimate_said(done, choice.counts()) + self._time_said(done)
        except (PairsmithError, BackendError, OSError) as error:
            self._problem = str(error)
        self.paint()

    async def _find_devices(self) -> None:
        from pairsmith.pairs.training_child import run_verb

        found = (await run_verb(["devices"])).get("devices")
        self._devices = [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
        self.paint()

    def _time_said(self, done: Mapping[str, Any]) -> list[str]:
        """How long it takes, by the pace of an earlier run of the same model."""
        tokens = int(done.get("tokens_per_epoch") or 0) * int(done.get("epochs") or 1)
        for past in self._past:
            pace = past.result.get("tokens_per_s")
            if past.run.settings.get("base") == self.chosen.base and pace:
                return [
                    f"about {duration(tokens / pace / 60)}, at the {pace:,.0f} tokens/s of run {past.run.id}"
                ]
        return []

"""Evaluate: a trained model beside its base on the pairs that were held back, in numbers with their uncertainty; then
the answers themselves, the worst first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from textual.binding import Binding
from textual.widget import Widget

from pairsmith.backends.errors import BackendError
from pairsmith.pairs.errors import PairsmithError
from pairsmith.pairs.store.driver import sqlite3
from pairsmith.pairs.store.runs import Run, list_runs

from ..text import line, wrap
from ..widgets.line import Piece
from ..widgets.lines import Lines, Row, plain
from ..widgets.pick_list import PickList
from ..working import begin
from .blind_rows import human_rows
from .evaluate_rows import EvaluateWatch, Item, item_entries, number_rows, read_items
from .job_place import JobPlace

if TYPE_CHECKING:
    from pairsmith.pairs.evaluate_job import EvaluateJob
    from pairsmith.pairs.store.ratings import RatingKind

MOST_NUMBERS = 16


class EvaluateScreen(JobPlace):
    """See the module."""

    PLACE = "evaluate"
    JOB = "evaluate"
    CSS = """
    EvaluateScreen #numbers { height: 12; }
    EvaluateScreen #items { margin: 0; }
    """
    BINDINGS = [  # noqa: RUF012 - Textual's own declaration
        Binding("g", "go", "evaluate", id="evaluate.go", tooltip="Measure this run; one that was stopped goes on"),
        Binding("r", "run", "run", id="evaluate.run", tooltip="Another training run"),
        Binding("a", "against", "against", id="evaluate.against",
                tooltip="Let the judge compare with nobody, with the base, or with another run"),
        Binding("b", "blind('compare')", "blind", id="evaluate.blind",
                tooltip="Say which of two answers is better, without knowing whose they are"),
        Binding("s", "blind('scale')", "scales", id="evaluate.scales",
                tooltip="Grade answers from 1 to 5, without knowing whose they are"),
        Binding("c", "chat", "chat", id="evaluate.chat", tooltip="Talk to this model, or to its base"),
        Binding("y", "retry", "retry", show=False, id="evaluate.retry",
                tooltip="Ask the judge again where it failed; what it answered is not asked again"),
        Binding("J", "judge", "judge", id="evaluate.judge", tooltip="Choose who judges"),
        Binding("P", "stop", "stop", id="evaluate.stop", tooltip="Stop: what was measured and judged is kept"),
        Binding("o", "export", "export", id="evaluate.export",
                tooltip="Write this model to a file, and use it"),
        Binding("j,down", "move(1)", "next", show=False, id="evaluate.next", tooltip="The next answer"),
        Binding("k,up", "move(-1)", "previous", show=False, id="evaluate.previous", tooltip="The answer before"),
    ]  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.trained: list[Run] = []
        self.chosen: int | None = None
        self.against: str | None = None
        self._evaluation: Run | None = None
        self._human: Mapping[str, Any] = {}
        self._items: list[Item] = []
        self._loaded = self._rating = False
        self._height = -1

    def body(self) -> Iterable[Widget]:
        """The numbers, and the answers."""
        yield Lines(id="numbers")
        yield PickList(id="items")

    @property
    def items(self) -> PickList:
        """The answers."""
        return self.query_one("#items", PickList)

    @property
    def text(self) -> str:
        """The numbers, for tests."""
        return plain(self.query_one("#numbers", Lines).rows)

    def on_screen_resume(self) -> None:
        """Runs may have come."""
        super().on_screen_resume()
        begin(self, self._read, group="read")

    def show_session(self) -> None:
        """Who judges may be another one."""
        super().show_session()
        if self._loaded:
            self.paint()

    def job_ended(self) -> None:
        """Read what was measured."""
        begin(self, self._read, group="read")

    async def _read(self) -> None:
        workspace, chosen = self.session.workspace, self.chosen
        if workspace is None:
            return

        def read(conn: sqlite3.Connection) -> tuple[list[Run], int | None, Run | None, list[Item]]:
            trained = [run for run in list_runs(conn, "train") if run.state == "done"]
            ids = [run.id for run in trained]
            here = chosen if chosen in ids else ids[0] if ids else None
            for run in list_runs(conn, "evaluate"):
                if run.result and run.result.get("train_run") == here and here is not None:
                    return trained, here, run, read_items(conn, run)
            return trained, here, None, []

        try:
            self.trained, self.chosen, self._evaluation, self._items = await workspace.aread(read)
        except PairsmithError as error:
            self.notify(str(error), severity="error")
        self._loaded = True
        self.paint()
        await self._read_human()

    async def _read_human(self) -> None:
        """What people said; the child that computes the intervals takes a moment."""
        from pairsmith.pairs.blind_results import human_ratings

        workspace, chosen = self.session.workspace, self.chosen
        if workspace is None or chosen is None:
            return
        try:
            self._human = await human_ratings(workspace, chosen)
        except PairsmithError as error:
            self.notify(str(error), severity="error")
        self.paint()

    def paint(self) -> None:
        """Paint both."""
        area = self.query_one("#numbers", Lines)
        width = area.size.width
        if not width:
            return
        rows = self._rows(width)[:MOST_NUMBERS]
        if len(rows) != self._height:
            self._height = len(rows)
            area.styles.height = len(rows)
        area.show_rows(rows)
        self.items.show_entries(item_entries(self._items, width))

    def _rows(self, width: int) -> list[Row]:
        if not self._loaded:
            return [(Piece(" reading…", "quiet"),)]
        run = next((run for run in self.trained if run.id == self.chosen), None)
        if run is None:
            return [
                (Piece(" No model is trained yet.", "strong"),),
                (),
                (Piece("  6", "accent"), Piece("  trains one")),
            ]
        base = line(str(run.settings.get("base")), 30)
        judge = line(self.session.judge or "none", 30)
        setup = f"run {run.id}: {base} · against {self.against or 'nobody'} · judge {judge}"
        status, style = self._status()
        rows: list[Row] = [
            (Piece(f" {line(setup, width - 2)}", "strong"),),
            *((Piece(f" {part}", style),) for part in wrap(status, width - 2)[:3]),
        ]
        if self._evaluation is not None and self._evaluation.result:
            rows += number_rows(self._evaluation.result, width)
        rows += human_rows(self._human, width)
        if self._items:
            rows += [(Piece(" worst first", "quiet"),)]
        return rows

    def _status(self) -> tuple[str, str]:
        state = self._state
        watch = state.watch if state is not None else None
        if state is not None and isinstance(watch, EvaluateWatch) and watch.train_run == self.chosen:
            if self.application.jobs.running:
                last = watch.last
                if state.state == "stopping":
                    return "■ stopping: what was measured is kept", "accent"
                if last is None:
                    return "▶ starting: the model is loaded", "good"
                failed = f", {last.failed:,} failed" if last.failed else ""
                return f"▶ {last.what} {last.subject}: {last.done:,} of {last.total:,}{failed}", "good"
            if state.problem:
                return f"✗ not done, g goes on: {state.problem}", "bad"
            if state.state != "done":
                return f"! not done, g goes on: {state.reason}", "accent"
        if self._evaluation is None:
            return "not measured yet · g measures it beside its base", "accent"
        if self._evaluation.state != "done":
            return f"! not done, g goes on: {self._evaluation.reason}", "accent"
        return "✓ measured; intervals are 95 %", "good"

    def action_move(self, steps: int) -> None:
        """Move the cursor."""
        self.items.move(steps)

    def action_go(self) -> None:
        """Evaluate."""
        workspace, session, chosen = self.session.workspace, self.session, self.chosen
        if not self._may_start():
            return
        if workspace is None or chosen is None:
            self.notify("No model is trained yet: 6 trains one")
            return
        against = self.against

        async def make() -> EvaluateJob:
            from pairsmith.pairs.evaluate_job import EvaluateJob, EvaluateOptions

            options = EvaluateOptions(run=str(chosen), default_judge=session.judge, against=against)
            return EvaluateJob(workspace, await session.backend_settings(), options)

        self.application.jobs.start_watched("evaluate", EvaluateWatch(chosen), make)
        self.paint()

    def action_retry(self) -> None:
        """Ask again what failed."""
        from pairsmith.pairs.evaluate_retry import failed_calls, reopen

        workspace, session, chosen = self.session.workspace, self.session, self.chosen
        evaluation = self._evaluation
        if not self._may_start():
            return
        if workspace is None or chosen is None or evaluation is None:
            self.notify("Nothing is measured here yet: g measures it")
            return
        if not failed_calls(evaluation.result or {}):
            self.notify("No call of this evaluation failed: there is nothing to retry")
            return

        async def make() -> EvaluateJob:
            from pairsmith.pairs.evaluate_job import EvaluateJob

            options = await workspace.awrite(lambda conn: reopen(conn, evaluation.id))
            return EvaluateJob(workspace, await session.backend_settings(), options)

        self.application.jobs.start_watched("evaluate", EvaluateWatch(chosen), make)
        self.paint()

    def action_run(self) -> None:
        """The next training run."""
        ids = [run.id for run in self.trained]
        if len(ids) < 2 or self.chosen not in ids:
            self.notify("There is no other trained run: 6 trains one")
            return
        self.chosen = ids[(ids.index(self.chosen) + 1) % len(ids)]
        self.against, self._human = None, {}
        begin(self, self._read, group="read")

    def action_against(self) -> None:
        """The next opponent."""
        names = [None, "base", *(str(run.id) for run in self.trained if run.id != self.chosen)]
        at = names.index(self.against) if self.against in names else 0
        self.against = names[(at + 1) % len(names)]
        who = {None: "nobody", "base": "its base"}.get(self.against, f"run {self.against}")
        judge = "" if self.session.judge or self.against is None else "; J chooses a judge for it"
        self.notify(f"Compared with {who}{judge}")
        self.paint()

    def action_judge(self) -> None:
        """Choose a judge."""
        begin(self, self._choose_judge, group="model")

    async def _choose_judge(self) -> None:
        from .models import ModelScreen

        if await self.app.push_screen_wait(ModelScreen("judge")):
            self.paint()

    def action_blind(self, kind: RatingKind) -> None:
        """Rate answers blind."""
        if not self._rating:
            self._rating = True
            begin(self, self._blind, kind)

    async def _blind(self, kind: RatingKind) -> None:
        from pairsmith.pairs.blind_results import update_report

        from .blind_start import rate_blind

        workspace, chosen = self.session.workspace, self.chosen
        try:
            if workspace is None or chosen is None:
                self.notify("No model is trained yet: 6 trains one")
            elif await rate_blind(self, chosen, kind):
                # The report takes a moment to write; rating may go on meanwhile.
                self._rating = False
                home = (await self.session.backend_settings()).home
                human = await update_report(workspace, home, chosen)
                if self.chosen == chosen:  # another run may have been chosen while the report was written
                    self._human = human
        except (PairsmithError, BackendError) as error:
            self.notify(str(error), severity="warning")
        finally:
            self._rating = False
        self.paint()

    def action_export(self) -> None:
        """Write the model to a file."""
        begin(self, self._export, group="export")

    async def _export(self) -> None:
        from .tuned import tuned_form

        try:
            self.app.push_screen(await tuned_form(self.application, first=self.chosen))
        except (PairsmithError, BackendError) as error:
            self.notify(str(error), severity="warning")

    def action_chat(self) -> None:
        """Talk to the model."""
        run = next((run for run in self.trained if run.id == self.chosen), None)
        if run is None:
            self.notify("No model is trained yet: 6 trains one")
            return
        from .chat import ChatScreen

        self.app.push_screen(ChatScreen(self.PLACE, run))

"""Generate: where everything goes, while it goes. The job belongs to the application; this place only looks at it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import replace

from textual.binding import Binding
from textual.widget import Widget

from pairsmith.pairs.errors import PairsmithError
from pairsmith.pairs.run_plan import RunPlan, read_plan, write_plan

from ..widgets.line import Piece
from ..widgets.lines import Lines, Row, plain
from ..working import begin
from .ask import FormScreen, Text, Values, whole_number
from .demonstration import may_judge, note_rows
from .generate_rows import SPACE, generate_rows
from .generate_view import Fresh, View, read_fresh, view_of_job, view_of_last_run
from .job_place import StartsJobs
from .method import Way, may_begin, method_form
from .planning import estimate_lines, limits_form, said_estimate

PAINT_S = 0.25
READ_S = 1.0
AGE_S = 20.0


class GenerateScreen(StartsJobs):
    """See the module."""

    PLACE = "generate"
    CSS = "GenerateScreen #run { margin: 1 0 0 0; }"
    BINDINGS = [  # noqa: RUF012 - Textual's own declaration
        Binding("g", "go", "go", id="generate.go", tooltip="Go on with an unfinished run, or start another one"),
        Binding("p", "pause", "pause", id="generate.pause", tooltip="Pause and go on; calls in flight are finished"),
        Binding("P", "stop", "stop", id="generate.stop", tooltip="Stop: what is paid for is finished and kept"),
        Binding("G", "model('generator')", "generator", id="generate.generator",
                tooltip="Choose who writes, from the next call on"),
        Binding("J", "model('judge')", "judge", id="generate.judge",
                tooltip="Choose who judges, from the next call on"),
        Binding("n", "number", "number", id="generate.number", tooltip="How many pairs, and which ones count"),
        Binding("M", "method", "method", id="generate.method",
                tooltip="How the next run finds instructions: by topics, or Self-Instruct from seed tasks"),
        Binding("s", "seeds", "seeds", id="generate.seeds", tooltip="The seed tasks that Self-Instruct starts from"),
        Binding("m", "limits", "limits", id="generate.limits",
                tooltip="Most calls, tokens, money and time of one start"),
        Binding("y", "score", "score", id="generate.score",
                tooltip="Let the judge score what is not scored yet, failures again"),
    ]  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self._fresh = Fresh()
        self._stored: View | None = None
        self._painted = self._read = -1
        self._empty: list[Row] = []
        self.plan = RunPlan()
        self._way: Way | None = None

    def body(self) -> Iterable[Widget]:
        """One area of lines."""
        yield Lines(id="run")

    def on_mount(self) -> None:
        """Look at the job a few times a second while this place is on the screen."""
        self.set_interval(PAINT_S, self._tick)
        self.set_interval(READ_S, self._read_soon)
        self.set_interval(AGE_S, self._grow_older)

    def on_screen_resume(self) -> None:
        """Read what is on the disk, and paint."""
        super().on_screen_resume()
        begin(self, self._read_stored, group="stored")

    def show_session(self) -> None:
        """Who writes and judges is told above the numbers."""
        super().show_session()
        if self.is_mounted:
            self.paint()

    @property
    def text(self) -> str:
        """What is on the screen, for tests."""
        return plain(self.query_one(Lines).rows)

    def _grow_older(self) -> None:
        """Between jobs nothing changes but how long ago everything was."""
        if self.is_current and not self.application.jobs.running:
            begin(self, self._read_stored, group="stored")

    def _tick(self) -> None:
        state = self.application.jobs.state
        if (
            self.is_current
            and state is not None
            and (self.application.jobs.running or state.version != self._painted)
        ):
            self.paint()

    def paint(self) -> None:
        """Paint the run."""
        area = self.query_one("#run", Lines)
        width, height = area.size
        if not width:
            return
        jobs = self.application.jobs
        # A job tells that it is over just before it is: only what is painted after that is final.
        self._painted = jobs.state.version if jobs.state is not None and not jobs.running else -1
        view = view_of_job(jobs, self._fresh) or self._starting() or self._stored
        if view is None:
            notes = self._notes(width)
            area.show_rows([*notes, *([SPACE] if notes else []), *self._empty])
        else:
            notes = self._notes(width)
            area.show_rows([*notes, *generate_rows(view, width, height - len(notes), self.session.judge)])

    def _notes(self, width: int) -> list[Row]:
        """What must be known whatever is shown below: that the demonstration model is at work."""
        return note_rows(self.session, width)

    def _starting(self) -> View | None:
        """A job that has no numbers yet, told over those of the run before."""
        from pairsmith.pairs.ledger import Calls, Ledger

        from .generate_view import status_of

        state = self.application.jobs.state
        if state is None or state.watch is not None:
            return None
        status, good = status_of(self.application.jobs, state)
        if state.kind == "judge":
            done, total = state.judged
            of = f" of {total:,}" if total is not None else ""
            status = f"{status} · judging {done:,}{of}, {state.judge_failed:,} failed"
        elif self.application.jobs.running and state.state == "starting":
            status = "▶ starting"
        before = self._stored or View(Ledger(self.plan.pairs, 0, 0, 0, {}, Calls()))
        told = [(0.0, told.kind, told.text) for told in list(state.told)[-3:]]
        return replace(before, status=status, good=good, told=told or before.told)

    def _read_soon(self) -> None:
        state = self.application.jobs.state
        if (
            self.is_current
            and state is not None
            and (self.application.jobs.running or self._read != state.version)
        ):
            begin(self, self._read_fresh, group="fresh")

    async def _read_fresh(self) -> None:
        state, workspace = self.application.jobs.state, self.session.workspace
        if state is None or workspace is None or state.run_id is None or state.kind != "generate":
            return
        run_id, running = state.run_id, self.application.jobs.running
        self._read = state.version
        with contextlib.suppress(PairsmithError, RuntimeError):
            self._fresh = await workspace.aread(lambda conn: read_fresh(conn, run_id, running))
            self.paint()

    async def _read_stored(self) -> None:
        workspace = self.session.workspace
        if workspace is None:
            return
        try:
            self.plan, self._way = await workspace.aread(lambda conn: (read_plan(conn), Way.read(conn)))
            self._stored = await view_of_last_run(workspace)
            if self._stored is None:
                self._empty = await self._empty_rows()
        except PairsmithError as error:
            self.notify(str(error), severity="error")
        await self._read_fresh()
        self.paint()

    async def _empty_rows(self) -> list[Row]:
        rows: list[Row] = [
            (Piece(" No pair was generated here yet.", "strong"),),
            SPACE,
            (Piece("  g  ", "accent"), Piece(f"generates {self.plan.pairs:,} pairs")),
            (
                Piece("  n  ", "accent"),
                Piece("another number      "),
                Piece("s  ", "accent"),
                Piece("seed tasks"),
            ),
            (
                Piece("  M  ", "accent"),
                Piece(f"method: {self._way.said(self.plan) if self._way is not None else '…'}"),
            ),
            (
                Piece("  G  ", "accent"),
                Piece("another generator   "),
                Piece("J  ", "accent"),
                Piece("a judge"),
            ),
            (Piece("  3  ", "accent"), Piece("topics first: see them, change them, share the pairs out")),
            SPACE,
        ]
        with contextlib.suppress(PairsmithError):
            said = await said_estimate(self.session, self.plan)
            rows += [
                (Piece(f" {text}", "quiet"),) for text in estimate_lines(said, max(20, self.size.width - 2))
            ]
        return rows

    def action_go(self) -> None:
        """Go on, or start."""
        if self._may_start():
            begin(self, self._go, group="go")

    async def _go(self) -> None:
        workspace = self.session.workspace
        assert workspace is not None
        try:
            self.plan = await workspace.aread(read_plan)
            last = await view_of_last_run(workspace)
            if not await may_begin(self.application, self.plan):
                return
        except PairsmithError as error:
            self.notify(str(error), severity="error")
            return
        finished = last is not None and last.ledger.missing == 0
        if finished:
            self.action_number()
        else:
            self.application.jobs.start_generate(self.plan)
            self.paint()

    def action_pause(self) -> None:
        """Pause, or go on."""
        if self.application.jobs.running:
            self.application.jobs.toggle_pause()
            self.paint()
        else:
            self.notify("Nothing runs: g goes on or starts")

    def action_model(self, kind: str) -> None:
        """Choose a generator or a judge."""
        begin(self, self._choose, kind, group="model")

    async def _choose(self, kind: str) -> None:
        from .models import ModelScreen

        stopped = (
            not self.application.jobs.running
            and self.application.jobs.state is not None
            and self.application.jobs.state.problem
        )
        if await self.app.push_screen_wait(ModelScreen("judge" if kind == "judge" else "generator")):
            if stopped and kind == "generator" and self.application.jobs.state.kind == "generate":  # type: ignore[union-attr]
                self.application.jobs.start_generate(self.plan)
            self.paint()

    def action_number(self) -> None:
        """Ask how many, and start."""

        async def do(values: Values) -> str | None:
            plan = self._plan_of(values)
            if self.application.jobs.running:
                return "A job is under way: P stops it"
            assert self.session.workspace is not None
            if (await self.session.workspace.aread(Way.read)).lacks_seeds(plan):
                return "Self-Instruct starts from seed tasks, and there are none: esc, then s adds some"
            await self.session.workspace.awrite(lambda conn: write_plan(conn, plan))
            self.plan = plan
            self.application.jobs.start_generate(plan)
            return None

        async def say(values: Values) -> str:
            return await said_estimate(self.session, self._plan_of(values))

        fields = [
            Text("pairs", "pairs", str(self.plan.pairs)),
            Text(
                "where",
                "count only where",
                self.plan.where or "",
                "helpfulness >= 3 (needs a judge)",
            ),
        ]
        self.app.push_screen(
            FormScreen("Generate more pairs", fields, do, say=say, hint="enter starts   esc leaves")
        )

    def _plan_of(self, values: Values) -> RunPlan:
        from pairsmith.pairs.expressions import parse_expression

        where = values["where"].strip() or None
        if where is not None:
            parse_expression(where)
        return replace(self.plan, pairs=whole_number(values["pairs"], "The number of pairs"), where=where)

    async def _keep(self, plan: RunPlan) -> None:
        assert self.session.workspace is not None
        await self.session.workspace.awrite(lambda conn: write_plan(conn, plan))
        self.plan = plan
        await self._read_stored()

    def action_limits(self) -> None:
        """Ask for limits."""
        self.app.push_screen(limits_form(self.plan, self._keep))

    def action_method(self) -> None:
        """Ask how the next run finds instructions."""
        if self._way is not None:
            self.app.push_screen(method_form(self.session, self.plan, self._way, self._keep))

    def action_seeds(self) -> None:
        """Look at the seed tasks."""
        from .seeds import SeedsScreen

        self.app.push_screen(SeedsScreen("generate"))

    def action_score(self) -> None:
        """Judge what is not scored."""
        if self.session.judge is None and not may_judge(self.session):
            self.notify("There is no judge: J chooses one", severity="warning")
        elif self.application.jobs.running:
            self.notify("A job is under way: P stops it", severity="warning")
        else:
            self.application.jobs.start_judge()
            self.paint()

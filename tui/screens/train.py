"""Train: on what and how, what that comes to, the curve while it runs, and every run so far.

The job belongs to the application and works in a child process; this place looks at it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, cast

from textual.binding import Binding
from textual.widget import Widget

from pairsmith.backends.errors import BackendError
from pairsmith.pairs.chosen_pairs import choose_pairs, count_verdicts_of, verdicts_said
from pairsmith.pairs.errors import PairsmithError
from pairsmith.pairs.store.driver import sqlite3
from pairsmith.pairs.store.runs import Run, list_runs
from pairsmith.pairs.training_settings import TrainSettings

from ..text import wrap
from ..widgets.line import Piece
from ..widgets.lines import Lines, Row, plain
from ..widgets.meters import duration
from ..widgets.pick_list import PickList
from ..working import begin
from .ask import AskYes, FormScreen, Text, Values
from .base import PlaceScreen
from .form_rows import setting_entries
from .train_form import (
    TYPED,
    device_said,
    estimate_said,
    form_settings,
    settings_of,
    start_settings,
    turned,
    typed,
    value_of,
)
from .train_rows import train_rows
from .train_runs import Past, ended_said, run_entries
from .train_watch import RunView, TrainWatch, curves_of, result_of_run, view_of_run, view_of_watch

if TYPE_CHECKING:
    from pairsmith.pairs.train_job import TrainJob

    from ..app import PairsmithApp
    from ..jobs import JobState

PAINT_S = 0.25
_UNTIL_LAID_OUT_S = 0.05
SHOWN_RUNS = 50
_OPEN = ("running", "paused", "unfinished")
VIEWS = ("form", "run", "runs")


class TrainScreen(PlaceScreen):
    """See the module."""

    PLACE = "train"
    LOOK_AFTER_S: ClassVar[float] = 1.0
    """How long the settings must stand before a child is asked what they come to."""
    CSS = """
    TrainScreen #form, TrainScreen #runs, TrainScreen #run { margin: 1 0 0 0; }
    TrainScreen #run { margin: 0; }
    TrainScreen #said { height: 6; }
    """
    BINDINGS = [  # noqa: RUF012 - Textual's own declaration
        Binding("g", "go", "train", id="train.go", tooltip="Train with these settings"),
        Binding("enter", "change", "change", id="train.change",
                tooltip="Type a value or take the next one; among the runs: show this one"),
        Binding("p", "pause", "pause", id="train.pause", tooltip="Pause and go on; a checkpoint is written first"),
        Binding("P", "stop", "stop", id="train.stop", tooltip="Write a checkpoint and stop; o goes on another day"),
        Binding("x", "cancel", "cancel", id="train.cancel", tooltip="End at once; what was saved last stays"),
        Binding("o", "resume", "go on", id="train.resume",
                tooltip="Go on with an unfinished run, with the curve that it would have had"),
        Binding("v", "view", "view", id="train.view", tooltip="Settings, curve, all runs, and settings again"),
        Binding("left,h", "turn(-1)", "choose", show=False, id="train.back", tooltip="The choice before"),
        Binding("right,l", "turn(1)", "choose on", show=False, id="train.on", tooltip="The next choice"),
        Binding("j,down", "move(1)", "next", show=False, id="train.next", tooltip="The next line"),
        Binding("k,up", "move(-1)", "previous", show=False, id="train.previous", tooltip="The line before"),
    ]  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.chosen: TrainSettings = start_settings(None)
        self.device = "auto"
        self.showing = "form"
        self._devices: Sequence[Mapping[str, Any]] | None = None
        self._pairs = ""
        self._estimate: list[str] = []
        self._problem = ""
        self._past: list[Past] = []
        self._stored: tuple[int, RunView] | None = None
        self._read = False
        self._painted = -1

    def body(self) -> Iterable[Widget]:
        """Settings and what they come to; or a run; or all runs."""
        yield PickList(id="form")
        yield Lines(id="said")
        yield Lines(id="run")
        yield PickList(id="runs")

    @property
    def _app(self) -> PairsmithApp:
        return cast("PairsmithApp", self.app)

    @property
    def form(self) -> PickList:
        """The settings."""
        return self.query_one("#form", PickList)

    @property
    def runs(self) -> PickList:
        """The table of runs."""
        return self.query_one("#runs", PickList)

    @property
    def text(self) -> str:
        """What a run's area says, for tests."""
        return plain(self.query_one("#run", Lines).rows)

    @property
    def _state(self) -> JobState | None:
        state = self._app.jobs.state
        return state if state is not None and state.kind == "train" else None

    @property
    def _watch(self) -> TrainWatch | None:
        watch = None if self._state is None else self._state.watch
        return watch if isinstance(watch, TrainWatch) else None

    @property
    def _training(self) -> bool:
        return self._app.jobs.running and self._watch is not None

    def on_mount(self) -> None:
        """Look at the job a few times a second while this place is on the screen."""
        self._show("form")
        self.set_interval(PAINT_S, self._tick)

    def on_screen_resume(self) -> None:
        """Pairs and runs may have come."""
        super().on_screen_resume()
        if self._training:
            self._show("run")
        begin(self, self._read_stored, group="stored")
        self._look()

    def on_screen_suspend(self) -> None:
        """Nobody waits for an estimate any more."""
        self.workers.cancel_group(self, "look")

    def on_resize(self) -> None:
        """Draw for the new size."""
        self.call_after_refresh(self.paint)

    def _show(self, what: str) -> None:
        self.showing = what
        for name, view in (("form", "form"), ("said", "form"), ("run", "run"), ("runs", "runs")):
            self.query_one(f"#{name}").display = view == what
        self.call_after_refresh(self.paint)

    def _tick(self) -> None:
        state = self._state
        if state is None or not self.is_current:
            return
        if state.version != self._painted:
            over = state.over
            self._painted = state.version
            self.paint()
            if over:
                begin(self, self._read_stored, group="stored")

    # ---- what is known -------------------------------------------------------------------------------------

    async def _read_stored(self) -> None:
        workspace = self.session.workspace
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
            if self._past:
                self.chosen = start_settings(self._past[0].run)
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
            if self._app.jobs.running:
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

    # ---- what is seen --------------------------------------------------------------------------------------

    def paint(self) -> None:
        """Paint what is shown."""
        if not self.is_mounted:
            return
        if self.is_current and not self.query_one(f"#{self.showing}").size.width:
            self.set_timer(_UNTIL_LAID_OUT_S, self.paint)  # shown just now, and not laid out yet
            return
        if self.showing == "form":
            self._paint_form()
        elif self.showing == "runs":
            width = self.runs.size.width
            if width:
                self.runs.show_entries(run_entries(self._past, width))
        else:
            self._paint_run()

    def _paint_form(self) -> None:
        width, area = self.form.size.width, self.query_one("#said", Lines)
        if width:
            lines = form_settings(self.chosen, self.device, self._devices)
            self.form.show_entries(setting_entries(lines, width))
            area.show_rows(self._said_rows(width)[: area.size.height])

    def _said_rows(self, width: int) -> list[Row]:
        go = "   a training runs: v shows it" if self._training else "   g trains on them"
        rows: list[Row] = [(Piece("─" * width, "quiet"),)]
        rows.append(
            (Piece(f" {self._pairs or 'counting…'}", "strong"), Piece(go if self._pairs else "", "accent"))
        )
        if self._problem:
            return rows + [(Piece(f" ✗ {text}", "bad"),) for text in wrap(self._problem, width - 4)[:4]]
        if not self._estimate and not self._app.jobs.running:
            rows.append((Piece(" looking ahead: steps, memory…", "quiet"),))
        texts = [part for text in self._estimate for part in wrap(text, width - 2)]
        return rows + [(Piece(f" {text}", "quiet"),) for text in texts]

    def _paint_run(self) -> None:
        area = self.query_one("#run", Lines)
        width, height = area.size
        view = self._view()
        if not width:
            return
        if view is None:
            area.show_rows(
                [(Piece(" Nothing was trained here yet.", "strong"),), (), (Piece("  g", "accent"), Piece("  trains")),
                 (Piece("  v", "accent"), Piece("  all runs, the settings"))]
            )  # fmt: skip
            return
        state = self._state
        left = state.minutes_left if state is not None and self._training and self._stored is None else None
        area.show_rows(train_rows(view, width, height, duration(left) if left else ""))

    def _view(self) -> RunView | None:
        if self._stored is not None:
            return self._stored[1]
        watch, state = self._watch, self._state
        if watch is not None and state is not None:
            status, good = self._status(state)
            told = [one.text for one in list(state.told)[-3:] if one.kind != "failed"]
            return view_of_watch(watch, status, good, told)
        return self._stored_view(self._past[0]) if self._past else None

    def _stored_view(self, past: Past) -> RunView:
        run = past.run
        status, good = ended_said(run.state if run.state != "running" else "unfinished", run.reason)
        return view_of_run(run, past.result, status, good)

    def _status(self, state: JobState) -> tuple[str, bool | None]:
        if self._app.jobs.paused:
            return "Ⅱ paused · p goes on, P stops, x cancels", None
        if self._app.jobs.running:
            return (
                "■ stopping: a checkpoint is written" if state.state == "stopping" else "▶ training"
            ), True
        if state.problem:
            return f"✗ {state.problem.replace('go on with --resume', 'o goes on')}", False
        return ended_said(state.state, state.reason)

    # ---- what is done --------------------------------------------------------------------------------------

    def action_view(self) -> None:
        """The next view."""
        self._stored = None
        self._show(VIEWS[(VIEWS.index(self.showing) + 1) % len(VIEWS)])

    def action_move(self, steps: int) -> None:
        """Move the cursor."""
        if self.showing != "run":
            (self.form if self.showing == "form" else self.runs).move(steps)

    def on_pick_list_picked(self, event: PickList.Picked) -> None:
        """A second click changes, or opens."""
        event.stop()
        if event.twice:
            self.action_change()

    def action_turn(self, steps: int) -> None:
        """Another choice on this line."""
        here = self.form.current
        if self.showing != "form" or here is None:
            return
        if here == "device":
            names = ["auto", *(str(one.get("device")) for one in self._devices or ())]
            at = names.index(self.device) if self.device in names else 0
            self.device = names[(at + steps) % len(names)]
            if len(names) == 1:
                self.notify("The devices are not known yet")
        else:
            changed = turned(self.chosen, here, steps)
            if changed is None:
                self.notify("enter changes this one")
                return
            self.chosen = changed
        self._look()

    def action_change(self) -> None:
        """Ask for a value, or take the next choice; show a run."""
        if self.showing == "runs":
            here = self.runs.current
            past = next((past for past in self._past if str(past.run.id) == here), None)
            if past is not None:
                self._stored = None if self._runs_now(past.run) else (past.run.id, self._stored_view(past))
                self._show("run")
        elif self.showing == "run":
            self._stored = None
            self._show("form")
        elif self.form.current in TYPED:
            self.app.push_screen(self._typing(self.form.current or ""))
        else:
            self.action_turn(1)

    def _typing(self, name: str) -> FormScreen:
        heading, hint = TYPED[name]

        async def do(values: Values) -> str | None:
            self.chosen = await asyncio.to_thread(typed, self.chosen, name, values["value"])
            self._look()
            return None

        return FormScreen(
            heading, [Text("value", name.replace("_", " "), value_of(self.chosen, name), hint)], do
        )

    def action_go(self) -> None:
        """Train."""
        if self._app.jobs.running:
            self.notify("A job is under way" + (": p goes on" if self._app.jobs.paused else ""))
        else:
            self._start(self.chosen, None)

    def action_resume(self) -> None:
        """Go on with the run under the cursor, or the newest that is not done."""
        if self._app.jobs.running:
            self.notify("A job is under way" + (": p goes on" if self._app.jobs.paused else ""))
            return
        begin(self, self._resume, group="go")

    async def _resume(self) -> None:
        await self._read_stored()
        wanted = (
            self.runs.current if self.showing == "runs" else str(self._stored[0]) if self._stored else None
        )
        still_open = [past for past in self._past if past.run.state in _OPEN]
        past = next((past for past in still_open if str(past.run.id) == wanted), None)
        if past is None and wanted is None:
            past = next(iter(still_open), None)
        if past is None:
            self.notify(
                "There is no unfinished run" if not still_open else "This run is not unfinished: o on another"
            )
            return
        self._start(settings_of(past.run), past)

    def _start(self, settings: TrainSettings, past: Past | None) -> None:
        workspace = self.session.workspace
        if workspace is None:
            return
        self.workers.cancel_group(self, "look")
        device, judge, session = self.device, self.session.judge, self.session
        watch = TrainWatch(settings.base, int(settings.config.get("epochs") or 2))
        if past is not None:
            watch.curves = curves_of(past.result)

        async def make() -> TrainJob:
            from pairsmith.pairs.train_job import TrainJob, TrainOptions

            free = {} if past is not None and device == "auto" else {"device": device}
            options = TrainOptions(resume=past is not None, judge=judge, free=free)
            job = TrainJob(workspace, await session.backend_settings(), settings, options)
            watch.cancel = job.cancel
            return job

        self._stored = None
        self._app.jobs.start_watched("train", watch, make)
        self._show("run")

    def action_pause(self) -> None:
        """Pause, or go on."""
        if self._app.jobs.running:
            self._app.jobs.toggle_pause()
            self.paint()
        else:
            self.notify("Nothing runs: g trains, o goes on")

    def action_stop(self) -> None:
        """Stop."""
        if self._app.jobs.running:
            self._app.jobs.stop()
            self.paint()
        else:
            self.notify("Nothing runs")

    def action_cancel(self) -> None:
        """Cancel, after a yes."""
        if self._training:
            begin(self, self._cancel, group="cancel")
        else:
            self.notify("No training runs")

    async def _cancel(self) -> None:
        lines = ["It ends at once. What was saved last stays, and o goes on from there."]
        watch = self._watch
        if await self.app.push_screen_wait(
            AskYes("Cancel the training?", lines, yes="cancel it", no="let it run")
        ):
            with contextlib.suppress(PairsmithError):
                if watch is not None and watch.cancel is not None and self._training:
                    watch.cancel()
            self.paint()

    @property
    def device_text(self) -> str:
        """What the device line says, for tests."""
        return device_said(self.device, self._devices)

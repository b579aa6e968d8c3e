"""Train: on what and how, what that comes to, the curve while it runs, and every run so far.

The job belongs to the application and works in a child process; this place looks at it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from textual.binding import Binding
from textual.widget import Widget

from pairsmith.pairs.errors import PairsmithError
from pairsmith.pairs.training_settings import TrainSettings

from ..text import wrap
from ..widgets.line import Piece
from ..widgets.lines import Lines, Row, plain
from ..widgets.meters import duration
from ..widgets.pick_list import PickList
from ..working import begin
from .ask import AskYes, FormScreen, Text, Values
from .form_rows import setting_entries
from .train_form import (
    TYPED,
    device_said,
    form_settings,
    settings_of,
    turned,
    typed,
    value_of,
)
from .train_look import TrainLook
from .train_rows import train_rows
from .train_runs import Past, ended_said, run_entries
from .train_watch import RunView, TrainWatch, curves_of, view_of_run, view_of_watch

if TYPE_CHECKING:
    from pairsmith.pairs.train_job import TrainJob

    from ..job_state import JobState

_UNTIL_LAID_OUT_S = 0.05
_OPEN = ("running", "paused", "unfinished")
VIEWS = ("form", "run", "runs")


class TrainScreen(TrainLook):
    """See the module."""

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
        Binding("c", "chat", "chat", show=False, id="train.chat",
                tooltip="Talk to the model of the run under the cursor, or of the newest that is done"),
        Binding("left,h", "turn(-1)", "choose", show=False, id="train.back", tooltip="The choice before"),
        Binding("right,l", "turn(1)", "choose on", show=False, id="train.on", tooltip="The next choice"),
        Binding("j,down", "move(1)", "next", show=False, id="train.next", tooltip="The next line"),
        Binding("k,up", "move(-1)", "previous", show=False, id="train.previous", tooltip="The line before"),
    ]  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.showing = "form"
        self._stored: tuple[int, RunView] | None = None

    def body(self) -> Iterable[Widget]:
        """Settings and what they come to; or a run; or all runs."""
        yield PickList(id="form")
        yield Lines(id="said")
        yield Lines(id="run")
        yield PickList(id="runs")

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

    def on_mount(self) -> None:
        """Begin with the settings."""
        self._show("form")

    def on_screen_resume(self) -> None:
        """Pairs and runs may have come."""
        super().on_screen_resume()
        if self._training:
            self._show("run")
        begin(self, self._read_stored, group="stored")
        self._look()

    def _show(self, what: str) -> None:
        self.showing = what
        for name, view in (("form", "form"), ("said", "form"), ("run", "run"), ("runs", "runs")):
            self.query_one(f"#{name}").display = view == what
        self.call_after_refresh(self.paint)

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
        if not self._estimate and not self.application.jobs.running:
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
        if self.application.jobs.paused:
            return "Ⅱ paused · p goes on, P stops, x cancels", None
        if self.application.jobs.running:
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
        if self._may_start():
            self._start(self.chosen, None)

    def action_resume(self) -> None:
        """Go on with the run under the cursor, or the newest that is not done."""
        if self._may_start():
            begin(self, self._resume, group="go")

    @property
    def _picked(self) -> str | None:
        """The number of the run under the cursor, or of the one that is shown; None where none was picked."""
        if self.showing == "runs":
            return self.runs.current
        return str(self._stored[0]) if self._stored else None

    async def _resume(self) -> None:
        await self._read_stored()
        wanted = self._picked
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
        self.application.jobs.start_watched("train", watch, make)
        self._show("run")

    def action_pause(self) -> None:
        """Pause, or go on."""
        if self.application.jobs.running:
            self.application.jobs.toggle_pause()
            self.paint()
        else:
            self.notify("Nothing runs: g trains, o goes on")

    def action_cancel(self) -> None:
        """Cancel, after a yes."""
        if self._training:
            begin(self, self._cancel, group="cancel")
        else:
            self.notify("No training is under way")

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

    def action_chat(self) -> None:
        """Talk to a model."""
        done = [past.run for past in self._past if past.run.state == "done"]
        picked = self._picked
        run = next((run for run in done if picked in (None, str(run.id))), None)
        if run is None:
            self.notify("No model is trained yet" if not done else "This run has made no model yet")
            return
        from .chat import ChatScreen

        self.app.push_screen(ChatScreen(self.PLACE, run))

"""The guided tour: all of its steps, which are done, and the way to the present one."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.binding import Binding

from pairsmith.pairs.run_plan import RunPlan, read_plan, write_plan
from pairsmith.pairs.store.driver import sqlite3
from pairsmith.pairs.tour import PAIRS, STEPS, Tour, begin_tour, is_on, leave_tour, read_tour

from ..text import fill, line
from ..widgets.dialog import Dialog
from ..widgets.line import Piece
from ..widgets.lines import Lines, Row, plain

if TYPE_CHECKING:
    from pairsmith.pairs.store.workspace import Workspace

    from ..app import PairsmithApp

TITLE = 36


class TourScreen(Dialog[str | None]):
    """Gives "go" or "leave"; None where it was only looked at."""

    DEFAULT_CSS = """
    TourScreen Lines { margin: 1 0; }
    """
    BINDINGS = [  # noqa: RUF012 - Textual's own declaration
        Binding("enter,g", "go", "go", id="tour.go", tooltip="To the place of the present step"),
        Binding(
            "x",
            "leave",
            "put away",
            id="tour.leave",
            tooltip="Show the tour no longer; ctrl+t brings it back",
        ),
    ]
    AUTO_FOCUS = ""

    def __init__(self, tour: Tour | None, *, on: bool, workspace: str) -> None:
        super().__init__()
        self._tour = tour or Tour(frozenset())
        self._on = on
        self.heading = f"The guided tour, with {workspace}" if workspace else "The guided tour"
        self.hint = (
            "enter goes to the present step   x puts the tour away   esc back"
            if on
            else "enter begins   esc leaves; ctrl+t brings it here at any time"
        )

    def parts(self) -> ComposeResult:
        """A line for each step, and a word on it."""
        area = Lines(id="steps")
        area.styles.height = len(STEPS) + 2
        yield area

    def on_mount(self) -> None:
        """Paint after the layout."""
        self.call_after_refresh(self._paint)

    def on_resize(self) -> None:
        """Draw for the new width."""
        self.call_after_refresh(self._paint)

    @property
    def text(self) -> str:
        """The steps, for tests."""
        return plain(self.query_one("#steps", Lines).rows)

    def _paint(self) -> None:
        area = self.query_one("#steps", Lines)
        width = area.size.width
        present = self._tour.present
        rows: list[Row] = []
        for number, step in enumerate(self._tour.steps, 1):
            here = step is present and self._on
            done = step.id in self._tour.done
            mark = Piece(
                "✓ " if done else "▸ " if here else "· ", "good" if done else "accent" if here else "quiet"
            )
            how = f"{step.how}{f' ({self._tour.said})' if here and self._tour.said else ''}"
            title = fill(f"{number} {step.title}", min(TITLE, max(20, width - 24)))
            style = "strong" if here else "quiet" if done else ""
            rows.append((mark, Piece(title, style), Piece(line(how, max(8, width - TITLE - 3)), "quiet")))
        said = (
            "Everything is done: the circle is closed. x puts the tour away."
            if present is None
            else "Steps are recognised by what is in the workspace, however they are done."
        )
        area.show_rows([*rows, (), (Piece(line(said, width), "quiet"),)])

    def action_go(self) -> None:
        """To the present step."""
        self.dismiss("go")

    def action_leave(self) -> None:
        """Put it away."""
        self.dismiss("leave" if self._on else None)

    def action_cancel(self) -> None:
        """Back."""
        self.dismiss(None)


async def show_tour(app: PairsmithApp) -> None:
    """Show the steps, and do what is wanted then. Raises PairsmithError, OSError. Call it in a worker."""
    session = app.session
    workspace = session.workspace
    tour, on = None, False
    if workspace is not None:
        on = await workspace.aread(is_on)
        tour = await read_tour(workspace, session.generator, session.judge, await session.surroundings())
    name = workspace.path.name if workspace is not None else ""
    wanted = await app.push_screen_wait(TourScreen(tour, on=on, workspace=name))
    if wanted == "go":
        if workspace is None:
            await _make_workspace(app)
        elif not on:
            await workspace.awrite(_begin)
        await app.look_again()
        await go_to_step(app)
    elif wanted == "leave" and workspace is not None:
        await workspace.awrite(leave_tour)
        await app.look_again()
        app.notify("The tour is put away; ctrl+t brings it back where it is")


def _begin(conn: sqlite3.Connection) -> None:
    """Begin in a workspace that is there; a run that nobody planned yet becomes one of the tour's size."""
    begin_tour(conn)
    plan = read_plan(conn)
    if plan == RunPlan():
        write_plan(conn, replace(plan, pairs=PAIRS))


async def _make_workspace(app: PairsmithApp) -> None:
    """A workspace about Git for the tour, with a model of this machine where there is one."""
    from pairsmith.pairs.local_models import find_generator
    from pairsmith.pairs.making import make_workspace
    from pairsmith.pairs.recipes import load_recipe
    from pairsmith.pairs.store.meta import set_meta

    from .home_ways import DEMO_DOMAIN, free_path

    settings = (await app.session.surroundings()).settings
    writer = await find_generator(settings)

    def prepare() -> Workspace:
        path = free_path(Path.cwd(), "git-tour")
        made = make_workspace(path, DEMO_DOMAIN, load_recipe("english"), settings, local_only=False).workspace

        def fill_in(conn: sqlite3.Connection) -> None:
            for kind in ("generator", "judge"):
                set_meta(conn, kind, writer)
            write_plan(conn, RunPlan(PAIRS))
            begin_tour(conn)

        made.write(fill_in)
        return made

    await app.use(await asyncio.to_thread(prepare))


async def go_to_step(app: PairsmithApp) -> None:
    """To the place of the present step, with what it needs chosen."""
    tour = app.session.tour
    step = tour.present if tour is not None else None
    if step is None:
        return
    await app.action_place(step.place)
    if step.id == "train":
        _choose_base(app)
    elif step.id == "use":
        await _point_at_tuned(app)


def _choose_base(app: PairsmithApp) -> None:
    """The demonstration model, where this copy has it; else a model of random weights, which needs no download."""
    from pairsmith.pairs.training_settings import EMBEDDED

    from .train import TrainScreen

    screen = app.screen
    if isinstance(screen, TrainScreen):
        base = EMBEDDED if app.session.embedded else "scratch:tiny"
        screen.choose_base(base)


async def _point_at_tuned(app: PairsmithApp) -> None:
    """The newest file that the trained model was written to becomes the generator's suggestion."""
    from pairsmith.pairs.tour import tuned_files

    from .backends import BackendsScreen

    workspace, screen = app.session.workspace, app.screen
    if workspace is None or not isinstance(screen, BackendsScreen):
        return
    files = await workspace.aread(tuned_files)
    newest = next((Path(file) for file in reversed(files) if Path(file).is_file()), None)
    if newest is not None:
        screen.go_to_model(f"llama-cpp:{newest.stem}")

"""Home: ways in, what is here, what runs, what comes next, and what this machine has to offer.

Nothing is looked at before the first frame; answers fill in as they come.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from textual.binding import Binding
from textual.widget import Widget

from pairsmith.pairs.errors import PairsmithError

from ..recent import Recent, read_recent
from ..widgets.pick_list import PickList
from ..working import begin
from .home_rows import Known, Standing, entries_of
from .list_place import ListPlace

if TYPE_CHECKING:
    from pairsmith.pairs.findings import Finding

READ_S = 2.0
PULL_S = 0.25


class HomeScreen(ListPlace):
    """See the module."""

    PLACE = "home"
    LIST = "ways"
    CSS = "HomeScreen #ways { margin: 1 0 0 0; }"
    BINDINGS = [  # noqa: RUF012 - Textual's own declaration
        Binding("enter", "take", "open", id="home.take", tooltip="Go there: what the cursor is on"),
        Binding(
            "n", "new", "new", id="home.new", tooltip="A new workspace: say what your data should be about"
        ),
        Binding("o", "open", "open file", id="home.open", tooltip="Open a workspace, or a file to import"),
        Binding("i", "import", "import", id="home.import", tooltip="Import a file into the open workspace"),
        Binding(
            "K", "key", "API key", id="home.key", tooltip="Keep a key for NVIDIA NIM in the system's keyring"
        ),
        Binding("r", "look", "look again", id="home.look", tooltip="Look again at what this machine offers"),
        Binding(
            "d",
            "get",
            "get a model",
            show=False,
            id="home.get",
            tooltip="Download a small model from the Hub",
        ),
        Binding("t", "app.tour", "tour", show=False, id="home.tour", tooltip="The guided tour"),
        Binding("q", "app.quit", "quit", id="home.quit", tooltip="Quit; a job pauses"),
        Binding("j,down", "move(1)", "next", show=False, id="home.next", tooltip="The next line"),
        Binding("k,up", "move(-1)", "previous", show=False, id="home.previous", tooltip="The line before"),
        Binding("pagedown", "move(5)", "on", show=False, id="home.on", tooltip="Five lines on"),
        Binding("pageup", "move(-5)", "back", show=False, id="home.back", tooltip="Five lines back"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._known = Known()
        self._painted = 0
        self._brought: set[str] = set()

    def body(self) -> Iterable[Widget]:
        """One list."""
        yield PickList(id="ways")

    def on_mount(self) -> None:
        """Paint what is known without looking; look afterwards."""
        self.call_after_refresh(self._after_first_frame)
        self.set_interval(READ_S, self._read_soon)
        self.set_interval(PULL_S, self._tick)

    def on_screen_resume(self) -> None:
        """The workspace may be another one."""
        super().on_screen_resume()
        begin(self, self.read, group="read")

    def show_session(self) -> None:
        """What runs is shown here too."""
        super().show_session()
        if self.is_mounted:
            self.paint()

    def paint(self) -> None:
        """Paint the list."""
        width = self.list.size.width
        self._known.pull = self.application.pulls.under_way
        if width:
            self.list.show_entries(entries_of(self._known, self.session, width))

    def _after_first_frame(self) -> None:
        self.look()

    def _tick(self) -> None:
        pulls = self.application.pulls
        if pulls.version == self._painted:
            return
        self._painted = pulls.version
        brought = {pull.model for pull in pulls.all.values() if pull.done}
        if brought - self._brought:
            self._brought = brought
            self.look()
        elif self.is_current:
            self.paint()

    def _read_soon(self) -> None:
        if self.is_current and self.session.workspace is not None and self.session.job is not None:
            begin(self, self.read, group="read")

    async def read(self) -> None:
        """Read the numbers of the workspace, and which files are near."""
        known, workspace = self._known, self.session.workspace
        known.recent = await asyncio.to_thread(_files, self.session.env)
        known.standing = None
        if workspace is not None:
            with contextlib.suppress(PairsmithError, RuntimeError):
                known.standing = await workspace.aread(Standing.read)
        self.paint()

    def look(self) -> None:
        """Ask the machine."""
        self._known.machine.clear()
        self.paint()
        begin(self, self._look, group="look")

    def action_look(self) -> None:
        """Ask the machine again."""
        self.look()
        self.notify("Looking again at what this machine offers")

    async def _look(self) -> None:
        """Each answer is shown as it comes. NIM is not contacted: only whether there is a key."""
        for module in (
            "backends.ollama",
            "backends.openai_compatible",
            "pairs.backend_checks",
            "pairs.machine_checks",
        ):
            await asyncio.to_thread(importlib.import_module, f"pairsmith.{module}")
        from pairsmith.backends.errors import BackendError
        from pairsmith.pairs.backend_checks import check_nim_key, offered_by
        from pairsmith.pairs.local_models import find_generator
        from pairsmith.pairs.machine_checks import check_gpu, check_processor

        try:
            settings = (await self.session.surroundings()).settings
        except (PairsmithError, BackendError) as error:
            self.notify(str(error), severity="error")
            return

        def note(name: str, finding: Finding) -> None:
            self._known.machine[name] = finding
            self.paint()

        async def backend(name: str) -> None:
            note(name, (await offered_by(name, settings)).finding)

        async def others() -> None:
            note("nim", await check_nim_key(settings))
            note("processor", await asyncio.to_thread(check_processor))
            note("GPU", await asyncio.to_thread(check_gpu))

        async def writer() -> None:
            self._known.writer = await find_generator(settings)
            self._known.looked = True
            self.paint()

        await asyncio.gather(
            backend("ollama"), backend("llama-cpp"), others(), writer(), return_exceptions=True
        )

    def action_take(self) -> None:
        """Do what the cursor is on."""
        self.take()

    def take(self) -> None:
        """Open it."""
        kind, _, rest = (self.list.current or "").partition(":")
        if kind == "place":
            self.application.call_later(self.application.action_place, rest)
        elif kind == "recent":
            begin(self, self._open, Path(rest), group="open")
        elif kind == "tour":
            self.application.action_tour()
        elif kind in ("new", "open", "import", "try", "get"):
            getattr(self, f"action_{kind}")()

    async def _open(self, path: Path) -> None:
        from .home_ways import open_path

        try:
            await open_path(self.application, path)
        except (PairsmithError, OSError) as error:
            self.notify(str(error), severity="error")
        await self.read()

    def action_new(self) -> None:
        """A new workspace."""
        from .home_ways import new_form

        self.app.push_screen(new_form(self.application))

    def action_open(self) -> None:
        """Open or import a file."""
        from .home_ways import open_form

        self.app.push_screen(open_form(self.application))

    def action_import(self) -> None:
        """Import into the open workspace."""
        from .home_ways import import_form

        if self.session.workspace is None:
            self.action_open()
        else:
            self.app.push_screen(import_form(self.application))

    def action_key(self) -> None:
        """Keep an API key."""
        from .home_ways import key_form

        self.app.push_screen(key_form(self.application, self.look))

    def action_get(self) -> None:
        """Download a model."""
        from .get_model import get_model_form

        self.app.push_screen(get_model_form(self.application))

    def action_try(self) -> None:
        """A demonstration with a model of this machine."""
        if self._known.writer is None:
            self.notify("No small model was found on this machine", severity="warning")
            return
        begin(self, self._try, self._known.writer, group="open")

    async def _try(self, writer: str) -> None:
        from .home_ways import try_it

        try:
            await try_it(self.application, writer)
        except (PairsmithError, OSError) as error:
            self.notify(str(error), severity="error")


def _files(env: Mapping[str, str]) -> list[Recent]:
    """Recent workspaces, and those in the folder where the application was started."""
    found = read_recent(env)
    known = {recent.path for recent in found}
    with contextlib.suppress(OSError):
        for path in sorted(Path.cwd().glob("*.pairsmith"))[:20]:
            if path.absolute() not in known and path.is_file():
                found.append(Recent(path.absolute(), "", 0.0))
    return found

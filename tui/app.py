"""The application: places by number keys, themes, help, palette; and how it ends.

Nothing heavy is imported here or by the first screen: the first frame comes before any of it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual.app import App, ComposeResult, SystemCommand
from textual.binding import Binding
from textual.screen import Screen

from pairsmith.pairs.errors import PairsmithError

from .jobs import Jobs
from .keymap import AppSettings, read_app_settings
from .places import PLACES, place_at, place_named
from .pulls import Pulls
from .recent import note_opened
from .session import JobLine, Session
from .text import safe
from .themes import DEFAULT, THEMES, with_dim_labels
from .widgets.bars import PlacesBar, TopBar
from .working import begin

if TYPE_CHECKING:
    from textual.notifications import SeverityLevel

    from pairsmith.pairs.store.workspace import Workspace

JOB_POLL_S = 2.0


class PairsmithApp(App[int]):
    """One start of Pairsmith on at most one workspace."""

    TITLE = "Pairsmith"
    ENABLE_COMMAND_PALETTE = True
    CSS = "Screen { background: $background; color: $foreground; }"
    BINDINGS = [  # noqa: RUF012 - Textual's own declaration
        *(
            Binding(key, f"place_key('{key}')", "", show=False, id=f"app.place.{key}", tooltip="")
            for key in "123456789"
        ),
        Binding("question_mark,f1", "keys", "keys", show=False, id="app.keys", tooltip="This list"),
        Binding(
            "ctrl+q", "quit", "quit", show=False, priority=True, id="app.quit", tooltip="Quit; a job pauses"
        ),
        Binding(
            "ctrl+t",
            "tour",
            "tour",
            show=False,
            id="app.tour",
            tooltip="The guided tour: how far, and what next",
        ),
        Binding(
            "ctrl+z", "suspend_process", show=False, id="app.suspend", tooltip="To the shell; fg comes back"
        ),
    ]

    def __init__(self, session: Session, settings: AppSettings | None = None, start: str = "home") -> None:
        super().__init__()
        self.session = session
        self.jobs = Jobs(self)
        self.pulls = Pulls(self)
        self._leaving = False
        self._settings = settings or read_app_settings(session.env)
        self._kept_theme = self._settings.theme
        self._start = start if place_named(start) else PLACES[0].id
        self.failure: PairsmithError | None = None
        """Why the workspace could not be opened; the application has ended then."""
        for place in PLACES:
            self.add_mode(place.id, place.make)
        for theme in THEMES:
            self.register_theme(theme)
        known = set(self.available_themes)
        self.theme = self._settings.theme if self._settings.theme in known else DEFAULT
        self.set_keymap(self._settings.keys)

    def compose(self) -> ComposeResult:
        """The first frame, where a workspace is to be opened yet: lines 1 and 2, without the store or any place."""
        if self.session.opening is not None:
            yield TopBar()
            yield PlacesBar(self._start)

    async def on_mount(self) -> None:
        """Go to the first place; what takes longer comes after the first frame."""
        self.theme_changed_signal.subscribe(self, lambda theme: self._keep_theme(theme.name))
        if self.session.opening is not None:
            self.call_after_refresh(self._arrive, self.session.opening)
            return
        await self.switch_mode(self._start)
        self.call_after_refresh(self._begin)

    def _arrive(self, path: Path) -> None:
        self.run_worker(self._open_first(path), name="open", exit_on_error=False)

    async def _open_first(self, path: Path) -> None:
        def work() -> Workspace:
            from pairsmith.pairs.store.workspace import open_workspace

            opened = open_workspace(path)
            place = place_named(self._start)
            if place is not None:
                place.prepare()
            return opened

        try:
            self.session.workspace = await asyncio.to_thread(work)
        except PairsmithError as error:
            self.failure = error
            self.exit(error.exit_code)
            return
        finally:
            self.session.opening = None
        await self.switch_mode(self._start)
        self._begin()

    def get_css_variables(self) -> dict[str, str]:
        """Those of the theme."""
        self.theme_variables = with_dim_labels(super().get_css_variables())
        return self.theme_variables

    def _begin(self) -> None:
        begin(self, self._check_settings, group="settings")
        self._remember()
        self.run_worker(self._follow(), name="follow", exit_on_error=False)

    async def _check_settings(self) -> None:
        """Say what of the settings is not used. To know that of keys takes every screen: after the first frame."""
        if self._settings.keys:
            await self.read_keys()
        problems = self.settings_problems
        if problems:
            more = f"settings: {len(problems)} entries are not used. 9 Settings says which, and why"
            self.notify(problems[0] if len(problems) == 1 else more, severity="warning")

    def _remember(self) -> None:
        """Note for Home that this workspace was open."""
        workspace, env = self.session.workspace, self.session.env
        if workspace is None:
            return

        def note() -> None:
            note_opened(env, workspace.path, workspace.meta("domain") or "")

        async def remember() -> None:
            with contextlib.suppress(PairsmithError, RuntimeError):
                await asyncio.to_thread(note)

        begin(self, remember, group="remember")

    async def _follow(self) -> None:
        while True:
            with contextlib.suppress(PairsmithError, RuntimeError):
                await self.look_again()
            await asyncio.sleep(JOB_POLL_S)

    async def look_again(self) -> None:
        """Read who writes and judges and what other processes do, and paint line 1 where that changed."""
        session = self.session
        before = session.generator, session.judge, session.job, session.embedded, session.tour
        await session.read_makers()
        await session.read_tour()
        if session.job is None or "process" in session.job.name:
            session.job = await session.read_foreign_job()
        if (session.generator, session.judge, session.job, session.embedded, session.tour) != before:
            self.show_session()

    def show_job(self, job: JobLine | None) -> None:
        """Say in line 1 what is running; None: nothing is."""
        if job != self.session.job:
            self.session.job = job
            self.show_session()

    def show_session(self) -> None:
        """Paint lines 1 and 2 of the present place again."""
        from .screens.base import PlaceScreen

        for screen in self.screen_stack:
            if isinstance(screen, PlaceScreen):
                screen.show_session()

    def tell_news(self, place: str) -> None:
        """Put a dot at a place where something happened, unless one is there."""
        if self.current_mode != place:
            self.session.news.add(place)
            self.show_session()

    async def open(self, path: Path) -> None:
        """Change to another workspace; every place begins anew. Raises PairsmithError, and stays where it is then."""
        from pairsmith.pairs.store.workspace import open_workspace

        opened = await asyncio.to_thread(open_workspace, path)
        await self.use(opened)

    async def use(self, workspace: Workspace) -> None:
        """Change to a workspace that is open already. A job on the one before is paused first."""
        await self.jobs.forget()
        old, self.session.workspace = self.session.workspace, workspace
        here = self.current_mode
        self.session.job = None
        self.session.news.clear()
        await self.session.read_makers()
        await self.session.read_tour()
        for place in PLACES:
            if place.id != here:
                await self.remove_mode(place.id)
                self.add_mode(place.id, place.make)
        if old is not None:
            await old.aclose()
        self._remember()
        self.show_session()

    async def on_unmount(self) -> None:
        """Downloads end with the application; what has arrived is kept."""
        self.pulls.give_up_all()

    def action_tour(self) -> None:
        """Show the guided tour, or put it away."""
        from .screens.tour import TourScreen

        screen = self.screen
        if isinstance(screen, TourScreen):
            screen.dismiss(None)
        elif self.session.opening is None:
            begin(self, self._tour, group="tour")

    async def _tour(self) -> None:
        from .screens.tour import show_tour

        try:
            await show_tour(self)
        except (PairsmithError, OSError) as error:
            self.notify(str(error), severity="error")

    async def action_quit(self) -> None:
        """Leave; a job is paused first, and asking twice does not wait for its calls in flight."""
        if not self.jobs.running:
            self.exit()
        elif self._leaving:
            self.jobs.give_up()
        else:
            self._leaving = True
            self.notify(
                "Pausing the job: calls in flight are finished (ctrl+q again leaves at once)", timeout=60
            )
            self.run_worker(self._leave(), name="leave", exit_on_error=False)

    async def _leave(self) -> None:
        await self.jobs.leave()
        self.exit()

    async def action_place_key(self, key: str) -> None:
        """Go to the place of a number key."""
        place = place_at(key)
        if place is not None:
            await self.action_place(place.id)

    async def action_place(self, name: str) -> None:
        """Go to a place."""
        place = place_named(name)
        if place is None or self.current_mode == name:
            return
        if self.session.opening is not None:
            self._start = name
            return
        if place.needs_workspace and self.session.workspace is None:
            self.notify("Open or make a workspace first", severity="warning")
            return
        await self.switch_mode(name)

    def action_keys(self) -> None:
        """Show the keys of the present place."""
        from .screens.keys import KeysScreen, keys_of

        screen = self.screen
        if isinstance(screen, KeysScreen):
            screen.dismiss()
            return
        place = place_named(getattr(screen, "PLACE", ""))
        lines = keys_of(screen)
        if not any(
            active.node is screen and key in "123456789" for key, active in screen.active_bindings.items()
        ):
            lines.append((" ".join(place.key for place in PLACES), "Go to a place"))
        lines.append((self.get_key_display(Binding("ctrl+p", "command_palette")), "Find any action by name"))
        self.push_screen(KeysScreen(place.name if place else "this screen", lines))

    def action_command_palette(self) -> None:
        """Find any action by name."""
        from .palette import Palette

        if not isinstance(self.screen, Palette):
            self.push_screen(Palette(id="--command-palette"))

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """The palette: everything that the present place can do, every place, and what Textual offers."""
        from .palette import commands_of

        return commands_of(self, screen, super().get_system_commands(screen))

    def notify(
        self,
        message: str,
        *,
        title: str = "",
        severity: SeverityLevel = "information",
        timeout: float | None = None,
        markup: bool = False,
    ) -> None:
        """Say something in the last line, where it covers nobody's work. Never read as markup, whatever is asked."""
        from .widgets.bars import NOTICE_S, KeyBar

        text = safe(" ".join(f"{title} {message}".split()), 300)
        bars = self.screen.query(KeyBar) if self.is_running and self.screen_stack else None
        if bars:
            bars.first().notice(text, severity, timeout or NOTICE_S)
        else:
            super().notify(text, severity=severity, timeout=timeout, markup=False)

    @property
    def changed_keys(self) -> dict[str, str]:
        """Binding id -> keys, those that the user changed."""
        return dict(self._settings.keys)

    @property
    def settings_problems(self) -> Sequence[str]:
        """What of the settings file is not used, and why."""
        return self._settings.problems

    async def read_keys(self) -> None:
        """Read the changed keys anew; those that cannot be used are as they were."""
        from .key_check import checked

        self._settings = await asyncio.to_thread(lambda: checked(read_app_settings(self.session.env)))
        self.set_keymap(self._settings.keys)

    def change_keys(self, binding: str, keys: str | None) -> None:
        """Store other keys for a binding; None: those that it had first (blocking). Raises PairsmithError."""
        from pairsmith.pairs.user_settings import save_user_settings

        changed = {**read_app_settings(self.session.env).keys}
        changed.pop(binding, None)
        if keys is not None:
            changed[binding] = keys
        save_user_settings(self.session.env, keys=changed or None)

    def _keep_theme(self, name: str) -> None:
        async def keep() -> None:
            from pairsmith.pairs.user_settings import save_user_settings

            try:
                await asyncio.to_thread(lambda: save_user_settings(self.session.env, theme=name))
            except PairsmithError as error:
                self.notify(str(error), severity="error")

        if name != self._kept_theme:
            self._kept_theme = name
            begin(self, keep, group="theme")

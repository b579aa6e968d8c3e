"""Settings: the user's defaults for every workspace, the theme, where things lie, and every key."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from textual.binding import Binding
from textual.widget import Widget

from pairsmith.backends.errors import BackendError
from pairsmith.backends.text import one_line
from pairsmith.pairs.errors import PairsmithError, UsageError
from pairsmith.pairs.user_settings import UserSettings, read_user_settings, save_user_settings, settings_path

from ..key_check import wrong_keys
from ..places import PLACES
from ..text import fill, line, wrap
from ..themes import THEMES
from ..widgets.line import Piece
from ..widgets.pick_list import Entry, PickList
from ..working import begin
from .ask import FormScreen, Text, Values
from .form_rows import Setting, setting_entries, tail
from .list_place import ListPlace


class SettingsScreen(ListPlace):
    """See the module."""

    PLACE = "settings"
    LIST = "form"
    CSS = "SettingsScreen #form { margin: 1 0 0 0; }"
    BINDINGS = [  # noqa: RUF012 - Textual's own declaration
        Binding("enter", "change", "change", id="settings.change", tooltip="Type a value, or take the next one"),
        Binding("left,h", "turn(-1)", "choose", key_display="←/→", id="settings.back", tooltip="Another theme"),
        Binding("right,l", "turn(1)", "choose on", show=False, id="settings.on", tooltip="The next theme"),
        Binding("x", "clear", "clear", id="settings.clear", tooltip="Take a default away"),
        Binding("r", "read_again", "read again", id="settings.read", tooltip="Read the settings file again"),
        Binding("j,down", "move(1)", "next", show=False, id="settings.next", tooltip="The next line"),
        Binding("k,up", "move(-1)", "previous", show=False, id="settings.previous", tooltip="The line before"),
        Binding("pagedown", "move(10)", "further", show=False, id="settings.further", tooltip="Ten lines on"),
        Binding("pageup", "move(-10)", "less far", show=False, id="settings.less_far", tooltip="Ten lines back"),
    ]  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.user = UserSettings()
        self._problem = ""
        self._known_keys: list[Binding] = []

    def body(self) -> Iterable[Widget]:
        """One list."""
        yield PickList(id="form")

    @property
    def form(self) -> PickList:
        """The list of settings."""
        return self.list

    def on_screen_resume(self) -> None:
        """The file may have been edited by hand."""
        super().on_screen_resume()
        self._read_soon()

    def _read_soon(self) -> None:
        begin(self, self._read, group="read")

    def action_read_again(self) -> None:
        """Read the file, and say so."""
        self._read_soon()
        self.notify(f"Read again: {settings_path(self.session.env)}")

    async def _read(self) -> None:
        self._problem = ""
        try:
            self.user = await asyncio.to_thread(read_user_settings, self.session.env)
        except PairsmithError as error:
            self._problem = str(error)
            self.notify(self._problem, severity="error")
        await self.application.read_keys()
        self.paint()

    def paint(self) -> None:
        """Paint the list."""
        width = self.form.size.width
        if not width:
            return
        user = self.user
        none = "none: the workspace's own"
        settings = [
            Setting(
                "generator",
                "generator",
                user.generator or none,
                note="writes where a workspace names no model",
            ),
            Setting("judge", "judge", user.judge or none, note="judges where a workspace names no model"),
            Setting(
                "base_url", "server", user.base_url or "none", note="the address that openai:MODEL means"
            ),
            Setting("theme", "theme", self.app.theme, True, "NO_COLOR takes all colours away"),
            Setting(
                "rater", "rater", user.rater or "none", note="the name that blind ratings are stored under"
            ),
            Setting(
                "reproducible",
                "llama.cpp",
                "one at a time" if user.reproducible else "many at once",
                True,
                "one at a time: slower, but a replay gives the same bytes",
            ),
        ]
        entries = setting_entries(settings, width)
        entries += [
            Entry("gap", ((),), pickable=False),
            *self._places(width),
            Entry("gap2", ((),), pickable=False),
        ]
        self.form.show_entries([*entries, *self._keys(width)])

    def _places(self, width: int) -> list[Entry]:
        path = settings_path(self.session.env)
        rows = [("settings", tail(path, width - 34) + ("" if path.exists() else " (none yet)"))]
        if self.session.path is not None:
            local = " (local-only)" if self.session.workspace and self.session.workspace.local_only else ""
            rows.append(("workspace", tail(self.session.path, width - 34) + local))
        return [
            Entry(f"lies-{name}", ((Piece(fill(name, 14), "quiet"), Piece(text)),), pickable=False)
            for name, text in rows
        ]

    def _keys(self, width: int) -> list[Entry]:
        found = [
            Entry("keys", ((Piece("Keys", "strong"), Piece("   [keys] in the settings file changes them:"
                                                           ' "review.accept" = "a,y"', "quiet")),), pickable=False)
        ]  # fmt: skip
        for number, text in enumerate(self.application.settings_problems):
            rows = tuple((Piece(part, "bad"),) for part in wrap(f"✗ {text}", max(8, width - 4)))
            found.append(Entry(f"problem-{number}", rows, pickable=False))
        changed = self.application.changed_keys
        if not self._known_keys:
            screens = [self if place.id == self.PLACE else place.make() for place in PLACES]
            self._known_keys = [
                one for screen in screens for one in screen.BINDINGS if isinstance(one, Binding)
            ]
        for binding in self._known_keys:
            if binding.id:
                keys = changed.get(binding.id, binding.key)
                mark = " changed" if binding.id in changed else ""
                sentence = line(binding.tooltip or binding.description, max(8, width - 50))
                row = (
                    Piece(fill(line(binding.id, 24), 25)),
                    Piece(fill(line(keys, 18), 19), "accent"),
                    Piece(sentence, "quiet"),
                    Piece(mark, "good"),
                )
                found.append(Entry(f"key:{binding.id}", (row,)))
        return found

    def action_turn(self, steps: int) -> None:
        """Another theme, or the other way of working."""
        if self.form.current == "reproducible":
            begin(self, self._turned, group="save")
            return
        if self.form.current != "theme":
            self.notify("enter changes this one")
            return
        ours = [theme.name for theme in THEMES]
        names = ours + sorted(name for name in self.app.available_themes if name not in ours)
        at = names.index(self.app.theme) if self.app.theme in names else 0
        self.app.theme = names[(at + steps) % len(names)]
        self.paint()

    def take(self) -> None:
        """Change it."""
        self.action_change()

    def action_change(self) -> None:
        """Ask for a value."""
        here = self.form.current
        if here in ("generator", "judge"):
            self.app.push_screen(self._model_form(here))
        elif here == "base_url":
            self.app.push_screen(self._url_form())
        elif here in ("theme", "reproducible"):
            self.action_turn(1)
        elif here == "rater":
            self.app.push_screen(self._rater_form())
        elif here is not None and here.startswith("key:"):
            self.app.push_screen(self._key_form(here.partition(":")[2]))

    def _model_form(self, kind: str) -> FormScreen:
        async def do(values: Values) -> str | None:
            from pairsmith.pairs.model_choice import check_model

            spec = values["model"].strip()
            name = None
            if spec:
                name, _ = await check_model(spec, await self.session.backend_settings())
            await self._save(kind, name)
            return None

        present = (self.user.generator if kind == "generator" else self.user.judge) or ""
        fields = [Text("model", "BACKEND:MODEL", present, "empty: none")]
        return FormScreen(
            f"The default {kind}", fields, do, intro="For every workspace that names none of its own."
        )

    def _url_form(self) -> FormScreen:
        async def do(values: Values) -> str | None:
            from pairsmith.backends.addresses import read_url

            url = values["url"].strip()
            if url:
                read_url(url)
            await self._save("base_url", url or None)
            return None

        fields = [Text("url", "address", self.user.base_url or "", "http://127.0.0.1:8000/v1; empty: none")]
        return FormScreen("An OpenAI-compatible server", fields, do)

    def _rater_form(self) -> FormScreen:
        async def do(values: Values) -> str | None:
            from pairsmith.pairs.store.ratings import rater_name

            text = values["rater"].strip()
            await self._save("rater", rater_name(text) if text else None)
            return None

        return FormScreen("Who rates?", [Text("rater", "name", self.user.rater or "", "empty: none")], do)

    def _key_form(self, binding: str) -> FormScreen:
        async def do(values: Values) -> str | None:
            keys = ",".join(part.strip() for part in values["keys"].split(",") if part.strip())
            changed = {**self.application.changed_keys, binding: keys}
            if not keys:
                del changed[binding]
            for action, why in (await asyncio.to_thread(wrong_keys, changed)).items():
                raise UsageError(why if action == binding else f"{one_line(action, 40)}: {why}")
            await asyncio.to_thread(self.application.change_keys, binding, keys or None)
            await self.application.read_keys()
            self.paint()
            return None

        now = self.application.changed_keys.get(binding, "")
        fields = [Text("keys", "keys", now, "such as a,y or ctrl+g; empty: as they were")]
        return FormScreen(f"Keys of {one_line(binding, 40)}", fields, do)

    def action_clear(self) -> None:
        """Take a default away."""
        here = self.form.current
        if here in ("generator", "judge", "base_url", "rater"):
            begin(self, self._cleared, here, group="save")
        else:
            self.notify("There is nothing to clear here")

    async def _cleared(self, name: str) -> None:
        try:
            await self._save(name, None)
            self.notify("No rater any more" if name == "rater" else f"No default {name} any more")
        except (PairsmithError, BackendError) as error:
            self.notify(str(error), severity="error")

    async def _turned(self) -> None:
        try:
            await self._save("reproducible", None if self.user.reproducible else True)
        except (PairsmithError, BackendError) as error:
            self.notify(str(error), severity="error")

    async def _save(self, name: str, value: str | bool | None) -> None:
        await asyncio.to_thread(lambda: save_user_settings(self.session.env, **{name: value}))
        await self._read()
        await self.session.read_makers()
        self.application.show_session()

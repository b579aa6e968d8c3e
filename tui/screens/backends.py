"""Backends: which are there, which models they have, whether those answer; and who writes and who judges."""

from __future__ import annotations

import asyncio
import importlib
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from textual.binding import Binding
from textual.widget import Widget

from pairsmith.backends.errors import BackendError
from pairsmith.backends.text import one_line
from pairsmith.pairs.errors import PairsmithError

from ..widgets.lines import Lines, plain
from ..widgets.meters import duration
from ..widgets.pick_list import PickList
from ..working import begin
from .ask import FormScreen, Text, Values
from .backends_rows import ORDER, backend_entries, detail_rows
from .demonstration import note_rows
from .list_place import ListPlace

if TYPE_CHECKING:
    from pairsmith.pairs.backend_checks import Offered


PAINT_S = 0.25
TEST_PROMPT = "Say in one sentence what a good answer is."
TEST_TOKENS = 200
WAY_OUT = "G on a model below chooses a real one, d downloads one"
_START = "enter: does it answer? · t sends it a prompt of yours · G lets it write, J lets it judge"


class BackendsScreen(ListPlace):
    """See the module."""

    PLACE = "backends"
    CSS = """
    BackendsScreen #all { margin: 1 0 0 0; }
    BackendsScreen #detail { height: 6; }
    BackendsScreen.wide #detail { height: 12; }
    """
    BINDINGS = [  # noqa: RUF012 - Textual's own declaration
        Binding("enter,h", "health", "health", id="backends.health", tooltip="Ask it for a token; NIM for its list"),
        Binding("t", "test", "test", id="backends.test", tooltip="Send a prompt of yours and read the answer"),
        Binding("G", "take('generator')", "generator", id="backends.generator", tooltip="Let this model write"),
        Binding("J", "take('judge')", "judge", id="backends.judge", tooltip="Let this model judge"),
        Binding("p", "pull", "pull", id="backends.pull", tooltip="Let Ollama bring a model"),
        Binding("d", "get", "get", id="backends.get", tooltip="Download a small model from the Hugging Face Hub"),
        Binding("x", "give_up", "give up", show=False, id="backends.give_up", tooltip="Give up what is coming here"),
        Binding("o", "server", "server", id="backends.server", tooltip="The address that openai:MODEL means"),
        Binding("K", "key", "API key", id="backends.key", tooltip="Keep a key for NVIDIA NIM in the keyring"),
        Binding("r", "look", "look again", id="backends.look", tooltip="Look again at what is there"),
        Binding("slash", "name", "by name", key_display="/", show=False, id="backends.name",
                tooltip="Type a model's name to let it write"),
        Binding("j,down", "move(1)", "next", show=False, id="backends.next", tooltip="The next line"),
        Binding("k,up", "move(-1)", "previous", show=False, id="backends.previous", tooltip="The line before"),
        Binding("pagedown", "move(10)", "on", show=False, id="backends.on", tooltip="Ten lines on"),
        Binding("pageup", "move(-10)", "back", show=False, id="backends.back", tooltip="Ten lines back"),
    ]  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.offered: dict[str, Offered] = {}
        self._said: dict[str, tuple[str, str]] = {}
        self._painted = -1
        self._done: set[str] = set()
        self._wanted: str | None = None

    def body(self) -> Iterable[Widget]:
        """The list, and what was answered last."""
        yield PickList(id="all")
        yield Lines(id="detail")

    @property
    def detail(self) -> str:
        """What stands below the list, for tests."""
        return plain(self.query_one("#detail", Lines).rows)

    def on_mount(self) -> None:
        """Look once; follow pulls."""
        self.set_interval(PAINT_S, self._tick)
        self.call_after_refresh(self.look)

    def on_screen_resume(self) -> None:
        """Paint who writes and judges."""
        super().on_screen_resume()
        self.call_after_refresh(self.paint)
        if self.offered:  # a model may have been written or brought meanwhile
            begin(self, self._ask_one, "llama-cpp", group="llama-cpp")

    def show_session(self) -> None:
        """Who writes and who judges is marked in the list."""
        super().show_session()
        if self.is_mounted:
            self.paint()

    def _tick(self) -> None:
        pulls = self.application.pulls
        if pulls.version != self._painted:
            self._painted = pulls.version
            done = {pull.model: pull.backend for pull in pulls.all.values() if pull.done}
            for name in {done[model] for model in done.keys() - self._done}:
                begin(self, self._ask_one, name, group=name)
            self._done = set(done)
            if self.is_current:
                self.paint()

    def paint(self) -> None:
        """Paint list and answer."""
        width = self.list.size.width
        if not width:
            return
        session = self.session
        pulls = self.application.pulls.all.values()
        notes = note_rows(session, width - 4, WAY_OUT)
        self.list.show_entries(
            backend_entries(self.offered, pulls, session.generator, session.judge, width, notes)
        )
        if self._wanted is not None and self._wanted in {entry.id for entry in self.list.entries}:
            self.list.go_to(self._wanted)
            self._wanted = None
        self._paint_detail()

    def _paint_detail(self) -> None:
        area = self.query_one("#detail", Lines)
        heading, text = self._said.get(self.list.current or "", ("", _START))
        area.show_rows(detail_rows(heading, text, area.size.width, area.size.height))

    def on_pick_list_moved(self, event: PickList.Moved) -> None:
        """Another entry, another answer."""
        event.stop()
        self._paint_detail()

    @property
    def model(self) -> str | None:
        """BACKEND:MODEL under the cursor; None on another line."""
        kind, _, rest = (self.list.current or "").partition(":")
        return rest if kind == "model" else None

    def go_to_model(self, spec: str) -> None:
        """Put the cursor on a model, now or once it is known."""
        self._wanted = f"model:{spec}"
        self.list.go_to(self._wanted)

    def say(self, entry: str, heading: str, text: str) -> None:
        """Keep what an entry answered."""
        self._said[entry] = (heading, text)
        self._paint_detail()

    def look(self) -> None:
        """Ask every backend of this machine what it has; NIM only whether there is a key."""
        self.offered.clear()
        self.paint()
        begin(self, self._look, group="look")

    def action_look(self) -> None:
        """Ask all of them again."""
        self.look()
        self.notify("Looking again at every backend")

    async def _look(self) -> None:
        for module in ("backends.ollama", "backends.openai_compatible", "pairs.backend_checks"):
            await asyncio.to_thread(importlib.import_module, f"pairsmith.{module}")
        await asyncio.gather(*(self._ask_one(name) for name in ORDER), return_exceptions=True)

    async def _ask_one(self, name: str, ask_nim: bool = False) -> None:
        from pairsmith.pairs.backend_checks import offered_by
        from pairsmith.pairs.findings import Finding

        try:
            settings = await self.session.backend_settings()
            self.offered[name] = await offered_by(name, settings, ask_nim=ask_nim)
        except (PairsmithError, BackendError) as error:
            from pairsmith.pairs.backend_checks import Offered

            self.offered[name] = Offered(Finding("backends", name, "bad", one_line(str(error))))
        self.paint()

    def take(self) -> None:
        """Ask it."""
        self.action_health()

    def action_health(self) -> None:
        """Ask the model for a token, the backend for its list."""
        entry = self.list.current
        if entry is None:
            return
        kind, _, rest = entry.partition(":")
        if kind == "backend":
            self.offered.pop(rest, None)
            self.paint()
            begin(self, self._ask_one, rest, True, group="ask")
        elif kind == "model":
            self.say(entry, rest, "asking…")
            begin(self, self._health, entry, rest, group="health")
        elif kind == "pull":
            self.application.pulls.forget(rest)

    async def _health(self, entry: str, spec: str) -> None:
        from pairsmith.pairs.backend_checks import check_health

        try:
            health = await check_health(spec, await self.session.backend_settings())
        except (PairsmithError, BackendError) as error:
            self.say(entry, f"✗ {spec}", str(error))
            return
        mark = "✓" if health.ok else "✗"
        self.say(
            entry, f"{mark} {spec}", f"{health.summary}. {health.advice}" if health.advice else health.summary
        )

    def action_test(self) -> None:
        """Ask for a prompt."""
        spec, entry = self.model, self.list.current
        if spec is None or entry is None:
            self.notify("Go to a model first")
            return

        async def do(values: Values) -> str | None:
            if not values["prompt"].strip():
                return "Type a prompt"
            self.say(entry, spec, "asking…")
            begin(self, self._test, entry, spec, values["prompt"], group="health")
            return None

        fields = [Text("prompt", "prompt", TEST_PROMPT)]
        self.app.push_screen(FormScreen(f"A prompt for {one_line(spec, 60)}", fields, do, intro="One call."))

    async def _test(self, entry: str, spec: str, prompt: str) -> None:
        from pairsmith.backends.protocol import Message, Request
        from pairsmith.backends.registry import open_backend, parse_spec

        started = time.monotonic()
        backend = None
        try:
            settings = await self.session.backend_settings()
            backend = await asyncio.to_thread(open_backend, parse_spec(spec), settings)
            able = await backend.capabilities()
            messages = (Message("user", prompt),)
            request = Request(
                messages=messages if able.chat else (),
                prompt=None if able.chat else prompt,
                max_tokens=TEST_TOKENS,
                deadline_s=settings.deadline_s,
            )
            answer = await backend.complete(request)
        except (PairsmithError, BackendError) as error:
            self.say(entry, f"✗ {spec}", str(error))
        else:
            used = answer.usage
            took = duration((time.monotonic() - started) / 60)
            heading = f"{spec} · {used.prompt_tokens} tokens in, {used.completion_tokens} out, {took}"
            self.say(entry, heading, answer.text.strip() or "(an empty answer)")
        finally:
            if backend is not None:
                await backend.close()

    def action_take(self, kind: str) -> None:
        """Let the model under the cursor write or judge; on another line, ask for a name."""
        if self.model is None:
            begin(self, self._by_name, kind, group="take")
        else:
            begin(self, self._take, kind, self.model, group="take")

    def action_name(self) -> None:
        """Choose the generator by name."""
        begin(self, self._by_name, "generator", group="take")

    async def _by_name(self, kind: str) -> None:
        from .models import ModelScreen

        await self.app.push_screen_wait(ModelScreen("judge" if kind == "judge" else "generator"))
        self.paint()

    async def _take(self, kind: str, spec: str) -> None:
        from .models import take_model

        try:
            await take_model(self.application, "judge" if kind == "judge" else "generator", spec)
        except (PairsmithError, BackendError) as error:
            self.say(f"model:{spec}", f"✗ {spec}", str(error))
        self.paint()

    def action_pull(self) -> None:
        """Ask which model Ollama shall bring."""

        async def do(values: Values) -> str | None:
            name = values["model"].strip().removeprefix("ollama:")
            if not name:
                return "Type a model's name, such as llama3.2:1b (ollama.com/library lists them)"
            self.application.pulls.start(name)
            self.paint()
            self.list.go_to(f"pull:{name}")
            return None

        fields = [Text("model", "model", "", "such as llama3.2:1b (ollama.com/library lists them)")]
        self.app.push_screen(FormScreen("Which model shall Ollama bring?", fields, do))

    def action_get(self) -> None:
        """Ask which model to download."""
        from .get_model import get_model_form

        self.app.push_screen(get_model_form(self.application))

    def action_give_up(self) -> None:
        """Give the pull under the cursor up."""
        kind, _, rest = (self.list.current or "").partition(":")
        if kind == "pull":
            self.application.pulls.give_up(rest)
        else:
            self.notify("Go to a model that is being brought")

    def action_server(self) -> None:
        """Ask for the address of an OpenAI-compatible server."""

        async def do(values: Values) -> str | None:
            from pairsmith.backends.addresses import read_url
            from pairsmith.pairs.user_settings import save_user_settings

            url = values["url"].strip()
            if url:
                read_url(url)
            await asyncio.to_thread(lambda: save_user_settings(self.session.env, base_url=url or None))
            begin(self, self._ask_one, "openai", group="ask")
            return None

        intro = "vLLM, llama-server, LM Studio, TGI: the address that openai:MODEL means, on every workspace."
        fields = [Text("url", "address", "", "http://127.0.0.1:8000/v1; empty: none")]
        self.app.push_screen(FormScreen("An OpenAI-compatible server", fields, do, intro=intro))

    def action_key(self) -> None:
        """Keep an API key."""
        from .home_ways import key_form

        self.app.push_screen(
            key_form(self.application, lambda: begin(self, self._ask_one, "nim", group="ask"))
        )

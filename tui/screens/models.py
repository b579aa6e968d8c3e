"""Choosing a model for a kind of work, from whatever place: a line to type in, and what is known to be there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal, cast

from textual.app import ComposeResult
from textual.binding import Binding
from textual.widgets import Input, Static

from pairsmith.backends.errors import BackendError
from pairsmith.pairs.errors import PairsmithError

from ..text import content, line, safe
from ..widgets.dialog import Dialog
from ..widgets.fields import SafeInput
from ..widgets.line import Piece
from ..widgets.lines import Lines, Row
from ..working import begin
from .ask import AskYes

if TYPE_CHECKING:
    from ..app import PairsmithApp

Kind = Literal["generator", "judge"]
SHOWN = 8
_WORK = {"generator": "writes the pairs", "judge": "scores the pairs"}


class ModelScreen(Dialog[bool]):
    """Gives True where another model was chosen."""

    DEFAULT_CSS = """
    ModelScreen Lines { height: 9; margin: 1 0 0 0; }
    """
    BINDINGS = [  # noqa: RUF012 - Textual's own declaration
        Binding("down", "pick(1)", "next", show=False),
        Binding("up", "pick(-1)", "previous", show=False),
    ]
    AUTO_FOCUS = "SafeInput"
    hint = "↑ ↓ takes one from the list   enter checks and chooses it   esc leaves"

    def __init__(self, kind: Kind) -> None:
        super().__init__()
        self.heading = f"Which model {_WORK[kind]}?"
        self._kind: Kind = kind
        self._known: list[tuple[str, str]] = []
        self._picked = -1
        self._typed = ""
        self._busy = False

    def parts(self) -> ComposeResult:
        """The line, and the list."""
        again = "takes effect on the next call, also of a job that runs" if self._app.jobs.running else ""
        yield Static(
            content(f"BACKEND:MODEL{'; ' + again if again else ''}", 200), classes="quiet", markup=False
        )
        yield SafeInput(placeholder="such as ollama:llama3.2, or llama-cpp:/path/to/model.gguf")
        yield Lines(id="known")

    def on_mount(self) -> None:
        """Ask the backends of this machine what they have."""
        self._paint()
        begin(self, self._look)

    @property
    def _app(self) -> PairsmithApp:
        return cast("PairsmithApp", self.app)

    async def _look(self) -> None:
        from pairsmith.pairs.backend_checks import offered_by

        around = await self._app.session.surroundings()

        async def one(name: str) -> None:
            found = await offered_by(name, around.settings)
            for model in found.models:
                if model.kind == "chat" or (model.kind == "reward" and self._kind == "judge"):
                    self._known.append((f"{name}:{model.id}", model.description))
            self._paint()

        await asyncio.gather(
            *(one(name) for name in ("llama-cpp", "ollama", "nim", "openai")), return_exceptions=True
        )

    def _matching(self) -> list[tuple[str, str]]:
        words = self._typed.lower().split()
        return [known for known in self._known if all(word in known[0].lower() for word in words)][:SHOWN]

    def _paint(self) -> None:
        area = self.query_one(Lines)
        width = area.size.width or 70
        rows: list[Row] = []
        for number, (spec, description) in enumerate(self._matching()):
            here = number == self._picked
            name = line(spec, width - 4)
            about = line(description, max(0, width - len(name) - 6))
            rows.append((Piece("▸ " if here else "  ", "accent"), Piece(name, "strong" if here else ""),
                         Piece(f"  {about}", "quiet")))  # fmt: skip
        area.show_rows(
            rows or [(Piece("  nothing known that matches; what is typed is taken as it is", "quiet"),)]
        )

    def action_pick(self, steps: int) -> None:
        """Take the next one of the list into the line."""
        matching = self._matching()
        if matching:
            self._picked = (
                (self._picked + steps) % len(matching) if self._picked >= 0 else 0 if steps > 0 else -1
            )
            field = self.query_one(SafeInput)
            with field.prevent(Input.Changed):
                field.value = safe(matching[self._picked][0], 2000, 1)
            field.cursor_position = len(field.value)
            self._paint()

    def on_input_changed(self, event: Input.Changed) -> None:
        """A letter was typed."""
        event.stop()
        self._typed, self._picked = event.value, -1
        self.problem("")
        self._paint()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Check it and take it."""
        event.stop()
        matching = self._matching()
        spec = event.value.strip()
        if 0 <= self._picked < len(matching) and safe(matching[self._picked][0], 2000, 1) == spec:
            spec = matching[self._picked][0]
        if spec and not self._busy:
            self._busy = True
            self.problem("checking…")
            begin(self, self._take, spec)

    async def _take(self, spec: str) -> None:
        try:
            if await take_model(self._app, self._kind, spec):
                self.dismiss(True)
            else:
                self.problem("")
        except (PairsmithError, BackendError) as error:
            self.problem(str(error))
        finally:
            self._busy = False

    def action_cancel(self) -> None:
        """Leave."""
        self.dismiss(False)


async def take_model(app: PairsmithApp, kind: Kind, spec: str) -> bool:
    """Check a model, ask where it leaves the machine for the first time, make it the workspace's (or, without a
    workspace, the user's). False where the answer was no. Raises BackendError, PairsmithError. Call it in a worker.
    """
    from pairsmith.pairs.model_choice import agreed, check_model, choose_model

    session = app.session
    around = await session.surroundings()
    name, origin = await check_model(spec, around.settings)
    workspace = session.workspace
    if workspace is None:
        from pairsmith.pairs.user_settings import save_user_settings

        await asyncio.to_thread(lambda: save_user_settings(session.env, **{kind: name}))
        await session.read_makers()
        app.show_session()
        return True
    if origin is not None and not await workspace.aread(lambda conn: agreed(conn, origin)):
        asked = AskYes(
            "This model is not on this machine",
            [
                f"From now on texts of {workspace.path.name} go to {origin}: instructions"
                f"{' and responses' if kind == 'judge' else ''}, and what exists already as an example.",
                "What you reviewed and edited stays here. You can change back at any time.",
            ],
            yes=f"send them to {line(origin, 40)}",
            no="keep everything here",
        )
        if not await app.push_screen_wait(asked):
            return False
    await choose_model(workspace, kind, name, agree=origin)
    await session.read_makers()
    app.show_session()
    app.notify(f"The {kind} is {name} from the next call on")
    return True

"""Talking to a trained model, or to what it was made of, in the style that it was trained in."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rich.cells import cell_len
from textual import events
from textual.binding import Binding
from textual.widget import Widget
from textual.widgets import Input

from pairsmith.backends.errors import BackendError
from pairsmith.backends.text import one_line
from pairsmith.pairs.chat import Answer, ChatOptions, ChildPartner, run_partner
from pairsmith.pairs.errors import PairsmithError
from pairsmith.pairs.store.runs import Run
from pairsmith.pairs.training_runs import base_of

from ..text import line, wrap
from ..widgets.fields import SafeInput
from ..widgets.line import Line, Piece
from ..widgets.lines import Lines, Row, plain
from ..widgets.once import LeavesOnce
from ..working import begin
from .base import PlaceScreen

PAINT_S = 0.1
LOOK_S = 0.5
MOST_TURNS = 200
_ENDING: set[asyncio.Task[None]] = set()
"""Processes that are being ended; where the application ends too, that kills them."""


@dataclass(slots=True)
class Turn:
    """A question with what was answered so far. `end` says how the answer ended, once it has."""

    asked: str
    said: str = ""
    end: str = ""
    failed: bool = False


class ChatScreen(LeavesOnce, PlaceScreen):
    """See the module. The model's process lives as long as this screen."""

    CSS = """
    ChatScreen #said { margin: 1 0; }
    ChatScreen SafeInput, ChatScreen SafeInput:focus { background: $surface; padding: 0 1; }
    """
    BINDINGS = [  # noqa: RUF012 - Textual's own declaration
        Binding("escape", "give_up", "give up / leave", priority=True, id="chat.leave",
                tooltip="Give the answer up; where there is none, leave"),
        Binding("f2", "other", "tuned or base", priority=True, id="chat.other",
                tooltip="Talk to the trained model, or to the one that it was made of"),
        Binding("f3", "clear", "clear", priority=True, id="chat.clear", tooltip="An empty screen"),
        Binding("pageup", "scroll(-1)", "back", show=False, priority=True, id="chat.back", tooltip="Earlier answers"),
        Binding("pagedown", "scroll(1)", "on", show=False, priority=True, id="chat.on", tooltip="Later answers"),
    ]  # fmt: skip
    AUTO_FOCUS = "#ask"

    def __init__(self, place: str, run: Run) -> None:
        super().__init__()
        self.PLACE = place  # type: ignore[misc]
        self.turns: list[Turn] = []
        self._run = run
        self._base = False
        self._partner: ChildPartner | None = None
        self._work: asyncio.Task[None] | None = None
        self._waiting: str | None = None
        self._status = Piece(" ▶ the model is loaded…", "good")
        self._about = ""
        self._began = 0.0
        self._pieces = 0
        self._up = 0
        self._dirty = True

    def body(self) -> Iterable[Widget]:
        """Who one talks to, what was said, how it goes, the line to type in."""
        yield Line(id="who")
        yield Lines(id="said")
        yield Line(id="status")
        yield SafeInput(placeholder="type a question, enter asks it", id="ask")

    @property
    def text(self) -> str:
        """What was said, for tests."""
        return plain(self.query_one("#said", Lines).rows)

    @property
    def child(self) -> int | None:
        """The model's process; None while there is none."""
        return None if self._partner is None else self._partner.pid

    @property
    def busy(self) -> bool:
        """Whether the model is loaded or answers."""
        return self._work is not None and not self._work.done()

    def on_mount(self) -> None:
        """Load the model, and paint what comes."""
        self.set_interval(PAINT_S, self._tick)
        self.set_interval(LOOK_S, self._look)
        self._begin(None)

    def on_unmount(self) -> None:
        """The model's process ends with the screen, but nobody waits for that."""
        ending = asyncio.get_running_loop().create_task(self._end())
        _ENDING.add(ending)
        ending.add_done_callback(_ENDING.discard)

    # ---- talking -------------------------------------------------------------------------------------------

    def _begin(self, asked: str | None) -> None:
        self._work = asyncio.get_running_loop().create_task(self._talk(asked))

    async def _end(self) -> None:
        task, self._work = self._work, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
        partner, self._partner = self._partner, None
        if partner is not None:
            await partner.close()

    async def _talk(self, asked: str | None) -> None:
        """Load the model where it is not loaded, then answer; what fails is said, and the next question tries again."""
        turn = None if asked is None else Turn(asked)
        if turn is not None:
            self.turns = [*self.turns, turn][-MOST_TURNS:]
            self._up = 0
        try:
            partner = await self._loaded()
            if turn is None and self._waiting is not None:
                turn, self._waiting = Turn(self._waiting), None
                self.turns.append(turn)
            if turn is not None:
                await self._answer(partner, turn)
        except asyncio.CancelledError:
            if turn is not None and not turn.end:
                turn.end = "given up"
            self._say("given up · the next question loads the model again")
            raise
        except (PairsmithError, BackendError, OSError) as error:
            self._failed(str(error), turn)
        finally:
            self._dirty = True

    def _failed(self, text: str, turn: Turn | None) -> None:
        said = one_line(text, 400)
        if turn is not None:
            turn.end, turn.failed = said, True
        self._say(f"✗ {said} · the next question loads the model again", "bad")

    async def _loaded(self) -> ChildPartner:
        if self._partner is not None and self._partner.alive:
            return self._partner
        self._say("▶ the model is loaded…", "good")
        if self._partner is None:
            workspace, run, base = self.session.workspace, self._run, self._base
            assert workspace is not None
            home = (await self.session.backend_settings()).home
            self._partner = await asyncio.to_thread(
                lambda: run_partner(home, workspace, run, ChatOptions(), base=base)
            )
        started = await self._partner.start()
        style, device = (one_line(str(started.get(name) or ""), 60) for name in ("prompt_style", "device"))
        self._about = f"{style} style · {device}"
        self._say("ready · every question stands alone, as in the training", "good")
        return self._partner

    async def _answer(self, partner: ChildPartner, turn: Turn) -> None:
        self._began, self._pieces = time.monotonic(), 0
        self._say("▶ answering · esc gives it up", "good")
        async with contextlib.aclosing(partner.reply(turn.asked)) as pieces:
            async for piece in pieces:
                if isinstance(piece, Answer):
                    turn.said = piece.text
                    turn.end = _ended(piece)
                else:
                    turn.said += piece
                    self._pieces += 1
                self._dirty = True
        self._say("ready", "good")

    def _look(self) -> None:
        """A process that ended while nobody asked is told at once."""
        partner = self._partner
        if partner is not None and not self.busy and not partner.alive and self._status.style == "good":
            self._say("✗ the model's process has ended · the next question loads it again", "bad")

    # ---- what is seen --------------------------------------------------------------------------------------

    def _say(self, text: str, style: str = "") -> None:
        self._status = Piece(f" {text}", style)
        self._dirty = True

    def _tick(self) -> None:
        if self._dirty and self.is_current:
            self.paint()

    def paint(self) -> None:
        """Paint it all; the newest words stand at the bottom."""
        area = self.query_one("#said", Lines)
        width, height = area.size
        if not width:
            return
        self._dirty = False
        base = one_line("/".join(Path(base_of(self._run)).parts[-2:]), 60)
        number = self._run.id
        who = f"what run {number} was made of: {base}" if self._base else f"run {number}, made of {base}"
        about = f"  {line(self._about, width)}" if self._about else ""
        self.query_one("#who", Line).show(
            Piece(f" {line(who, max(20, width - len(about) - 2))}", "strong"), Piece(about, "quiet")
        )
        rows = self._rows(width)
        most = max(0, len(rows) - height)
        self._up = min(self._up, most)
        first = most - self._up
        area.show_rows(rows[first : first + height])
        self.query_one("#status", Line).show(self._live(width))

    def _live(self, width: int) -> Piece:
        text = self._status.text
        seconds = time.monotonic() - self._began
        if self.busy and self._pieces > 1 and seconds > 0:
            text += f" · about {self._pieces / seconds:,.0f} tokens/s"
        return Piece(f" {line(text, width - 2)}", self._status.style)

    def _rows(self, width: int) -> list[Row]:
        rows: list[Row] = []
        for turn in self.turns:
            rows += [(Piece(" ▎", "accent"), Piece(part, "strong")) for part in wrap(turn.asked, width - 4)]
            said = turn.said.strip("\n")
            rows += [(Piece(f"  {part}"),) for part in wrap(said, width - 4) if said]
            if turn.end and not turn.failed and not said.strip():
                rows.append((Piece("  (the answer is empty)", "quiet"),))
            if turn.end:
                style = "bad" if turn.failed else "quiet"
                rows += [(Piece(f"  {part}", style),) for part in wrap(turn.end, width - 4)]
            rows.append(())
        status = self._status
        if (
            status.style == "bad"
            and cell_len(status.text) > width - 2
            and not (self.turns and self.turns[-1].failed)
        ):
            rows += [(Piece(f"  {part}", "bad"),) for part in wrap(status.text.strip(), width - 4)] + [()]
        return rows[:-1]

    # ---- what is done --------------------------------------------------------------------------------------

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Ask."""
        event.stop()
        text = event.value.strip()
        if not text:
            return
        if not self.busy:
            event.input.clear()
            self._begin(text)
        elif self._waiting is None and not (self.turns and not self.turns[-1].end):
            event.input.clear()
            self._waiting = text
            self._say("▶ the model is loaded, then it answers…", "good")
        else:
            self.notify("It still answers: esc gives that up")

    def action_give_up(self) -> None:
        """Give the answer up, or leave."""
        if self.busy and self.turns and not self.turns[-1].end:
            begin(self, self._end, group="end")
        else:
            self.dismiss(None)

    def action_other(self) -> None:
        """The tuned model, or its base."""
        begin(self, self._other, group="end")

    async def _other(self) -> None:
        await self._end()
        self._base, self._about = not self._base, ""
        self._begin(None)

    def action_clear(self) -> None:
        """Forget what was said."""
        self.turns = self.turns[-1:] if self.busy else []
        self._up = 0
        self.paint()

    def action_scroll(self, pages: int) -> None:
        """A screenful up or down."""
        self._up = max(0, self._up - pages * max(1, self.query_one("#said", Lines).size.height - 1))
        self.paint()

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Earlier words."""
        event.stop()
        self._up += 2
        self.paint()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Later words."""
        event.stop()
        self._up = max(0, self._up - 2)
        self.paint()


def _ended(answer: Answer) -> str:
    rate = f", {answer.tokens_per_s:,.0f} tokens/s" if answer.tokens_per_s else ""
    cut = " · cut off" if answer.finish_reason == "length" else ""
    return f"{answer.tokens:,} tokens{rate}{cut}"

"""Small questions: a yes or no, and forms of texts and choices. What a form is for is done before the box closes, so
that what does not work is said inside it and nothing typed is lost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Input, Static

from pairsmith.backends.errors import BackendError
from pairsmith.pairs.errors import PairsmithError

from ..text import content, safe
from ..widgets.dialog import Dialog
from ..widgets.fields import SafeInput
from ..widgets.line import Line, Piece
from ..working import begin

Values = Mapping[str, str]
Do = Callable[[Values], Awaitable[str | None]]
"""Does what a form is for; gives a problem to show, or None where it is done. May raise what a user can cause."""
Say = Callable[[Values], Awaitable[str]]


class AskYes(Dialog[bool]):
    """Gives True only for a clear yes."""

    BINDINGS = [  # noqa: RUF012 - Textual's own declaration
        Binding("y", "yes", "yes", id="ask.yes", tooltip="Do it"),
        Binding("n", "cancel", "no", id="ask.no", tooltip="Leave everything as it is"),
    ]
    AUTO_FOCUS = ""

    def __init__(self, heading: str, lines: Sequence[str], *, yes: str = "yes", no: str = "no") -> None:
        super().__init__()
        self.heading = heading
        self._lines = lines
        self._yes, self._no = yes, no

    def parts(self) -> ComposeResult:
        """The sentences, then two words to press or click."""
        for text in self._lines:
            yield Static(content(text, 600), markup=False)
        bar = Line(id="answers")
        bar.show(
            Piece("y", "accent", "screen.yes"), Piece(f" {self._yes}    ", "", "screen.yes"),
            Piece("n", "accent", "screen.cancel"), Piece(f" {self._no}", "", "screen.cancel"),
        )  # fmt: skip
        yield bar

    def action_yes(self) -> None:
        """Yes."""
        self.dismiss(True)

    def action_cancel(self) -> None:
        """No."""
        self.dismiss(False)


@dataclass(frozen=True, slots=True)
class Text:
    """A line to type in."""

    name: str
    label: str
    value: str = ""
    hint: str = ""
    secret: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few: `options` are (value, what stands there)."""

    name: str
    label: str
    options: Sequence[tuple[str, str]]
    value: str = ""


class ChoiceBox(Widget, can_focus=True):
    """A choice in a form: left and right, space or a click change it."""

    DEFAULT_CSS = """
    ChoiceBox { height: 1; width: 1fr; }
    ChoiceBox:focus { color: $accent; text-style: bold; }
    """
    BINDINGS = [  # noqa: RUF012 - Textual's own declaration
        Binding("right,space", "turn(1)", "other", show=False),
        Binding("left", "turn(-1)", "back", show=False),
    ]

    def __init__(self, choice: Choice) -> None:
        super().__init__(id=f"field-{choice.name}")
        self._options = choice.options
        self._at = next((n for n, (value, _) in enumerate(choice.options) if value == choice.value), 0)

    @property
    def value(self) -> str:
        """What is chosen."""
        return self._options[self._at][0]

    def render(self) -> Content:
        """The option between arrows."""
        return content(f"‹ {self._options[self._at][1]} ›", 200)

    def action_turn(self, steps: int) -> None:
        """Another one."""
        self._at = (self._at + steps) % len(self._options)
        self.refresh()
        if isinstance(self.screen, FormScreen):
            self.screen.changed()

    def on_click(self) -> None:
        """The next one."""
        self.action_turn(1)


class FormScreen(Dialog[bool]):
    """A form; gives True where `do` did it."""

    DEFAULT_CSS = """
    FormScreen Horizontal { height: 1; }
    FormScreen Horizontal > .label { width: 18; color: $text-muted; }
    FormScreen Horizontal > SafeInput { width: 1fr; }
    FormScreen .hint { color: $text-muted; margin: 0 0 0 18; }
    FormScreen #said { margin: 1 0; }
    """
    BINDINGS = [  # noqa: RUF012 - Textual's own declaration
        Binding("down", "app.focus_next", "next", show=False),
        Binding("up", "app.focus_previous", "previous", show=False),
        Binding("enter,ctrl+s", "apply", "apply", id="form.apply", tooltip="Do it"),
    ]
    AUTO_FOCUS = "SafeInput, ChoiceBox"

    def __init__(
        self,
        heading: str,
        fields: Sequence[Text | Choice],
        do: Do,
        *,
        intro: str = "",
        hint: str = "",
        say: Say | None = None,
    ) -> None:
        super().__init__()
        self.heading = heading
        many = len(fields) > 1
        self.hint = hint or (
            "↑ ↓ field   ← → choice   enter does it   esc leaves" if many else "enter does it   esc leaves"
        )
        self._fields, self._do, self._intro, self._say = fields, do, intro, say
        self._busy = False

    def parts(self) -> ComposeResult:
        """A line for each field."""
        if self._intro:
            yield Static(content(self._intro, 1000), markup=False)
        for one in self._fields:
            with Horizontal():
                yield Static(content(one.label, 60), classes="label", markup=False)
                if isinstance(one, Choice):
                    yield ChoiceBox(one)
                else:
                    yield SafeInput(safe(one.value, 2000, 1), password=one.secret, id=f"field-{one.name}")
            if isinstance(one, Text) and one.hint:
                yield Static(content(one.hint, 200), classes="hint", markup=False)
        if self._say is not None:
            yield Static("", id="said", markup=False)

    def on_mount(self) -> None:
        """Say what the first values come to."""
        self.changed()

    @property
    def values(self) -> dict[str, str]:
        """What stands in the fields."""
        found: dict[str, str] = {}
        for one in self._fields:
            box = self.query_one(f"#field-{one.name}")
            assert isinstance(box, (Input, ChoiceBox))
            found[one.name] = box.value
        return found

    def changed(self) -> None:
        """A value is another one."""
        self.problem("")
        if self._say is not None:
            self.run_worker(
                self._said(self._say, self.values), group="say", exclusive=True, exit_on_error=False
            )

    async def _said(self, say: Say, values: Values) -> None:
        try:
            text = await say(values)
        except (PairsmithError, BackendError, ValueError) as error:
            text = str(error)
        self.query_one("#said", Static).update(content(text, 1000))

    def on_input_changed(self, event: Input.Changed) -> None:
        """A letter was typed."""
        event.stop()
        self.changed()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter in a line is enter in the form."""
        event.stop()
        self.action_apply()

    def on_paste(self, event: events.Paste) -> None:
        """What is pasted beside a field goes nowhere."""
        event.stop()

    def action_apply(self) -> None:
        """Do it, and leave where it is done."""
        if not self._busy:
            self._busy = True
            begin(self, self._apply, group="apply")

    async def _apply(self) -> None:
        try:
            problem = await self._do(self.values)
        except (PairsmithError, BackendError, OSError, ValueError) as error:
            problem = str(error) or type(error).__name__
        finally:
            self._busy = False
        if problem is None:
            self.dismiss(True)
        else:
            self.problem(problem)

    def action_cancel(self) -> None:
        """Leave."""
        self.dismiss(False)


def whole_number(text: str, name: str, least: int = 1) -> int:
    """A number that was typed; thousands may be marked. Raises ValueError with a sentence."""
    plain = text.strip().replace(",", "").replace("_", "").replace(" ", "")
    if not (plain.isascii() and plain.isdigit() and len(plain) < 10 and int(plain) >= least):
        raise ValueError(f"{name} is a whole number from {least}")
    return int(plain)

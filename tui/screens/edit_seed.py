"""Writing a seed task by hand: its instruction, an example of input and output, whether it is a classification."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from textual.app import ComposeResult
from textual.binding import Binding
from textual.widgets import Static

from pairsmith.pairs.instances import Instance
from pairsmith.pairs.store.seed_tasks import SeedTask

from ..text import Mask
from ..widgets.dialog import Dialog
from ..widgets.fields import SafeArea
from .edit_pair import Texts


class EditSeedScreen(Dialog[SeedTask | None]):
    """Gives the task as it was written once `keep` has stored it; None where nothing was changed, or it was left."""

    DEFAULT_CSS = """
    EditSeedScreen { align: center bottom; }
    EditSeedScreen > Vertical { width: 100%; height: 1fr; margin-top: 3; }
    EditSeedScreen SafeArea { height: 1fr; min-height: 3; border: none; padding: 0 1; background: $background; }
    EditSeedScreen SafeArea:focus { border: none; background: $surface; }
    """
    BINDINGS = [  # noqa: RUF012 - Textual's own declaration
        Binding("f2,ctrl+s", "save", "save", id="seed.save", priority=True, tooltip="Keep the seed task"),
        Binding(
            "f3", "turn", "classification", id="seed.turn", priority=True, tooltip="Classification or not"
        ),
        Binding(
            "escape", "cancel", "leave", id="seed.cancel", priority=True, tooltip="Leave without keeping it"
        ),
    ]
    hint = "f2 or ctrl+s keeps it   f3 classification   tab next field   esc leaves"
    AUTO_FOCUS = "#instruction"

    def __init__(self, task: SeedTask | None, keep: Callable[[SeedTask], Awaitable[object]]) -> None:
        super().__init__()
        self._keep = keep
        self.heading = "A new seed task" if task is None else "Edit the seed task"
        self._seed = task or SeedTask("")
        self._classification = self._seed.is_classification
        first = self._seed.instances[0] if self._seed.instances else Instance("", "")
        self._texts = Texts(self._seed.instruction, first.input, first.output)
        self._warned = False

    @staticmethod
    def can_hold(task: SeedTask) -> bool:
        """Whether its texts are short enough for text areas."""
        first = task.instances[0] if task.instances else Instance("", "")
        return Texts(task.instruction, first.input, first.output).small

    def parts(self) -> ComposeResult:
        """One area for each text, and what kind of task it is."""
        texts = self._texts
        mask = Mask(texts.instruction, texts.input, texts.output)
        yield Static("instruction", classes="quiet")
        yield SafeArea(texts.instruction, mask, id="instruction")
        yield Static("an example of its input; empty where it needs none", classes="quiet")
        yield SafeArea(texts.input, mask, id="input")
        yield Static("the output for that input; empty: no example", classes="quiet")
        yield SafeArea(texts.output, mask, id="output")
        yield Static("", id="kind", markup=False)

    def on_mount(self) -> None:
        """Say which kind it is."""
        self._say_kind()

    def _say_kind(self) -> None:
        kind = (
            "a classification: one of a few labels is the answer"
            if self._classification
            else "no classification"
        )
        self.query_one("#kind", Static).update(f"{kind}   f3 changes it")

    @property
    def typed(self) -> Texts:
        """What stands in the areas."""
        names = ("instruction", "input", "output")
        return Texts(*(self.query_one(f"#{name}", SafeArea).stored for name in names))

    @property
    def _changed(self) -> bool:
        return self.typed != self._texts or self._classification != self._seed.is_classification

    def action_turn(self) -> None:
        """A classification, or not."""
        self._classification = not self._classification
        self._say_kind()

    def action_save(self) -> None:
        """Store what was written."""
        typed = self.typed
        if not typed.instruction.strip():
            self.problem("the instruction is empty")
        elif typed.input.strip() and not typed.output.strip():
            self.problem("an input without an output is no example: write the output, or empty the input")
        elif self._changed:
            made = self._made(typed)
            self.leave_when(lambda: self._keep(made), made)
        else:
            self.dismiss(None)

    def _made(self, typed: Texts) -> SeedTask:
        others = self._seed.instances[1:]
        first = (Instance(typed.input, typed.output),) if typed.output.strip() else ()
        task = self._seed
        return SeedTask(typed.instruction, (*first, *others), self._classification, task.name, task.source)

    def action_cancel(self) -> None:
        """Leave; where something was written, only when asked twice."""
        if self._changed and not self._warned:
            self._warned = True
            self.problem("Not kept. f2 keeps it; esc once more throws it away")
            return
        self.dismiss(None)

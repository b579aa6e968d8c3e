"""`?`: every key of the place one is in, with a sentence each."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen, Screen
from textual.widgets import Static

from ..text import fill, safe
from ..widgets.once import LeavesOnce


class KeysScreen(LeavesOnce, ModalScreen[None]):
    """A list over the place; any of its keys closes it."""

    DEFAULT_CSS = """
    KeysScreen { align: center middle; }
    KeysScreen > VerticalScroll {
        width: 76; max-width: 96%; height: auto; max-height: 90%; padding: 0 1;
        background: $panel; border: round $accent;
    }
    KeysScreen Static { height: auto; }
    KeysScreen Horizontal { height: auto; }
    KeysScreen .sentence { width: 1fr; }
    """
    BINDINGS = [  # noqa: RUF012 - Textual's own declaration
        Binding("escape,question_mark,f1,q,enter", "close", "close", id="keys.close"),
        Binding("j,down", "scroll(1)", "down", show=False),
        Binding("k,up", "scroll(-1)", "up", show=False),
    ]

    def __init__(self, place: str, lines: list[tuple[str, str]]) -> None:
        super().__init__()
        self._place = place
        self._lines = lines

    def compose(self) -> ComposeResult:
        """A title and a line for each key."""
        width = min(24, max((len(keys) for keys, _ in self._lines), default=0) + 2)
        with VerticalScroll():
            yield Static(Content.styled(f"Keys of {self._place}", "bold"))
            for keys, sentence in self._lines:
                with Horizontal():
                    key = Static(Content.styled(fill(keys, width), "$accent"), classes="key")
                    key.styles.width = width
                    yield key
                    yield Static(Content(safe(sentence, 200)), classes="sentence")
            yield Static(Content.styled("esc closes", "dim"))

    def action_close(self) -> None:
        """Back to the place."""
        self.dismiss()

    def action_scroll(self, lines: int) -> None:
        """Move the list."""
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)


def keys_of(screen: Screen[object]) -> list[tuple[str, str]]:
    """Keys and what they do, the screen's own first; several keys that do one thing stand together."""
    keys: dict[str, list[str]] = {}
    ordered = sorted(screen.active_bindings.values(), key=lambda active: active.node is not screen)
    for active in ordered:
        binding = active.binding
        sentence = binding.tooltip or active.tooltip or binding.description
        if not sentence or binding.id is None or active.node not in (screen, screen.app):
            continue
        display = screen.app.get_key_display(binding)
        keys.setdefault(sentence, []).append(display)
    return [(" ".join(dict.fromkeys(shown)), sentence) for sentence, shown in keys.items()]

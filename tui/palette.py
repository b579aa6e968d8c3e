"""What the command palette offers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from textual.app import SystemCommand
from textual.command import CommandPalette
from textual.screen import Screen
from textual.worker import Worker

from .places import PLACES
from .text import safe

if TYPE_CHECKING:
    from .app import PairsmithApp


class Palette(CommandPalette):
    """Textual's own; but where it is left while it still looks for commands, that does not end the application."""

    def run_worker(self, *arguments: Any, **options: Any) -> Worker[Any]:
        """As Textual's, without its exit on an error."""
        return super().run_worker(*arguments, **{**options, "exit_on_error": False})


def commands_of(
    app: PairsmithApp, screen: Screen[Any], offered: Iterable[SystemCommand]
) -> Iterable[SystemCommand]:
    """Everything that the present place can do, every place, and of what Textual offers what makes sense here."""
    seen: set[tuple[str, str]] = set()
    for active in screen.active_bindings.values():
        binding = active.binding
        what = binding.description, binding.tooltip
        if active.node is screen and binding.description and binding.action and what not in seen:
            seen.add(what)
            action = binding.action
            yield SystemCommand(
                safe(binding.description, 60).capitalize(),
                safe(binding.tooltip or f"key {app.get_key_display(binding)}", 200),
                lambda action=action: app.call_later(app.run_action, action, screen),
            )
    for place in PLACES:
        yield SystemCommand(
            f"Go to {place.name}",
            f"key {place.key}",
            lambda name=place.id: app.call_later(app.action_place, name),
        )
    for command in offered:
        if command.title not in ("Keys", "Screenshot", "Maximize", "Minimize"):
            yield command
    yield SystemCommand(
        "Guided tour",
        "Eight steps, from fifty pairs to a model of your own",
        lambda: app.call_later(app.action_tour),
    )
    yield SystemCommand("Keys", "Every key of this place", lambda: app.call_later(app.action_keys))

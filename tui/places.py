"""The places of the application: which keys lead to them, and which module draws them.

To add a place: write a `PlaceScreen` (`tui/screens/base.py`) in a module of its own and add a line to `PLACES`. What
has no line here is not shown, and its key does nothing.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .screens.base import PlaceScreen


@dataclass(frozen=True, slots=True)
class Place:
    """Somewhere to go: `key` goes there from everywhere, `module` holds the screen class `screen`."""

    key: str
    id: str
    name: str
    module: str
    screen: str
    needs_workspace: bool = True

    def prepare(self) -> None:
        """Import its module, on whatever thread."""
        importlib.import_module(f".{self.module}", __package__)

    def make(self) -> PlaceScreen:
        """Its screen; the module is imported now."""
        found = importlib.import_module(f".{self.module}", __package__)
        made: PlaceScreen = getattr(found, self.screen)()
        return made


PLACES: tuple[Place, ...] = (
    Place("1", "home", "Home", "screens.home", "HomeScreen", needs_workspace=False),
    Place("2", "backends", "Backends", "screens.backends", "BackendsScreen", needs_workspace=False),
    Place("3", "topics", "Topics", "screens.topics", "TopicsScreen"),
    Place("4", "generate", "Generate", "screens.generate", "GenerateScreen"),
    Place("5", "review", "Review", "screens.review", "ReviewScreen"),
    Place("6", "train", "Train", "screens.train", "TrainScreen"),
    Place("7", "evaluate", "Evaluate", "screens.evaluate", "EvaluateScreen"),
    Place("8", "export", "Export", "screens.export", "ExportScreen"),
    Place("9", "settings", "Settings", "screens.settings", "SettingsScreen", needs_workspace=False),
)


def place_named(name: str) -> Place | None:
    """The place of this id; None where it is not built."""
    return next((place for place in PLACES if place.id == name), None)


def place_at(key: str) -> Place | None:
    """The place that a number key leads to; None where there is none."""
    return next((place for place in PLACES if place.key == key), None)

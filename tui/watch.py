"""What a job must be, and what looks at it, so that `Jobs` can run it without knowing what it does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pairsmith.pairs.control import Control
    from pairsmith.pairs.events import Event


class Watch(Protocol):
    """What a place remembers of the events of its own job."""

    name: str
    """What line 1 calls it."""
    place: str
    """Where its news are looked at."""
    pausing: str
    stopping: str
    """What becomes of what is done, when it is paused or stopped."""

    @property
    def progress(self) -> tuple[int | None, int | None]:
        """Done, and of how many."""
        ...

    @property
    def minutes_left(self) -> float | None:
        """Minutes to the end; None where nobody knows."""
        ...

    def take(self, event: Event) -> None:
        """Remember what is worth showing."""
        ...


class Watched(Protocol):
    """A job that can be watched."""

    control: Control

    def events(self) -> AsyncIterator[Event]:
        """Run it."""
        ...

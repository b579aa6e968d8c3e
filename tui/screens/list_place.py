"""A place that is one list to go through, with what is under the cursor told beside it."""

from __future__ import annotations

from typing import ClassVar

from ..widgets.pick_list import PickList
from .base import PlaceScreen


class ListPlace(PlaceScreen):
    """A place with a cursor in a list. Say the list's id, `LIST`, and what a second click does, `take`."""

    LIST: ClassVar[str] = "all"

    @property
    def list(self) -> PickList:
        """The list."""
        return self.query_one(f"#{self.LIST}", PickList)

    def take(self) -> None:
        """What a second click on an entry does."""
        raise NotImplementedError

    def on_pick_list_picked(self, event: PickList.Picked) -> None:
        """A click picks, another takes."""
        event.stop()
        if event.twice:
            self.take()

    def action_move(self, steps: int) -> None:
        """Move the cursor."""
        self.list.move(steps)

"""Undo and redo in places that show what acts of the workspace change."""

from __future__ import annotations

from pairsmith.pairs.errors import PairsmithError

from ..working import begin
from .list_place import ListPlace


class UndoesActs(ListPlace):
    """A list with undo and redo among its keys."""

    async def read(self) -> None:
        """Read what is shown anew (the place's own)."""
        raise NotImplementedError

    def action_undo(self, back: bool) -> None:
        """Undo or redo the last act of the workspace."""
        begin(self, self._undo, back, group="undo")

    async def _undo(self, back: bool) -> None:
        if await self.take_back(back):
            await self.read()

    async def take_back(self, back: bool) -> bool:
        """Undo or redo, and say it; whether it could be done. What is shown is not read yet."""
        from pairsmith.pairs.store.journal import redo, undo

        workspace = self.session.workspace
        assert workspace is not None
        try:
            entry = await workspace.awrite(undo if back else redo)
        except PairsmithError as error:
            self.notify(str(error), severity="error")
            return False
        none = "Nothing to undo" if back else "Nothing to redo"
        self.notify(none if entry is None else f"{'Undone' if back else 'Done again'}: {entry.label}")
        return True

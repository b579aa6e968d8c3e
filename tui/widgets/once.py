"""A screen that is left once: a key that was on its way when it was left finds it gone, and does nothing."""

from __future__ import annotations

from typing import Any, cast

from textual.await_complete import AwaitComplete
from textual.screen import Screen


class LeavesOnce:
    """Stands before the screen's class among the bases."""

    _has_left = False

    def dismiss(self, result: Any = None) -> AwaitComplete:
        """Leave; a second time nothing happens, which would take away the screen below."""
        if self._has_left:
            return AwaitComplete()
        self._has_left = True
        # This class itself must be no screen: Textual follows the first base that is one.
        return cast("Screen[Any]", super()).dismiss(result)

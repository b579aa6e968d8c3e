"""Beginning work beside the screen: its failure never ends the application."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, cast

from textual.dom import DOMNode


def begin(node: DOMNode, work: Callable[..., Awaitable[object]], *arguments: Any, group: str = "") -> None:
    """Run a coroutine function in a worker of `node`; with a group, in the place of what that group does now.

    The function itself is passed, not its coroutine: one that is replaced before it began would never be awaited.
    """
    node.run_worker(
        cast(Any, partial(work, *arguments)),
        group=group or "default",
        exclusive=bool(group),
        exit_on_error=False,
    )

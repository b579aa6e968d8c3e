"""Beginning work beside the screen: its failure never ends the application, and is never silent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, cast

from textual.dom import DOMNode

from pairsmith.backends.text import one_line


def begin(node: DOMNode, work: Callable[..., Awaitable[object]], *arguments: Any, group: str = "") -> None:
    """Run a coroutine function in a worker of `node`; with a group, in the place of what that group does now.

    The function itself is passed, not its coroutine: one that is replaced before it began would never be awaited.
    """
    node.run_worker(
        cast(Any, partial(_told, node, work, *arguments)),
        group=group or "default",
        exclusive=bool(group),
        exit_on_error=False,
    )


async def _told(node: DOMNode, work: Callable[..., Awaitable[object]], *arguments: Any) -> None:
    try:
        await work(*arguments)
    except Exception as error:
        # What a user can cause is told by the work itself; this is a bug, unless its screen is gone already.
        if node is node.app or node.is_attached:
            text = one_line(str(error), 300)
            node.app.notify(f"internal error: {type(error).__name__}: {text}", severity="error")
        raise

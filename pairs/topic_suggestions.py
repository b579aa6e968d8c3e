"""Asking the generator for topics outside of a generate run, and putting them into the tree."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from pairsmith.backends.errors import BackendError
from pairsmith.backends.registry import Settings

from .calling import Caller
from .doors import Doors
from .limits import Budget, LimitReached, Limits
from .methods import Tools
from .recipes import read_recipe
from .store.meta import all_meta
from .store.topics import add_topic, list_topics
from .store.workspace import Workspace
from .topic_tree import suggest_topics


async def add_suggested_topics(
    workspace: Workspace,
    settings: Settings,
    count: int,
    *,
    limits: Limits | None = None,
    generator: str | None = None,
    seed: int | None = None,
    on_wait: Callable[[str], None] = lambda text: None,
) -> list[str]:
    """Ask for `count` topics besides those that are there and store them; returns their names (fewer where the model
    names no more, or a limit or a failure ends it after some came: `on_wait` hears why). Holds the job lock meanwhile.

    `generator` is the user's own default. Raises BackendError, JobStopped, LimitReached, WorkspaceBusy, RecipeError.
    """
    lock = await asyncio.to_thread(workspace.job_lock.acquire, "topics")
    doors = Doors(workspace, settings, generator=generator)
    try:
        meta = await workspace.aread(all_meta)
        recipe = read_recipe(meta["recipe"], "the workspace's recipe")
        caller = Caller(
            workspace,
            None,
            Budget(limits or Limits()),
            settings,
            prices=recipe.prices,
            on_wait=on_wait,
        )
        tools = Tools(workspace, doors, caller, recipe, meta["domain"], seed)
        existing = [topic.name for topic in await workspace.aread(list_topics) if topic.parent_id is None]
        names: list[str] = []
        try:
            names = await suggest_topics(tools, count, existing, names)
        except (BackendError, LimitReached) as error:
            # What earlier calls named was paid for: it is kept.
            if not names:
                raise
            why = f"the limit of {error.what} is reached" if isinstance(error, LimitReached) else str(error)
            on_wait(f"stopped: {why}")
        await workspace.awrite(lambda conn: [add_topic(conn, name, maker="model") for name in names])
        return names
    finally:
        await doors.close()
        lock.release()

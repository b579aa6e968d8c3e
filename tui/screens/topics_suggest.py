"""Topics that the generator suggests: how many are asked for, and what quota they get."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pairsmith.backends.errors import BackendError
from pairsmith.pairs.errors import PairsmithError
from pairsmith.pairs.store.driver import sqlite3
from pairsmith.pairs.store.topics import Topic, list_topics, share_out

from ..text import line
from ..working import begin
from .ask import FormScreen, Text, Values, whole_number

if TYPE_CHECKING:
    from .topics import TopicsScreen


def suggest_form(screen: TopicsScreen) -> FormScreen:
    """Ask how many topics the generator shall name; it is asked when the form is done."""

    async def do(values: Values) -> str | None:
        count = whole_number(values["count"], "The number of topics")
        if count > 100:
            return "At most 100 at once"
        begin(screen, _suggest, screen, count, group="suggest")
        return None

    intro = f"{line(screen.session.generator, 60)} is asked for topics besides those that are here: a call or a few."
    return FormScreen("Suggest topics", [Text("count", "how many", "5")], do, intro=intro)


async def _suggest(screen: TopicsScreen, count: int) -> None:
    workspace = screen.session.workspace
    assert workspace is not None
    if screen.application.jobs.running:
        screen.notify("A job is under way: stop it first (4, then P)", severity="warning")
        return
    await asyncio.to_thread(importlib.import_module, "pairsmith.pairs.topic_suggestions")
    from pairsmith.pairs.limits import LimitReached
    from pairsmith.pairs.topic_suggestions import add_suggested_topics

    screen.notify(f"Asking {screen.session.generator} for {count} topics…", timeout=60)
    try:
        around = await screen.session.surroundings()
        names = await add_suggested_topics(
            workspace,
            around.settings,
            count,
            limits=screen.plan.limits,
            generator=around.user.generator,
            on_wait=lambda text: screen.notify(text, timeout=60),
        )
    except LimitReached as reached:
        screen.notify(f"Stopped: the limit of {reached.what} is reached", severity="warning")
    except (PairsmithError, BackendError) as error:
        screen.notify(str(error), severity="error", timeout=15)
    else:
        screen.notify(f"{len(names)} new topics" if names else "The generator named nothing new")
        await _share_with(screen, names)
    await screen.read()


async def _share_with(screen: TopicsScreen, names: Sequence[str]) -> None:
    """Where topics have quotas, those that were suggested get one too: without it they would get nothing."""
    quota, workspace = usual_quota(screen.topics), screen.session.workspace
    if quota is None or workspace is None:
        return

    def store(conn: sqlite3.Connection) -> None:
        share_out(conn, {t.id: quota for t in list_topics(conn) if t.name in names and t.quota is None})

    await workspace.awrite(store)


def usual_quota(topics: Sequence[Topic]) -> int | None:
    """The mean quota of those that have one; None where none has."""
    quotas = [topic.quota for topic in topics if topic.quota]
    return round(sum(quotas) / len(quotas)) if quotas else None

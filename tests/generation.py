"""What the generation tests share: a workspace with the shipped recipe, a NIM on loopback, one run to its end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pairsmith.backends.registry import Settings
from pairsmith.pairs.events import Ended, Event
from pairsmith.pairs.generating import GenerateJob, GenerateOptions
from pairsmith.pairs.generation_plan import GenerateSettings
from pairsmith.pairs.ledger import Ledger
from pairsmith.pairs.recipes import load_recipe
from pairsmith.pairs.store.meta import set_meta
from pairsmith.pairs.store.topics import add_topic
from pairsmith.pairs.store.workspace import Workspace, create_workspace

from .servers.nim import NimServer

GENERATOR = "nim:meta/llama-3.1-405b-instruct"
REWARD = "nim:nvidia/nemotron-4-340b-reward"


def make_workspace(
    folder: Path,
    *,
    recipe: str = "english",
    generator: str | None = GENERATOR,
    judge: str | None = None,
    topics: Sequence[str] = (),
    edit: tuple[str, str] | None = None,
) -> Workspace:
    """A workspace about Git. `edit`: a text of the recipe, and what to write in its place."""
    text = load_recipe(recipe).text
    if edit is not None:
        assert edit[0] in text
        text = text.replace(*edit)
    workspace = create_workspace(
        folder / "git.pairsmith",
        domain="Git commands in plain language",
        recipe_toml=text,
        language="English",
    )

    def fill(conn: Any) -> None:
        set_meta(conn, "generator", generator)
        set_meta(conn, "judge", judge)
        for name in topics:
            add_topic(conn, name)

    workspace.write(fill)
    return workspace


def settings_for(server: NimServer, **fields: Any) -> Settings:
    """Settings that lead to this server; waits are twenty times shorter than a user's."""
    return Settings.from_environment(server.env, **{"time_scale": 20.0, **fields})


async def run_job(
    workspace: Workspace,
    server: NimServer,
    wanted: GenerateSettings,
    options: GenerateOptions | None = None,
    **fields: Any,
) -> list[Event]:
    """All events of one start; `fields` are those of the backends' settings."""
    job = GenerateJob(workspace, wanted, settings_for(server, **fields), options)
    return [event async for event in job.events()]


def end_of(events: Sequence[Event]) -> tuple[Ended, Ledger]:
    """The last event and its ledger."""
    ended = events[-1]
    assert isinstance(ended, Ended)
    assert ended.ledger is not None
    return ended, ended.ledger


def instructions(workspace: Workspace, *, verdict: str | None = None) -> list[str]:
    """Stored instructions in the order of their making."""
    rows = workspace.read(
        lambda conn: conn.execute(
            "SELECT version.instruction FROM pair JOIN version ON version.id = pair.version_id"
            " WHERE pair.removed = 0 AND (?1 IS NULL OR pair.verdict = ?1) ORDER BY pair.id",
            (verdict,),
        ).fetchall()
    )
    return [row[0] for row in rows]

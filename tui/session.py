"""What the whole application knows: the open workspace, who writes and judges, and the job under way."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pairsmith.backends.registry import Settings
    from pairsmith.pairs.store.driver import sqlite3
    from pairsmith.pairs.store.workspace import Workspace
    from pairsmith.pairs.surroundings import Surroundings
    from pairsmith.pairs.tour import Tour

DEFAULT_GENERATOR = "llama-cpp:embedded"
"""What `pairs.doors` falls back to, repeated because importing that module loads every backend's address rules."""


@dataclass(frozen=True, slots=True)
class JobLine:
    """A running job for line 1: what it does, how far it is, and how long it takes yet (a text like "10 min")."""

    name: str
    done: int | None = None
    total: int | None = None
    left: str = ""
    paused: bool = False


@dataclass(slots=True)
class Session:
    """One start of the application."""

    env: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    workspace: Workspace | None = None
    generator: str = DEFAULT_GENERATOR
    judge: str | None = None
    domain: str = ""
    """What the open workspace is about."""
    job: JobLine | None = None
    news: set[str] = field(default_factory=set)
    """Ids of places where something happened since they were last looked at."""
    embedded: bool | None = None
    """Whether this copy ships with the demonstration model; None: not looked yet."""
    tour: Tour | None = None
    """The guided tour of the open workspace, while it is on."""
    opening: Path | None = None
    """The workspace that is being opened while the first frame is on the screen already."""

    @property
    def path(self) -> Path | None:
        """The workspace's file."""
        return None if self.workspace is None else self.workspace.path

    async def read_makers(self) -> None:
        """Learn who writes and who judges now: the workspace's, else the user's."""
        from pairsmith.pairs.user_settings import read_user_settings

        user = await asyncio.to_thread(read_user_settings, self.env)
        if self.embedded is None:
            self.embedded = await asyncio.to_thread(_has_embedded, self.env)
        generator, judge, self.domain = None, None, ""
        if self.workspace is not None:
            generator, judge, self.domain = await self.workspace.aread(_makers)
        self.generator = generator or user.generator or DEFAULT_GENERATOR
        self.judge = judge or user.judge

    async def read_tour(self) -> None:
        """Learn how far the guided tour is, by what is in the workspace; None where it is not on."""
        from pairsmith.pairs.tour import is_on, read_tour

        workspace = self.workspace
        if workspace is None or not await workspace.aread(is_on):
            self.tour = None
            return
        self.tour = await read_tour(workspace, self.generator, self.judge, await self.surroundings())

    async def surroundings(self) -> Surroundings:
        """Environment, user's defaults and how backends are talked to from this workspace; read on a thread."""

        def read() -> Surroundings:
            from pairsmith.pairs.surroundings import read_surroundings

            return read_surroundings(self.env, self.workspace)

        return await asyncio.to_thread(read)

    async def backend_settings(self) -> Settings:
        """How backends are talked to from this workspace; read on a thread."""
        return (await self.surroundings()).settings

    async def read_foreign_job(self) -> JobLine | None:
        """The job of another process on this workspace; None where there is none."""
        if self.workspace is None:
            return None
        holder = await asyncio.to_thread(self.workspace.job_lock.holder)
        if holder is None or holder.pid == os.getpid() or holder.kind == "writing":
            return None
        return JobLine(f"{holder.kind} (process {holder.pid})")


def _has_embedded(env: Mapping[str, str]) -> bool:
    from pairsmith.backends.errors import NoSuchModel
    from pairsmith.backends.llama_cpp.catalogue import EMBEDDED, resolve

    try:
        resolve(EMBEDDED, None, env)
    except NoSuchModel:
        return False
    return True


def _makers(conn: sqlite3.Connection) -> tuple[str | None, str | None, str]:
    from pairsmith.pairs.store.meta import get_meta

    return get_meta(conn, "generator"), get_meta(conn, "judge"), get_meta(conn, "domain") or ""

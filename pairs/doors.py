"""The present generator and judge of a workspace. A change, from whatever process, takes effect on the next call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pairsmith.backends.protocol import Backend
from pairsmith.backends.registry import Settings, open_backend, parse_spec

from .demonstration import EMBEDDED, check_domain
from .errors import UsageError
from .store.meta import get_meta

if TYPE_CHECKING:
    from .store.workspace import Workspace

DoorKind = Literal["generator", "judge"]

DEFAULT_GENERATOR = EMBEDDED


@dataclass(frozen=True, slots=True)
class Opened:
    """A backend with the name that it is stored under."""

    spec: str
    backend: Backend


class Doors:
    """Opens each backend once and closes all of them at the end, so that calls in flight on an old one can finish.

    `fallback`: the user's own default for each kind, where the workspace names none.
    """

    def __init__(
        self,
        workspace: Workspace,
        settings: Settings,
        *,
        generator: str | None = None,
        judge: str | None = None,
        on_switch: Callable[[DoorKind, str], None] = lambda kind, spec: None,
        opener: Callable[[str, Settings], Backend] | None = None,
    ) -> None:
        self._workspace = workspace
        self._settings = settings
        self._fallback = {"generator": generator or DEFAULT_GENERATOR, "judge": judge}
        self._on_switch = on_switch
        self._open = opener or (lambda spec, settings: open_backend(parse_spec(spec), settings))
        self._opened: dict[str, Backend] = {}
        self._present: dict[str, str] = {}

    async def generator(self) -> Backend:
        """The backend that writes now. Raises BackendError where it cannot be opened."""
        return (await self.present("generator")).backend

    async def judge(self) -> Backend:
        """The backend that judges now. Raises UsageError where the workspace has no judge."""
        return (await self.present("judge")).backend

    async def spec(self, kind: DoorKind) -> str | None:
        """BACKEND:MODEL of now, without opening it; None where there is none."""
        stored = await self._workspace.aread(lambda conn: get_meta(conn, kind))
        return stored or self._fallback[kind]

    async def present(self, kind: DoorKind) -> Opened:
        """The backend of now and its name. Raises UsageError: none is named, or it does not know this domain."""
        spec = await self.spec(kind)
        if spec is None:
            raise UsageError("no judge is named", "Give --judge BACKEND:MODEL")
        if spec not in self._opened:
            if spec == EMBEDDED:
                check_domain(spec, await self._workspace.aread(lambda conn: get_meta(conn, "domain") or ""))
            self._opened[spec] = self._open(spec, self._settings)
        before = self._present.get(kind)
        if before != spec:
            self._present[kind] = spec
            if before is not None:
                self._on_switch(kind, spec)
        return Opened(spec, self._opened[spec])

    def in_use(self, kind: DoorKind) -> Backend | None:
        """The backend that was last given for this kind; None before the first time."""
        return self._opened.get(self._present.get(kind, ""))

    async def close(self) -> None:
        """Give back every connection and worker."""
        for backend in self._opened.values():
            await backend.close()
        self._opened.clear()


class Switched(Exception):
    """The backend was changed after a request had been made for the old one: make it again for the new one."""


def pinned(doors: Doors, kind: DoorKind, opened: Opened) -> Callable[[], Awaitable[Backend]]:
    """A door that gives this backend and no other; raises `Switched` as soon as another one is present."""

    async def door() -> Backend:
        present = await doors.present(kind)
        if present.backend is not opened.backend:
            raise Switched
        return present.backend

    return door

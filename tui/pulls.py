"""Models on their way here, from Ollama's library or as GGUF files from the Hub: they come whatever place one looks at;
giving up keeps what is there already."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pairsmith.backends.errors import BackendError
from pairsmith.pairs.errors import PairsmithError

if TYPE_CHECKING:
    from pairsmith.pairs.recommended_models import HubModel

    from .app import PairsmithApp

GIVEN_UP = "given up; what is there already is kept"


class _GivenUp(Exception):
    """Raised in a download's thread."""


@dataclass(slots=True)
class Pull:
    """One model on its way."""

    model: str
    status: str = "asking"
    completed: int = 0
    total: int = 0
    over: bool = False
    problem: str = ""
    done: bool = False
    backend: Literal["ollama", "llama-cpp"] = "ollama"
    given_up: bool = False


class Pulls:
    """All of this start of the application, by model. `version` grows with every change."""

    def __init__(self, app: PairsmithApp) -> None:
        self._app = app
        self.all: dict[str, Pull] = {}
        self.version = 0
        self._tasks: dict[str, asyncio.Task[None]] = {}

    @property
    def under_way(self) -> Pull | None:
        """The one that was begun last and is not over."""
        return next((pull for pull in reversed(self.all.values()) if not pull.over), None)

    def start(self, model: str) -> None:
        """Let Ollama bring a model, unless it is on its way."""
        self._start(Pull(model), self._bring)

    def start_gguf(self, model: HubModel) -> None:
        """Download a GGUF from the Hub, unless it is on its way."""
        self._start(Pull(model.id, backend="llama-cpp"), lambda pull: self._download(pull, model))

    def _start(self, pull: Pull, bring: Callable[[Pull], Awaitable[None]]) -> None:
        model = pull.model
        if model not in self._tasks or self._tasks[model].done():
            self.all.pop(model, None)
            self.all[model] = pull
            self._tasks[model] = asyncio.get_running_loop().create_task(self._run(pull, bring))

    def give_up(self, model: str) -> None:
        """Stop; a later start goes on where this one stopped (Ollama forgets what it has where it is started anew)."""
        pull = self.all.get(model)
        if pull is None or model not in self._tasks:
            return
        pull.given_up = True
        if pull.backend == "ollama":
            self._tasks[model].cancel()  # a download ends by itself: its thread cannot be cancelled

    def give_up_all(self) -> None:
        """Stop everything: the application ends."""
        for model in list(self.all):
            self.give_up(model)

    def forget(self, model: str) -> None:
        """Show it no longer."""
        if model in self.all and self.all[model].over:
            del self.all[model]
            self.version += 1

    async def _run(self, pull: Pull, bring: Callable[[Pull], Awaitable[None]]) -> None:
        try:
            await bring(pull)
        except (asyncio.CancelledError, _GivenUp):
            pull.problem = GIVEN_UP
        except (BackendError, PairsmithError) as error:
            pull.problem = str(error)
        except Exception as error:  # a bug in here must not take the application along
            pull.problem = f"internal error: {type(error).__name__}"
        finally:
            pull.over = True
            self.version += 1
            with contextlib.suppress(Exception):
                self._app.tell_news("backends")
                self._tell(pull)

    def _tell(self, pull: Pull) -> None:
        if pull.done:
            self._app.notify(f"{pull.model} is here: 2 Backends, G lets it write and J judge", timeout=15)
        elif pull.problem and pull.problem != GIVEN_UP:
            self._app.notify(f"{pull.model}: {pull.problem}", severity="error", timeout=15)

    async def _bring(self, pull: Pull) -> None:
        await asyncio.to_thread(importlib.import_module, "pairsmith.backends.ollama")
        from pairsmith.backends.ollama import open_ollama

        backend = open_ollama(pull.model, await self._app.session.backend_settings())
        try:
            async with contextlib.aclosing(backend.pull(pull.model)) as coming:
                async for progress in coming:
                    pull.status, pull.completed, pull.total = (
                        progress.status,
                        progress.completed,
                        progress.total,
                    )
                    pull.done = progress.done
                    self.version += 1
        finally:
            await backend.close()

    async def _download(self, pull: Pull, model: HubModel) -> None:
        session = self._app.session
        around = await session.surroundings()
        local_only = session.workspace is not None and session.workspace.local_only

        def tell(what: str, done: int, total: int) -> None:
            pull.status = what.partition(" ")[0] if what.startswith("checking") else ""
            if total:
                pull.completed, pull.total = done, total
            self.version += 1

        def check() -> None:
            if pull.given_up:
                raise _GivenUp

        def work() -> None:
            from pairsmith.pairs.model_download import bring_model, hub_for_models

            access = hub_for_models(around.env, local_only=local_only)
            bring_model(model, access, around.settings.home, tell=tell, check=check)

        await asyncio.to_thread(work)
        pull.done = True

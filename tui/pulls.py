"""Models that Ollama is bringing: it goes on whatever place one looks at; giving up keeps what is there already."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pairsmith.backends.errors import BackendError
from pairsmith.pairs.errors import PairsmithError

if TYPE_CHECKING:
    from .app import PairsmithApp


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


class Pulls:
    """All of this start of the application, by model. `version` grows with every change."""

    def __init__(self, app: PairsmithApp) -> None:
        self._app = app
        self.all: dict[str, Pull] = {}
        self.version = 0
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def start(self, model: str) -> None:
        """Bring a model, unless it is on its way."""
        if model not in self._tasks or self._tasks[model].done():
            self.all[model] = pull = Pull(model)
            self._tasks[model] = asyncio.get_running_loop().create_task(self._run(pull))

    def give_up(self, model: str) -> None:
        """Stop; a later start goes on where this one stopped."""
        if model in self._tasks:
            self._tasks[model].cancel()

    def forget(self, model: str) -> None:
        """Show it no longer."""
        if model in self.all and self.all[model].over:
            del self.all[model]
            self.version += 1

    async def _run(self, pull: Pull) -> None:
        try:
            await self._bring(pull)
        except asyncio.CancelledError:
            pull.problem = "given up; what is there already is kept"
        except (BackendError, PairsmithError) as error:
            pull.problem = str(error)
        except Exception as error:  # a bug in here must not take the application along
            pull.problem = f"internal error: {type(error).__name__}"
        finally:
            pull.over = True
            self.version += 1
            with contextlib.suppress(Exception):
                self._app.tell_news("backends")

    async def _bring(self, pull: Pull) -> None:
        import importlib

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

"""One worker for all who use the same GGUF with the same options in this process; restarted when it dies.

A generator and a judge of the same model share weights, cache and batches this way.
"""

from __future__ import annotations

import asyncio
import atexit
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .. import errors
from ..errors import BackendError, Unavailable
from .options import LlamaOptions
from .process import Frame, WorkerProcess
from .sizing import NotEnoughMemory
from .wire import describe

LOAD_SECONDS = 900.0
MOST_DEATHS = 5
DEATH_WINDOW = 60.0
"""So many deaths within so many seconds, without one answer between them, and it is not started again."""


class KeepsDying(Unavailable):
    """The worker died again and again: somebody must look."""

    retryable = False
    fatal = True


class SharedWorker:
    """Starts its process when first needed. All methods may be called from any thread."""

    def __init__(
        self, path: Path, options: LlamaOptions, env: Mapping[str, str], log_file: Path | None
    ) -> None:
        self.path, self._options, self._env, self._log_file = path, options, dict(env), log_file
        self._lock = threading.RLock()
        self._process: WorkerProcess | None = None
        self._ready: Future[Frame] | None = None
        self._calls: dict[int, Callable[[Frame], None]] = {}
        self._numbers = itertools.count(1)
        self._deaths: deque[float] = deque(maxlen=MOST_DEATHS)
        self._last_reason = ""
        self.users = 0

    @property
    def pid(self) -> int | None:
        """Of the running process, for tests and for `doctor`."""
        process = self._process
        return process.pid if process else None

    async def ready(self) -> Frame:
        """What the worker said when it had loaded; starts it where needed.

        Raises the reason why the model cannot be loaded, or `Unavailable`.
        """
        if pause := self._pause():
            await asyncio.sleep(pause)
        with self._lock:
            future = self._ready
            if future is None:
                self._refuse_storm()
                future = self._ready = Future()
                self._start()
        if future.done():
            return future.result()
        try:
            return await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(future)), LOAD_SECONDS)
        except TimeoutError:
            self.kill()
            raise Unavailable(f"Loading {self.path.name} took more than {LOAD_SECONDS:.0f} s") from None

    def call(self, frame: Frame, deliver: Callable[[Frame], None]) -> int:
        """Send a request; every event of it goes to `deliver`, from the worker's thread. Returns its number."""
        with self._lock:
            number = next(self._numbers)
            process = self._process
            if process is None:
                raise Unavailable(f"The llama.cpp worker is gone: {self._last_reason or 'it was closed'}")
            self._calls[number] = deliver
        process.send({**frame, "id": number})
        return number

    def cancel(self, number: int) -> None:
        """Give a call up; its events are no longer delivered."""
        with self._lock:
            if self._calls.pop(number, None) is not None and self._process is not None:
                self._process.send({"op": "cancel", "id": number})

    def kill(self) -> None:
        """End the process at once; calls in flight fail as retryable."""
        if self._process is not None:
            self._process.kill()

    def stop(self) -> None:
        """End the process and wait for it. Safe to call twice."""
        with self._lock:
            process = self._process
        if process is not None:
            process.stop()

    def _start(self) -> None:
        first = {"path": str(self.path), "options": asdict(self._options)}
        self._process = WorkerProcess(first, self._env, self._log_file, self._on_frame, self._on_death)

    def _on_frame(self, frame: Frame) -> None:
        if "ready" in frame or "failed" in frame:
            self._on_loaded(frame)
            return
        number = frame.get("id", -1)
        last = "done" in frame or "error" in frame
        with self._lock:
            deliver = self._calls.pop(number, None) if last else self._calls.get(number)
            if "done" in frame:
                self._deaths.clear()
        if deliver is not None:
            deliver(frame)

    def _on_loaded(self, frame: Frame) -> None:
        with self._lock:
            future = self._ready
        if future is None or future.done():
            return
        if "ready" in frame:
            future.set_result(frame["ready"])
        else:
            future.set_exception(error_from(frame["failed"]))

    def _on_death(self, reason: str) -> None:
        with self._lock:
            future, self._ready, self._process = self._ready, None, None
            calls, self._calls = list(self._calls.items()), {}
            self._last_reason = reason
            loaded_badly = future is not None and future.done() and future.exception() is not None
            if not loaded_badly:
                self._deaths.append(time.monotonic())
        error = Unavailable(f"The llama.cpp worker died: {reason}")
        if future is not None and not future.done():
            future.set_exception(error)
        for number, deliver in calls:
            deliver({"id": number, "error": describe(error)})

    def _recent_deaths(self) -> int:
        now = time.monotonic()
        return sum(1 for when in self._deaths if now - when < DEATH_WINDOW)

    def _pause(self) -> float:
        """Seconds to wait before starting again: nothing after the first death, then more each time."""
        with self._lock:
            deaths = self._recent_deaths() if self._ready is None else 0
        return 0.0 if deaths < 2 else min(4.0, 0.25 * 2.0 ** (deaths - 2))

    def _refuse_storm(self) -> None:
        if self._recent_deaths() >= MOST_DEATHS:
            raise KeepsDying(
                f"The llama.cpp worker died {MOST_DEATHS} times within a minute: {self._last_reason}",
                advice="Run `pairsmith doctor`; the log of llama.cpp tells more.",
            )


def error_from(described: Mapping[str, Any]) -> BackendError:
    """The typed error that a frame describes."""
    kinds: dict[str, type[BackendError]] = {"NotEnoughMemory": NotEnoughMemory}
    name = str(described.get("type"))
    kind = kinds.get(name) or getattr(errors, name, BackendError)
    if not (isinstance(kind, type) and issubclass(kind, BackendError)):
        kind = BackendError
    return kind(str(described.get("message", "")), advice=str(described.get("advice", "")))


_pool: dict[tuple[Path, LlamaOptions], SharedWorker] = {}
_pool_lock = threading.Lock()


def acquire(path: Path, options: LlamaOptions, env: Mapping[str, str], log_file: Path | None) -> SharedWorker:
    """The worker for this file and these options, counted up by one user."""
    with _pool_lock:
        key = (path, options)
        worker = _pool.get(key)
        if worker is None:
            worker = _pool[key] = SharedWorker(path, options, env, log_file)
        worker.users += 1
        return worker


def release(worker: SharedWorker) -> None:
    """One user less; the last one ends the process and waits for it. May block for some seconds."""
    with _pool_lock:
        worker.users -= 1
        if worker.users > 0:
            return
        for key in [key for key, value in _pool.items() if value is worker]:
            del _pool[key]
    worker.stop()


def loaded() -> list[str]:
    """Names of the files whose workers of this process run now, and so hold memory."""
    with _pool_lock:
        return sorted(worker.path.name for worker in _pool.values() if worker.pid is not None)


def unload_all() -> None:
    """End every worker of this process; the next call starts it again. May block for some seconds."""
    with _pool_lock:
        workers = list(_pool.values())
    for worker in workers:
        worker.stop()


def _stop_all() -> None:
    for worker in list(_pool.values()):
        worker.kill()


atexit.register(_stop_all)

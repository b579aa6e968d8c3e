"""One incarnation of the worker process, seen from the application: spawned, fed, listened to, reaped.

Threads, not asyncio: a worker outlives event loops. The thread that spawns it also waits for it, because Linux sends
the death signal when the spawning *thread* ends.
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from ..text import one_line
from . import wire

Frame = dict[str, Any]
_LOG_LINES = 400
_LOG_BYTES = 2 << 20


class WorkerProcess:
    """A running worker. `on_frame` and `on_death(reason)` are called from its thread; death comes exactly once."""

    def __init__(
        self,
        first: Frame,
        env: Mapping[str, str],
        log_file: Path | None,
        on_frame: Callable[[Frame], None],
        on_death: Callable[[str], None],
    ) -> None:
        self._env, self._log_file = worker_environment(env), log_file
        self._on_frame, self._on_death = on_frame, on_death
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = False
        self._lock = threading.Lock()
        self.log: deque[str] = deque(maxlen=_LOG_LINES)
        self._outbox.put(wire.pack(first))
        self._thread = threading.Thread(target=self._live, name="llama-cpp worker", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def send(self, frame: Frame) -> None:
        """Queue a frame; never blocks. A dead worker's frames vanish: its calls have failed already."""
        self._outbox.put(wire.pack(frame))

    def stop(self, patience: float = 2.0) -> None:
        """Close the pipe, kill what does not go by itself, and wait until it is reaped. May block."""
        with self._lock:
            self._stopping = True
        self._outbox.put(None)
        self._thread.join(patience)
        if self._thread.is_alive():
            self.kill()
            self._thread.join(5.0)

    def kill(self) -> None:
        process = self._process
        if process is not None and process.poll() is None:
            process.kill()

    def _live(self) -> None:
        try:
            process = self._spawn()
        except OSError as error:
            self._on_death(f"it could not be started: {error.strerror or error}")
            return
        reader = threading.Thread(target=self._collect_log, args=(process,), daemon=True)
        writer = threading.Thread(target=self._write, args=(process,), daemon=True)
        reader.start()
        writer.start()
        assert process.stdout is not None
        try:
            while (frame := wire.read(cast(Any, process.stdout))) is not None:
                self._on_frame(frame)
        except (OSError, ValueError) as error:
            self.log.append(f"broken frame: {error}")
            process.kill()
        self._outbox.put(None)
        code = process.wait()
        reader.join(1.0)
        for pipe in (process.stdout, process.stderr):
            if pipe:
                pipe.close()
        self._on_death(self._obituary(code))

    def _spawn(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "pairsmith.backends.llama_cpp.worker", str(os.getpid())]
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self._env,
            start_new_session=True,
        )
        with self._lock:
            self._process = process
        return process

    def _write(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        try:
            while (data := self._outbox.get()) is not None:
                process.stdin.write(data)
                process.stdin.flush()
            process.stdin.close()
        except OSError:
            return

    def _collect_log(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stderr is not None
        for raw in process.stderr:
            line = one_line(raw.decode("utf-8", "replace"), 500)
            if line:
                self.log.append(line)
                self._append(line)

    def _append(self, line: str) -> None:
        if self._log_file is None:
            return
        try:
            self._log_file.parent.mkdir(parents=True, exist_ok=True)
            large = self._log_file.exists() and self._log_file.stat().st_size > _LOG_BYTES
            with self._log_file.open("w" if large else "a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError:
            self._log_file = None

    def _obituary(self, code: int) -> str:
        last = next((line for line in reversed(self.log) if line), "")
        if code < 0:
            try:
                name = signal.Signals(-code).name
            except ValueError:
                name = f"signal {-code}"
            ended = f"it was ended by {name}"
            if code == -signal.SIGILL:
                ended += " (llama-cpp-python was built for another CPU)"
        else:
            ended = f"it ended with code {code}"
        return f"{ended}; its last words: {one_line(last, 160)}" if last else ended


def worker_environment(env: Mapping[str, str]) -> dict[str, str]:
    """What must be set before the library loads; keys of other backends are none of its business."""
    kept = {key: value for key, value in env.items() if not _secret(key)}
    kept["GGML_NO_BACKTRACE"] = "1"
    kept["PYTHONUNBUFFERED"] = "1"
    # glibc: give freed memory back instead of letting the heap creep up with every long prompt.
    kept |= {"MALLOC_ARENA_MAX": "1", "MALLOC_TRIM_THRESHOLD_": "131072", "MALLOC_MMAP_THRESHOLD_": "131072"}
    if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & set(kept):
        # Threads that spin for long between graph nodes lose a factor of up to fifty as soon as anything else wants the
        # CPU; a few microseconds cost nothing then, and gain a sixth on a quiet machine (benchmarks/RESULTS.md).
        kept |= {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "1000"}
    return kept


def _secret(name: str) -> bool:
    return name.upper().endswith(("_API_KEY", "_TOKEN", "_SECRET", "_PASSWORD"))

"""The job lock: at most one process runs a job on a workspace, and everyone else can learn which.

An operating-system lock on `<workspace>.lock`, which names its holder. The system releases it when the
process ends, however it ends; what the file says is only believed while the lock is held. Inside one process
the lock is shared: a second `JobLock` of the same process and another kind is refused like another process's
would be.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import WorkspaceBusy, from_os

WRITING = "writing"
"""The kind that a process takes merely to write, where SQLite has the WAL bug. A job of the same process tops
it.
"""

_PATIENCE_S = 0.3  # Somebody who asks for the holder tests the lock for an instant.
_guard = threading.Lock()
_held: dict[Path, JobLock] = {}


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a job lock."""

    pid: int
    host: str
    kind: str


class JobLock:
    """The lock of one workspace. Use as a context manager after `acquire`, or call `release`."""

    def __init__(self, workspace: Path) -> None:
        self.path = workspace.absolute().with_name(workspace.name + ".lock")
        self._workspace = workspace
        self._fd: int | None = None
        self._topped: JobLock | None = None
        self.kind = ""

    def acquire(self, kind: str) -> JobLock:
        """Take the lock for a job of this kind ("generate"). Raises WorkspaceBusy naming the holder's pid."""
        with _guard:
            mine = _held.get(self.path)
            if mine is not None:
                if mine.kind != WRITING or kind == WRITING:
                    if mine is self and mine.kind == kind:
                        return self
                    raise self._busy(Holder(os.getpid(), socket.gethostname(), mine.kind))
                self._fd, mine._fd, self._topped = mine._fd, None, mine
            else:
                self._fd = self._locked_fd()
            self.kind = kind
            _held[self.path] = self
            self._write_holder(kind)
        return self

    def release(self) -> None:
        """Give it back; nothing happens where it is not held."""
        with _guard:
            if self._fd is None:
                if (above := _held.get(self.path)) is not None and above._topped is self:
                    above._topped = None
                return
            if self._topped is not None:
                self._hand_back(self._topped)
                return
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, 0)
                self.path.unlink()  # while it is locked; Windows refuses, and the empty file stays
            os.close(self._fd)
            self._fd = None
            if _held.get(self.path) is self:
                del _held[self.path]

    def _hand_back(self, writing: JobLock) -> None:
        writing._fd, self._fd, self._topped = self._fd, None, None
        _held[self.path] = writing
        writing._write_holder(writing.kind)

    def held(self) -> bool:
        """Whether this object holds it."""
        return self._fd is not None

    def held_here(self) -> bool:
        """Whether this process holds it, through whatever object."""
        return self.path in _held

    def holder(self) -> Holder | None:
        """Who holds it now; None where nobody does."""
        with _guard:
            if self.path in _held:
                return Holder(os.getpid(), socket.gethostname(), _held[self.path].kind)
        try:
            fd = os.open(self.path, os.O_RDWR)
        except OSError:
            return None
        try:
            if _try_lock(fd, shared=True):
                return None
            return _read_holder(fd)
        finally:
            os.close(fd)

    def __enter__(self) -> JobLock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _locked_fd(self) -> int:
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                fd = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
            except OSError as error:
                raise from_os(error, self.path) from error
            locked = _try_lock(fd, shared=False)
            if locked and self._is_current(fd):
                return fd
            holder = None if locked else _read_holder(fd)
            os.close(fd)
            if time.monotonic() > deadline:
                raise self._busy(holder)
            time.sleep(0.02)

    def _is_current(self, fd: int) -> bool:
        """Whether the path still names the opened file: its last holder may have taken it away meanwhile."""
        try:
            return os.path.samestat(os.fstat(fd), os.stat(self.path))
        except OSError:
            return False

    def _write_holder(self, kind: str) -> None:
        assert self._fd is not None
        data = json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "kind": kind}).encode()
        with contextlib.suppress(OSError):  # on a full disk the lock holds all the same, only nameless
            os.ftruncate(self._fd, 0)
            os.lseek(self._fd, 0, os.SEEK_SET)
            os.write(self._fd, data)

    def _busy(self, holder: Holder | None) -> WorkspaceBusy:
        if holder is None:
            return WorkspaceBusy(
                f"a job is running on {self._workspace.name}", "Wait for it to end, or stop it"
            )
        where = f"pid {holder.pid}" + ("" if holder.host == socket.gethostname() else f" on {holder.host}")
        return WorkspaceBusy(
            f"{self._workspace.name} is busy: {holder.kind} runs there ({where})",
            "Wait for it to end, or stop it",
            pid=holder.pid,
        )


def _read_holder(fd: int) -> Holder | None:
    try:
        os.lseek(fd, 0, os.SEEK_SET)
        data: Any = json.loads(os.read(fd, 4096))
        return Holder(int(data["pid"]), str(data["host"])[:200], str(data["kind"])[:50])
    except (OSError, ValueError, KeyError, TypeError):
        return None


if sys.platform == "win32":
    import msvcrt

    def _try_lock(fd: int, *, shared: bool) -> bool:
        # A byte far behind the text, so that the text stays readable for others. Windows has no shared kind
        # here.
        os.lseek(fd, 1 << 30, os.SEEK_SET)
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _try_lock(fd: int, *, shared: bool) -> bool:
        try:
            fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def _forget_in_child() -> None:
        # A forked child shares the lock's file description: kept open there, it would outlive the parent.
        global _guard
        _guard = threading.Lock()
        for lock in _held.values():
            if lock._fd is not None:
                os.close(lock._fd)
                lock._fd = None
        _held.clear()

    os.register_at_fork(after_in_child=_forget_in_child)

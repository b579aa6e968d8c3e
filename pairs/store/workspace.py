"""A workspace: one SQLite file with its one writer and its readers.

`write` and `awrite` run a function of the connection in one durable transaction; `read` and `aread` run one
on a read-only connection, as of one moment. Nothing here blocks the event loop but the blocking forms.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from pairsmith.backends.text import clean, one_line

from ..errors import PairsmithError, UsageError
from .clock import now
from .connection import connect_reading, connect_writing, may_write
from .driver import sqlite3, wal_bug
from .errors import DRIVER_ERRORS, WorkspaceExists, WorkspaceReadOnly, from_os, translated
from .file_probe import check_connection, check_file
from .identity import new_uid
from .joblock import WRITING, JobLock
from .meta import all_meta, get_meta, set_meta
from .migrations import create_schema, migrate
from .publish import discard, publish_new, temporary_name
from .schema import SCHEMA_VERSION
from .writer import Writer, transact

T = TypeVar("T")
READERS = 4
MAX_META = 1_000_000


class Workspace:
    """An open workspace; made by `create_workspace` and `open_workspace`. A context manager, sync or
    async."""

    def __init__(self, path: Path, meta: Mapping[str, str], *, readonly: bool) -> None:
        self.path = path
        self.readonly = readonly
        self.id = meta["id"]
        self.local_only = meta.get("local_only") == "1"
        self.job_lock = JobLock(path)
        self._write_lock: JobLock | None = None
        self._writer = Writer(path, self._connect_writing, self._holder_pid)
        self._idle: queue.LifoQueue[sqlite3.Connection] = queue.LifoQueue()
        self._threads = ThreadPoolExecutor(READERS, thread_name_prefix=f"read {path.name}")
        self._closed = False

    def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run work in one transaction and wait until it is on the disk.

        Whatever work raises undoes all of it. Raises WorkspaceReadOnly, WorkspaceBusy, DiskFull,
        WorkspaceRefused.
        """
        return self._submit(work).result()

    async def awrite(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """`write` for the event loop. Cancelling it may come too late: work that has begun is committed."""
        return await asyncio.wrap_future(self._submit(work))

    def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run work on a read-only connection that sees one moment. Return values, never cursors."""
        conn = self._reader()
        try:
            conn.execute("BEGIN")
            try:
                return work(conn)
            finally:
                if conn.in_transaction:
                    conn.execute("ROLLBACK")
        except DRIVER_ERRORS as error:
            found = translated(error, self.path, self._holder_pid())
            if found is error:
                raise
            raise found from error
        finally:
            self._idle.put(conn)

    async def aread(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """`read` on a thread of the workspace's own."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self.read, work)

    def connect(self) -> sqlite3.Connection:
        """A read-only connection of the caller's own (a long cursor, a temporary table); the caller closes
        it.
        """
        return connect_reading(self.path)

    def meta(self, key: str, default: str | None = None) -> str | None:
        """A setting of the workspace (blocking read)."""
        return self.read(lambda conn: get_meta(conn, key, default))

    def close(self) -> None:
        """Finish the writes under way, close everything, leave one complete file that can be copied."""
        if self._closed:
            return
        self._closed = True
        self._threads.shutdown(wait=True)
        # The writer last: the last connection to close empties the log, and a reading one cannot.
        while not self._idle.empty():
            self._idle.get_nowait().close()
        self._writer.close()
        self._remove_log()
        if self._write_lock is not None:
            self._write_lock.release()
        self.job_lock.release()

    async def aclose(self) -> None:
        """`close` off the event loop."""
        await asyncio.to_thread(self.close)

    def __enter__(self) -> Workspace:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Workspace:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.aclose()

    def _submit(self, work: Callable[[sqlite3.Connection], T]) -> Future[T]:
        if self.readonly:
            raise WorkspaceReadOnly(
                f"{one_line(str(self.path))} is open for reading only",
                "Check the permissions of the file and its folder",
            )
        return self._writer.submit(self._with_lock(work) if wal_bug else work)

    def _with_lock(self, work: Callable[[sqlite3.Connection], T]) -> Callable[[sqlite3.Connection], T]:
        # With the WAL bug a second writing process can corrupt the file: whoever writes first keeps the
        # others out.
        def locked(conn: sqlite3.Connection) -> T:
            self._hold_lock()
            return work(conn)

        return locked

    def _connect_writing(self) -> sqlite3.Connection:
        if wal_bug:
            self._hold_lock()
        conn = connect_writing(self.path)
        try:
            check_connection(self.path, conn)
        except BaseException:
            conn.close()
            raise
        return conn

    def _hold_lock(self) -> None:
        if not self.job_lock.held_here():
            self._write_lock = (self._write_lock or JobLock(self.path)).acquire(WRITING)

    def _reader(self) -> sqlite3.Connection:
        if self._closed:
            raise RuntimeError("the workspace is closed")
        try:
            return self._idle.get_nowait()
        except queue.Empty:
            return connect_reading(self.path)

    def _holder_pid(self) -> int | None:
        holder = self.job_lock.holder()
        return None if holder is None or holder.pid == os.getpid() else holder.pid

    def _remove_log(self) -> None:
        # Reading connections leave -wal and -shm behind; the close of a writing one takes them away.
        if self.readonly or wal_bug or not self.path.with_name(self.path.name + "-wal").exists():
            return
        with contextlib.suppress(PairsmithError, sqlite3.Error):
            connect_writing(self.path, busy_ms=0).close()


def create_workspace(
    path: Path,
    *,
    domain: str,
    recipe_toml: str,
    language: str,
    local_only: bool = False,
    meta: Mapping[str, str] | None = None,
) -> Workspace:
    """Make a new workspace file and open it. It appears whole or not at all, and never over another file.

    Raises WorkspaceExists, UsageError (an empty domain, no such folder), DiskFull, WorkspaceReadOnly.
    """
    path = Path(path)
    if not clean(domain)[0].strip():
        raise UsageError("the domain is empty", "Say in a sentence what the dataset is about")
    _check_place(path)
    values = {
        "id": new_uid(),
        "created_at": now(),
        "domain": domain,
        "recipe": recipe_toml,
        "language": language,
        "local_only": str(int(local_only)),
        **(meta or {}),
    }
    values = {key: clean(value)[0] for key, value in values.items()}
    if any(len(value) > MAX_META for value in values.values()):
        raise UsageError("the domain or the recipe is longer than a million characters")
    temporary = temporary_name(path)
    try:
        _make_file(temporary, values)
        publish_new(temporary, path)
    except DRIVER_ERRORS as error:
        raise translated(error, path, writing=True) from error
    except OSError as error:
        raise from_os(error, path) from error
    finally:
        discard(temporary)
    return open_workspace(path)


def open_workspace(path: Path, *, readonly: bool = False) -> Workspace:
    """Open a workspace, migrating an older one after a backup. What may not be written opens for reading.

    Raises WorkspaceMissing, WorkspaceRefused (exit code 4; the file stays as it is), WorkspaceBusy.
    """
    path = Path(path)
    check_file(path)
    readonly = readonly or not may_write(path)
    conn = connect_reading(path)
    try:
        version = check_connection(path, conn)
        if version < SCHEMA_VERSION and not readonly:
            conn.close()
            migrate(path)
            conn = connect_reading(path)
            version = check_connection(path, conn)
        if version < SCHEMA_VERSION:
            raise WorkspaceReadOnly(
                f"{one_line(str(path))} needs a migration and cannot be written", "Make it writable once"
            )
        meta = all_meta(conn)
    finally:
        conn.close()
    return Workspace(path, meta, readonly=readonly)


def _check_place(path: Path) -> None:
    name = one_line(str(path))
    if path.exists() or path.is_symlink():
        raise WorkspaceExists(f"{name} exists already", "Choose another name, or open it")
    if not path.parent.is_dir():
        raise UsageError(f"there is no folder {one_line(str(path.parent))}", "Make it first")
    for suffix in ("-wal", "-journal"):
        if path.with_name(path.name + suffix).exists():
            # SQLite would play an old database's log into the new file.
            raise WorkspaceExists(f"{name}{suffix} is left of an older file of that name", "Move it away")


def _make_file(temporary: Path, values: Mapping[str, str]) -> None:
    temporary.touch(exist_ok=False)
    conn = connect_writing(temporary)
    try:

        def fill(conn: sqlite3.Connection) -> None:
            create_schema(conn)
            for key, value in values.items():
                set_meta(conn, key, value)

        transact(conn, fill)
    finally:
        conn.close()

"""The one writer of a process: a thread that owns the writing connection and runs one job of work at a time.

A job of work is a function of the connection. It runs in BEGIN IMMEDIATE … COMMIT with `synchronous=FULL`,
and only after the commit does its caller get the result: what is answered is on the disk.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from .driver import sqlite3
from .errors import DRIVER_ERRORS, translated

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]


class Writer:
    """Runs work in the order of its submission. `connect` is called on the thread, at the first work."""

    def __init__(
        self,
        path: Path,
        connect: Callable[[], sqlite3.Connection],
        holder_pid: Callable[[], int | None] = lambda: None,
    ) -> None:
        self._path = path
        self._connect = connect
        self._holder_pid = holder_pid
        self._queue: queue.SimpleQueue[tuple[Future[Any], Work[Any]] | None] = queue.SimpleQueue()
        self._guard = threading.Lock()
        self._thread: threading.Thread | None = None
        self._conn: sqlite3.Connection | None = None
        self._closed = False

    def submit(self, work: Work[T]) -> Future[T]:
        """Queue work; the future resolves after its commit, or holds what it raised (then nothing was
        stored).
        """
        if threading.current_thread() is self._thread:
            raise RuntimeError("a write inside a write: pass the connection on instead")
        future: Future[T] = Future()
        with self._guard:
            if self._closed:
                raise RuntimeError("the workspace is closed")
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name=f"write {self._path.name}", daemon=True
                )
                self._thread.start()
            self._queue.put((future, work))
        return future

    def close(self) -> None:
        """Finish what is queued, then close the connection (which empties the log into the file)."""
        with self._guard:
            if self._closed:
                return
            self._closed = True
            self._queue.put(None)
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            future, work = item
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = self._transact(work)
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)
            del future, work, item
        if self._conn is not None:
            self._conn.close()
            self._conn = None

    def _transact(self, work: Work[T]) -> T:
        try:
            if self._conn is None:
                self._conn = self._connect()
            return transact(self._conn, work)
        except DRIVER_ERRORS as error:
            error_for_caller = translated(error, self._path, self._holder_pid(), writing=True)
            if error_for_caller is error:
                raise
            raise error_for_caller from error


def transact(conn: sqlite3.Connection, work: Work[T]) -> T:
    """Run work in one IMMEDIATE transaction of this connection: all of it is stored, or nothing."""
    conn.execute("BEGIN IMMEDIATE")
    try:
        result = work(conn)
        if not conn.in_transaction:
            raise RuntimeError("work ended its own transaction")
        conn.execute("COMMIT")
    except BaseException:
        if conn.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                conn.execute("ROLLBACK")
        raise
    return result

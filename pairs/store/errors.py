"""What the store refuses, and the one translation of the driver's errors into those classes.

Every message is one line, names the file, and holds no text of a pair.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from pairsmith.backends.text import one_line

from ..errors import PairsmithError
from .driver import sqlite3


class WorkspaceRefused(PairsmithError):
    """The file is no database, not ours, newer than this program, or damaged. It was not changed by a
    byte."""

    exit_code = 4


class WorkspaceMissing(WorkspaceRefused):
    """There is no such file."""


class WorkspaceExists(PairsmithError):
    """A file is already there; nothing is ever overwritten."""

    exit_code = 2


class WorkspaceReadOnly(PairsmithError):
    """The file, its folder or this opening of it does not allow writing. Reading goes on."""

    exit_code = 1


class WorkspaceBusy(PairsmithError):
    """Another process holds the job lock or is writing; `pid` says which, where that is known."""

    exit_code = 75

    def __init__(self, message: str, advice: str = "", *, pid: int | None = None) -> None:
        super().__init__(message, advice)
        self.pid = pid


class DiskFull(PairsmithError):
    """No room for what was to be written. Nothing of it was stored, all that was stored before is."""


class DuplicatePair(PairsmithError):
    """The same text is stored already, as pair `pair_id`."""

    def __init__(self, pair_id: int, what: str) -> None:
        super().__init__(f"pair {pair_id} has the same {what}", "Change the text, or keep that pair")
        self.pair_id = pair_id


class NoSuchPair(PairsmithError):
    """No pair has this id."""

    def __init__(self, pair_id: int) -> None:
        super().__init__(f"there is no pair {pair_id}")
        self.pair_id = pair_id


class TopicError(PairsmithError):
    """A topic that does not exist, or a name that cannot be one."""


# Primary result codes of SQLite (sqlite.org/rescode.html): the driver exports no names for most of them.
_BUSY, _LOCKED, _READONLY, _IOERR, _CORRUPT, _FULL, _CANTOPEN, _NOTADB = 5, 6, 8, 10, 11, 13, 14, 26
# RLIMIT_FSIZE and some full disks come as these: WRITE, FSYNC, DIR_FSYNC, TRUNCATE, SHMSIZE.
_IOERR_WRITES = {778, 1034, 1290, 1546, 4874}


# The driver leaves the code out of what `Connection.backup` raises.
_MESSAGES = {
    "database is locked": _BUSY,
    "disk I/O error": _IOERR,
    "database or disk is full": _FULL,
    "database disk image is malformed": _CORRUPT,
    "file is not a database": _NOTADB,
}


def result_code(error: BaseException) -> int:
    """SQLite's result code of a driver's exception, extended where the driver tells it; 0 where there is
    none.
    """
    return int(getattr(error, "sqlite_errorcode", 0) or _MESSAGES.get(str(error), 0))


DRIVER_ERRORS = (sqlite3.Error, UnicodeDecodeError)
"""What a call of the driver can raise. A damaged file makes text that is no UTF-8, in rows or in SQLite's
messages.
"""


def translated(
    error: sqlite3.Error | UnicodeDecodeError,
    path: Path,
    holder_pid: int | None = None,
    *,
    writing: bool = False,
) -> BaseException:
    """The store's error for a driver's error, or the same error where it is a bug of ours.

    `writing`: whether a plain "I/O error" (pysqlite3 gives no extended codes) happened while something was
    written.
    """
    if isinstance(error, UnicodeDecodeError) or "Could not decode to UTF-8" in str(error):
        return damaged(path, "it holds text that is not UTF-8")
    code = result_code(error)
    primary = code & 0xFF
    name = one_line(str(path))
    if primary in (_BUSY, _LOCKED):
        return WorkspaceBusy(
            f"{name} is being written by another process{f' (pid {holder_pid})' if holder_pid else ''}",
            "Wait for it to end, or stop it",
            pid=holder_pid,
        )
    if primary == _FULL or code in _IOERR_WRITES or (writing and code == _IOERR):
        return DiskFull(
            f"{name} cannot grow: {_room(path)}", "Free some space (or raise the file size limit)"
        )
    if primary == _READONLY:
        return WorkspaceReadOnly(
            f"{name} cannot be written", "Check the permissions of the file and its folder"
        )
    if primary in (_CORRUPT, _NOTADB):
        return damaged(path, str(error))
    if primary in (_IOERR, _CANTOPEN):
        return WorkspaceRefused(
            f"{name} cannot be read: {one_line(str(error))}", "Check the disk and the permissions"
        )
    return error


def damaged(path: Path, detail: str) -> WorkspaceRefused:
    """The refusal of a file that is ours and broken."""
    return WorkspaceRefused(
        f"{one_line(str(path))} is damaged: {one_line(detail)}",
        "Restore a backup, or run `pairsmith doctor` on it; the file was left as it is",
    )


def from_os(error: OSError, path: Path) -> PairsmithError:
    """The store's error for one of the operating system's."""
    name = one_line(str(path))
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return DiskFull(f"{name} cannot be written: {_room(path)}", "Free some space")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return WorkspaceReadOnly(
            f"{name} cannot be written", "Check the permissions of the file and its folder"
        )
    return PairsmithError(f"{name}: {one_line(error.strerror or str(error))}")


@contextlib.contextmanager
def refusals_of_os(path: Path) -> Iterator[None]:
    """What the operating system refuses in the block, as the store's errors about `path`; a broken pipe stays one."""
    try:
        yield
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        raise from_os(error, path) from error


def _room(path: Path) -> str:
    try:
        stat = os.statvfs(path.parent)
    except (OSError, AttributeError):
        return "no room on the disk"
    return f"{stat.f_bavail * stat.f_frsize // 1_000_000} MB free on its disk"

"""Files and folders that appear whole or not at all: written beside under another name, flushed, renamed."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from .store.errors import refusals_of_os
from .store.publish import sync_folder, temporary_name

_AT_FDCWD = -100
_EXCHANGE = 2


@contextlib.contextmanager
def published(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` that takes its place when the block ends well, and vanishes when it does not.

    Raises PairsmithError for what the operating system refuses.
    """
    sweep(path)
    temporary = temporary_name(path)
    try:
        with refusals_of_os(path):
            yield temporary
            temporary.replace(path)
            sync_folder(path.parent)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


@contextlib.contextmanager
def published_folder(path: Path) -> Iterator[Path]:
    """The same for a folder: an empty one is given, and takes the place of an older one of that name.

    The block flushes the files that it writes. Where the system can exchange two names at once (Linux), there is no
    moment without the old folder or the new one. Raises PairsmithError.
    """
    sweep(path)
    temporary = temporary_name(path)
    try:
        with refusals_of_os(path):
            temporary.mkdir()
            yield temporary
            for folder, _, _ in os.walk(temporary):
                sync_folder(Path(folder))
            _take_place(temporary, path)
            sync_folder(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _take_place(temporary: Path, path: Path) -> None:
    if not path.exists():
        temporary.rename(path)
    elif not _exchanged(temporary, path):
        old = temporary_name(path)
        path.rename(old)
        try:
            temporary.rename(path)
        except OSError:
            old.rename(path)
            raise
        shutil.rmtree(old, ignore_errors=True)


def _exchanged(one: Path, other: Path) -> bool:
    """Whether the system exchanged the two names in one step (renameat2, Linux 3.15 and glibc 2.28)."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    return not rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _EXCHANGE)


def sweep(path: Path) -> None:
    """Remove what a killed process left behind under temporary names of `path`."""
    for left in path.parent.glob(f".{_literal(path.name)}.tmp-*"):
        pid = left.name.rsplit(".tmp-", 1)[1].split("-")[0]
        if pid.isdigit() and not _alive(int(pid)):
            if left.is_dir() and not left.is_symlink():
                shutil.rmtree(left, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):
                    left.unlink()


def _literal(name: str) -> str:
    return "".join(f"[{char}]" if char in "*?[" else char for char in name)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True

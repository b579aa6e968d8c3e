"""Publishing a file atomically: temporary name, fsync, a rename that overwrites nothing, fsync of the
folder."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from pairsmith.backends.text import one_line

from .errors import WorkspaceExists, from_os


def temporary_name(path: Path) -> Path:
    """A name beside `path` that nobody else uses."""
    return path.with_name(f".{path.name}.tmp-{os.getpid()}-{secrets.token_hex(4)}")


def publish_new(temporary: Path, path: Path) -> None:
    """Give a finished temporary file its name. Raises WorkspaceExists where the name is taken by now."""
    sync_file(temporary)
    try:
        os.link(temporary, path)
    except FileExistsError as error:
        raise WorkspaceExists(f"{one_line(str(path))} exists already", "Choose another name") from error
    except OSError:  # a file system without hard links
        if path.exists():
            raise WorkspaceExists(f"{one_line(str(path))} exists already", "Choose another name") from None
        try:
            temporary.rename(path)
        except OSError as error:
            raise from_os(error, path) from error
    else:
        temporary.unlink()
    sync_folder(path.parent)


def sync_file(path: Path) -> None:
    """Flush a file's bytes to the disk."""
    fd = os.open(path, os.O_RDWR)
    try:
        os.fsync(fd)
    except OSError as error:
        raise from_os(error, path) from error
    finally:
        os.close(fd)


def sync_folder(folder: Path) -> None:
    """Flush a folder's names to the disk, where the system can."""
    with contextlib.suppress(OSError):
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def discard(temporary: Path) -> None:
    """Remove a temporary database and its log."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        with contextlib.suppress(OSError):
            temporary.with_name(temporary.name + suffix).unlink()

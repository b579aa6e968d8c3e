"""Publish a file or a folder whole or not at all: write beside, sync, rename, sync the parent."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

MANIFEST = "MANIFEST.json"
_TEMPORARY = re.compile(r"\.(.+)\.tmp-(\d+)-[0-9a-f]{8}$")


def _beside(target: Path) -> Path:
    return target.with_name(f".{target.name}.tmp-{os.getpid()}-{secrets.token_hex(4)}")


@contextmanager
def folder(target: Path, facts: dict[str, Any] | None = None) -> Iterator[Path]:
    """A new folder to write into, published as `target` with a manifest of sizes and SHA-256 when the block ends.

    An existing target is replaced. If the block raises, nothing is left. Raises OSError.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = _beside(target)
    partial.mkdir()
    try:
        yield partial
        write_manifest(partial, facts or {})
        _sync_folder(partial)
        _replace(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _replace(partial: Path, target: Path) -> None:
    old = None
    if target.exists():
        old = _beside(target)
        os.rename(target, old)
    try:
        os.rename(partial, target)
    except OSError:
        if old is not None:
            os.rename(old, target)
        raise
    _sync_folder(target.parent)
    if old is not None:
        shutil.rmtree(old, ignore_errors=True) if old.is_dir() else old.unlink(missing_ok=True)


@contextmanager
def file(target: Path) -> Iterator[Path]:
    """A path to write a new file at, published as `target` when the block ends. Raises OSError.

    A folder that had to be made for it goes again if the block raises.
    """
    made = not target.parent.exists()
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = _beside(target)
    try:
        yield partial
        _sync(partial)
        os.replace(partial, target)
        _sync_folder(target.parent)
    finally:
        partial.unlink(missing_ok=True)
        if made:
            with suppress(OSError):  # it is empty only where nothing was published
                target.parent.rmdir()


def remove(target: Path) -> None:
    """Remove a folder so that no one ever finds half of it under its name: a killed removal is left to `sweep`."""
    gone = _beside(target)
    try:
        os.rename(target, gone)
    except OSError:
        return
    shutil.rmtree(gone, ignore_errors=True)


def text(target: Path, content: str) -> None:
    """Write a whole text file, atomically."""
    with file(target) as partial:
        partial.write_text(content, encoding="utf-8", newline="\n")


def write_manifest(path: Path, facts: dict[str, Any]) -> None:
    """List every file of a folder with size and SHA-256, syncing each."""
    files = {}
    for item in sorted(path.iterdir()):
        _sync(item)
        files[item.name] = {"bytes": item.stat().st_size, "sha256": sha256(item)}
    manifest = path / MANIFEST
    manifest.write_text(json.dumps({**facts, "files": files}, indent=1, sort_keys=True), encoding="utf-8")
    _sync(manifest)


def check_manifest(path: Path) -> dict[str, Any] | None:
    """The manifest of a folder if every file is as it says; None if anything is missing or different."""
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        for name, facts in manifest["files"].items():
            item = path / name
            if item.stat().st_size != facts["bytes"] or sha256(item) != facts["sha256"]:
                return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return manifest if isinstance(manifest, dict) else None


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def sweep(parent: Path) -> int:
    """Remove what killed writers left in a folder; how many. Those of living processes stay."""
    removed = 0
    if not parent.is_dir():
        return removed
    for item in parent.iterdir():
        match = _TEMPORARY.match(item.name)
        if match is None or _alive(int(match[2])):
            continue
        target = parent / match[1]
        if item.is_dir() and not target.exists() and check_manifest(item) is not None:
            # killed between the two renames of a replacement: either copy is whole
            os.rename(item, target)
            continue
        shutil.rmtree(item, ignore_errors=True) if item.is_dir() else item.unlink(missing_ok=True)
        removed += 1
    return removed


def _alive(pid: int) -> bool:
    if pid == os.getpid():
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _sync(path: Path) -> None:
    with path.open("rb") as content:
        os.fsync(content.fileno())


def _sync_folder(path: Path) -> None:
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

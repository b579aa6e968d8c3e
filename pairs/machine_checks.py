"""The state of the machine: Python, SQLite, processor, GPU, places, the Hub's token. Nothing heavy is imported."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version

from pairsmith.backends.errors import BackendError
from pairsmith.backends.text import one_line

from .errors import UsageError
from .findings import Finding
from .hub_access import NAME, find_access, find_token
from .store.driver import sqlite3, wal_bug
from .surroundings import Surroundings
from .user_settings import settings_path

_FEATURES = ("avx2", "fma", "f16c", "avx512f", "avx512_bf16", "avx_vnni", "amx_tile", "neon", "asimd", "sve")
_PACKAGES = ("torch", "llama-cpp-python", "ollama", "datasets", "textual", "tiktoken", "sqlite-utils")


def check_machine(surroundings: Surroundings) -> list[Finding]:
    """Findings about this machine; opens no connection."""
    return [
        Finding(
            "machine",
            "pairsmith",
            "good",
            f"{_version('pairsmith')}, Python {platform.python_version()}, {sys.platform}",
        ),
        _sqlite(),
        _packages(),
        check_processor(),
        check_gpu(),
        _home(surroundings),
        check_hub(surroundings),
    ]


def _sqlite() -> Finding:
    driver = "pysqlite3" if sqlite3.__name__.startswith("pysqlite3") else "standard library"
    summary = f"{sqlite3.sqlite_version} ({driver})"
    if not wal_bug:
        return Finding("machine", "SQLite", "good", summary)
    return Finding(
        "machine",
        "SQLite",
        "note",
        f"{summary} can corrupt a file with two writers: here only one process writes at a time",
        "Nothing is at risk; for writing from several processes, install pysqlite3, or a Python with SQLite 3.51.3",
    )


def _packages() -> Finding:
    found = [(name, _version(name)) for name in _PACKAGES]
    missing = [name for name, number in found if not number]
    summary = ", ".join(f"{name} {number}" for name, number in found if number)
    if missing:
        return Finding(
            "machine", "packages", "bad", f"missing: {', '.join(missing)}", "Install again: make run"
        )
    return Finding("machine", "packages", "good", summary)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def check_processor() -> Finding:
    """Cores and the instructions that matter."""
    flags: set[str] = set()
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        for line in file:
            name, _, value = line.partition(":")
            if name.strip() in ("flags", "Features"):
                flags = set(value.split())
                break
    shown = [name.upper() for name in _FEATURES if name in flags]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    features = f", {' '.join(shown)}" if shown else ""
    return Finding("machine", "processor", "good", f"{platform.machine()}, {cores} cores{features}")


def check_gpu() -> Finding:
    """Graphics cards (asks nvidia-smi, which may take seconds)."""
    tool = shutil.which("nvidia-smi")
    if tool is not None:
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            done = subprocess.run(
                [tool, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"],
                capture_output=True,
                text=True,
                errors="replace",
                timeout=5,
                check=False,
                stdin=subprocess.DEVNULL,
            )
            lines = [one_line(line, 100) for line in done.stdout.splitlines() if line.strip()]
            if done.returncode == 0 and lines:
                return Finding("machine", "GPU", "good", "; ".join(lines))
    if sys.platform == "darwin" and platform.machine() == "arm64":
        return Finding("machine", "GPU", "good", "Apple, through Metal")
    return Finding("machine", "GPU", "note", "none found: everything runs on the processor")


def _home(surroundings: Surroundings) -> Finding:
    home, settings = surroundings.settings.home, settings_path(surroundings.env)
    there = "" if settings.exists() else " (none yet)"
    defaults = ", ".join(
        f"{name} {one_line(value)}"
        for name, value in (("generator", surroundings.user.generator), ("judge", surroundings.user.judge))
        if value
    )
    summary = f"{one_line(str(home))}; settings {one_line(str(settings))}{there}" + (
        f"; {defaults}" if defaults else ""
    )
    return Finding("machine", "home", "good", summary)


def check_hub(surroundings: Surroundings) -> Finding:
    """Whether there is a token for the Hugging Face Hub, and where it is from; contacts nobody."""
    try:
        access = find_access(surroundings.env, local_only=surroundings.settings.local_only)
        found = find_token(surroundings.env)
    except (BackendError, UsageError) as error:
        return Finding("machine", "Hub", "note", error.message, error.advice)
    if found is None:
        advice = f"To push: set {NAME} (made on {access.tokens_page}), or run hf auth login"
        return Finding("machine", "Hub", "note", "no token: what is public can be read", advice)
    return Finding("machine", "Hub", "good", f"a token for {access.endpoint}, from {one_line(found.source)}")

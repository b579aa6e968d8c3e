"""What a command knows about the world around it: environment, `--env-file`, the user's defaults, the workspace's.

Order, for generator and judge: flag, the workspace's, the user's settings, and the embedded model.
"""

from __future__ import annotations

import asyncio
import os
import re
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path

from pairsmith.backends.preflight import preflight
from pairsmith.backends.registry import parse_spec
from pairsmith.backends.text import one_line
from pairsmith.pairs.store.driver import sqlite3
from pairsmith.pairs.store.meta import set_meta
from pairsmith.pairs.store.workspace import Workspace
from pairsmith.pairs.surroundings import Surroundings as Environment
from pairsmith.pairs.surroundings import default_judge, present_generator, present_judge, read_surroundings

from .output import Failed

__all__ = [
    "Choice",
    "Environment",
    "add_backend_arguments",
    "check_usable",
    "default_judge",
    "present_generator",
    "present_judge",
]

READ_FROM_FILE = ("NVIDIA_API_KEY", "OPENAI_API_KEY", "OPENAI_BASE_URL", "OLLAMA_HOST", "HF_TOKEN")
_LINE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)")


def add_backend_arguments(parser: ArgumentParser) -> None:
    """The flags of every command that talks to a backend."""
    parser.add_argument("--env-file", metavar="PATH", help="read keys and addresses from this .env file")
    parser.add_argument(
        "--base-url", metavar="URL", help="the server that openai:MODEL means, like http://127.0.0.1:8000/v1"
    )


def read_environment(arguments: Namespace, workspace: Workspace | None = None) -> Environment:
    """Everything for talking to backends. Raises Failed, UsageError and BackendError for what cannot be read."""
    env = dict(os.environ)
    if getattr(arguments, "env_file", None):
        env.update(read_env_file(Path(arguments.env_file)))
    return read_surroundings(env, workspace, getattr(arguments, "base_url", None) or None)


def read_env_file(path: Path) -> dict[str, str]:
    """NAME=VALUE lines of a .env file; only names that Pairsmith knows. Errors never quote a value."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise Failed(
            f"cannot read the env file {one_line(str(path))}: {one_line(why)}", 2, kind="usage"
        ) from None
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        match = _LINE.fullmatch(stripped)
        if match is None:
            raise Failed(f"{one_line(str(path))}, line {number}: not NAME=VALUE", 2, kind="usage")
        name, value = match[1], match[2].strip()
        if value[:1] in ("'", '"'):
            end = value.find(value[0], 1)
            value = value[1:end] if end > 0 else value[1:]
        else:
            value = re.split(r"\s#", value, maxsplit=1)[0].strip()
        if name in READ_FROM_FILE or name.startswith("PAIRSMITH_"):
            found[name] = value
    return found


def check_usable(specs: Sequence[str | None], environment: Environment) -> list[str | None]:
    """The specs in their usual spelling, after finding out what can be found out before the first completion.

    Raises BackendError: unknown backend, no key, no such file, no server, not allowed in a local-only workspace.
    """
    parsed = [None if spec is None else parse_spec(spec) for spec in specs]

    async def check() -> None:
        for spec in parsed:
            if spec is not None:
                await preflight(spec, environment.settings)

    asyncio.run(check())
    return [None if spec is None else str(spec) for spec in parsed]


class Choice:
    """Flags that become the workspace's, and can be taken back where nothing came of them."""

    def __init__(self, workspace: Workspace, values: Mapping[str, str | None]) -> None:
        self._workspace = workspace
        self._new = {key: value for key, value in values.items() if value is not None}
        self._old = {key: workspace.meta(key) for key in self._new}

    def store(self) -> None:
        """Make the flags the workspace's. Raises WorkspaceBusy: a running job would take them for its own."""
        self._write({k: v for k, v in self._new.items() if v != self._old[k]})

    def take_back(self) -> None:
        """Put back what was there before."""
        self._write({k: v for k, v in self._old.items() if v != self._new[k]})

    def _write(self, values: Mapping[str, str | None]) -> None:
        def write(conn: sqlite3.Connection) -> None:
            for key, value in values.items():
                set_meta(conn, key, value)

        if values:
            with self._workspace.job_lock.acquire("settings"):
                self._workspace.write(write)

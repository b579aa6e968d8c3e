"""What the tests of the command line share: running the installed `pairsmith` as a user does, and files to give it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import json
import os
import subprocess
import sys
import unittest.mock
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pairsmith.cli.main import main

COMMAND = Path(sys.executable).with_name("pairsmith")


@dataclass(frozen=True)
class Ran:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def assert_one_line_error(self, code: int, *words: str) -> None:
        """It failed as it should: this exit code, one line on stderr that starts with our name, no traceback."""
        assert self.code == code, (self.code, self.out, self.err)
        lines = [line for line in self.err.splitlines() if line.startswith("pairsmith: ")]
        assert len(lines) == 1, self.err
        assert "Traceback" not in self.err + self.out
        for word in words:
            assert word in lines[0], lines[0]


def environment(env: Mapping[str, str] | None = None) -> dict[str, str]:
    return {**os.environ, **(env or {})}


def run(*words: object, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> Ran:
    """Run the installed command as a child process and wait for it."""
    done = subprocess.run(
        [str(COMMAND), *map(str, words)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=environment(env),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        timeout=120,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def run_here(*words: object, env: Mapping[str, str] | None = None) -> Ran:
    """Run a command in this process with these variables: quicker by the start of an interpreter."""
    streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="") for _ in range(2)]
    out, err = streams
    with (
        unittest.mock.patch.dict(os.environ, env or {}),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = main([str(word) for word in words])
    said = []
    for stream in streams:
        stream.seek(0)
        said.append(stream.read())
    return Ran(code, *said)


async def start(*words: object, env: Mapping[str, str] | None = None) -> asyncio.subprocess.Process:
    """Start the installed command beside a server that runs in this process."""
    return await asyncio.create_subprocess_exec(
        str(COMMAND),
        *map(str, words),
        env=environment(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


async def run_beside(*words: object, env: Mapping[str, str] | None = None) -> Ran:
    """As `run`, beside a server that runs in this process."""
    return await ended(await start(*words, env=env))


async def ended(process: asyncio.subprocess.Process) -> Ran:
    out, err = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode is not None
    return Ran(process.returncode, out.decode(), err.decode())


def call(capsys: pytest.CaptureFixture[str], *words: object) -> Ran:
    """Run a command in this process: quicker, for what needs no child."""
    capsys.readouterr()
    code = main([str(word) for word in words])
    captured = capsys.readouterr()
    return Ran(code, captured.out, captured.err)


def fingerprint(path: Path) -> str:
    """Of a file's bytes, to show that nothing was changed."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    """A JSONL file."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def git_rows(count: int, start: int = 0) -> list[dict[str, Any]]:
    """Alpaca rows that all differ."""
    return [
        {"instruction": f"Explain command number {n}", "input": "", "output": f"Command {n} does thing {n}."}
        for n in range(start, start + count)
    ]

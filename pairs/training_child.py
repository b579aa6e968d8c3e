"""The training room as a child process: started, read line by line, told to stop, never imported.

The contract is docs/training.md. The child watches its standard input and ends with this process, however that ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pairsmith.backends.text import one_line, visible

from .errors import PairsmithError

_LONGEST_LINE = 64 * 2**20
_GRACE_S = 5.0
_TAIL_BYTES = 8192
_MOST_ADVICE = 2000
_NICE = 10
_PASSED_ON = frozenset(
    [
        *("APPDATA", "HOME", "HOMEDRIVE", "HOMEPATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "LOCALAPPDATA"),
        *(
            "HF_ENDPOINT",
            "HTTPS_PROXY",
            "HTTP_PROXY",
            "NO_PROXY",
            "https_proxy",
            "http_proxy",
            "no_proxy",
            "SSL_CERT_FILE",
        ),
        *("MKL_NUM_THREADS", "OMP_NUM_THREADS", "PAIRSMITH_HOME", "PATH", "PYTHONPATH", "SYSTEMROOT"),
        *("TEMP", "TMP", "TMPDIR", "USERPROFILE", "WINDIR", "XDG_CACHE_HOME", "XDG_DATA_HOME"),
    ]
)
_PASSED_ON_STARTS = ("CUDA_", "HF_HUB_", "NVIDIA_VISIBLE", "PYTORCH_", "TORCH")
"""What the child sees of the environment: no key of any backend is among it; HF_TOKEN only where it may download."""

ChildEvent = Mapping[str, Any]


class TrainingFailed(PairsmithError):
    """The child said why, or vanished. `kind` is its own word for the cause ("oom", "not_finite", "vanished")."""

    def __init__(self, message: str, advice: str = "", *, kind: str = "", code: int = 1) -> None:
        super().__init__(message, advice)
        self.kind = kind
        self.exit_code = 2 if kind == "config" else code


class TrainingChild:
    """One `python -m pairsmith.training VERB …`. Iterate over `events()`; `send` tells it to cancel or to pause."""

    def __init__(
        self,
        arguments: Sequence[object],
        *,
        token: str | None = None,
        given: str | None = None,
        processes: int = 1,
        stand_back: bool = True,
    ) -> None:
        """`token`: the Hub's, where it may download. `given`: its whole standard input, instead of `write`.

        `processes`: so many of them together under torchrun, one for each GPU. `stand_back`: whoever else wants the
        processor comes first, above all whoever types (not where somebody waits for every word of the child).
        """
        self._launcher = ["-m", "pairsmith.training"]
        if processes > 1:
            torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
            self._launcher = [*torchrun, *self._launcher]
        self._arguments = [str(argument) for argument in arguments]
        self._environment = _environment(token)
        self._given = given
        self._stand_back = stand_back
        self._process: asyncio.subprocess.Process | None = None
        self._tail = b""

    @property
    def pid(self) -> int | None:
        """Of the running child; None before and after."""
        return None if self._process is None or self._process.returncode is not None else self._process.pid

    async def events(self) -> AsyncGenerator[ChildEvent, None]:
        """What it says, as it says it. Raises TrainingFailed for an `error` event and for a child that vanished."""
        ended = False
        async with contextlib.aclosing(self.lines()) as lines:
            async for event in lines:
                if event["event"] == "error":
                    raise failure_of(event)
                ended = ended or event["event"] == "done"
                yield event
        if not ended:
            assert self._process is not None
            raise TrainingFailed(*self._vanished(self._process.returncode or 0), kind="vanished")

    async def lines(self) -> AsyncGenerator[ChildEvent, None]:
        """Every event to the end of the child, errors too. Closing the iterator ends the child."""
        process = self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, *self._launcher, *self._arguments),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self._environment,
            limit=_LONGEST_LINE,
            start_new_session=True,  # a Ctrl-C on the terminal is the parent's to pass on
        )
        if self._stand_back:
            stand_back(process.pid)
        assert process.stdout is not None
        listening = asyncio.create_task(self._collect_errors(process))
        giving = asyncio.create_task(self._give())
        try:
            async for line in process.stdout:
                event = _read_event(line)
                if event is not None:
                    yield event
            await process.wait()
            await listening
        finally:
            await _end(process)
            listening.cancel()
            giving.cancel()

    async def send(self, command: str) -> None:
        """`cancel`, `pause` or `checkpoint`. Nothing happens where the child is gone."""
        await self.write({"command": command})

    def terminate(self) -> None:
        """End it at once, in the middle of what it does. Nothing happens where the child is gone."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()

    async def write(self, record: Mapping[str, Any]) -> None:
        """One JSON line to its standard input. Nothing happens where the child is gone."""
        process = self._process
        if process is None or process.stdin is None or process.returncode is not None:
            return
        with contextlib.suppress(ConnectionError):
            process.stdin.write(json.dumps(record).encode() + b"\n")
            await process.stdin.drain()

    async def _give(self) -> None:
        if self._given is None:
            return
        assert self._process is not None
        assert self._process.stdin is not None
        with contextlib.suppress(ConnectionError):
            self._process.stdin.write(self._given.encode())
            await self._process.stdin.drain()
            self._process.stdin.close()

    async def _collect_errors(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        while data := await process.stderr.read(65536):
            self._tail = (self._tail + data)[-_TAIL_BYTES:]

    def _vanished(self, code: int) -> tuple[str, str]:
        how = f"killed by signal {-code}" if code < 0 else f"exit {code}"
        lines = self._tail.decode("utf-8", "replace").splitlines()
        last = next((line for line in reversed(lines) if line.strip()), "")
        detail = f": {one_line(last, 300)}" if last else ""
        advice = "What was saved last is kept: go on with --resume"
        if code == -9:
            advice += ". Where memory ran out, give --accumulate 2 with it"
        return f"the training process ended without a word ({how}){detail}", advice


async def run_verb(
    arguments: Sequence[object], *, token: str | None = None, given: str | None = None
) -> ChildEvent:
    """Run a short verb to its `done` event and return that. Raises TrainingFailed."""
    done: ChildEvent = {}
    async with contextlib.aclosing(TrainingChild(arguments, token=token, given=given).events()) as events:
        async for event in events:
            done = event
    return done


async def run_plain(arguments: Sequence[object]) -> str:
    """Run a verb that prints text for people; that text, made safe for a terminal. Raises TrainingFailed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pairsmith.training", *map(str, arguments)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=_environment(None),
    )
    try:
        out, err = await process.communicate()
    finally:
        await _end(process)
    text = out.decode("utf-8", "replace")
    if process.returncode:
        event = _read_event(text.strip().splitlines()[-1].encode() if text.strip() else b"")
        if event is not None and event["event"] == "error":
            raise failure_of(event)
        raise TrainingFailed(one_line(err.decode("utf-8", "replace"), 300) or "the training process failed")
    return visible(text)


def failure_of(event: ChildEvent) -> TrainingFailed:
    """An `error` event as an exception."""
    message, advice = str(event.get("message", "")), str(event.get("advice", "")).strip()
    return TrainingFailed(
        one_line(message, 500), visible(advice, _MOST_ADVICE), kind=str(event.get("kind", ""))
    )


def stand_back(pid: int) -> None:
    """Let every other process of this machine come before this one and its children, where the system can."""
    with contextlib.suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, pid, max(_NICE, os.getpriority(os.PRIO_PROCESS, pid)))
    with contextlib.suppress(OSError, AttributeError):
        os.sched_setscheduler(pid, os.SCHED_BATCH, os.sched_param(0))
    # Linux shares the processor among sessions first ("autogroup"): within one of its own, nice alone says nothing.
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text(str(_NICE), encoding="ascii")


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    if process.stdin is not None:
        with contextlib.suppress(ConnectionError):
            process.stdin.close()
    try:
        await asyncio.wait_for(process.wait(), _GRACE_S)
    except (TimeoutError, asyncio.CancelledError):
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _environment(token: str | None) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in _PASSED_ON or name.startswith(_PASSED_ON_STARTS)
    }
    return kept | ({"HF_TOKEN": token} if token else {})


def _read_event(line: bytes) -> ChildEvent | None:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(event, dict) or not isinstance(event.get("event"), str):
        return None
    return event


def models_folder(home: Path) -> Path:
    """Where named models lie."""
    return home / "models"

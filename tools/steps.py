"""Shows the steps of an installation while they run, some side by side: one line each, with the time it took.

What the programs themselves say goes into log files; where a step fails, the end of its log is shown.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

POLL_S = 0.1
TAIL_LINES = 30
_COUNTED = re.compile(rb"^\s*\[\s*(\d+)/(\d+)\]")
_PERCENT = re.compile(rb"^\s*\[\s*(\d+)%\]")
_NAMED = re.compile(rb"^\s*(Collecting|Downloading|Installing collected packages)\b:?\s*([\w.-]*)")


class Failed(Exception):
    """A step that the installation cannot do without has failed; the message is for the user."""


@dataclass
class Step:
    """A program that runs, and the file that takes what it says."""

    title: str
    process: subprocess.Popen[bytes]
    log: Path
    started: float
    reader: IO[bytes]
    vain: str = "failed"
    """What to call an end with another exit code than 0."""
    doing: str = ""

    def look(self) -> None:
        """Take note of how far the program says it is."""
        for line in self.reader:
            if counted := _COUNTED.match(line):
                self.doing = f"{int(counted[1])} of {int(counted[2])}"
            elif percent := _PERCENT.match(line):
                self.doing = f"{int(percent[1])} %"
            elif named := _NAMED.match(line):
                verb, name = named[1].decode().lower(), named[2].decode()
                if verb == "downloading":
                    name = name.partition("-")[0]
                self.doing = "unpacking" if verb.startswith("installing") else f"{verb} {name}"

    def tail(self) -> str:
        """The last lines of the log."""
        with self.log.open(encoding="utf-8", errors="replace") as lines:
            return "".join(deque(lines, TAIL_LINES))


class Screen:
    """Starts the steps and prints their lines. On a terminal the last line shows what runs at this moment."""

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self.began = time.monotonic()
        self.live = sys.stdout.isatty()
        self.running: list[Step] = []

    def say(self, text: str) -> None:
        """One line for good, with the seconds since the start."""
        print(f"{self._wiped()}[{time.monotonic() - self.began:6.1f} s] {text}", flush=True)

    def start(
        self,
        title: str,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        vain: str = "failed",
    ) -> Step:
        """Start a program; what it says goes into a log file named after `title`."""
        self.logs.mkdir(parents=True, exist_ok=True)
        log = self.logs / (re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:60] + ".log")
        with log.open("wb") as out:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, env=environment
            )
        step = Step(title, process, log, time.monotonic(), log.open("rb"), vain)
        self.running.append(step)
        if not self.live:
            self.say(f"{title} ...")
        return step

    def wait(self, step: Step) -> bool:
        """Wait until `step` has ended, showing the others meanwhile; whether it ended well."""
        while step in self.running:
            self._look()
            time.sleep(POLL_S)
        return step.process.returncode == 0

    def stop(self) -> None:
        """End what still runs."""
        for step in self.running:
            step.process.terminate()
        for step in self.running:
            step.process.wait()
            step.reader.close()
        self.running.clear()

    def _look(self) -> None:
        for step in list(self.running):
            ended = step.process.poll() is not None
            step.look()
            if ended:
                step.reader.close()
                self.running.remove(step)
                how = step.vain if step.process.returncode else "done"
                self.say(f"{step.title}: {how} ({time.monotonic() - step.started:.0f} s)")
        if self.live and self.running:
            now = time.monotonic()
            parts = [f"{step.title}, {step.doing or 'starting'}" for step in self.running]
            line = f"[{now - self.began:6.1f} s] {'; '.join(parts)}"
            print(self._wiped() + line[: shutil.get_terminal_size().columns - 1], end="", flush=True)

    def _wiped(self) -> str:
        return "\r\x1b[K" if self.live else ""

"""What the child says: one JSON object per line, versioned, on the real stdout; and what it is told on stdin."""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any, TextIO

VERSION = 1
Event = dict[str, Any]
CANCELLED = 130


def event(name: str, /, **fields: Any) -> Event:
    """An event with its version and time. Numbers that are not finite become null: JSON has none."""
    return {
        "v": VERSION,
        "event": name,
        "time": round(time.time(), 3),
        **{k: _plain(v) for k, v in fields.items()},
    }


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


class Printer:
    """Writes events to stdout and, for a run, to its `events.jsonl`. Anything else that prints goes to stderr."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.started: Event | None = None
        """The `started` event, once it was written: the model is loaded."""
        self._lock = threading.Lock()
        self._file: TextIO | None = None
        if stream is not None:
            self._stream = stream
            return
        sys.stdout.flush()
        # a copy of stdout for us; descriptor 1 itself then leads to stderr, for libraries that print
        self._stream = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
        os.dup2(2, 1)

    def keep(self, path: Path) -> None:
        """Append every later event to a file as well."""
        self._file = path.open("a", encoding="utf-8", newline="\n")

    def write(self, item: Event) -> None:
        """Print one event. A closed pipe means that nobody listens any more: the process ends."""
        line = json.dumps(item, ensure_ascii=True, allow_nan=False) + "\n"
        if item["event"] == "started":
            self.started = item
        with self._lock:
            if self._file is not None:
                try:
                    self._file.write(line)
                    self._file.flush()
                except OSError:
                    self._file = None
            try:
                self._stream.write(line)
                self._stream.flush()
            except (BrokenPipeError, ValueError):
                os._exit(CANCELLED)

    def plain(self, text: str) -> None:
        """Print text for people instead of events."""
        self._stream.write(text)
        self._stream.flush()


class Control:
    """What the outside wants: cancel, pause, checkpoint. Set from signals and from stdin."""

    def __init__(self) -> None:
        self.cancel = threading.Event()
        self.pause = threading.Event()
        self.checkpoint = threading.Event()

    def listen(self) -> None:
        """SIGINT and SIGTERM cancel; a second one ends the process at once."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._signalled)

    def _signalled(self, _number: int, _frame: object) -> None:
        if self.cancel.is_set():
            os._exit(CANCELLED)
        self.cancel.set()

    def follow_parent(self) -> None:
        """Read commands from stdin; its end, or another parent, means that the parent is gone: end at once."""
        parent = os.getppid()
        threading.Thread(target=self._read_commands, daemon=True).start()
        threading.Thread(target=_watch_parent, args=(parent,), daemon=True).start()

    def _read_commands(self) -> None:
        with os.fdopen(os.dup(0), encoding="utf-8", errors="replace") as lines:
            for line in lines:
                self.obey(line)
        os._exit(CANCELLED)

    def obey(self, line: str) -> None:
        """One line of stdin; anything that is not a known command is ignored."""
        try:
            command = json.loads(line).get("command")
        except (ValueError, AttributeError, RecursionError):
            return
        wanted = {"cancel": self.cancel, "pause": self.pause, "checkpoint": self.checkpoint}.get(command)
        if wanted is not None:
            wanted.set()


def _watch_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(CANCELLED)

"""A progress bar on standard error: count, rate and time left. Without a terminal, a line every few seconds.

A terminal that goes away ends the showing, never the work.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from collections import deque
from collections.abc import Iterator

from pairsmith.backends.text import one_line

_ON_TERMINAL_S = 0.1
_ELSEWHERE_S = 5.0
_WINDOW_S = 30.0
_SETTLED_S = 3.0
"""Before that a rate says nothing of the time left."""


class Progress:
    """How far a piece of work is. `total` may become known, or change, on the way."""

    def __init__(self, what: str, total: int | None = None, unit: str = "", done: int = 0) -> None:
        self.what, self.total, self.unit, self.done = what, total, unit, done
        self.note = ""
        self._stream = sys.stderr
        self._terminal = _is_terminal()
        self._shown_at = time.monotonic() if not self._terminal else 0.0
        self._drawn = False
        self._samples: deque[tuple[float, int]] = deque([(time.monotonic(), done)])

    def update(self, done: int, total: int | None = None, note: str = "") -> None:
        """Tell how far it is; draws where it is time to."""
        now = time.monotonic()
        self.done, self.note = done, note
        if total is not None:
            self.total = total
        if now - self._samples[-1][0] > 0.2:
            self._samples.append((now, done))
            while len(self._samples) > 2 and now - self._samples[0][0] > _WINDOW_S:
                self._samples.popleft()
        if now - self._shown_at >= (_ON_TERMINAL_S if self._terminal else _ELSEWHERE_S):
            self._shown_at = now
            self._draw(now)

    def restart(self, done: int) -> None:
        """Count the rate anew from here: what is there already cost no time."""
        self.done = done
        self._samples = deque([(time.monotonic(), done)])

    def say(self, text: str) -> None:
        """A line that stays, above the bar."""
        self._clear()
        self._write(one_line(text, 2000) + "\n")
        if self._terminal:
            self._draw(time.monotonic())

    def close(self) -> None:
        """Take the bar away."""
        self._clear()

    def rate(self, now: float) -> float | None:
        """Units a second over the last half minute; None before there is anything to go by."""
        then, before = self._samples[0]
        if self.done <= before or now - then < 0.5:
            return None
        return (self.done - before) / (now - then)

    def text(self, now: float, width: int) -> str:
        """The line as it is shown."""
        total = f"/{self.total:,}" if self.total else ""
        parts = [f"{self.done:,}{total}{' ' + self.unit if self.unit else ''}"]
        rate = self.rate(now)
        if rate is not None:
            parts.append(f"{rate:,.0f}/s" if rate >= 10 else f"{rate * 60:,.0f}/min")
            settled = now - self._samples[0][0] >= _SETTLED_S
            if settled and self.total and self.done < self.total:
                parts.append(f"{duration((self.total - self.done) / rate)} left")
        if self.note:
            parts.append(one_line(self.note))
        tail = "  ".join(parts)
        bar = ""
        room = min(30, width - len(self.what) - len(tail) - 6)
        if self.total and self._terminal and room >= 10:
            filled = round(room * min(self.done / self.total, 1.0))
            bar = f"  [{'#' * filled}{'.' * (room - filled)}]"
        return f"{self.what}{bar}  {tail}"[: max(width - 1, 20)]

    def _draw(self, now: float) -> None:
        width = shutil.get_terminal_size((100, 24)).columns if self._terminal else 200
        if self._terminal:
            self._write(f"\r{self.text(now, width)}\x1b[K")
            self._drawn = True
        else:
            self._write(self.text(now, width) + "\n")

    def _clear(self) -> None:
        if self._drawn:
            self._write("\r\x1b[K")
            self._drawn = False

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)
            self._stream.flush()


@contextlib.contextmanager
def progress(what: str, total: int | None = None, unit: str = "", done: int = 0) -> Iterator[Progress]:
    """A bar for the time of a block."""
    bar = Progress(what, total, unit, done)
    try:
        yield bar
    finally:
        bar.close()


def duration(seconds: float) -> str:
    """'40 s', '7 min', '3 h 10 min'."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def _is_terminal() -> bool:
    try:
        return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    except (AttributeError, ValueError):
        return False

"""Interrupts: the first one stops gracefully where work can be finished and kept, the second ends at once.

Outside of `graceful`, SIGINT, SIGTERM and SIGHUP simply end the command. The store is written so that ending at once
loses nothing that was acknowledged.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType

_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Interrupted(Exception):
    """The user asked to stop, and the work noticed."""


class Stop:
    """Whether the user asked to stop."""

    def __init__(self, on_stop: Callable[[], None] | None = None) -> None:
        self.requested = False
        self._on_stop = on_stop

    def check(self) -> None:
        """Raises Interrupted where a stop is asked for."""
        if self.requested:
            raise Interrupted

    def request(self) -> None:
        """Ask for the stop; a second time ends the process at once."""
        if self.requested:
            with contextlib.suppress(OSError, ValueError):
                sys.stderr.write("\npairsmith: ended at once\n")
                sys.stderr.flush()
            os._exit(130)
        self.requested = True
        if self._on_stop is not None:
            self._on_stop()


_present: list[Stop] = []


def _handle(_number: int, _frame: FrameType | None) -> None:
    if not _present:
        raise KeyboardInterrupt
    _present[-1].request()


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Install the handlers for the time of a command; elsewhere than on the main thread, leave them alone."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # nohup
            signal.signal(number, _handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


@contextlib.contextmanager
def graceful(on_stop: Callable[[], None] | None = None) -> Iterator[Stop]:
    """For the time of the block the first interrupt only asks: `on_stop` is called, `check` raises, `requested` is
    set."""
    stop = Stop(on_stop)
    _present.append(stop)
    try:
        yield stop
    finally:
        _present.remove(stop)


@contextlib.contextmanager
def left_to_others() -> Iterator[None]:
    """Give the signals back to the system's defaults, for an application that sets its own handlers."""
    if threading.current_thread() is threading.main_thread():
        for number in _SIGNALS:
            if signal.getsignal(number) is _handle:
                signal.signal(
                    number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
                )
    yield
